"""The host's side: the guests of this node. The daemon keeps a link to each guest's home, and one to its warden.

Rules:

1. It listens at this node's own addresses while openMosix is on and not leaving. Nobody comes in without the hello
   within ``HELLO_S``, and only as a node of the map from one of that node's addresses; no guest while the node is
   blocked.
2. The warden is a child of the daemon and dies with it; with a warden die the body and all that it has started.
3. The home says every ``BEAT_S`` that it lives. Not heard of for ``silence_s``, or its connection ended: the guest is
   killed, without a word to anyone. A home that comes over another network goes on with its guest there.
4. At most ``GUESTS_MAX`` guests, and ``STRANGERS_MAX`` connections that have not said yet what they want.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import signal
import socket
from collections.abc import Mapping
from typing import Callable

from emulator import settings
from emulator.door import Door
from emulator.fuse.protocol import Buffer
from emulator.guests import frames, warden
from emulator.guests.frames import Caller, Frame, Kind
from emulator.guests.line import BEAT_S, MUTE_S, Line
from emulator.hpc.migration import Guest, Migration
from emulator.hpc.tasks import Tasks
from emulator.membership import Membership
from emulator.mfs import hello
from emulator.mfs.link import Link, tune
from emulator.mfs.pace import Pace
from emulator.reactor import Reactor, Timer

log = logging.getLogger(__name__)

HELLO_S = 1.0
START_S = 10.0
GUESTS_MAX = 256
STRANGERS_MAX = 64


class Host:
    """All guests of this node."""

    def __init__(
        self,
        reactor: Reactor,
        membership: Membership,
        migration: Migration,
        tasks: Tasks,
        key: bytes,
        pace: Callable[[], Pace],
        is_blocked: Callable[[], bool],
        port: int = settings.GUEST_PORT,
    ) -> None:
        self.reactor = reactor
        self.membership = membership
        self.migration = migration
        self.tasks = tasks
        self.key = key
        self.pace = pace
        self.is_blocked = is_blocked
        self.strangers: dict[_Visitor, None] = {}  # in the order in which they came
        self.guests: set[_Visitor] = set()
        self.lines: dict[tuple[int, int], Line] = {}  # home and number; until the home has heard all of a guest
        self._port = port
        self._own: list[str] = []
        self._doors: list[Door] = []
        membership.on_change(self._reopen)

    def close(self) -> None:
        """End all guests."""
        self._stop_listening()
        for visitor in [*self.strangers, *self.guests]:
            visitor.close()

    def _reopen(self) -> None:
        members = self.membership
        own = members.addresses(members.mospe) if members.seen else []
        if own == self._own:
            return
        self._stop_listening()
        self._own = own
        for address in own:
            self._listen(address)

    def _listen(self, address: str) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, self._port))
            self._doors.append(Door(self.reactor, sock, self._comes))
        except OSError as failure:
            log.error("cannot take guests at %s, TCP port %d: %s", address, self._port, failure.strerror)
            sock.close()

    def _stop_listening(self) -> None:
        for door in self._doors:
            door.close()
        self._doors.clear()

    def _comes(self, sock: socket.socket, place: tuple[str, int]) -> None:
        if len(self.strangers) >= STRANGERS_MAX:
            next(iter(self.strangers)).close()
        tune(sock)
        self.strangers[_Visitor(self, sock, place[0])] = None


class _Visitor:
    """One connection: the hello, what is to be run, then a guest to its end."""

    def __init__(self, host: Host, sock: socket.socket, address: str) -> None:
        self._host = host
        self._reactor = host.reactor
        self._address = address
        self._challenge = hello.challenge(hello.GUESTS)
        self._node = 0
        self._number = 0
        self._line: Line | None = None
        self._guest: Guest | None = None
        self._pid = 0
        self._warden: Link | None = None
        self._warden_pid = 0
        self._warden_fd = -1
        self._beats: Timer | None = None
        self._has_ended = False
        self._is_closed = False
        self._home = Link(self._reactor, sock, self._from_home, lambda _failure: self.close(), hello.HELLO_MAX)
        self._timer = self._reactor.call_later(HELLO_S, self.close)
        self._home.send([self._challenge])

    def close(self) -> None:
        """End the guest, if it is one."""
        if self._is_closed:
            return
        self._is_closed = True
        self._timer.cancel()
        if self._beats is not None:
            self._beats.cancel()
        self._home.close()
        if self._line is not None:
            self._line.close()
            self._host.lines.pop((self._node, self._number), None)
        if self._warden is not None:
            self._warden.close()
            signal.pidfd_send_signal(self._warden_fd, signal.SIGKILL)  # it is reaped in _reap, not before
        self._host.strangers.pop(self, None)

    # what the home says

    def _from_home(self, data: memoryview) -> None:
        try:
            if not self._node:
                self._greet(data)
                return
            said = frames.parse(data)
            if said.kind == Kind.RESUME:
                self._resume(said)
            else:
                self._start(said, data)
        except hello.Refused as reason:
            log.warning("Received an unauthorized migration request from %s (%s)", self._address, reason)
            self.close()
        except (ValueError, TypeError, BlockingIOError) as error:
            log.warning("openMosix: node %d: %s", self._node, error)
            self.close()

    def _from_line(self, said: Frame, data: memoryview) -> None:
        try:
            if said.kind in frames.FROM_DEPUTY and self._warden is not None:
                self._warden.send([data])
        except BlockingIOError as error:
            log.warning("openMosix: node %d: %s", self._node, error)
            self.close()

    def _line_ended(self, failure: OSError) -> None:
        if failure.errno == errno.EPROTO:
            log.warning("openMosix: node %d: %s", self._node, failure.strerror)
        line = self._line
        if line is None or not line.sleeps_through(failure, self._silent_s(line), self._host.pace()):
            self.close()

    def _silent_s(self, line: Line) -> float:
        return self._reactor.now() - line.heard_s

    def _resume(self, said: Frame) -> None:
        """Rule 3: this connection is that of a guest that there is, or is closed."""
        came = frames.parse_resume(said.payload)
        line = self._host.lines.get((self._node, said.number))
        if line is None:
            self.close()
            return
        self._timer.cancel()
        self._host.strangers.pop(self)
        line.close()
        self._home.send(frames.frame(Kind.RESUME, line.taken))
        line.go_on(self._home, came)

    def _greet(self, data: memoryview) -> None:
        host, members = self._host, self._host.membership
        node, wanted, _ = hello.check_ask(host.key, self._challenge, data)
        if not members.mospe or wanted != members.mospe:
            raise hello.Refused(f"this is not node {wanted}")
        if node == wanted or members.node_at(self._address) != node:
            raise hello.Refused(f"node {node} is not at this address")
        self._timer.cancel()
        self._timer = self._reactor.call_later(START_S, self.close)
        self._node = node
        self._home.frame_max = frames.FRAME_MAX
        self._home.send([hello.grant(host.key, self._challenge, data, wanted, 0)])

    def _start(self, said: Frame, data: memoryview) -> None:
        if said.kind == Kind.BEAT:
            return
        if said.kind != Kind.START:
            raise ValueError("not a start")
        host = self._host
        if host.is_blocked() or len(host.guests) >= GUESTS_MAX:
            self._home.send(frames.frame(Kind.REFUSED, errno.ENETUNREACH if host.is_blocked() else errno.EAGAIN))
            return
        caller, job = frames.parse_start(said.payload)
        self._guest = _guest_of(self._node, self._address, caller, job.program)
        self._number = said.number
        self._line = Line(self._home, self._from_line, self._line_ended, taken=1)
        host.lines[self._node, self._number] = self._line
        self._spawn(data, caller.settings)
        host.strangers.pop(self)
        host.guests.add(self)
        self._beat()

    # the warden

    def _spawn(self, start: Buffer, wanted: Mapping[str, int]) -> None:
        here, there = socket.socketpair()
        with there:
            self._warden_pid = warden.fork(there)
        assert self._guest is not None
        self._host.migration.arrives(self._guest, self._warden_pid)
        self._host.tasks.give(self._warden_pid, wanted)  # who starts the body, which so has them
        self._warden_fd = os.pidfd_open(self._warden_pid)
        self._reactor.watch(self._warden_fd, select.EPOLLIN, self._reap)
        here.setblocking(False)
        self._warden = Link(self._reactor, here, self._from_warden, lambda _failure: None, frames.FRAME_MAX)
        self._warden.send([start])

    def _from_warden(self, data: memoryview) -> None:
        said = frames.parse(data)
        if said.kind == Kind.STARTED:
            self._timer.cancel()
            self._pid = said.number
            self._host.migration.arrived(self._pid, self._warden_pid)
        if self._line is not None:
            self._line.send([data])
        if said.kind in frames.LAST and self._warden is not None:
            self._has_ended = True
            self._warden.close()  # then it ends; the home ends the connection when it has read this

    def _reap(self, _mask: int) -> None:
        pid, _ = os.waitpid(self._warden_pid, os.WNOHANG)
        if not pid:
            return
        self._reactor.forget(self._warden_fd)
        os.close(self._warden_fd)
        self._warden = None
        self._host.guests.discard(self)
        self._host.migration.gone(self._pid, self._warden_pid)
        if not self._has_ended:
            self.close()

    def _beat(self) -> None:
        line = self._line
        if line is None or self._silent_s(line) > line.silence_s(self._host.pace()):
            self.close()
            return
        if self._silent_s(line) < MUTE_S:
            line.beat()
        self._beats = self._reactor.call_later(BEAT_S, self._beat)


def _guest_of(node: int, address: str, caller: Caller, program: str) -> Guest:
    if caller.node != node:
        raise ValueError(f"a process of node {caller.node}")
    ids = (caller.pid, caller.pgrp, caller.session, caller.uid, caller.gid)
    return Guest(node, address, *ids, os.path.basename(program)[:15])
