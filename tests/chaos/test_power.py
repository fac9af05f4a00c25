"""Nodes die: one, several, all; alone and again; with their disks and without."""

from __future__ import annotations

import pytest

from moslab import Cluster
from tests.chaos.tables import FOUR, LEASES_S, TWO


@pytest.mark.parametrize("nodes", [2, 3, 4, 5, 6, 8])
def test_owner_dies_and_comes_back(clusters, nodes: int) -> None:  # type: ignore[no-untyped-def]
    cluster = clusters(nodes=nodes)
    web = cluster.group("web")
    with cluster.kill(web):
        after = web.wait_running(elsewhere=True)
    cluster.check()
    assert web.run()[:5] == after[:5], "it stays where it is when a node comes back"


@pytest.mark.cluster(nodes=3, stomith=False)
def test_owner_dies_where_nobody_can_be_shot(cluster: Cluster) -> None:
    web = cluster.group("web")
    with cluster.kill(web):
        web.wait_running(elsewhere=True)
    cluster.check()


@pytest.mark.cluster(nodes=3, stomith=False)
def test_owner_reboots_in_order(cluster: Cluster) -> None:
    """It gives up what it has before its power goes."""
    web = cluster.group("web")
    before = web.run()
    cluster.reboot(before.node)
    web.wait_again(before)
    cluster.check()


def test_another_node_dies_and_nothing_moves(cluster: Cluster) -> None:
    web = cluster.group("web")
    before = web.run()
    with cluster.kill(next(node for node in cluster.nodes if node != before.node)):
        assert web.goes_on(before, LEASES_S)
    cluster.check()


@pytest.mark.cluster(nodes=5)
def test_owner_after_owner_dies(cluster: Cluster) -> None:
    """Two of five: the majority is left, and runs it."""
    web = cluster.group("web")
    for _ in range(2):
        cluster.kill(web)
        web.wait_running(elsewhere=True)
    cluster.check()


@pytest.mark.cluster(nodes=5, stomith=False)
def test_a_minority_is_left_and_runs_nothing(cluster: Cluster) -> None:
    web = cluster.group("web")
    owner = web.owner
    others = [node for node in cluster.nodes if node != owner]
    with cluster.kill(others[:3]):
        web.wait_stopped()
        cluster.sleep(LEASES_S)
        assert not web.runs
    web.wait_running()
    cluster.check()


def test_a_majority_dies_at_once_and_comes_back(cluster: Cluster) -> None:
    with cluster.kill("majority"):
        cluster.sleep(LEASES_S)
    cluster.group("web").wait_running()
    cluster.check()


@pytest.mark.parametrize("nodes", [3, 5])
def test_everything_loses_power_at_once(clusters, nodes: int) -> None:  # type: ignore[no-untyped-def]
    cluster = clusters(nodes=nodes)
    web = cluster.group("web")
    with cluster.kill("all"):
        cluster.eventually(cluster.world.off, lambda off: len(off) == nodes, what="all are off")
    web.wait_running()
    cluster.check()


def test_a_majority_boots_and_the_rest_stays_off(cluster: Cluster) -> None:
    web = cluster.group("web")
    cluster.kill("all")
    cluster.start([1, 2, 3])
    assert web.wait_running().node in (1, 2, 3)
    cluster.check()


@pytest.mark.cluster(nodes=4, cltab=FOUR)
def test_each_group_of_a_dead_node_is_taken_over(cluster: Cluster) -> None:
    names = ("a", "b", "c", "d")
    lost = cluster.group("a").owner
    with cluster.kill(lost):
        for name in names:
            group = cluster.group(name)
            cluster.eventually(
                lambda group=group: {run.node for run in group.runs}, lambda on: len(on) == 1 and lost not in on,  # type: ignore[misc]
                what=f"{name} runs on one of the others",
            )
    cluster.check()


@pytest.mark.cluster(cltab=TWO)
def test_a_node_that_loses_its_disk_rejoins(cluster: Cluster) -> None:
    lost = cluster.group("db").owner
    cluster.kill(lost)
    cluster.lose_disk(lost)
    for name in ("web", "db"):
        cluster.eventually(
            lambda name=name: cluster.group(name).owner, lambda node: node != lost, what=f"{name} is elsewhere",  # type: ignore[misc]
        )
    cluster.start(lost)
    cluster.check()


def test_disks_are_lost_one_after_the_other(cluster: Cluster) -> None:
    """Each voter has copied what the others know before the next forgets."""
    web = cluster.group("web")
    for node in (1, 2, 3):
        cluster.kill(node)
        cluster.lose_disk(node)
        cluster.start(node)
        cluster.heal()
    web.wait_running()
    cluster.check()


@pytest.mark.cluster(nodes=4, stomith=False)
def test_owner_is_frozen_and_thaws(cluster: Cluster) -> None:
    web = cluster.group("web")
    with cluster.pause(web):
        web.wait_running(elsewhere=True)
    cluster.check()


def test_frozen_owner_is_shot(cluster: Cluster) -> None:
    web = cluster.group("web")
    cluster.pause(owner := web.owner)
    web.wait_running(elsewhere=True)
    cluster.eventually(cluster.world.off, lambda off: off == [owner], what=f"node {owner} is shot")
    cluster.check()


@pytest.mark.cluster(nodes=5, stomith=False)
def test_a_majority_is_frozen_and_thaws(cluster: Cluster) -> None:
    """The owner has no majority while they stand still: it stops, and nobody else may start."""
    web = cluster.group("web")
    owner = web.owner
    with cluster.pause([node for node in cluster.nodes if node != owner][:3]):
        web.wait_stopped()
    web.wait_running()
    cluster.check()


@pytest.mark.cluster(nodes=8)
def test_less_than_a_third_lose_their_power(cluster: Cluster) -> None:
    """As many as may be anything in protocols that bear traitors: here they are just off."""
    web = cluster.group("web")
    assert len(cluster.whom("minority third")) == 2
    with cluster.kill("minority third"):
        web.wait_running()
    cluster.check()
