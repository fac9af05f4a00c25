"""A heal waits as long as a start of as many nodes does: their leases are longer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from moslab.layout import lease_s
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


def test_a_heal_of_many_nodes_has_some_of_their_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    (few_s,), (many_s,) = waits_s(monkeypatch, 5), waits_s(monkeypatch, 64)
    assert many_s - few_s >= 10 * (lease_s(64) - lease_s(5))
