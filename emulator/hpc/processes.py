"""``<pid>/``: what openMosix adds to the directory of each process of this node.

Rules:

1. A process is at home and stays there: migration is not emulated (a write of another node's id is EOPNOTSUPP).
2. ``lock`` belongs to one process, known by pid and start time: a new process with an old pid starts at 0.
3. The files belong to the process's user, as in ``/proc``; but only root may write ``lock`` and ``migrate``
   (EACCES), and only the owner or root ``goto`` (EPERM).

Names, modes, values and errors are those of the genuine kernel for a process at home.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from emulator.fuse.tree import Context, Directory, File, Node, Reply, Symlink
from emulator.hpc.files import Generated, Refused, constant, to_ints
from emulator.membership import Membership
from emulator.table import NODE_MAX

HOME, BALANCE = 0, -1
"""What is written to ``goto`` instead of a node: go home; let the balancer choose."""

FIXED = (
    ("where", 0o444, "0\n"),
    ("nmigs", 0o444, "0\n"),
    ("sigmig", 0o644, "0\n"),
    ("disclosure", 0o644, "3\n"),
    ("migfilter", 0o644, "0\n"),
    ("migpolicy", 0o644, "0\n"),
    ("mignodes", 0o644, "00000000\n"),
    ("miggroup", 0o644, "0\n"),
    ("selected", 0o644, "0\n"),
)


class Root(Directory):
    """The root of the tree: ``hpc``, ``self``, and a directory for each live process."""

    def __init__(self, hpc: Directory, membership: Membership) -> None:
        super().__init__(0o555)
        self.add("hpc", hpc)
        self.add("self", Symlink(""))
        self._membership = membership
        self._processes: dict[str, Process] = {}

    def lookup(self, name: str, context: Context) -> Node | None:
        if name == "self":
            process = process_of(context.pid)
            return Symlink(process) if process else None
        return super().lookup(name, context) or self._process(name)

    def entries(self) -> Iterable[tuple[str, Node]]:
        yield from super().entries()
        for name in self._live():
            process = self._process(name)
            if process is not None:
                yield name, process

    def _process(self, name: str) -> Process | None:
        """The directory of a live process; a new one if the pid has passed to another process."""
        start = start_time(name) if name.isascii() and name.isdigit() else None
        if start is None:
            self._processes.pop(name, None)
            return None
        process = self._processes.get(name)
        if process is None or process.start != start:
            process = Process(int(name), start, self._membership)
            self._processes = {pid: self._processes[pid] for pid in self._live() if pid in self._processes}
            self._processes[name] = process
        process.take_owner()
        return process

    @staticmethod
    def _live() -> list[str]:
        return [name for name in os.listdir("/proc") if name.isdigit()]


class Process(Directory):
    """The directory of one process."""

    def __init__(self, pid: int, start: int, membership: Membership) -> None:
        super().__init__(0o555)
        self.start = start
        self._pid = pid
        for name, mode, text in FIXED:
            self.add(name, constant(mode, text))
        self.add("cantmove", constant(0o444, "system\n" if pid == 1 else ""))
        self.add("lock", Lock())
        self.add("migrate", Destination(0o200, membership, errno.EACCES))
        self.add("goto", Destination(0o222, membership, errno.EPERM))

    def take_owner(self) -> None:
        """Give the directory and its files to the user that the process has now."""
        try:
            owner = os.stat(f"/proc/{self._pid}")
        except OSError:
            return
        for _name, node in [("", self), *self.entries()]:
            node.uid, node.gid = owner.st_uid, owner.st_gid


class Lock(Generated):
    """Whether the process must stay where it is, for the balancer; 0 or 1."""

    def __init__(self) -> None:
        super().__init__(0o644, lambda: f"{self._locked}\n", self._set)
        self._locked = 0

    def _set(self, data: bytes) -> None:
        [value] = to_ints(data, 0, NODE_MAX)
        self._locked = int(value != 0)

    def write(self, context: Context, data: bytes, reply: Reply) -> None:
        if context.uid != 0:
            reply(errno.EACCES)
        else:
            super().write(context, data, reply)


class Destination(File):
    """``goto`` and ``migrate``: a node to go to; home (0, or this node) is where the process is.

    ``refusal`` is the errno for a caller who is neither root nor, for ``goto``, the owner.
    """

    def __init__(self, mode: int, membership: Membership, refusal: int) -> None:
        super().__init__(mode)
        self._membership = membership
        self._refusal = refusal

    def write(self, context: Context, data: bytes, reply: Reply) -> None:
        owner = context.uid == self.uid and self._refusal == errno.EPERM
        if context.uid != 0 and not owner:
            reply(self._refusal)
            return
        try:
            [node] = to_ints(data, BALANCE, NODE_MAX)
        except Refused as refused:
            reply(refused.code)
            return
        if node in (BALANCE, HOME, self._membership.mospe):
            reply(0)
        elif node not in self._membership.table:
            reply(errno.ENODEV)
        else:
            reply(errno.EOPNOTSUPP)


def start_time(pid: str) -> int | None:
    """When the process started, in clock ticks since boot; None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            stat = file.read(1024)
    except OSError:
        return None
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def process_of(thread: int) -> str | None:
    """The process of a thread: FUSE names the thread that asks; None if it is not one of this node's."""
    try:
        with open(f"/proc/{thread}/status", "rb", buffering=0) as file:
            status = file.read(1024)
    except OSError:
        return None
    return status.partition(b"\nTgid:")[2].split(None, 1)[0].decode()
