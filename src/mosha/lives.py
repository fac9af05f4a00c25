"""One life of the agent on its node: only one at a time, and it begins when nothing of an earlier one is left.

Two lock files in the run directory, which is empty after a boot. The agent alone holds ``agent.lock``; but what it has
just forked has it open, too, until it closes what it does not need. So who begins waits ``FREED_S`` for it: where the
agent was killed in that instant nobody runs any more. ``life.lock`` is
shared by the agent and its leashes, which inherit it: while anybody has it open, something of some life goes on. What
is spared of an earlier life are leashes that this one takes over (R9), with all that is in their control groups.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

from mosha.platform import cgroups, plain, procscan
from mosha.platform.locks import try_lock
from mosha.platform.procscan import Process
from mosha.resources import remove_left

RETRY_S = 0.01
FREED_S = 1.0                    # for a child of a killed agent to be given the processor, and close what it has
AGENT_LOCK, LIFE_LOCK = "agent.lock", "life.lock"
NOBODY: Mapping[str, Process] = MappingProxyType({})


class AlreadyRuns(OSError):
    """Another agent runs on this node."""


class Life:
    """Holds both locks; closing the descriptors, or death, frees them."""

    def __init__(self, rundir: str, who: str = "mosha") -> None:
        """It blocks for up to ``FREED_S`` where another runs. Raises AlreadyRuns, OSError."""
        self._rundir = rundir
        Path(rundir).mkdir(parents=True, exist_ok=True)
        self.agent_fd = _open(Path(rundir, AGENT_LOCK))
        deadline = time.monotonic() + FREED_S
        while not self._lock(self.agent_fd, AGENT_LOCK):
            if time.monotonic() < deadline:
                time.sleep(RETRY_S)
                continue
            os.close(self.agent_fd)
            raise AlreadyRuns(f"another {who} runs on this node ({rundir}/{AGENT_LOCK} is locked)")
        self.life_fd = _open(Path(rundir, LIFE_LOCK))

    def close(self) -> None:
        """Free them."""
        for fd in (self.agent_fd, self.life_fd):
            os.close(fd)

    def end_earlier(self, limit_s: float, spared: Mapping[str, Process] = NOBODY) -> bool:
        """Kill what is left of an earlier life, its control groups too, and remove its addresses and mounts.

        A leash is killed when nothing below it lives: what had come from it could not be told from others after that.
        ``spared``: group -> the leash that lives on, each in a control group.
        Whether nothing else was left within ``limit_s``; it blocks until then.
        """
        deadline = time.monotonic() + limit_s
        while not self._is_alone(spared.values()):
            if time.monotonic() >= deadline:
                return False
            time.sleep(RETRY_S)
        if not self._lock(self.life_fd, LIFE_LOCK, shared=True):
            return False
        if not cgroups.end_earlier(self._rundir, max(RETRY_S, deadline - time.monotonic()), spared.values()):
            return False
        if not procscan.kill_all(lambda: self._marked(spared.values()), max(RETRY_S, deadline - time.monotonic())):
            return False
        while not remove_left(None, self._rundir, max(RETRY_S, deadline - time.monotonic()), spared=spared):
            if time.monotonic() >= deadline:
                return False
            time.sleep(RETRY_S)
        return True

    def _lock(self, fd: int, name: str, shared: bool = False) -> bool:
        with plain.named(f"{self._rundir}/{name}"):
            return try_lock(fd, shared)

    def _is_alone(self, spared: Collection[Process]) -> bool:
        """Whether nobody but these has the lock of a life open; others are killed."""
        if not spared and self._lock(self.life_fd, LIFE_LOCK):
            return True
        others = {*_holders(self.life_fd, LIFE_LOCK)}
        others -= self._kept(spared)
        for pid in others:
            _kill_from_below(pid)
        return bool(spared) and not others

    def _marked(self, spared: Collection[Process]) -> set[int]:
        """What carries the mark of a group, and is in no control group of one that is spared."""
        found = {*procscan.marked(None, self._rundir)}
        return found - self._kept(spared)

    def _kept(self, spared: Collection[Process]) -> set[int]:
        """These leashes, and what they hold. It forks all the time, so who looks for others asks this after the look;
        and a process that is just being forked may be seen below its parent before it is in the control group."""
        if not spared:
            return set()
        table = procscan.processes()
        pids = {one.pid for one in spared if procscan.lives(one)}
        below = {one.pid for pid in pids for one in procscan.descendants(table, pid)}
        tree = cgroups.earlier(self._rundir)
        return {*pids, *below, *(tree.held_by(spared) if tree is not None else ())}


def agent(rundir: str) -> Process | None:
    """The agent that runs here, if one does. Raises OSError."""
    try:
        fd = os.open(Path(rundir, AGENT_LOCK), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        found = [process for pid in _holders(fd, AGENT_LOCK) for process in [procscan.process(pid)] if process]
    finally:
        os.close(fd)
    pids = {process.pid for process in found}
    return next((process for process in found if process.parent not in pids), None)    # the others were just forked


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _holders(lock_fd: int, name: str) -> list[int]:
    """Processes other than this one that have this lock file open, by whatever path."""
    mine = os.fstat(lock_fd)
    found = []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            is_one = any(_is_file(f"/proc/{pid}/fd/{fd}", name, mine) for fd in os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue                                 # it has ended, or is not ours
        if pid != os.getpid() and is_one:
            found.append(pid)
    return found


def _is_file(link: str, name: str, mine: os.stat_result) -> bool:
    if os.path.basename(os.readlink(link)) != name:
        return False                                 # whose file system may be one that hangs
    return os.path.samestat(os.stat(link), mine)


def _kill_from_below(pid: int) -> None:
    for _ in range(procscan.LOOKS_EMPTY):
        below = procscan.living(procscan.descendants(procscan.processes(), pid))
        for other in below:
            procscan.kill(other, signal.SIGKILL)
        if below:
            return
    procscan.kill(pid, signal.SIGKILL)
