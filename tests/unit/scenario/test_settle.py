"""A heal waits as long as a start of as many nodes does: their leases are longer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from moslab import journals
from moslab.errors import LabError
from moslab.layout import lease_s
from moslab.node import Result
from moslab.scenario import docker
from moslab.scenario.world import Spec


def waits_s(monkeypatch: pytest.MonkeyPatch, size: int) -> set[float]:
    seen: set[float] = set()
    monkeypatch.setattr(docker, "eventually", lambda *_, within_s, **__: seen.add(within_s))
    nodes = dict.fromkeys(range(1, size + 1))
    world = docker.DockerWorld.__new__(docker.DockerWorld)
    world.cluster, world.spec, world._guard = cast("Any", SimpleNamespace(nodes=lambda: nodes)), Spec(size), None
    world._faults = cast("Any", SimpleNamespace(end=lambda: None, undrain=lambda _: None))
    world._seen = {}
    world.settle()
    return seen


def test_what_was_judged_before_it_was_lent_again_may_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tickers keep so many runs of a node: of a cluster that is used for hours the first ones go."""
    looks = iter([journals.Look(50.0, ()), *[journals.Look(90.0, (), (), (journals.Forgotten("web", "1", 49.0),))] * 2,
                  journals.Look(99.0, (), (), (journals.Forgotten("web", "1", 51.0),))])
    monkeypatch.setattr(journals, "read", lambda *_: next(looks))
    monkeypatch.setattr(docker, "_files", lambda _: 1)
    world = docker.DockerWorld.__new__(docker.DockerWorld)
    world.cluster = cast("Any", SimpleNamespace(nodes=dict))
    world._faults = cast("Any", SimpleNamespace(zero_s=0.0))
    world._logs = cast("Any", SimpleNamespace(look=lambda _: None, crashes=[], missed=[]))
    world._workloads, world._read_s, world._judged_s = [], 0.0, 0.0
    assert world.history().unfinished == ""
    assert "forgotten" in world.history().unfinished, "it is the same test"
    world._read_s = 50.0
    world.is_judged()
    assert world.history().unfinished == ""
    assert "forgotten" in world.history().unfinished, "it was never judged"


def test_an_agents_directory_that_cannot_be_read_is_not_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([Result(0, "a\nb\n", ""), Result(2, "", "ls: cannot access")])
    monkeypatch.setattr(docker, "run", lambda *_: next(answers))
    node = cast("Any", SimpleNamespace(name="node1"))
    assert docker._files(node) == 2
    with pytest.raises(LabError, match="the agent's directory on node1: ls: cannot access"):
        docker._files(node)


def test_a_heal_of_many_nodes_has_some_of_their_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    (few_s,), (many_s,) = waits_s(monkeypatch, 5), waits_s(monkeypatch, 64)
    assert many_s - few_s >= 10 * (lease_s(64) - lease_s(5))
