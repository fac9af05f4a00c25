"""Journals of several machines as one history: certain, unclear, and never more than was seen."""

from __future__ import annotations

import pytest

from moslab.history.checkers import INVALID, UNKNOWN, VALID, judge
from moslab.history.record import History
from moslab.hosts import observed
from moslab.hosts.clock import Clock
from moslab.journals import Forgotten, Life, Look

ERROR_S = 0.01


def clock(ahead_s: float) -> Clock:
    """Ours is ahead of that machine's by so much, give or take ``ERROR_S``; as of many times."""
    made = Clock()
    for at_s in range(1, 200):
        made.answered(at_s + ahead_s - ERROR_S, at_s, at_s + ahead_s + ERROR_S)
    return made


def life(
    node: int, begin_s: float, end_s: float, stopped: bool = True, pauses: tuple[tuple[float, float], ...] = (),
) -> Life:
    return Life("web", node, 77, f"9.{node}", begin_s, end_s, stopped, pauses)


def seen(one: Life, ahead_s: float, is_over: bool = False) -> observed.Seen:
    return observed.Seen(one.node, Look(150.0, (one,)), clock(ahead_s), is_over)


def history(*all_seen: observed.Seen) -> History:
    return observed.history(2, list(all_seen), 1000.0, 1150.0)


def verdict(gap_s: float, is_over: bool = False, **first: object) -> str:
    """Node 1 runs web until 50 s by its clock, which is 1000 s behind ours; node 2, 2000 s behind, so much later."""
    one = life(1, 10.0, 50.0, **first)  # type: ignore[arg-type]
    return judge(history(seen(one, 1000.0, is_over), seen(life(2, 50.0 - 20.0 + gap_s, 90.0), 1020.0)))[0]


def test_what_a_machine_has_forgotten_is_unknown() -> None:
    one = seen(life(1, 10.0, 50.0), 1000.0)
    look = one.look._replace(forgotten=(Forgotten("web", "1", 20.0),))
    assert judge(history(one))[0] == VALID
    forgot = one._replace(look=look)
    assert judge(history(forgot))[0] == UNKNOWN
    before = observed.history(2, [forgot], 1000.0, 1150.0, judged_s=20.0)
    assert judge(before)[0] == UNKNOWN, "give or take what the clocks tell"
    assert judge(observed.history(2, [forgot], 1000.0, 1150.0, judged_s=20.5))[0] == VALID


@pytest.mark.parametrize(("gap_s", "word"), [
    (0.5, VALID), (0.03, VALID), (0.015, UNKNOWN), (0.0, UNKNOWN), (-0.015, UNKNOWN), (-0.03, INVALID), (-5.0, INVALID),
])
def test_less_than_the_clocks_can_tell_is_unknown(gap_s: float, word: str) -> None:
    assert verdict(gap_s) == word


def test_what_ended_with_the_power_may_have_gone_on_for_as_long_as_it_was_ever_silent() -> None:
    assert verdict(0.07, stopped=False) == VALID
    assert verdict(0.07, is_over=True, stopped=False) == UNKNOWN
    assert verdict(0.3, is_over=True, stopped=False) == VALID
    assert verdict(0.3, is_over=True, stopped=False, pauses=((20.0, 20.5),)) == UNKNOWN
    assert verdict(0.3, is_over=True, stopped=True, pauses=((20.0, 20.5),)) == VALID


def test_one_pid_on_two_nodes_is_two_processes() -> None:
    made = history(seen(life(1, 10.0, 50.0), 1000.0), seen(life(2, 60.0, 90.0), 1020.0))
    assert len({one.pid for one in made.intervals}) == 2


def test_times_are_ours() -> None:
    (one,) = history(seen(life(1, 10.0, 50.0), 1000.0)).intervals
    assert 10.0 <= one.begin_s <= 10.02
    assert 49.98 <= one.end_s <= 50.0


def test_a_log_is_by_our_clock_and_of_boots_that_are_known() -> None:
    text = "20.5 one started web\n30.0 other nobody knows that boot\n"
    ((at_s, node, words),) = observed.said(text, 3, {"one": clock(1000.0)}, 1000.0)
    assert at_s == pytest.approx(20.5, abs=0.02)
    assert (node, words) == (3, "started web")
