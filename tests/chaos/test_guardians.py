"""Single processes die or stand still: the agent, the leash, the group's own."""

from __future__ import annotations

import pytest

from moslab import Cluster
from tests.chaos.tables import LEASES_S, STUBBORN, TWO


@pytest.mark.parametrize("role", ["leash web", "group web"])
def test_processes_of_the_owner_are_killed(cluster: Cluster, role: str) -> None:
    web = cluster.group("web")
    before = web.run()
    cluster.kill_process(role, on=before.node)
    web.wait_again(before)
    cluster.check()


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_processes_of_the_owner_are_told_to_end(cluster: Cluster, name: str) -> None:
    """By somebody else than their leash, which is deaf to that."""
    web = cluster.group("web")
    before = web.run()
    cluster.signal_process("leash web", name)
    assert web.goes_on(before, LEASES_S)
    cluster.signal_process("group web", name)
    web.wait_again(before)
    cluster.check()


def test_the_agent_of_the_owner_is_killed(cluster: Cluster) -> None:
    """The next one takes over what runs; where it comes too late that ends, and is started again."""
    web = cluster.group("web")
    before = web.run()
    cluster.kill_process("agent", on=before.node)
    if not web.goes_on(before, LEASES_S):
        web.wait_again(before)
    cluster.check()


@pytest.mark.cluster(nodes=3, stomith=False)
def test_agent_stands_still(cluster: Cluster) -> None:
    """The leash is the other guardian: it ends the group with the lease."""
    web = cluster.group("web")
    with cluster.stop_process("agent", on=web):
        web.wait_running(elsewhere=True)
    cluster.check()


@pytest.mark.cluster(nodes=3, stomith=False)
def test_leash_stands_still_and_its_group_is_started_again(cluster: Cluster) -> None:
    """It does not hear that it was extended: the agent, the other guardian, ends both, and nothing moves."""
    web = cluster.group("web")
    before = web.run()
    with cluster.stop_process("leash web"):
        assert web.wait_again(before).node == before.node
    cluster.check()


@pytest.mark.cluster(nodes=3, stomith=False)
def test_leash_stands_still_while_the_owner_is_cut_off(cluster: Cluster) -> None:
    """The agent is the other guardian."""
    web = cluster.group("web")
    with cluster.stop_process("leash web"), cluster.cut(web):
        web.wait_running(elsewhere=True)
    cluster.check()


@pytest.mark.cluster(nodes=3, stomith=False)
def test_agents_of_all_nodes_are_killed(cluster: Cluster) -> None:
    web = cluster.group("web")
    cluster.kill_process("agent", on="all")
    web.wait_running()
    cluster.check()


def test_agents_restart_one_after_the_other(cluster: Cluster) -> None:
    """As with an upgrade."""
    web = cluster.group("web")
    for node in cluster.nodes:
        cluster.restart_agent(node)
        cluster.heal()
    web.wait_running()
    cluster.check()


@pytest.mark.cluster(nodes=3, cltab=STUBBORN, stomith=False)
def test_a_service_that_ignores_term_is_ended_with_the_lease(cluster: Cluster) -> None:
    web = cluster.group("web")
    with cluster.cut(web):
        web.wait_running(elsewhere=True)
    cluster.check()


@pytest.mark.cluster(nodes=3, cltab=TWO)
def test_one_group_fails_and_the_other_goes_on(cluster: Cluster) -> None:
    web, db = cluster.group("web"), cluster.group("db")
    before, other = web.run(), db.run()
    cluster.kill_process("group web")
    web.wait_again(before)
    assert db.goes_on(other, 0.0)
    cluster.check()
