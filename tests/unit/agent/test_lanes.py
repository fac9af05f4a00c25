"""Lanes: who waits for whom, and what is bounded."""

from __future__ import annotations

from mosha.platform import lanes
from mosha.platform.lanes import Lanes


class Lane:
    def __init__(self, key: int) -> None:
        self.key, self.first = key, key
        self.queue: list[str] = []


def busy(all_lanes: Lanes[Lane], key: int, can_wait: bool = False) -> Lane | None:
    lane = all_lanes.lane(key, can_wait)
    if lane is not None:
        lane.queue.append("task")
    return lane


def test_each_key_has_a_lane_of_its_own_while_it_has_tasks() -> None:
    found = Lanes(Lane)
    keys = [-2, -1, *range(40)]
    used = [busy(found, key) for key in keys]
    assert len({id(lane) for lane in used}) == len(keys)
    assert [found.lane(key, can_wait=False) for key in keys] == used
    assert [lane.key for lane in found] == keys


def test_beyond_a_few_a_key_takes_over_what_is_idle_longest() -> None:
    found = Lanes(Lane)
    for key in range(lanes.FEW):
        found.lane(key, can_wait=False)
    busy(found, 0)
    found.lane(1, can_wait=False)
    taken = found.lane(100, can_wait=False)
    assert taken is not None
    assert (taken.first, taken.key) == (2, 100)
    again = found.lane(2, can_wait=False)
    assert again is not None
    assert again.first == 3
    assert len(list(found)) == lanes.FEW


def test_a_lane_of_a_negative_key_is_not_taken_over() -> None:
    found = Lanes(Lane)
    found.lane(-1, can_wait=False)
    for key in range(lanes.FEW):
        busy(found, key)
    other = found.lane(100, can_wait=False)
    assert other is not None
    assert other.first == 100


def test_what_can_wait_is_refused_first() -> None:
    found = Lanes(Lane)
    for key in range(lanes.LATER_MAX):
        assert busy(found, key, can_wait=True)
    assert found.lane(100, can_wait=True) is None
    assert found.lane(3, can_wait=True), "it has one"
    for key in range(lanes.LATER_MAX, lanes.LANES_MAX):
        assert busy(found, key)
    assert found.lane(100, can_wait=False) is None
    assert found.lane(-1, can_wait=False)


def test_so_many_idle_ones_are_kept() -> None:
    found = Lanes(Lane)
    all_lanes = [busy(found, key) for key in range(lanes.LATER_MAX + 2)]
    for lane in all_lanes[1:]:
        assert lane is not None
        assert found.surplus() is None
        lane.queue.clear()
    surplus = found.surplus()
    assert surplus is all_lanes[1]
    assert surplus is not None
    found.lose(surplus)
    assert found.surplus() is None


def test_a_key_of_which_some_are_stuck_gets_none() -> None:
    found = Lanes(Lane)
    for _ in range(lanes.STUCK_MAX):
        lane = busy(found, 5)
        assert lane is not None
        found.lose(lane)
    assert found.lane(5, can_wait=False) is None
    assert found.lane(6, can_wait=False)
    found.stuck.remove(5)
    assert found.lane(5, can_wait=False)


def test_what_is_stuck_counts() -> None:
    found = Lanes(Lane)
    for key in range(lanes.LATER_MAX):
        lane = busy(found, key)
        assert lane is not None
        found.lose(lane)
    assert found.lane(100, can_wait=True) is None
    assert found.lane(100, can_wait=False)
