"""The control socket of the stand-alone daemon.

Rules:

1. Only the user of the daemon and root may connect: the socket's mode is 0600, and the kernel is asked who it is.
2. One request of at most ``REQUEST_BYTES_MAX`` bytes from each client, within ``CLIENT_LIMIT_S``, and one answer. At
   most ``CLIENTS_MAX`` clients: one more, and the one that is there longest has to go. So nobody blocks anybody.
3. Nothing that a client sends or does reaches beyond its own connection, but the request itself.
4. Where somebody removes the socket, or puts another one there, it is made anew (:meth:`Control.renew`).
"""

from __future__ import annotations

import os
import selectors
import socket
import stat
import struct
from dataclasses import dataclass, field
from typing import Callable

from mosha.clinit.protocol import REQUEST_BYTES_MAX, Answer, BadRequest, Request, answer_line, request
from mosha.platform import plain

CLIENTS_MAX = 32
CLIENT_LIMIT_S = 5.0
BACKLOG = 16
CREDENTIALS = struct.Struct("3i")        # of SO_PEERCRED: pid, uid, gid


@dataclass(eq=False)
class _Client:
    connection: socket.socket
    until_s: float
    received: bytearray = field(default_factory=bytearray)
    answer: bytearray = field(default_factory=bytearray)


class Control:
    """Listens at ``path`` and calls ``obey(request)``. Raises OSError."""

    def __init__(
        self, path: str, selector: selectors.BaseSelector, now: Callable[[], float], obey: Callable[[Request], Answer]
    ) -> None:
        """Whoever calls this holds the lock of a life, so a socket that lies there is nobody's."""
        self.path = path
        self._selector, self._now, self._obey = selector, now, obey
        self._clients: list[_Client] = []
        self._listen()

    def _listen(self) -> None:
        if os.path.lexists(self.path):
            if not stat.S_ISSOCK(os.lstat(self.path).st_mode):
                raise FileExistsError(f"{self.path} is there and is no socket")
            os.unlink(self.path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            umask = os.umask(0o177)
            try:
                with plain.named(self.path):
                    listener.bind(self.path)
            finally:
                os.umask(umask)
            listener.listen(BACKLOG)
            self._made = os.lstat(self.path)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self._selector.register(listener, selectors.EVENT_READ, lambda _mask: self._accept())

    def renew(self) -> str:
        """Rule 4; why that cannot be, or nothing. Who is connected stays so."""
        if self._is_there():
            return ""
        before = self._listener
        try:
            self._listen()
        except OSError as error:
            return f"nobody can ask at {self.path}: {error.strerror or error}"
        self._selector.unregister(before)
        before.close()
        return ""

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.lstat(self.path), self._made)
        except OSError:
            return False

    def next_due(self) -> float:
        """When :meth:`tick` has something to do."""
        return min((client.until_s for client in self._clients), default=float("inf"))

    def tick(self) -> None:
        """Time went by: who is too slow has to go."""
        now_s = self._now()
        for client in [client for client in self._clients if client.until_s <= now_s]:
            self._drop(client)

    def close(self) -> None:
        """The socket is gone."""
        for client in list(self._clients):
            self._drop(client)
        self._selector.unregister(self._listener)
        self._listener.close()
        if self._is_there():
            os.unlink(self.path)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:                      # gone again, or this process has no descriptor left
            if self._clients:
                self._drop(self._clients[0])
            return
        connection.setblocking(False)
        if len(self._clients) >= CLIENTS_MAX:
            self._drop(self._clients[0])
        client = _Client(connection, self._now() + CLIENT_LIMIT_S)
        self._clients.append(client)
        self._selector.register(connection, selectors.EVENT_READ, lambda mask: self._serve(client, mask))

    def _serve(self, client: _Client, mask: int) -> None:
        try:
            if mask & selectors.EVENT_READ and not client.answer:
                self._receive(client)
            if client.answer:
                del client.answer[: client.connection.send(client.answer)]
                if client.answer:
                    self._selector.modify(
                        client.connection, selectors.EVENT_WRITE, lambda mask: self._serve(client, mask)
                    )
                else:
                    self._drop(client)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._drop(client)

    def _receive(self, client: _Client) -> None:
        room = REQUEST_BYTES_MAX + 1 - len(client.received)
        data = client.connection.recv(room)
        client.received += data
        line, end, _ = bytes(client.received).partition(b"\n")
        if not end and data and len(client.received) <= REQUEST_BYTES_MAX:
            return
        client.answer += answer_line(self._answer(client.connection, line, bool(end)))

    def _answer(self, connection: socket.socket, line: bytes, is_whole: bool) -> Answer:
        try:
            if not _may_ask(connection):
                return Answer(False, "only root and the user of the daemon may ask for that")
            if not is_whole:
                return Answer(False, f"no whole line within {REQUEST_BYTES_MAX} bytes")
            return self._obey(request(line))
        except BadRequest as error:
            return Answer(False, str(error))

    def _drop(self, client: _Client) -> None:
        self._clients.remove(client)
        self._selector.unregister(client.connection)
        client.connection.close()


def _may_ask(connection: socket.socket) -> bool:
    """Rule 1; where the kernel cannot say who it is, the socket's mode has to do."""
    try:
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    except (OSError, AttributeError):
        return True
    return CREDENTIALS.unpack(found)[1] in (0, os.geteuid())
