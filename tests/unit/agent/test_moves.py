"""Moves of groups: what the owner waits for, and when it is over."""

from __future__ import annotations

from typing import Callable

import pytest

from mosha.moves import FAILBACK, Moves, Over
from mosha.timing import MOVE_LIMIT_S, PAUSE_MAX_S

ANNOUNCE_S = 0.65


class Scene:
    """Node 1 has ``kv``, and moves it to node 3."""

    def __init__(self, why: str = "order", tests_ahead: bool = True) -> None:
        self.moves, self.held, self.problem, self.is_ready = Moves(ANNOUNCE_S), True, "", False
        self.lacks = ""
        self.tests_ahead = tests_ahead
        assert self.moves.begin(10.0, "kv", 3, why) == ""

    def step(self, now: float) -> list[Over]:
        ready: Callable[[int, str], bool] = lambda node, group: (node, group) == (3, "kv") and self.is_ready  # noqa: E731
        return self.moves.step(
            now, lambda group: self.held, lambda node, group: self.problem, lambda group: self.lacks, ready,
            lambda group: self.tests_ahead,
        )


def test_the_group_is_stopped_only_when_the_target_is_ready() -> None:
    scene = Scene()
    assert scene.moves.targets() == {"kv": 3}
    assert scene.step(12.0) == []
    assert scene.moves.stopping() == []
    scene.is_ready = True
    assert scene.step(13.0) == []
    assert scene.moves.stopping() == ["kv"]
    scene.problem = "node 3 is not up"
    assert scene.step(100.0) == [], "it is being stopped: there is no way back"
    scene.held = False
    assert scene.step(101.0) == [Over("kv", 3, "order", "")]
    assert scene.moves.targets() == {}


def test_a_target_that_cannot_have_it_ends_the_move() -> None:
    scene = Scene()
    scene.problem = "node 3 is drained"
    assert scene.step(10.0) == [Over("kv", 3, "order", "node 3 is drained")]
    assert scene.moves.stopping() == []


def test_a_target_that_is_never_ready_ends_the_move() -> None:
    scene = Scene()
    assert scene.step(10.0 + MOVE_LIMIT_S - 0.1) == []
    (over,) = scene.step(10.0 + MOVE_LIMIT_S)
    assert "was not ready within 30 s" in over.problem


@pytest.mark.parametrize("tests_ahead", [True, False])
def test_a_group_is_not_stopped_while_it_would_not_be_started_and_the_answer_says_why(tests_ahead: bool) -> None:
    scene = Scene(tests_ahead=tests_ahead)
    scene.lacks, scene.is_ready = "kv requires db, which is not up", True
    assert scene.step(10.0 + MOVE_LIMIT_S - 0.1) == []
    assert scene.moves.stopping() == []
    assert scene.step(10.0 + MOVE_LIMIT_S) == [Over("kv", 3, "order", "kv requires db, which is not up")]


def test_what_a_group_requires_may_come_up_while_it_is_to_move() -> None:
    scene = Scene()
    scene.lacks, scene.is_ready = "kv requires db, which is not up", True
    assert scene.step(12.0) == []
    scene.lacks = ""
    assert scene.step(13.0) == []
    assert scene.moves.stopping() == ["kv"]


def test_what_its_owner_alone_may_test_is_stopped_when_the_target_has_heard_of_it() -> None:
    scene = Scene(tests_ahead=False)
    scene.step(10.0 + ANNOUNCE_S - 0.01)
    assert scene.moves.stopping() == []
    scene.step(10.0 + ANNOUNCE_S)
    assert scene.moves.stopping() == ["kv"]


def test_a_second_move_of_a_group_is_refused() -> None:
    scene = Scene()
    assert scene.moves.begin(11.0, "kv", 2, "another") == "it is on its way to node 3"
    assert scene.moves.target("kv") == 3


@pytest.mark.parametrize(("why", "waits"), [(FAILBACK, True), ("order", False)])
def test_failback_leaves_a_target_alone_that_was_asked_in_vain(why: str, waits: bool) -> None:
    scene = Scene(why)
    assert not scene.moves.may_fail_back(10.0, "kv")
    assert scene.moves.abandon(20.0, "left") == [Over("kv", 3, why, "left")]
    assert scene.moves.may_fail_back(20.0 + PAUSE_MAX_S - 1, "kv") is not waits
    assert scene.moves.may_fail_back(20.0 + PAUSE_MAX_S, "kv")
