"""What a register has acknowledged survives its owner, and nobody reads anything older."""

from __future__ import annotations

import pytest

from moslab import Cluster
from moslab.demo import register
from tests.chaos.tables import LEASES_S


@pytest.mark.cluster(nodes=3, cltab=register(3))
def test_acknowledged_writes_survive_the_death_of_the_owner(cluster: Cluster) -> None:
    reg = cluster.group("reg")
    with cluster.clients(reg) as clients:
        for _ in range(2):
            clients.wait_acknowledged(20)
            with cluster.kill(reg.owner):                    # amid what they write
                reg.wait_running(elsewhere=True)
                clients.wait_acknowledged(20)
    cluster.check()


@pytest.mark.cluster(nodes=5, cltab=register(5), stomith=False)
def test_an_owner_that_is_cut_off_answers_nobody_with_what_is_old(cluster: Cluster) -> None:
    """Its clients still reach it; it may answer until its lease ends, and nobody has written elsewhere before."""
    reg = cluster.group("reg")
    with cluster.clients(reg) as clients:
        clients.wait_acknowledged(20)
        with cluster.cut(reg.owner):
            reg.wait_running(elsewhere=True)
            clients.wait_acknowledged(20)
    cluster.check()


@pytest.mark.cluster(nodes=3, cltab=register(3), stomith=False)
def test_an_owner_that_thaws_answers_nobody_with_what_is_old(cluster: Cluster) -> None:
    """For the instant that its guardians need it may execute, and what it wants to write then is refused."""
    reg = cluster.group("reg")
    with cluster.clients(reg, count=5, keys=1) as clients:
        for _ in range(2):
            clients.wait_acknowledged(20)
            with cluster.pause(reg.owner):
                reg.wait_running(elsewhere=True)
                clients.wait_acknowledged(20)
            cluster.sleep(LEASES_S)
    cluster.check()
