"""Whatever the seed says: `make chaos SEED=n`, or `pytest --seed=n`."""

from __future__ import annotations

from typing import Callable

import pytest

from moslab import Breach, Cluster
from tests.chaos.tables import LEASE_S, TWO

FAULTS = 6
Break = Callable[[Cluster], "Breach | None"]


def _restart(cluster: Cluster) -> None:
    cluster.restart_agent("one")


def _flap(cluster: Cluster) -> None:
    cluster.flap("one", every=cluster.random.uniform(0.2, LEASE_S), times=2)


BREAKS: dict[str, Break] = {
    "kill": lambda cluster: cluster.kill("one"),
    "kill a minority": lambda cluster: cluster.kill("minority"),
    "pause": lambda cluster: cluster.pause("one"),
    "cut one": lambda cluster: cluster.cut("one"),
    "cut one way": lambda cluster: cluster.cut("one", one_way=True),
    "cut a minority": lambda cluster: cluster.cut("minority"),
    "ring": lambda cluster: cluster.ring(),
    "flap": _flap,
    "files": lambda cluster: cluster.disturb("one", error=0.3),
    "outlets": lambda cluster: cluster.break_outlet("all", cluster.random.choice(["fails", "lies", "slow"])),
    "restart": _restart,
}


@pytest.mark.cluster(cltab=TWO)
@pytest.mark.parametrize("round_", range(4))
def test_faults_in_a_random_order(cluster: Cluster, round_: int) -> None:
    """One after the other, each overlapping the next; what is off or frozen is healed before more is broken."""
    lasting: list[Breach] = []
    for _ in range(FAULTS):
        breach = BREAKS[cluster.random.choice(sorted(BREAKS))](cluster)
        lasting += [breach] if breach is not None else []
        cluster.sleep(cluster.random.uniform(0.2, 2 * LEASE_S))
        if len(lasting) > 1:
            cluster.heal()
            lasting.clear()
    cluster.check()
