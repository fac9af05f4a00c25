"""``hpc/nodes``: a directory for each node of the map, dead ones too; each read of a file in it is a probe.

Rules:

1. ``status`` of a node that does not answer is 1 (configured); its other files hold -101 (-ENETUNREACH).
2. A node that is not in the map has no directory.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

from emulator.fuse.tree import Context, Directory, File, Node, Reply
from emulator.hpc.files import folder
from emulator.hpc.state import CONFIGURED
from emulator.membership import Membership
from emulator.probe import Prober, Report

FILES = ("cpus", "load", "mem", "rmem", "speed", "tmem", "status", "util")


class Nodes(Directory):
    """``nodes/``, in the order of the ids."""

    def __init__(self, membership: Membership, prober: Prober) -> None:
        super().__init__(0o555)
        self._membership = membership
        self._prober = prober
        self._folders: dict[int, Directory] = {}
        membership.on_change(self._forget)

    def lookup(self, name: str, context: Context) -> Node | None:
        if name.isascii() and name.isdigit() and name[0] != "0" and int(name) in self._membership.seen:
            return self._folder(int(name))
        return None

    def entries(self) -> Iterable[tuple[str, Node]]:
        return ((str(node), self._folder(node)) for node in self._membership.seen)

    def _folder(self, node: int) -> Directory:
        directory = self._folders.get(node)
        if directory is None:
            directory = folder((name, Value(node, name, self._prober)) for name in FILES)
            directory.nlink = 1
            self._folders[node] = directory
        return directory

    def _forget(self) -> None:
        for node in self._folders.keys() - self._membership.table.keys():
            del self._folders[node]


class Value(File):
    """One number of one node."""

    def __init__(self, node: int, name: str, prober: Prober) -> None:
        super().__init__(0o444)
        self._node = node
        self._name = name
        self._prober = prober

    def read(self, context: Context, reply: Reply) -> None:
        def answered(report: Report | None) -> None:
            reply(b"%d\n" % value_of(report, self._name))

        self._prober.probe(self._node, answered)


def value_of(report: Report | None, name: str) -> int:
    """What the file ``name`` of a node shows; ``report`` is None for a node that did not answer."""
    if report is None:
        return CONFIGURED if name == "status" else -errno.ENETUNREACH
    value: int = getattr(report, name)
    return value
