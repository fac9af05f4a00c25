"""A small tree of generated files, as a /proc is: directories list nodes, files are computed when read.

Rules:

1. Nothing is cached, neither names nor attributes nor contents; every size reads as 0, as in /proc.
2. A read at offset 0 asks the file anew; reads further on get slices of that answer, kept for the open handle.
3. Offsets of a :class:`RecordFile` count records: a read at n begins with the record after the first n, SEEK_END is
   the number of records, and a read that goes on where the last one ended goes on with the next record.
4. A write's offset is ignored: each write is a whole new value. Truncation does nothing.
5. Permission bits are checked here; uid 0 passes. Nothing can be made, removed or renamed.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import time
from collections.abc import Iterable
from typing import Callable, NamedTuple, Union

from emulator.fuse import protocol as fuse
from emulator.fuse.access import R_OK, W_OK, X_OK, permitted, wanted
from emulator.fuse.listing import Listing
from emulator.fuse.protocol import Request

Reply = Callable[[Union[bytes, int]], None]

_numbers = itertools.count(2)


class Context(NamedTuple):
    """Who asks."""

    uid: int
    gid: int
    pid: int


class Node:
    """A file of any kind. ``ino`` is unique in the process and stable for the life of the object.

    ``nodeid`` is the kernel's name for it, ``ino`` unless a subclass says otherwise.
    """

    nlink = 1
    size = 0

    def __init__(self, mode: int, uid: int = 0, gid: int = 0, ino: int | None = None) -> None:
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.ino = next(_numbers) if ino is None else ino
        self.nodeid = self.ino
        self.born_ns = time.time_ns()


class Directory(Node):
    """A directory; a dynamic one overrides :meth:`lookup` and :meth:`entries`."""

    nlink = 2

    def __init__(self, mode: int = 0o555, uid: int = 0, gid: int = 0, ino: int | None = None) -> None:
        super().__init__(stat.S_IFDIR | mode, uid, gid, ino)
        self._children: dict[str, Node] = {}

    def add(self, name: str, node: Node) -> None:
        """Put ``node`` under ``name``, in place of what was there."""
        self._children[name] = node

    def lookup(self, name: str, context: Context) -> Node | None:
        """The node called ``name``, or None."""
        return self._children.get(name)

    def entries(self) -> Iterable[tuple[str, Node]]:
        """What the directory lists."""
        return list(self._children.items())


class File(Node):
    """A generated file. ``reply`` is called exactly once, now or later."""

    def __init__(self, mode: int = 0o444, uid: int = 0, gid: int = 0, ino: int | None = None) -> None:
        super().__init__(stat.S_IFREG | mode, uid, gid, ino)

    def read(self, context: Context, reply: Reply) -> None:
        """Answer with the whole content, or with an errno."""
        reply(errno.EINVAL)

    def write(self, context: Context, data: bytes, reply: Reply) -> None:
        """Take ``data`` as the new value; answer 0 or an errno. A signal to the writer answers EINTR meanwhile."""
        reply(errno.EINVAL)

    def interrupted(self, reply: Reply) -> None:
        """The writer who would have got ``reply`` waits no more."""


class RecordFile(Node):
    """A generated file of records of one size, whose offsets count records."""

    def __init__(self, mode: int, record_bytes: int) -> None:
        super().__init__(stat.S_IFREG | mode)
        self.record_bytes = record_bytes

    def end(self) -> int:
        """How many records there are."""
        raise NotImplementedError

    def read(self, first: int, count: int, reply: Reply) -> None:
        """Answer, once, with at most ``count`` whole records after the first ``first``, or with an errno."""
        raise NotImplementedError


class Symlink(Node):
    """A symbolic link."""

    def __init__(self, target: str, mode: int = 0o777, ino: int | None = None) -> None:
        super().__init__(stat.S_IFLNK | mode, ino=ino)
        self.target = target
        self.size = len(target)


class _Handle:
    """An open file or directory, and what its last read gave.

    ``ended`` is where the last read of records ended: as the kernel counts (in bytes), and in records.
    """

    __slots__ = ("content", "ended", "listing", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.content: bytes | None = None
        self.ended = (0, 0)
        self.listing: Listing | None = None


class TreeFilesystem:
    """Serves a tree to a :class:`emulator.fuse.session.Session`."""

    def __init__(self, root: Directory) -> None:
        root.nodeid = fuse.ROOT_ID
        self._root = root
        self._nodes: dict[int, tuple[Node, int]] = {}
        self._handles: dict[int, _Handle] = {}
        self._next_handle = itertools.count(1)

    def handle(self, request: Request) -> None:
        """Answer ``request``, now or later; raises OSError in place of an answer."""
        operation = _OPERATIONS.get(request.opcode)
        if operation is None:
            raise OSError(_REFUSED.get(request.opcode, errno.ENOSYS), "not in this tree")
        operation(self, request)

    def forget(self, nodeid: int, count: int) -> None:
        """The kernel drops ``count`` references to ``nodeid``."""
        if nodeid in self._nodes:
            node, references = self._nodes[nodeid]
            if references > count:
                self._nodes[nodeid] = (node, references - count)
            else:
                del self._nodes[nodeid]

    def node(self, nodeid: int) -> Node:
        """The node that the kernel calls ``nodeid``; raises OSError ESTALE."""
        if nodeid == fuse.ROOT_ID:
            return self._root
        try:
            return self._nodes[nodeid][0]
        except KeyError:
            raise OSError(errno.ESTALE, "unknown node") from None

    def _permitted(self, request: Request, mask: int) -> Node:
        node = self.node(request.nodeid)
        if not permitted(node.mode, node.uid, node.gid, request.uid, request.gid, mask):
            raise OSError(errno.EACCES, "permission denied")
        return node

    def _lookup(self, request: Request) -> None:
        parent = self._permitted(request, X_OK)
        name = os.fsdecode(fuse.names(request.body)[0])
        node = parent.lookup(name, _context(request)) if isinstance(parent, Directory) else None
        if node is None:
            raise OSError(errno.ENOENT, name)
        _, references = self._nodes.get(node.nodeid, (node, 0))
        self._nodes[node.nodeid] = (node, references + 1)
        request.reply(fuse.ENTRY_OUT.pack(node.nodeid, 0, 0, 0, 0, 0, *_attributes(node)))

    def _getattr(self, request: Request) -> None:
        node = self.node(request.nodeid)
        size = node.size
        if isinstance(node, RecordFile):
            (flags, _, _) = fuse.GETATTR_IN.unpack_from(request.body)
            if flags & fuse.GETATTR_FH:  # the kernel names a handle for SEEK_END, not for stat
                size = node.end()
        request.reply(fuse.ATTR_OUT.pack(0, 0, 0, *_attributes(node, size)))

    def _setattr(self, request: Request) -> None:
        (valid, *_) = fuse.SETATTR_IN.unpack_from(request.body)
        if valid & (fuse.FATTR_MODE | fuse.FATTR_UID | fuse.FATTR_GID):
            raise OSError(errno.EPERM, "modes are fixed here")
        if not valid & fuse.FATTR_FH:
            self._permitted(request, W_OK)
        request.reply(fuse.ATTR_OUT.pack(0, 0, 0, *_attributes(self.node(request.nodeid))))

    def _access(self, request: Request) -> None:
        (mask, _) = fuse.ACCESS_IN.unpack_from(request.body)
        self._permitted(request, mask)
        request.reply()

    def _readlink(self, request: Request) -> None:
        node = self.node(request.nodeid)
        if not isinstance(node, Symlink):
            raise OSError(errno.EINVAL, "not a link")
        request.reply(os.fsencode(node.target))

    def _open(self, request: Request) -> None:
        (flags, _) = fuse.OPEN_IN.unpack_from(request.body)
        number = next(self._next_handle)
        self._handles[number] = _Handle(self._permitted(request, wanted(flags)))
        request.reply(fuse.OPEN_OUT.pack(number, fuse.FOPEN_DIRECT_IO, 0))

    def _opendir(self, request: Request) -> None:
        number = next(self._next_handle)
        self._handles[number] = _Handle(self._permitted(request, R_OK))
        request.reply(fuse.OPEN_OUT.pack(number, 0, 0))

    def _release(self, request: Request) -> None:
        number = fuse.released(request)
        self._handles.pop(number, None)
        request.reply()

    def _read(self, request: Request) -> None:
        (number, offset, size, *_) = fuse.READ_IN.unpack_from(request.body)
        handle = self._handles[number]
        if isinstance(handle.node, RecordFile):
            self._read_records(request, handle, handle.node, offset, size)
            return
        if not isinstance(handle.node, File):
            raise OSError(errno.EISDIR, "a directory")

        def answer(content: bytes | int) -> None:
            if isinstance(content, int):
                request.fail(content)
                return
            handle.content = content
            request.reply(content[offset : offset + size])

        if offset and handle.content is not None:
            answer(handle.content)
        else:
            handle.node.read(_context(request), answer)

    @staticmethod
    def _read_records(request: Request, handle: _Handle, node: RecordFile, offset: int, size: int) -> None:
        ended, record = handle.ended
        first = record if offset == ended else offset

        def answer(content: bytes | int) -> None:
            if isinstance(content, int):
                request.fail(content)
                return
            handle.ended = (offset + len(content), first + len(content) // node.record_bytes)
            request.reply(content)

        node.read(first, size // node.record_bytes, answer)

    def _write(self, request: Request) -> None:
        (number, _, size, *_) = fuse.WRITE_IN.unpack_from(request.body)
        data = bytes(request.body[fuse.WRITE_IN.size : fuse.WRITE_IN.size + size])
        node = self._handles[number].node
        if not isinstance(node, File):
            raise OSError(errno.EISDIR, "a directory")

        def answer(result: bytes | int) -> None:
            if request.answered:  # interrupted
                return
            if isinstance(result, int) and result:
                request.fail(result)
            else:
                request.reply(fuse.WRITE_OUT.pack(size, 0))

        def interrupted() -> None:
            if not request.answered:
                request.fail(errno.EINTR)
                node.interrupted(answer)

        request.on_interrupt = interrupted
        node.write(_context(request), data, answer)

    def _readdir(self, request: Request) -> None:
        (number, offset, size, *_) = fuse.READ_IN.unpack_from(request.body)
        handle = self._handles[number]
        if handle.listing is None or not offset:
            handle.listing = _listing(handle.node)
        request.reply(handle.listing.cut(offset, size))

    def _nothing(self, request: Request) -> None:
        request.reply()


def _context(request: Request) -> Context:
    return Context(request.uid, request.gid, request.pid)


def _attributes(node: Node, size: int | None = None) -> tuple[int, ...]:
    seconds, nanoseconds = divmod(node.born_ns, 1_000_000_000)
    times = (seconds,) * 3 + (nanoseconds,) * 3
    size = node.size if size is None else size
    return (node.ino, size, 0, *times, node.mode, node.nlink, node.uid, node.gid, 0, fuse.PAGE, 0)


def _listing(directory: Node) -> Listing:
    if not isinstance(directory, Directory):
        raise OSError(errno.ENOTDIR, "not a directory")
    listing = Listing()
    listing.add(directory.ino, stat.S_IFDIR >> 12, b".")
    listing.add(directory.ino, stat.S_IFDIR >> 12, b"..")
    for name, node in directory.entries():
        listing.add(node.ino, node.mode >> 12, os.fsencode(name))
    return listing


_OPERATIONS: dict[int, Callable[[TreeFilesystem, Request], None]] = {
    fuse.LOOKUP: TreeFilesystem._lookup,
    fuse.GETATTR: TreeFilesystem._getattr,
    fuse.SETATTR: TreeFilesystem._setattr,
    fuse.ACCESS: TreeFilesystem._access,
    fuse.READLINK: TreeFilesystem._readlink,
    fuse.OPEN: TreeFilesystem._open,
    fuse.OPENDIR: TreeFilesystem._opendir,
    fuse.RELEASE: TreeFilesystem._release,
    fuse.RELEASEDIR: TreeFilesystem._release,
    fuse.READ: TreeFilesystem._read,
    fuse.WRITE: TreeFilesystem._write,
    fuse.READDIR: TreeFilesystem._readdir,
    fuse.FSYNC: TreeFilesystem._nothing,
    fuse.FSYNCDIR: TreeFilesystem._nothing,
}

_REFUSED = {
    **dict.fromkeys((fuse.CREATE, fuse.MKNOD, fuse.MKDIR, fuse.SYMLINK, fuse.LINK), errno.ENOENT),
    **dict.fromkeys((fuse.UNLINK, fuse.RMDIR, fuse.RENAME, fuse.RENAME2), errno.EPERM),
}
