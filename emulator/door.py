"""A listening socket: who comes is told of; and where there is no descriptor for him, he waits.

Rule: then it rests for ``REST_S``, and the log says so. It would be told of him again and again, and do nothing else.
"""

from __future__ import annotations

import errno
import logging
import select
import socket
from typing import Any, Callable

from emulator.reactor import Reactor, Timer

log = logging.getLogger(__name__)

BACKLOG = 128
REST_S = 0.5
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Door:
    """``sock``, bound, is owned; ``on_come(sock, address)`` is called for each that comes. OSError."""

    def __init__(self, reactor: Reactor, sock: socket.socket, on_come: Callable[[socket.socket, Any], None]) -> None:
        self._reactor = reactor
        self._sock = sock
        self._on_come = on_come
        self._rest: Timer | None = None
        sock.listen(BACKLOG)
        sock.setblocking(False)
        self._open()

    def close(self) -> None:
        """Nobody may come any more."""
        if self._rest is not None:
            self._rest.cancel()
        self._reactor.forget(self._sock.fileno())
        self._sock.close()

    def _open(self) -> None:
        self._rest = None
        self._reactor.watch(self._sock.fileno(), select.EPOLLIN, self._accept)

    def _accept(self, _mask: int) -> None:
        try:
            sock, address = self._sock.accept()
        except OSError as failure:
            if failure.errno in NO_ROOM:
                log.error("openMosix: no room for a connection: %s", failure.strerror)
                self._reactor.forget(self._sock.fileno())
                self._rest = self._reactor.call_later(REST_S, self._open)
            return
        self._on_come(sock, address)
