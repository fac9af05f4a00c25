"""A register behind real agents, and what its clients saw: linearizable, and not where it is badly made."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Callable

import docker
import pytest

from moslab.demo import register
from moslab.history.checkers import INVALID
from moslab.history.record import INFO, OK, WRITE
from moslab.progress import Progress
from moslab.scenario.clients import KEYS_MAX
from moslab.scenario.cluster import Cluster
from moslab.scenario.docker import DockerWorld
from moslab.scenario.world import Spec

pytestmark = pytest.mark.container

NODES = 3
AT_LEAST = 30                    # acknowledged writes, in each part of a scenario
OWN_DISK = "reg:reg-run:start:respawn:/usr/lib/mosha/demo/register /var/register\n"


@pytest.fixture
def cluster_of(client: docker.DockerClient) -> Iterator[Callable[[str], Cluster]]:
    """Makes clusters of three nodes with that cltab."""
    worlds: list[DockerWorld] = []

    def make(cltab: str) -> Cluster:
        name = f"t-register-{uuid.uuid4().hex[:6]}"
        worlds.append(DockerWorld.begin(client, name, Spec(NODES, cltab=cltab), Progress()))
        cluster = Cluster(worlds[-1], 0)
        cluster.heal()
        return cluster

    yield make
    for world in worlds:
        world.close()


@pytest.mark.long
def test_acknowledged_writes_survive_the_death_of_their_owner(cluster_of: Callable[[str], Cluster]) -> None:
    cluster = cluster_of(register(NODES))
    reg = cluster.group("reg")
    with cluster.clients(reg) as clients:
        for _ in range(2):
            clients.wait_acknowledged(AT_LEAST)
            with cluster.kill(reg.owner):
                reg.wait_running(elsewhere=True)
                clients.wait_acknowledged(AT_LEAST)
    history = cluster.check().history
    assert history is not None
    print(f"{len(history.operations)} operations, {sum(one.outcome == INFO for one in history.operations)} unanswered")
    written = [one for one in history.operations if (one.kind, one.outcome) == (WRITE, OK)]
    assert len(written) >= 4 * AT_LEAST
    assert len({one.node for one in written}) > 1, "it never moved"
    assert len({interval.epoch for interval in history.intervals if interval.group == "reg"}) >= 3


@pytest.mark.long
def test_a_register_that_acknowledges_before_others_have_it_is_invalid(cluster_of: Callable[[str], Cluster]) -> None:
    """Each node keeps it on its own disk only. Nothing else is wrong with that cluster."""
    cluster = cluster_of(OWN_DISK)
    reg = cluster.group("reg")
    with cluster.clients(reg, keys=KEYS_MAX) as clients:         # of one at least the first that is asked is a read
        clients.wait_acknowledged(AT_LEAST)
        with cluster.kill(reg.owner):
            reg.wait_running(elsewhere=True)
            clients.wait_acknowledged(AT_LEAST)
    verdict = cluster.judge()
    assert verdict.word == INVALID
    assert {problem.partition(":")[0] for problem in verdict.problems} == {"linear"}
    print("\n".join(verdict.problems))
