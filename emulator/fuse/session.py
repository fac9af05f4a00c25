"""One FUSE connection: reads the kernel's requests and writes the answers.

Rules:

1. One request is read at a time, into one buffer that is used again for the next; after one that waits for its answer
   the loop goes on: who asked seldom asks for something else meanwhile.
2. Answers may come later and in any order; each request is answered exactly once.
3. INIT, DESTROY and INTERRUPT are dealt with here; FORGET goes to ``filesystem.forget``, all else to
   ``filesystem.handle``. An exception there is the answer: an OSError its errno, any other EIO.
4. The session ends when the file system is unmounted or its connection aborted; then ``on_end`` is called.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
import select
from typing import Callable, Protocol

from emulator.fuse import protocol as fuse
from emulator.fuse.protocol import Buffer, Request
from emulator.reactor import Reactor

log = logging.getLogger(__name__)

BATCH = 16  # requests per turn of the loop, so that other descriptors get theirs
FLAGS = (
    fuse.ATOMIC_O_TRUNC
    | fuse.BIG_WRITES
    | fuse.AUTO_INVAL_DATA
    | fuse.PARALLEL_DIROPS
    | fuse.HANDLE_KILLPRIV
    | fuse.MAX_PAGES
)
OLD_MAX_WRITE = 32 * fuse.PAGE  # of a kernel without MAX_PAGES
BACKGROUND_MAX = 64
CONGESTED = 48


class Filesystem(Protocol):
    """What a session serves."""

    def handle(self, request: Request) -> None: ...

    def forget(self, nodeid: int, count: int) -> None: ...


class Session:
    """Serves ``filesystem`` on the descriptor that :func:`emulator.fuse.mount.mount` returned, and owns it."""

    def __init__(
        self,
        reactor: Reactor,
        fd: int,
        filesystem: Filesystem,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self._reactor = reactor
        self._fd = fd
        self.filesystem = filesystem
        self._on_end = on_end
        self._buffer = memoryview(mmap.mmap(-1, fuse.MAX_REQUEST))
        self._buffers = [self._buffer]
        self._waiting: dict[int, Request] = {}
        reactor.watch(fd, select.EPOLLIN, self._readable)

    def close(self) -> None:
        """Give up the connection: whoever waits in the file system gets ECONNABORTED, later callers ENOTCONN."""
        if self._fd >= 0:
            self._reactor.forget(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._waiting.clear()

    def send(self, request: Request, error: int, buffers: tuple[Buffer, ...]) -> None:
        """Write an answer (called by ``request.reply`` and ``request.fail``)."""
        self._waiting.pop(request.unique, None)
        if self._fd < 0:
            return
        length = fuse.OUT_HEADER.size + sum(map(len, buffers))
        header = fuse.OUT_HEADER.pack(length, error, request.unique)
        try:
            if length < fuse.PAGE:
                os.write(self._fd, b"".join((header, *buffers)))
            else:
                os.writev(self._fd, (header, *buffers))
        except OSError as failure:
            if failure.errno == errno.ENODEV:  # unmounted meanwhile; the next read ends the session
                return
            if failure.errno != errno.ENOENT:  # ENOENT: the caller was killed and no longer waits
                log.error("answer to opcode %d not taken: %s", request.opcode, failure)
                if not error:
                    self.send(request, -errno.EIO, ())

    def interrupt(self, unique: int) -> None:
        """A signal came for the caller that waits for request ``unique``."""
        waiting = self._waiting.get(unique)
        if waiting is not None and waiting.on_interrupt is not None:
            waiting.on_interrupt()

    def _readable(self, _mask: int) -> None:
        for _ in range(BATCH):
            try:
                length = os.readv(self._fd, self._buffers)
            except BlockingIOError:
                return
            except OSError as failure:
                if failure.errno in (errno.ENOENT, errno.EINTR):  # the caller was killed just now
                    continue
                self._end(failure)
                return
            request = Request(self, self._buffer[:length])
            self._handle(request)
            if self._fd < 0:
                return
            if not request.answered:
                self._waiting[request.unique] = request
                return

    def _handle(self, request: Request) -> None:
        if request.opcode in _SPECIAL:
            fuse.serve(request, _SPECIAL[request.opcode], self)
        else:
            fuse.serve(request, self.filesystem.handle)

    def _end(self, failure: OSError) -> None:
        if failure.errno not in (errno.ENODEV, errno.ECONNABORTED):
            log.error("reading /dev/fuse: %s", failure)
        self.close()
        if self._on_end is not None:
            self._on_end()


def _init(request: Request, session: Session) -> None:
    major, minor, readahead, flags = fuse.INIT_IN.unpack_from(request.body)
    if (major, minor) < (fuse.MAJOR, fuse.MINOR_MIN):
        log.error("the kernel speaks FUSE %d.%d, at least 7.%d is needed", major, minor, fuse.MINOR_MIN)
        raise OSError(errno.EPROTO, "too old")
    pages = fuse.MAX_WRITE // fuse.PAGE if flags & fuse.MAX_PAGES else 0
    max_write = fuse.MAX_WRITE if pages else OLD_MAX_WRITE
    answer = (fuse.MAJOR, fuse.MINOR, readahead, FLAGS & flags, BACKGROUND_MAX, CONGESTED, max_write, 1)
    request.reply(fuse.INIT_OUT.pack(*answer, pages, 0, *[0] * 8))


def _destroy(request: Request, session: Session) -> None:
    request.reply()


def _interrupt(request: Request, session: Session) -> None:
    request.answered = True
    session.interrupt(*fuse.INTERRUPT_IN.unpack_from(request.body))


def _forget(request: Request, session: Session) -> None:
    request.answered = True
    for nodeid, count in fuse.forgotten(request):
        session.filesystem.forget(nodeid, count)


_SPECIAL: dict[int, Callable[[Request, Session], None]] = {
    fuse.INIT: _init,
    fuse.DESTROY: _destroy,
    fuse.INTERRUPT: _interrupt,
    fuse.FORGET: _forget,
    fuse.BATCH_FORGET: _forget,
}
