"""``<pid>/``: what openMosix adds to the directory of each process of this node; and what is there anyway.

Rules:

1. The settings are those of :mod:`emulator.hpc.tasks`; each write is checked, and nothing but numbers is taken.
2. ``migrate`` waits until the process is where it was sent, and fails where it cannot go; ``goto`` only asks: a node
   that is dead or takes no guests is no error (a node that is not in the map is: ENODEV).
3. The files belong to the process's user, as in ``/proc``; but only root may write ``lock`` and ``migrate``
   (EACCES), and only the owner or root ``goto`` (EPERM).
4. ``cantmove`` names what keeps the process at home, of what the machine tells.
5. ``where`` is 0 at home, else the node: of a process that is away, and of a guest, which is here.
6. What lists of processes are made of is here too (:mod:`emulator.hpc.machine`).

Names, modes, values and errors are those of the genuine kernel, but that a running process does not move
(:mod:`emulator.hpc.migration`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from typing import ClassVar, NamedTuple
from weakref import WeakValueDictionary

from emulator.fuse.tree import Context, Directory, File, Node, Reply, Symlink
from emulator.hpc.files import Generated, Refused, to_ints
from emulator.hpc.machine import OF_A_PROCESS, OF_ALL, Shown
from emulator.hpc.migration import BALANCE, Migration
from emulator.hpc.procfs import KERNEL_THREAD, live, locked_kib, process_of, stat_of
from emulator.hpc.tasks import SETTINGS, Task, Tasks
from emulator.reactor import Reactor
from emulator.table import NODE_MAX

INIT = 1
NUMBER_MAX = (1 << 31) - 1
REAL_TIME = (1, 2, 6)  # SCHED_FIFO, SCHED_RR, SCHED_DEADLINE


class Root(Directory):
    """The root of the tree: ``hpc``, ``self``, and a directory for each live process."""

    def __init__(self, hpc: Directory, reactor: Reactor, tasks: Tasks, migration: Migration) -> None:
        super().__init__(0o555)
        self.add("hpc", hpc)
        self.add("self", Symlink(""))
        for name in OF_ALL:
            self.add(name, Shown(reactor, name))
        self._reactor = reactor
        self._tasks = tasks
        self._migration = migration
        self._folders: WeakValueDictionary[int, Process] = WeakValueDictionary()

    def lookup(self, name: str, context: Context) -> Node | None:
        if name == "self":
            process = process_of(context.pid)
            return Symlink(str(process)) if process else None
        return super().lookup(name, context) or (self._process(int(name)) if _is_pid(name) else None)

    def entries(self) -> Iterable[tuple[str, Node]]:
        yield from super().entries()
        for pid in live():
            process = self._process(pid)
            if process is not None:
                yield str(pid), process

    def _process(self, pid: int) -> Process | None:
        """The directory of a live process; a new one if the pid has passed to another process."""
        task = self._tasks.of(pid)
        if task is None:
            return None
        folder = self._folders.get(pid)
        if folder is None or folder.task is not task:
            folder = self._folders[pid] = Process(task, self._reactor, self._tasks, self._migration)
        folder.take_owner()
        return folder


class Process(Directory):
    """The directory of one process."""

    def __init__(self, task: Task, reactor: Reactor, tasks: Tasks, migration: Migration) -> None:
        super().__init__(0o555)
        self.task = task
        for name in OF_A_PROCESS:
            self.add(name, Shown(reactor, f"{task.pid}/{name}"))
        self.add("where", Generated(0o444, lambda: f"{migration.where(task.pid)}\n"))
        self.add("nmigs", Generated(0o444, lambda: f"{migration.moves_of(task.pid)}\n"))
        for name in SETTINGS:
            self.add(name, Setting(name, task, tasks))
        self.add("cantmove", Cantmove(task))
        self.add("migrate", Migrate(0o200, task.pid, migration))
        self.add("goto", Goto(0o222, task.pid, migration))

    def take_owner(self) -> None:
        """Give the directory and its files to the user that the process has now."""
        try:
            owner = os.stat(f"/proc/{self.task.pid}")
        except OSError:
            return
        for _name, node in [("", self), *self.entries()]:
            node.uid, node.gid = owner.st_uid, owner.st_gid


class Format(NamedTuple):
    """How a setting reads, in which base it is written, its values, and whether only root may change it."""

    text: str = "{}\n"
    base: int = 10
    low: int = 0
    high: int = NUMBER_MAX
    root_only: bool = False


FORMATS = {
    "lock": Format(high=1, root_only=True),
    "mignodes": Format("{:08x}\n", base=16, high=0xFFFFFFFF),
    "selected": Format(high=NODE_MAX),
}


class Setting(File):
    """One number of one process."""

    def __init__(self, name: str, task: Task, tasks: Tasks) -> None:
        super().__init__(0o644)
        self._name = name
        self._task = task
        self._tasks = tasks
        self._format = FORMATS.get(name, Format())

    def read(self, context: Context, reply: Reply) -> None:
        reply(self._format.text.format(self._task.settings[self._name]).encode())

    def write(self, context: Context, data: bytes, reply: Reply) -> None:
        if self._format.root_only and context.uid != 0:
            reply(errno.EACCES)
            return
        try:
            [value] = to_ints(data, self._format.low, self._format.high, base=self._format.base)
        except Refused as refused:
            reply(refused.code)
        else:
            self._tasks.set(self._task, {self._name: value})
            reply(0)


class Cantmove(File):
    """Why the process cannot move: names in the kernel's order; empty if nothing keeps it."""

    def __init__(self, task: Task) -> None:
        super().__init__(0o444)
        self._pid = task.pid

    def read(self, context: Context, reply: Reply) -> None:
        stat = stat_of(self._pid)
        if stat is None:
            reply(errno.ESRCH)
            return
        kernel = bool(stat.flags & KERNEL_THREAD)
        found = {
            "system": kernel or self._pid == INIT,
            "mem_lock": locked_kib(self._pid) > 0,
            "clone_vm": kernel or stat.threads > 1,
            "rt_sched": stat.policy in REAL_TIME,
        }
        names = ", ".join(name for name, there in found.items() if there)
        reply(f"{names}\n".encode() if names else b"")


class Destination(File):
    """A node to go to, written by root or by whom a subclass permits."""

    refusal: ClassVar[int]
    answers: ClassVar[Mapping[int, int]] = {}

    def __init__(self, mode: int, pid: int, migration: Migration) -> None:
        super().__init__(mode)
        self._pid = pid
        self._migration = migration

    def permits(self, context: Context) -> bool:
        return context.uid == 0

    def write(self, context: Context, data: bytes, reply: Reply) -> None:
        if not self.permits(context):
            reply(self.refusal)
            return
        try:
            [node] = to_ints(data, BALANCE, NODE_MAX)
        except Refused as refused:
            reply(refused.code)
        else:
            self._migration.move(self._pid, node, lambda code: reply(self.answers.get(code, code)))


class Migrate(Destination):
    """Go there, and fail where that cannot be."""

    refusal = errno.EACCES


class Goto(Destination):
    """Go there, when you come to it."""

    refusal = errno.EPERM
    answers: ClassVar[Mapping[int, int]] = {errno.ENXIO: errno.ENODEV, errno.ENETUNREACH: 0}

    def permits(self, context: Context) -> bool:
        return context.uid in (0, self.uid)


def _is_pid(name: str) -> bool:
    return name.isascii() and name.isdigit() and name[0] != "0" and len(name) < 10
