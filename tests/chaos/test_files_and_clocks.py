"""Files of other nodes that fail or hang, and clocks that are wrong."""

from __future__ import annotations

import pytest

from moslab import Cluster
from tests.chaos.tables import LEASES_S


def test_files_of_one_node_fail_and_nothing_moves(cluster: Cluster) -> None:
    """One voter that answers badly is no majority that does."""
    web = cluster.group("web")
    before = web.run()
    with cluster.disturb(next(node for node in cluster.nodes if node != before.node), error=1.0):
        assert web.goes_on(before, LEASES_S)
    cluster.check()


@pytest.mark.cluster(nodes=5, stomith=False)
@pytest.mark.parametrize(("error", "hang"), [(0.1, 0.0), (0.0, 0.02)])
def test_files_of_all_nodes_are_disturbed(cluster: Cluster, error: float, hang: float) -> None:
    web = cluster.group("web")
    with cluster.disturb("all", error=error, hang=hang):
        cluster.sleep(2 * LEASES_S)
    web.wait_running()
    cluster.check()


@pytest.mark.cluster(nodes=5, stomith=False)
def test_files_of_a_majority_hang(cluster: Cluster) -> None:
    """As if it were dead: nobody else may start it, and after the heal it runs."""
    web = cluster.group("web")
    owner = web.owner
    with cluster.disturb([node for node in cluster.nodes if node != owner][:3], hang=1.0):
        web.wait_stopped()
    web.wait_running()
    cluster.check()


@pytest.mark.parametrize("by_s", [-86400.0, 86400.0])
def test_the_wall_clock_of_the_owner_jumps_and_nothing_moves(cluster: Cluster, by_s: float) -> None:
    """No promise is about wall clocks: neither there nor back."""
    web = cluster.group("web")
    before = web.run()
    with cluster.jump_clock(before.node, by_s):
        assert web.goes_on(before, LEASES_S)
    assert web.goes_on(before, LEASES_S)
    cluster.check()


@pytest.mark.cluster(nodes=3)
@pytest.mark.parametrize("by", [-0.08, 0.08])
def test_a_clock_that_is_slewed_by_more_than_leases_bear_is_found_out(cluster: Cluster, by: float) -> None:
    """What it holds ends, and begins again with a new identity."""
    web = cluster.group("web")
    before = web.run()
    with cluster.slew_clock(before.node, by):
        web.wait_again(before)
    said = [line.text for line in cluster.world.log() if line.node == before.node]
    assert any("the clocks of this machine went apart" in text for text in said)
    cluster.check()


@pytest.mark.cluster(nodes=3)
@pytest.mark.parametrize("by", [-0.008, 0.008])
def test_the_clock_of_the_owner_drifts_and_nothing_moves(cluster: Cluster, by: float) -> None:
    web = cluster.group("web")
    before = web.run()
    with cluster.slew_clock(web, by):
        assert web.goes_on(before, 2 * LEASES_S)
    assert web.goes_on(before, LEASES_S)
    cluster.check()


@pytest.mark.cluster(nodes=3, stomith=False)
@pytest.mark.parametrize("by", [-0.008, 0.008])
def test_the_clock_of_the_owner_drifts_while_it_is_cut_off(cluster: Cluster, by: float) -> None:
    """Within the drift that leases allow for, which is 1 %."""
    web = cluster.group("web")
    with cluster.slew_clock(web, by), cluster.cut(web):
        web.wait_running(elsewhere=True)
    cluster.check()
