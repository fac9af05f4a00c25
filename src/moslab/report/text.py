"""A run as text for the terminal: a row of characters for each group and node, then what happened, in order.

Rules:

1. A character is a moment as long as it is wide, and shows the worst of it: an overlap (``!``) however short, then
   nobody at all, then who ran the group at its end.
2. A node has one character, also beyond 9: ``a`` is node 10. ``?`` is one beyond ``z``.
3. What comes from a node is shown without characters that a terminal would obey.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from moslab.faults.record import CUT, OFF, PAUSE, STOP
from moslab.history.stored import Run
from moslab.report.picture import Mark, Picture, picture

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
WIDTH_MIN, WIDTH_MAX = 40, 200
TICK_WIDTH = 12
EVENTS_MAX = 200
SIGNS = {OFF: "#", PAUSE: "=", STOP: "~", CUT: "/"}
OTHER, NOBODY, TWICE, UP = "x", "·", "!", "─"
LEGEND = (
    "a digit: the node that runs it  · nobody  ! two at once  █ runs a group  # off  = paused  ~ stopped  / cut  "
    "x other"
)


def timeline(run: Run, width: int = 100, events_max: int = EVENTS_MAX) -> str:
    """The text; ``width`` is that of the terminal, and at most so many events are told."""
    shown = picture(run)
    names = [f"node {node}" for node in shown.nodes]
    left = max(map(len, [*names, *shown.groups, "group"])) + 2
    columns = max(WIDTH_MIN, min(width, WIDTH_MAX) - left)
    grid = _Grid(shown, columns)
    said = [*run.failure.splitlines(), *run.problems, *filter(None, [run.unseen])]
    lines = [f"{run.title or 'a run'}: {run.outcome}", *(f"  {line}" for line in said), ""]
    lines.append(" " * left + grid.axis())
    lines += [group.ljust(left) + grid.group(group) for group in shown.groups]
    lines += [name.ljust(left) + grid.node(node) for name, node in zip(names, shown.nodes)]
    lines += ["", LEGEND, "", *_told(shown.events, events_max)]
    lines += ["", f"again: {run.again}"] if run.again else []
    return "".join(f"{_safe(line).rstrip()}\n" for line in lines)


class _Grid:
    """Which column is which time."""

    def __init__(self, shown: Picture, columns: int) -> None:
        self._shown, self._columns = shown, columns
        self._each_s = (shown.end_s - shown.begin_s) / columns

    def axis(self) -> str:
        """The times, each above the column that it is the begin of."""
        digits = max(0, math.ceil(-math.log10(self._each_s * TICK_WIDTH)) + 1)
        ticks = range(0, self._columns - TICK_WIDTH + 1, TICK_WIDTH)
        times = (f"{self._shown.begin_s + tick * self._each_s:.{digits}f}" for tick in ticks)
        return "".join(time.ljust(TICK_WIDTH) for time in times) + "s"

    def group(self, group: str) -> str:
        """Rule 1."""
        row = [NOBODY] * self._columns
        tenures = [one for one in self._shown.tenures if one.group == group]
        for one in tenures:
            self._fill(row, one.begin_s, one.end_s, DIGITS[one.node] if one.node in range(len(DIGITS)) else "?")
        for begin_s, end_s in self._shown.gaps[group]:
            if end_s - begin_s >= self._each_s / 2:
                self._fill(row, begin_s, end_s, NOBODY)
        for twice in self._shown.twice:
            if twice.group == group:
                self._fill(row, twice.begin_s, twice.end_s, TWICE)
        return "".join(row)

    def node(self, node: int) -> str:
        """What runs there, and over it what is broken, the worst last."""
        row = [UP] * self._columns
        for one in self._shown.tenures:
            if one.node == node:
                self._fill(row, one.begin_s, one.end_s, "█")
        bands = [band for band in self._shown.bands if node in band.nodes]
        for kind in (None, CUT, STOP, PAUSE, OFF):
            for band in bands:
                if (band.kind if band.kind in SIGNS else None) == kind:
                    self._fill(row, band.begin_s, band.end_s, SIGNS.get(band.kind, OTHER))
        return "".join(row)

    def _fill(self, row: list[str], begin_s: float, end_s: float, sign: str) -> None:
        """From the column of the begin to that of the end, which is not later than the instant before it."""
        first = min(int((begin_s - self._shown.begin_s) / self._each_s), self._columns - 1)
        last = min(math.ceil((end_s - self._shown.begin_s) / self._each_s), self._columns)
        for place in range(first, max(last, first + 1)):
            row[place] = sign


def _told(events: Sequence[Mark], events_max: int) -> Iterator[str]:
    for event in events[:events_max]:
        yield f"{event.time_s:12.4f}  {f'node {event.node}' if event.node else '':<8} {event.text}"
    if len(events) > events_max:
        yield f"… and {len(events) - events_max} more"


def _safe(text: str) -> str:
    """Rule 3."""
    return "".join(_printable(text))


def _printable(text: Iterable[str]) -> Iterator[str]:
    for character in text:
        yield character if character.isprintable() else repr(character)[1:-1]
