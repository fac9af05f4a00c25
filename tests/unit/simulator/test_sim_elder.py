"""An agent of 2003 among those of today, simulated: what it does, and what both leave to each other."""

from __future__ import annotations

from typing import Any

import pytest

from moslab.faults.plan import Fault, FaultPlan, PlanError, checked
from moslab.history.checkers import VALID
from moslab.history.intervals import overlaps
from moslab.simulator.draw import draw_plan
from moslab.simulator.run import Result, run

CORE_S_MAX = 120.0               # of one core, for a run
CLTAB = "kv:kv-fit:test:test:run 0.02\nkv:kv-run:start:respawn:live\n"
ELDER = 3
SEEDS = range(600)


def plan_of(faults: list[Fault], **more: Any) -> FaultPlan:
    fields: dict[str, Any] = {
        "conf": {"voters": "1"}, "safety_s": 90.0, "installed": [{"node": ELDER, "elder": True}], "heal": [1, 2, 3],
        **more,
    }
    return checked(FaultPlan(seed=5, nodes=3, cltab=CLTAB, hactl="kv start\n", faults=faults, **fields))


def crash(at_s: float, node: int, for_s: float) -> Fault:
    return {"at": at_s, "do": "crash", "whom": [node], "for": for_s}


def ran(*faults: Fault) -> Result:
    result = run(plan_of([*faults]), core_s_max=CORE_S_MAX)
    assert result.verdict == VALID, result.problems
    assert not overlaps(result.history.services()), "nothing was cut off, so nobody has an excuse"
    assert result.history.wanted == ["kv"], "it has to run at the end, on either kind"
    return result


def nodes_at(result: Result, time_s: float) -> list[int]:
    return [one.node for one in result.history.services() if one.begin_s <= time_s < one.end_s]


def test_what_one_of_today_runs_it_leaves_alone() -> None:
    result = ran()
    (node,) = {one.node for one in result.history.services()}
    assert node != ELDER
    assert nodes_at(result, 90.0) == [node]


def test_it_takes_what_nobody_has_and_those_of_today_leave_that_to_it_while_it_is_up() -> None:
    """Without the only voter no agent of today has quorum."""
    result = ran(crash(1.0, 1, 40.0), crash(75.0, ELDER, 10.0))
    assert nodes_at(result, 41.0) == [ELDER]
    assert nodes_at(result, 74.0) == [ELDER], "the voter was there again for half a minute"
    (after,) = nodes_at(result, 100.0)
    assert after != ELDER, "its node was down"
    assert result.counters["elder runs a group"]


def test_it_neither_votes_nor_arbitrates() -> None:
    wrong: tuple[dict[str, Any], ...] = ({"conf": {}}, {"conf": {"voters": "1 2 3"}}, {"arbitrators": [ELDER]})
    for more in wrong:
        with pytest.raises(PlanError, match=r"installed 0 .*an agent of 2003 neither votes nor arbitrates"):
            plan_of([], **more)


def test_some_seeds_have_one() -> None:
    plans = [plan for plan in map(draw_plan, SEEDS) if plan.elders()]
    assert 0.02 < len(plans) / len(SEEDS) < 0.06
    for plan in plans:
        assert checked(plan).profile.endswith("mixed")
        assert not {*plan.elders()} & {*plan.voters(), *plan.arbitrators}
        assert "stomith" not in plan.conf
