"""What one process has broken another one ends: it is found where it is, not in anybody's record."""

from __future__ import annotations

import argparse
import json
import signal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from emulator import clocks
from emulator.powerswitch.outlets import FAILS, WORKS
from moslab.errors import LabError
from moslab.faults import cli
from moslab.faults import docker as faults
from moslab.faults.agents import STOPPED
from moslab.faults.inside import RELIEVE
from moslab.faults.record import CLOCK, STOP, WALL_CLOCK, Record
from moslab.node import Result

GOES_ON = str(int(signal.SIGCONT))


class Cluster:
    """Three nodes, a power switch; what commands do to them."""

    def __init__(self) -> None:
        self.status = {1: "running", 2: "running", 3: "running"}
        self.stands = {1}
        self.short: set[int] = set()
        self.files = dict.fromkeys(self.status, "[]")
        self.outlets = {2: WORKS}
        self.amiss: set[int] = set()
        self.lack: set[int] = set()                          # their maps lack nodes
        self.drained: set[int] = set()
        self.mute: set[int] = set()                          # their agents say nothing
        self.names = SimpleNamespace(power="power")
        self.client = SimpleNamespace(containers=SimpleNamespace(get=lambda _: SimpleNamespace(number=0)))

    def nodes(self) -> dict[int, Any]:
        return {node: self.node(node) for node in self.status}

    def node(self, node: int) -> Any:
        return SimpleNamespace(number=node, status=self.status[node], reload=lambda: None)

    def resume(self, node: int) -> None:
        self.status[node] = "running"

    def run(self, container: Any, command: list[str], *_: object) -> Result:
        node, words = container.number, command
        if node and self.status[node] != "running":
            raise LabError(f"node {node} is off")
        if words[0] == clocks.PROGRAM:
            self.amiss -= {node}
            return Result(0, "", "")
        if words[2] == faults.KNOW:
            self.lack -= {node}
            return Result(0, "", "")
        if words[2] == faults.LOOK:
            amiss = faults.AMISS if node in self.amiss else ""
            amiss += faults.LACKS if node in self.lack else ""
            if node in self.stands and len(words) == 3:
                return Result(0, f"{amiss}\n{faults.STANDS}", "")
            seen = [faults.DISTURBED] * (self.files[node] != "[]") + [faults.IS_SHORT] * (node in self.short)
            return Result(0, "\n".join([amiss, *seen]), "")
        if words[-2] == RELIEVE:
            self.short -= {node} if words[-1] == "descriptors" else set()
            return Result(0, "17 18", "")
        if words[-2:] == [STOPPED, GOES_ON]:
            self.stands -= {node}
            return Result(0, "17 18", "")
        if words[0] == "mosha":
            return self.mosha(node, words[1:])
        if not node and "grep" in words[2]:
            return Result(0, "".join(f"{one}:{how}\n" for one, how in self.outlets.items() if how != WORKS), "")
        if not node:
            self.outlets[int(words[-2])] = words[-1]
        elif words[3] == "files":
            self.files[node] = words[-1]
        return Result(0, "", "")

    def mosha(self, node: int, words: list[str]) -> Result:
        if words[0] == "status":
            page = {"nodes": [{"id": one, "state": "up", "drained": one in self.drained} for one in self.status]}
            return Result(1, "", "it does not run") if node in self.mute else Result(0, json.dumps(page), "")
        assert words[0] == "drain"
        assert words[2] == "--off"
        self.drained -= {int(words[1])}
        return Result(0, "", "")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(faults, "run", made.run)
    monkeypatch.setattr(cli, "Faults", broken)
    return made


def broken(cluster: Cluster) -> faults.Faults:
    """The faults of another process, which knows of none."""
    made = faults.Faults.__new__(faults.Faults)
    made.cluster = cast(Any, cluster)
    made.fabric = cast(Any, SimpleNamespace(heal=dict))
    made._offset_s = made.zero_s = 0.0
    made.record = Record(lambda: 0.0)
    made.remember = lambda: None  # type: ignore[method-assign]
    return made


def heal(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert cli._heal(cast(Any, cluster), argparse.Namespace(name=None, cluster="mosha")) == 0
    return capsys.readouterr().out.splitlines()


def test_heal_ends_all_and_says_it(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.status.update({2: "paused", 3: "exited"})
    cluster.files[1], cluster.outlets[2] = '[{"do": "hang"}]', FAILS
    cluster.drained, cluster.mute, cluster.short = {2}, {2}, {1, 2}
    cluster.amiss, cluster.lack = {1}, {2}
    assert heal(cluster, capsys) == [
        "node 2 runs again", "node 1: its clocks are right", "node 1: what stood still goes on",
        "node 1: no faults of its files", "node 1: nobody is exhausted",
        "node 2: its map is whole", "node 2: nobody is exhausted",
        "outlet 2 works", "node 2 is drained no more", "node 3 is off: moslab start 3",
    ]
    assert (cluster.stands, cluster.files[1], cluster.outlets, cluster.drained) == (set(), "[]", {2: WORKS}, set())
    cluster.status[3] = "running"
    assert heal(cluster, capsys) == ["nothing was broken"]


def test_clocks_of_a_node_that_was_off_are_right_when_it_is_back(cluster: Cluster) -> None:
    cluster.status[3], cluster.amiss = "exited", {3}
    made = broken(cluster)
    made.record.begins(CLOCK, 3, "", 0.0)
    made.start = lambda node: cluster.status.update({node: "running"})  # type: ignore[method-assign]
    made.mend()
    assert made.record.lasting()
    made.end()
    assert not cluster.amiss
    assert not made.record.lasting()


def test_clocks_that_another_hand_has_set_right_are_no_longer_wrong(cluster: Cluster) -> None:
    made = broken(cluster)
    made.record.begins(WALL_CLOCK, 2, "", 0.0)
    made.mend()
    assert not made.record.lasting()


def test_what_a_command_before_has_stopped_goes_on_and_that_is_said(cluster: Cluster) -> None:
    made = broken(cluster)
    made.record.begins(STOP, 1, "agent", 0.0)
    cluster.stands = {1}
    assert "node 1: what stood still goes on" in made.mend()
    assert not made.record.lasting()


def test_what_of_a_node_was_shot_meanwhile_is_over(cluster: Cluster) -> None:
    made = broken(cluster)
    mend_inside = made._mend_inside

    def shot(node: int) -> list[str]:
        cluster.status[node] = "exited"
        return mend_inside(node)

    made._mend_inside = shot  # type: ignore[method-assign]
    assert made.mend() == []


def test_each_knows_best_whether_it_is_drained(cluster: Cluster) -> None:
    """Another's view of it is a beat old: who was undrained just now is not ordered to once more."""
    late = {"nodes": [{"id": 2, "drained": True}]}
    made = broken(cluster)
    assert made.undrain({1: late, 2: made.status(2)}) == []
    assert made.undrain({1: late, 2: {}}) == [2]


def test_once_more_stopped_is_one_fault(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    made = broken(cluster)
    monkeypatch.setattr(made, "_inside", lambda *_: [7])
    for signo in (signal.SIGSTOP, signal.SIGSTOP, signal.SIGCONT):
        assert made.signal(1, "agent", signo) == [7]
    assert [(fault.kind, fault.end_s) for fault in made.record.all] == [("stop", 0.0)]


def test_once_more_exhausted_is_one_fault_and_ends_with_the_heal(cluster: Cluster) -> None:
    made = broken(cluster)
    cluster.short = {1}
    for _ in range(2):
        made.exhaust(1, "descriptors")
    assert made.mend() == ["node 1: what stood still goes on", "node 1: nobody is exhausted"]
    assert [(fault.kind, fault.end_s) for fault in made.record.all] == [("exhausted", 0.0)]
