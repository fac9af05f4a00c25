"""Plans are data: drawn, written, read, refused, and made smaller."""

from __future__ import annotations

import json
from typing import Any

import pytest

from moslab.faults.plan import KINDS, FaultPlan, PlanError, from_json
from moslab.history.checkers import INVALID, VALID
from moslab.history.record import History
from moslab.simulator.directed import DIRECTED
from moslab.simulator.draw import IN_ORDER, MANY, draw_plan
from moslab.simulator.run import Result
from moslab.simulator.shrink import shrink

SEEDS = range(300)


def test_a_plan_survives_being_written_and_read() -> None:
    for seed in range(20):
        plan = draw_plan(seed)
        assert from_json(plan.to_json()) == plan


def test_a_fault_is_one_line_of_the_file() -> None:
    plan = draw_plan(4)
    lines = [line.strip().rstrip(",") for line in plan.to_json().splitlines()]
    assert all(json.dumps(fault) in lines for fault in plan.faults)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "format"),
        ({"speed": 1}, "unknown: speed"),
        ({"nodes": 0}, "nodes is a number from 1 on"),
        ({"nodes": "3"}, "nodes is a number from 1 on"),
        ({"heal": [9]}, "heal is a list of nodes from 1 to 3"),
        ({"arbitrators": [0]}, "arbitrators is a list of nodes from 1 to 3"),
        ({"conf": {"beat": 1}}, "conf has texts by name"),
        ({"faults": [7]}, "fault 0 7: do is one of"),
        ({"faults": [{"at": 1, "do": "crash", "whom": 1}]}, "whom is a list, not 1"),
        ({"faults": [{"at": 1, "do": "cut", "whom": [1]}]}, "to is missing"),
        ({"faults": [{"at": 1, "do": "pause", "whom": [1], "what": "clinit"}]}, "what is one of agent, leash, group"),
        ({"faults": [{"at": 1, "do": "stomith", "whom": [1], "how": "explodes"}]}, "how is one of works, fails"),
        ({"faults": [{"at": 1, "do": "freeze", "whom": [1], "clock": "runs"}]}, "clock is one of stops"),
        ({"faults": [{"do": "crash", "whom": [1]}]}, "at is missing"),
        ({"faults": [{"at": 1, "do": "explode", "whom": [1]}]}, "fault 0 .*: do is one of"),
        ({"faults": [{"at": 1, "do": "damage", "whom": [1]}]}, "file, shape is missing"),
        ({"faults": [{"at": 1, "do": "damage", "whom": [1], "file": "etc", "shape": "bits"}]}, "file is one of"),
        ({"faults": [{"at": 1, "do": "damage", "whom": [1], "file": "state", "shape": "no"}]}, "shape is one of"),
        ({"faults": [{"at": 1, "do": "crash", "whom": [9]}]}, "9 is neither a node from 1 to 3"),
        ({"faults": [{"at": 1, "do": "crash", "whom": []}]}, "whom is a list that is not empty"),
        ({"faults": [{"at": 1, "do": "crash", "whom": [1], "flap": 1}]}, "unknown: flap"),
        ({"faults": [{"at": -1, "do": "crash", "whom": [1]}]}, "at is a number, not -1"),
    ],
)
def test_a_bad_plan_is_refused_with_its_reason(change: dict[str, Any], said: str) -> None:
    plan = FaultPlan(seed=1, nodes=3, cltab="", hactl="")
    with pytest.raises(PlanError, match=said):
        from_json(json.dumps({**json.loads(plan.to_json()), **change}))
    with pytest.raises(PlanError, match="JSON"):
        from_json("not at all")


def test_the_ordinary_budget_has_every_kind_of_fault_and_the_tight_profile() -> None:
    plans = [draw_plan(seed) for seed in SEEDS]
    assert {fault["do"] for plan in plans for fault in plan.faults} == set(KINDS)
    tight = [plan for plan in plans if plan.profile == "tight"]
    assert any(len(plan.voters()) == 1 for plan in tight)
    assert all(plan.network["latency_max_s"] <= 0.002 and plan.clocks["drift"] == 0.01 for plan in tight)
    aimed = [f for plan in tight for f in plan.faults if any(isinstance(one, str) for one in f["whom"])]
    assert len(aimed) > 100
    assert {plan.nodes for plan in plans if plan.nodes < MANY[0]} == set(range(1, 10))
    assert {len(plan.voters()) for plan in plans if plan.nodes >= MANY[0]} == {5, 7}


def test_arbitrators_vote_and_leave_a_node_for_each_group() -> None:
    with_some = [plan for plan in (draw_plan(seed) for seed in SEEDS) if plan.arbitrators]
    assert any(plan.nodes == 3 for plan in with_some)
    for plan in with_some:
        assert set(plan.arbitrators) <= set(plan.voters())
        unfit = max((line.count("unfit") for line in plan.cltab.splitlines()), default=0)
        assert len(set(plan.heal) - set(plan.arbitrators)) > unfit


def test_a_directed_plan_is_drawn_as_it_is_or_moved_a_little() -> None:
    plans = [plan for plan in (draw_plan(seed) for seed in SEEDS) if plan.profile.startswith(IN_ORDER)]
    assert {plan.profile.split()[1] for plan in plans} <= set(DIRECTED)
    same = moved = more = 0
    for plan in plans:
        name = plan.profile.split()[1]
        begun = [fault["at"] for fault in DIRECTED[name]["faults"]]
        ats = [fault["at"] for fault in plan.faults]
        same += ats == begun
        moved += ats != begun and len(ats) == len(begun)
        more += len(ats) > len(begun)
        lease_s = float(plan.conf["lease"])
        assert ats == sorted(ats)
        if len(ats) == len(begun):
            assert all(abs(one - other) <= 0.41 * lease_s for one, other in zip(ats, sorted(begun)))
    assert min(same, moved, more) > 3, (same, moved, more)
    assert draw_plan(plans[0].seed, nodes=4).nodes == 4


def forgetting(plan: FaultPlan) -> set[int]:
    """The nodes whose voter forgets at some time: it lost its disk, or had other times or another version."""
    return {
        node for fault in plan.faults for node in fault["whom"]
        if fault.get("wipe") or fault.get("restore") or fault["do"] == "config"
        or (fault["do"] == "order" and fault["order"].get("do") == "forget")
    }


def test_what_is_healed_is_a_majority_of_the_voters_that_remember() -> None:
    for seed in SEEDS:
        plan = draw_plan(seed)
        healed = set(plan.heal) & set(plan.voters())
        if len(plan.heal) < plan.nodes and not plan.profile.startswith(IN_ORDER):
            healed -= forgetting(plan)
        assert len(healed) > len(plan.voters()) // 2
        assert all(1 <= number <= plan.nodes for number in plan.heal)


def test_a_failing_plan_is_shrunk_to_what_makes_it_fail() -> None:
    plan = draw_plan(0, nodes=6)
    plan.faults = [{"at": float(n), "do": "jump", "whom": [1], "by": 2.0} for n in range(1, 12)]
    plan.faults[3] = {"at": 4.0, "do": "freeze", "whom": [2], "for": 3.0}
    plan.faults[7] = {"at": 8.0, "do": "cut", "whom": [1], "to": [2], "both": True}
    plan.conf.pop("voters", None)
    plan.heal = [1, 2, 3, 4]
    tried: list[FaultPlan] = []

    def trial(smaller: FaultPlan) -> Result:
        tried.append(smaller)
        fails = {"freeze", "cut"} <= {fault["do"] for fault in smaller.faults} and smaller.nodes >= 3
        verdict, problems = (INVALID, ["overlap: x"]) if fails else (VALID, [])
        return Result(smaller, verdict, problems, History(3), {}, 1.0, 1.0, 1, 0)

    small = shrink(trial(plan), trial).plan
    assert [fault["do"] for fault in small.faults] == ["freeze", "cut"]
    assert small.faults[1] == {"at": 8.0, "do": "cut", "whom": [1], "to": [2]}
    assert small.nodes == 3
    assert len(tried) < 150
