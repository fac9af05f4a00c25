"""Edits of tables in whole clusters: who may number one, and what becomes of one that yields."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest

from mosha.aside import Aside
from moslab.history.checkers import INVALID, VALID
from moslab.simulator import directed
from moslab.simulator.directed import EDIT_IN_PLACE, EDIT_OPENED, EDIT_OVERTAKEN, EDITS_APART, crash, cut, edit, plan
from moslab.simulator.draw import directed_plan
from moslab.simulator.run import Result, run
from moslab.simulator.stepwise import Stepwise
from moslab.simulator.world import SimWorld

CORE_S_MAX = 120.0


def stall(at_s: float, for_s: float) -> dict[str, Any]:
    return {"at": at_s, "do": "stall", "amid": "write", "whom": [1], "for": for_s}


def version(simulated: Stepwise, node: int) -> int:
    return int(json.loads(simulated.cluster.nodes[node].disk.files["cltab.version"])[0])


def test_an_edit_gets_no_number_before_the_records_of_a_majority_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot that shows a later one than was read is of a node that was not heard."""
    simulated = Stepwise(directed_plan(1, plan([], nodes=3)))
    simulated.sleep(5.0)
    cluster, genuine, is_held = simulated.cluster, SimWorld.submit, True

    def submit(world: SimWorld, key: int, task: str, *more: Any) -> None:
        if task == "said" and is_held and world is cluster.nodes[3].world:
            *_, answer = more
            answer(None, OSError(errno.EIO, "Input/output error"))
        else:
            genuine(world, key, task, *more)

    monkeypatch.setattr(SimWorld, "submit", submit)
    simulated.begin("edit", [1], table="cltab")
    simulated.sleep(1.0)
    simulated.begin("edit", [3], table="cltab")
    simulated.sleep(5.0)
    assert [version(simulated, node) for node in (1, 2, 3)] == [2, 2, 1]
    is_held = False
    simulated.sleep(2.0)
    assert [cluster.edits_in(node, "cltab") for node in (1, 2, 3)] == [(1,), (1,), (1,)]
    assert ("cltab", 2) in cluster.edits_aside(3)


@pytest.fixture(scope="module")
def parted() -> Result:
    """An edit on a node that is cut off, and then one elsewhere."""
    faults = [edit(4.0, 1), cut(8.0, 12.0, [3], [1, 2]), edit(13.0, 3), edit(16.0, 1)]
    return run(directed_plan(1, plan(faults, (0.5, 2.5), nodes=3, safety_s=25.0)), True, CORE_S_MAX)


def test_of_two_edits_the_one_on_a_node_that_was_cut_off_yields_and_is_kept(parted: Result) -> None:
    assert (parted.verdict, parted.problems) == (VALID, [])
    assert parted.history.final["cltab"] == [(1, 3)] * 3
    assert ("cltab", 2) in parted.history.aside
    said = [line for line in parted.trace if "conflict: version 3 of cltab was not made of" in line]
    assert len(said) == 1
    assert "kept as /var/mosix-ha/cltab.kept-" in said[0]
    assert parted.counters["edit: kept"] == 1


def test_the_history_has_what_is_needed_to_judge_edits(parted: Result) -> None:
    history = parted.history
    assert [(one.node, one.edits) for one in history.numbered] == [(1, (1,)), (1, (1, 3))]
    assert [one.number for one in history.held] == [1, 3]
    assert (history.went_back, history.lost) == ([], set())


def test_every_node_shows_that_an_edit_was_kept() -> None:
    simulated = Stepwise(directed_plan(1, plan([], nodes=3)))
    simulated.sleep(4.0)
    link = simulated.begin("cut", [3], to=[1, 2], both=True)
    simulated.sleep(2.0)
    simulated.begin("edit", [3], table="hactl")
    simulated.begin("edit", [1], table="hactl")
    simulated.sleep(2.0)
    link.end()
    simulated.sleep(3.0)
    for node in simulated.cluster.nodes.values():
        page = json.loads(node.disk.files["hastat.json"])
        (name,) = page["nodes"][2]["kept"]
        assert name in simulated.cluster.nodes[3].disk.files
    del simulated.cluster.nodes[3].disk.files[name]
    simulated.sleep(3.0)
    page = json.loads(simulated.cluster.nodes[1].disk.files["hastat.json"])
    assert [one["kept"] for one in page["nodes"]] == [[], [], []]


@pytest.mark.parametrize(("changes", "reached"), [
    (EDITS_APART, "edit: two with one number"), (EDIT_OVERTAKEN, "edit: kept"), (EDIT_OPENED, "edit: kept"),
])
def test_the_directed_plans_reach_what_they_are_for(changes: dict[str, Any], reached: str) -> None:
    results = [run(directed_plan(seed, changes), core_s_max=CORE_S_MAX) for seed in range(3)]
    assert [result.verdict for result in results] == [VALID] * 3
    assert all(result.counters.get("edit: kept") for result in results)
    assert any(result.counters.get(reached) for result in results)


@pytest.mark.parametrize(("stalls", "numbered", "final"), [
    ([stall(4.0, 8.0)], [(2, (2,))], [(2,)] * 3),
    ([stall(4.0, 1.0), stall(5.6, 8.0)], [(2, (2,)), (1, (1,))], [(1,), (2,), (2,)]),
])
def test_a_disk_that_hangs_while_an_edit_is_taken_up(
    stalls: list[dict[str, Any]], numbered: list[tuple[int, tuple[int, ...]]], final: list[tuple[int, ...]]
) -> None:
    """For longer than the lease. Only if that is while the number itself is written the edit has the number of the next
    version, and both stay."""
    faults = [*stalls, edit(4.01, 1), edit(6.0, 2)]
    hung = plan(faults, directed.MIDDLE, nodes=3, network=directed.SHARP, safety_s=20.0)
    result = run(directed_plan(1, hung), False, CORE_S_MAX)
    assert (result.verdict, result.problems) == (VALID, [])
    assert [(one.node, one.edits) for one in result.history.numbered] == numbered
    assert result.history.final["cltab"] == final


def test_an_edit_that_was_only_on_a_disk_that_is_lost_is_excused() -> None:
    faults = [cut(4.0, 6.0, [3], [1, 2]), edit(5.0, 3), crash(7.0, 1.0, [3], wipe=True)]
    result = run(directed_plan(1, plan(faults, nodes=3, safety_s=12.0)), core_s_max=CORE_S_MAX)
    assert (result.verdict, result.history.lost) == (VALID, {("cltab", 1)})


@pytest.mark.parametrize("is_seen", [True, False])
def test_what_is_written_in_place_while_other_versions_come_is_kept(
    monkeypatch: pytest.MonkeyPatch, is_seen: bool
) -> None:
    if not is_seen:
        monkeypatch.setattr(Aside, "_written", lambda _aside, is_needed=False: [])
    result = run(directed_plan(1, EDIT_IN_PLACE), False, CORE_S_MAX)
    assert result.counters["edit in place of what was put aside"]
    assert result.verdict == (VALID if is_seen else INVALID), result.problems
    assert {problem.partition(":")[0] for problem in result.problems} == (set() if is_seen else {"edits"})


def test_what_is_written_in_place_and_meets_no_version_is_an_edit() -> None:
    written = {**edit(5.0, 1, in_place=True), "for": 3.0}
    result = run(directed_plan(1, plan([written], (0.5, 2.5), nodes=3)), False, CORE_S_MAX)
    assert (result.verdict, result.problems) == (VALID, [])
    assert result.history.final["cltab"] == [(1,)] * 3
