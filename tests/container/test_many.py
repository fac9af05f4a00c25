"""Many nodes on one machine: 32 in a scenario, 64 that start. How long it takes is told, not asserted."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import docker
import pytest

from moslab import bench
from moslab.layout import NODES_MAX, lease_s
from moslab.namespaces.own import OwnEngine
from moslab.progress import Progress
from moslab.removal import is_anything_left
from moslab.scenario.cluster import Cluster
from moslab.scenario.docker import DockerWorld
from moslab.scenario.world import DOCKER, NAMESPACES, Spec

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("many"), pytest.mark.timeout(1800)]

MANY = 32
LEASES = 20
"""In so many a group has come back, on a machine that is busy with so many nodes."""


class Took:
    """How long the parts of a run took, and the machine's load after each: ``out/bench/NAME.json``."""

    def __init__(self, name: str) -> None:
        self._name, self._since_s = name, time.monotonic()
        self._rows: list[dict[str, object]] = []

    def tell(self, what: str) -> None:
        now_s = time.monotonic()
        self._rows += [bench.row(what, "s", 1, now_s - self._since_s, None),
                       bench.row(f"{what}: load", "", 1, os.getloadavg()[0], None)]
        self._since_s = now_s
        bench.write(self._name, self._rows)


@contextmanager
def engine(world: str, request: pytest.FixtureRequest) -> Iterator[tuple[docker.DockerClient, OwnEngine | None]]:
    """The container engine, or one of namespaces."""
    if world == DOCKER:
        yield request.getfixturevalue("client"), None
        return
    own = OwnEngine()
    try:
        yield own.client(), own
    finally:
        own.close()


@contextmanager
def world_of(nodes: int, name: str, request: pytest.FixtureRequest, took: Took) -> Iterator[DockerWorld]:
    """A cluster of so many; nothing of it is left."""
    with engine(name, request) as (client, own):
        label = f"t-many-{uuid.uuid4().hex[:6]}"
        world = DockerWorld.begin(client, label, Spec(nodes), Progress(), own)
        try:
            took.tell("start")
            yield world
        finally:
            world.close()
            took.tell("removal")
        assert not is_anything_left(client, label)


@pytest.mark.parametrize("name", [NAMESPACES, DOCKER])
def test_an_owner_of_32_nodes_dies(name: str, request: pytest.FixtureRequest) -> None:
    took, within_s = Took(f"many-{MANY}-{name}"), LEASES * lease_s(MANY)
    with world_of(MANY, name, request, took) as world:
        cluster = Cluster(world, 7)
        web = cluster.group("web")
        owner = web.run(within_s).node
        with cluster.kill(owner):
            web.wait_running(elsewhere=True, within=within_s)
            took.tell("death of the owner, until it runs elsewhere")
            assert cluster.world.off() == [owner]
        cluster.check()
        took.tell("heal and verdict")


@pytest.mark.parametrize("name", [NAMESPACES, DOCKER])
def test_64_nodes_start(name: str, request: pytest.FixtureRequest) -> None:
    took = Took(f"many-{NODES_MAX}-{name}")
    with world_of(NODES_MAX, name, request, took) as world:
        world.settle()
        took.tell("all agents see all nodes up, and the group runs on one")
        assert len(world.nodes) == NODES_MAX
        assert world.off() == []
        assert world.history().intervals
