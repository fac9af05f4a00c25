"""One fault plan has one outcome: what is shipped, in the simulator and in containers, plan by plan."""

from __future__ import annotations

import docker
import pytest

from moslab.drift.run import drift, lines, shipped
from moslab.scenario.pool import Pool

pytestmark = [pytest.mark.container, pytest.mark.long, pytest.mark.xdist_group("drift"), pytest.mark.timeout(1200)]

WORLDS = ("sim", "docker")
COMPARED_MIN = 15


def test_what_comes_of_a_plan_is_the_same_in_the_simulator_and_in_containers(client: docker.DockerClient) -> None:
    pool = Pool()
    try:
        rows = drift(shipped(), WORLDS, pool, print)
    finally:
        pool.close()
    said = "\n".join(lines(rows))
    assert sum(len(row.outcomes) == len(WORLDS) for row in rows) >= COMPARED_MIN, said
    assert [row.plan for row in rows if not row.is_same] == [], said
