"""Frames over one TCP connection: each begins with its own length (four bytes, the machine's order).

Rules:

1. A frame longer than ``frame_max`` or shorter than its header ends the connection: EPROTO.
2. Received bytes stay in one buffer; a frame is a view into it, valid until the receiver returns.
3. What the socket does not take is queued, ``QUEUE_MAX`` bytes at most; a link that ``pauses`` takes no frames
   while something is queued, so that a slow reader holds back its own requests only.
4. A link that ``pauses`` delivers nothing of a connection that the other side has reset: who asked has given up.
"""

from __future__ import annotations

import errno
import mmap
import os
import select
import socket
from collections import deque
from struct import Struct, pack
from typing import Callable

from emulator.fuse.protocol import MAX_REQUEST, Buffer
from emulator.reactor import Reactor

QUEUE_MAX = 64 << 20
FRAME_MIN = 16
BUFFER_BYTES = MAX_REQUEST + (64 << 10)

TCP_THIN_LINEAR_TIMEOUTS = 16  # linux/tcp.h
_TCP_INFO = Struct("=24x I 28x I")  # struct tcp_info: tcpi_unacked, tcpi_last_ack_recv (ms)
_LENGTH = Struct("=I")


def tune(sock: socket.socket) -> None:
    """Set what both ends of a connection want: no delay, and a dead peer's end noticed.

    What is lost is sent again every 0.2 s and not ever more rarely, so that a cut is felt hardly longer than it
    lasts; Linux does so only with a congestion control that knows slow start, and reno is there always.
    """
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 150)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6)


class Link:
    """A connected socket, owned. ``on_end(error)`` is called once when the other side ends it, not on close()."""

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        on_frame: Callable[[memoryview], None],
        on_end: Callable[[OSError], None],
        frame_max: int,
        pauses: bool = False,
    ) -> None:
        self.frame_max = frame_max
        self.heard_s = reactor.now()
        self._reactor = reactor
        self._sock = sock
        self._fd = sock.fileno()
        self.on_frame = on_frame
        self.on_end = on_end
        self._pauses = pauses
        self._buffer = memoryview(mmap.mmap(-1, BUFFER_BYTES))
        self._start = 0
        self._end = 0
        self._queue: deque[memoryview] = deque()
        self._queued = 0
        self.closed = False
        reactor.watch(self._fd, select.EPOLLIN, self._ready)

    @property
    def taken_s(self) -> float:
        """When the other machine's kernel was heard last, over TCP; now, if it has taken all that was sent."""
        info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        unacked, last_ack_ms = _TCP_INFO.unpack(info)
        return self._reactor.now() - (last_ack_ms / 1000 if unacked else 0.0)

    def close(self, reset: bool = False) -> None:
        """Close the connection; with ``reset`` what was not yet sent is thrown away."""
        if self.closed:
            return
        self.closed = True
        self._reactor.forget(self._fd)
        if reset:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
        self._sock.close()
        self._queue.clear()

    def send(self, buffers: list[Buffer]) -> None:
        """Send ``buffers``, which may be used again at once. OSError EAGAIN if too much is queued already."""
        if self._queue:
            self._enqueue(b"".join(buffers))
            return
        try:
            sent = self._sock.sendmsg(buffers)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the loop hears of it in a moment
        if sent < sum(map(len, buffers)):
            self._enqueue(b"".join(buffers)[sent:])
            self._reactor.watch(self._fd, self._events(), self._ready)

    def _enqueue(self, data: bytes) -> None:
        if self._queued + len(data) > QUEUE_MAX:
            raise BlockingIOError(errno.EAGAIN, f"{QUEUE_MAX} bytes wait to be sent")
        self._queue.append(memoryview(data))
        self._queued += len(data)

    def _events(self) -> int:
        if not self._queue:
            return select.EPOLLIN
        return select.EPOLLOUT if self._pauses else select.EPOLLIN | select.EPOLLOUT

    def _ready(self, mask: int) -> None:
        try:
            if mask & select.EPOLLOUT and self._queue:
                self._flush()
            if mask & ~select.EPOLLOUT and not (self._pauses and self._queue):
                self._receive()
        except BlockingIOError:
            pass
        except OSError as failure:
            if not self.closed:
                self.close()
                self.on_end(failure)

    def _flush(self) -> None:
        while self._queue:
            sent = self._sock.send(self._queue[0])
            self._queued -= sent
            if sent < len(self._queue[0]):
                self._queue[0] = self._queue[0][sent:]
                return
            self._queue.popleft()
        self._reactor.watch(self._fd, self._events(), self._ready)
        self._deliver()

    def _receive(self) -> None:
        length = self._sock.recv_into(self._buffer[self._end :])
        if not length or (self._pauses and self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        self.heard_s = self._reactor.now()
        self._end += length
        self._deliver()

    def _deliver(self) -> None:
        while self._end - self._start >= _LENGTH.size:
            if self._pauses and self._queue:
                break
            (length,) = _LENGTH.unpack_from(self._buffer, self._start)
            if not FRAME_MIN <= length <= self.frame_max:
                raise OSError(errno.EPROTO, f"a frame of {length} bytes, {self.frame_max} at most")
            start, end = self._start, self._start + length
            if end > self._end:
                break
            self._start = end
            self.on_frame(self._buffer[start:end])
            if self.closed:
                return
        self._compact()

    def _compact(self) -> None:
        rest = self._end - self._start
        if rest and self._start:
            self._buffer[:rest] = self._buffer[self._start : self._end]
        self._start, self._end = 0, rest
