"""What the nodes of a cluster in containers have said: agents that ended by an error of their own, and what was missed.

Rules:

1. The engine keeps at least the last ``SURE_BYTES`` of a container (:data:`moslab.guard.LOG`). Of who says more from
   one look to the next something may be gone that nobody has read.
2. A container that is removed takes its log with it. Who takes a disk away reads the log before (``removed``); where
   others did it is missed.
3. What was found or missed once stays so, however often somebody looks.
4. The engine's wall clock need not be this machine's: it is ahead by so much, give or take ``UNSURE_S``. From one look
   to the next that much is read twice rather than not at all.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Callable, NamedTuple

from docker.models.containers import Container

from moslab.history.record import Line

SURE_BYTES = 3 << 20
LINE_MORE_BYTES = 100
"""What the engine writes down with each line."""
LINES_BYTES_MAX = 4 << 20
UNSURE_S = 1.0
STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)Z ")     # by the engine, before each line


class Removed(NamedTuple):
    """The log of a node's container, with stamps, as it was when the container was removed."""

    node: int
    log: bytes


class Logs:
    """See the rules. ``nodes``: their containers now; ``removed``: by their id; nothing from before ``since``, by this
    machine's clock."""

    def __init__(
        self, nodes: Callable[[], Mapping[int, Container]], removed: Mapping[str, Removed], since: datetime,
        ahead_s: float = 0.0,
    ) -> None:
        self.crashes: list[tuple[float, int, str]] = []      # when they were seen, node, all that was said
        self.missed: list[str] = []
        self._nodes, self._removed = nodes, removed
        self._known = {node: str(container.id) for node, container in nodes().items()}
        self._read: set[str] = set()                         # of those that were removed
        self._ahead_s = ahead_s
        self._since_s = since.timestamp() + ahead_s

    def look(self, at_s: float) -> None:
        """Find what was said since the last time; ``at_s``: now, by the clock of the history."""
        since_s, self._since_s = self._since_s, time.time() + self._ahead_s - UNSURE_S
        for one, (node, log) in self._removed.items():
            if one not in self._read:
                self._read.add(one)
                self._heard(at_s, node, "".join(f"{line.text}\n" for line in stamped(log) if line.time_s >= since_s))
        for node, container in self._nodes().items():
            before = self._known.get(node, container.id)
            if before != container.id and before not in self._removed:
                self.missed.append(f"the container of node {node} was removed, and its log with it")
            self._known[node] = str(container.id)
            self._heard(at_s, node, container.logs(since=since_s).decode(errors="replace"))

    def lines(self, when_s: Callable[[float], float]) -> list[Line]:
        """All that is still there, in order; ``when_s`` gives the time of a moment of the engine's wall clock."""
        logs = [*self._removed.values()]
        logs += [Removed(node, container.logs(timestamps=True)) for node, container in self._nodes().items()]
        return sorted(
            Line(when_s(line.time_s), node, line.text) for node, log in logs for line in stamped(log[-LINES_BYTES_MAX:])
        )

    def _heard(self, at_s: float, node: int, said: str) -> None:
        if "Traceback" in said:
            self.crashes.append((at_s, node, said))
        if len(said) + LINE_MORE_BYTES * said.count("\n") > SURE_BYTES:
            self.missed.append(f"node {node} said more than the engine keeps for certain")


def stamped(log: bytes) -> list[Line]:
    """The lines that have a stamp, with the time of the engine's wall clock, of no node."""
    found = []
    for line in log.decode(errors="replace").splitlines():
        stamp = STAMP.match(line)
        if stamp:
            whole_s = datetime.fromisoformat(f"{stamp[1]}+00:00").timestamp()
            found.append(Line(whole_s + float(stamp[2]), 0, line[stamp.end():]))
    return found
