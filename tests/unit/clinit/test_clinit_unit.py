"""One group in the stand-alone daemon, with a guardian that is only played."""

from __future__ import annotations

import os
import selectors
import signal
from collections.abc import Iterator
from typing import Any, cast

import pytest

from mosha.clinit.guardian import FINISHED, KILLED
from mosha.clinit.leash import Leash, LeashReport
from mosha.clinit.states import FINISHING, HELD, IDLE, LOST
from mosha.clinit.unit import FINISH_LIMIT_S, KILL_LIMIT_S, STEADY_S, Unit
from mosha.tables import cltab
from mosha.tables.settings import DEFAULT_POLICY, Policy

ENTRIES = cltab.parse("g:a:start:respawn:x\n").entries


class Played:
    """A leash that does what the test says."""

    pid = 77

    def __init__(self) -> None:
        self.fd = os.pipe()[0]
        self.orders: list[str] = []
        self.reports: list[LeashReport] = []
        self.gone = False
        self.status: int | None = None

    def fileno(self) -> int:
        return self.fd

    def tell(self, level: str, entries: Any, policy: Policy | None = None) -> None:
        self.orders.append(level)

    def receive(self) -> list[LeashReport]:
        reports, self.reports = self.reports, []
        return reports

    def __getattr__(self, name: str) -> Any:
        return lambda: self.orders.append(name)


class Host:
    def __init__(self) -> None:
        self.selector: selectors.BaseSelector = selectors.DefaultSelector()
        self.time_s = 100.0
        self.said: list[str] = []
        self.leashes: list[Played] = []
        self.refusing = self.clean = False

    def now(self) -> float:
        return self.time_s

    def say(self, line: str) -> None:
        self.said.append(line)

    def start_leash(self, group: str, policy: Policy) -> Leash:
        if self.refusing:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.leashes.append(Played())
        return cast(Leash, self.leashes[-1])

    def sweep(self, group: str) -> bool:
        return self.clean


class Stage:
    def __init__(self) -> None:
        self.host = Host()
        self.unit = Unit("g", self.host)

    def tell(self, level: str) -> None:
        self.unit.tell(level, ENTRIES, DEFAULT_POLICY)

    def report(self, level: str, state: str) -> None:
        self.host.leashes[-1].reports.append(LeashReport("state", 0.0, level=level, state=state))
        self.unit.receive()

    def die(self, status: int) -> None:
        leash = self.host.leashes[-1]
        leash.gone, leash.status = True, status
        self.unit.receive()

    def pass_by(self, seconds: float) -> None:
        self.host.time_s += seconds
        self.unit.tick()

    @property
    def shown(self) -> str:
        return "" if self.unit.shown is None else " ".join(self.unit.shown)

    @property
    def orders(self) -> list[list[str]]:
        return [leash.orders for leash in self.host.leashes]


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    for leash in stage.host.leashes:
        os.close(leash.fd)
    stage.host.selector.close()


def test_it_ends_its_guardian_when_it_has_nothing(stage: Stage) -> None:
    stage.tell("start")
    stage.report("start", "DONE")
    assert (stage.unit.state, stage.shown) == (HELD, "g start DONE")
    stage.tell("stop")
    stage.report("stop", "DONE")
    assert (stage.unit.state, stage.orders) == (FINISHING, [["start", "stop", "finish"]])
    stage.die(FINISHED)
    assert (stage.unit.state, stage.unit.rests, stage.shown) == (IDLE, True, "g stop DONE")


def test_a_report_of_an_earlier_level_does_not_end_it(stage: Stage) -> None:
    stage.tell("stop")
    stage.tell("start")
    stage.report("stop", "DONE")
    assert (stage.unit.state, stage.shown) == (HELD, "")


def test_a_tell_waits_for_a_guardian_that_ends(stage: Stage) -> None:
    stage.tell("stop")
    stage.report("stop", "DONE")
    stage.tell("more")
    stage.tell("start")
    assert stage.orders == [["stop", "finish"]]
    stage.die(FINISHED)
    assert (stage.unit.state, stage.orders) == (HELD, [["stop", "finish", "close"], ["start"]])


def test_a_guardian_that_does_not_end_is_killed_and_what_it_left(stage: Stage) -> None:
    stage.tell("stop")
    stage.report("stop", "DONE")
    stage.pass_by(FINISH_LIMIT_S)
    assert stage.orders == [["stop", "finish", "kill"]]
    stage.pass_by(KILL_LIMIT_S)
    assert stage.orders == [["stop", "finish", "kill", "kill_guardian"]]
    stage.die(-signal.SIGKILL)
    assert stage.unit.state == LOST
    stage.pass_by(0.1)
    assert stage.unit.state == LOST, "something is left"
    stage.host.clean = True
    stage.pass_by(0.1)
    assert stage.unit.state in (IDLE, HELD)


@pytest.mark.parametrize(("lived_s", "shown"), [(STEADY_S - 1, "g start FAILED"), (STEADY_S, "g start DONE")])
def test_a_guardian_that_dies_is_replaced_if_it_had_lived(stage: Stage, lived_s: float, shown: str) -> None:
    stage.tell("start")
    stage.report("start", "DONE")
    stage.host.time_s += lived_s
    stage.die(-signal.SIGKILL)
    assert (stage.unit.state, stage.unit.rests) == (LOST, False)
    stage.host.clean = True
    stage.pass_by(STEADY_S)                          # so long it takes to end what it left
    assert (stage.shown, len(stage.host.leashes)) == (shown, 2 if lived_s >= STEADY_S else 1)
    stage.tell("start")
    assert stage.unit.state == HELD


def test_halt_is_in_order_and_a_kill_at_once(stage: Stage) -> None:
    stage.tell("start")
    stage.report("start", "DONE")
    stage.unit.halt()
    stage.report("start", "HALTING")
    stage.pass_by(3600)
    assert (stage.shown, stage.orders) == ("g start HALTING", [["start", "halt"]]), "as long as it takes"
    stage.unit.kill()
    stage.unit.kill()
    assert stage.orders == [["start", "halt", "kill"]]
    stage.die(KILLED)
    assert (stage.unit.rests, stage.shown) == (True, "g start CONFIGURED")


def test_a_halt_forgets_what_waits(stage: Stage) -> None:
    stage.tell("stop")
    stage.report("stop", "DONE")
    stage.tell("start")
    stage.unit.halt()
    stage.die(FINISHED)
    assert (stage.unit.rests, len(stage.host.leashes)) == (True, 1)


def test_no_guardian_is_a_failed_group(stage: Stage) -> None:
    stage.host.refusing = True
    stage.tell("start")
    assert (stage.shown, stage.unit.rests) == ("g start FAILED", True)
    assert stage.host.said == ["g: start FAILED: no guardian can be started: Resource temporarily unavailable"]
    stage.host.refusing = False
    stage.tell("start")
    assert stage.unit.state == HELD
