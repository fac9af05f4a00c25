"""A container's standard streams over the engine's hijacked connection, with time-outs.

Source: Docker Engine API reference, "Attach to a container", stream format: a header of 8 bytes (stream, 0,
0, 0, length) before each piece.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import Any, NamedTuple

from moslab.errors import LabError

HEADER = struct.Struct(">BxxxL")
PIECE_BYTES = 65536


class Piece(NamedTuple):
    """Bytes of stream 1 (standard output) or 2 (standard error)."""

    stream: int
    data: bytes


class Streams:
    """The connection that ``attach_socket`` or ``exec_start(socket=True)`` gave."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        # SocketIO for a UNIX socket or TCP; else it is itself what sends and receives
        self._socket: socket.socket = getattr(raw, "_sock", raw)
        self._buffer = self._read_ahead()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self, deadline_s: float) -> Piece | None:
        """The next piece, None at the end; LabError when there is none before ``deadline_s`` (monotonic)."""
        header = self._exactly(HEADER.size, deadline_s)
        if header is None:
            return None
        stream, length = HEADER.unpack(header)
        data = self._exactly(length, deadline_s)
        return None if data is None else Piece(stream, data)

    def close(self) -> None:
        """Close both directions now, whoever else holds a reference."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except (OSError, AttributeError):
            pass
        self._raw.close()
        self._socket.close()

    def _read_ahead(self) -> bytes:
        """What came in one piece with the answer's head, which docker-py leaves in the buffer that read the head.

        Source: https://github.com/docker/docker-py/issues/3332: the output of a quick command is lost to a busy client.
        """
        reader = getattr(getattr(getattr(getattr(self._raw, "_response", None), "raw", None), "_fp", None), "fp", None)
        if reader is None:
            return b""
        self._socket.settimeout(0)
        try:
            return bytes(reader.peek())
        except OSError:                                      # TLS has nothing yet
            return b""

    def _exactly(self, count: int, deadline_s: float) -> bytes | None:
        while len(self._buffer) < count:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise LabError("the container said nothing in time")
            self._socket.settimeout(left_s)
            try:
                piece = self._socket.recv(PIECE_BYTES)
            except (TimeoutError, socket.timeout):
                continue
            if not piece:
                return None
            self._buffer += piece
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data
