"""A guardian's connection to the agent: orders come in, reports go out, as lines of JSON; nothing here blocks.

Rules:

1. Reports wait while the agent does not read, up to ``BACKLOG_BYTES_MAX``: beyond that it is *choked*, and of no use.
   Lines of a log are dropped, and counted, long before.
2. What an agent has said before it went is heard before it counts as gone.
3. What is said while there is no agent is lost.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Mapping
from typing import Any, Callable

from mosha.clinit.custody import Order

LOG_BACKLOG_BYTES_MAX = 64 * 1024
BACKLOG_BYTES_MAX = 1024 * 1024
READ_BYTES = 64 * 1024


class Wire:
    """``obey(order)`` is called for each order, and ``lost()`` when the agent has gone."""

    def __init__(
        self, selector: selectors.BaseSelector, control: socket.socket, obey: Callable[[Order], None],
        lost: Callable[[], None],
    ) -> None:
        self._selector, self._obey, self._lost = selector, obey, lost
        self._orders = bytearray()
        self._reports = bytearray()
        self._lost_lines = 0
        self._waits = False                          # reports do, for the agent to read
        self._control: socket.socket | None = None
        self.connect(control)

    @property
    def is_connected(self) -> bool:
        return self._control is not None

    @property
    def is_behind(self) -> bool:
        """Whether the agent does not keep up: lines of a log are dropped."""
        return len(self._reports) > LOG_BACKLOG_BYTES_MAX

    @property
    def is_choked(self) -> bool:
        return len(self._reports) > BACKLOG_BYTES_MAX

    def connect(self, control: socket.socket) -> None:
        """From now on to this agent; there is no other."""
        assert self._control is None
        control.setblocking(False)
        self._control, self._waits = control, False
        self._selector.register(control, selectors.EVENT_READ, self._on_event)

    def disconnect(self) -> None:
        """Rule 2: the agent has gone."""
        while self._hear():
            pass
        if self._control is not None:
            self._selector.unregister(self._control)
            self._control.close()
            self._control = None
            self._orders.clear()
            self._reports.clear()

    def greet(self, said: Mapping[str, Any]) -> None:
        """What another agent is to hear first."""
        self._send(said)

    def report(self, kind: str, **fields: Any) -> None:
        """One of :class:`mosha.clinit.leash.LeashReport`."""
        self._send({"kind": kind, "time": time.time(), **fields})

    def log(self, tag: str, line: str) -> None:
        """Rule 1."""
        if self.is_behind:
            self.lose(1)
            return
        if self._lost_lines:
            self.report("log", text=f"{self._lost_lines} lines lost: the agent did not keep up")
            self._lost_lines = 0
        self.report("log", tag=tag, text=f"{tag}: {line}" if tag else line)

    def lose(self, lines: int) -> None:
        """So many of a log were dropped."""
        self._lost_lines += lines

    # ---- inside -----------------------------------------------------------------------------------------------

    def _on_event(self, mask: int) -> None:
        if self._control is None:
            return                           # it was seen to be gone in this very turn
        if mask & selectors.EVENT_WRITE:
            self._flush()
        if mask & selectors.EVENT_READ and not self._hear():
            self._lost()

    def _hear(self) -> bool:
        """Obey what has come; whether anything had."""
        try:
            data = self._control.recv(READ_BYTES) if self._control is not None else b""
        except OSError:                      # it has gone, or said nothing more
            data = b""
        *lines, rest = bytes(self._orders + data).split(b"\n")
        self._orders[:] = rest
        for line in lines:
            self._obey(json.loads(line))
        return bool(data)

    def _send(self, said: Mapping[str, Any]) -> None:
        if self._control is not None:
            self._reports += json.dumps(said).encode() + b"\n"
            self._flush()

    def _flush(self) -> None:
        assert self._control is not None
        try:
            sent = self._control.send(self._reports)
        except BlockingIOError:
            sent = 0
        except OSError:                      # the agent has gone: reading says so
            sent = len(self._reports)
        del self._reports[:sent]
        if self._waits != bool(self._reports):
            self._waits = bool(self._reports)
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._waits else 0)
            self._selector.modify(self._control, events, self._on_event)
