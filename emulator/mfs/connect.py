"""Making a connection to a peer: TCP, then the hello.

Rules:

1. An unanswered TCP connect is made anew as ``redials_s`` says (:mod:`emulator.mfs.pace`), each time over the next
   path; where there is another one, so is a hello that does not come to its end. A path that does not lead there is
   passed over at once; when none does it is over, and so it is when the node itself refuses.
2. It ends with exactly one of ``on_connected`` and ``on_refused``, or with close().
"""

from __future__ import annotations

import errno
import logging
import select
import socket
from collections.abc import Sequence
from typing import Callable, NamedTuple

from emulator.membership import Path
from emulator.mfs import hello
from emulator.mfs.link import Link, tune
from emulator.reactor import Reactor, Timer

log = logging.getLogger(__name__)

_BY_THE_NODE = (errno.ECONNREFUSED, errno.EREMOTE)


class Asker(NamedTuple):
    """Who this node is to the others."""

    node: int
    incarnation: int
    key: bytes


class Attempt:
    """Tries to reach ``node`` over ``paths``, the first one first.

    ``on_connected`` gets the link, the node's incarnation and the path; ``on_refused`` an errno, EREMOTE if the hello
    failed.
    """

    def __init__(
        self,
        reactor: Reactor,
        asker: Asker,
        node: int,
        paths: Sequence[Path],
        port: int,
        redials_s: tuple[float, float] | None,
        on_connected: Callable[[Link, int, Path], None],
        on_refused: Callable[[int], None],
        service: hello.Service = hello.FILES,
    ) -> None:
        self._reactor = reactor
        self._asker = asker
        self._node = node
        self._paths = paths
        self._port = port
        self._at = 0
        self._impassable = 0
        self._on_connected = on_connected
        self._on_refused = on_refused
        self._sock: socket.socket | None = None
        self._link: Link | None = None
        self._service = service
        self._redials_s = redials_s
        self._challenge = b""
        self._asked = b""
        self._timer: Timer = reactor.call_later(0, self._dial)

    def close(self) -> None:
        """Give up."""
        self._timer.cancel()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._sock is not None:
            self._reactor.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None
        if self._link is not None:
            self._link.close(reset=True)
            self._link = None
        self._asked = b""

    def _dial(self) -> None:
        self._hang_up()
        own, other = self._paths[self._at]
        self._sock = sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            tune(sock)
            sock.bind((own, 0))  # the peer knows us by it
            sock.connect((other, self._port))
        except BlockingIOError:
            pass
        except OSError as failure:
            self._fail(failure.errno or errno.EIO)
            return
        self._reactor.watch(sock.fileno(), select.EPOLLOUT, self._dialled)
        if self._redials_s is not None:
            first_s, later_s = self._redials_s
            self._timer = self._reactor.call_later(first_s, self._redial)
            self._redials_s = (later_s, later_s)

    def _redial(self) -> None:
        self._impassable = 0
        self._at = (self._at + 1) % len(self._paths)
        self._dial()

    def _dialled(self, _mask: int) -> None:
        assert self._sock is not None
        error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._fail(error)
            return
        if len(self._paths) == 1:
            self._timer.cancel()
        sock, self._sock = self._sock, None
        self._link = Link(self._reactor, sock, self._frame, self._ended, hello.HELLO_MAX)

    def _frame(self, frame: memoryview) -> None:
        assert self._link is not None
        asker, path = self._asker, self._paths[self._at]
        try:
            if not self._asked:
                self._challenge = bytes(frame)
                self._asked = hello.ask(asker.key, frame, asker.node, self._node, asker.incarnation, self._service)
                self._link.send([self._asked])
                return
            incarnation = hello.check_grant(asker.key, self._challenge, self._asked, frame, self._node)
        except hello.Refused as reason:
            log.warning("openMosix: node %d at %s: %s", self._node, path.other, reason)
            self._fail(errno.EREMOTE)
            return
        self._timer.cancel()
        link, self._link = self._link, None
        self._on_connected(link, incarnation, path)

    def _ended(self, _failure: OSError) -> None:
        self._fail(errno.EREMOTE)

    def _fail(self, error: int) -> None:
        self._timer.cancel()
        self._impassable += 1
        if error in _BY_THE_NODE or self._impassable >= len(self._paths):
            self.close()
            self._on_refused(error)
        else:
            self._at = (self._at + 1) % len(self._paths)
            self._dial()
