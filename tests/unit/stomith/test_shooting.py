"""Levels, retries and verification, with devices that fail, hang, lie and are slow."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mosha.stomith import shooting
from mosha.stomith.devices import OFF, ON, UNKNOWN
from tests.unit.stomith.devices import Rig, Strip

QUICK = "stomith_timeout = 10"
SHORT = "stomith_timeout = 0.5"
ONCE = "stomith_retries = 0"


@pytest.fixture
def strip(tmp_path: Path) -> Strip:
    return Strip(tmp_path / "strip", 1, 2, 3)


@pytest.fixture(params=["command", "agent"])
def line(request: pytest.FixtureRequest, strip: Strip) -> str:
    return f"stomith = {strip.command if request.param == 'command' else strip.agent}"


def test_off_and_on(tmp_path: Path, strip: Strip, line: str) -> None:
    rig = Rig(tmp_path, line, QUICK)
    assert rig.stomith.status(3)[0] == ON
    done, (answer,) = rig.stomith.off(3)
    assert done
    assert answer.ok
    assert not strip.is_on(3)
    assert strip.is_on(1)
    assert strip.is_on(2)
    assert rig.stomith.status(3)[0] == OFF
    assert rig.stomith.on(3)[0]
    assert strip.is_on(3)
    assert rig.did == [(1, "status", True), (1, "off", True), (1, "status", True), (1, "status", True), (1, "on", True)]
    assert {attempt.node for attempt in rig.attempts} == {3}


def test_what_is_off_already_is_off(tmp_path: Path, strip: Strip, line: str) -> None:
    rig = Rig(tmp_path, line, QUICK)
    assert rig.stomith.off(4)[0]


def test_the_command_of_2003_has_only_an_exit_code(tmp_path: Path, strip: Strip) -> None:
    rig = Rig(tmp_path, f"stomith = {strip.root}/strip off", QUICK)
    assert rig.stomith.off(3)[0]
    assert strip.calls == ["off 3"]
    assert rig.stomith.status(3)[0] == UNKNOWN
    done, (answer,) = rig.stomith.on(3)
    assert not done
    assert "can only switch off" in answer.words
    assert strip.calls == ["off 3"]


def test_a_failed_call_is_tried_again(tmp_path: Path, strip: Strip, line: str) -> None:
    rig = Rig(tmp_path, line, QUICK, "stomith_retries = 2")
    strip.set("fail-off", "2")
    assert rig.stomith.off(3)[0]
    assert rig.did == [(1, "off", False), (1, "off", False), (1, "off", True), (1, "status", True)]


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_when_all_tries_have_failed_nothing_is_off(tmp_path: Path, strip: Strip, line: str, retries: int) -> None:
    rig = Rig(tmp_path, line, QUICK, f"stomith_retries = {retries}")
    strip.set("fail-off", "99")
    done, answers = rig.stomith.off(3)
    assert not done
    assert rig.did == [(1, "off", False)] * (1 + retries)
    assert "exit 1: strip: no answer" in shooting.reason(answers)


def test_failure_is_failure_even_if_the_node_is_off(tmp_path: Path, strip: Strip, line: str) -> None:
    strip.set("lies")
    rig = Rig(tmp_path, line, QUICK, ONCE)
    assert not rig.stomith.off(3)[0]
    assert not strip.is_on(3)
    assert rig.did == [(1, "off", False)], "nothing is concluded from a status after a failure"


def test_success_that_is_not_seen_is_failure(tmp_path: Path, strip: Strip, line: str) -> None:
    strip.set("deaf")
    rig = Rig(tmp_path, line, QUICK, ONCE)
    done, answers = rig.stomith.off(3)
    assert not done
    assert "it said that it is off, but its status is on" in shooting.reason(answers)


@pytest.mark.parametrize("how", ["fail-status", "hang-status"])
def test_success_that_cannot_be_seen_is_failure(tmp_path: Path, strip: Strip, line: str, how: str) -> None:
    strip.set(how, "99")
    rig = Rig(tmp_path, line, "stomith_timeout = 3", ONCE)
    done, answers = rig.stomith.off(3)
    assert not done
    assert "but its status is unknown" in shooting.reason(answers)


def test_a_device_may_be_believed(tmp_path: Path, strip: Strip, line: str) -> None:
    strip.set("fail-status", "99")
    rig = Rig(tmp_path, line, QUICK, ONCE, "stomith_verify = no")
    assert rig.stomith.off(3)[0]
    assert rig.did == [(1, "off", True)]


def test_silence_is_failure_and_is_bounded(tmp_path: Path, strip: Strip, line: str) -> None:
    strip.set("hang-off")
    rig = Rig(tmp_path, line, SHORT, "stomith_retries = 1")
    began_s = time.monotonic()
    done, answers = rig.stomith.off(3)
    assert not done
    assert time.monotonic() - began_s < shooting.limit_s(rig.config.shooting)
    assert rig.did == [(1, "off", False)] * 2
    assert [attempt.code for attempt in rig.attempts] == [None, None]
    assert "no end within 0.5 s, killed" in shooting.reason(answers)
    assert strip.is_on(3)


def test_the_second_level_is_for_when_the_first_has_failed(tmp_path: Path, strip: Strip) -> None:
    other = Strip(tmp_path / "other", 1, 2, 3)
    rig = Rig(tmp_path, f"stomith = {strip.command}", f"stomith.2 = {other.agent}", QUICK, ONCE)
    assert rig.stomith.off(2)[0]
    assert other.calls == []
    strip.set("fail-off", "99")
    done, answers = rig.stomith.off(3)
    assert done
    assert [(answer.level, answer.ok) for answer in answers] == [(1, False), (2, True)]
    assert not other.is_on(3)


def test_a_level_needs_all_its_devices(tmp_path: Path, strip: Strip) -> None:
    other = Strip(tmp_path / "other", 3)
    last = Strip(tmp_path / "last", 3)
    rig = Rig(tmp_path, f"stomith={strip.command} && {other.command}", f"stomith.2={last.command}", QUICK, ONCE)
    other.set("fail-off", "1")
    done, answers = rig.stomith.off(3)
    assert done
    assert [(answer.level, answer.ok) for answer in answers] == [(1, True), (1, False), (2, True)]
    assert not last.is_on(3)
    last.set("fail-off", "99")
    assert rig.stomith.off(3)[0], "now both of the first level do it"
    strip.set("fail-off", "99")
    before = len(other.calls)
    assert not rig.stomith.off(3)[0]
    assert len(other.calls) == before, "a level ends with its first failure"


def test_a_node_without_a_plug_is_a_failure_and_nothing_is_run(tmp_path: Path, strip: Strip) -> None:
    rig = Rig(tmp_path, f"stomith = {strip.root}/strip %a %p", "plug.1 = 2", QUICK, "stomith_retries = 3")
    assert not rig.stomith.off(3)[0]
    assert strip.calls == []
    assert len(rig.attempts) == 1, "it is not tried again"
    assert rig.stomith.off(1)[0]
    assert not strip.is_on(2)
    assert strip.is_on(1)


def test_the_state_of_a_node_on_two_supplies(tmp_path: Path, strip: Strip) -> None:
    other = Strip(tmp_path / "other", 1, 2, 3)
    rig = Rig(tmp_path, f"stomith = {strip.command} && {other.command}", QUICK, ONCE)
    (strip.root / "on-3").unlink()
    assert rig.stomith.status(3)[0] == ON, "one supply is enough"
    (other.root / "on-3").unlink()
    assert rig.stomith.status(3)[0] == OFF
    other.set("fail-status", "99")
    assert rig.stomith.status(3)[0] == UNKNOWN
    assert rig.stomith.status(2)[0] == ON


def test_on_is_said_to_every_device(tmp_path: Path, strip: Strip) -> None:
    other = Strip(tmp_path / "other")
    rig = Rig(tmp_path, f"stomith = {strip.command}", f"stomith.2 = {other.command}", QUICK, ONCE)
    strip.set("fail-on", "1")
    done, answers = rig.stomith.on(4)
    assert not done
    assert [(answer.level, answer.ok) for answer in answers] == [(2, True), (1, False)]
    assert other.is_on(4)


def test_listing_and_test_switch_nothing(tmp_path: Path, strip: Strip, line: str) -> None:
    single = f"{strip.root}/strip %a '' --host=bmc%n"
    rig = Rig(tmp_path, line, f"stomith.2 = {single}", QUICK, ONCE)
    assert [answer.words for answer in rig.stomith.listing([1])] == ["1\n2\n3", "off"]
    answers = list(rig.stomith.test([1, 4]))
    assert all(answer.ok for answer in answers)
    asked = [(answer.action, answer.state) for answer in answers if answer.level == 1]
    assert asked[-3:] == [(asked[-3][0], UNKNOWN), ("status", ON), ("status", OFF)]
    assert [action for action, _ in asked[:-2]] == (["metadata", "monitor"] if "fence:" in line else ["list"])
    assert not any(call.startswith(("off", "on")) for call in strip.calls)


def test_a_fence_agent_is_told_what_the_convention_says(tmp_path: Path, strip: Strip) -> None:
    rig = Rig(tmp_path, f"stomith = {strip.agent} plugs=7:3", QUICK, "stomith_verify = no")
    assert rig.stomith.off(7)[0]
    assert strip.options == ["action=off", "nodename=7", "password=geheim", "plug=3"]
    assert not strip.is_on(3)


def test_what_is_recorded_has_no_secret(tmp_path: Path, strip: Strip) -> None:
    strip.set("talks")
    strip.set("fail-off", "99")
    rig = Rig(tmp_path, f"stomith = {strip.agent}", QUICK, ONCE)
    done, answers = rig.stomith.off(3)
    assert not done
    assert "logging in with ***" in shooting.reason(answers)
    assert "geheim" not in (tmp_path / "stomith.log").read_text()
    (attempt,) = rig.attempts
    assert (attempt.by, attempt.node, attempt.level, attempt.device, attempt.action, attempt.code) == (
        "agent", 3, 1, "fence_strip", "off", 1)
    assert attempt.seconds > 0


def test_without_devices_nothing_is_ever_off(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "")
    assert rig.stomith.off(3) == (False, [])
    assert rig.stomith.on(3) == (False, [])
    assert rig.stomith.status(3) == (UNKNOWN, [])
    assert shooting.reason([]) == "no device is configured"
