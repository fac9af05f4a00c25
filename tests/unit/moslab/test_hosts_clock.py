"""What is known of another machine's clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moslab.errors import LabError
from moslab.hosts.clock import DRIFT, Clock

AHEAD_S = 1000.0                 # ours


def heard(clock: Clock, at_s: float, there_s: float, back_s: float, drift: float = 0.0) -> None:
    """At ``at_s`` of our clock they answer; the question took ``there_s``, the answer ``back_s``."""
    clock.answered(at_s - there_s, at_s * (1 + drift) - AHEAD_S, at_s + back_s)


def test_an_answer_bounds_the_clock_by_what_it_took() -> None:
    clock = Clock()
    heard(clock, 2000.0, 0.001, 0.003)
    moment = clock.ours(1000.0)
    assert moment.error_s == pytest.approx(0.002)
    assert abs(moment.at_s - 2000.0) <= moment.error_s + 1e-9


def test_with_time_less_is_known() -> None:
    clock = Clock()
    heard(clock, 2000.0, 0.0, 0.0)
    assert clock.ours(1060.0).error_s == pytest.approx(60 * DRIFT)
    heard(clock, 2120.0, 0.0, 0.0)
    assert clock.ours(1060.0).error_s == pytest.approx(60 * DRIFT)
    assert clock.ours(1119.0).error_s == pytest.approx(1 * DRIFT)


def test_a_slow_answer_takes_nothing_from_a_quick_one() -> None:
    clock = Clock()
    heard(clock, 2000.0, 0.001, 0.001)
    heard(clock, 2000.5, 3.0, 3.0)
    assert clock.ours(1000.0).error_s == pytest.approx(0.001)


@given(
    st.lists(st.tuples(st.floats(0, 600), st.floats(0, 0.5), st.floats(0, 0.5)), min_size=1, max_size=20),
    st.floats(-DRIFT / 2, DRIFT / 2), st.floats(0, 600),
)
def test_the_truth_is_within_the_bounds(answers: list[tuple[float, float, float]], drift: float, at_s: float) -> None:
    clock = Clock()
    for when_s, there_s, back_s in sorted(answers):
        heard(clock, 2000 + when_s, there_s, back_s, drift)
    moment = clock.ours((2000 + at_s) * (1 + drift) - AHEAD_S)
    assert abs(moment.at_s - (2000 + at_s)) <= moment.error_s + 1e-6


def test_a_clock_that_was_stopped_is_known_no_more() -> None:
    clock = Clock()
    heard(clock, 2000.0, 0.001, 0.001)
    clock.answered(2060.0, 1030.0, 2060.002)                 # half a minute is missing
    with pytest.raises(LabError, match="it was stopped, or set"):
        clock.ours(1010.0)


def test_nothing_is_known_of_who_never_answered() -> None:
    with pytest.raises(LabError, match="not known"):
        Clock().ours(1.0)
