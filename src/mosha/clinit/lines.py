"""Bytes that a process writes, cut into lines of bounded length."""

from __future__ import annotations

LINE_BYTES_MAX = 1000


class LineReader:
    """Feed it what was read, ``b""`` at the end; it gives whole lines as text. A longer line comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines = [piece for line in whole for piece in _pieces(line)]
        if not data or len(self._rest) >= LINE_BYTES_MAX:
            *pieces, self._rest = _pieces(self._rest)
            lines += pieces
        if not data and self._rest:
            lines.append(self._rest)
            self._rest = b""
        return [line.decode("utf-8", "replace") for line in lines]

    def skip(self, data: bytes) -> int:
        """Take what was read for nothing; how many lines ended in it."""
        whole, end, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest[:LINE_BYTES_MAX]
        return whole.count(b"\n") + len(end)


def _pieces(line: bytes) -> list[bytes]:
    return [line[at : at + LINE_BYTES_MAX] for at in range(0, len(line), LINE_BYTES_MAX)] or [b""]
