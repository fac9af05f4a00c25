"""The server's table of files: numbers for the askers, descriptors for the system calls.

Rules:

1. A number belongs to one file for ever; it begins with a tag that each incarnation draws anew, so that what an
   asker kept from before a restart is not found (ESTALE), never another file.
2. A file is kept as an O_PATH descriptor: renaming does not lose it. At most ``DESCRIPTORS_MAX`` stay open between
   requests; the longest unused are closed and, when needed, opened again by name. If the name then leads to
   another file, ESTALE.
3. A file with open handles keeps its descriptor. There are two tables in a process, for the others and for itself:
   handles take at most two thirds of the descriptors that it may have, files an eighth, so that it can always work.
4. Entries live until all askers forgot them.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import secrets
import stat
from collections import OrderedDict

from emulator.mfs import identity
from emulator.mfs.mounts import Forbidden
from emulator.mfs.names import ROOT_NUMBER

log = logging.getLogger(__name__)

DESCRIPTORS_MAX = 1024
TRIM_MAX = 16  # descriptors looked at per request
TAG_BITS = 20
COUNT_BITS = 28

PATH_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
ALLOWED = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)


class Inode:
    """A file that some asker knows. ``mount`` is the type of a forbidden mount; then there is no descriptor."""

    __slots__ = ("dev", "fd", "handles", "ino", "lookups", "mount", "name", "number", "parent")

    def __init__(self, number: int, dev: int, ino: int, parent: Inode | None, name: bytes) -> None:
        self.number = number
        self.dev = dev
        self.ino = ino
        self.parent = parent
        self.name = name
        self.mount: str | None = None
        self.fd = -1
        self.handles = 0
        self.lookups = 0


class Inodes:
    """All files that the askers of one server know, below ``root``."""

    def __init__(self, root: str, forbidden: Forbidden) -> None:
        self._forbidden = forbidden
        self._root = os.open(root, PATH_FLAGS | os.O_DIRECTORY)
        state = os.fstat(self._root)
        self._top = Inode(ROOT_NUMBER, state.st_dev, state.st_ino, None, b"")
        self._top.fd = self._root
        self._by_number = {ROOT_NUMBER: self._top}
        self._by_file = {(self._top.dev, self._top.ino): self._top}
        self._mounted: dict[tuple[int, bytes], Inode] = {}
        self._in_use: OrderedDict[int, Inode] = OrderedDict()  # those with a descriptor, the longest unused first
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._descriptors_max = min(DESCRIPTORS_MAX, most // 16)
        self.handles_max = most // 6  # each with its file's descriptor
        self.handles = 0
        self._tags: set[int] = {0}
        self._tag = 0
        self._count = 1 << COUNT_BITS

    def close(self) -> None:
        """Close every descriptor."""
        for inode in self._in_use.values():
            os.close(inode.fd)
        self._in_use.clear()
        os.close(self._root)

    def trim(self) -> None:
        """Close some of the longest unused descriptors, if there are too many; not amid a request: any may go."""
        for _ in range(TRIM_MAX):
            if len(self._in_use) <= self._descriptors_max:
                return
            oldest = next(iter(self._in_use.values()))
            if oldest.handles:
                self._in_use.move_to_end(oldest.number)
            else:
                self._evict(oldest)

    def get(self, number: int) -> Inode:
        """The file that an asker calls ``number``; OSError ESTALE if there is none."""
        try:
            return self._by_number[number]
        except KeyError:
            log.info("MFS: Handle %016X not found (obsolete)", number)
            raise OSError(errno.ESTALE, "unknown file") from None

    def descriptor(self, inode: Inode) -> int:
        """An O_PATH descriptor of ``inode``; OSError ESTALE if it is no longer where it was."""
        if inode.fd < 0:
            self._open_again(inode)
        elif inode.number != ROOT_NUMBER:
            self._in_use.move_to_end(inode.number)
        return inode.fd

    def find(self, parent: Inode, name: bytes) -> tuple[Inode, os.stat_result | None]:
        """The file ``name`` in ``parent`` and its attributes (None for a forbidden mount).

        Raises OSError: EACCES for special files, and what the system says.
        """
        kind = self._forbidden.type_of(parent.dev, parent.ino, name)
        if kind is not None:
            return self._mount(parent, name, kind), None
        directory = self.descriptor(parent)
        state = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_IFMT(state.st_mode) not in ALLOWED:
            raise OSError(errno.EACCES, "special file")
        inode = self._known(state)
        if inode is self._top:
            raise OSError(errno.ELOOP, "the root within itself")
        if inode is None:
            inode, state = self.adopt(parent, name, os.open(name, PATH_FLAGS, dir_fd=directory))
        return inode, state

    def adopt(self, parent: Inode, name: bytes, fd: int) -> tuple[Inode, os.stat_result]:
        """The file behind the O_PATH descriptor ``fd``, which from now on belongs to the table."""
        state = os.fstat(fd)
        inode = self._known(state)
        if inode is not None:
            os.close(fd)
        else:
            inode = Inode(self._new_number(), state.st_dev, state.st_ino, parent, name)
            self._by_number[inode.number] = inode
            self._by_file[inode.dev, inode.ino] = inode
            self._keep(inode, fd)
        return inode, state

    def forget(self, number: int, count: int) -> None:
        """An asker drops ``count`` references to ``number``."""
        inode = self._by_number.get(number)
        if inode is None or number == ROOT_NUMBER:
            return
        inode.lookups -= count
        if inode.lookups <= 0:
            self._drop(inode)

    def removed(self, state: os.stat_result) -> None:
        """A name of the file ``state`` is gone: free the file's space if that was the last one."""
        inode = self._by_file.get((state.st_dev, state.st_ino))
        if inode is not None and inode.fd >= 0 and not inode.handles and not os.fstat(inode.fd).st_nlink:
            self._evict(inode)

    def renamed(self, state: os.stat_result, parent: Inode, name: bytes) -> None:
        """The file ``state`` is now ``name`` in ``parent``."""
        inode = self._by_file.get((state.st_dev, state.st_ino))
        if inode is not None:
            inode.parent, inode.name = parent, name

    def is_forbidden(self, parent: Inode, name: bytes) -> bool:
        """Whether ``name`` in ``parent`` is a mount that must not be entered."""
        return self._forbidden.type_of(parent.dev, parent.ino, name) is not None

    def _known(self, state: os.stat_result) -> Inode | None:
        inode = self._by_file.get((state.st_dev, state.st_ino))
        if inode is not None and inode.fd < 0:
            try:
                self._open_again(inode)
            except OSError:  # it was removed, and its inode number is another file's now
                del self._by_file[inode.dev, inode.ino]
                return None
        return inode

    def _mount(self, parent: Inode, name: bytes, kind: str) -> Inode:
        inode = self._mounted.get((parent.number, name))
        if inode is None:
            inode = Inode(self._new_number(), 0, 0, parent, name)
            self._by_number[inode.number] = self._mounted[parent.number, name] = inode
        inode.mount = kind
        return inode

    def _new_number(self) -> int:
        if self._count >> COUNT_BITS:
            while self._tag in self._tags:
                self._tag = secrets.randbits(TAG_BITS)
            self._tags.add(self._tag)
            self._count = 0
        self._count += 1
        return self._tag << COUNT_BITS | (self._count - 1)

    def _open_again(self, inode: Inode) -> None:
        if inode.mount is not None or inode.parent is None:
            raise OSError(errno.EACCES, "not to be entered")
        with identity.as_root():
            try:
                fd = os.open(inode.name, PATH_FLAGS, dir_fd=self.descriptor(inode.parent))
            except FileNotFoundError:
                raise OSError(errno.ESTALE, "moved or removed") from None
            state = os.fstat(fd)
        if (state.st_dev, state.st_ino) != (inode.dev, inode.ino):
            os.close(fd)
            raise OSError(errno.ESTALE, "moved or removed")
        self._keep(inode, fd)

    def _keep(self, inode: Inode, fd: int) -> None:
        inode.fd = fd
        self._in_use[inode.number] = inode

    def _evict(self, inode: Inode) -> None:
        del self._in_use[inode.number]
        os.close(inode.fd)
        inode.fd = -1

    def _drop(self, inode: Inode) -> None:
        del self._by_number[inode.number]
        if inode.mount is not None and inode.parent is not None:
            del self._mounted[inode.parent.number, inode.name]
        if self._by_file.get((inode.dev, inode.ino)) is inode:
            del self._by_file[inode.dev, inode.ino]
        if inode.fd >= 0:
            self._evict(inode)
