"""The history of a cluster of real machines, of journals that each wrote by its own clock.

Rules:

1. A time of a journal is known give or take what :mod:`moslab.hosts.clock` says. The history has of each process the
   time for which it executed *for certain*: so what overlaps there did overlap, and is invalid.
2. What *may* have overlapped, and is not certain, makes the history unfinished: so it is unknown, never valid.
3. A ticker's line is on the disk before it writes the next one. So a process that ended with the power of its machine
   may have gone on, unseen, for as long as it has ever been silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from moslab import journals
from moslab.history.intervals import Interval, overlaps
from moslab.history.record import History
from moslab.hosts.clock import Clock
from moslab.reader import PAUSE_NS


class Seen(NamedTuple):
    """What a machine has of one boot."""

    node: int
    look: journals.Look
    clock: Clock
    is_over: bool                # that boot has ended, by the loss of power or otherwise


def history(nodes: int, seen: list[Seen], zero_s: float, now_s: float, judged_s: float = 0.0) -> History:
    """See the rules; times count from ``zero_s``, and what was until ``judged_s`` may be forgotten. LabError where a
    clock is not known."""
    made = History(nodes, end_s=now_s - zero_s)
    certain: list[Interval] = []
    possible: list[Interval] = []
    number = 0
    for one in seen:
        for life in one.look.lives:
            number += 1
            for piece in life.pieces(one.look.freezes):
                sure, may_be = _placed(piece, one.clock, zero_s, unseen_s(life, piece) if one.is_over else 0.0)
                epoch = "" if life.epoch == journals.NO_TOKEN else life.epoch
                certain.append(sure._replace(pid=number, node=one.node, epoch=epoch))
                possible.append(may_be._replace(pid=number, node=one.node, epoch=epoch))
    for interval in certain:
        (made.addresses if journals.is_address(interval.group) else made.intervals).append(interval)
    unseen = [_forgotten(one, zero_s, judged_s) for one in seen]
    made.unfinished = "; ".join(filter(None, [*unseen, _unclear(certain, possible)]))
    return made


def _forgotten(one: Seen, zero_s: float, judged_s: float) -> str:
    """What is not all there of what was after that, at the latest."""
    until = [one.clock.ours(forgotten.until_s) for forgotten in one.look.forgotten]
    ours = [forgotten._replace(until_s=moment.at_s + moment.error_s - zero_s)
            for forgotten, moment in zip(one.look.forgotten, until)]
    return one.look._replace(forgotten=tuple(ours)).unseen(judged_s)


def unseen_s(life: journals.Life, piece: Interval) -> float:
    """Rule 3."""
    if life.stopped or piece.end_s != life.end_s:
        return 0.0
    return max([PAUSE_NS / 1e9, *(until_s - since_s for since_s, until_s in life.pauses)])


def _placed(piece: Interval, clock: Clock, zero_s: float, more_s: float) -> tuple[Interval, Interval]:
    """By our clock: for certain; and at most, with so much more at the end."""
    begin, end = clock.ours(piece.begin_s), clock.ours(piece.end_s)
    first_s, last_s = begin.at_s - begin.error_s - zero_s, end.at_s + end.error_s - zero_s
    sure_s = begin.at_s + begin.error_s - zero_s
    until_s = max(sure_s, end.at_s - end.error_s - zero_s)
    return piece._replace(begin_s=sure_s, end_s=until_s), piece._replace(begin_s=first_s, end_s=last_s + more_s)


def _unclear(certain: list[Interval], possible: list[Interval]) -> str:
    """Rule 2."""
    sure = {(found.first.pid, found.second.pid) for found in overlaps(certain)}
    unclear = [found for found in overlaps(possible)
               if not {(found.first.pid, found.second.pid), (found.second.pid, found.first.pid)} & sure]
    if not unclear:
        return ""
    more = f", and {len(unclear) - 1} more" if len(unclear) > 1 else ""
    return f"the machines' clocks cannot tell whether there was an overlap: {unclear[0]} at most{more}"


def running(look: journals.Look, group: str, node: int, clock: Clock, zero_s: float,
            begins: dict[tuple[int, str, int, float], float]) -> list[Interval]:
    """The processes by which a group runs there now. ``begins``: what was once said of a beginning is said again."""
    found = []
    for life in look.running(group):
        key = node, group, life.pid, life.begin_s
        begin_s = begins.setdefault(key, clock.ours(life.begin_s).at_s - zero_s)
        found.append(Interval(group, node, life.pid, life.epoch, begin_s, clock.ours(life.end_s).at_s - zero_s))
    return found


def said(text: str, node: int, clocks: Mapping[str, Clock], zero_s: float) -> list[tuple[float, int, str]]:
    """The lines of an agent's log, by our clock."""
    lines = []
    for line in text.splitlines():
        at, boot, words = (line.split(" ", 2) + ["", ""])[:3]
        if boot in clocks:
            lines.append((clocks[boot].ours(float(at)).at_s - zero_s, node, words))
    return lines
