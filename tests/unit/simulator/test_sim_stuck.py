"""A process that nothing can end (state D), on a node that beats: only a shot, or that node's end, frees its group."""

from __future__ import annotations

from typing import Any

from moslab.history.checkers import VALID
from moslab.simulator.directed import STUCK_FOR_EVER
from moslab.simulator.draw import directed_plan
from moslab.simulator.run import Result, run

STUCK_AT_S, GIVES_UP_S = 10.0, 10.7          # SIGKILL is sent within 0.7 s, and is given 10 s


def cluster(*faults: dict[str, Any], nodes: int = 3, voters: str = "1 2 3", shoots: bool = True) -> Result:
    """g1 and g2 are on one node, which g1 is to leave from ``STUCK_AT_S`` on."""
    plan = directed_plan(1, STUCK_FOR_EVER)
    plan.nodes, plan.heal = nodes, list(range(1, nodes + 1))
    plan.hactl = "g1 start prefer=1,2\ng2 start prefer=1,2\n"
    plan.conf["voters"] = voters
    if not shoots:
        del plan.conf["stomith"]
    move: dict[str, Any] = {"do": "order", "whom": [2], "order": {"do": "move", "group": "g1"}}
    plan.faults = sorted([
        {"at": STUCK_AT_S, "do": "stuck", "whom": ["owner:g1"], "for": 500.0},
        *({**move, "at": STUCK_AT_S + node, "order": {**move["order"], "node": node}} for node in (1, 2)), *faults,
    ], key=lambda fault: fault["at"])
    result = run(plan, traced=True)
    assert result.verdict == VALID, result.problems
    return result


def starts(result: Result, group: str) -> list[tuple[float, int]]:
    """When and where it was started."""
    return sorted((one.begin_s, one.node) for one in result.history.services() if one.group == group)


def said(result: Result, text: str) -> list[float]:
    return [time_s for time_s, _, line in result.log if text in line]


def test_what_else_the_node_has_goes_before_it_is_shot() -> None:
    result = cluster()
    (gone,), (shot, *_) = said(result, "g2: given up"), said(result, "STOMITH node")
    (_, owner), (began, after) = starts(result, "g1")[:2]
    assert STUCK_AT_S + GIVES_UP_S < gone < shot < began < STUCK_AT_S + GIVES_UP_S + 5
    assert owner != after
    assert len(said(result, "STOMITH node")) == 2, "said before and after"


def test_one_of_two_voters_is_shot_too() -> None:
    result = cluster(nodes=2, voters="1 2")
    (_, owner), (_, after) = starts(result, "g1")[:2]
    assert owner != after


def test_a_shot_that_fails_frees_nothing_and_the_one_that_succeeds_does() -> None:
    result = cluster({"at": 5.0, "do": "stomith", "how": "fails", "whom": [1, 2, 3], "for": 35.0})
    (_, owner), (began, after) = starts(result, "g1")[:2]
    assert result.counters["STOMITH fails"] > 2
    assert owner != after
    assert began > 40.0


def test_without_stomith_nothing_moves_before_somebody_switches_the_node_off() -> None:
    result = cluster({"at": 50.0, "do": "crash", "whom": ["owner:g1"], "for": 5.0}, shoots=False)
    (_, owner), (began, after) = starts(result, "g1")[:2]
    assert said(result, "g1: cannot be ended here")
    assert owner != after
    assert began > 50.0
    assert all(at < STUCK_AT_S or at > 50.0 for at, _ in starts(result, "g2")), "g2 is left where it is"


def test_one_storage_does_not_take_one_node_after_the_other() -> None:
    """g1 is stuck on the next node as well: whatever holds it up, that node is not shot for it."""
    def moved(at_s: float) -> list[dict[str, Any]]:
        return [
            {"at": at_s + node, "do": "order", "whom": [2], "order": {"do": "move", "group": "g1", "node": node}}
            for node in (1, 2, 3)
        ]

    result = cluster({"at": 40.0, "do": "stuck", "whom": ["owner:g1"], "for": 500.0}, *moved(40.0))
    (_, owner), (_, after) = starts(result, "g1")[:2]
    assert owner != after
    assert len(said(result, "g1: cannot be ended here")) == 2
    assert said(result, f"g1: nodes {', '.join(map(str, sorted((owner, after))))} were stuck with it")
    assert len(said(result, "STOMITH node")) == 2, "said before and after the one shot"
