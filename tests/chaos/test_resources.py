"""Nodes run out of room on their disks, of memory, of descriptors."""

from __future__ import annotations

import pytest

from moslab import Cluster
from tests.chaos.tables import LEASES_S


@pytest.mark.cluster(nodes=3)
def test_one_disk_is_full_and_nothing_moves(cluster: Cluster) -> None:
    """A voter that cannot write does not count, and two do."""
    web = cluster.group("web")
    before = web.run()
    with cluster.disturb(next(node for node in cluster.nodes if node != before.node), full=True):
        assert web.goes_on(before, LEASES_S)
    cluster.check()


@pytest.mark.cluster(nodes=5, stomith=False)
def test_disks_of_a_majority_are_full(cluster: Cluster) -> None:
    """A lease is written over what is there, so it goes on; who would be next can add nothing to a journal."""
    web = cluster.group("web")
    before = web.run()
    with cluster.disturb([node for node in cluster.nodes if node != before.node][:3], full=True):
        assert web.goes_on(before, LEASES_S)
        cluster.kill(before.node)
        cluster.sleep(2 * LEASES_S)
        assert not web.runs
    web.wait_running(elsewhere=True)
    cluster.check()


@pytest.mark.cluster(nodes=3)
@pytest.mark.parametrize("what", ["memory", "descriptors"])
def test_the_agent_of_the_owner_is_exhausted(cluster: Cluster, what: str) -> None:
    """Whatever becomes of it, the group runs on one node, and does so after another node has died."""
    web = cluster.group("web")
    other = next(node for node in cluster.nodes if node != web.owner)
    with cluster.exhaust(web, what):
        cluster.sleep(LEASES_S)
        with cluster.kill(other):
            cluster.sleep(LEASES_S)
    web.wait_running()
    cluster.check()
