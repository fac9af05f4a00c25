"""The deputy: what is left at home of a process whose body runs elsewhere. The process that called becomes it.

Rules:

1. It keeps pid, parent and place in the process tree, and is called what the command is called.
2. Its stdin goes to the body, what the body prints comes out of its stdout and stderr (:mod:`emulator.guests.pump`).
   A deputy in the background does not touch its terminal.
3. A signal that can be caught goes to the body, one that it ignored is ignored there. Stopping and continuing is seen
   by the daemon, as a stopped process can tell nobody.
4. It ends as the body ended: with its exit code, or by its signal. If the daemon ends, so does it: SIGKILL.
5. What it did before, :mod:`emulator.guests.leaving` says.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket

from emulator.guests import frames
from emulator.guests.frames import Frame, Kind
from emulator.guests.leaving import ANSWER_S, FORWARDED, NoProgramError
from emulator.guests.pump import Pump
from emulator.mfs.link import Link
from emulator.reactor import Reactor

STDIN, STDOUT, STDERR = 0, 1, 2


def run(fd: int, program: str, arguments: list[str]) -> None:
    """Be the deputy of what was asked for on that socket; return only if this process is there already.

    OSError if it cannot go there, NoProgramError if there is no such command there.
    """
    reactor = Reactor()
    with socket.socket(fileno=fd) as sock:
        sock.settimeout(ANSWER_S)
        if _has_left(sock):
            sock.setblocking(False)
            try:
                _take_name(os.path.basename(program), arguments)
            except OSError:  # a process that changed its user may not
                pass
            Deputy(reactor, sock).run()


def _has_left(sock: socket.socket) -> bool:
    """Whether the body runs; False: this process is there already. OSError."""
    try:
        answer = sock.recv(16, socket.MSG_WAITALL)
    except ConnectionError:
        answer = b""
    said = frames.parse(memoryview(answer.ljust(16, b"\0")))
    if said.kind == Kind.STARTED:
        return True
    if said.kind == Kind.NO_PROGRAM:
        raise NoProgramError(said.number, os.strerror(said.number))
    if said.kind == Kind.REFUSED and not said.number:
        return False
    code = said.number if said.kind == Kind.REFUSED else errno.ENETUNREACH
    raise OSError(code, os.strerror(code))


class Deputy:
    """The process from the moment when its body runs."""

    def __init__(self, reactor: Reactor, sock: socket.socket) -> None:
        self._reactor = reactor
        self._status: int | None = None
        self._link = Link(reactor, sock, self._frame, self._lost, frames.FRAME_MAX)
        sinks = {STDOUT: STDOUT, STDERR: STDERR}
        self._pump = Pump(reactor, self._link, {STDIN: STDIN}, sinks, self._idle, _may_read)
        heard = [number for number in FORWARDED if signal.getsignal(number) != signal.SIG_IGN]
        reactor.watch_signals(heard, self._signalled)

    def run(self) -> None:
        """End as the body ends."""
        self._reactor.run()
        if self._status is None:
            os.kill(os.getpid(), signal.SIGKILL)
        assert self._status is not None
        end_as(self._status)

    def _frame(self, data: memoryview) -> None:
        said = frames.parse(data)
        if said.kind == Kind.EXIT:
            self._ended(said)
        else:
            self._pump.take(said)

    def _ended(self, said: Frame) -> None:
        self._status = said.number
        for number in FORWARDED:  # nobody is left to whom they could be passed on
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        self._pump.stop_reading()
        self._idle()

    def _idle(self) -> None:
        if self._status is not None and self._pump.is_idle:
            self._reactor.stop()

    def _lost(self, _failure: OSError) -> None:
        if self._status is None:
            self._reactor.stop()

    def _signalled(self, numbers: set[int]) -> None:
        for number in sorted(numbers):
            self._link.send(frames.frame(Kind.SIGNAL, number))


def end_as(status: int) -> None:
    """End this process with the wait status of another."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


def _may_read(fd: int) -> bool:
    """Rule 2: who reads its terminal from the background is stopped."""
    if not os.isatty(fd):
        return True
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:  # not its own terminal
        return True


def _take_name(name: str, arguments: list[str]) -> None:
    """Be called so in ps: the words lie at the end of what this process was called with, so there is room."""
    with open("/proc/self/comm", "wb", buffering=0) as file:
        file.write(os.fsencode(name)[:15])
    with open("/proc/self/stat", "rb", buffering=0) as file:
        stat = file.read(4096)
    begin, end = (int(word) for word in stat[stat.rindex(b")") + 2 :].split()[45:47])
    words = b"".join(os.fsencode(word) + b"\0" for word in arguments)
    if len(words) <= end - begin:
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(begin)
            memory.write(words.ljust(end - begin, b"\0"))
