"""Guardians and the processes of groups, on one modelled machine without an agent."""

from __future__ import annotations

from typing import Any, cast

import pytest

from mosha.clinit import custody
from mosha.clinit.custody import WATCH_MAX_S, WATCH_S
from mosha.tables import cltab
from moslab.faults.plan import FaultPlan
from moslab.history.intervals import Interval
from moslab.simulator.cluster import Cluster
from moslab.simulator.guardian import SimLeash
from moslab.simulator.node import Node
from moslab.simulator.world import SimWorld

CALLS_MAX = 100_000
TOKEN = {"MOSHA_ERA": "7", "MOSHA_EPOCH": "3"}


class Machine:
    """One node that is up, with one leash."""

    def __init__(self, service: str, deadline_s: float = 5.0, pre: str = "run 0.1", ahead: bool = False) -> None:
        text = f"kv:kv-fit:test:test:run 0.1\nkv:kv-pre:start:wait:{pre}\nkv:kv-run:start:respawn:{service}\n"
        table = cltab.parse(text, "cltab")
        self.entries = table.group("kv")
        self.cluster = Cluster(FaultPlan(seed=1, nodes=1, cltab="", hactl="", clocks={
            "drift": 0.0, "restart": False, "wake_s": 0.001, "ipc_s": 0.0005, "late": 0.2, "sync_s": 0.0,
        }))
        self.node: Node = self.cluster.nodes[1]
        self.node.up = True
        self.deadline = self.node.clock() + deadline_s
        environment = {} if ahead else TOKEN
        self.leash = SimLeash.start(self.node, "kv", environment, self.deadline, lambda group: None, ahead)
        self.reports: list[Any] = []

    def run(self, until_s: float) -> Machine:
        assert self.cluster.kernel.run(until_s, CALLS_MAX)
        self.reports += self.leash.receive()
        return self

    def start(self) -> Machine:
        self.leash.tell("start", self.entries)
        return self.run(1.0)

    def states(self) -> list[str]:
        return [report.state for report in self.reports if report.kind == "state"]

    def lived(self) -> list[Interval]:
        return sorted(self.cluster.result.intervals, key=lambda interval: interval.pid)

    def counted(self, what: str) -> int:
        return self.cluster.counters.get(what, 0)


@pytest.fixture(autouse=True)
def _no_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Node, "power_on", lambda self, _=None: None)


def test_a_level_runs_its_entries_in_order_and_says_so() -> None:
    machine = Machine("live").start()
    assert machine.states()[-1] == "DONE"
    assert [r.tag for r in machine.reports if r.kind == "started"] == ["kv-pre", "kv-run"]
    first = machine.lived()[0]
    assert (first.group, first.node, first.epoch) == ("kv", 1, "7.3")
    assert first.end_s - first.begin_s == pytest.approx(0.1)
    assert len(machine.node.members) == 1


def test_what_was_tested_ahead_gets_its_token_before_it_runs() -> None:
    machine = Machine("live", ahead=True)
    machine.leash.tell("test", machine.entries)
    machine.run(0.5).leash.own(TOKEN)
    assert machine.start().states()[-1] == "DONE"
    machine.run(6.0)
    assert [interval.epoch for interval in machine.lived()] == ["", "7.3", "7.3"]


def test_nothing_but_a_test_is_executed_without_a_token() -> None:
    machine = Machine("live", ahead=True).start()
    assert machine.leash.gone
    assert not machine.lived()
    assert machine.counted("leash kills: told to start without a token") == 1


def test_everything_is_dead_at_the_deadline() -> None:
    machine = Machine("live int=ignore term=ignore").start().run(6.0)
    assert 5.0 <= machine.lived()[-1].end_s < 5.01
    assert machine.leash.gone
    assert not machine.node.members
    assert not machine.node.guardians


def test_a_process_that_was_killed_does_nothing_of_what_was_due() -> None:
    """It stands in state D beyond the instant at which it would have ended by itself, and left a process behind."""
    machine = Machine("run 1.0 leaves=1").start()
    machine.run(1.05).node.trouble_until_s = 3.0
    machine.node.guardians[0].kill()
    machine.run(2.9)
    (left,) = machine.node.members.values()
    assert not left.runs
    assert machine.counted("process left behind") == 0
    assert not machine.run(3.1).node.members
    assert machine.cluster.result.gone[-1].gone_s == pytest.approx(3.0)


def test_a_deadline_that_moves_is_kept() -> None:
    machine = Machine("live").start()
    machine.leash.extend(machine.deadline + 3.0)
    assert machine.run(7.9).node.members
    assert not machine.run(8.1).node.members


def test_an_extension_that_comes_after_the_deadline_is_refused() -> None:
    machine = Machine("live").start()
    guardian = machine.node.guardians[0]
    guardian.freeze()
    machine.run(4.9).leash.extend(machine.deadline + 100.0)
    machine.run(6.0)
    assert machine.node.members                          # nobody else has killed them
    guardian.thaw()
    machine.run(6.1)
    assert not machine.node.members
    assert machine.counted("leash kills: deadline") == 1


def test_a_group_stops_in_order_and_the_leash_finishes() -> None:
    machine = Machine("live int=0.5").start()
    machine.leash.tell("stop", machine.entries)
    machine.leash.finish()
    machine.run(1.4)
    assert machine.node.members
    machine.run(2.0)
    assert machine.leash.gone
    assert machine.counted("leash kills: deadline") == 0


def test_a_failed_wait_is_reported() -> None:
    assert Machine("live", pre="run 0.1 exit=3").start().states()[-1] == "FAILED"
    assert Machine("live", pre="run 0.1 unfit=1").start().states()[-1] == "FAILED"
    assert Machine("live", pre="run 0.1 unfit=2").start().states()[-1] == "DONE"


def test_a_service_that_dies_is_started_again_after_what_it_left() -> None:
    machine = Machine("run 1.5 leaves=1", deadline_s=30.0).start().run(2.0)
    assert machine.counted("process left behind") == 1
    machine.run(8.0)                                     # the stray ignores INT and is told TERM five seconds later
    started = [report.tag for report in machine.reports if report.kind == "started"]
    assert started == ["kv-pre", "kv-run", "kv-run"]


def test_with_the_agent_everything_ends() -> None:
    machine = Machine("live").start()
    machine.node.guardians[0].agent_died(None)
    machine.run(1.1)
    assert not machine.node.members
    assert machine.leash.gone


def test_with_its_guardian_the_main_process_dies_and_a_stray_does_not() -> None:
    machine = Machine("run 1.5 leaves=1").start().run(2.0)
    machine.node.world = cast(SimWorld, object())
    machine.node.guardians[0].kill()
    machine.run(2.1)
    assert [member.main for member in machine.node.members.values()] == [False]


def test_without_an_agent_the_warden_ends_what_a_guardian_leaves() -> None:
    machine = Machine("run 1.5 leaves=1").start().run(2.0)
    machine.node.guardians[0].kill()
    machine.run(2.1)
    assert not machine.node.members


def test_a_guardian_outlives_its_agent_up_to_its_deadline_and_obeys_the_next() -> None:
    machine = Machine("live").start()
    (guardian,) = machine.node.guardians
    guardian.order(custody.own({**TOKEN, custody.OWNER: "7-aa 3 1.1.bb"}))
    machine.run(1.1)
    guardian.agent_died(None)
    machine.run(2.0)
    taken = SimLeash.take_over(guardian, lambda group: None)
    assert taken is not None
    leash, legacy = taken
    assert (legacy.era, legacy.epoch, legacy.identity, legacy.level, legacy.state) == (
        "7-aa", 3, "1.1.bb", "start", "DONE"
    )
    leash.extend(machine.deadline + 3.0)
    machine.run(machine.node.true_time(machine.deadline) + 2.9)
    assert len(machine.node.members) == 1
    assert machine.counted("group was adopted") == 1
    machine.run(machine.node.true_time(machine.deadline) + 3.1)
    assert not machine.node.members


def left() -> Machine:
    """Its agent is gone, and did not end what runs."""
    machine = Machine("live", deadline_s=20.0).start()
    (guardian,) = machine.node.guardians
    guardian.order(custody.own({**TOKEN, custody.OWNER: "7-aa 3 1.1.bb"}))
    guardian.agent_died(None)
    return machine.run(2.0)


def test_a_guardian_without_an_agent_sees_that_the_clock_is_slewed() -> None:
    machine = left()
    assert len(machine.node.members) == 1
    machine.node.slew(0.9)
    assert not machine.run(2.0 + 3 * WATCH_S).node.members
    assert machine.counted(f"leash kills: {custody.CLOCKS}") == 1


@pytest.mark.parametrize("rate", [0.92, 1.08])
def test_a_guardian_whose_agent_hangs_sees_that_the_clock_is_slewed(rate: float) -> None:
    machine = Machine("live", deadline_s=60.0).start()
    machine.node.slew(rate)
    assert not machine.run(1.0 + 2.5 * WATCH_MAX_S).node.members
    assert machine.counted(f"leash kills: {custody.CLOCKS}") == 1


def test_an_agent_that_ends_of_its_own_ends_its_groups() -> None:
    machine = Machine("live", deadline_s=20.0).start()
    machine.node.guardians[0].order(custody.own({**TOKEN, custody.OWNER: "7-aa 3 1.1.bb"}))
    machine.node.world = SimWorld(machine.node, 1)
    machine.node.world._end_of_itself(1)
    assert not machine.run(1.01).node.members
    assert machine.counted("leash kills: agent's order") == 1


def test_a_killed_process_in_state_d_executes_nothing_and_is_gone_late() -> None:
    machine = Machine("live").start()
    machine.node.trouble_until_s = 9.0
    machine.leash.kill()
    machine.run(8.9)
    assert machine.lived()[-1].end_s < 1.1
    assert machine.node.members
    assert not machine.leash.gone
    machine.run(9.1)
    assert machine.leash.gone
    assert [(g.node, g.gone_s) for g in machine.cluster.result.gone if g.gone_s > 2] == [(1, 9.0)]


def test_a_frozen_node_executes_nothing_and_its_guardian_kills_at_the_thaw() -> None:
    machine = Machine("live").start()
    machine.node.freeze()
    machine.run(20.0)
    machine.node.thaw()
    machine.run(21.0)
    *_, before, after = machine.lived()
    assert before.end_s == 1.0
    assert after.begin_s == 20.0
    assert after.end_s < 20.01
    assert machine.cluster.result.thaws == [(20.0, 1)]


def test_a_machine_whose_clocks_stood_still_has_the_time_left_that_it_had() -> None:
    machine = Machine("live").start()                # its deadline is at 5.0
    machine.node.slew(1.009)
    machine.run(1.5)
    before = machine.node.clock(), machine.node.wall(), machine.node.skew_s()
    machine.node.freeze(stops_clocks=True)
    machine.run(20.0)
    machine.node.thaw()
    assert (machine.node.clock(), machine.node.wall(), machine.node.skew_s()) == pytest.approx(before)
    machine.run(30.0)
    left_s = (5.0 - 1.0 - 0.5 * 1.009) / 1.009
    assert machine.lived()[-1].begin_s == 20.0
    assert machine.lived()[-1].end_s == pytest.approx(20.0 + left_s, abs=0.01)
    assert (machine.cluster.result.thaws, machine.cluster.result.stops) == ([], [(20.0, 1)])


def test_without_power_nothing_lives_and_nobody_is_told() -> None:
    machine = Machine("live").start()
    machine.node.power_off()
    machine.run(10.0)
    assert machine.lived()[-1].end_s == 1.0
    assert not machine.leash.gone


def test_a_clock_that_is_slewed_moves_the_deadline() -> None:
    machine = Machine("live").start()
    machine.node.slew(1.009)
    machine.run(6.0)
    ends_s = 1.0 + 4.0 / 1.009
    assert ends_s <= machine.lived()[-1].end_s < ends_s + 0.01
    assert machine.node.skew_s() == pytest.approx(-0.009 * 5.0)
