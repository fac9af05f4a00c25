"""Lanes: who waits for whom, and what is bounded."""

from __future__ import annotations

from mosha.platform import lanes
from mosha.platform.lanes import Lanes


class Lane:
    def __init__(self, key: int) -> None:
        self.key, self.first = key, key
        self.queue: list[str] = []


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def new(clock: Clock | None = None) -> Lanes[Lane]:
    return Lanes(Lane, clock or Clock())


def busy(all_lanes: Lanes[Lane], key: int, can_wait: bool = False) -> Lane | None:
    lane = all_lanes.lane(key, can_wait)
    if lane is not None:
        lane.queue.append("task")
    return lane


def test_each_key_has_a_lane_of_its_own_while_it_has_tasks() -> None:
    found = new()
    keys = [-2, -1, *range(40)]
    used = [busy(found, key) for key in keys]
    assert len({id(lane) for lane in used}) == len(keys)
    assert [found.lane(key, can_wait=False) for key in keys] == used
    assert [lane.key for lane in found] == keys


def test_beyond_a_few_a_key_takes_over_what_is_idle_longest() -> None:
    found = new()
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
    found = new()
    found.lane(-1, can_wait=False)
    for key in range(lanes.FEW):
        busy(found, key)
    other = found.lane(100, can_wait=False)
    assert other is not None
    assert other.first == 100


def test_what_can_wait_is_refused_first() -> None:
    found = new()
    for key in range(lanes.LATER_MAX):
        assert busy(found, key, can_wait=True)
    assert found.lane(100, can_wait=True) is None
    assert found.lane(3, can_wait=True), "it has one"
    for key in range(lanes.LATER_MAX, lanes.LANES_MAX):
        assert busy(found, key)
    assert found.lane(100, can_wait=False) is None
    assert found.lane(-1, can_wait=False)


def ends(all_lanes: Lanes[Lane], lane: Lane) -> Lane | None:
    """What is surplus when the tasks of this one have ended; it ends."""
    lane.queue.clear()
    surplus = all_lanes.surplus(lane)
    if surplus is not None:
        all_lanes.lose(surplus)
        all_lanes.stuck.remove(surplus.key)
    return surplus


def at_once(all_lanes: Lanes[Lane], *keys: int) -> list[Lane | None]:
    """What ends after each task, when all of these keys have one at the same time."""
    used = [busy(all_lanes, key) for key in keys]
    return [ends(all_lanes, lane) for lane in used if lane is not None]


def test_so_many_idle_ones_are_kept() -> None:
    found = new()
    ended = at_once(found, *range(lanes.LATER_MAX + 2))
    assert [one for one in ended if one is not None] == [*ended[:2]]
    assert [one.first for one in ended if one is not None] == [0, 1]
    assert len(list(found)) == lanes.LATER_MAX


def test_more_than_were_at_work_at_once_are_not_kept() -> None:
    clock = Clock()
    found = new(clock)
    at_once(found, -1, *range(lanes.FEW))
    clock.now += lanes.SPAN_S
    assert at_once(found, 0, 1) == [None, None], "they were at work in the span before"
    clock.now += lanes.SPAN_S
    for _ in range(lanes.FEW):
        at_once(found, 1, 0)
    assert [lane.first for lane in found] == [-1, 1, 0], "those that were idle for longest have ended"


def test_who_finds_no_idle_one_gets_another_and_who_finds_one_takes_it_over() -> None:
    clock = Clock()
    found = new(clock)
    for _ in range(3):
        for _ in range(lanes.FEW):
            at_once(found, 0, 1, 2)
        clock.now += lanes.SPAN_S
    assert at_once(found, 0, 1, 7) == [None, None, None]
    assert [(lane.first, lane.key) for lane in found] == [(0, 0), (1, 1), (2, 7)]
    assert at_once(found, 0, 1, 7, 8, 9) == [None] * 5
    assert len(list(found)) == 5


def test_a_key_of_which_some_are_stuck_gets_none() -> None:
    found = new()
    for _ in range(lanes.STUCK_MAX):
        lane = busy(found, 5)
        assert lane is not None
        found.lose(lane)
    assert found.lane(5, can_wait=False) is None
    assert found.lane(6, can_wait=False)
    found.stuck.remove(5)
    assert found.lane(5, can_wait=False)


def test_what_is_stuck_counts() -> None:
    found = new()
    for key in range(lanes.LATER_MAX):
        lane = busy(found, key)
        assert lane is not None
        found.lose(lane)
    assert found.lane(100, can_wait=True) is None
    assert found.lane(100, can_wait=False)
