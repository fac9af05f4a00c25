"""What one command has broken the next one knows, whoever it is: kept in the power switch, here a folder."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from docker.errors import NotFound

from moslab.faults import kept
from moslab.faults.docker import Faults
from moslab.faults.kept import Kept
from moslab.faults.record import CUT, OFF, OUTLET, PAUSE, UNENDED, Event, Fault, Record
from moslab.node import Result

NAME = "cut-1a2b"


class Cluster:
    """Three nodes and a power switch."""

    def __init__(self) -> None:
        self.status = dict.fromkeys((1, 2, 3), "running")
        self.has_switch = True
        self.names = SimpleNamespace(power="power")
        self.client = SimpleNamespace(containers=SimpleNamespace(get=self._switch))

    def nodes(self) -> dict[int, Any]:
        return {node: SimpleNamespace(status=status) for node, status in self.status.items()}

    def _switch(self, _name: str) -> None:
        if not self.has_switch:
            raise NotFound("gone")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    def run(_container: object, command: list[str]) -> Result:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return Result(done.returncode, done.stdout, done.stderr)

    monkeypatch.setattr(kept, "FILE", str(tmp_path / "run/faults"))
    monkeypatch.setattr(kept, "run", run)
    return Cluster()


def program(cluster: Cluster, now_s: float, zero_s: float = 0.0) -> Faults:
    """Another one, at that time of the engine's clock."""
    made = Faults.__new__(Faults)
    made.cluster, made.zero_s = cast(Any, cluster), zero_s
    made.record = Record(lambda: now_s - zero_s)
    made.remember()
    return made


def test_what_one_has_begun_another_one_ends(cluster: Cluster) -> None:
    program(cluster, 7.5).record.begins(CUT, 0, NAME, 7.0, "1>2 2>1")
    other = program(cluster, 9.0)
    assert other.record.lasting() == [(CUT, 0, NAME)]
    other.record.ends(CUT, 0, NAME)
    other.record.ends(CUT, 0, NAME)
    with other.record.instant("SIGKILL", 3, "agent"):
        pass
    assert program(cluster, 20.0, zero_s=10.0).record.all == [
        Fault(CUT, (), "1>2 2>1", -3.0, -1.0), Fault("SIGKILL", (3,), "agent", -1.0, -1.0),
    ]


def test_times_are_kept_of_the_engine_whoever_counts_from_when(cluster: Cluster) -> None:
    program(cluster, 105.0, zero_s=100.0).record.begins(OUTLET, 2, "", 4.0, "fails")
    assert program(cluster, 200.0).record.all == [Fault(OUTLET, (2,), "fails", 104.0, UNENDED)]


def test_what_another_hand_has_ended_is_over(cluster: Cluster) -> None:
    """As docker start, or a shot at a node that is paused."""
    first = program(cluster, 1.0)
    for node, kind in ((1, OFF), (2, OFF), (3, PAUSE)):
        first.record.begins(kind, node, "", 1.0)
    cluster.status.update({2: "exited", 3: "exited"})
    assert program(cluster, 5.0).record.lasting() == [(OFF, 2, "")]
    assert {fault.nodes: fault.end_s for fault in program(cluster, 9.0).record.all} == {
        (1,): 5.0, (2,): UNENDED, (3,): 5.0,
    }


def test_a_line_that_is_none_is_left_out(cluster: Cluster) -> None:
    event = Event(OFF, 1, "", 1.0, 2.0)
    Kept(cast(Any, cluster)).add(event)
    with Path(kept.FILE).open("a") as file:
        file.write('{}\n[]\n["off", 1, "", 1.0, "x", ""]\n["off", 1, "", 3.0\n')
    Kept(cast(Any, cluster)).add(event)
    assert Kept(cast(Any, cluster)).read() == [event, event]


def test_the_oldest_are_forgotten(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FILE_BYTES_MAX", 200)
    made = Kept(cast(Any, cluster))
    for at in range(50):
        made.add(Event("move", 1, "it's web to 2", float(at), at + 0.5))
    found = [event.begin_s for event in made.read()]
    assert found == [float(at) for at in range(50 - len(found), 50)]
    assert 4 <= len(found) <= 10


def test_where_the_power_switch_has_died_things_are_broken_and_healed_all_the_same(cluster: Cluster) -> None:
    cluster.has_switch = False
    record = program(cluster, 1.0).record
    record.begins(CUT, 0, NAME, 1.0)
    record.ends(CUT, 0, NAME)
    assert [fault.end_s for fault in record.all] == [1.0]
    assert program(cluster, 1.0).record.all == []
