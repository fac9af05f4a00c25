"""Two nodes and an arbitrator, a third one that votes and runs nothing, without STOMITH. Judged by the journals."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import docker
import pytest

from moslab.layout import Options, lease_s
from moslab.progress import Progress
from tests.container.arena import Arena, tables
from tests.container.conftest import Lab

pytestmark = [pytest.mark.container, pytest.mark.xdist_group("two-nodes")]

ARBITRATOR = 3
LEASES_S = 2 * lease_s(3)


@pytest.fixture(scope="module")
def one_trio(client: docker.DockerClient) -> Iterator[Arena]:
    lab = Lab(client, f"t-trio-{uuid.uuid4().hex[:6]}")
    try:
        lab.cluster.up(ARBITRATOR, Progress(), options=Options(stomith=False, tables=tables("tick"), arbitrator=True))
        yield Arena(lab.cluster, ("tick",), False)
    finally:
        lab.end()


@pytest.fixture
def trio(one_trio: Arena) -> Iterator[Arena]:
    """The cluster, whole and running; afterwards nothing has ever run on the arbitrator."""
    one_trio.settle()
    yield one_trio
    assert {interval.node for interval in one_trio.judge().intervals} <= {1, 2}


def test_the_owner_dies(trio: Arena) -> None:
    before = trio.life()
    trio.faults.kill(before.node)
    after = trio.wait_elsewhere("tick", before.node)
    trio.faults.start(before.node)
    trio.settle()
    assert trio.goes_on(after, 0.0), "it stays where it is when the other one comes back"


def test_the_owner_is_cut_off(trio: Arena) -> None:
    before = trio.life()
    trio.faults.cut(trio.around(before.node))
    trio.wait_elsewhere("tick", before.node)


@pytest.mark.parametrize("who", ["arbitrator", "other"])
def test_one_that_runs_nothing_dies_and_comes_back(trio: Arena, who: str) -> None:
    before = trio.life()
    victim = ARBITRATOR if who == "arbitrator" else 3 - before.node
    trio.faults.kill(victim)
    assert trio.goes_on(before, LEASES_S)
    trio.faults.start(victim)
    trio.settle()
    assert trio.goes_on(before, 0.0)


def test_the_arbitrator_and_the_other_one_die(trio: Arena) -> None:
    """The owner is no majority: the group stops with its lease, and runs again when one of them is back."""
    before = trio.life()
    for node in trio.others(before.node):
        trio.faults.kill(node)
    assert not trio.goes_on(before, LEASES_S)
    assert not trio.world.running("tick"), "one of three is no majority"
    trio.faults.start(ARBITRATOR)
    assert trio.wait_again(before).node == before.node, "the other one is still off"
