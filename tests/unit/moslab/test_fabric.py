"""Cutting links of a node that is shot in the middle of it."""

from __future__ import annotations

import io
import tarfile
from typing import Any, cast

import pytest
from docker.errors import NotFound
from docker.models.containers import Container

from moslab.errors import LabError
from moslab.faults import fabric
from moslab.faults.links import FILE, rules
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
