"""Two nodes with STOMITH: either may die, and the group runs; what comes back votes again. Judged by the journals."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import docker
import pytest

from moslab.layout import Options
from moslab.node import run
from moslab.progress import Progress
from moslab.wait import eventually
from tests.container.arena import Arena, tables
from tests.container.conftest import Lab

pytestmark = [pytest.mark.container, pytest.mark.xdist_group("two-nodes")]

PAIR_LIMIT_S = 90.0


@pytest.fixture(scope="module")
def pair(client: docker.DockerClient) -> Iterator[Arena]:
    lab = Lab(client, f"t-two-{uuid.uuid4().hex[:6]}")
    try:
        lab.cluster.up(2, Progress(), options=Options(tables=tables("tick")))
        yield Arena(lab.cluster, ("tick",), True)
    finally:
        lab.end()


def wait_paired(arena: Arena) -> None:
    """Until both vote and have met: either may go on alone from then on."""

    def seen() -> list[tuple[list[int], bool]]:
        shown = [run(container, ["mosha", "voters", "--json"]) for container in arena.cluster.nodes().values()]
        pages = [json.loads(answer.stdout) for answer in shown if answer.exit_code == 0]
        return [(page["electorate"]["voters"], page["electorate"]["settled"]) for page in pages]

    eventually(seen, lambda found: found == [([1, 2], True)] * 2, within_s=PAIR_LIMIT_S, what="both vote", every_s=0.5)


@pytest.mark.long
def test_the_group_moves_when_its_node_dies_and_again_when_the_next_one_does(pair: Arena) -> None:
    for _ in range(2):
        wait_paired(pair)
        before = pair.life()
        pair.faults.kill(before.node)
        pair.wait_elsewhere("tick", before.node)
        pair.faults.start(before.node)
        pair.judge()


@pytest.mark.long
def test_the_group_runs_on_when_the_other_node_dies(pair: Arena) -> None:
    wait_paired(pair)
    before = pair.life()
    (other,) = pair.others(before.node)
    pair.faults.kill(other)
    assert pair.goes_on(before, 8.0)
    pair.faults.start(other)
    wait_paired(pair)
    assert pair.goes_on(before, 0.2)
    pair.judge()


@pytest.mark.long
def test_a_cut_between_them_leaves_the_owner_on(pair: Arena) -> None:
    wait_paired(pair)
    before = pair.life()
    (other,) = pair.others(before.node)
    pair.faults.cut(pair.around(other))
    eventually(lambda: pair.cluster.node(other).status, lambda seen: seen == "exited", within_s=PAIR_LIMIT_S,
               what="the other one is shot")
    assert pair.goes_on(before, 4.0)
    pair.judge()
