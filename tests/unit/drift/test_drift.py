"""Where worlds differ is found and said; and what is shipped has an outcome in the simulated one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moslab.drift import cli, run
from moslab.drift.outcome import MOVED, STAYS, OfGroup, Outcome, counted
from moslab.drift.run import Missing, Row, drift, lines, outcome_of, report, shipped
from moslab.errors import CannotError
from moslab.faults.plan import FaultPlan
from moslab.history.checkers import INVALID, VALID
from moslab.history.intervals import Interval
from moslab.history.record import History
from moslab.scenario.cluster import Cluster
from moslab.scenario.plans import spec_of
from moslab.scenario.pool import Pool
from moslab.scenario.sim import SimWorld
from moslab.simulator.inject import Injector

PLANS_MIN = 15


def outcome(**more: Any) -> Outcome:
    return Outcome(VALID, (), {"web": OfGroup(MOVED, 1, 1)})._replace(**more)


def test_a_made_up_difference_is_reported() -> None:
    same = Row("same", {"sim": outcome(), "docker": outcome()})
    other = Row("other", {"sim": outcome(), "docker": outcome(groups={"web": OfGroup(STAYS, 0, 1)}),
                          "hosts": Missing("it cannot lose disks")})
    wrong = Row("wrong", {"sim": outcome(verdict=INVALID), "docker": outcome(verdict=INVALID)})
    fails = Row("fails", {"sim": outcome(), "docker": Missing("no answer", is_failure=True)})
    assert [row.is_same for row in (same, other, wrong, fails)] == [True, False, False, False]
    assert lines([same, other, wrong, fails]) == [
        "other: web: owner: moved in sim, stays in docker",
        "other: web: epochs: 1 in sim, 0 in docker",
        "other: not in hosts: it cannot lose disks",
        "wrong: sim: invalid", "wrong: docker: invalid",
        "fails: docker: no answer",
        "4 plans, 3 of them in two worlds or more: 3 of them differ",
    ]
    told = json.loads(report([same, other]))
    assert [(one["plan"], one["same"]) for one in told] == [("same", True), ("other", False)]
    assert told[1]["differences"]["web: owner"] == {"sim": MOVED, "docker": STAYS}
    assert told[1]["worlds"]["hosts"] == {"missing": "it cannot lose disks"}


def test_who_was_shot_is_part_of_it() -> None:
    row = Row("shot", {"sim": outcome(shot=(1,)), "docker": outcome()})
    assert row.differences() == {"shot": {"sim": "1", "docker": "nobody"}}


def test_a_process_in_pieces_is_one_start_and_what_ran_before_none() -> None:
    def ran(pid: int, epoch: str, begin_s: float) -> Interval:
        return Interval("web", 1, pid, epoch, begin_s, begin_s + 1.0)

    history = History(3)
    history.intervals = [ran(1, "1.1", 0.0), ran(1, "1.1", 6.0), ran(2, "1.1", 8.0), ran(3, "1.2", 9.0),
                         ran(3, "1.2", 11.0), ran(4, "1.2", 12.0), ran(5, "1.2", 13.0)]
    history.tests = {4}
    assert counted(history, "web", 5.0) == (1, 3)


def test_what_is_shipped_has_an_outcome_and_the_plans_do_what_they_are_named_for() -> None:
    rows = drift(shipped(), ["sim"], Pool(), lambda _text: None)
    assert len(rows) >= PLANS_MIN
    assert [line for row in rows for line in row.wrong()] == []
    assert all(len(row.outcomes) == 1 for row in rows), lines(rows)
    owners = {row.plan: row.outcomes["sim"].groups["web"].owner for row in rows}
    assert {owner for plan, owner in owners.items() if plan.startswith("owner-dies")} == {MOVED}
    assert {owner for plan, owner in owners.items() if plan.startswith("another")} == {STAYS}
    assert {row.plan for row in rows if row.outcomes["sim"].shot} >= {"owner-is-cut-off-and-shot"}


def test_a_world_that_does_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that never cuts anything: the same plan then has another outcome."""
    plan = shipped()["owner-is-cut-off-no-stomith"]

    def came() -> Outcome:
        spec, _ = spec_of(plan)
        world = SimWorld(spec, plan.seed)
        world.settle()
        return outcome_of(Cluster(world, plan.seed), plan)[0]

    sound = came()
    monkeypatch.setattr(Injector, "_do_cut", lambda *_: lambda: None)
    assert Row("cut", {"sim": sound, "deaf": came()}).differences().keys() == {
        "web: owner", "web: epochs", "web: starts",
    }


def test_a_plan_that_a_world_cannot_is_no_difference(tmp_path: Path) -> None:
    sound = shipped()["owner-dies"]
    plans = {"stuck": FaultPlan(1, 3, sound.cltab, sound.hactl, faults=[{"at": 1.0, "do": "stuck", "whom": [1]}]),
             "voters": FaultPlan(1, 3, sound.cltab, sound.hactl, {"voters": "1"})}
    (stuck, voters) = drift(plans, ["sim"], Pool(), lambda _text: None)
    assert (stuck.is_same, voters.is_same) == (True, True)
    assert "it cannot do stuck" in lines([stuck])[0]
    assert lines([voters])[0] == "voters: not in sim: it cannot have the voters [1]"


def test_what_a_plan_leaves_is_a_failure_of_that_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimWorld, "left", lambda _: ["left: process: cat"])
    (row,) = drift({"one": shipped()["another-dies"]}, ["sim"], Pool(), lambda _text: None)
    assert row.wrong() == ["sim: left: process: cat"]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from moslab.cli import main

    plan = run.PLANS / "another-dies.json"
    monkeypatch.setattr(cli, "WORLDS", ("sim", "other"))
    monkeypatch.setattr(cli, "drift", lambda plans, worlds, pool, say: [
        Row(name, {"sim": outcome(), "other": outcome(shot=(1,))}) for name in plans])
    assert main(["drift", str(plan), "--world", "sim,other", "--out", str(tmp_path)]) == 1
    assert "another-dies: shot: nobody in sim, 1 in other" in capsys.readouterr().out
    assert json.loads((tmp_path / "drift.json").read_text())[0]["same"] is False
    monkeypatch.setattr(cli, "drift", lambda plans, *_: [
        Row(name, {"sim": outcome(), "other": Missing("it cannot")}) for name in plans])
    assert main(["drift", str(plan), "--world", "sim,other", "--out", str(tmp_path)]) == 1, "nothing was compared"
    assert "1 plans, 0 of them in two worlds or more" in capsys.readouterr().out
    monkeypatch.setattr(cli, "drift", lambda plans, *_: [
        Row(name, {"sim": outcome(), "other": outcome()}) for name in plans])
    assert main(["drift", str(plan), "--world", "sim,other", "--out", str(tmp_path)]) == 0
    for wrong in (["--world", "sim"], ["--world", "sim,hosts"], ["--world", "sim,moon"], [str(tmp_path / "none.json")]):
        assert main(["drift", *wrong, "--out", str(tmp_path)]) == 2
    with pytest.raises(CannotError, match="at most"):
        cli._plans([plan] * 201)
