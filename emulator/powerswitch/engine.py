"""The container engine's HTTP API over its UNIX socket, as much of it as a power switch needs.

Source: Docker Engine API reference, v1.41.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Any
from urllib.parse import quote, urlencode

ANSWER_BYTES_MAX = 16 << 20


class EngineError(Exception):
    """The engine did not answer, or not as asked; the text says what was asked."""


class Engine:
    """The engine behind a UNIX socket. Threads may share it: each request is a connection of its own."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path

    def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, limit_s: float = 30.0
    ) -> tuple[int, Any]:
        """HTTP status and decoded JSON answer (None if empty); EngineError if none is in time."""
        connection = _UnixConnection(self._socket_path, time.monotonic() + max(limit_s, 0.001))
        try:
            connection.request(
                method, path, body=None if body is None else json.dumps(body),
                headers={"Content-Type": "application/json"},
            )
            response = connection.getresponse()
            text = response.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"engine: {method} {path}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        try:
            return response.status, json.loads(text) if text.strip() else None
        except ValueError as error:
            raise EngineError(f"engine: {method} {path}: the answer is not JSON") from error


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket, with one time-out for each wait."""

    def __init__(self, path: str, deadline_s: float) -> None:
        super().__init__("engine", timeout=max(0.001, deadline_s - time.monotonic()))
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def query(path: str, **parameters: object) -> str:
    """``path`` with a query string; a dict or list becomes JSON, as the engine wants its filters."""
    plain = {
        name: json.dumps(value) if isinstance(value, (dict, list)) else str(value)
        for name, value in parameters.items()
    }
    return f"{path}?{urlencode(plain, quote_via=quote)}"


def with_labels(*labels: str) -> dict[str, list[str]]:
    """The filter for objects that carry all of ``labels`` (``name=value``)."""
    return {"label": list(labels)}
