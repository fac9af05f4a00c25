"""When processes of resource groups ran, and where two nodes ran one group at once.

Rules:

1. All times of one history are on one clock that all nodes share: true time in the simulator, the host's monotonic
   clock for containers. An interval is closed at its begin and open at its end.
2. Two intervals overlap if they are of one group, on different nodes, and have more than ``tolerance_s`` in common.
3. An interval whose end is not known ends at infinity.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

EPSILON_S = 1e-9


class Interval(NamedTuple):
    """One process of ``group`` lived on ``node`` from ``begin_s`` to ``end_s``; ``epoch`` is its MOSHA_EPOCH."""

    group: str
    node: int
    pid: int
    epoch: str
    begin_s: float
    end_s: float


class Overlap(NamedTuple):
    """Two processes of one group that ran on two nodes at once, from ``begin_s`` to ``end_s``."""

    first: Interval
    second: Interval
    begin_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.begin_s

    def __str__(self) -> str:
        one, two = self.first, self.second
        return (
            f"{one.group}: nodes {one.node} (epoch {one.epoch}) and {two.node} (epoch {two.epoch}) "
            f"for {self.duration_s:.4f} s from {self.begin_s:.4f}"
        )


def overlaps(intervals: Iterable[Interval], tolerance_s: float = EPSILON_S) -> list[Overlap]:
    """Every pair of intervals that overlap (rule 2), by begin; O(n log n + pairs)."""
    by_group: dict[str, list[Interval]] = {}
    for interval in intervals:
        by_group.setdefault(interval.group, []).append(interval)
    found = []
    for group in sorted(by_group):
        living: list[Interval] = []
        for interval in sorted(by_group[group], key=lambda i: (i.begin_s, i.end_s, i.node, i.pid)):
            living = [other for other in living if other.end_s > interval.begin_s]
            for other in living:
                begin_s, end_s = interval.begin_s, min(interval.end_s, other.end_s)
                if other.node != interval.node and end_s - begin_s > tolerance_s:
                    found.append(Overlap(other, interval, begin_s, end_s))
            living.append(interval)
    return sorted(found, key=lambda overlap: (overlap.begin_s, overlap.first.group))


def merged(intervals: Iterable[Interval], gap_s: float = 0.0) -> list[tuple[float, float]]:
    """The times at which any of them ran, as (begin, end) in order; pauses of up to ``gap_s`` are closed."""
    spans: list[tuple[float, float]] = []
    for interval in sorted(intervals, key=lambda i: (i.begin_s, i.end_s)):
        if spans and interval.begin_s <= spans[-1][1] + gap_s:
            spans[-1] = spans[-1][0], max(spans[-1][1], interval.end_s)
        else:
            spans.append((interval.begin_s, interval.end_s))
    return spans
