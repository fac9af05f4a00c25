"""A plan is carried out in any world by the same code: here in the simulated one, where the clock is exact."""

from __future__ import annotations

from typing import Any

import pytest

from moslab import Cluster
from moslab.errors import UnsupportedError
from moslab.faults.plan import FaultPlan, from_json
from moslab.history.checkers import VALID
from moslab.scenario.plans import plan_of, spec_of
from moslab.scenario.replay import Replay
from moslab.scenario.sim import SimWorld
from moslab.scenario.world import WEB, Spec
from moslab.scenario.written import Written

CLTAB = "web:web-run:start:respawn:live\n"


def plan(*faults: dict[str, Any], **more: Any) -> FaultPlan:
    given = {"nodes": 3, "safety_s": 20.0, "conf": {"beat": "0.5", "lease": "2.5"}, **more}
    return FaultPlan(seed=1, cltab=CLTAB, hactl="web start\n", faults=[*faults], **given)


def fault(at: float, do: str, *whom: int | str, **more: Any) -> dict[str, Any]:
    return {"at": at, "do": do, "whom": [*whom], **more}


def made(wanted: FaultPlan) -> Cluster:
    spec, _ = spec_of(wanted)
    world = SimWorld(spec, 7)
    world.settle()
    return Cluster(world, 7)


def carried_out(wanted: FaultPlan) -> tuple[Cluster, Replay]:
    cluster = made(wanted)
    replay = Replay(cluster, wanted)
    replay.run()
    return cluster, replay


def test_faults_are_as_far_apart_as_in_the_plan_and_last_as_long() -> None:
    """What it has before the first one is cut to a second: the cluster stands already."""
    wanted = plan(
        fault(9.0, "cut", 1, to=[2, 3], both=True, **{"for": 3.0}), fault(10.5, "crash", 2),
        fault(14.0, "cut", 3, to=[1, 2], flap=0.5, **{"for": 2.0}),
    )
    cluster = made(wanted)
    began_s = cluster.world.now_s()
    replay = Replay(cluster, wanted)
    replay.run()
    seen = [(one.kind, round(one.begin_s - began_s, 3), round(one.end_s - began_s, 3)) for one in cluster.faults]
    assert seen[:2] == [("cut", 1.0, 4.0), ("off", 2.5, float("inf"))]
    assert seen[2:] == [("cut", 6.0, 6.5), ("cut", 7.0, 7.5), ("cut", 8.0, 8.5)]
    assert round(cluster.world.now_s() - began_s, 3) == 12.0, "until safety_s"
    assert (replay.left_out, replay.late_s) == ([], 0.0)
    assert replay.judge().word == VALID
    assert cluster.world.off() == [], "what still lasted is healed"


KINDS: list[tuple[dict[str, Any], str]] = [
    (fault(1, "crash", "owner:web"), "off"),
    (fault(1, "crash", 2, wipe=True), "off"),
    (fault(1, "freeze", 2, **{"for": 0.5}), "pause"),
    (fault(1, "pause", "owner:web", what="leash"), "stop"),
    (fault(1, "pause", 1, what="agent"), "stop"),
    (fault(1, "kill", "owner:web", what="group", group="web"), "SIGKILL"),
    (fault(1, "kill", "owner:web", what="group", signal="TERM"), "SIGTERM"),
    (fault(1, "kill", "owner:web", what="leash", signal="INT"), "SIGINT"),
    (fault(1, "leave", 1), "SIGTERM"),
    (fault(1, "leave", 1, reboot=True), "reboot"),
    (fault(1, "worsen", 1, to=[2], delay=0.1), "delay"),
    (fault(1, "worsen", 1, to=[2], loss=0.1), "loss"),
    (fault(1, "weather", 1, error=0.5), "files"),
    (fault(1, "stomith", 1, how="fails", of="outlet"), "outlet"),
    (fault(1, "stomith", 1, how="cut"), "cut"),
    (fault(1, "jump", 1, by=60), "wall clock"),
    (fault(1, "slew", 1, by=0.005), "clock"),
    (fault(1, "map", 1, nodes=[1, 3]), "map"),
    (fault(1, "map", 1, nodes=[1, 3], **{"for": 0.5}), "map"),
    (fault(1, "edit", 1, table="hactl"), "edit"),
    (fault(1, "edit", 1, table="cltab", text=CLTAB + "# more\n"), "edit"),
    (fault(1, "edit", 1, table="cltab", bad=True), "edit"),
    (fault(1, "order", "owner:web", order={"do": "drain", "group": "", "node": 1}), "drained"),
]


@pytest.mark.parametrize(("one", "kind"), KINDS, ids=[f"{one['do']}-{kind}" for one, kind in KINDS])
def test_each_kind_that_worlds_know_is_done(one: dict[str, Any], kind: str) -> None:
    cluster, replay = carried_out(plan(one, safety_s=3.0))
    assert [fault.kind for fault in cluster.faults][:1] == [kind], replay.left_out
    assert replay.left_out == []
    assert replay.judge().word == VALID


@pytest.mark.parametrize(("one", "why"), [
    (fault(1, "stuck", 1), "it cannot do stuck"),
    (fault(1, "crash", 1, restore=True), "it cannot put a backup back"),
    (fault(1, "wipe", 1), "it cannot empty a directory whose agent runs"),
    (fault(1, "weather", 1, torn=0.5), "it cannot have weather that is torn"),
    (fault(1, "weather", 1, refuses=True), "it cannot have a disk that refuses what its agent writes"),
    (fault(1, "stomith", 1, how="lies"), "it cannot have nodes whose shots are such: lies"),
    (fault(1, "order", 1, order={"do": "found"}), "it cannot have an operator say 'found'"),
    (fault(1, "edit", 1, table="cltab", maintenance=True), "it cannot edit a table with maintenance"),
])
def test_what_cannot_be_is_left_out_and_said(one: dict[str, Any], why: str) -> None:
    cluster, replay = carried_out(plan(one, safety_s=2.0))
    assert cluster.faults == []
    assert [said.rpartition("}: ")[2] for said in replay.left_out] == [why]


def test_what_is_not_there_to_be_broken_is_left_out_and_said() -> None:
    _, replay = carried_out(plan(fault(1, "crash", 1), fault(2, "freeze", 1), safety_s=3.0))
    assert [said.rpartition("}: ")[2] for said in replay.left_out] == ["node 1 does not run: it is off"]


def test_the_cluster_of_a_plan_and_what_it_has_not() -> None:
    spec, lacks = spec_of(plan_of(Spec(4, False, profile="fast"), 3))
    assert (spec.nodes, spec.stomith, spec.profile, spec.toxiproxy, lacks) == (4, False, "fast", False, [])
    assert spec.cltab.splitlines()[-1] == "web:web-run:start:respawn:sleep infinity"
    other = plan(fault(1, "worsen", 1, to=[2], reset=True), conf={"beat": "0.2", "lease": "1", "voters": "1"})
    spec, lacks = spec_of(other)
    assert (spec.profile, spec.toxiproxy) == ("fast", True)
    assert lacks == ["beat 0.2 s and lease 1 s: they are 0.1 and 0.75 s", "the voters [1]"]
    with pytest.raises(UnsupportedError, match="dies=8"):
        spec_of(FaultPlan(1, 3, "web:r:start:respawn:live dies=8\n", "web start\n"))


def test_what_a_test_breaks_is_written_down_for_worlds_that_have_no_plan() -> None:
    """Beside the simulator's own, which is exact: the same faults, from when the test began."""
    world = SimWorld(Spec(3, cltab=WEB), 7)
    world.settle()
    cluster = Cluster(world, 7)
    written = cluster._faults
    began_s = world.now_s()
    with cluster.cut(1, power=True):
        cluster.sleep(2.0)
    cluster.kill_process("agent", on=2)
    cluster.signal_process("group web", "TERM", on=cluster.group("web"))
    cluster.sleep(1.0)
    cluster.signal_process("leash web", "INT", on=cluster.group("web"))
    cluster.reboot(3)
    with cluster.break_outlet(3, "slow"), cluster.disturb(2, error=0.1), cluster.drain(3):
        cluster.edit(2, "hactl", "web start\n# x\n")
        cluster.sleep(1.0)
    cluster.kill(2)
    cluster.sleep(1.0)
    own = from_json(world.plan().to_json())
    mine = from_json(written.plan(plan_of(world.spec, 0)).to_json())
    assert isinstance(written, Written)
    shown = [{**one, "at": round(one["at"] - began_s, 6)} for one in own.faults if one["at"] >= began_s]
    shown = [{**one, **({"for": round(one["for"], 6)} if "for" in one else {})} for one in shown]
    undrained = [one for one in shown if one.get("order", {}).get("do") == "undrain"]
    assert len(undrained) == 1, "which is an end, and none of what is written"
    assert mine.faults == [{name: value for name, value in one.items() if (name, value) != ("bad", False)}
                           for one in shown if one not in undrained]
    assert round(mine.safety_s, 6) == round(world.now_s() - began_s, 6)
