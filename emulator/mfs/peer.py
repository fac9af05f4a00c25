"""Another node as this one asks it: requests go out as the kernel made them, answers come back in any order.

Rules:

1. Every request has a deadline: ``LIMIT_S``, or ``SLOW_S`` for fsync and big writes; then EAGAIN. The request may
   have been carried out all the same.
2. If nothing at all was heard since such a request was sent, the peer is lost: everything that waits for it fails
   with EAGAIN, and for ``COOL_S`` every request does so at once. The connection is reset: nothing more is sent.
3. From then until ``COOL_S`` is over a new connection is tried in the background: a healed link serves at once.
4. A closed port is ECONNREFUSED, a peer that refuses the hello EREMOTE, both at once and without cooling.
5. An answer that comes too late gives its handle back. On a new connection the peer is told which handles are in
   use, and closes all others. Forgotten references are told in batches, ``FORGETS_MAX`` kept at most.
"""

from __future__ import annotations

import errno
import logging
from typing import NamedTuple

from emulator.fuse import protocol as fuse
from emulator.fuse.protocol import Request
from emulator.mfs.connect import Asker, Attempt
from emulator.mfs.link import Link
from emulator.reactor import Reactor, Timer

log = logging.getLogger(__name__)

LIMIT_S = 1.0
SLOW_S = 5.0
COOL_S = 1.0
BIG_BYTES = 64 << 10
FORGETS_MAX = 65536
FORGET_S = 0.1

_SLOW = (fuse.FSYNC, fuse.FSYNCDIR)
_GIVES_NODE = (fuse.LOOKUP, fuse.SYMLINK, fuse.MKNOD, fuse.MKDIR, fuse.LINK, fuse.CREATE)
_GIVES_HANDLE = {fuse.OPEN: 0, fuse.OPENDIR: 0, fuse.CREATE: fuse.ENTRY_OUT.size}  # where in the answer it is
_CLOSES = (fuse.RELEASE, fuse.RELEASEDIR)
_AT_ONCE = (errno.ECONNREFUSED, errno.EREMOTE)
_MEANS = {
    errno.ENETUNREACH: errno.EHOSTUNREACH,
    errno.EHOSTDOWN: errno.EHOSTUNREACH,
    errno.ECONNRESET: errno.EREMOTE,
    errno.EADDRNOTAVAIL: errno.EREMOTE,  # this node does not have the address that the map says
}


class _Waiting(NamedTuple):
    request: Request
    sent_s: float
    until_s: float


class Peer:
    """The connection to node ``node`` at ``place``, made when it is needed."""

    def __init__(self, reactor: Reactor, asker: Asker, node: int, place: tuple[str, int]) -> None:
        self.place = place
        self.asker = asker
        self._reactor = reactor
        self._node = node
        self._waiting: dict[int, _Waiting] = {}
        self._late: dict[int, int] = {}  # unique of a request given up -> its opcode
        self._early: list[bytes] = []  # frames that wait for a connection
        self._attempt: Attempt | None = None
        self._link: Link | None = None
        self._incarnation: int | None = None
        self._cool_until_s = 0.0
        self._cool_errno = errno.EAGAIN
        self._timer: Timer | None = None
        self._forgets: dict[int, int] = {}
        self._forget_timer: Timer | None = None
        self._handles: set[int] = set()

    def forward(self, request: Request) -> None:
        """Ask; the answer comes in time, whatever happens. Raises OSError if it is known to be in vain."""
        now_s = self._reactor.now()
        frame = request.frame
        if request.opcode in _CLOSES:
            (number, *_) = fuse.RELEASE_IN.unpack_from(frame, fuse.IN_HEADER.size)
            self._handles.discard(number)
        if self._link is not None:
            self._link.send([frame])
        elif now_s < self._cool_until_s:
            raise OSError(self._cool_errno, f"node {self._node} does not answer")
        else:
            self._early.append(bytes(frame))
            if self._attempt is None:
                self._attempt = self._connect()
        slow = request.opcode in _SLOW or len(frame) > BIG_BYTES
        until_s = now_s + (SLOW_S if slow else LIMIT_S)
        self._waiting[request.unique] = _Waiting(request, now_s, until_s)
        if self._timer is None or self._timer.when_s > until_s:
            self._expire_at(until_s)

    def forget(self, nodeid: int, count: int) -> None:
        """Tell the peer, by and by, that ``count`` references to ``nodeid`` are dropped."""
        if nodeid in self._forgets or len(self._forgets) < FORGETS_MAX:
            self._forgets[nodeid] = self._forgets.get(nodeid, 0) + count
        if self._forget_timer is None and self._link is not None:
            self._forget_timer = self._reactor.call_later(FORGET_S, self._send_forgets)

    def close(self, error: int) -> None:
        """Drop the connection for good; whoever waits gets ``error``."""
        self._disconnect()
        for timer in (self._timer, self._forget_timer):
            if timer is not None:
                timer.cancel()
        self._fail_all(error)

    # the connection

    def _connect(self) -> Attempt:
        return Attempt(self._reactor, self.asker, self._node, self.place, self._connected, self._refused)

    def _connected(self, link: Link, incarnation: int) -> None:
        self._attempt = None
        self._cool_until_s = 0.0
        self._link = link
        link.on_frame, link.on_end, link.frame_max = self._frame, self._ended, fuse.MAX_REQUEST
        if incarnation != self._incarnation:
            self._incarnation = incarnation
            self._handles.clear()
            self._forgets.clear()
        link.send([fuse.keep(self._handles), *self._early])
        self._early.clear()
        self._send_forgets()

    def _refused(self, error: int) -> None:
        self._attempt = None
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
        self._fail_all(errno.EAGAIN)

    def _lost(self) -> None:
        if self._link is not None:
            self._disconnect()
            self._attempt = self._connect()
        self._cool(errno.EAGAIN)
        self._fail_all(errno.EAGAIN)

    def _cool(self, error: int) -> None:
        self._cool_until_s = self._reactor.now() + COOL_S
        self._cool_errno = error
        self._reactor.call_later(COOL_S, self._cooled)

    def _cooled(self) -> None:
        if not self._waiting and self._attempt is not None and self._reactor.now() >= self._cool_until_s:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._attempt is not None:
            self._attempt.close()
            self._attempt = None
        if self._link is not None:
            self._link.close(reset=True)
            self._link = None

    def _send_forgets(self) -> None:
        self._forget_timer = None
        if self._link is not None and self._forgets:
            self._link.send([fuse.batch_forget(self._forgets)])
            self._forgets.clear()

    # answers

    def _frame(self, frame: memoryview) -> None:
        _, error, unique = fuse.OUT_HEADER.unpack_from(frame)
        answer = frame[fuse.OUT_HEADER.size :]
        waiting = self._waiting.pop(unique, None)
        if waiting is not None:
            request = waiting.request
            if not error and request.opcode in _GIVES_HANDLE:
                self._handles.add(_handle_in(request.opcode, answer))
            request.answered = True
            request.sink.send(request, error, (answer,))
        else:
            opcode = self._late.pop(unique, 0)
            if opcode and not error:
                self._undo(opcode, answer)

    def _undo(self, opcode: int, answer: memoryview) -> None:
        """A late answer gave what nobody will give back: do it here."""
        if opcode in _GIVES_NODE:
            (nodeid, *_) = fuse.ENTRY_OUT.unpack_from(answer)
            self.forget(nodeid, 1)
        if opcode in _GIVES_HANDLE and self._link is not None:
            self._link.send([fuse.release(_handle_in(opcode, answer))])

    def _expire_at(self, when_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._reactor.call_later(when_s - self._reactor.now(), self._expire)

    def _expire(self) -> None:
        self._timer = None
        now_s = self._reactor.now()
        expired = [waiting for waiting in self._waiting.values() if waiting.until_s <= now_s]
        heard_s = self._link.heard_s if self._link is not None else 0.0
        if any(waiting.sent_s >= heard_s for waiting in expired):
            self._lost()
            return
        for request, *_ in expired:
            del self._waiting[request.unique]
            self._late[request.unique] = request.opcode
            request.fail(errno.EAGAIN)
        if self._waiting:
            self._expire_at(min(waiting.until_s for waiting in self._waiting.values()))

    def _fail_all(self, error: int) -> None:
        waiting, self._waiting = self._waiting, {}
        self._early.clear()
        self._late.clear()
        for request, *_ in waiting.values():
            request.fail(error)


def _handle_in(opcode: int, answer: memoryview) -> int:
    (number, *_) = fuse.OPEN_OUT.unpack_from(answer, _GIVES_HANDLE[opcode])
    return int(number)
