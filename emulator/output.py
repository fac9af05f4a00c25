"""What the entries of a node's init print, line by line, on its stdout.

Rules:

1. Each line is printed as ``name[pid]: line``, so that ``docker logs`` tells who said it.
2. Nothing here blocks: up to ``QUEUE_MAX`` bytes wait for a slow reader, further lines are dropped and counted.
3. A line longer than ``LINE_MAX`` is printed in pieces; a last line without its end is printed too.
"""

from __future__ import annotations

import os
import select
from collections import deque

from emulator.reactor import Reactor

QUEUE_MAX = 1 << 20
LINE_MAX = 8192
READ_BYTES = 1 << 16
DRAIN_READS = 17  # of a pipe of 1 MiB, the most that an unprivileged process can make of it (pipe(7))


class Output:
    """Lines for stdout, written when it takes them."""

    def __init__(self, reactor: Reactor, fd: int = 1) -> None:
        self._reactor = reactor
        self._fd = fd
        self._queue: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._lost = 0
        self._pipes: set[Pipe] = set()
        os.set_blocking(fd, False)

    def say(self, text: str) -> None:
        """Print a line of init itself."""
        self.line("init", os.getpid(), text.encode(errors="replace"))

    def line(self, name: str, pid: int, text: bytes) -> None:
        """Print one line of a process."""
        if self._waiting_bytes > QUEUE_MAX:
            self._lost += 1
            return
        if self._lost:
            self._add(b"init[%d]: %d lines lost: the reader is too slow\n" % (os.getpid(), self._lost))
            self._lost = 0
        self._add(b"%s[%d]: %s\n" % (name.encode(), pid, text))
        self._write()

    def pipe(self, name: str) -> Pipe:
        """A pipe for the output of a process that is to be started; OSError."""
        pipe = Pipe(self._reactor, self, name)
        self._pipes.add(pipe)
        return pipe

    def drain(self, pid: int) -> None:
        """Print all that process ``pid`` has written; call it when the process has ended."""
        for pipe in list(self._pipes):
            if pipe.pid == pid:
                pipe.drain()

    def finish(self, deadline_s: float) -> None:
        """Print what is in the pipes and in the queue, until a time on the monotonic clock."""
        for pipe in list(self._pipes):
            pipe.drain()
        while self._queue and self._reactor.now() < deadline_s:
            select.select([], [self._fd], [], max(0.0, deadline_s - self._reactor.now()))
            self._write()
        os.set_blocking(self._fd, True)

    def forget(self, pipe: Pipe) -> None:
        """The pipe is closed."""
        self._pipes.discard(pipe)

    def _add(self, data: bytes) -> None:
        self._queue.append(data)
        self._waiting_bytes += len(data)

    def _write(self, _mask: int = 0) -> None:
        while self._queue:
            data = self._queue.popleft()
            try:
                written = os.write(self._fd, data)
            except BlockingIOError:
                written = 0
            except OSError:  # nobody reads any more: nothing can be told to anybody
                written = len(data)
            self._waiting_bytes -= written
            if written < len(data):
                self._queue.appendleft(data[written:])
                self._reactor.watch(self._fd, select.EPOLLOUT, self._write)
                return
        self._reactor.forget(self._fd)


class Pipe:
    """What one process, and those that it leaves behind, print."""

    def __init__(self, reactor: Reactor, output: Output, name: str) -> None:
        self._reactor = reactor
        self._output = output
        self._name = name
        self.pid = 0
        self._rest = b""
        self._fd, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._fd, False)

    def started(self, pid: int) -> None:
        """Process ``pid`` has the writer, or nobody; from now on it is read."""
        self.pid = pid
        os.close(self.writer)
        self._reactor.watch(self._fd, select.EPOLLIN, self._readable)

    def _readable(self, _mask: int) -> None:
        self.read()

    def drain(self) -> None:
        """Print what is in the pipe, at most what a pipe holds."""
        for _ in range(DRAIN_READS):
            if not self.read():
                break

    def read(self) -> bool:
        """Print the lines that are there; False if there was nothing to read."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._rest and (len(self._rest) > LINE_MAX or not data):
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._output.line(self._name, self.pid, line)
        if not data:
            self.close()
        return bool(data)

    def close(self) -> None:
        """Nobody can write any more."""
        self._reactor.forget(self._fd)
        os.close(self._fd)
        self._output.forget(self)
