"""Where groups run, as hactl and operators want it: whole clusters under virtual time."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from operator import eq
from typing import Any

import pytest

from mosha.requirements import Requirements
from mosha.status import TWIN
from moslab.faults.plan import FaultPlan, checked
from moslab.history.checkers import VALID
from moslab.history.intervals import Interval
from moslab.simulator.directed import QUICK, plan
from moslab.simulator.draw import directed_plan
from moslab.simulator.run import Result, run
from moslab.simulator.stepwise import Stepwise
from moslab.wait import eventually

CORE_S_MAX = 120.0
TEST_S = 3.0
CLTAB = "kv:kv-fit:test:test:run 0.05\nkv:kv-run:start:respawn:live\n"


def cluster(
    hactl: str, *faults: dict[str, Any], cltab: str = CLTAB, nodes: int = 3, seed: int = 1, safety_s: float = 30.0
) -> Result:
    plan = FaultPlan(
        seed=seed, nodes=nodes, cltab=cltab, hactl=hactl, safety_s=safety_s, conf={"beat": "0.5", "lease": "2.5"},
        faults=list(faults),
    )
    plan.network.update(tail=0.0, careful=0.0, torn=0.0)
    result = run(plan, traced=True, core_s_max=CORE_S_MAX)
    assert result.verdict == VALID, result.problems
    return result


def services(result: Result, group: str = "kv") -> list[Interval]:
    """Of its respawned process, in their order."""
    return sorted((i for i in result.history.services() if i.group == group), key=lambda i: i.begin_s)


def ran_tests(result: Result) -> list[Interval]:
    return sorted((i for i in result.history.intervals if i.pid in result.history.tests), key=lambda i: i.begin_s)


@pytest.mark.parametrize("seed", range(3))
def test_one_of_eight_nodes_that_is_fit_is_found_within_two_tests_and_a_second(seed: int) -> None:
    unfit = ",".join(str(node) for node in range(1, 9) if node != 5)
    cltab = f"kv:kv-fit:test:test:run {TEST_S} unfit={unfit}\nkv:kv-run:start:respawn:live\n"
    result = cluster("kv start\n", cltab=cltab, nodes=8, seed=seed)
    first = services(result)[0]
    assert first.node == 5
    assert first.begin_s - ran_tests(result)[0].begin_s < 2 * TEST_S + 1.0


@pytest.mark.parametrize("stomith", [{}, {"stomith": "/sbin/off %n"}])
@pytest.mark.parametrize("seed", range(3))
def test_of_two_voters_the_one_that_booted_goes_on_when_an_operator_confirms_that_the_other_is_off(
    seed: int, stomith: dict[str, str],
) -> None:
    """With STOMITH voter 2 has gone on alone before it is off for good, and this one cannot know what it decided."""
    word = {"do": "found", "without": [2], "are_off": True}
    plan = FaultPlan(
        seed=seed, nodes=3, cltab=CLTAB, hactl="kv start\n", safety_s=40.0, heal=[1, 3], bound_s=20.0,
        conf={"beat": "0.5", "lease": "2.5", "voters": "1 2", **stomith}, faults=[
            {"at": 10.0, "do": "crash", "whom": [1], "for": 8.0},
            {"at": 15.0, "do": "crash", "whom": [2], "for": 500.0},
            {"at": 30.0, "do": "order", "whom": [1], "order": word},
        ],
    )
    result = run(checked(plan), core_s_max=CORE_S_MAX)
    assert result.verdict == VALID, result.problems
    assert {one.node for one in services(result) if one.begin_s > 30.0} <= {1, 3}
    without_word = run(replace(plan, faults=plan.faults[:2]), core_s_max=CORE_S_MAX)
    assert any("liveness" in problem for problem in without_word.problems)


@pytest.mark.parametrize("seed", range(3))
def test_that_word_is_void_where_the_other_one_let_a_node_vote_since_that_was_asked(seed: int) -> None:
    """Node 3 had no vote when voter 2, which had forgotten, asked it; it has the only one when the word is given."""
    plan = FaultPlan(
        seed=seed, nodes=3, cltab=CLTAB, hactl="kv start\n", safety_s=110.0, heal=[2, 3], bound_s=40.0,
        conf={"beat": "0.5", "lease": "2.5", "voters": "1 2", "stomith": "/sbin/off %n"}, faults=[
            {"at": 10.0, "do": "crash", "whom": [2], "for": 10.0},
            {"at": 12.0, "do": "cut", "whom": [1], "to": [2], "both": True, "for": 500.0},
            {"at": 25.0, "do": "order", "whom": [2], "order": {"do": "forget"}},
            {"at": 35.0, "do": "order", "whom": [1], "order": {"do": "elect", "voters": [1, 3]}},
            {"at": 55.0, "do": "order", "whom": [1], "order": {"do": "elect", "voters": [3]}},
            {"at": 75.0, "do": "crash", "whom": [1], "for": 500.0},
            {"at": 90.0, "do": "order", "whom": [2], "order": {"do": "found", "without": [1], "are_off": True}},
        ],
    )
    result = run(checked(plan), core_s_max=CORE_S_MAX)
    assert result.verdict == VALID, result.problems
    assert services(result)[-1].begin_s < 90.0, "it runs on where it ran"


@pytest.mark.parametrize(("seed", "cut_s"), [(0, 2.0), (2, 2.0), (0, 3.0), (2, 3.0), (3, 3.0)])
def test_who_is_switched_on_again_with_an_electorate_of_its_own_looks_for_a_later_era_first(
    seed: int, cut_s: float,
) -> None:
    """Voter 2 went on alone, and was off for good by an operator's word, which was right; its network is there a moment
    after its agent."""
    plan = FaultPlan(
        seed=seed, nodes=2, cltab=CLTAB, hactl="kv start\n", safety_s=70.0, heal=[1, 2], bound_s=40.0,
        conf={"beat": "0.5", "lease": "2.5", "voters": "1 2", "stomith": "/sbin/off %n"}, faults=[
            {"at": 10.0, "do": "crash", "whom": [1], "for": 12.0},
            {"at": 20.0, "do": "crash", "whom": [2], "for": 30.0},
            {"at": 34.0, "do": "order", "whom": [1], "order": {"do": "found", "without": [2], "are_off": True}},
            {"at": 49.0, "do": "cut", "whom": [1], "to": [2], "both": True, "for": cut_s},
        ],
    )
    result = run(checked(plan), core_s_max=CORE_S_MAX)
    assert result.verdict == VALID, result.problems
    assert [one.node for one in services(result)] == [1, 2, 1]


def test_groups_may_have_points_in_their_names() -> None:
    cltab = "kv-1:b:start:respawn:live\nkv.1:kv.1-run:up.1:respawn:live\nkv.1:kv.1-two:2.0:respawn:live\n"
    result = cluster(
        "kv-1 start\nkv.1 up.1\n",
        {"at": 10.0, "do": "edit", "whom": [1], "table": "hactl", "levels": {"kv.1": "2.0"}},
        {"at": 20.0, "do": "kill", "whom": ["owner:kv.1"], "what": "leash", "group": "kv.1"},
        {"at": 30.0, "do": "crash", "whom": ["owner:kv.1"]}, cltab=cltab,
    )
    assert len(services(result, "kv.1")) >= 4
    assert [one for one in services(result, "kv.1") if 10.0 < one.begin_s < 15.0], "the level that was edited"
    assert services(result, "kv-1")[0].begin_s < 10.0
    assert not [one for one in services(result, "kv-1") if 9.0 < one.begin_s < 19.0], "the edit was of the other one"


@pytest.mark.parametrize("seed", range(3))
def test_an_exclusive_test_runs_on_one_node_at_a_time(seed: int) -> None:
    result = cluster("kv start exclusive-test\n", {"at": 10.0, "do": "leave", "whom": ["owner:kv"]}, seed=seed)
    found = ran_tests(result)
    assert len(found) >= 2
    assert all(one.end_s <= other.begin_s for one, other in zip(found, found[1:]))
    assert all(one.epoch for one in found), "only who owns it tests it"


@pytest.mark.parametrize("prefer", [(3, 1, 4), (2, 4, 1), (4, 3)])
def test_when_the_owner_is_dead_the_preferred_node_comes_next_and_keeps_it(prefer: tuple[int, ...]) -> None:
    crash = {"at": 10.0, "do": "crash", "whom": ["owner:kv"], "for": 5.0}
    result = cluster(f"kv start prefer={','.join(map(str, prefer))}\n", crash, nodes=5)
    nodes = [one.node for one in services(result)]
    assert nodes[1] == next(node for node in prefer if node != nodes[0])
    assert len(nodes) == 2, "it stays where it is"


def order(at: float, whom: int, **what: Any) -> dict[str, Any]:
    return {"at": at, "do": "order", "whom": [whom], "order": what}


@pytest.mark.parametrize("asked", [1, 2, 3])
def test_a_group_is_moved_from_any_node_and_its_target_tests_it_before_it_stops(asked: int) -> None:
    result = cluster("kv start\n", order(15.0, asked, do="move", group="kv", node=3), order(20.0, asked, do="clear"))
    before, after = services(result)[-2:]
    assert after.node == 3
    assert 15.0 < before.end_s < after.begin_s < before.end_s + 0.3
    ahead = [one for one in ran_tests(result) if one.begin_s > 15.0]
    assert [one.node for one in ahead] == [3]
    assert ahead[0].end_s < before.end_s


@pytest.mark.parametrize("seed", [3, 7])
def test_every_node_shows_within_a_few_beats_who_has_a_group(seed: int) -> None:
    """Also where what the new owner says of it is known before it is known to be the owner."""
    simulated = Stepwise(directed_plan(seed, plan([], nodes=3)))
    simulated.sleep(4.0)

    def shown() -> list[tuple[int, str]]:
        pages = [json.loads(node.disk.files[TWIN]) for node in simulated.cluster.nodes.values()]
        return [(page["groups"][0]["owner"], page["groups"][0]["state"]) for page in pages]

    target = shown()[0][0]
    for _ in range(8):
        target, before = target % 3 + 1, target
        simulated.begin("order", [before], order={"do": "move", "group": "g1", "node": target})
        eventually(shown, until=partial(eq, [(target, "DONE")] * 3), within_s=15 * QUICK[0], what="all show the target",
                   clock=simulated)


def test_a_move_to_a_node_that_fails_the_test_moves_nothing() -> None:
    cltab = CLTAB.replace("run 0.05", "run 0.05 unfit=3")
    result = cluster("kv start\n", order(10.0, 1, do="move", group="kv", node=3), cltab=cltab)
    assert len(services(result)) == 1
    assert any("not moved: kv has failed on node 3" in line for line in result.trace)


def test_a_move_to_a_node_that_dies_meanwhile_moves_nothing_or_the_group_comes_up_elsewhere() -> None:
    cltab = CLTAB.replace("run 0.05", "run 2.0")
    crash = {"at": 11.0, "do": "crash", "whom": [3], "for": 60.0}
    result = cluster("kv start prefer=1\n", order(10.0, 1, do="move", group="kv", node=3), crash, cltab=cltab)
    assert [one.node for one in services(result)][-1] != 3
    assert any("not moved" in line for line in result.trace)


@pytest.mark.parametrize("seed", range(3))
def test_a_preferred_node_gets_its_group_back_when_it_is_fit_again(seed: int) -> None:
    result = cluster(
        "kv start prefer=2 failback\n", {"at": 15.0, "do": "crash", "whom": [2], "for": 3.0}, seed=seed, safety_s=45.0,
    )
    found = services(result)
    assert found[-1].node == 2
    assert found[-1].begin_s > 18.0
    away, back = found[-2:]
    assert away.node != 2
    assert back.begin_s < away.end_s + 0.3


def test_a_drained_node_has_no_group_and_gets_none_until_that_ends() -> None:
    faults = [order(10.0, 1, do="drain", node=2), order(10.5, 1, do="drain", node=3)]
    result = cluster(
        "kv start prefer=2,3\ndb start prefer=3,2\n", *faults,
        {"at": 14.0, "do": "crash", "whom": [2], "for": 3.0},
        order(25.0, 3, do="undrain", node=2), {"at": 27.0, "do": "crash", "whom": [1], "for": 60.0},
        cltab=CLTAB + CLTAB.replace("kv", "db"), safety_s=34.0,
    )
    for group in ("kv", "db"):
        during = [one for one in services(result, group) if one.end_s > 12.0 and one.begin_s < 25.0]
        assert {one.node for one in during} == {1}
        assert services(result, group)[-1].node == 2


def test_in_maintenance_a_service_that_is_stopped_stays_so_until_that_is_over() -> None:
    on = {"at": 12.0, "do": "edit", "table": "hactl", "whom": [1], "maintenance": True}
    kill = {"at": 16.0, "do": "kill", "what": "group", "whom": ["owner:kv"]}
    off = {**on, "at": 22.0, "whom": [2], "maintenance": False}
    result = cluster("kv start\n", on, kill, off)
    before, after = services(result)[-2:]
    assert before.end_s == pytest.approx(16.0, abs=0.1)
    assert 22.0 < after.begin_s < 24.0
    assert after.node == before.node


THREE = CLTAB + CLTAB.replace("kv", "web") + CLTAB.replace("kv", "app")
CHAIN = "web start requires=app\napp start requires=kv\nkv start\n"


def around(time_s: float, found: list[Interval]) -> tuple[Interval, Interval]:
    """The last that began before then, and the first after it."""
    before = [one for one in found if one.begin_s < time_s]
    return before[-1], found[len(before)]


def levels(at: float, **groups: str) -> dict[str, Any]:
    return {"at": at, "do": "edit", "table": "hactl", "whom": [1], "levels": groups}


@pytest.mark.parametrize("seed", range(3))
def test_groups_start_in_the_order_in_which_they_require_each_other(seed: int) -> None:
    result = cluster(CHAIN, cltab=THREE.replace("kv:kv-run", "kv:kv-pre:start:wait:run 5.0\nkv:kv-run"), seed=seed)
    kv, app, web = (services(result, group) for group in ("kv", "app", "web"))
    assert kv[0].end_s <= kv[1].begin_s < app[0].begin_s < web[0].begin_s < kv[1].begin_s + 2.0
    ran = {one.group for one in result.history.intervals if one.begin_s < kv[0].end_s}
    assert ran == {"kv"}, "they are not even tested before"


def test_groups_that_start_before_those_that_they_require_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Requirements, "_is_up", lambda *_: True)
    cltab = THREE.replace("kv:kv-fit:test:test:run 0.05", "kv:kv-fit:test:test:run 4.0")
    with pytest.raises(AssertionError, match=r"order: app starts on node .*, and kv, which it requires, is not up"):
        cluster(CHAIN, cltab=cltab)


@pytest.mark.parametrize("seed", range(3))
def test_groups_stop_in_the_other_order_when_what_all_of_them_require_shall_stop(seed: int) -> None:
    cltab = THREE.replace("web-run:start:respawn:live", "web-run:start:respawn:live int=2").replace(
        "app-run:start:respawn:live", "app-run:start:respawn:live int=1",
    )
    result = cluster(CHAIN, levels(15.0, kv="stop"), levels(24.0, kv="start"), cltab=cltab, seed=seed, nodes=5)
    kv, app, web = (services(result, group) for group in ("kv", "app", "web"))
    assert 15.0 < web[0].end_s < app[0].end_s < kv[0].end_s < 22.0
    assert 24.0 < kv[1].begin_s < app[1].begin_s < web[1].begin_s


@pytest.mark.parametrize("seed", range(3))
def test_a_group_runs_on_where_one_that_it_requires_moves_and_waits_only_to_start(seed: int) -> None:
    down = {"at": 15.0, "do": "crash", "whom": ["owner:kv"], "for": 60.0}
    cltab = THREE.replace("kv-fit:test:test:run 0.05", "kv-fit:test:test:run 0.05 unfit=2").replace(
        "web-fit:test:test:run 0.05", "web-fit:test:test:run 0.05 unfit=1,3,4",
    )
    result = cluster("kv start\nweb start requires=kv\n", down, cltab=cltab, seed=seed, nodes=4)
    kv, web = services(result), services(result, "web")
    assert kv[0].node != kv[-1].node
    assert kv[0].begin_s < web[0].begin_s
    assert len(web) == 1


@pytest.mark.parametrize("option", ["", " exclusive-test"])
def test_a_group_is_not_moved_while_one_that_it_requires_is_down_and_the_answer_says_so(option: str) -> None:
    down = {"at": 15.0, "do": "crash", "whom": ["owner:kv"], "for": 60.0}
    cltab = THREE.replace("kv-fit:test:test:run 0.05", "kv-fit:test:test:run 0.05 unfit=1,3,4").replace(
        "web-fit:test:test:run 0.05", "web-fit:test:test:run 0.05 unfit=2,4",
    )
    hactl = f"kv start\nweb start requires=kv prefer=1{option}\n"
    result = cluster(hactl, down, order(18.0, 1, do="move", group="web", node=3), cltab=cltab, nodes=4, safety_s=52.0)
    (web,) = [one for one in services(result, "web") if one.begin_s < 50.0]
    assert (web.node, web.end_s > 50.0) == (1, True)
    assert any("not moved: web requires kv, which is not up" in line for line in result.trace)


def test_when_a_node_dies_that_had_both_the_one_that_is_required_comes_first() -> None:
    down = {"at": 15.0, "do": "crash", "whom": [2], "for": 60.0}
    result = cluster("kv start prefer=2 failback\nweb start prefer=2 failback requires=kv\n", down, cltab=THREE)
    (before, after), (web_before, web_after) = (around(15.0, services(result, group)) for group in ("kv", "web"))
    assert (before.node, web_before.node) == (2, 2)
    assert 15.0 < after.begin_s < web_after.begin_s < after.begin_s + 2.0


def test_a_drained_node_stops_first_what_requires_the_other() -> None:
    cltab = THREE.replace("web-run:start:respawn:live", "web-run:start:respawn:live int=2")
    hactl = "kv start prefer=2 failback\nweb start prefer=2 failback requires=kv\n"
    result = cluster(hactl, order(15.0, 1, do="drain", node=2), cltab=cltab, seed=4)
    (before, after), (web_before, web_after) = (around(15.0, services(result, group)) for group in ("kv", "web"))
    assert (before.node, web_before.node) == (2, 2)
    assert 17.0 < web_before.end_s < before.end_s < after.begin_s < web_after.begin_s


def test_a_drained_node_leaves_a_group_in_maintenance_until_that_is_over() -> None:
    on = {"at": 12.0, "do": "edit", "table": "hactl", "whom": [1], "maintenance": True}
    off = {**on, "at": 22.0, "whom": [3], "maintenance": False}
    result = cluster("kv start prefer=2 failback\n", on, order(15.0, 1, do="drain", node=2), off)
    before, after = around(22.0, services(result))
    assert (before.node, after.node != 2) == (2, True)
    assert 22.0 < before.end_s < after.begin_s < 25.0


def test_in_maintenance_nobody_takes_the_group_of_a_dead_node() -> None:
    on = {"at": 12.0, "do": "edit", "table": "hactl", "whom": [1], "maintenance": True}
    crash = {"at": 16.0, "do": "crash", "whom": ["owner:kv"], "for": 60.0}
    result = cluster("kv start\n", on, crash, {**on, "at": 25.0, "whom": [1, 2, 3], "maintenance": False})
    before, after = services(result)[-2:]
    assert before.end_s == 16.0
    assert 25.0 < after.begin_s < 28.0
