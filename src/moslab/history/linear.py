"""Whether what clients saw of a register fits one order, in which each operation takes effect at one moment between its
invocation and its answer: linearizability (Herlihy and Wing 1990).

Rules:

1. Each key is a register of its own, which begins with nothing (``None``), and is judged by itself: together they are
   linearizable just if each of them is.
2. An operation that failed did not happen. A read without an answer says nothing. A write without one may have happened
   at any time after its invocation, or never; if it alone wrote a value that was read, it was before that read ended.
3. The search is Wing and Gong's, just in time as Lowe's: an operation takes effect only when the answer of one demands
   it, and what was found once (a value, and which of the open operations took effect) is not followed again. It takes
   at most ``STEPS_MAX`` steps for each key; what is not decided then is unknown.
4. Clients that saw too little decide nothing: of each register a write must have been acknowledged, and a read after
   the last of these.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Optional

from moslab.history.record import FAIL, OK, READ, WRITE, History, Operation

STEPS_MAX = 1_000_000            # some seconds
VALUES_SHOWN_MAX = 5
Configuration = tuple[Optional[int], frozenset[int]]           # the value; the open operations that took effect


class _UndecidedError(Exception):
    """More than so many steps."""


def check_linear(history: History) -> tuple[list[str], list[str]]:
    """What is wrong, and what cannot be decided; at most one sentence of each for a key."""
    problems, undecided = [], []
    by_key: dict[str, list[Operation]] = {key: [] for key in history.registers}
    for operation in history.operations:
        by_key.setdefault(operation.key, []).append(operation)
    for key, operations in sorted(by_key.items()):
        try:
            found = misfit(operations)
        except _UndecidedError:
            undecided.append(f"linear: {key}: not decided after {STEPS_MAX} steps")
            continue
        if found:
            problems.append(f"linear: {key}: {found}")
        elif unseen := _unseen(operations):
            undecided.append(f"linear: {key}: {unseen}")
    return problems, undecided


def misfit(operations: Sequence[Operation]) -> str:
    """The first answer that fits no order, and what could have been then; empty if one order has them all."""
    relevant = _relevant(operations)
    moments = sorted(
        (time_s, is_end, place) for place, one in enumerate(relevant)
        for time_s, is_end in ((one.begin_s, False), (one.end_s, True)) if time_s < math.inf
    )
    configurations: set[Configuration] = {(None, frozenset())}
    pending: set[int] = set()
    steps = 0
    for _, is_end, place in moments:
        if not is_end:
            pending.add(place)
            continue
        before, configurations, steps = configurations, set(), steps + len(configurations)
        seen, todo = {*before}, [*before]
        while todo:
            value, done = todo.pop()
            if place in done:
                configurations.add((value, done - {place}))
                continue
            for other in pending - done:
                one = relevant[other]
                after = one.value if one.kind == WRITE else value, done | {other}
                if (one.kind == WRITE or one.value == value) and after not in seen:
                    seen.add(after)
                    todo.append(after)
                    steps += 1
            if steps > STEPS_MAX:
                raise _UndecidedError
        if not configurations:
            return f"{_said(relevant[place])}, which fits no order: it was {_values(value for value, _ in before)}"
        pending.discard(place)
    return ""


def _relevant(operations: Iterable[Operation]) -> list[Operation]:
    """Rule 2."""
    happened = [one for one in operations if one.outcome == OK or (one.kind == WRITE and one.outcome != FAIL)]
    read_s: dict[int | None, float] = {}
    for one in happened:
        if one.kind == READ:
            read_s[one.value] = min(one.end_s, read_s.get(one.value, math.inf))
    writers = Counter(one.value for one in happened if one.kind == WRITE)
    found = []
    for one in happened:
        if one.outcome == OK:
            found.append(one)
        elif one.value in read_s:
            sole = writers[one.value] == 1
            found.append(one._replace(end_s=max(read_s[one.value], one.begin_s) if sole else math.inf))
    return found


def _unseen(operations: Sequence[Operation]) -> str:
    """Rule 4."""
    written = [one.end_s for one in operations if one.kind == WRITE and one.outcome == OK]
    if not written:
        return "no write of a client was acknowledged"
    if not any(one.begin_s > max(written) for one in operations if one.kind == READ and one.outcome == OK):
        return "nobody has read it after the last acknowledged write"
    return ""


def _said(one: Operation) -> str:
    did = f"reads {_value(one.value)}" if one.kind == READ else f"writes {_value(one.value)}"
    return f"client {one.client} {did} on node {one.node} from {one.begin_s:.4f} to {one.end_s:.4f}"


def _values(values: Iterable[int | None]) -> str:
    found = sorted({*values}, key=lambda value: (value is not None, value or 0))
    more = [f"{len(found) - VALUES_SHOWN_MAX} more"] if len(found) > VALUES_SHOWN_MAX else []
    return " or ".join([*map(_value, found[:VALUES_SHOWN_MAX]), *more])


def _value(value: int | None) -> str:
    return "nothing" if value is None else str(value)
