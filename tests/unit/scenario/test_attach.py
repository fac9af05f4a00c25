"""Which groups a cluster that is up already has, for a test or a command that is lent it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from moslab import journals
from moslab.errors import LabError
from moslab.journals import Life, Look
from moslab.scenario import docker
from moslab.scenario.docker import DockerWorld

NOW_S = 100.0


class Cluster:
    """Two nodes."""

    names = SimpleNamespace(cluster="mosha")

    def nodes(self) -> dict[int, Any]:
        return {node: SimpleNamespace(id=str(node)) for node in (1, 2)}


class Faults:
    """None so far."""

    def __init__(self, _cluster: Cluster) -> None:
        self.zero_s, self.knows_others = 0.0, False
        self.removed: dict[str, Any] = {}

    def now_s(self) -> float:
        return NOW_S

    def ahead_s(self) -> float:
        return 0.0

    def remember(self) -> None:
        assert self.zero_s == NOW_S, "times count from when the world began"
        self.knows_others = True


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What hactl says. Of three groups journals have lines of the last seconds; "web" is on its way just now."""
    lives = [Life(group, 1, 7, "1.1", 50.0, end_s, False, ())
             for group, end_s in (("tick", NOW_S), ("web", NOW_S - 3.0), ("old", NOW_S - 3.0), ("172.20.0.200", NOW_S))]
    found = {"cltab": "web:r:start:respawn:true\n", "hactl": "web start\nkv start\nold stop\ntick start\n"}
    monkeypatch.setattr(journals, "read", lambda _cluster: Look(NOW_S, tuple(lives)))
    monkeypatch.setattr(docker, "read_file", lambda _node, path: found[path.rpartition("/")[2]].encode())
    monkeypatch.setattr(docker, "Faults", Faults)
    monkeypatch.setattr(docker, "Fabric", lambda _cluster: SimpleNamespace(is_routed=False, present=2))
    return found


def attach() -> DockerWorld:
    return DockerWorld.attach(cast(Any, Cluster()))


@pytest.mark.usefixtures("tables")
def test_groups_are_those_of_the_tables_that_write_a_journal_in_their_order() -> None:
    """A ticker that a busy machine held up for a moment, and a group that moves, are no less its groups."""
    world = attach()
    assert world.groups == ("web", "tick")
    assert cast(Any, world.faults).knows_others


def test_where_none_is_it_is_said_and_where_a_table_is_half_made(tables: dict[str, str]) -> None:
    tables["hactl"] = "kv start\n"
    with pytest.raises(LabError, match='"mosha": no group that shall run writes a journal now'):
        attach()
    tables["hactl"] = "web sta rt\nx\n"
    with pytest.raises(LabError, match="hactl of node 1: "):
        attach()
