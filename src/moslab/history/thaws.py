"""What the thaw of a frozen node excuses: rule 1 of :mod:`moslab.history.checkers`."""

from __future__ import annotations

from collections.abc import Sequence

from mosha.timing import THAW_S
from moslab.history.intervals import Interval
from moslab.history.record import HEARD_LEASES, History


def by_thaw(history: History, begin_s: float, end_s: float, *intervals: Interval) -> bool:
    return _is_within(history.thaws, THAW_S, begin_s, end_s, *intervals)


def by_stop(history: History, begin_s: float, end_s: float, *intervals: Interval) -> bool:
    most = max((len(chosen.voters) for chosen in history.electorates), default=0)
    longest_s = (most + 1) * history.lease_s / (1 - history.drift) + THAW_S
    calm = [stop for stop in history.stops if _is_calm(history, *stop)]
    return _is_within(calm, history.stop_s / (1 - history.drift), begin_s, end_s, *intervals) or _is_within(
        [stop for stop in history.stops if stop not in calm], longest_s, begin_s, end_s, *intervals
    )


def _is_calm(history: History, time_s: float, node: int) -> bool:
    """Whether voters could tell the node at once: from its thaw on all that may count answer, and nothing was broken
    shortly before or meanwhile on it or on one of them."""
    voters = {voter for chosen in history.electorates for voter in chosen.voters}
    until_s = time_s + history.stop_s / (1 - history.drift)
    is_heard = all(
        any(begin <= time_s and until_s <= end for begin, end in history.contacts.get((node, voter), ()))
        for voter in voters
    )
    since_s = time_s - HEARD_LEASES * history.lease_s
    return is_heard and not any(
        one in {node, *voters} and begin <= until_s and since_s <= end for begin, end, one in history.hampered
    )


def _is_within(
    thaws: Sequence[tuple[float, int]], lasts_s: float, begin_s: float, end_s: float, *intervals: Interval
) -> bool:
    return any(
        node == interval.node and time_s <= begin_s and end_s <= time_s + lasts_s
        for interval in intervals for time_s, node in thaws
    )
