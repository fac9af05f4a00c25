"""Shots that fail, lie, come late, or come while something else is broken."""

from __future__ import annotations

import pytest

from moslab import Cluster
from tests.chaos.tables import LEASES_S


@pytest.mark.parametrize("how", ["fails", "lies", "slow"])
def test_owner_dies_and_its_outlet_is_broken(cluster: Cluster, how: str) -> None:
    """A failed STOMITH never frees a group; the end of the lease does."""
    web = cluster.group("web")
    with cluster.break_outlet("all", how), cluster.kill(web):
        web.wait_running(elsewhere=True)
    cluster.check()


@pytest.mark.parametrize("how", ["fails", "lies", "slow"])
def test_owner_is_cut_off_and_its_outlet_is_broken(cluster: Cluster, how: str) -> None:
    """It lives on, and its own guardians end the group before another node starts it."""
    web = cluster.group("web")
    with cluster.break_outlet("all", how), cluster.cut(web):
        web.wait_running(elsewhere=True)
    cluster.check()


@pytest.mark.cluster(nodes=2)
def test_two_nodes_that_do_not_hear_each_other(cluster: Cluster) -> None:
    """One shoots the other, and runs it."""
    web = cluster.group("web")
    with cluster.cut(1):
        cluster.eventually(cluster.world.off, lambda off: len(off) == 1, what="one is shot")
        left = next(node for node in cluster.nodes if node not in cluster.world.off())
        cluster.eventually(lambda: {run.node for run in web.runs}, lambda on: on == {left}, what="the other runs it")
    cluster.check()


@pytest.mark.cluster(nodes=2)
def test_the_other_of_two_nodes_dies(cluster: Cluster) -> None:
    web = cluster.group("web")
    before = web.run()
    with cluster.kill(3 - before.node):
        cluster.sleep(LEASES_S)
        web.wait_running()
    cluster.check()


@pytest.mark.cluster(nodes=2)
def test_neither_of_two_nodes_can_shoot(cluster: Cluster) -> None:
    """Then neither runs it: one vote of two, and no shot that is confirmed."""
    web = cluster.group("web")
    with cluster.break_outlet("all", "fails"), cluster.cut(1):
        web.wait_stopped()
        cluster.sleep(LEASES_S)
        assert not web.runs
    web.wait_running()
    cluster.check()


def test_a_node_that_was_shot_comes_back(cluster: Cluster) -> None:
    web = cluster.group("web")
    cluster.pause(owner := web.owner)
    web.wait_running(elsewhere=True)
    cluster.eventually(cluster.world.off, lambda off: off == [owner], what=f"node {owner} is shot")
    cluster.start(owner)
    cluster.check()
