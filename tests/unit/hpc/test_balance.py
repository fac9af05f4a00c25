"""Where a new process goes: by what nodes answer, and by what this one was told."""

from __future__ import annotations

from typing import Any, Callable, cast

import pytest

from emulator.hpc.balance import ASKED_MAX, RECENT_S, Balance
from emulator.hpc.state import State
from emulator.membership import Membership
from emulator.probe import Prober, Report
from emulator.reactor import Reactor
from emulator.table import Record

UP, BLOCKED = 3, 3 | 16


def node(load: int, speed: int = 15000, cpus: int = 1, status: int = UP) -> Report:
    return Report(status, load, cpus, speed, 100, 0, 0, 0)


class Cluster:
    """Node 1 asks; ``answers`` are the others', None of one that is dead."""

    def __init__(self, own: Report, *answers: Report | None) -> None:
        self.now_s = 0.0
        self.asked: list[int] = []
        self.answers = dict(enumerate(answers, 2))
        membership = Membership()
        self.state = State(membership)
        self.state.fresh = lambda: own  # type: ignore[method-assign]
        membership.configure(1, [Record(1, "10.0.0.1", 1 + len(answers))])
        self.balance = Balance(cast("Reactor", self), membership, cast("Prober", self), self.state)

    def now(self) -> float:
        return self.now_s

    def probe(self, node: int, then: Callable[[Any], None]) -> None:
        self.asked.append(node)
        then(self.answers[node])

    def choose(self) -> int:
        chosen: list[int] = []
        self.balance.choose(chosen.append)
        (one,) = chosen
        return one


def test_it_goes_to_the_node_with_the_least_load() -> None:
    assert Cluster(node(300), node(200), node(0), node(100)).choose() == 3


@pytest.mark.parametrize(
    "others",
    [(), (None, None), (node(0),), (node(500), node(100)), (node(0, status=BLOCKED),), (node(100, speed=20000),)],
)
def test_it_stays_where_no_other_is_better(others: tuple[Report | None, ...]) -> None:
    assert Cluster(node(0), *others).choose() == 1


def test_a_faster_node_and_one_with_more_processors_are_better() -> None:
    assert Cluster(node(0), node(0, speed=30000)).choose() == 2
    assert Cluster(node(100), node(100), node(100, cpus=2)).choose() == 3
    assert Cluster(node(0), node(0, speed=0)).choose() == 1, "of which nobody knows how fast it is"


@pytest.mark.parametrize("word", ["stay", "lstay", "quiet"])
def test_a_node_that_stays_asks_nobody(word: str) -> None:
    cluster = Cluster(node(500), node(0))
    cluster.state.set_toggle(word, True)
    assert (cluster.choose(), cluster.asked) == (1, [])
    cluster.state.set_toggle(word, False)
    assert cluster.choose() == 2


def test_a_burst_is_spread_before_any_load_is_seen() -> None:
    cluster = Cluster(node(400), node(0), node(0), node(0))
    chosen = [cluster.choose() for _ in range(6)]
    assert sorted(chosen) == [2, 2, 3, 3, 4, 4]
    cluster.now_s = RECENT_S + 1
    assert [cluster.choose() for _ in range(4)][-1] in (2, 3, 4)


def test_only_some_nodes_are_asked() -> None:
    cluster = Cluster(node(100), *[node(0)] * 40)
    drawn = {cluster.choose() for _ in range(50)}
    assert len(cluster.asked) == 50 * ASKED_MAX
    assert len(drawn) > ASKED_MAX, "not always the same"
