"""Places for nodes: bounded for all processes of a user together, and those of who has died are free."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections.abc import Sequence
from typing import Any

import pytest

from moslab.errors import CannotError, LabError
from moslab.scenario import places
from moslab.scenario import pool as module
from moslab.scenario.places import Places
from moslab.scenario.pool import Pool
from moslab.scenario.world import DOCKER, Spec

OTHER = """
import sys
from moslab.scenario import places as module
module.PREFIX = sys.argv[2]
places = module.Places("lent", 8)
print(len(places.take(int(sys.argv[1]))), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def prefix(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Nobody else's names."""
    prefix = f"test-{os.getpid()}-{zlib.crc32(request.node.nodeid.encode())}"
    monkeypatch.setattr(places, "PREFIX", prefix)
    return prefix


def test_places_are_taken_all_or_none_and_those_of_a_killed_process_are_free(prefix: str) -> None:
    mine = Places("lent", 8)
    with subprocess.Popen(
        [sys.executable, "-c", OTHER, "5", prefix], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "5\n"
        with pytest.raises(LabError, match="4 of 8 places for nodes, which tests of this user have in all: not within"):
            mine.take(4, within_s=0.3)
        held = mine.take(3)
        assert len(held) == 3
        assert mine.take(4) == [], "who holds some does not wait"
        mine.give(held)
        other.kill()
        other.wait()
    assert len(mine.take(8, within_s=5.0)) == 8


def test_a_cluster_that_is_larger_than_all_has_them_all() -> None:
    assert len(Places("lent", 8).take(64, within_s=0.0)) == 8


def test_where_nodes_cannot_be_counted_it_says_so() -> None:
    with pytest.raises(CannotError, match="a place for a node, which tests count: "):
        Places("x" * 200, 8).take(1)


class Real:
    """A cluster of containers, as the pool sees it."""

    name = DOCKER

    def __init__(self, spec: Spec) -> None:
        self.spec, self.is_closed, self.judged = spec, False, 0

    @property
    def nodes(self) -> tuple[int, ...]:
        return tuple(range(1, self.spec.nodes + 1))

    def settle(self) -> None: ...

    def left(self) -> list[str]:
        return []

    def is_judged(self) -> None:
        self.judged += 1

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Sequence[Pool]:
    """The pools of two."""
    monkeypatch.setattr(Pool, "_begin", lambda _pool, _name, spec: Real(spec))
    monkeypatch.setattr(module, "LENT_MAX", 8)
    return Pool(), Pool()


def lent(pool: Pool, nodes: int) -> Any:
    return pool.lend(DOCKER, Spec(nodes), 1)


def test_idle_nodes_of_all_workers_are_bounded_together(workers: Sequence[Pool]) -> None:
    one, other = workers
    first, second = lent(one, 5), lent(other, 3)
    one.give_back(first, True)
    assert lent(one, 5) is first, "it was kept"
    other.give_back(second, True)
    one.give_back(first, True)
    third = lent(other, 4)
    other.give_back(third, True)
    assert [world.is_closed for world in (first, second, third)] == [False, False, True], "10 in all"
    assert [world.judged for world in (first, second, third)] == [2, 1, 0], "what is kept may forget what was judged"
    one.close()
    other.give_back(lent(other, 5), True)
    assert first.is_closed
    other.close()


def test_a_worker_waits_for_the_nodes_of_another_and_not_for_ever(
    workers: Sequence[Pool], monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = workers
    first = lent(one, 5)
    take = Places.take
    monkeypatch.setattr(Places, "take", lambda these, wanted: take(these, wanted, within_s=0.2))
    with pytest.raises(LabError, match="4 of 8 places"):
        lent(other, 4)
    assert len(lent(one, 4).nodes) == 4, "a test that has one has its second"
    one.give_back(first, False)
    second = lent(other, 4)
    monkeypatch.setattr(Pool, "_begin", lambda _pool, _name, _spec: pytest.fail("no engine"))
    other.give_back(second, False)
    with pytest.raises(pytest.fail.Exception, match="no engine"):
        lent(other, 3)
    assert len(other._for_lent.take(4)) == 4, "what did not begin has no places"


def test_what_is_interrupted_while_it_is_looked_at_is_removed(
    workers: Sequence[Pool], monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_: Real) -> list[str]:
        raise KeyboardInterrupt

    one, other = workers
    first = lent(one, 8)
    monkeypatch.setattr(Real, "left", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.give_back(first, True)
    assert first.is_closed
    assert len(other._for_lent.take(8, within_s=0.0)) == 8


def test_where_tables_are_others_other_things_run(workers: Sequence[Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = workers
    for left, said in ((["left: node 1: cltab: 12", "left: process: cat"], []), (["left: process: cat"],) * 2):
        monkeypatch.setattr(Real, "left", lambda _, left=left: left)
        world = lent(one, 2)
        assert one.give_back(world, True) == said
        assert world.is_closed
