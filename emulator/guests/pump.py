"""Carries streams of bytes between descriptors of this process and a link.

Rules:

1. At most ``WINDOW`` bytes of a stream are under way: whoever reads waits until the other end has passed them on. So
   nothing queues without a bound, and a stream that nobody reads holds up no other.
2. The descriptors may be shared with other processes, so none is made non-blocking: one that may block is asked
   first, and takes ``PIPE_BUF`` bytes at a time.
3. The end of a stream is told, and so is that nobody reads it any more; a descriptor that fails has ended.
"""

from __future__ import annotations

import errno
import os
import select
from collections import deque
from collections.abc import Mapping
from typing import Callable

from emulator.fuse.protocol import Buffer
from emulator.guests.frames import Frame, Kind, frame
from emulator.mfs.link import Link
from emulator.reactor import Reactor

WINDOW = 128 << 10
CHUNK = 32 << 10
SHY_S = 0.5


class Pump:
    """``sources`` (stream → descriptor) are read and sent, what comes is written to ``sinks``.

    ``may_read(fd)`` False lets a source wait; ``on_idle`` is called whenever no source is open and no sink has work.
    """

    def __init__(
        self,
        reactor: Reactor,
        link: Link,
        sources: Mapping[int, int],
        sinks: Mapping[int, int],
        on_idle: Callable[[], None],
        may_read: Callable[[int], bool] = lambda _fd: True,
    ) -> None:
        self._reactor = reactor
        self._link = link
        self._may_read = may_read
        self._on_idle = on_idle
        self._sources = {stream: _Source(stream, fd) for stream, fd in sources.items()}
        self._sinks = {stream: _Sink(stream, fd) for stream, fd in sinks.items()}
        for source in list(self._sources.values()):
            self._resume(source)

    @property
    def is_idle(self) -> bool:
        return not self._sources and not any(sink.queue for sink in self._sinks.values())

    def take(self, said: Frame) -> bool:
        """Whether the frame was one of a stream; ValueError if it breaks a rule."""
        if said.kind == Kind.DATA:
            self._data(said.number, said.payload)
        elif said.kind == Kind.END:
            sink = self._sinks.get(said.number)
            if sink is not None:
                sink.ending = True
                self._flush_later(sink)
        elif said.kind == Kind.ACK:
            source = self._sources.get(said.number >> 32)
            if source is not None:
                source.unacked -= said.number & 0xFFFFFFFF
                self._resume(source)
        elif said.kind == Kind.GONE:
            source = self._sources.get(said.number)
            if source is not None:
                self._end(source)
        else:
            return False
        return True

    def stop_reading(self) -> None:
        """Nobody wants any more what the sources give."""
        for source in list(self._sources.values()):
            self._end(source)

    def drop_sinks(self) -> None:
        """Nobody reads the sinks any more."""
        for sink in list(self._sinks.values()):
            self._lose(sink)

    # from a descriptor to the link

    def _resume(self, source: _Source) -> None:
        if source.unacked >= WINDOW:
            return
        try:
            self._reactor.watch(source.fd, select.EPOLLIN, lambda _mask: self._readable(source))
        except PermissionError:  # a file, which is always ready
            if not source.scheduled:
                source.scheduled = True
                self._reactor.call_later(0, lambda: self._readable(source))
        except OSError:  # closed
            self._finish(source)

    def _readable(self, source: _Source) -> None:
        by_timer, source.scheduled = source.scheduled, False
        if self._sources.get(source.stream) is not source or source.unacked >= WINDOW:
            return
        if not self._may_read(source.fd):
            self._reactor.forget(source.fd)
            self._reactor.call_later(SHY_S, lambda: self._resume(source))
            return
        try:
            data = os.read(source.fd, min(CHUNK, WINDOW - source.unacked))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._finish(source)
            return
        source.unacked += len(data)
        self._link.send(frame(Kind.DATA, source.stream, data))
        if source.unacked >= WINDOW:
            self._reactor.forget(source.fd)
        elif by_timer:
            self._resume(source)

    def _finish(self, source: _Source) -> None:
        self._link.send(frame(Kind.END, source.stream))
        self._end(source)

    def _end(self, source: _Source) -> None:
        del self._sources[source.stream]
        self._close(source.fd)
        self._tell_idle()

    # from the link to a descriptor

    def _data(self, stream: int, payload: Buffer) -> None:
        sink = self._sinks.get(stream)
        if sink is None or sink.ending:
            return  # it has gone meanwhile
        sink.queue.append(memoryview(bytes(payload)))
        if sum(map(len, sink.queue)) > WINDOW:
            raise ValueError(f"more than {WINDOW} bytes of stream {stream}")
        self._flush_later(sink)

    def _flush_later(self, sink: _Sink) -> None:
        try:
            self._reactor.watch(sink.fd, select.EPOLLOUT, lambda _mask: self._flush(sink))
        except PermissionError:  # a file, which is always ready
            while sink.queue:
                self._flush(sink)
            self._flush(sink)
        except OSError:  # closed
            self._lose(sink)

    def _flush(self, sink: _Sink) -> None:
        if self._sinks.get(sink.stream) is not sink:
            return
        if sink.queue:
            try:
                written = os.write(sink.fd, sink.queue[0][: sink.at_once])
            except BlockingIOError:
                return
            except OSError:
                self._lose(sink)
                return
            self._link.send(frame(Kind.ACK, sink.stream << 32 | written))
            sink.queue[0] = sink.queue[0][written:]
            if not sink.queue[0]:
                sink.queue.popleft()
        if not sink.queue:
            self._reactor.forget(sink.fd)
            if sink.ending:
                del self._sinks[sink.stream]
                self._close(sink.fd)
            self._tell_idle()

    def _lose(self, sink: _Sink) -> None:
        del self._sinks[sink.stream]
        sink.queue.clear()
        self._link.send(frame(Kind.GONE, sink.stream))
        self._close(sink.fd)
        self._tell_idle()

    def _close(self, fd: int) -> None:
        self._reactor.forget(fd)
        try:
            os.close(fd)
        except OSError as failure:
            if failure.errno != errno.EBADF:
                raise

    def _tell_idle(self) -> None:
        if self.is_idle:
            self._on_idle()


class _Source:
    __slots__ = ("fd", "scheduled", "stream", "unacked")

    def __init__(self, stream: int, fd: int) -> None:
        self.stream = stream
        self.fd = fd
        self.unacked = 0
        self.scheduled = False


class _Sink:
    __slots__ = ("at_once", "ending", "fd", "queue", "stream")

    def __init__(self, stream: int, fd: int) -> None:
        self.stream = stream
        self.fd = fd
        self.queue: deque[memoryview] = deque()
        self.ending = False
        try:
            self.at_once = select.PIPE_BUF if os.get_blocking(fd) else CHUNK
        except OSError:  # closed
            self.at_once = select.PIPE_BUF
