"""What may happen to a cluster, the same in every world: `make test` has it simulated, `make chaos` in containers."""

from __future__ import annotations

import pytest

from moslab import Cluster
from moslab.layout import lease_s

LEASES_S = 2 * lease_s(5)        # in which whatever could move has moved
TWO = "web:web-run:start:respawn:sleep infinity\ndb:db-dir:start:wait:true\ndb:db-run:start:respawn:sleep infinity\n"


def test_owner_is_cut_off(cluster: Cluster) -> None:
    web = cluster.group("web")
    with cluster.cut(web.owner):
        web.wait_running(elsewhere=True)
    cluster.check()


def test_owner_dies_and_comes_back(cluster: Cluster) -> None:
    web = cluster.group("web")
    with cluster.kill(web):
        after = web.wait_running(elsewhere=True)
    cluster.check()
    assert web.run()[:5] == after[:5], "it stays where it is when a node comes back"


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


@pytest.mark.cluster(nodes=3, stomith=False)
def test_agent_stands_still(cluster: Cluster) -> None:
    """The leash is the other guardian: it ends the group with the lease."""
    web = cluster.group("web")
    with cluster.stop_process("agent", on=web):
        web.wait_running(elsewhere=True)
    cluster.check()


@pytest.mark.parametrize("role", ["agent", "leash web", "group web"])
def test_processes_of_the_owner_are_killed(cluster: Cluster, role: str) -> None:
    web = cluster.group("web")
    before = web.run()
    cluster.kill_process(role, on=before.node)
    web.wait_again(before)
    cluster.check()


@pytest.mark.cluster(nodes=4, stomith=False)
def test_halves_have_no_majority(cluster: Cluster) -> None:
    """Of four nodes neither half may run anything; after the heal all runs again."""
    web = cluster.group("web")
    with cluster.cut("half"):
        web.wait_stopped()
        cluster.sleep(LEASES_S)
        assert not web.runs
    web.wait_running()
    cluster.check()


def test_minority_is_cut_off_and_the_majority_runs(cluster: Cluster) -> None:
    web = cluster.group("web")
    others = [node for node in cluster.nodes if node != web.owner][:1]
    minority = [web.owner, *others]
    with cluster.cut(minority):
        assert web.wait_running(elsewhere=True).node not in minority
    cluster.check()


def test_one_blind_observer_moves_nothing(cluster: Cluster) -> None:
    web = cluster.group("web")
    before = web.run()
    blind = next(node for node in cluster.nodes if node != before.node)
    with cluster.cut(before.node, from_=blind, one_way=True):
        assert web.goes_on(before, LEASES_S)
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


def test_cuts_overlap(cluster: Cluster) -> None:
    """Each is healed by itself: the owner hears one other node only when both are."""
    web = cluster.group("web")
    owner = web.owner
    one = cluster.cut(owner)
    with cluster.cut(owner, from_="not " + str(owner), one_way=True):
        one.heal()
        web.wait_running(elsewhere=True)
    cluster.check()


def test_everything_loses_power_at_once(cluster: Cluster) -> None:
    web = cluster.group("web")
    with cluster.kill("all"):
        cluster.eventually(cluster.world.off, lambda off: len(off) == len(cluster.nodes), what="all are off")
    web.wait_running()
    cluster.check()
