"""What one asker holds at a server: references to files, and open handles. It survives a lost connection.

Rules:

1. A handle's number begins with a tag that each asker's each incarnation draws anew: an old one is ESTALE.
2. At most ``HANDLES_MAX`` handles, and no more of all askers than the process can have; EMFILE beyond.
3. A request is carried out once, also if it is asked again over another connection, by its unique number: of the last
   ``ASKED_MAX`` it is known that they were asked, and what the answer was. Only what changes nothing is done anew.
4. Whether this is still what an asker knew is told by ``session``, which each one draws anew: a server that began, or
   was configured, anew knows nothing of what was asked before.
5. An answer goes to the connection that there is then.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets

from emulator.fuse import protocol as fuse
from emulator.fuse.listing import Listing
from emulator.fuse.protocol import Buffer, Request, Sink
from emulator.mfs.inodes import Inode, Inodes
from emulator.mfs.names import NUMBER_MASK

log = logging.getLogger(__name__)

HANDLES_MAX = 4096
ASKED_MAX = 1024


class Handle:
    """An open file or directory; ``sync`` if each write is to reach the disk."""

    __slots__ = ("fd", "inode", "listing", "sync")

    def __init__(self, fd: int, inode: Inode, sync: bool = False) -> None:
        self.fd = fd
        self.inode = inode
        self.sync = sync
        self.listing: Listing | None = None


class Client:
    """Node ``node`` in one incarnation."""

    def __init__(self, inodes: Inodes, node: int, incarnation: int) -> None:
        self.node = node
        self.incarnation = incarnation
        self.session = secrets.randbits(64)
        self._inodes = inodes
        self._references: dict[int, int] = {}
        self._handles: dict[int, Handle] = {}
        self._next = secrets.randbits(31) << 32
        self.connection: Sink | None = None
        self._asked: dict[int, tuple[int, int, bytes] | None] = {}  # number -> opcode, error, answer; or none yet

    def begin(self, request: Request) -> bool:
        """Whether it is to be carried out; one that is asked again is not, and is answered (rule 3)."""
        if request.unique == fuse.OURS or request.opcode in fuse.REPEATABLE:
            return True
        if request.unique in self._asked:
            answer = self._asked[request.unique]
            if answer is not None:
                request.answered = True
                self._tell(request, answer[1], answer[2])
            return False
        self._asked[request.unique] = None
        if len(self._asked) > ASKED_MAX:
            del self._asked[next(iter(self._asked))]
        return True

    def send(self, request: Request, error: int, buffers: tuple[Buffer, ...]) -> None:
        """The answer of one of its requests."""
        if request.unique in self._asked:
            self._asked[request.unique] = request.opcode, error, b"".join(buffers)
        self._tell(request, error, *buffers)

    def _tell(self, request: Request, error: int, *buffers: Buffer) -> None:
        if self.connection is not None:
            self.connection.send(request, error, buffers)

    def refer(self, inode: Inode) -> None:
        """One more reference to ``inode``."""
        inode.lookups += 1
        self._references[inode.number] = self._references.get(inode.number, 0) + 1

    def forget(self, nodeid: int, count: int) -> None:
        """``count`` references less."""
        number = nodeid & NUMBER_MASK
        held = self._references.get(number, 0)
        count = min(count, held)
        if count == held:
            self._references.pop(number, None)
        else:
            self._references[number] = held - count
        self._inodes.forget(number, count)

    def check_room(self) -> None:
        """Raises OSError EMFILE if no further handle may be opened."""
        if len(self._handles) >= HANDLES_MAX or self._inodes.handles >= self._inodes.handles_max:
            raise OSError(errno.EMFILE, "too many handles are open")

    def add(self, handle: Handle) -> int:
        """A number for ``handle``, which from now on belongs to this asker."""
        self._next += 1
        self._handles[self._next] = handle
        handle.inode.handles += 1
        self._inodes.handles += 1
        return self._next

    def handle(self, number: int) -> Handle:
        """The handle ``number``; OSError ESTALE if there is none."""
        try:
            return self._handles[number]
        except KeyError:
            log.info("MFS: Handle %016X not found (obsolete)", number)
            raise OSError(errno.ESTALE, "unknown handle") from None

    def release(self, number: int) -> None:
        """Close a handle; one that is not known is none."""
        handle = self._handles.pop(number, None)
        if handle is not None:
            handle.inode.handles -= 1
            self._inodes.handles -= 1
            if handle.fd >= 0:
                os.close(handle.fd)

    def keep(self, numbers: set[int], again: set[int]) -> None:
        """Close every handle that is not in ``numbers``, nor was given to a request that will be asked ``again``."""
        self._asked = {unique: answer for unique, answer in self._asked.items() if unique in again}
        given = {
            fuse.handle_in(opcode, answer) for opcode, error, answer in filter(None, self._asked.values()) if not error
        }
        for number in self._handles.keys() - numbers - given:
            self.release(number)

    def close(self) -> None:
        """Let go of everything; what the asker still holds is then ESTALE."""
        for number in list(self._handles):
            self.release(number)
        for number, count in self._references.items():
            self._inodes.forget(number, count)
        self._references.clear()
        self._asked.clear()
