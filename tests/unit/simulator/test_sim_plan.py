"""Plans are data: drawn, written, read, refused, and made smaller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moslab.faults.plan import FILE_BYTES_MAX, KINDS, FaultPlan, PlanError, checked, from_json
from moslab.history.checkers import INVALID, VALID
from moslab.history.record import History
from moslab.simulator.cli import main
from moslab.simulator.directed import DIRECTED
from moslab.simulator.draw import APART, IN_ORDER, MANY, directed_plan, draw_plan
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


def fault(do: str, **more: Any) -> dict[str, Any]:
    return {"faults": [{"at": 1, "do": do, "whom": [1], **more}]}


BAD = [
    (fault("worsen", delay=1), "to is missing"),
    (fault("worsen", to=[2]), "one of delay, rate, reset, slow_close and loss is needed"),
    (fault("worsen", to=[2], delay=1, jitter=2), "a jitter is from 0 to the delay"),
    (fault("worsen", to=[2], rate=1, jitter=2), "jitter is that of a delay"),
    (fault("worsen", to=[2], rate=0), "rate is a whole number from 1 to"),
    ({"format": 2}, "format"),
    ({"speed": 1}, "unknown: speed"),
    ({"seed": "x"}, "seed is a whole number from 0 to"),
    ({"seed": True}, "seed is a whole number from 0 to"),
    ({"nodes": 0}, "nodes is a whole number from 1 to"),
    ({"nodes": "3"}, "nodes is a whole number from 1 to"),
    ({"profile": 1}, "profile is a text, not 1"),
    ({"founded": "no"}, "founded is true or false, not 'no'"),
    ({"safety_s": "abc"}, "safety_s is a number from 0 to .*, not 'abc'"),
    ({"bound_s": -1}, "bound_s is a number from 0 to .*, not -1"),
    ({"bound_s": float("nan")}, "bound_s is a number from 0 to .*, not nan"),
    ({"heal": [9]}, "heal is a list of whole numbers from 1 to 3"),
    ({"heal": [True]}, "heal is a list of whole numbers from 1 to 3"),
    ({"heal": 1}, "heal is a list, not 1"),
    ({"arbitrators": [0]}, "arbitrators is a list of whole numbers from 1 to 3"),
    ({"arbitrators": [1, 2, 3]}, "none is left to run a group"),
    ({"network": 5}, "network is an object, not 5"),
    ({"clocks": None}, "clocks is an object, not None"),
    ({"power": []}, r"power is an object, not \[\]"),
    ({"network": {"speed": 1}}, "network: unknown: speed"),
    ({"clocks": {"speed": 1}}, "clocks: unknown: speed"),
    ({"power": {"speed": 1}}, "power: unknown: speed"),
    ({"network": {"latency_max_s": "x"}}, "network: latency_max_s is a number from 0 to .*, not 'x'"),
    ({"network": {"latency_max_s": 0.0001}}, "network: latency_min_s is more than latency_max_s"),
    ({"network": {"tail": 2}}, "network: tail is a number from 0 to 1, not 2"),
    ({"clocks": {"restart": 1}}, "clocks: restart is true or false, not 1"),
    ({"power": {"shot_min_s": 9}}, "power: shot_min_s is more than shot_max_s"),
    ({"conf": []}, r"conf is an object of names of settings and texts of one line, not \[\]"),
    ({"conf": {"beat": 1}}, "conf is an object of names of settings"),
    ({"conf": {"beat": "1\nvoters = 1"}}, "conf is an object of names of settings"),
    ({"conf": {"# beat": "1"}}, "conf is an object of names of settings"),
    ({"conf": {"beat": "x"}}, "conf:1: beat must be a number of seconds"),
    ({"conf": {"voters": "9"}}, r"conf: voters names \[9\], and there are nodes 1 to 3"),
    ({"conf": {"voters": "one"}}, "conf:1: voters must be node numbers"),
    ({"conf": {"arbitrator": "yes"}}, "conf: it is that of all nodes"),
    ({"conf": {"mynode": "2"}}, "conf: it is that of all nodes"),
    ({"cltab": 5}, "cltab is a text, not 5"),
    ({"cltab": "kv\n"}, "cltab:1: no tag"),
    ({"cltab": "kv:kv-run:start:respawn:/bin/live\n"}, "cltab:1: no command of a modelled process: '/bin/live'"),
    ({"cltab": "kv:kv-run:start:respawn:run soon\n"}, "cltab:1: no command of a modelled process: 'run soon'"),
    ({"cltab": "kv:kv-run:start:respawn:live int=no\n"}, "cltab:1: no command of a modelled process"),
    ({"hactl": "kv\n"}, "hactl:1: no level for group"),
    ({"faults": {}}, "faults is a list, not {}"),
    ({"faults": [7]}, "fault 0 7: do is one of"),
    ({"faults": [{"do": []}]}, "fault 0 .*: do is one of"),
    (fault("explode"), "fault 0 .*: do is one of"),
    ({"faults": [*fault("leave")["faults"], *fault("leave", at=-1)["faults"]]}, "fault 1 .*: at is a number from 0"),
    (fault("crash", whom=1), "whom is a list that is not empty, not 1"),
    (fault("crash", whom=[]), r"whom is a list that is not empty, not \[\]"),
    (fault("crash", whom=[9]), "whom: 9 is neither a node from 1 to 3 nor owner:GROUP"),
    (fault("crash", whom=[True]), "whom: True is neither a node"),
    (fault("crash", whom=[[1]]), r"whom: \[1\] is neither a node"),
    (fault("crash", whom=["owner:zz"]), "whom: 'owner:zz' is neither a node from 1 to 3 nor owner:GROUP of a group in"),
    (fault("crash", wipe="no"), "fault 0 .*: wipe is true or false, not 'no'"),
    (fault("kill", what="leash", wipe=True), "fault 0 .*: wipe is for the agent, .* not for what: leash"),
    (fault("kill", what="group", wipe=True), "fault 0 .*: wipe is for the agent, .* not for what: group"),
    (fault("kill", what="agent", signal="TERM"), "fault 0 .*: signal is for leash and group, and not for what: agent"),
    (fault("kill", what="group", signal="STOP"), "fault 0 .*: signal is one of INT, TERM"),
    (fault("leave", reboot=1), "fault 0 .*: reboot is true or false, not 1"),
    (fault("crash", wipe=True, restore=True), "fault 0 .*: wipe and restore exclude each other"),
    (fault("wipe", wipe=True), "fault 0 .*: unknown: wipe"),
    (fault("crash", restore=1), "restore is one of True, False, whole, not 1"),
    (fault("crash", flap=1), "unknown: flap"),
    (fault("crash", at=30.5), "fault 0 .*: at: 30.5 s is after the heal, at safety_s = 30 s: only an order"),
    (fault("crash", at=float("nan")), "at is a number from 0 to .*, not nan"),
    (fault("crash", at=float("inf")), "at is a number from 0 to .*, not inf"),
    (fault("crash", at="1"), "at is a number from 0 to .*, not '1'"),
    ({"faults": [{"do": "crash", "whom": [1]}]}, "at is missing"),
    ({"faults": [{"at": 1, "do": "crash"}]}, "whom is missing"),
    (fault("cut"), "to is missing"),
    (fault("cut", to=[]), "to is a list that is not empty"),
    (fault("cut", to=[1, 4]), "to: 4 is neither a node from 1 to 3"),
    (fault("cut", to=["owner:zz"]), "to: 'owner:zz' is neither a node"),
    (fault("cut", to=[2], both=0), "both is true or false, not 0"),
    (fault("pause", what="clinit"), "what is one of agent, leash, group, not 'clinit'"),
    (fault("stomith", how="explodes"), "how is one of works, fails"),
    (fault("damage"), "file, shape is missing"),
    (fault("damage", file="etc", shape="bits"), "file is one of"),
    (fault("damage", file="state", shape="no"), "shape is one of"),
    (fault("freeze", clock="runs"), "clock is one of stops"),
    (fault("slew", by=-1), "by is a number from -0.9 to 9, not -1"),
    (fault("weather", error=2), "error is a number from 0 to 1, not 2"),
    (fault("edit", table="voters"), "table is one of cltab, hactl"),
    (fault("edit", table="cltab", bad="x"), "bad is true or false"),
    (fault("vote", node="owner:kv"), "node is a whole number from 1 to .*, not 'owner:kv'"),
    (fault("vote", node=4), "node is a whole number from 1 to 3, not 4"),
    (fault("order", order=5), "order is an object, not 5"),
    (fault("order", order={"do": "obey"}),
     "order: do is one of elect, found, forget, move, drain, undrain, clear, not 'obey'"),
    (fault("order", order={"do": "elect", "voters": 1}), "order: voters is a list of whole numbers"),
    (fault("order", order={"do": "elect", "who": 1}), "order: unknown: who"),
    (fault("config", conf="beat = x"), "conf is an object of names of settings and texts of one line, not 'beat = x'"),
    (fault("config", conf={"beat": "x"}), "fault 0 .*: conf:1: beat must be a number of seconds"),
    (fault("map"), "nodes is missing"),
    (fault("map", nodes=1), "nodes is a list of whole numbers"),
    (fault("map", nodes=[4]), "nodes: 4 is neither a node from 1 to 3"),
    ({"installed": {}}, "installed is a list, not {}"),
    ({"installed": [7]}, "installed 0 7: an object with a node"),
    ({"installed": [{"voters": [1]}]}, "installed 0 .*: an object with a node"),
    ({"installed": [{"node": 4}]}, "installed 0 .*: node is a whole number from 1 to 3, not 4"),
    ({"installed": [{"node": 1}, {"node": 1}]}, "installed 1 .*: node 1 has an entry already"),
    ({"installed": [{"node": 1, "who": 1}]}, "installed 0 .*: unknown: who"),
    ({"installed": [{"node": 1, "map": [9]}]}, "installed 0 .*: map is a list of whole numbers from 1 to 3"),
    ({"installed": [{"node": 1, "founded": 1}]}, "installed 0 .*: founded is true or false, not 1"),
    ({"installed": [{"node": 1, "voters": [9]}]}, r"installed 0 .*: voters names \[9\], and there are nodes 1 to 3"),
    ({"installed": [{"node": 1, "voters": [1, 1]}]}, "installed 0 .*: voters names node 1 twice"),
    (fault("config", protocol="2"), "protocol is a whole number from 0"),
]


def text_of(change: dict[str, Any]) -> str:
    plan = FaultPlan(seed=1, nodes=3, cltab="kv:kv-run:start:respawn:live\n", hactl="kv start\n")
    return json.dumps({**json.loads(plan.to_json()), **change})


@pytest.mark.parametrize(("change", "said"), BAD)
def test_a_bad_plan_is_refused_with_file_and_reason(
    change: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(PlanError, match=said):
        from_json(text_of(change))
    file = tmp_path / "bad.json"
    file.write_text(text_of(change))
    assert main(["--plan", str(file)]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert shown.err.startswith(f"moslab sim: {file}: ")


@pytest.mark.parametrize(("content", "said"), [
    (b"not at all", "a fault plan is JSON"), (b"[" * 100_000, "a fault plan is JSON"), (b"\xff", "decode"),
    (b"[]", "is an object with"), (b'{"format": 1, "seed": 1, "nodes": 3, "hactl": ""}', "cltab is missing"),
    (b" " * (FILE_BYTES_MAX + 1), "longer than"),
])
def test_what_is_no_plan_is_refused(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(content)
    assert main(["--plan", str(file)]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"moslab sim: {file}: ")
    assert said in shown


def test_whatever_is_drawn_may_be_run() -> None:
    for plan in [draw_plan(seed) for seed in SEEDS] + [directed_plan(1, changes) for changes in DIRECTED.values()]:
        assert checked(plan) is plan


def test_the_ordinary_budget_has_every_kind_of_fault_and_the_tight_profile() -> None:
    plans = [draw_plan(seed) for seed in SEEDS]
    assert {fault["do"] for plan in plans for fault in plan.faults} == set(KINDS)
    assert any(fault.get("full") for plan in plans for fault in plan.faults)
    tight = [plan for plan in plans if plan.profile == "tight"]
    assert any(len(plan.voters()) == 1 for plan in tight)
    assert all(plan.network["latency_max_s"] <= 0.002 and plan.clocks["drift"] == 0.01 for plan in tight)
    aimed = [f for plan in tight for f in plan.faults if any(isinstance(one, str) for one in f["whom"])]
    assert len(aimed) > 100
    assert {plan.nodes for plan in plans if plan.nodes < MANY[0]} == set(range(1, 10))
    many = [plan.voters() for plan in plans if plan.nodes >= MANY[0] and not plan.elders()]
    assert {5, 7} < {len(voters) for voters in many} <= {2, 3, 5, 7}
    assert any(len(voters) == 3 and len({voter % APART for voter in voters}) < 3 for voters in many)


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
        if fault.get("wipe") or fault.get("restore") or fault["do"] in ("config", "wipe")
        or (fault["do"] == "order" and fault["order"].get("do") == "forget")
    }


def test_what_is_healed_is_a_majority_of_the_voters_that_remember() -> None:
    for seed in SEEDS:
        plan = draw_plan(seed)
        healed = set(plan.heal) & set(plan.voters())
        if len(plan.heal) < plan.nodes and not plan.profile.startswith(IN_ORDER):
            healed -= forgetting(plan)
        is_told = any(fault["do"] == "order" and fault["order"].get("are_off") for fault in plan.faults)
        may_go_alone = len(plan.voters()) == 2 and (plan.settings().stomith or is_told)    # R23, R18
        assert len(healed) > len(plan.voters()) // 2 or (healed and may_go_alone)
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
