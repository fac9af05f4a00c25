"""One machine of the engine: a disk that stays, and processes in namespaces for as long as it has power.

Rules:

1. Its power is its first process: when that ends the kernel ends all others, and takes mounts away.
2. Its disk is the upper directory of an overlay, which is mounted for as long as there is the machine: whoever reads or
   writes a file of it, with power or without, does so there.
3. It is paused by SIGSTOP to each of its processes, again and again until there is no new one; those that stood still
   before go on standing still afterwards. That needs no control group, which not everybody has.
4. Whoever goes into its namespaces waits until it has them: :attr:`Machine.begun` ends then.
5. What its first process says is kept line by line, with the time, up to ``LOG_BYTES_MAX``; who is attached hears it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple

from emulator.hpc.procfs import is_told_to_stop
from emulator.reactor import Reactor
from mosha.platform import procscan
from moslab.faults.inside import send
from moslab.namespaces import linux
from moslab.namespaces.boot import Boot
from moslab.namespaces.image import Image
from moslab.streams import HEADER

LOG_BYTES_MAX = 8 << 20
READ_BYTES = 1 << 16
PAUSE_ROUNDS_MAX = 100
PAUSE_ROUND_S = 0.002
CREATED, RUNNING, PAUSED, EXITED = "created", "running", "paused", "exited"
STOPPED = "T"


class Said(NamedTuple):
    """A line of stream 1 (standard output) or 2."""

    wall_s: float
    stream: int
    text: bytes


@dataclass
class Machine:
    """See the rules. ``config`` is what it was created with, in the engine's words."""

    reactor: Reactor
    id: str
    name: str
    config: dict[str, Any]
    image: Image
    root: str
    addresses: dict[str, str]
    on_end: Callable[[Machine], None]
    status: str = CREATED
    pid: int = 0
    exit_code: int = 0
    created_s: float = field(default_factory=time.time)
    started_s: float = 0.0
    log: deque[Said] = field(default_factory=deque)
    attached: socket.socket | None = None
    begun: int = -1
    is_doomed: bool = False
    _log_bytes: int = 0
    _stdin: int = -1
    _stopped_before: set[int] = field(default_factory=set)

    @property
    def has_power(self) -> bool:
        return self.status in (RUNNING, PAUSED)

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.config.get("Labels") or {})

    @property
    def limits(self) -> dict[str, tuple[int, int]]:
        """Of its processes: soft and hard."""
        return {one["Name"]: (one["Soft"], one["Hard"]) for one in self.config["HostConfig"].get("Ulimits") or []}

    def start(self, boot: Boot) -> None:
        """Give it power."""
        stdin, self._stdin = os.pipe() if self.config.get("OpenStdin") else (os.open(os.devnull, os.O_RDONLY), -1)
        (out_r, out_w), (err_r, err_w) = os.pipe(), os.pipe()
        self.begun, begins = os.pipe()
        pid = linux.fork_as_init()
        if not pid:
            boot.run(stdin, out_w, err_w, begins)
        for fd in (stdin, out_w, err_w, begins):
            os.close(fd)
        self.pid, self.status, self.started_s = pid, RUNNING, time.time()
        for stream, fd in ((1, out_r), (2, err_r)):
            _Reader(self.reactor, fd, lambda line, stream=stream: self._heard(stream, line))  # type: ignore[misc]

    def kill(self, signo: int = signal.SIGKILL) -> None:
        """A signal to its first process; SIGKILL is the end of its power."""
        os.kill(self.pid, signo)

    def ended(self, status: int) -> None:
        """Its first process was reaped."""
        self.status, self.pid = EXITED, 0
        self.exit_code = os.waitstatus_to_exitcode(status)
        self._stopped_before.clear()
        self.close_input()
        os.close(self.begun)
        if self.attached is not None:
            self.reactor.forget(self.attached.fileno())
            self.attached.close()
            self.attached = None
        self.on_end(self)

    def pause(self) -> None:
        """Rule 3; OSError if new processes come all the time."""
        before = {pid for pid, state in self._processes() if state == STOPPED}
        for _ in range(PAUSE_ROUNDS_MAX):
            going = [pid for pid, state in self._processes() if state not in (STOPPED, "Z", "X")]
            waiting = [pid for pid in going if is_told_to_stop(pid)]
            if len(waiting) == len(going) and not any(_runs(pid) for pid in waiting):
                self._stopped_before, self.status = before, PAUSED
                return
            send(going, signal.SIGSTOP)
            time.sleep(PAUSE_ROUND_S)
        send([pid for pid, _ in self._processes() if pid not in before], signal.SIGCONT)
        raise OSError(f"unable to freeze {self.name}: it has new processes all the time")

    def resume(self) -> None:
        """Its processes go on."""
        send([pid for pid, _state in self._processes() if pid not in self._stopped_before], signal.SIGCONT)
        self.status = RUNNING

    def await_begun(self) -> None:
        """Rule 4; for a process of its own, as the engine waits for nobody."""
        os.read(self.begun, 1)

    def attach(self, connection: socket.socket) -> None:
        """What comes of the connection is its input, from now on what it says goes there."""

        def hear(_mask: int) -> None:
            try:
                piece = connection.recv(READ_BYTES)
                if piece and self._stdin >= 0:
                    os.write(self._stdin, piece)
            except OSError:
                piece = b""
            if not piece:
                self.reactor.forget(connection.fileno())
                connection.close()
                self.attached = None
                self.close_input()

        self.attached = connection
        self.reactor.watch(connection.fileno(), select.EPOLLIN, hear)

    def close_input(self) -> None:
        """Its standard input ends."""
        if self._stdin >= 0:
            os.close(self._stdin)
        self._stdin = -1

    def _heard(self, stream: int, line: bytes) -> None:
        self.log.append(Said(time.time(), stream, line))
        self._log_bytes += len(line)
        while self._log_bytes > LOG_BYTES_MAX:
            self._log_bytes -= len(self.log.popleft().text)
        if self.attached is not None:
            try:
                self.attached.sendall(HEADER.pack(stream, len(line)) + line)
            except OSError:                                  # it is heard by :meth:`attach` as well
                pass

    def _processes(self) -> list[tuple[int, str]]:
        """Number and state of all that is in its PID namespace or descends from that, in the engine's numbers."""
        mine = os.readlink(f"/proc/{self.pid}/ns/pid")
        members: dict[int, tuple[str, int]] = {}
        others: dict[int, tuple[str, int]] = {}
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            one = procscan.process(pid)
            try:
                is_mine = os.readlink(f"/proc/{pid}/ns/pid") == mine
            except OSError:                                  # it has ended, or is just ending
                continue
            if one is not None:
                (members if is_mine else others)[pid] = (one.state, one.parent)
        while more := {pid: fields for pid, fields in others.items() if fields[1] in members}:
            members.update(more)
            others = {pid: fields for pid, fields in others.items() if pid not in more}
        return [(pid, state) for pid, (state, _parent) in members.items()]


class _Reader:
    """Hands over the lines of a pipe, until its end."""

    def __init__(self, reactor: Reactor, fd: int, hear: Callable[[bytes], None]) -> None:
        self._reactor, self._fd, self._hear, self._rest = reactor, fd, hear, b""
        reactor.watch(fd, select.EPOLLIN, self._read)

    def _read(self, _mask: int) -> None:
        piece = os.read(self._fd, READ_BYTES)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._hear(line + b"\n")
        if not piece:
            if self._rest:
                self._hear(self._rest)
            self._reactor.forget(self._fd)
            os.close(self._fd)


def _runs(pid: int) -> bool:
    one = procscan.process(pid)
    return one is not None and one.state == "R"
