from __future__ import annotations

import time
from pathlib import Path

import pytest

from emulator import power
from emulator.powerswitch import outlets
from emulator.powerswitch import switch as module
from emulator.powerswitch.engine import Engine
from emulator.powerswitch.protocol import Answer, Request
from emulator.powerswitch.sweep import sweep
from emulator.powerswitch.switch import Switch
from tests.unit.powerswitch.fake_engine import FakeEngine


@pytest.fixture
def switch(fake: FakeEngine) -> Switch:
    fake.node("red", 1)
    fake.node("red", 2, running=False)
    fake.node("blue", 3)
    return Switch(Engine(fake.path), "red")


def test_off_is_said_when_the_node_was_seen_off(fake: FakeEngine, switch: Switch) -> None:
    assert switch.obey(Request("off", 1)) == Answer(True, "off")
    assert not fake.containers["red-1-0"]["running"]
    assert fake.asked[-1] == ("GET", "/containers/red-1-0/json")
    assert switch.obey(Request("status", 1)) == Answer(True, "off")


def test_a_node_that_is_off_already_is_off(fake: FakeEngine, switch: Switch) -> None:
    assert switch.obey(Request("off", 2)) == Answer(True, "off")
    assert ("POST", "/containers/red-2-1/kill") not in fake.asked


def test_a_kill_that_is_not_seen_to_work_is_no_off(
    fake: FakeEngine, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT_S", 0.3)
    fake.kill_works = fake.goes_silent = False
    began_s = time.monotonic()
    answer = switch.obey(Request("off", 1))
    assert not answer.ok
    assert "not seen within 0.3 s" in answer.text
    assert time.monotonic() - began_s < 10


def test_an_engine_that_hangs_is_no_off(
    fake: FakeEngine, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT_S", 0.3)
    fake.before = lambda method, path: time.sleep(1.0) if path.endswith("kill") else None
    answer = switch.obey(Request("off", 1))
    assert not answer.ok
    assert "timed out" in answer.text


def test_no_engine_is_no_off(tmp_path: object) -> None:
    answer = Switch(Engine("/nowhere/engine.sock"), "red").obey(Request("off", 1))
    assert not answer.ok
    assert "No such file" in answer.text


def test_a_node_goes_silent_before_it_ends(fake: FakeEngine, switch: Switch) -> None:
    assert switch.obey(Request("off", 1)) == Answer(True, "off")
    assert fake.signals == ["SIGPWR"]


def test_a_node_that_does_not_hear_of_it_is_killed(
    fake: FakeEngine, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power, "WITHIN_S", 0.05)
    fake.goes_silent = False
    assert switch.obey(Request("off", 1)) == Answer(True, "off")
    assert fake.signals == ["SIGPWR", "KILL"]


def test_a_paused_node_is_killed_and_does_not_go_on_before(fake: FakeEngine, switch: Switch) -> None:
    fake.containers["red-1-0"]["paused"] = True
    assert switch.obey(Request("off", 1)) == Answer(True, "off")
    assert fake.signals == ["KILL"]


def test_on_starts_a_node(fake: FakeEngine, switch: Switch) -> None:
    assert switch.obey(Request("on", 2)) == Answer(True, "on")
    assert fake.containers["red-2-1"]["running"]


def test_off_is_off_though_somebody_switches_on_again_at_once(fake: FakeEngine, switch: Switch) -> None:
    looks: list[bool] = []

    def switch_on_after_the_look(method: str, path: str) -> None:
        if path == "/containers/red-1-0/json":
            looks.append(fake.containers["red-1-0"]["running"])
            if len(looks) > 2:
                fake.containers["red-1-0"]["running"] = True

    fake.before = switch_on_after_the_look
    assert switch.obey(Request("off", 1)) == Answer(True, "off")
    assert looks == [True, False]


def test_a_node_of_another_cluster_is_not_there(fake: FakeEngine, switch: Switch) -> None:
    answer = switch.obey(Request("off", 3))
    assert answer == Answer(False, "no node 3 in cluster red")
    assert fake.containers["blue-3-2"]["running"]


def test_what_is_no_node_is_not_touched(fake: FakeEngine, switch: Switch) -> None:
    fake.node("red", 7, role="client")
    assert not switch.obey(Request("off", 7)).ok


def test_two_containers_of_one_number_are_an_error(fake: FakeEngine, switch: Switch) -> None:
    fake.node("red", 1)
    assert switch.obey(Request("off", 1)) == Answer(False, "2 node 1 in cluster red")


def test_list_and_test(switch: Switch) -> None:
    assert switch.obey(Request("list", None)) == Answer(True, "1 on\n2 off")
    assert switch.obey(Request("test", None)).ok


def test_test_needs_an_engine() -> None:
    assert not Switch(Engine("/nowhere/engine.sock"), "red").obey(Request("test", None)).ok


def test_a_sweep_takes_one_cluster_and_spares_the_sweeper(fake: FakeEngine) -> None:
    labels = {"org.mosha.cluster": "red"}
    fake.node("red", 1)
    fake.node("blue", 1)
    sweeper = fake.node("red", 0, role="power")
    fake.networks["net"] = {"labels": labels, "endpoints": {sweeper}}
    fake.volumes["san"] = {"labels": labels}
    fake.volumes["other"] = {"labels": {}}
    engine = Engine(fake.path)
    found = sweep(engine.request, "red", spare=sweeper)
    assert sorted(found) == ["container red-1-0", "network net", "volume san"]
    assert set(fake.containers) == {"blue-1-1", sweeper}
    assert (set(fake.networks), set(fake.volumes)) == (set(), {"other"})
    assert sweep(engine.request, "red", spare=sweeper) == []


@pytest.mark.parametrize(
    ("how", "is_ok", "is_off"),
    [
        ("fails", False, False), ("lies", False, True), ("slow", True, True), ("works", True, True),
        ("melts", False, False),
    ],
)
def test_outlets_that_are_broken_on_purpose(
    fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, is_ok: bool, is_off: bool
) -> None:
    monkeypatch.setattr(outlets, "LAG_S", 0.3)
    name = fake.node("red", 1)
    (tmp_path / "1").write_text(how)
    switch = Switch(Engine(fake.path), "red", str(tmp_path))
    began_s = time.monotonic()
    answer = switch.obey(Request("off", 1))
    assert (answer.ok, fake.containers[name]["running"]) == (is_ok, not is_off), answer.text
    assert (how == "slow") <= (time.monotonic() - began_s >= 0.3)
    assert ("is none of fails, lies, slow, works" in answer.text) == (how == "melts")
    fake.containers[name]["running"] = False
    assert switch.obey(Request("on", 1)) == Answer(True, "on"), "it is for off only"
