"""Directories of this node that MFS must not enter: its own mounts, where it would wait for itself, and /proc.

Such a directory is recognised by its parent and its name, so that it is never touched.
"""

from __future__ import annotations

import os
import select

from emulator.fuse.mount import mounts
from emulator.reactor import Reactor

MFS = "fuse.mfs"
FORBIDDEN = (MFS, "fuse.hpc", "proc")


class Forbidden:
    """The forbidden mount points; follows the mount table."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._table = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._types: dict[tuple[int, int, bytes], str] = {}
        self._names: set[bytes] = set()
        self._refresh(0)
        reactor.watch(self._table, select.EPOLLPRI, self._refresh)  # proc(5): a change of the table

    def type_of(self, dev: int, ino: int, name: bytes) -> str | None:
        """The type of the forbidden mount on ``name`` in the directory (``dev``, ``ino``), or None."""
        return self._types.get((dev, ino, name)) if name in self._names else None

    def close(self) -> None:
        """Stop following."""
        self._reactor.forget(self._table)
        os.close(self._table)

    def _refresh(self, _mask: int) -> None:
        found: dict[tuple[int, int, bytes], str] = {}
        points = [(point, kind) for point, kind in mounts() if kind in FORBIDDEN and point != "/"]
        for point, kind in points:
            if any(point.startswith(other + "/") for other, _ in points):
                continue  # inside another: not to be reached, and not to be looked at
            try:
                parent = os.stat(os.path.dirname(point))
            except OSError:
                continue  # hidden below another mount
            found[parent.st_dev, parent.st_ino, os.fsencode(os.path.basename(point))] = kind
        self._types = found
        self._names = {name for _, _, name in found}
