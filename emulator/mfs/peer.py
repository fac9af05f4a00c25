"""Another node as this one asks it: requests go out as the kernel made them, answers come back in any order.

Rules:

1. Every request has a deadline, by the node's pace (:mod:`emulator.mfs.pace`); then EAGAIN. The request may have been
   carried out all the same. That of an fsync is as far away only while the peer says that it lives, that of a big
   write while its machine takes what is sent.
2. A peer that works on a request says that it lives. If nothing at all was heard since a request was sent that has
   expired, the peer is lost: the connection is reset, nothing more is sent on it. What waits then fails with EAGAIN and
   a new connection is tried in the background while the peer cools, so that a healed link serves at once; or, if the
   pace says so or there is another path, it waits within its time for the new connection to be sent once more. The peer
   carries it out once, unless it has started anew meanwhile, or ``ASKED_MAX`` requests were sent since: then EAGAIN.
3. A closed port is ECONNREFUSED, a peer that refuses the hello EREMOTE, both at once and without cooling.
4. An answer that comes too late gives its handle back. On a new connection the peer is told which handles are in
   use, and closes all others. Forgotten references are told in batches, ``FORGETS_MAX`` kept at most.
5. Each operation is counted once, by how it ended here.
6. Where there are several paths to the peer one is in use, until it has ended or was silent for the pace's
   ``suspect_s``: then the others are tried as well. The first connection takes the place of the one that there is.
7. What is known of the peer's handles survives a change of either node's place in the map.
8. Nobody waits for a handle to be closed, so the peer gives no answer; if it does not hear of it, rule 4 closes it.
"""

from __future__ import annotations

import errno
import logging
from typing import cast

from emulator.fuse import protocol as fuse
from emulator.fuse.protocol import Request
from emulator.membership import Path
from emulator.mfs.again import AT_ONCE_S, GivenUp, Key, key_of
from emulator.mfs.client import ASKED_MAX
from emulator.mfs.connect import Asker, Attempt
from emulator.mfs.counters import LinkTally, Tally
from emulator.mfs.link import Link
from emulator.mfs.pace import Pace, is_big
from emulator.reactor import Reactor, Timer

log = logging.getLogger(__name__)

FORGETS_MAX = 65536
FORGET_S = 0.1

_AT_ONCE = (errno.ECONNREFUSED, errno.EREMOTE)
_MEANS = {
    errno.ENETUNREACH: errno.EHOSTUNREACH,
    errno.EHOSTDOWN: errno.EHOSTUNREACH,
    errno.ECONNRESET: errno.EREMOTE,
    errno.EADDRNOTAVAIL: errno.EREMOTE,  # this node does not have the address that the map says
}


class _Waiting:
    """A request without an answer. ``frame`` is kept for as long as it may still have to be sent."""

    __slots__ = (
        "begin_s", "frame", "is_big", "key", "limit_s", "place", "repeated", "request", "sent_s", "silent_s", "until_s"
    )  # fmt: skip

    def __init__(self, request: Request, key: Key | None, pace: Pace, begin_s: float) -> None:
        self.request = request
        self.key = key
        self.limit_s = pace.limit_s(request)
        self.silent_s = pace.reply_s
        self.is_big = is_big(request)
        self.begin_s = self.sent_s = begin_s
        self.until_s = begin_s + self.silent_s
        self.frame = b""
        self.place = 0  # its number among all that were sent to the peer; 0 before
        self.repeated = False


class Peer:
    """Node ``node``, and the connection to it, made when it is needed."""

    def __init__(
        self, reactor: Reactor, node: int, asker: Asker, paths: tuple[Path, ...], port: int, pace: Pace
    ) -> None:
        self.asker = asker
        self.paths = paths
        self.pace = pace
        self.tally = Tally()
        self.links: dict[Path, LinkTally] = {}
        self._port = port
        self._path = paths[0]  # in use, or the last one that was
        self._sent = 0
        self._suspicion: Timer | None = None
        self._given_up = GivenUp()
        self._reactor = reactor
        self._node = node
        self._waiting: dict[int, _Waiting] = {}
        self._late: dict[int, int] = {}  # unique of a request given up -> its opcode
        self._attempt: Attempt | None = None
        self._link: Link | None = None
        self._incarnation: int | None = None
        self._cool_until_s = 0.0
        self._cool_errno = errno.EAGAIN
        self._timer: Timer | None = None
        self._forgets: dict[int, int] = {}
        self._forget_timer: Timer | None = None
        self._handles: set[int] = set()

    @property
    def path(self) -> Path | None:
        """The path in use, if there is a connection."""
        return self._path if self._link is not None else None

    def forward(self, request: Request) -> None:
        """Ask; the answer comes in time, whatever happens. Raises OSError if it is known to be in vain."""
        if request.opcode in fuse.CLOSES:
            self._release(request)
            return
        now_s, pace = self._reactor.now(), self.pace
        frame = request.frame
        key = key_of(request)
        if key is not None:
            self._given_up.check(key, now_s)
        waiting = _Waiting(request, key, pace, now_s)
        if self._link is not None:
            self._link.send([frame])
            self._count(waiting)
            if self._repeats:
                waiting.frame = bytes(frame)
                self._watch()
        elif now_s < self._cool_until_s:
            self.tally.add(request.opcode, -self._cool_errno, 0.0)
            raise OSError(self._cool_errno, f"node {self._node} does not answer")
        else:
            waiting.frame = bytes(frame)
            waiting.until_s = now_s + pace.connect_s
            self._attempt = self._attempt or self._connect(self._path)
        self._waiting[request.unique] = waiting
        if self._timer is None or self._timer.when_s > waiting.until_s:
            self._expire_at(waiting.until_s)

    def forget(self, nodeid: int, count: int) -> None:
        """Tell the peer, by and by, that ``count`` references to ``nodeid`` are dropped."""
        if nodeid in self._forgets or len(self._forgets) < FORGETS_MAX:
            self._forgets[nodeid] = self._forgets.get(nodeid, 0) + count
        if self._forget_timer is None and self._link is not None:
            self._forget_timer = self._reactor.call_later(FORGET_S, self._send_forgets)

    def close(self, error: int) -> None:
        """Drop the connection; whoever waits gets ``error``."""
        self._disconnect()
        for timer in (self._forget_timer, self._suspicion):
            if timer is not None:
                timer.cancel()
        self._forget_timer = self._suspicion = None
        self._cool_until_s = 0.0
        self._fail_all(error)

    def _release(self, request: Request) -> None:
        """Close a handle (rule 8). OSError EAGAIN if too much waits to be sent."""
        self._handles.discard(fuse.released(request))
        self.tally.add(request.opcode, 0, 0.0)
        if self._link is not None:
            self._link.send([request.frame])
            self.links[self._path].requests += 1
        request.reply()

    # the connection

    @property
    def _repeats(self) -> bool:
        return self.pace.repeats or len(self.paths) > 1

    def _connect(self, first: Path) -> Attempt:
        """A new connection, over this path first."""
        at = self.paths.index(first) if first in self.paths else 0
        return Attempt(
            self._reactor, self.asker, self._node, self.paths[at:] + self.paths[:at], self._port,
            self.pace.redials(len(self.paths)), self._connected, self._refused,
        )  # fmt: skip

    def _other(self) -> Path:
        """The path after the one in use."""
        at = self.paths.index(self._path) + 1 if self._path in self.paths else 0
        return self.paths[at % len(self.paths)]

    def _connected(self, link: Link, incarnation: int, path: Path) -> None:
        self._attempt = None
        self._cool_until_s = 0.0
        if self._link is not None:
            self._drop_link()
        self._link, self._path = link, path
        self.links.setdefault(path, LinkTally()).connected += 1
        link.on_frame, link.on_end, link.frame_max = self._frame, self._ended, fuse.MAX_REQUEST
        is_new = incarnation != self._incarnation
        if is_new:
            self._incarnation = incarnation
            self._handles.clear()
            self._forgets.clear()
        again: list[_Waiting] = []
        for waiting in list(self._waiting.values()):
            if waiting.place and (is_new or self._sent - waiting.place >= ASKED_MAX):
                self._fail(waiting, errno.EAGAIN)
            else:
                again.append(waiting)
        link.send([fuse.keep(self._handles, [waiting.request.unique for waiting in again if waiting.place])])
        for waiting in again:
            try:
                self._send(waiting, link)
            except BlockingIOError:  # more waits than a link may queue
                self._fail(waiting, errno.EAGAIN)
        self._send_forgets()

    def _send(self, waiting: _Waiting, link: Link) -> None:
        link.send([waiting.frame])
        self._count(waiting)
        waiting.sent_s = self._reactor.now()
        waiting.until_s = min(waiting.sent_s + waiting.silent_s, self._end_s(waiting))
        if self._repeats:
            self._watch()
        else:
            waiting.frame = b""

    def _end_s(self, waiting: _Waiting) -> float:
        """When it is over for a request that was sent, if all the time the peer says that it lives."""
        return min(waiting.sent_s + waiting.limit_s, waiting.begin_s + self.pace.bound_s(waiting.limit_s))

    def _count(self, waiting: _Waiting) -> None:
        self._sent += 1
        waiting.place = waiting.place or self._sent
        self.links[self._path].requests += 1

    def _watch(self) -> None:
        """See to it that silence makes the path suspect."""
        if self._suspicion is None and len(self.paths) > 1 and self.pace.suspect_s:
            self._suspicion = self._reactor.call_later(self.pace.suspect_s, self._suspect)

    def _suspect(self) -> None:
        self._suspicion = None
        link = self._link
        if link is None or not self._waiting:
            return
        since_s = max(link.heard_s, min(waiting.sent_s for waiting in self._waiting.values()))
        left_s = since_s + self.pace.suspect_s - self._reactor.now()
        if left_s > 0:
            self._drop_attempt()  # it lives after all
        elif self._attempt is None:
            self._attempt = self._connect(self._other())
        self._suspicion = self._reactor.call_later(max(left_s, self.pace.suspect_s / 4), self._suspect)

    def _refused(self, error: int) -> None:
        self._attempt = None
        if self._link is not None:  # which is only suspect
            return
        error = _MEANS.get(error, error)
        if error in _AT_ONCE:
            self._cool_until_s = 0.0
        else:
            self._cool(error)
        self._fail_all(error)

    def _ended(self, failure: OSError) -> None:
        if failure.errno == errno.EPROTO:
            log.warning("MFS: node %d: %s", self._node, failure.strerror)
        self._link = None
        self.links[self._path].lost += 1
        self._repeat_or_fail()

    def _lost(self) -> None:
        self._drop_link()
        if not self.pace.repeats:
            self._cool(errno.EAGAIN)
            if self._attempt is None:
                self._attempt = self._connect(self._other())
        self._repeat_or_fail()

    def _repeat_or_fail(self) -> None:
        """After the connection went: what may be sent once more waits for the next one, all else fails."""
        now_s = self._reactor.now()
        until_s = now_s + self.pace.connect_s
        for waiting in list(self._waiting.values()):
            bound_s = waiting.begin_s + self.pace.bound_s(waiting.limit_s)
            if self._repeats and waiting.frame and not waiting.repeated and bound_s > now_s:
                waiting.repeated = True
                waiting.until_s = min(until_s, bound_s)
            else:
                self._fail(waiting, errno.EAGAIN)
        self._late.clear()
        if self._waiting:
            self._attempt = self._attempt or self._connect(self._other())
            self._expire_at(min(waiting.until_s for waiting in self._waiting.values()))

    def _cool(self, error: int) -> None:
        self._cool_until_s = self._reactor.now() + self.pace.cool_s
        self._cool_errno = error
        self._reactor.call_later(self.pace.cool_s, self._cooled)

    def _cooled(self) -> None:
        if not self._waiting and self._reactor.now() >= self._cool_until_s:
            self._drop_attempt()

    def _disconnect(self) -> None:
        self._drop_attempt()
        self._drop_link()

    def _drop_attempt(self) -> None:
        if self._attempt is not None:
            self._attempt.close()
            self._attempt = None

    def _drop_link(self) -> None:
        if self._link is not None:
            self._link.close(reset=True)
            self._link = None
            self.links[self._path].lost += 1

    def _send_forgets(self) -> None:
        self._forget_timer = None
        if self._link is not None and self._forgets:
            self._link.send([fuse.batch_forget(self._forgets)])
            self._forgets.clear()

    # answers

    def _frame(self, frame: memoryview) -> None:
        _, error, unique = fuse.OUT_HEADER.unpack_from(frame)
        answer = frame[fuse.OUT_HEADER.size :]
        waiting = self._waiting.get(unique)
        if waiting is not None:
            request = waiting.request
            if not error and request.opcode in fuse.GIVES_HANDLE:
                self._handles.add(cast(int, fuse.handle_in(request.opcode, answer)))
            del self._waiting[unique]  # not before: an answer that is cut short is none
            assert self._link is not None
            self.tally.add(request.opcode, error, self._link.heard_s - waiting.begin_s)
            request.answered = True
            request.sink.send(request, error, (answer,))
        else:
            opcode = self._late.pop(unique, 0)
            if opcode and not error:
                self._undo(opcode, answer)

    def _undo(self, opcode: int, answer: memoryview) -> None:
        """A late answer gave what nobody will give back: do it here."""
        nodeid, handle = fuse.node_in(opcode, answer), fuse.handle_in(opcode, answer)
        if nodeid is not None:
            self.forget(nodeid, 1)
        if handle is not None and self._link is not None:
            self._link.send([fuse.release(handle)])

    def _fail(self, waiting: _Waiting, error: int) -> None:
        request = waiting.request
        self._waiting.pop(request.unique, None)
        now_s = self._reactor.now()
        self.tally.add(request.opcode, -error, now_s - waiting.begin_s)
        if waiting.key is not None and now_s - waiting.begin_s > AT_ONCE_S:
            self._given_up.add(waiting.key, error, now_s)
        request.fail(error)

    def _expire_at(self, when_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._reactor.call_later(when_s - self._reactor.now(), self._expire)

    def _expire(self) -> None:
        self._timer = None
        now_s = self._reactor.now()
        link = self._link
        if link is not None:
            for waiting in self._waiting.values():
                if waiting.until_s > now_s:
                    continue
                heard_s = link.taken_s if waiting.is_big else link.heard_s
                if heard_s >= waiting.sent_s and now_s < heard_s + waiting.silent_s:
                    waiting.until_s = min(self._end_s(waiting), heard_s + waiting.silent_s)
        expired = [waiting for waiting in self._waiting.values() if waiting.until_s <= now_s]
        if link is not None:
            lost = any(waiting.sent_s >= link.heard_s for waiting in expired)
        else:
            lost = bool(expired) and not self.pace.repeats
        if lost:
            self._lost()
        else:
            for waiting in expired:
                self._late[waiting.request.unique] = waiting.request.opcode
                self._fail(waiting, errno.EAGAIN)
            if expired and link is None and not self._waiting:
                self._drop_attempt()
        if self._waiting:
            self._expire_at(min(waiting.until_s for waiting in self._waiting.values()))

    def _fail_all(self, error: int) -> None:
        self._late.clear()
        for waiting in list(self._waiting.values()):
            self._fail(waiting, error)
