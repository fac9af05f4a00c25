"""For which groups that cannot be ended which node is to be shot, as one node sees it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from mosha.snags import GROUPS_MAX, Snags
from mosha.timing import FORGET_S, STUCK_S

Said = Mapping[int, Mapping[str, Any]]


def are_most(nodes: Collection[int]) -> bool:
    return len(nodes) > 2


def snags(stuck_s: float = 60.0, heir: bool = True, me: int = 1) -> Snags:
    """Of five nodes."""
    return Snags(me, stuck_s, lambda node, group: heir, are_most)


def with_kv(*nodes: int) -> Said:
    return {node: {"stuck": {"kv": "kv-run: 7 (dd, state D)"}} for node in nodes}


def test_a_node_is_to_be_shot_when_it_was_stuck_for_long_enough() -> None:
    one = snags()
    one.step(0, (), with_kv(2))
    assert one.due(60 - STUCK_S - 1, 2, ["kv"]) == []
    assert one.due(60 - STUCK_S, 2, ["kv", "other"]) == ["kv"]
    assert one.due(60, 3, ["kv"]) == []
    one.step(60, (), {})
    one.step(61, (), with_kv(2))
    assert one.due(62, 2, ["kv"]) == [], "it had ended, and began anew"


def test_this_node_counts_as_others_do() -> None:
    one = snags()
    one.step(0, ["kv"], {})
    assert one.due(60, 1, ["kv"]) == ["kv"]
    assert one.said() == {"kv": [1]}


@pytest.mark.parametrize(("stuck_s", "heir", "why"), [
    (0, True, "the configuration has `stuck = 0`"), (60, False, "no other node may have it now"), (60, True, ""),
])
def test_why_nobody_shoots(stuck_s: float, heir: bool, why: str) -> None:
    one = snags(stuck_s, heir)
    one.step(0, (), with_kv(2))
    assert one.spared(2, "kv") == why
    assert one.due(9999, 2, ["kv"]) == ([] if why else ["kv"])


def test_the_second_node_is_not_shot_for_the_same_group_however_long_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    one = snags()
    one.step(0, (), with_kv(2))
    one.step(1, (), {})
    one.step(FORGET_S - 1, (), with_kv(3))
    assert one.spared(3, "kv") == one.spared(2, "kv") == \
        "what it waits for holds up other nodes too (nodes 2, 3 were stuck with it)"
    for now in range(int(FORGET_S), int(3 * FORGET_S)):
        one.step(now, (), with_kv(3))
        assert one.due(now, 3, ["kv"]) == []
    assert caplog.messages == ["kv: nodes 2, 3 were stuck with it, nobody is shot for it"]


def test_most_nodes_are_not_shot_whatever_each_is_stuck_with(caplog: pytest.LogCaptureFixture) -> None:
    """A minority is, one after the other: the last one of a majority that was stuck within ``FORGET_S`` is not."""
    one = snags()
    for node, now in ((2, 0), (3, 100)):
        stuck: Said = {node: {"stuck": {f"g{node}": "x"}}}
        one.step(now, (), stuck)
        one.step(now + 60, (), stuck)
        assert one.due(now + 60, node, [f"g{node}"]) == [f"g{node}"]
    third: Said = {4: {"stuck": {"g4": "x"}}}
    for now in (200, 260):
        one.step(now, (), third)
        assert one.due(now, 4, ["g4"]) == []
    assert one.spared(4, "g4") == "what it waits for holds up other nodes too (nodes 2, 3, 4 were stuck with something)"
    assert "g4: nodes 2, 3, 4 were stuck with something, nobody is shot for it" in caplog.messages
    one.step(60 + FORGET_S, (), third)
    assert one.due(60 + FORGET_S, 4, ["g4"]) == ["g4"], "what was seen of node 2 is forgotten"


def test_the_only_node_that_is_stuck_may_be_most_of_all() -> None:
    one = Snags(1, 60, lambda node, group: True, lambda nodes: True)
    one.step(0, (), with_kv(2))
    one.step(60, (), with_kv(2))
    assert one.due(60, 2, ["kv"]) == ["kv"]


def test_what_was_seen_of_a_group_is_forgotten_together() -> None:
    one = snags()
    one.step(0, (), with_kv(2, 3))
    one.step(FORGET_S - 1, (), {})
    assert one.said() == {"kv": [2, 3]}
    one.step(FORGET_S, (), {})
    assert one.said() == {}
    one.step(FORGET_S + 1, (), with_kv(4))
    assert one.due(FORGET_S + 60, 4, ["kv"]) == ["kv"]


def test_who_was_shot_and_is_back_hears_of_itself() -> None:
    back = snags(me=2)
    told: Said = {**with_kv(3), 4: {"stuck_on": {"kv": [2, 3]}}}
    back.step(0, (), told)
    back.step(60, (), told)
    assert back.due(60, 3, ["kv"]) == []
    assert back.said() == {"kv": [3]}, "only what it has seen itself, else nobody would ever forget"


def test_what_is_said_has_a_bound() -> None:
    one = snags()
    one.step(0, (), {node: {"stuck": {f"g{number}": "x" for number in range(40)}} for node in range(2, 9)})
    assert len(one.said()) == GROUPS_MAX
    assert all(nodes == [2, 3] for nodes in one.said().values())
