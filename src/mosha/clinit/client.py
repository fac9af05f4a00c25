"""Telling the stand-alone daemon what to do, and reading what it says of its groups."""

from __future__ import annotations

import socket
import time

from mosha.clinit import protocol
from mosha.clinit.places import DEFAULT_CLTAB, find, read
from mosha.clinit.protocol import ANSWER_BYTES_MAX, READ, SHUTDOWN, TELL, Answer, BadRequest, Request
from mosha.platform import plain
from mosha.tables import clstat
from mosha.tables.clstat import GroupStat

ANSWER_LIMIT_S = 10.0
BUSY_S = 0.01


class NotRunning(Exception):
    """No daemon answers at the socket."""


class Client:
    """Of the daemon of ``cltab``; that file's settings come before ``socket`` and ``clstat``. Raises TableErrors."""

    def __init__(self, cltab: str = DEFAULT_CLTAB, socket: str | None = None, clstat: str | None = None) -> None:
        self.places = find(cltab, socket, clstat)

    def tell(self, group: str, level: str) -> Answer:
        """Have the group go to the level; the answer comes when that begins. Raises NotRunning, BadRequest."""
        return self._ask(Request(TELL, group, level))

    def read(self) -> Answer:
        """Have the daemon read its cltab again, and take up what has changed. Raises NotRunning."""
        return self._ask(Request(READ))

    def shutdown(self) -> Answer:
        """Have the daemon stop all groups, and end. Raises NotRunning."""
        return self._ask(Request(SHUTDOWN))

    def status(self, group: str | None = None, level: str | None = None) -> list[GroupStat]:
        """What clstat says of all groups, or of one, or of those at a level. The daemon is not asked.

        Raises NotRunning where there is no clstat, TableErrors, OSError.
        """
        try:
            text = read(self.places.clstat)
        except FileNotFoundError:
            raise NotRunning(f"clinit does not run: there is no {self.places.clstat}") from None
        return [
            stat for stat in clstat.parse(text, self.places.clstat)
            if group in (None, stat.name) and level in (None, stat.level)
        ]

    def runs(self) -> bool:
        """Whether a daemon answers."""
        try:
            self._connect(time.monotonic() + ANSWER_LIMIT_S).close()
        except NotRunning:
            return False
        return True

    def _ask(self, request: Request) -> Answer:
        line = protocol.encoded(request)
        protocol.request(line.rstrip(b"\n"))             # a bad name is said here, daemon or not
        until_s = time.monotonic() + ANSWER_LIMIT_S
        received = b""
        with self._connect(until_s) as connection:
            try:
                connection.sendall(line)
                while not received.endswith(b"\n") and len(received) < ANSWER_BYTES_MAX:
                    connection.settimeout(max(0.001, until_s - time.monotonic()))
                    data = connection.recv(ANSWER_BYTES_MAX)
                    if not data:
                        break
                    received += data
            except OSError as error:
                raise NotRunning(f"clinit does not answer at {self.places.socket}: {plain.words(error)}") from None
        try:
            return protocol.answer(received)
        except BadRequest:
            raise NotRunning(f"what answers at {self.places.socket} is not clinit") from None

    def _connect(self, until_s: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        while True:
            try:
                connection.settimeout(max(0.001, until_s - time.monotonic()))
                connection.connect(self.places.socket)
                return connection
            except OSError as error:
                if isinstance(error, BlockingIOError) and time.monotonic() < until_s:
                    time.sleep(BUSY_S)               # many come at once: the queue of the socket is full
                    continue
                connection.close()
                where = f"{self.places.socket}: {plain.words(error)}"
                raise NotRunning(f"clinit does not run, or not for you: {where}") from None
