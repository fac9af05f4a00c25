"""What is shown of a run, whatever it is drawn with: spans of groups and nodes, faults, marks, the log.

Rules:

1. A group *runs* on a node while a process of it that is more than a test executes there under one token; what it is
   without after that is a *gap*. A journal is ``TAIL_S`` late at most: where no process is known to go on, one that was
   there so shortly before the end does. An overlap is what :mod:`moslab.history.checkers` judges, also one that is
   forgiven.
2. Nothing has no end here: what lasts, lasts until the end of the picture.
3. A node is *blind* while it is in contact with no majority of any set of voters, if the history tells who was.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from moslab.faults.links import POWER
from moslab.faults.record import CUT, OF_LINKS, Fault
from moslab.history.intervals import Interval, merged, overlaps
from moslab.history.record import INFO, History, Line
from moslab.history.stored import Run

TAIL_S = 0.5
INSTANT_S = 0.5                  # what is shorter is told once
_LINK = re.compile(r"(\d+)>(\d+)")
_MOMENT = re.compile(r"\b(?:at|from|since|until) (-?\d+\.\d+)")


class Span(NamedTuple):
    """Something lasted."""

    begin_s: float
    end_s: float


class Tenure(NamedTuple):
    """A node ran a group under one token."""

    group: str
    node: int
    epoch: str
    begin_s: float
    end_s: float


class Twice(NamedTuple):
    """Two nodes ran a group, or had an address, at once."""

    group: str
    nodes: tuple[int, int]
    begin_s: float
    end_s: float


class Band(NamedTuple):
    """A fault; ``links`` are those that it cuts, ``nodes`` those that it touches."""

    kind: str
    nodes: tuple[int, ...]
    links: tuple[tuple[int, int], ...]
    detail: str
    begin_s: float
    end_s: float

    @property
    def title(self) -> str:
        """In words: ``cut: node 3 from 1 2``."""
        if not self.links:
            return " ".join([self.kind, *(f"node {node}" for node in self.nodes), self.detail]).strip()
        return f"{self.kind}: {cut_in_words(self.links)}"


class Mark(NamedTuple):
    """Something happened on a node (0: on none)."""

    time_s: float
    node: int
    kind: str
    text: str


@dataclass
class Picture:
    """See the rules."""

    run: Run
    begin_s: float
    end_s: float
    nodes: list[int]
    groups: list[str]                                        # and addresses
    tenures: list[Tenure]
    gaps: dict[str, list[Span]]
    twice: list[Twice]
    bands: list[Band]
    events: list[Mark]
    blind: dict[int, list[Span]]
    processes: list[Interval]
    log: list[Line]


def moment(problem: str) -> float | None:
    """The first time that a problem names."""
    found = _MOMENT.search(problem)
    return float(found[1]) if found else None


def picture(run: Run) -> Picture:
    """All of it, in order."""
    history = run.history
    begin_s, end_s = _bounds(run)

    def until(end: float) -> float:
        return min(end, end_s)

    processes = sorted(
        (one._replace(end_s=until(one.end_s)) for one in [*history.intervals, *history.addresses]),
        key=lambda one: (one.begin_s, one.node, one.pid),
    )
    services = [one for one in processes if one.pid not in history.tests]
    groups = sorted({*history.wanted, *(one.group for one in processes)})
    bands = [_band(fault._replace(end_s=until(fault.end_s))) for fault in run.faults]
    touched = {node for band in bands for node in band.nodes}
    seen = {*(one.node for one in processes), *touched, *(line.node for line in run.log)} - {0}
    tenures = _tenures(services)
    tail_s = 0.0 if any(one.end_s == math.inf for one in history.intervals) else TAIL_S
    last_s = min(history.end_s, end_s) - tail_s
    twice = [Twice(found.first.group, (found.first.node, found.second.node), found.begin_s, until(found.end_s))
             for found in [*overlaps(history.owned()), *overlaps(history.addresses)]]
    return Picture(
        run, begin_s, end_s, sorted({*range(1, history.nodes + 1), *seen}), groups, tenures,
        {group: list(_gaps([one for one in services if one.group == group], last_s, end_s)) for group in groups},
        sorted(twice, key=lambda one: one.begin_s), sorted(bands, key=lambda band: band.begin_s),
        sorted([*_marks(history), *_turns(tenures, twice, bands, last_s)]),
        {node: list(_blind(history, node, begin_s, end_s)) for node in range(1, history.nodes + 1)},
        processes, sorted(run.log, key=lambda line: line.time_s),
    )


def cut_in_words(links: Iterable[tuple[int, int]]) -> str:
    """Which nodes no longer hear which, those with the most links first, each link once."""
    left, said = set(links), []
    while left:
        ends = [node for link in left for node in link]
        node = max(sorted(set(ends) - {POWER} or set(ends)), key=ends.count)
        others = {a if b == node else b for a, b in left if node in (a, b)}
        both = {other for other in others if {(node, other), (other, node)} <= left}
        deaf = {other for other in others if (other, node) in left} - both
        for word, whom in (("from", both), ("does not hear", deaf), ("is not heard by", others - both - deaf)):
            if whom:
                names = ("the power switch" if one == POWER else str(one) for one in sorted(whom))
                said.append(f"{node} {word} {' '.join(names)}")
        left = {link for link in left if node not in link}
    return "; ".join(said)


def _bounds(run: Run) -> Span:
    history = run.history
    times = [run.begin_s, *(line.time_s for line in run.log), *([history.end_s] if history.end_s < math.inf else [])]
    times += [
        time_s for spans in (history.intervals, history.addresses, history.operations, run.faults)
        for _, _, *_, begin_s, end_s in spans for time_s in (begin_s, end_s) if math.isfinite(time_s)
    ]
    return Span(min(times), max(*times, min(times) + 1e-3))


def _band(fault: Fault) -> Band:
    found = tuple((int(a), int(b)) for a, b in _LINK.findall(fault.detail)) if fault.kind in OF_LINKS else ()
    nodes = fault.nodes or tuple(sorted({node for link in found for node in link} - {POWER}))
    links = found if fault.kind == CUT else ()
    return Band(fault.kind, nodes, links, "" if links else fault.detail, fault.begin_s, fault.end_s)


def _tenures(services: list[Interval]) -> list[Tenure]:
    held: dict[tuple[str, int, str], list[Interval]] = {}
    for one in services:
        held.setdefault((one.group, one.node, one.epoch), []).append(one)
    return sorted(
        (Tenure(*whose, *span) for whose, runs in held.items() for span in merged(runs)),
        key=lambda tenure: (tenure.begin_s, tenure.group, tenure.node),
    )


def _gaps(services: list[Interval], last_s: float, end_s: float) -> Iterator[Span]:
    spans = merged(services)
    for (_, before_s), (after_s, _) in zip(spans, spans[1:]):
        yield Span(before_s, after_s)
    if spans and spans[-1][1] < last_s:
        yield Span(spans[-1][1], end_s)


def _marks(history: History) -> Iterator[Mark]:
    for time_s, node in history.thaws:
        yield Mark(time_s, node, "thaw", "goes on after a freeze")
    for time_s, node in history.stops:
        yield Mark(time_s, node, "thaw", "goes on; its clocks had stood still")
    for time_s, node in history.shots:
        yield Mark(time_s, node, "shot", "is shot")
    for time_s, node, text in history.crashes:
        yield Mark(time_s, node, "crash", f"the agent crashes: {text}")
    for life in history.lives:
        yield Mark(life.time_s, life.node, "life", "begins its next life")
    for said in history.released:
        yield Mark(said.time_s, said.node, "released", f"gave {said.group} up, which it had with {said.epoch}")
    for one in history.operations:
        if one.outcome == INFO:
            yield Mark(one.begin_s, one.node, "client", f"client {one.client} has no answer: {one.kind} of {one.key}")
    for edit in history.edits:
        yield Mark(edit.time_s, edit.node, "edit", f"edit {edit.number} of {edit.table}")


def _turns(tenures: list[Tenure], twice: list[Twice], bands: list[Band], last_s: float) -> Iterator[Mark]:
    """Where something begins, or ends before then, as it is told."""
    for tenure in tenures:
        yield Mark(tenure.begin_s, tenure.node, "begin", f"{tenure.group} runs, {tenure.epoch or 'without a token'}")
        if tenure.end_s < last_s:
            yield Mark(tenure.end_s, tenure.node, "end", f"{tenure.group} ends")
    for both in twice:
        yield Mark(both.begin_s, 0, "twice", f"{both.group} runs on nodes {both.nodes[0]} and {both.nodes[1]} at once, "
                                             f"for {both.end_s - both.begin_s:.4f} s")
    for band in bands:
        whose = band.nodes[0] if len(band.nodes) == 1 else 0
        said = f"{band.kind} {band.detail}".strip() if whose else band.title
        yield Mark(band.begin_s, whose, "fault", said)
        if band.end_s < last_s and band.end_s - band.begin_s > INSTANT_S:
            yield Mark(band.end_s, whose, "healed", f"no more: {said}")


def _blind(history: History, node: int, begin_s: float, end_s: float) -> Iterator[Span]:
    if not history.electorates or not history.contacts:
        return
    mine = [(voter, span) for (who, voter), spans in history.contacts.items() if who == node for span in spans]
    moments = sorted({begin_s, end_s, *(min(max(moment, begin_s), end_s) for _, span in mine for moment in span)})
    found: list[Span] = []
    for since_s, until_s in zip(moments, moments[1:]):
        heard = {voter for voter, (begin, end) in mine if begin <= since_s and until_s <= end}
        if any(2 * len(heard & {*chosen.voters}) > len(chosen.voters) for chosen in history.electorates):
            continue
        if found and found[-1].end_s == since_s:
            found[-1] = Span(found[-1].begin_s, until_s)
        else:
            found.append(Span(since_s, until_s))
    yield from found
