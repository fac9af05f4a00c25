"""What clients saw of a register: broken histories are found, and small ones judged as by trying all orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, combinations, permutations
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moslab.history import linear
from moslab.history.checkers import INVALID, UNKNOWN, VALID, judge
from moslab.history.linear import check_linear, misfit
from moslab.history.record import FAIL, INFO, OK, READ, WRITE, History, Operation


def write(value: int, begin_s: float, end_s: float = inf, outcome: str = OK, node: int = 1) -> Operation:
    return Operation(1, node, "x", WRITE, value, outcome if end_s < inf else INFO, begin_s, end_s)


def read(value: int | None, begin_s: float, end_s: float, outcome: str = OK, node: int = 1) -> Operation:
    return Operation(2, node, "x", READ, value, outcome, begin_s, end_s)


def history(operations: Sequence[Operation], *registers: str) -> History:
    return History(3, operations=[*operations], registers=[*registers], promised=False)


WHOLE = [read(None, 0, 1), write(1, 1, 2), write(2, 3), read(1, 4, 5), read(2, 5, 6), write(3, 6, 7), read(3, 8, 9)]

BROKEN = {
    "an acknowledged write is lost": (
        [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5, node=3)],
        "client 2 reads 1 on node 3 from 4.0000 to 5.0000, which fits no order: it was 2",
    ),
    "all is lost": ([write(1, 0, 1), read(None, 2, 3)], "client 2 reads nothing on node 1 from 2.0000"),
    "a stale read after a newer one": (
        [write(1, 0, 1), write(2, 2, 9), read(2, 3, 4), read(1, 5, 6)], "reads 1 on node 1 from 5.0000",
    ),
    "a value that nobody has written": ([write(1, 0, 1), read(7, 2, 3)], "reads 7 on node 1 from 2.0000"),
    "a value from the future": ([read(1, 0, 1), write(1, 2, 3)], "reads 1 on node 1 from 0.0000"),
    "a value that was written without an answer, and only later": ([read(1, 0, 1), write(1, 2)], "reads 1"),
    "a write that failed is read": ([write(1, 0, 1, FAIL), read(1, 2, 3)], "reads 1"),
    "one without an answer takes effect, and then another value is there again": (
        [write(1, 0, 1), write(2, 2), read(2, 3, 4), read(1, 5, 6)], "reads 1 on node 1 from 5.0000",
    ),
    "two owners answer": (
        [write(1, 0, 1), write(2, 2, 3, node=2), read(1, 4, 5), read(2, 4, 5, node=2), read(1, 6, 7)], "reads 1",
    ),
}


@pytest.mark.parametrize(("operations", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_history_is_invalid(operations: list[Operation], said: str) -> None:
    verdict, problems = judge(history(operations))
    assert verdict == INVALID
    assert [said in problem for problem in problems] == [True]
    assert problems[0].startswith("linear: x: client 2 ")


def test_what_has_an_order_is_valid() -> None:
    assert judge(history(WHOLE, "x")) == (VALID, [])


@pytest.mark.parametrize("outcome", [FAIL, INFO])
def test_what_did_not_happen_or_says_nothing_is_left_out(outcome: str) -> None:
    assert misfit([*WHOLE, read(99, 9, 10, outcome)]) == ""


def test_each_key_is_judged_by_itself() -> None:
    other = [one._replace(key="y") for one in BROKEN["all is lost"][0]]
    assert [problem[:10] for problem in check_linear(history([*WHOLE, *other]))[0]] == ["linear: y:"]


@pytest.mark.parametrize(("operations", "said"), [
    ([], "linear: x: no write of a client was acknowledged"),
    ([write(1, 0), read(1, 1, 2)], "linear: x: no write of a client was acknowledged"),
    ([write(1, 0, 1)], "linear: x: nobody has read it after the last acknowledged write"),
    ([write(1, 0, 2), read(1, 1, 3)], "linear: x: nobody has read it after the last acknowledged write"),
])  # fmt: skip
def test_clients_that_saw_too_little_say_nothing(operations: list[Operation], said: str) -> None:
    assert judge(history(operations, "x")) == (UNKNOWN, [said])


def test_what_would_take_for_ever_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that are written again and again, without answers: each of them may still take effect at any time."""
    monkeypatch.setattr(linear, "STEPS_MAX", 5_000)
    open_ones = [write(place % 2, place) for place in range(20)]
    reads = [read(place % 2, 20 + place, 20.5 + place) for place in range(20)]
    verdict, problems = judge(history([*open_ones, *reads, write(5, 50, 51), read(7, 52, 53)], "x"))
    assert (verdict, problems) == (UNKNOWN, ["linear: x: not decided after 5000 steps"])


def test_many_operations_of_some_clients_are_decided() -> None:
    """As many as a minute of clients makes; the value of one that got no answer is read at the end of all."""
    many = [write(place, place, place + 2.5) for place in range(5_000)]
    assert misfit([write(-7, 2), *many, read(4_999, 6_000, 6_001), read(-7, 6_002, 6_003)]) == ""


def orders(operations: Sequence[Operation]) -> Iterator[Sequence[Operation]]:
    """Every order in which they may have taken effect, by trying all."""
    sure = [one for one in operations if one.outcome == OK]
    maybe = [one for one in operations if one.outcome == INFO and one.kind == WRITE]
    for some in chain.from_iterable(combinations(maybe, count) for count in range(len(maybe) + 1)):
        for order in permutations([*sure, *some]):
            if all(not later.end_s < one.begin_s for place, one in enumerate(order) for later in order[place + 1:]):
                yield order


def is_register(order: Sequence[Operation]) -> bool:
    value: int | None = None
    for one in order:
        if one.kind == WRITE:
            value = one.value
        elif one.value != value:
            return False
    return True


@st.composite
def an_operation(draw: st.DrawFn) -> Operation:
    kind, outcome = draw(st.sampled_from([READ, WRITE])), draw(st.sampled_from([OK, OK, OK, INFO, FAIL]))
    begin_s = draw(st.integers(0, 8))
    end_s = inf if outcome == INFO else begin_s + draw(st.integers(0, 4))
    value = draw(st.integers(1, 3) if kind == WRITE else st.sampled_from([None, 1, 2, 3]))
    return Operation(1, 1, "x", kind, value, outcome, begin_s, end_s)


@settings(max_examples=600, deadline=None)
@given(st.lists(an_operation(), max_size=5))
def test_it_says_what_trying_all_orders_says(operations: list[Operation]) -> None:
    assert (misfit(operations) == "") == any(map(is_register, orders(operations)))
