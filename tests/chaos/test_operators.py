"""What operators do, well and badly, and while things break."""

from __future__ import annotations

import pytest

from moslab import Cluster
from tests.chaos.tables import LEASES_S, TWO, WEB


def test_a_group_is_moved(cluster: Cluster) -> None:
    web = cluster.group("web")
    target = next(node for node in cluster.nodes if node != web.owner)
    cluster.move(web, target)
    assert web.wait_running(elsewhere=True).node == target
    cluster.check()


def test_the_target_of_a_move_dies(cluster: Cluster) -> None:
    web = cluster.group("web")
    target = next(node for node in cluster.nodes if node != web.owner)
    cluster.move(web, target)
    with cluster.kill(target):
        cluster.eventually(lambda: {run.node for run in web.runs}, lambda on: len(on) == 1 and target not in on,
                           what="it runs on another node")
    cluster.check()


def test_a_node_is_drained(cluster: Cluster) -> None:
    web = cluster.group("web")
    owner = web.owner
    with cluster.drain(owner):
        assert web.wait_running(elsewhere=True).node != owner
        with cluster.kill(web):
            assert web.wait_running(elsewhere=True).node != owner, "a drained node takes nothing"
    cluster.check()


@pytest.mark.cluster(nodes=3, stomith=False)
def test_owner_is_taken_off_the_map_and_joins_again(cluster: Cluster) -> None:
    web = cluster.group("web")
    owner = web.owner
    with cluster.unmap(owner):
        assert web.wait_running(elsewhere=True).node != owner
    cluster.check()


@pytest.mark.cluster(nodes=4)
def test_a_new_machine_joins(cluster: Cluster) -> None:
    """It has an empty disk, and was on nobody's map; nothing moves."""
    web = cluster.group("web")
    before = web.run()
    new = next(node for node in cluster.nodes if node != before.node)
    with cluster.kill(new), cluster.unmap(new):
        cluster.lose_disk(new)
        cluster.sleep(LEASES_S)
    cluster.heal()
    assert web.goes_on(before, LEASES_S)
    cluster.check()


@pytest.mark.cluster(nodes=3)
def test_a_table_that_is_none_disturbs_nothing(cluster: Cluster) -> None:
    web = cluster.group("web")
    before = web.run()
    for table in ("cltab", "hactl"):
        cluster.edit(before.node, table, "this: is no\ntable at all\n")
    assert web.goes_on(before, LEASES_S)
    cluster.check()


@pytest.mark.cluster(nodes=3)
def test_an_edit_moves_nothing(cluster: Cluster) -> None:
    web = cluster.group("web")
    before = web.run()
    cluster.edit(1, "cltab", "# a comment\n" + WEB)
    assert web.goes_on(before, LEASES_S)
    cluster.check()


@pytest.mark.cluster(nodes=5, cltab=TWO)
def test_a_table_is_edited_while_its_node_is_cut_off(cluster: Cluster) -> None:
    """The edit is not lost: it comes to the others after the heal."""
    web = cluster.group("web")
    owner = web.owner
    alone = next(node for node in cluster.nodes if node != owner)
    with cluster.cut(alone):
        cluster.edit(alone, "hactl", "# edited alone\nweb start\ndb start\n")
        cluster.sleep(LEASES_S)
    web.wait_running()
    cluster.check()


def test_the_owner_dies_just_after_an_edit(cluster: Cluster) -> None:
    web = cluster.group("web")
    owner = web.owner
    cluster.edit(owner, "hactl", "# edited\nweb start\n")
    with cluster.kill(owner):
        web.wait_running(elsewhere=True)
    cluster.check()
