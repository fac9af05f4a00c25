"""Links are cut: of one node, of halves, one way, in rings and bridges, again and again."""

from __future__ import annotations

import pytest

from moslab import Cluster
from tests.chaos.tables import LEASES_S


@pytest.mark.parametrize("nodes", [3, 5, 8])
def test_owner_is_cut_off(clusters, nodes: int) -> None:  # type: ignore[no-untyped-def]
    cluster = clusters(nodes=nodes)
    web = cluster.group("web")
    with cluster.cut(web.owner):
        web.wait_running(elsewhere=True)
    cluster.check()


@pytest.mark.cluster(nodes=3, stomith=False)
def test_owner_is_cut_off_where_nobody_can_be_shot(cluster: Cluster) -> None:
    web = cluster.group("web")
    with cluster.cut(web.owner):
        web.wait_running(elsewhere=True)
    cluster.check()


def test_owner_is_cut_off_from_the_power_switch_too(cluster: Cluster) -> None:
    """It can shoot nobody, and is shot."""
    web = cluster.group("web")
    with cluster.cut(web.owner, power=True):
        web.wait_running(elsewhere=True)
    cluster.check()


def test_owner_is_not_heard(cluster: Cluster) -> None:
    web = cluster.group("web")
    with cluster.cut(web.owner, one_way=True):
        web.wait_running(elsewhere=True)
    cluster.check()


def test_owner_hears_nobody(cluster: Cluster) -> None:
    web = cluster.group("web")
    owner = web.owner
    with cluster.cut([node for node in cluster.nodes if node != owner], from_=owner, one_way=True):
        web.wait_running(elsewhere=True)
    cluster.check()


def test_one_blind_observer_moves_nothing(cluster: Cluster) -> None:
    web = cluster.group("web")
    before = web.run()
    blind = next(node for node in cluster.nodes if node != before.node)
    with cluster.cut(before.node, from_=blind, one_way=True):
        assert web.goes_on(before, LEASES_S)
    cluster.check()


@pytest.mark.cluster(nodes=5, stomith=False)
def test_another_node_is_cut_off_and_nothing_moves(cluster: Cluster) -> None:
    web = cluster.group("web")
    before = web.run()
    with cluster.cut(next(node for node in cluster.nodes if node != before.node)):
        assert web.goes_on(before, LEASES_S)
    cluster.check()


@pytest.mark.parametrize("nodes", [4, 6])
def test_halves_have_no_majority(clusters, nodes: int) -> None:  # type: ignore[no-untyped-def]
    """Neither half may run anything; after the heal all runs again."""
    cluster = clusters(nodes=nodes, stomith=False)
    web = cluster.group("web")
    halves = [range(1, nodes // 2 + 1), range(nodes // 2 + 1, nodes + 1)]
    with cluster.split(*halves):
        cluster.sleep(LEASES_S)
        voters = nodes - 1 + nodes % 2                       # of an even number one node has no vote
        on = {run.node for run in web.runs}
        assert on <= set(halves[0]) if len(halves[0]) > voters // 2 else not on
    web.wait_running()
    cluster.check()


@pytest.mark.cluster(nodes=5)
def test_minority_is_cut_off_and_the_majority_runs(cluster: Cluster) -> None:
    web = cluster.group("web")
    others = [node for node in cluster.nodes if node != web.owner][:1]
    minority = [web.owner, *others]
    with cluster.cut(minority):
        assert web.wait_running(elsewhere=True).node not in minority
    cluster.check()


@pytest.mark.cluster(nodes=5)
def test_three_parts_have_no_majority(cluster: Cluster) -> None:
    """Of five: 2, 2 and 1. Nobody runs anything, or shoots anybody."""
    web = cluster.group("web")
    with cluster.split([1, 2], [3, 4], [5]):
        web.wait_stopped()
        cluster.sleep(LEASES_S)
        assert not web.runs
        assert not cluster.world.off()
    web.wait_running()
    cluster.check()


@pytest.mark.cluster(nodes=5, stomith=False)
def test_a_bridge_holds_two_halves(cluster: Cluster) -> None:
    """Node 3 hears all; each half has a majority with it, and still there is one owner."""
    web = cluster.group("web")
    with cluster.split([1, 2, 3], [3, 4, 5]):
        cluster.sleep(LEASES_S)
        web.wait_running()
    cluster.check()


@pytest.mark.cluster(nodes=5, stomith=False)
def test_each_node_hears_another_majority(cluster: Cluster) -> None:
    web = cluster.group("web")
    with cluster.ring():
        cluster.sleep(LEASES_S)
        web.wait_running()
    cluster.check()


def test_cuts_overlap(cluster: Cluster) -> None:
    """Each is healed by itself: the owner hears one other node only when both are."""
    web = cluster.group("web")
    owner = web.owner
    one = cluster.cut(owner)
    with cluster.cut(owner, from_="not " + str(owner), one_way=True):
        one.heal()
        web.wait_running(elsewhere=True)
    cluster.check()


@pytest.mark.cluster(nodes=5, stomith=False)
@pytest.mark.parametrize("every", [0.3, 1.7])
def test_links_of_the_owner_flap(cluster: Cluster, every: float) -> None:
    web = cluster.group("web")
    cluster.flap(web, every=every, times=5)
    web.wait_running()
    cluster.check()


@pytest.mark.cluster(nodes=3, networks=2)
@pytest.mark.parametrize("network", [1, 2])
def test_owner_is_cut_off_in_one_of_two_networks_and_nothing_moves(cluster: Cluster, network: int) -> None:
    web = cluster.group("web")
    before = web.run()
    with cluster.cut(before.node, network=network):
        assert web.goes_on(before, LEASES_S)
    cluster.check()


@pytest.mark.cluster(nodes=5, stomith=False)
def test_a_cut_wanders(cluster: Cluster) -> None:
    """Whoever runs it is cut off, and the one before comes back."""
    web = cluster.group("web")
    for _ in range(3):
        with cluster.cut(web):
            web.wait_running(elsewhere=True)
    cluster.check()
