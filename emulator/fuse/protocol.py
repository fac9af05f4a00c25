"""The FUSE kernel protocol, version 7: opcodes, flags and struct layouts (source: linux/fuse.h, fuse(4)).

All integers are in the machine's own order. Only what this emulator uses is here.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterator
from struct import Struct, pack
from typing import Callable, Protocol, Union

MAJOR = 7
MINOR = 31  # what we speak: Linux 5.4; a newer kernel adapts to it
MINOR_MIN = 23  # the oldest kernel whose INIT answer has today's layout

ROOT_ID = 1
OURS = 1  # the kernel's own "unique" numbers are even

# Opcodes
LOOKUP = 1
FORGET = 2  # no answer
GETATTR = 3
SETATTR = 4
READLINK = 5
SYMLINK = 6
MKNOD = 8
MKDIR = 9
UNLINK = 10
RMDIR = 11
RENAME = 12
LINK = 13
OPEN = 14
READ = 15
WRITE = 16
STATFS = 17
RELEASE = 18
FSYNC = 20
SETXATTR = 21
GETXATTR = 22
LISTXATTR = 23
REMOVEXATTR = 24
FLUSH = 25
INIT = 26
OPENDIR = 27
READDIR = 28
RELEASEDIR = 29
FSYNCDIR = 30
ACCESS = 34
CREATE = 35
INTERRUPT = 36  # no answer
DESTROY = 38
BATCH_FORGET = 42  # no answer
RENAME2 = 45
LSEEK = 46
KEEP = 0xF001  # not the kernel's, only between nodes: what is in use of what there was before; no answer

OPERATIONS = {
    LOOKUP: "lookup",
    GETATTR: "getattr",
    SETATTR: "setattr",
    READLINK: "readlink",
    SYMLINK: "symlink",
    MKNOD: "mknod",
    MKDIR: "mkdir",
    UNLINK: "unlink",
    RMDIR: "rmdir",
    RENAME: "rename",
    RENAME2: "rename",
    LINK: "link",
    OPEN: "open",
    CREATE: "create",
    READ: "read",
    WRITE: "write",
    FSYNC: "fsync",
    FSYNCDIR: "fsync",
    LSEEK: "lseek",
    RELEASE: "release",
    OPENDIR: "opendir",
    READDIR: "readdir",
    RELEASEDIR: "release",
    ACCESS: "access",
}
"""What people call the operations on files."""

# INIT flags
ATOMIC_O_TRUNC = 1 << 3
BIG_WRITES = 1 << 5
AUTO_INVAL_DATA = 1 << 12
PARALLEL_DIROPS = 1 << 18
HANDLE_KILLPRIV = 1 << 19
MAX_PAGES = 1 << 22

# OPEN answer flags
FOPEN_DIRECT_IO = 1 << 0

# SETATTR: which fields are valid
FATTR_MODE = 1 << 0
FATTR_UID = 1 << 1
FATTR_GID = 1 << 2
FATTR_SIZE = 1 << 3
FATTR_ATIME = 1 << 4
FATTR_MTIME = 1 << 5
FATTR_FH = 1 << 6
FATTR_ATIME_NOW = 1 << 7
FATTR_MTIME_NOW = 1 << 8

GETATTR_FH = 1 << 0
FSYNC_FDATASYNC = 1 << 0
FMODE_EXEC = 0x20  # in the flags of OPEN: the kernel opens it to execute it

IN_HEADER = Struct("=IIQQIIII")  # len opcode unique nodeid uid gid pid extlen+padding
OUT_HEADER = Struct("=IiQ")  # len -errno unique
ALIVE = OUT_HEADER.pack(OUT_HEADER.size, 0, 0)  # not the kernel's, only between nodes: an answer to no request

# Attributes: ino size blocks atime mtime ctime, their nsec, mode nlink uid gid rdev blksize flags
ENTRY_OUT = Struct("=4Q2I3Q3q10I")  # nodeid generation entry_valid attr_valid, their nsec, attributes
ATTR_OUT = Struct("=Q2I3Q3q10I")  # attr_valid nsec dummy attributes
DIRENT = Struct("=QQII")  # ino off namelen type, then the name, padded to 8

INIT_IN = Struct("=4I")  # major minor max_readahead flags
INIT_OUT = Struct("=4I2H2I2H8I")  # major minor readahead flags background congestion max_write gran pages ...

FORGET_IN = Struct("=Q")
FORGET_ONE = Struct("=QQ")
BATCH_FORGET_IN = Struct("=II")
GETATTR_IN = Struct("=IIQ")  # flags dummy fh
SETATTR_IN = Struct("=II3Q3q8I")
# valid pad fh size lock_owner atime mtime ctime, their nsec, mode unused uid gid unused
MKNOD_IN = Struct("=IIII")  # mode rdev umask padding
MKDIR_IN = Struct("=II")  # mode umask
RENAME_IN = Struct("=Q")
RENAME2_IN = Struct("=QII")  # newdir flags padding
LINK_IN = Struct("=Q")
OPEN_IN = Struct("=II")  # flags open_flags
OPEN_OUT = Struct("=QII")  # fh open_flags padding
CREATE_IN = Struct("=IIII")  # flags mode umask open_flags
HANDLE = Struct("=Q")  # fh, with which every request on an open file begins
RELEASE_IN = Struct("=QIIQ")  # fh flags release_flags lock_owner
READ_IN = Struct("=QQIIQII")  # fh offset size read_flags lock_owner flags padding
WRITE_IN = Struct("=QQIIQII")  # the same
WRITE_OUT = Struct("=II")  # size padding
FSYNC_IN = Struct("=QII")  # fh flags padding
ACCESS_IN = Struct("=II")  # mask padding
INTERRUPT_IN = Struct("=Q")
LSEEK_IN = Struct("=QQII")  # fh offset whence padding
LSEEK_OUT = Struct("=Q")

CLOSES = (RELEASE, RELEASEDIR)
"""What closes a handle; between nodes it has no answer."""
REPEATABLE = (READ, READDIR)
"""What may be carried out twice, as it changes nothing; its answer is long, and not kept for who asks again."""
GIVES_NODE = (LOOKUP, SYMLINK, MKNOD, MKDIR, LINK, CREATE)
GIVES_HANDLE = {OPEN: 0, OPENDIR: 0, CREATE: ENTRY_OUT.size}
"""Answers that give a handle, and where in the answer it is."""

PAGE = 4096
MAX_WRITE = 1 << 20  # bytes of one READ or WRITE
MAX_REQUEST = MAX_WRITE + PAGE  # bytes of one message, header and names included

Buffer = Union[bytes, bytearray, memoryview]


class Sink(Protocol):
    """Where an answer goes: the kernel, or the node that asked."""

    def send(self, request: Request, error: int, buffers: tuple[Buffer, ...]) -> None: ...


class Request:
    """One message of the kernel, answered exactly once, now or later.

    ``frame`` and ``body`` are views into a shared buffer: they hold only until the handler returns.
    ``on_interrupt``, if set, is called when a signal comes while the caller waits; it may answer EINTR.
    """

    __slots__ = ("answered", "frame", "gid", "nodeid", "on_interrupt", "opcode", "pid", "sink", "uid", "unique")

    def __init__(self, sink: Sink, frame: memoryview) -> None:
        self.sink = sink
        self.frame = frame
        _, self.opcode, self.unique, self.nodeid, self.uid, self.gid, self.pid, _ = IN_HEADER.unpack_from(frame)
        self.answered = False
        self.on_interrupt: Callable[[], None] | None = None

    @property
    def body(self) -> memoryview:
        """What follows the header."""
        return self.frame[40:]

    def reply(self, *buffers: Buffer) -> None:
        """Answer with success and the bytes of ``buffers``."""
        assert not self.answered, "answered twice"
        self.answered = True
        self.sink.send(self, 0, buffers)

    def fail(self, errno: int) -> None:
        """Answer with a (positive) errno."""
        assert not self.answered, "answered twice"
        self.answered = True
        self.sink.send(self, -errno, ())


def serve(request: Request, handler: Callable[..., None], *arguments: object) -> None:
    """Call ``handler(request, *arguments)``; what it raises is the answer: an OSError its errno, else EIO."""
    try:
        handler(request, *arguments)
        return
    except OSError as failure:
        error = failure.errno or errno.EIO
    except Exception:
        import logging  # whoever only sends needs none

        logging.getLogger(__name__).exception("opcode %d failed", request.opcode)
        error = errno.EIO
    if not request.answered:
        request.fail(error)


def names(body: memoryview, count: int = 1) -> list[bytes]:
    """The first ``count`` NUL-terminated names in ``body``."""
    return bytes(body).split(b"\0", count)[:count]


def node_in(opcode: int, answer: Buffer) -> int | None:
    """The node id to which an answer gives one more reference, if it does. OSError EPROTO if it is too short."""
    return int(_unpack(ENTRY_OUT, answer, 0)[0]) if opcode in GIVES_NODE else None


def handle_in(opcode: int, answer: Buffer) -> int | None:
    """The handle that an answer gives, if it does. OSError EPROTO if it is too short."""
    at = GIVES_HANDLE.get(opcode)
    return None if at is None else int(_unpack(OPEN_OUT, answer, at)[0])


def released(request: Request) -> int:
    """The handle that a RELEASE or RELEASEDIR closes. OSError EPROTO if it is cut short."""
    return _unpack(RELEASE_IN, request.body, 0)[0]


def forgotten(request: Request) -> Iterator[tuple[int, int]]:
    """(node id, count) of each reference that a FORGET or BATCH_FORGET drops. OSError EPROTO if it is cut short."""
    if request.opcode == FORGET:
        return iter([(request.nodeid, *_unpack(FORGET_IN, request.body, 0))])
    (many, _) = _unpack(BATCH_FORGET_IN, request.body, 0)
    references = request.body[BATCH_FORGET_IN.size :][: many * FORGET_ONE.size]
    if len(references) < many * FORGET_ONE.size:
        raise OSError(errno.EPROTO, f"not {many} references")
    return FORGET_ONE.iter_unpack(references)


def batch_forget(references: dict[int, int]) -> bytes:
    """A BATCH_FORGET message."""
    body = BATCH_FORGET_IN.pack(len(references), 0)
    return _message(BATCH_FORGET, body + b"".join(itertools.starmap(FORGET_ONE.pack, references.items())))


def release(handle: int) -> bytes:
    """A RELEASE message without a caller."""
    return _message(RELEASE, RELEASE_IN.pack(handle, 0, 0, 0))


def keep(handles: set[int], again: list[int]) -> bytes:
    """A KEEP message: the handles in use, and the unique numbers of the requests that will be asked again."""
    return _message(KEEP, pack(f"={1 + len(handles) + len(again)}Q", len(handles), *handles, *again))


def kept(request: Request) -> tuple[set[int], set[int]]:
    """The handles, and the numbers of requests, in a KEEP message. OSError EPROTO if it is cut short."""
    body = request.body
    if len(body) % HANDLE.size or not body:
        raise OSError(errno.EPROTO, "not whole numbers")
    count, *numbers = body.cast("Q")
    if count > len(numbers):
        raise OSError(errno.EPROTO, f"not {count} handles")
    return set(numbers[:count]), set(numbers[count:])


def _unpack(layout: Struct, data: Buffer, at: int) -> tuple[int, ...]:
    if len(data) < at + layout.size:
        raise OSError(errno.EPROTO, f"{len(data)} bytes are too few")
    return layout.unpack_from(data, at)


def _message(opcode: int, body: bytes) -> bytes:
    return IN_HEADER.pack(IN_HEADER.size + len(body), opcode, OURS, ROOT_ID, 0, 0, 0, 0) + body
