"""HTTP/1.1 over a UNIX socket in one loop, as much of it as the SDK and a power switch speak.

Rules:

1. A request is handled when it is whole, in the order of its connection; its body has at most ``BODY_BYTES_MAX``.
2. What handles a request may take the connection over: then it is no longer ours.
"""

from __future__ import annotations

import json
import select
import socket
from dataclasses import dataclass, field
from typing import Any, Callable, Union
from urllib.parse import parse_qsl, unquote, urlsplit

from emulator.door import Door
from emulator.reactor import Reactor

HEAD_BYTES_MAX = 65536
BODY_BYTES_MAX = 256 << 20
READ_BYTES = 1 << 20
SEND_LIMIT_S = 30.0
WORDS = {200: "OK", 201: "Created", 204: "No Content", 304: "Not Modified", 400: "Bad Request", 404: "Not Found",
         409: "Conflict", 500: "Internal Server Error"}


@dataclass(frozen=True)
class Request:
    """``query`` has the last value of each name."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty without one. ValueError."""
        return dict(json.loads(self.body)) if self.body.strip() else {}


@dataclass(frozen=True)
class Answer:
    """``body``: bytes as they are, anything else as JSON, None for nothing."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        if isinstance(self.body, bytes):
            body, kind = self.body, "application/octet-stream"
        else:
            body, kind = b"" if self.body is None else json.dumps(self.body).encode(), "application/json"
        lines = [f"HTTP/1.1 {self.status} {WORDS[self.status]}", *(f"{n}: {v}" for n, v in self.headers.items())]
        if self.status not in (204, 304):
            lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body


TakeOver = Callable[[socket.socket], None]
"""What is given a connection that is to be a raw stream; it has to close it."""
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
Handle = Callable[[Request], Union[Answer, TakeOver]]


def listen(reactor: Reactor, path: str, handle: Handle) -> Door:
    """Accept connections at ``path``. OSError."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listening.bind(path)

    def let_in(connected: socket.socket, _address: object) -> None:
        _Connection(reactor, connected, handle)

    return Door(reactor, listening, let_in)


class _Connection:
    def __init__(self, reactor: Reactor, connected: socket.socket, handle: Handle) -> None:
        self._reactor, self._socket, self._handle = reactor, connected, handle
        self._buffer = b""
        connected.settimeout(SEND_LIMIT_S)
        reactor.watch(connected.fileno(), select.EPOLLIN, self._read)

    def _read(self, _mask: int) -> None:
        try:
            piece = self._socket.recv(READ_BYTES)
            self._buffer += piece
            if not piece:
                raise ValueError("closed")
            while (request := self._whole()) is not None:
                answer = self._handle(request)
                if not isinstance(answer, Answer):
                    self._reactor.forget(self._socket.fileno())
                    answer(self._socket)
                    return
                self._socket.sendall(answer.encoded())
        except (OSError, ValueError):                        # it is gone, or speaks something else
            self._reactor.forget(self._socket.fileno())
            self._socket.close()

    def _whole(self) -> Request | None:
        """The next request, if all of it is there; ValueError for what is none."""
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            if len(head) > HEAD_BYTES_MAX:
                raise ValueError("a head without end")
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if length > BODY_BYTES_MAX or "transfer-encoding" in headers:
            raise ValueError("a body that is too long, or in pieces")
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        method, target, _version = first.split(" ")
        parts = urlsplit(target)
        return Request(method, unquote(parts.path), dict(parse_qsl(parts.query, True)), rest[:length])
