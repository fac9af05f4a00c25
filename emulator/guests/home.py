"""The home's side: who is away from this node. The daemon keeps a link to each deputy, and one to where its body is.

Rules:

1. A deputy is known by the kernel's word (SO_PEERCRED), and held by a pidfd: no other process is ever taken for it.
2. It goes where it asks to go, or where it is best off if that is all the same to it, if that node takes guests:
   connected within the pace's ``connect_s``, the body running within ``START_S``.
3. The other node says every ``BEAT_S`` that it lives, while it hears this one. Where there are several paths to it, and
   it did not say so for ``SUSPECT_S``, another connection is made, and all goes on over that. Not heard of for
   ``silence_s``, or its connection ended: the deputy is killed (SIGKILL), and the log says so as the genuine kernel
   does. A deputy that ends takes its body along.
4. A deputy that was stopped has its body stopped, and continued with it: looked at every ``BEAT_S``. A body that was
   stopped has its deputy stopped.
5. At most ``AWAY_MAX`` at a time; EAGAIN beyond.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import signal
import socket
import struct
from typing import Callable

from emulator import settings
from emulator.door import Door
from emulator.guests import frames
from emulator.guests.frames import Caller, Frame, Kind
from emulator.guests.line import BEAT_S, Line, is_of_the_path
from emulator.hpc.migration import Migration
from emulator.hpc.procfs import fields_of, groups_of, is_stopped, limits_of
from emulator.hpc.tasks import Tasks
from emulator.membership import Membership, Path
from emulator.mfs import hello
from emulator.mfs.connect import Asker, Attempt
from emulator.mfs.link import Link
from emulator.mfs.pace import Pace
from emulator.reactor import Reactor, Timer

log = logging.getLogger(__name__)

SUSPECT_S = 1.0
ASK_S = 1.0
START_S = 10.0
AWAY_MAX = 256

_CREDENTIALS = struct.Struct("=iII")


class Home:
    """All processes of this node that are away."""

    def __init__(
        self,
        reactor: Reactor,
        membership: Membership,
        migration: Migration,
        tasks: Tasks,
        key: bytes,
        pace: Callable[[], Pace],
        choose: Callable[[Callable[[int], None]], None],
        port: int = settings.GUEST_PORT,
    ) -> None:
        self.reactor = reactor
        self.membership = membership
        self.migration = migration
        self.tasks = tasks
        self.key = key
        self.pace = pace
        self.choose = choose
        self.port = port
        self._path = settings.deputies_path()
        self._all: set[_Away] = set()
        self._door: Door | None = None

    def listen(self) -> None:
        """Let processes ask. OSError if the socket cannot be made."""
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.bind(self._path)
        os.chmod(self._path, 0o666)
        self._door = Door(self.reactor, sock, self._comes)

    def close(self) -> None:
        """Who is away ends, as with a kernel that ends."""
        if self._door is not None:
            self._door.close()
            self._door = None
        for away in list(self._all):
            away.close()

    def gone(self, away: _Away) -> None:
        """``away`` was closed."""
        self._all.discard(away)

    def _comes(self, sock: socket.socket, _address: str) -> None:
        sock.setblocking(False)
        try:
            self._all.add(_Away(self, sock, len(self._all) < AWAY_MAX))
        except OSError as failure:  # it has ended meanwhile
            log.info("openMosix: a process that would go away: %s", failure.strerror)
            sock.close()


class _Away:
    """One process, from when it asks to its end."""

    def __init__(self, home: Home, sock: socket.socket, has_room: bool) -> None:
        self._home = home
        self._reactor = home.reactor
        self._has_room = has_room
        said = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self._pid, self._uid, self._gid = _CREDENTIALS.unpack(said)
        self._pidfd = os.pidfd_open(self._pid)
        if _has_closed(sock):  # who asked has ended, perhaps before the pidfd was had: it may be another's
            os.close(self._pidfd)
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        self._name = ""
        self._node = 0
        self._start: bytes | None = None
        self._number = secrets.randbits(63)
        self._attempt: Attempt | None = None
        self._path: Path | None = None
        self._body: Line | None = None
        self._next: Link | None = None  # where all is to go on
        self._runs = False
        self._is_stopped = False
        self._is_closed = False
        self._beats: Timer | None = None
        self._deputy = Link(self._reactor, sock, self._from_deputy, lambda _failure: self.close(), frames.FRAME_MAX)
        self._timer = self._reactor.call_later(ASK_S, self.close)

    def close(self) -> None:
        """Let go of both ends: the deputy kills itself if its body ran, the other node kills the body."""
        if self._is_closed:
            return
        self._is_closed = True
        self._timer.cancel()
        if self._attempt is not None:
            self._attempt.close()
        self._leave_body()
        self._deputy.close()
        os.close(self._pidfd)
        self._home.migration.ended(self._pid)
        self._home.gone(self)

    def _leave_body(self) -> None:
        if self._beats is not None:
            self._beats.cancel()
        for link in (self._body, self._next):
            if link is not None:
                link.close()
        self._body = self._next = None

    # what the deputy says

    def _from_deputy(self, data: memoryview) -> None:
        try:
            said = frames.parse(data)
            if self._start is None:
                self._ask(said)
            elif said.kind not in frames.FROM_DEPUTY:
                raise ValueError("not for a deputy to say")
            elif self._body is not None and self._runs:
                self._body.send([data])
        except (ValueError, TypeError, BlockingIOError, ProcessLookupError) as error:
            log.warning("openMosix: process %d, which would run elsewhere: %s", self._pid, error)
            self._kill()

    def _ask(self, said: Frame) -> None:
        if said.kind != Kind.START:
            raise ValueError("not a start")
        job = frames.parse_job(said.payload)
        self._name = os.path.basename(job.program)[:15]
        self._start = frames.pack_start(self._caller(), bytes(said.payload))
        self._timer.cancel()
        if len(self._start) + 16 > frames.FRAME_MAX:
            self._refuse(errno.E2BIG)
        elif said.number == frames.ANYWHERE:
            self._home.choose(self._go)
        else:
            self._go(said.number)

    def _go(self, node: int) -> None:
        if self._is_closed:
            return
        self._node = node
        if node == self._home.membership.mospe:
            self._refuse(0)
        elif not self._has_room:
            self._refuse(errno.EAGAIN)
        else:
            self._home.migration.admits(node, self._admitted)

    def _caller(self) -> Caller:
        node = self._home.membership.mospe
        fields, task = fields_of(self._pid), self._home.tasks.of(self._pid)
        if fields is None or task is None:
            raise ValueError("it has ended")
        pgrp, session = int(fields[2]), int(fields[3])
        groups, limits = groups_of(self._pid), limits_of(self._pid)
        signal.pidfd_send_signal(self._pidfd, 0)  # all this was said of it, and not of the next with its pid
        ids = (self._pid, pgrp, session, self._uid, self._gid)
        return Caller(node, socket.gethostname(), *ids, groups, int(fields[16]), limits, task.settings)

    def _admitted(self, code: int) -> None:
        if self._is_closed:
            return
        home, members = self._home, self._home.membership
        if code or self._node not in members.table:
            self._refuse(code or errno.ENXIO)
            return
        self._timer = self._reactor.call_later(home.pace().connect_s, lambda: self._refuse(errno.ENETUNREACH))
        self._attempt = self._dial(self._connected, lambda _error: self._refuse(errno.ENETUNREACH))

    def _dial(self, connected: Callable[[Link, int, Path], None], refused: Callable[[int], None]) -> Attempt:
        """A connection to the node, over another path than the last one if there is one."""
        home, members = self._home, self._home.membership
        paths = members.paths(self._node)
        at = paths.index(self._path) + 1 if self._path in paths else 0
        return Attempt(
            self._reactor, Asker(members.mospe, 0, home.key), self._node, paths[at:] + paths[:at], home.port,
            home.pace().redials(len(paths)), connected, refused, hello.GUESTS,
        )  # fmt: skip

    def _refuse(self, code: int) -> None:
        if not self._is_closed:
            self._timer.cancel()
            self._leave_body()
            self._deputy.send(frames.frame(Kind.REFUSED, code))
            self._timer = self._reactor.call_later(ASK_S, self.close)

    # what the node says where the body is

    def _connected(self, link: Link, _incarnation: int, path: Path) -> None:
        assert self._start is not None
        self._attempt, self._path = None, path
        self._timer.cancel()
        self._timer = self._reactor.call_later(START_S, lambda: self._refuse(errno.ENETUNREACH))
        self._body = Line(link, self._from_body, self._body_ended)
        self._body.send(frames.frame(Kind.START, self._number, self._start))
        self._beat()

    def _from_body(self, said: Frame, data: memoryview) -> None:
        try:
            if said.kind not in frames.FROM_WARDEN:
                raise ValueError("not for a warden to say")
            if said.kind == Kind.STARTED and self._home.membership.seen.get(self._node) is None:
                self._refuse(errno.ENETUNREACH)  # this node has left meanwhile, or is about to
                return
            if said.kind == Kind.STARTED:
                self._timer.cancel()
                self._runs = True
                self._home.migration.left(self._pid, self._node)
            if said.kind == Kind.REFUSED:
                self._refuse(said.number)
                return
            if said.kind == Kind.STOPPED:
                self._is_stopped = True
                self._signal(signal.SIGSTOP)
                return
            self._deputy.send([data])
        except (ValueError, BlockingIOError) as error:
            log.warning("openMosix: node %d, where process %d is: %s", self._node, self._pid, error)
            self._lose()
            return
        if said.kind in frames.LAST:
            self._leave_body()

    def _body_ended(self, failure: OSError) -> None:
        if failure.errno == errno.EPROTO:
            log.warning("openMosix: node %d, where process %d is: %s", self._node, self._pid, failure.strerror)
        if not self._runs:
            self._refuse(errno.ENETUNREACH)
            return
        body = self._body
        if body is None or not body.sleeps_through(failure, self._silent_s(body), self._home.pace()):
            self._lose()

    def _silent_s(self, body: Line) -> float:
        return self._reactor.now() - body.heard_s

    def _beat(self) -> None:
        body = self._body
        if body is None:
            return
        if self._silent_s(body) > body.silence_s(self._home.pace()):
            self._body_ended(OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
            return
        suspect = self._reactor.now() - body.beat_s > SUSPECT_S
        if suspect and self._runs and len(self._home.membership.paths(self._node)) > 1:
            self._try_another()
        body.beat()
        if self._runs:
            self._follow_stop(body)
        self._beats = self._reactor.call_later(BEAT_S, self._beat)

    # over another connection

    def _try_another(self) -> None:
        if self._next is not None and self._reactor.now() - self._next.heard_s > SUSPECT_S:
            self._next.close()
            self._next = None
        if self._attempt is None and self._next is None:
            self._attempt = self._dial(self._reconnected, self._not_reconnected)

    def _not_reconnected(self, _error: int) -> None:
        self._attempt = None

    def _reconnected(self, link: Link, _incarnation: int, path: Path) -> None:
        self._attempt = None
        if self._body is None:  # it has ended meanwhile
            link.close()
            return
        self._path, self._next = path, link
        self._body.hold()
        link.on_frame, link.on_end, link.frame_max = self._resumed, self._next_ended, frames.FRAME_MAX
        link.send(frames.resume(self._number, self._body.taken))

    def _resumed(self, data: memoryview) -> None:
        link, self._next = self._next, None
        try:
            said = frames.parse(data)
            if said.kind != Kind.RESUME or link is None or self._body is None:
                raise ValueError("not what goes on")
            self._body.go_on(link, said.number)
        except ValueError as error:
            log.warning("openMosix: node %d, where process %d is: %s", self._node, self._pid, error)
            self._lose()

    def _next_ended(self, failure: OSError) -> None:
        self._next = None
        if not is_of_the_path(failure):  # there is no such guest any more
            self._lose()

    def _follow_stop(self, body: Line) -> None:
        if is_stopped(self._pid) != self._is_stopped:
            self._is_stopped = not self._is_stopped
            body.send(frames.frame(Kind.SIGNAL, signal.SIGSTOP if self._is_stopped else signal.SIGCONT))

    def _lose(self) -> None:
        """Rule 3; the words are the genuine kernel's."""
        log.warning(
            "Process %d(%s), uid=%d, killed because it lost communication", self._pid, self._name, self._uid
        )
        log.warning("with the remote node where it was running")
        self._kill()

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
        self.close()

    def _signal(self, number: signal.Signals) -> None:
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            pass


def _has_closed(sock: socket.socket) -> bool:
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
