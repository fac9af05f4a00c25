"""The processes of this machine, as /proc shows them: proc(5).

A look at /proc is not one instant: a process that forks meanwhile may hide its child. So nothing is taken for dead
after one empty look; :func:`kill_all` wants two.

A process that is just executing a program has no environment, from when the kernel gave up its old memory until the
new one is filled (load_elf_binary in fs/binfmt_elf.c). Who asks for a variable waits for the end of that, for
EXECUTING_S at most in one look: what hangs there waits for a disk or a server.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterable
from typing import Callable, NamedTuple

MARK = "MOSHA_GROUP"
"""The variable that marks every process of a group in its environment."""

RUN = "MOSHA_RUN"
"""The variable that names the run directory of the agent, or stand-alone daemon, that the group belongs to."""

RETRY_S = 0.01
LOOKS_EMPTY = 2
ENVIRON_BYTES_MAX = 1 << 18
EXECUTING_S = 0.1
EXECUTING_POLL_S = 0.0005
DESCENDANTS_MAX = 4096           # of one look at them: a crowd that forks for ever is killed in several
ZOMBIE = "Z"
PF_EXITING, PF_KTHREAD = 0x4, 0x200000                   # linux/sched.h: such have no memory, and no environment
FLAGS, START_CODE, ENV_END = 6, 23, 48                   # words of /proc/PID/stat after the name
SHOWN_MAX = 3                    # processes


class Process(NamedTuple):
    """One process; ``born`` (clock ticks since boot) tells it from a later one of the same pid."""

    pid: int
    parent: int
    group: int
    session: int
    born: int
    state: str


def processes() -> dict[int, Process]:
    """All processes by pid."""
    found = (process(pid) for pid in _pids())
    return {p.pid: p for p in found if p is not None}


def process(pid: int) -> Process | None:
    """One process; ``None`` if there is none of that pid."""
    text = read(f"/proc/{pid}/stat")
    head, _, rest = text.rpartition(b")")
    words = rest.split()
    if not head or len(words) < 20:
        return None
    return Process(pid, int(words[1]), int(words[2]), int(words[3]), int(words[19]), words[0].decode())


def lives(one: Process) -> bool:
    """Whether this process, and no later one of its pid, has not ended."""
    now = process(one.pid)
    return now is not None and now.born == one.born and now.state != ZOMBIE


def descendants(table: dict[int, Process], root: int, spared: Collection[int] = ()) -> list[Process]:
    """All processes of ``table`` that come from ``root``, parents before their children.

    Of ``spared`` ones none is found, nor what comes from them.
    """
    children: dict[int, list[Process]] = {}
    for one in table.values():
        if one.pid not in spared:
            children.setdefault(one.parent, []).append(one)
    found = list(children.get(root, ()))
    for one in found:
        found.extend(children.get(one.pid, ()))
    return found


def patience() -> float:
    """Until when (time.monotonic) a look that begins now waits for processes that are just executing a program."""
    return time.monotonic() + EXECUTING_S


def variable(pid: int, name: str, until_s: float | None = None) -> str | None:
    """A variable of the environment that the process was started with, if it can be read and is still there.

    ``until_s``: :func:`patience` of the look that this is a part of, if it is one.
    """
    start = name.encode() + b"="
    for item in _environ(pid, patience() if until_s is None else until_s):
        if item.startswith(start):
            return os.fsdecode(item[len(start) :])
    return None


def living(processes: Iterable[Process]) -> list[int]:
    """The pids of those that are no zombies."""
    return [process.pid for process in processes if process.state != ZOMBIE]


def find(marker: bytes) -> list[int]:
    """The processes with the variable ``marker`` (``NAME=value``; ``NAME=`` for any value), but not the caller."""
    me, until_s = os.getpid(), patience()
    return [pid for pid in _pids() if pid != me and any(_is_marked(item, marker) for item in _environ(pid, until_s))]


def marked(group: str | None, rundir: str) -> list[int]:
    """The processes that carry the mark of ``group`` (``None``: of any), but none that name another run directory."""
    until_s = patience()
    return [pid for pid in find(f"{MARK}={group or ''}".encode()) if names_no_other(pid, rundir, until_s)]


def names_no_other(pid: int, rundir: str, until_s: float) -> bool:
    """Whether the process was started with no other run directory, by whatever path. ``until_s``: see variable()."""
    named = variable(pid, RUN, until_s)
    return named in (None, rundir) or os.path.realpath(named or "") == os.path.realpath(rundir)


def kill_all(look: Callable[[], Collection[int]], limit_s: float) -> bool:
    """SIGKILL every process that ``look`` finds, again until none is left.

    False if some live on after ``limit_s``. It blocks until then.
    """
    deadline = time.monotonic() + limit_s
    empty = 0
    while True:
        pids = look()
        empty = 0 if pids else empty + 1
        if empty == LOOKS_EMPTY:
            return True
        for pid in pids:
            kill(pid, signal.SIGKILL)
        if time.monotonic() >= deadline:
            return False
        if pids:
            time.sleep(RETRY_S)


def kill_descendants() -> None:
    """SIGKILL to what descends from the caller, parents first, in a time that does not grow with the machine.

    Not proof that none is left: one that forks meanwhile hides its child, and the kernel may have no lists of children
    (CONFIG_PROC_CHILDREN).
    """
    pids = _children(os.getpid())
    for pid in pids:
        if len(pids) < DESCENDANTS_MAX:
            pids += _children(pid)
        kill(pid, signal.SIGKILL)


def kill(pid: int, signo: int) -> None:
    """Send a signal to a process (or, negative, to a process group) that may have gone."""
    try:
        os.kill(pid, signo)
    except (ProcessLookupError, PermissionError):
        pass


def shown(pids: Iterable[int]) -> str:
    """Processes for people: number, name, state; no more than some."""
    found = sorted(pids)
    words = [_shown(pid) for pid in found[:SHOWN_MAX]]
    return ", ".join([*words, f"and {len(found) - SHOWN_MAX} more"] if len(found) > SHOWN_MAX else words)


def _shown(pid: int) -> str:
    head, _, rest = read(f"/proc/{pid}/stat").rpartition(b")")
    name = "".join(char if char.isprintable() else "?" for char in head.partition(b"(")[2].decode("ascii", "replace"))
    state = rest.split()[0].decode() if rest.split() else "gone"
    return f"{pid} ({name}, state {state})"


def _is_marked(item: bytes, marker: bytes) -> bool:
    return item.startswith(marker) if marker.endswith(b"=") else item == marker


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _children(pid: int) -> list[int]:
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [int(child) for task in tasks for child in read(f"/proc/{pid}/task/{task}/children").split()]


def _environ(pid: int, until_s: float) -> list[bytes]:
    while True:
        text = read(f"/proc/{pid}/environ")
        if text or time.monotonic() >= until_s or not _is_to_come(pid):
            return text.split(b"\0")
        time.sleep(EXECUTING_POLL_S)


def _is_to_come(pid: int) -> bool:
    """Whether there is an environment, or will be, where none was seen.

    The kernel knows where a program's text is once it has filled in its environment. Of a process that is not ours it
    shows neither.
    """
    words = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    if len(words) <= ENV_END or words[0] == ZOMBIE.encode() or int(words[FLAGS]) & (PF_EXITING | PF_KTHREAD):
        return False
    return words[START_CODE] == b"0" or words[ENV_END - 1] != words[ENV_END]


def read(path: str) -> bytes:
    """What can be read in one go; empty for a process that is gone or not ours."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, ENVIRON_BYTES_MAX)
    except OSError:
        return b""
    finally:
        os.close(fd)
