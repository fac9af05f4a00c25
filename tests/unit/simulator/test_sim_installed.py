"""Clusters that are not installed alike: what is drawn, what reaches the nodes, and what is promised then."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mosha.ownership import marker
from mosha.ownership.voter import FOUNDED, Voter, installation
from moslab.faults.plan import FaultPlan, checked
from moslab.history.checkers import INVALID, VALID
from moslab.simulator.cluster import Cluster
from moslab.simulator.directed import DIRECTED
from moslab.simulator.draw import directed_plan, draw_plan
from moslab.simulator.inject import Injector
from moslab.simulator.installed import MAPS, NAMES, ORDER, UNEVEN, is_promised, is_uneven, uneven
from moslab.simulator.run import Result, advance, run

CORE_S_MAX = 120.0               # of one core, for a run
SEEDS = range(600)
CLTAB = "kv:kv-run:start:respawn:live\n"


def plan_of(nodes: int = 5, **more: Any) -> FaultPlan:
    fields = {"conf": {"voters": "1 2 3"}, "safety_s": 12.0, **more}
    return checked(FaultPlan(seed=5, nodes=nodes, cltab=CLTAB, hactl="kv start\n", **fields))


def a_map(whom: list[int], nodes: list[int], at_s: float = 3.0) -> dict[str, Any]:
    return {"at": at_s, "do": "map", "whom": whom, "nodes": nodes}


def found(at_s: float, whom: list[int]) -> dict[str, Any]:
    return {"at": at_s, "do": "order", "whom": whom, "order": {"do": "found", "without": []}}


def ran(**more: Any) -> Result:
    return run(plan_of(**more), core_s_max=CORE_S_MAX)


def test_a_share_of_the_seeds_is_uneven_in_each_way() -> None:
    plans = [
        plan for plan in map(draw_plan, SEEDS)
        if is_uneven(plan) and not plan.elders() and not plan.profile.startswith("directed")
    ]
    assert 0.04 < len(plans) / len(SEEDS) < 0.1
    assert {plan.profile.split()[1] for plan in plans} == {MAPS, NAMES, ORDER}
    reached = [uneven(plan) for plan in plans]
    assert all(any(one[name] for one in reached) for name in UNEVEN)
    promised = {(plan.profile.split()[1], is_promised(plan)) for plan in plans}
    assert promised >= {(MAPS, True), (NAMES, True), (NAMES, False), (ORDER, True), (ORDER, False)}


def test_configurations_that_are_drawn_have_a_node_in_common() -> None:
    """Two sets that have none are two clusters, and that is no fault of the protocol."""
    for plan in (plan for plan in map(draw_plan, SEEDS) if plan.profile.endswith(NAMES)):
        named = [set(plan.voters()), *(set(one["voters"]) for one in plan.installed if "voters" in one)]
        common = set.intersection(*named)
        assert common
        assert not plan.founded or any(map(plan.founded_on, common))
        assert not [f for f in plan.faults if f["do"] == "wipe" or f.get("wipe") or f.get("restore")]


def test_what_an_installer_left_reaches_each_node() -> None:
    plan = plan_of(installed=[
        {"node": 2, "voters": [2, 4], "map": [2, 4]}, {"node": 3, "voters": [], "founded": False},
    ])
    cluster = Cluster(plan)
    nodes = cluster.nodes
    assert [sorted(nodes[number].config.voters) for number in (1, 2, 3)] == [[1, 2, 3], [2, 4], []]
    assert [nodes[number].map for number in (1, 2)] == [[1, 2, 3, 4, 5], [2, 4]]
    assert [FOUNDED in nodes[number].disk.files for number in (1, 2, 3)] == [True, True, False]
    injector = Injector(cluster)
    injector.schedule()
    assert nodes[2].strangers == {1, 3, 5}


def test_a_node_asks_nobody_who_is_not_on_its_map() -> None:
    """It has no majority then; with the whole map it takes part."""
    alone, whole = [{"node": 2, "map": [2]}], a_map([2], [1, 2], 6.0)
    result = ran(nodes=2, conf={}, arbitrators=[1], installed=alone, faults=[whole])
    assert result.verdict == VALID, result.problems
    assert result.counters["request to a node that is not on the map"] > 5
    assert min(interval.begin_s for interval in result.history.services()) > 6.0
    assert {interval.node for interval in result.history.services()} == {2}


def test_an_agent_that_is_not_on_its_own_map_waits_or_ends() -> None:
    result = ran(installed=[{"node": 5, "map": [1, 2]}], faults=[a_map([4], [1, 2, 3, 5])])
    assert result.verdict == VALID, result.problems
    assert result.counters["map: without a node whose agent runs"] == 1
    assert result.counters["map: without the own node"] == 2


def test_a_map_that_lacks_nodes_for_a_while_is_as_at_first_then() -> None:
    plan = plan_of(installed=[{"node": 2, "map": [2, 3]}], faults=[{**a_map([2, 4], [2, 4]), "for": 2.0}])
    cluster = Cluster(plan)
    injector = Injector(cluster)
    injector.schedule()
    maps = []
    for until_s in (4.0, 6.0):
        assert advance(cluster, until_s, time.process_time() + CORE_S_MAX)
        maps.append([cluster.nodes[number].map for number in (2, 4)])
    assert maps == [[[2, 4], [2, 4]], [[2, 3], [1, 2, 3, 4, 5]]]
    assert [(fault.kind, fault.begin_s, fault.end_s) for fault in injector.record] == [("map", 3.0, 5.0)]


SOME = [{"node": 3, "founded": False}]           # of three voters
ELDER = [{"node": 5, "elder": True}]


@pytest.mark.parametrize(("is_it", "more"), [
    (True, {}),
    (True, {"installed": [{"node": 3, "map": [3]}]}),
    (False, {"installed": [{"node": 3, "map": [3]}, {"node": 2, "map": [2]}]}),
    (True, {"installed": [{"node": 3, "map": [3]}, {"node": 2, "map": [2]}], "faults": [a_map([2], [1, 2, 3, 4, 5])]}),
    (False, {"installed": [{"node": 3, "map": [3]}], "faults": [a_map([2], [2, 3])]}),
    (False, {"faults": [a_map([2, 3], [2, 3])]}),
    (True, {"faults": [{**a_map([2, 3], [2, 3]), "for": 8.0}]}),
    (False, {"faults": [{**a_map([2, 3], [2, 3]), "for": 9.0}]}),
    (False, {"installed": [{"node": 2, "founded": False}, {"node": 3, "founded": False}]}),
    (True, {"installed": [{"node": 3, "founded": False}, {"node": 5, "voters": [3, 4, 5]}]}),
    (False, {"installed": SOME, "faults": [{"at": 1, "do": "crash", "whom": [1], "wipe": True}]}),
    (False, {"installed": SOME, "faults": [{"at": 1, "do": "config", "whom": ["owner:kv"]}]}),
    (True, {"founded": False, "installed": [{"node": 5, "voters": [3, 4, 5]}]}),
    (False, {"founded": False, "installed": [{"node": 3, "voters": [3, 4, 5]}]}),
    (False, {"founded": False, "heal": [1, 2, 3], "installed": [{"node": 5, "voters": [3, 4, 5]}]}),
    (False, {"founded": False, "conf": {}}),
    (False, {"founded": False, "conf": {}, "faults": [found(2.0, [1])]}),
    (True, {"founded": False, "conf": {}, "faults": [found(13.0, [1])]}),
    (True, {"installed": ELDER}), (False, {"installed": ELDER, "heal": [1, 2, 3, 5]}),
    (False, {"installed": ELDER, "faults": [a_map([2], [1, 2, 3, 4, 5])]}),
    (False, {"installed": [*ELDER, {"node": 3, "founded": False}]}),
])
def test_groups_must_run_where_the_healed_nodes_agree_on_who_votes(is_it: bool, more: dict[str, Any]) -> None:
    assert is_promised(plan_of(**more)) is is_it


def test_where_nothing_is_promised_safety_alone_is_judged() -> None:
    result = ran(founded=False, conf={})
    assert (result.verdict, result.history.wanted, result.history.promised) == (VALID, [], False)
    assert not result.history.intervals
    assert result.counters["voter: nobody has named the voters"] == 5


def test_an_operator_founds_a_cluster_that_nobody_has_named() -> None:
    result = ran(founded=False, conf={}, faults=[found(13.0, [1])])
    assert result.verdict == VALID, result.problems
    assert min(interval.begin_s for interval in result.history.services()) > 13.0


def broken(name: str, seed: int = 0) -> list[str]:
    result = run(directed_plan(seed, DIRECTED[name]), core_s_max=CORE_S_MAX)
    assert (result.verdict == INVALID) == bool(result.problems)
    return sorted({problem.partition(":")[0] for problem in result.problems})


@pytest.mark.parametrize(("name", "seed"), [("MADE_ANEW", 0), ("BY_ITSELF", 0), ("ROLLED_BACK_UNPLACED", 2)])
def test_the_directed_plans_find_what_they_are_for(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert broken(name, seed) == []
    if name == "MADE_ANEW":
        monkeypatch.setattr(Voter, "_may_found", lambda _: True)
    elif name == "BY_ITSELF":
        monkeypatch.setattr(Voter, "_is_ours", lambda *_: True)
    else:
        def as_it_is(store: Any, _: str) -> Any:
            return marker.decode(store.read(marker.NAME, marker.BYTES_MAX) or b"")

        monkeypatch.setattr("mosha.agent.rejoin", as_it_is)
    assert {"overlap", "epochs"} & set(broken(name, seed))


def test_who_sees_that_an_installer_has_named_two_sets_of_voters_owns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have a voter in common, which can tell, once it is there."""
    install = Cluster._install

    def twice(cluster: Cluster) -> None:
        install(cluster)
        for number in (4, 5):
            files = cluster.nodes[number].disk.files
            files[FOUNDED] = installation(files[FOUNDED].decode().split()[0], [3, 4, 5]).encode()

    monkeypatch.setattr(Cluster, "_install", twice)
    result = run(plan_of(), traced=True, core_s_max=CORE_S_MAX)
    assert {one.node for one in result.history.services() if one.end_s > 5.0} <= {1, 2, 3}
    assert sum("two sets of voters have one number" in line for line in result.trace) > 1
