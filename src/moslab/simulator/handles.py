"""System calls on modelled disks, for the agent's own :class:`mosha.platform.files.Files`.

Rules:

1. A handle is of one file: one that was replaced or removed since is read and written on under it, unseen by others.
   So a worker may meet content that is long out of date, as it may over MFS.
2. After a reboot of its node a handle is stale for ever (ESTALE).
3. A file that is opened to be written comes to be with the first write.
4. On a file server (``shared``) no reboot of a node makes a handle stale. With ``cache_s`` what a handle has shown is
   shown again for so long, with what was written through it, as by a client of NFS that keeps attributes.
5. Where a disk is full (``weather``) what is there can be written over; what a write has beyond that is not written.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from moslab.simulator.disk import error, over

if TYPE_CHECKING:
    from moslab.simulator.cluster import Cluster
    from moslab.simulator.node import Node


class Handle:
    """Of one file on one node, in one of its boots."""

    __slots__ = ("boot", "cached", "cached_at", "generation", "name", "node")

    def __init__(self, node: Node, name: str) -> None:
        self.node, self.name, self.boot = node, name, node.files_boot
        self.generation = node.disk.generations.get(name, 0)
        self.cached, self.cached_at = b"", -float("inf")     # rule 4

    def is_current(self) -> bool:
        """Whether the name is still that of its file; raises ESTALE."""
        node = self.node
        if node.files_boot != self.boot:
            node.count("handle is stale")
            raise error(errno.ESTALE)
        return node.disk.generations.get(self.name, 0) == self.generation


class Handles:
    """See :class:`mosha.platform.files.System`. ``torn``: so many bytes of the next write are seen at first."""

    def __init__(self, cluster: Cluster) -> None:
        self._nodes, self._kernel = cluster.nodes, cluster.kernel
        self._cache_s = float(cluster.plan.files["cache_s"])
        self.read_bytes = 0                          # by all plans, also of those that read from their own node
        self.torn: int | None = None

    def open(self, node: int, name: str, writes: bool, create: bool) -> Handle:
        target = self._nodes[node]
        if not create and name not in target.disk.files:
            raise error(errno.ENOENT)
        return Handle(target, name)

    def close(self, _handle: Handle) -> None:
        """Nothing is left of it."""

    def pread(self, handle: Handle, length: int, offset: int) -> bytes:
        disk = handle.node.disk
        if self._kernel.now < handle.cached_at + self._cache_s:
            handle.node.count("read of what a client has kept")
            data = handle.cached[offset : offset + length]
        elif handle.is_current():
            handle.cached, handle.cached_at = disk.read(handle.name), self._kernel.now
            data = handle.cached[offset : offset + length]
        else:
            handle.node.count("read of a replaced file")
            data = disk.replaced.get((handle.name, handle.generation), b"")[offset : offset + length]
        self.read_bytes += len(data)
        return data

    def pwrite(self, handle: Handle, content: bytes, offset: int) -> int:
        node = handle.node
        if node.weather.full:
            content = self._fitting(handle, content, offset)
        if self._cache_s:
            handle.cached = over(handle.cached, offset, content)
        if not handle.is_current():
            node.count("write into a replaced file")
            node.disk.write_replaced(handle.name, handle.generation, offset, content)
        elif self.torn is not None:
            node.wrote_torn(handle.name, offset, content, self.torn)
        else:
            node.wrote(handle.name, offset, content)
        return len(content)

    @staticmethod
    def _fitting(handle: Handle, content: bytes, offset: int) -> bytes:
        """Rule 5; ENOSPC if that is nothing."""
        disk = handle.node.disk
        is_current = handle.is_current()
        old = disk.files.get(handle.name) if is_current else disk.replaced.get((handle.name, handle.generation))
        found = content[: max(0, len(old or b"") - offset)]
        if len(found) < len(content):
            handle.node.count("no room on the disk")
        if content and not found:
            raise error(errno.ENOSPC)
        return found

    def sync(self, handle: Handle) -> None:
        if handle.is_current():
            handle.node.disk.sync()

    def is_linked(self, handle: Handle) -> bool:
        return self._kernel.now < handle.cached_at + self._cache_s or handle.is_current()

    def list(self, node: int) -> list[str]:
        return list(self._nodes[node].disk.files)
