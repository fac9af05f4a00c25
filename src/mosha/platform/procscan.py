"""The processes of this machine, as /proc shows them: proc(5).

A look at /proc is not one instant: a process that forks meanwhile may hide its child. So nothing is taken for dead
after one empty look; :func:`kill_all` wants two.
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
DESCENDANTS_MAX = 4096           # of one look at them: a crowd that forks for ever is killed in several
ZOMBIE = "Z"
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


def variable(pid: int, name: str) -> str | None:
    """A variable of the environment that the process was started with, if it can be read and is still there."""
    start = name.encode() + b"="
    for item in _environ(pid):
        if item.startswith(start):
            return os.fsdecode(item[len(start) :])
    return None


def living(processes: Iterable[Process]) -> list[int]:
    """The pids of those that are no zombies."""
    return [process.pid for process in processes if process.state != ZOMBIE]


def find(marker: bytes) -> list[int]:
    """The processes with the variable ``marker`` (``NAME=value``; ``NAME=`` for any value), but not the caller."""
    me = os.getpid()
    return [pid for pid in _pids() if pid != me and any(_is_marked(item, marker) for item in _environ(pid))]


def marked(group: str | None, rundir: str) -> list[int]:
    """The processes that carry the mark of ``group`` (``None``: of any), but none that name another run directory."""
    return [pid for pid in find(f"{MARK}={group or ''}".encode()) if names_no_other(pid, rundir)]


def names_no_other(pid: int, rundir: str) -> bool:
    """Whether the process was started with no other run directory, by whatever path."""
    named = variable(pid, RUN)
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


def _environ(pid: int) -> list[bytes]:
    return read(f"/proc/{pid}/environ").split(b"\0")


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
