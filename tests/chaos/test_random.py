"""Whatever the seed says: `make chaos SEED=n`, or `pytest --seed=n`."""

from __future__ import annotations

import pytest

from moslab import Cluster
from moslab.scenario.chaos import chaos
from tests.chaos.tables import TWO

FOR_S = 30.0


@pytest.mark.parametrize("stomith", [True, False], ids=["shot", "leased"])
@pytest.mark.parametrize("nodes", [3, 5])
def test_faults_in_a_random_order(clusters, nodes: int, stomith: bool) -> None:  # type: ignore[no-untyped-def]
    cluster: Cluster = clusters(nodes=nodes, stomith=stomith, cltab=TWO)
    verdict = chaos(cluster, FOR_S, print)
    assert verdict, verdict.problems
