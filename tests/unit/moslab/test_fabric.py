"""Cutting links of a node that is shot in the middle of it."""

from __future__ import annotations

import io
import tarfile
from types import SimpleNamespace
from typing import Any, cast

import pytest
from docker.errors import NotFound
from docker.models.containers import Container

from moslab.errors import CannotError, LabError
from moslab.faults import fabric
from moslab.faults.links import FILE, HEAD, edited, rules
from moslab.faults.netem import CAN
from moslab.faults.toxics import delay, reset
from moslab.node import Result

RULES = rules("cut-1", frozenset({(2, 1)}), {1: "10.0.0.1", 2: "10.0.0.2"})


class Node:
    """A container, and what it is after each look."""

    name = "node1"

    def __init__(self, *statuses: str) -> None:
        self._statuses = [*statuses]
        self.status = "unknown"
        self.disk: dict[str, str] = {}

    def reload(self) -> None:
        self.status = self._statuses.pop(0) if self._statuses[1:] else self._statuses[0]

    def get_archive(self, path: str) -> Any:
        raise NotFound(path)

    def put_archive(self, path: str, data: bytes) -> bool:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar.getmembers():
                file = tar.extractfile(member)
                self.disk[path + member.name] = file.read().decode() if file else ""
        return True


def change(monkeypatch: pytest.MonkeyPatch, node: Node, *answers: Result | LabError) -> None:
    left = [*answers]

    def run(*_: object) -> Result:
        answer = left.pop(0)
        if isinstance(answer, LabError):
            raise answer
        return answer

    monkeypatch.setattr(fabric, "run", run)
    fabric._change(cast("Container", node), RULES, "")
    assert not left


@pytest.mark.parametrize("failure", [Result(126, "", ""), Result(137, "", ""), LabError("no command runs in node1")])
def test_a_node_that_is_shot_meanwhile_has_its_disk_changed(
    monkeypatch: pytest.MonkeyPatch, failure: Result | LabError
) -> None:
    node = Node("running", "exited")
    change(monkeypatch, node, failure)
    assert RULES in node.disk[FILE]


def test_one_that_boots_while_its_disk_is_changed_is_asked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have read its file before."""
    node = Node("exited", "running")
    change(monkeypatch, node, Result(0, "", ""))
    assert RULES in node.disk[FILE]


def test_one_that_is_being_shot_for_a_while_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    change(monkeypatch, Node("running"), *[Result(126, "", "")] * 5, Result(0, "", ""))


def test_one_that_cannot_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fabric, "EDIT_LIMIT_S", 0.0)
    with pytest.raises(LabError, match="node1 has its links changed: not within 0 s; last seen: no nft here"):
        change(monkeypatch, Node("running"), Result(1, "", "no nft here\n"))


NODES = {1: "10.0.0.1", 2: "10.0.0.2"}


def network(monkeypatch: pytest.MonkeyPatch, netem: Result) -> tuple[fabric.Fabric, dict[int, str]]:
    """Of two nodes without Toxiproxy, whose kernel answers so; what their files have by now."""
    files = dict.fromkeys(NODES, "")

    def run(container: Any, command: list[str], *_: object) -> Result:
        if command == CAN:
            return netem
        called, head, added, healed = command[-4:]
        assert (called, head) == ("cuts", HEAD)
        files[container.number] = edited(files[container.number], added, healed if healed != fabric.NO_MARK else "")
        return Result(0, "", "")

    nodes = {
        node: SimpleNamespace(number=node, status="running", reload=lambda: None, name=f"node{node}") for node in NODES
    }
    made = fabric.Fabric.__new__(fabric.Fabric)
    made._cluster = cast("Any", SimpleNamespace(nodes=lambda: dict(nodes), names=SimpleNamespace(cluster="c")))
    made.networks, made.addresses, made._router = [NODES, {}], NODES, None
    monkeypatch.setattr(fabric, "run", run)
    monkeypatch.setattr(fabric, "read_file", lambda container: files[container.number].encode())
    return made, files


def test_without_toxiproxy_packets_are_late_by_netem(monkeypatch: pytest.MonkeyPatch) -> None:
    made, files = network(monkeypatch, Result(0, "", ""))
    name = made.worsen([(1, 2)], delay(0.2))
    assert "netem delay 200ms" in files[1]
    assert not files[2], "the sender has it"
    cut = made.cut([(2, 1)])
    assert made.cuts() == {name: {(1, 2)}, cut: {(2, 1)}}
    assert made.heal(name) == {name: {(1, 2)}}
    assert made.cuts() == {cut: {(2, 1)}}
    name = made.worsen([(1, 2), (2, 1)], delay(0.2))
    made.heal()
    assert made.cuts() == {}
    assert "tc" not in files[1] + files[2]


def test_without_both_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    made, files = network(monkeypatch, Result(2, "", "Error: Specified qdisc kind is unknown.\n"))
    missing = r"no netem \(NET_SCH_NETEM\): Error: Specified qdisc kind.*\n.*--toxiproxy.*sch_netem"
    with pytest.raises(CannotError, match=missing):
        made.worsen([(1, 2)], delay(0.2))
    assert not any(files.values())


def test_netem_is_for_packets_of_one_network(monkeypatch: pytest.MonkeyPatch) -> None:
    made, files = network(monkeypatch, Result(0, "", ""))
    with pytest.raises(CannotError, match="reset is of connections"):
        made.worsen([(1, 2)], reset())
    made.addresses = {**NODES, 0: "10.0.0.9"}
    with pytest.raises(CannotError, match="the power switch has no files"):
        made.worsen([(0, 1)], delay(0.2))
    made.networks[1] = NODES
    with pytest.raises(CannotError, match="two networks"):
        made.worsen([(1, 2)], delay(0.2))
    assert not any(files.values())
