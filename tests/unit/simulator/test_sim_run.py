"""Whole clusters with the real agent: one seed one trace, takeover, a planted double run that is found, the command."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mosha.agent import Agent
from mosha.ownership import marker, slot
from mosha.timing import AHEAD_S
from moslab.faults.plan import FaultPlan
from moslab.history.checkers import INVALID, VALID, judge
from moslab.history.quorum import check_quorum
from moslab.simulator.campaign import EXPECTED, Total, campaign, never_reached, run_seed
from moslab.simulator.cli import main
from moslab.simulator.cluster import Cluster
from moslab.simulator.directed import plan
from moslab.simulator.draw import directed_plan, draw_plan
from moslab.simulator.guardian import Guardian
from moslab.simulator.inject import Injector
from moslab.simulator.run import Result, run

SOURCE = Path(__file__).parents[3] / "src"
CLTAB = "kv:kv-fit:test:test:run 0.02\nkv:kv-pre:start:wait:run 0.05\nkv:kv-run:start:respawn:live\n"
CORE_S_MAX = 120.0               # of one core, for a run
REAL_S_MAX = 500.0               # for a process, on a machine that has others to do


def calm(nodes: int = 3, **more: object) -> FaultPlan:
    plan = FaultPlan(seed=5, nodes=nodes, cltab=CLTAB, hactl="kv start\n", safety_s=12.0)
    for name, value in more.items():
        setattr(plan, name, value)
    return plan


def forget_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guardian that is not armed."""
    genuine = Guardian.__init__

    def unarmed(
        self: Guardian, node: Any, group: str, environment: Any, deadline: float, told: Any, ahead: bool
    ) -> None:
        genuine(self, node, group, environment, float("inf"), told, ahead)

    monkeypatch.setattr(Guardian, "__init__", unarmed)


def test_a_calm_cluster_runs_its_group_on_one_node() -> None:
    result = run(calm(), core_s_max=CORE_S_MAX)
    assert (result.verdict, result.problems) == (VALID, [])
    assert len({interval.node for interval in result.history.owned()}) == 1
    assert result.recovered_s <= 1.0


def test_where_nothing_happens_an_agent_has_one_round_a_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the owner a second one, for its lease. A round costs more than anything else that an agent does."""
    rounds: Counter[int] = Counter()
    began: dict[int, float] = {}
    step = Agent._step

    def counting(self: Agent, now: float) -> None:
        if now >= began.setdefault(self.me, now) + 8.0:      # all of its begin is over
            rounds[self.me] += 1
        step(self, now)

    monkeypatch.setattr(Agent, "_step", counting)
    result = run(calm(nodes=5, safety_s=28.0), core_s_max=CORE_S_MAX)
    owner = result.history.owned()[0].node
    beats = (result.virtual_s - 8.0) / 0.5
    for node, count in rounds.items():
        assert count / beats < (2.6 if node == owner else 2.0), f"node {node}: {count} rounds in {beats} beats"


def test_the_group_of_a_dead_node_is_taken_over_after_its_lease() -> None:
    crash = {"at": 6.0, "do": "crash", "whom": ["owner:kv"]}
    result = run(calm(faults=[crash]), core_s_max=CORE_S_MAX)
    assert result.verdict == VALID, result.problems
    first = next(i for i in result.history.intervals if i.end_s == 6.0)
    second = next(i for i in result.history.services() if i.node != first.node)
    assert 6.0 + 1.5 < second.begin_s < 6.0 + 5.0


def fenced(**more: object) -> tuple[int, Result]:
    """The owner of a fenced group, which is frozen at 6 s, and what came of it."""
    owner = run(calm(), core_s_max=CORE_S_MAX).history.intervals[0].node
    plan = calm(hactl="kv start fenced\n", heal=[node for node in (1, 2, 3) if node != owner], bound_s=20.0, faults=[
        {"at": 6.0, "do": "freeze", "whom": [owner], "for": 100.0},
    ])
    for name, value in more.items():
        setattr(plan, name, value)
    return owner, run(plan, core_s_max=CORE_S_MAX)


def test_a_fenced_group_waits_for_a_node_that_nobody_can_shoot() -> None:
    owner, result = fenced()
    assert result.verdict == VALID, result.problems
    assert {interval.node for interval in result.history.owned()} == {owner}
    assert (result.history.waiting, result.history.wanted) == ({"kv": owner}, ["kv"])
    assert fenced(hactl="kv start\n")[1].history.waiting == {}, "another is not waited for"


def test_a_fenced_group_goes_on_when_its_owner_is_back() -> None:
    _, result = fenced(heal=[])
    assert result.verdict == VALID, result.problems
    assert (result.history.waiting, result.history.wanted) == ({}, ["kv"])
    assert not [i for i in result.history.intervals if 7.0 < i.begin_s < 12.0]


def test_a_fenced_group_moves_after_a_shot() -> None:
    owner, result = fenced(conf={"stomith": "/sbin/off %n"})
    assert result.verdict == VALID, result.problems
    shot_s = next(time_s for time_s, node in result.history.shots if node == owner)
    assert min(i.begin_s for i in result.history.owned() if i.node != owner) > shot_s
    assert result.history.waiting == {}


def test_a_group_that_is_to_be_given_up_is_tested_ahead_on_the_next_node() -> None:
    leave = {"at": 6.0, "do": "leave", "whom": ["owner:kv"]}
    result = run(calm(faults=[leave]), core_s_max=CORE_S_MAX)
    assert result.verdict == VALID, result.problems
    ahead = [i for i in result.history.intervals if not i.epoch and i.begin_s > 6.0]
    assert [i.pid in result.history.tests for i in ahead] == [True]
    first = max((i for i in result.history.services() if i.begin_s < 6.0), key=lambda i: i.end_s)
    second = min((i for i in result.history.services() if i.begin_s > 6.0), key=lambda i: i.begin_s)
    assert ahead[0].end_s < first.end_s < second.begin_s
    assert second.node == ahead[0].node != first.node
    assert not [i for i in result.history.intervals if first.end_s < i.begin_s < second.begin_s]


def test_a_group_that_starts_more_than_tests_at_level_test_is_tested_only_when_it_was_won() -> None:
    """A service at two levels runs on untouched from one to the other, so it must have its token from the start."""
    cltab = "kv:fit:test:test:run 0.05\nkv:run:test,start:respawn:live\n"
    leave = {"at": 6.0, "do": "leave", "whom": ["owner:kv"]}
    result = run(calm(faults=[leave], cltab=cltab), core_s_max=CORE_S_MAX)
    assert result.verdict == VALID, result.problems
    assert {i.node for i in result.history.services()} == {i.node for i in result.history.intervals}
    assert len({i.node for i in result.history.services()}) == 2, "it has moved"
    assert all(i.epoch for i in result.history.intervals)


def test_a_run_in_haste_goes_to_its_end_if_nothing_is_wrong() -> None:
    faults = [{"at": 6.0, "do": "crash", "whom": ["owner:kv"], "for": 2.0}]
    hasty, whole = (run(calm(faults=faults), core_s_max=CORE_S_MAX, hasty=one) for one in (True, False))
    assert hasty.history.wanted == ["kv"]
    assert (hasty.virtual_s, hasty.recovered_s) == (whole.virtual_s, whole.recovered_s)


def test_what_was_tested_ahead_is_tested_again_when_the_owner_did_not_give_up() -> None:
    faults = [{"at": 6.0, "do": "leave", "whom": ["owner:kv"]}, {"at": 6.6, "do": "crash", "whom": ["owner:kv"]}]
    conf = {"beat": "0.5", "lease": "12"}            # longer than a test ahead is good for
    result = run(calm(faults=faults, conf=conf, safety_s=30.0), core_s_max=CORE_S_MAX)
    assert result.verdict == VALID, result.problems
    second = min((i for i in result.history.services() if i.begin_s > 6.6), key=lambda i: i.begin_s)
    tests = [i for i in result.history.intervals if i.begin_s > 6.0 and i.pid in result.history.tests]
    before = [i for i in tests if i.node == second.node and i.begin_s < second.begin_s]
    assert {i.epoch for i in before} == {""}
    assert len(before) >= 2, "for the owner that leaves, and once more"
    assert second.begin_s - max(i.end_s for i in before) < AHEAD_S
    assert before[0].end_s < 16.0 < before[1].begin_s, "a test is good for 10 s"
    assert result.counters["leash kills: agent's order"] >= 2


def test_a_leash_that_does_not_look_at_its_deadline_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    pause = {"at": 5.0, "do": "pause", "what": "agent", "whom": ["owner:kv"], "for": 6.0}
    whole = run(calm(faults=[pause]), core_s_max=CORE_S_MAX)
    assert whole.verdict == VALID, whole.problems
    assert whole.counters["leash kills: deadline"] == 1
    assert "leash kills: deadline" not in run(calm(), core_s_max=CORE_S_MAX).counters
    forget_deadlines(monkeypatch)
    broken = run(calm(faults=[pause]), core_s_max=CORE_S_MAX)
    assert broken.verdict == INVALID
    assert {problem.partition(":")[0] for problem in broken.problems} == {"overlap"}


def test_what_is_not_healed_stays_broken() -> None:
    """Each fault ends by itself two seconds after the heal, if it is let."""
    heal = [1, 2, 3]
    faults: list[dict[str, Any]] = [
        {"at": 10.0, "do": "crash", "whom": [3, 4], "for": 4.0},
        {"at": 10.0, "do": "freeze", "whom": [1, 5], "for": 4.0},
        {"at": 10.0, "do": "pause", "what": "agent", "whom": [2, 6], "for": 4.0},
        {"at": 10.0, "do": "cut", "whom": [7], "to": [1, 2, 3], "both": True, "for": 4.0},
        {"at": 10.0, "do": "weather", "whom": [3, 8], "loss": 0.2, "for": 4.0},
        {"at": 10.0, "do": "stuck", "whom": [1, 9], "for": 4.0},
        {"at": 10.0, "do": "config", "whom": [9], "conf": {"arbitrator": "yes"}, "for": 4.0},
    ]
    plan = calm(9, faults=faults, heal=heal, conf={"voters": "1 2 3"}, hactl="none stop\n")
    cluster = Cluster(plan)
    injector = Injector(cluster)
    injector.schedule()
    nodes, network = cluster.nodes, cluster.network
    for until_s, healed in ((11.9, False), (20.0, True)):
        if healed:
            injector.heal(heal)
        assert cluster.kernel.run(until_s, 10_000_000)
        worlds = {number: nodes[number].world for number in (2, 6)}
        assert not nodes[4].up
        assert nodes[5].frozen
        assert worlds[6] is not None
        assert worlds[6].frozen
        assert network.blocked(7, 1)
        assert network.blocked(1, 7)
        assert nodes[8].weather.loss == 0.2
        assert nodes[9].trouble_until_s > cluster.kernel.now
        assert nodes[9].config.arbitrator
        assert nodes[3].up is healed
        assert nodes[1].frozen is not healed
        assert worlds[2] is not None
        assert worlds[2].frozen is not healed
        assert (nodes[3].weather.loss == 0.0) is healed
        assert (nodes[1].trouble_until_s == 0.0) is healed


def slot_of(cluster: Cluster, node: int, voter: int) -> bytes:
    """What the node last wrote into its slot on that voter."""
    (slots,) = [content for name, content in cluster.nodes[voter].disk.files.items() if ".slots." in name]
    return slots[node * slot.BYTES :][: slot.BYTES]


@pytest.mark.parametrize("is_killed", [False, True])
def test_an_agent_stands_still_amid_a_round_while_all_else_goes_on(is_killed: bool) -> None:
    cluster = Cluster(calm(3))
    injector, kernel = Injector(cluster), cluster.kernel
    assert kernel.run(10.0, 1_000_000)
    owner = cluster.owner("kv")
    assert owner is not None
    other = owner % 3 + 1
    injector.begin({"at": 10.0, "do": "stall", "amid": "look", "whom": [owner], "for": 1.2})
    assert kernel.run(10.6, 1_000_000)                   # its round after the beat has begun
    world = cluster.nodes[owner].world
    assert world is not None
    assert world.stands
    before = {node: slot_of(cluster, node, other) for node in (owner, other)}
    if is_killed:
        world.end(-9)
    assert kernel.run(11.1, 1_000_000)
    after = {node: slot_of(cluster, node, other) for node in (owner, other)}
    assert after[other] != before[other]
    assert (after[owner] != before[owner]) is is_killed, "the next life writes"
    assert kernel.run(20.0, 1_000_000)
    assert world.stands is is_killed, "who is dead does not go on"
    cluster.history.close(kernel.now)
    kernel.close()
    assert judge(cluster.result)[0] == VALID
    assert cluster.owner("kv") is not None


def test_what_is_written_durably_is_seen_when_the_disk_has_it_and_the_agent_waits() -> None:
    cluster = Cluster(calm(3))
    injector, kernel = Injector(cluster), cluster.kernel
    assert kernel.run(10.0, 1_000_000)
    injector.begin({"at": 10.0, "do": "stall", "amid": "write", "whom": [2], "for": 1.0})
    injector.begin({"at": 10.0, "do": "order", "whom": [2], "order": {"do": "forget"}})
    states = {}
    for at_s in (10.9, 11.6):
        assert kernel.run(at_s, 1_000_000)
        found = marker.decode(cluster.nodes[2].disk.files[marker.NAME])
        assert found is not None
        states[at_s] = found.state
    assert states == {10.9: marker.FULL, 11.6: marker.RECOVERING}
    kernel.close()


@pytest.mark.parametrize("first", ["leash", "agent"])
def test_while_one_guardian_is_stopped_the_other_does_not_stand_still(first: str) -> None:
    """Assumption A2."""
    cluster = Cluster(calm(3))
    injector, kernel = Injector(cluster), cluster.kernel
    assert kernel.run(10.0, 1_000_000)
    owner = cluster.owner("kv")
    assert owner is not None
    faults = [
        {"do": "pause", "what": "leash", "whom": [owner], "for": 2.0},
        {"do": "stall", "amid": "look", "whom": [owner], "for": 2.0},
    ]
    for fault in faults if first == "leash" else faults[::-1]:
        injector.begin({"at": kernel.now, **fault})
        assert kernel.run(kernel.now + 0.7, 1_000_000)
    node = cluster.nodes[owner]
    assert node.world is not None
    assert (node.world.stands, node.guardians[0].frozen) == (first == "agent", first == "leash")
    assert cluster.counters["second guardian is spared"] == 1
    kernel.close()


def test_an_arbitrator_votes_and_runs_nothing() -> None:
    crash = {"at": 6.0, "do": "crash", "whom": ["owner:kv"]}
    result = run(calm(3, faults=[crash], arbitrators=[1]), core_s_max=CORE_S_MAX)
    assert result.verdict == VALID, result.problems
    assert {interval.node for interval in result.history.services()} == {2, 3}


@pytest.mark.long
def test_contacts_are_judged_in_a_cluster_of_any_size() -> None:
    faults = [{"at": 3.0, "do": "cut", "whom": ["owner:kv"], "to": list(range(1, 71)), "both": True}]
    result = run(calm(70, faults=faults, safety_s=8.0), core_s_max=CORE_S_MAX)
    assert result.verdict == VALID, result.problems
    assert {node for node, _ in result.history.contacts} == set(range(1, 71))
    first = next(i for i in result.history.services())
    longer = [i._replace(end_s=8.0) if i == first else i for i in result.history.intervals]
    assert [text.partition(":")[0] for text in check_quorum(replace(result.history, intervals=longer))] == ["quorum"]


def test_a_run_that_takes_too_long_is_cut_short() -> None:
    result = run(calm(), core_s_max=0.0)
    assert result.verdict == "unknown"
    assert "too long" in result.problems[0]


def test_a_plan_that_was_written_replays_the_seed() -> None:
    plan = draw_plan(21)
    one = run(plan, traced=True, core_s_max=CORE_S_MAX)
    other = run(draw_plan(21), traced=True, core_s_max=CORE_S_MAX)
    assert one.trace == other.trace
    assert len(one.trace) > 30
    assert one.counters == other.counters


def digest(python: str, seed: int, hash_seed: str) -> str:
    """Of the trace that this interpreter prints."""
    done = subprocess.run(
        [python, "-m", "moslab.simulator", "--seed", str(seed), "--trace", "--no-shrink"],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONHASHSEED": hash_seed}, capture_output=True,
        check=False, timeout=REAL_S_MAX,
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith(b"seed ")]
    assert len(lines) > 30, done.stderr
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def pythons() -> dict[str, str]:
    """One command for each supported Python that answers, this one's first; by implementation and version."""
    code = "import platform as p; print(p.python_implementation(), *p.python_version_tuple()[:2])"
    found: dict[str, str] = {}
    for command in (sys.executable, *(f"python3.{minor}" for minor in range(9, 16)), "pypy3"):
        try:
            said = subprocess.run([command, "-c", code], capture_output=True, check=True, timeout=30, text=True)
        except (OSError, subprocess.SubprocessError):
            continue
        found.setdefault(said.stdout, command)
    return found


@pytest.mark.parametrize("seed", [21, 485])
def test_the_trace_does_not_depend_on_the_hash_seed(seed: int) -> None:
    assert len({digest(sys.executable, seed, hash_seed) for hash_seed in ("0", "1", "4242")}) == 1


def test_the_trace_is_the_same_on_every_python_of_this_machine() -> None:
    mine, *others = pythons().values()
    if not others and "CI" not in os.environ:
        pytest.skip("there is no other Python on the PATH: apt-get install pypy3")
    assert others, "CI must have a second Python: pypy3"
    assert {name: digest(name, 7, "1") for name in others} == dict.fromkeys(others, digest(mine, 7, "0"))


def test_it_needs_nothing_but_the_source() -> None:
    """Neither docker nor any other package: PyPy has none."""
    code = "import moslab.simulator.cli, sys; print([m for m in sys.modules if m.startswith(('docker', 'tenacity'))])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True,
        timeout=60,
    )
    assert done.stdout == "[]\n"


def test_a_campaign_adds_up_and_stops_at_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    total = Total()
    ones = list(campaign(range(20, 22), 2, 1, 10, total))
    assert sorted(one.seed for one in ones) == [20, 21]
    assert sum(total.verdicts.values()) == 2
    assert total.virtual_s == pytest.approx(sum(one.virtual_s for one in ones))
    assert set(never_reached(total.counters)) < set(EXPECTED)
    assert never_reached(dict.fromkeys(EXPECTED, 1)) == []
    monkeypatch.setattr(
        "moslab.simulator.campaign.run_seed",
        lambda seed, nodes: run_seed(20, 1).__class__(seed, INVALID, ["overlap: x"], {}, 1.0, 1.0, 0.0),
    )
    assert len(list(campaign(range(9), 1, None, 3, Total()))) == 3


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "plan.json"
    file.write_text(calm(faults=[{"at": 3.0, "do": "jump", "whom": [1], "by": 2.0}]).to_json(), encoding="utf-8")
    assert main(["--plan", str(file), "--trace"]) == 0
    out = capsys.readouterr().out
    assert "times real time" in out
    assert "kv/kv-run starts at start" in out
    assert main(["--seed", "3", "--show"]) == 0
    assert '"seed": 3' in capsys.readouterr().out
    file.write_text("{}", encoding="utf-8")
    assert main(["--plan", str(file)]) == 2
    assert "format" in capsys.readouterr().err
    assert main(["--plan", str(tmp_path / "none")]) == 2
    pause = {"at": 5.0, "do": "pause", "what": "agent", "whom": ["owner:kv"], "for": 6.0}
    forget_deadlines(monkeypatch)
    monkeypatch.setattr("moslab.simulator.cli.draw_plan", lambda seed, nodes: calm(faults=[pause]))
    assert main(["--seed", "5", "--out", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert f"replay: moslab sim --plan {tmp_path}/seed-5.json --trace" in out
    assert "overlap: kv" in out


@pytest.mark.parametrize(
    "words", [
        ["--seed", "-1"], ["--seed", "9" * 23], ["--seed", str(2**63)], ["--seeds", f"0..{2**63}"], ["--seeds", "2..1"],
        ["--seed", "1", "--nodes", "65536"], ["--seed", "1", "--nodes", "0"],
    ],
)
def test_what_a_plan_refuses_no_option_takes(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([*words, "--show"])
    assert raised.value.code == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--trace", "--show"])
def test_a_trace_of_many_seeds_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0..1", option]) == 2
    assert "--trace, --show and --save are of one run" in capsys.readouterr().err


def test_a_plan_has_the_nodes_that_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.json"
    file.write_text(calm().to_json(), encoding="utf-8")
    assert main(["--plan", str(file), "--nodes", "5", "--show"]) == 2
    assert "--nodes is of seeds" in capsys.readouterr().err


def failing_everywhere(safety_s: float, **sizes: int) -> FaultPlan:
    """Nothing happens, but a group that passes its test fails on all nodes again and again."""
    changes = plan([], (0.5, 2.5), nodes=3, safety_s=safety_s, bound_s=10.0, sizes=sizes)
    changes["cltab"] += "bad:bad-pre:start:wait:run 0.02 exit=1\n"
    changes["hactl"] += "bad start\n"
    return directed_plan(1, changes)


def test_journals_of_a_long_ordinary_run_have_a_bound() -> None:
    result = run(failing_everywhere(400.0, journal=1024, read=1024, frame=1024))
    history = result.history
    assert not [problem for problem in result.problems if not problem.startswith("liveness: bad")]
    assert result.counters["journal: next generation"] >= 5
    assert result.counters["journal: removed of the living"] >= 5
    assert max(history.journal_bytes.values()) <= 8192
    assert max(history.journal_bytes.values()) < history.journal_bytes_max


def test_an_answer_that_no_worker_can_give_loses_its_task() -> None:
    result = run(failing_everywhere(30.0, journal=65536, read=65536, frame=100))
    assert result.counters["answer longer than a worker's frame"] > 0
    assert any(problem.startswith("liveness: g1") for problem in result.problems)
