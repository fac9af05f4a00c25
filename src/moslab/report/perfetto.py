"""A run as trace events, for https://ui.perfetto.dev or ``chrome://tracing``: the JSON of Chrome's Trace Event Format.

Rules:

1. A node is a process, a group on it a thread: what overlaps there has several. The cluster itself is process 0, with
   the groups as a whole, overlaps, and faults of no node.
2. Times are microseconds from the begin of the picture, as the format wants them; logs are instants.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from moslab.history.stored import Run
from moslab.report.picture import picture

SECOND = 1_000_000.0             # in microseconds
Piece = tuple[float, float, str, dict[str, Any]]             # begin, end, name, what else is known


def trace(run: Run) -> str:
    """The file."""
    shown = picture(run)
    made = _Trace(shown.begin_s)
    made.process(0, f"cluster ({run.verdict})")
    for group in shown.groups:
        made.thread(0, group, [
            (one.begin_s, one.end_s, f"node {one.node}", {"token": one.epoch})
            for one in shown.tenures if one.group == group
        ])
    made.thread(0, "twice", [
        (one.begin_s, one.end_s, f"{one.group} twice", {"nodes": [*one.nodes]}) for one in shown.twice
    ])
    made.thread(0, "faults", [(one.begin_s, one.end_s, one.title, {"kind": one.kind}) for one in shown.bands])
    for node in shown.nodes:
        made.process(node, f"node {node}")
        made.thread(node, "faults", [
            (one.begin_s, one.end_s, one.title, {"kind": one.kind}) for one in shown.bands if node in one.nodes
        ])
        made.thread(node, "reads no majority", [(*span, "blind", {}) for span in shown.blind.get(node, ())])
        for group in shown.groups:
            made.thread(node, group, [
                (one.begin_s, one.end_s, group, {"token": one.epoch, "process": one.pid})
                for one in shown.processes if (one.group, one.node) == (group, node)
            ])
    for event in shown.events:
        made.instant(event.time_s, event.node, event.text, event.kind)
    for line in shown.log:
        made.instant(line.time_s, line.node, line.text, "log")
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": made.events}, allow_nan=False)


class _Trace:
    """The events so far."""

    def __init__(self, zero_s: float) -> None:
        self.events: list[dict[str, Any]] = []
        self._zero_s = zero_s
        self._threads = 0

    def process(self, node: int, name: str) -> None:
        """Name it, and have it where its number says."""
        self._says("process_name", node, 0, {"name": name})
        self._says("process_sort_index", node, 0, {"sort_index": node})

    def thread(self, node: int, name: str, pieces: Iterable[Piece]) -> None:
        """As many threads of that name as there are pieces at once; none without any."""
        free: dict[int, float] = {}
        for begin_s, end_s, said, known in sorted(pieces, key=lambda piece: piece[:3]):
            number = next((number for number, end in free.items() if end <= begin_s), 0)
            if not number:
                self._threads = number = self._threads + 1
                self._says("thread_name", node, number, {"name": name})
                self._says("thread_sort_index", node, number, {"sort_index": number})
            free[number] = end_s
            self.events.append({
                "ph": "X", "name": said, "cat": name, "pid": node, "tid": number, "ts": self._us(begin_s),
                "dur": round((end_s - begin_s) * SECOND, 3), "args": known,
            })

    def instant(self, time_s: float, node: int, text: str, kind: str) -> None:
        """Somebody said something, or something happened."""
        self.events.append({
            "ph": "i", "s": "p", "name": text, "cat": kind, "pid": node, "tid": 0, "ts": self._us(time_s), "args": {},
        })

    def _us(self, time_s: float) -> float:
        return round((time_s - self._zero_s) * SECOND, 3)

    def _says(self, what: str, node: int, thread: int, known: dict[str, Any]) -> None:
        self.events.append({"ph": "M", "name": what, "pid": node, "tid": thread, "args": known})
