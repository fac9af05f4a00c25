"""What operators want, with real processes: groups in maintenance, and nodes that are drained. Judged by the tickers'
journals.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from signal import SIGKILL

import docker
import pytest

from emulator.powerswitch.outlets import DIRECTORY, FAILS, WORKS
from mosha.orders import DRAIN
from moslab.faults.record import DRAINED, OUTLET
from moslab.layout import Options, lease_s
from moslab.node import run
from moslab.progress import Progress
from moslab.wait import eventually
from tests.container.arena import Arena, tables
from tests.container.conftest import Lab

pytestmark = pytest.mark.xdist_group("operating")

LEASES_S = 2 * lease_s(3)
LIMIT_S = 30.0


@pytest.fixture(scope="module")
def one_arena(client: docker.DockerClient) -> Iterator[Arena]:
    lab = Lab(client, f"t-operate-{uuid.uuid4().hex[:6]}")
    try:
        lab.cluster.up(3, Progress(), options=Options(stomith=False, tables=tables("tick")))
        yield Arena(lab.cluster, ("tick",), False)
    finally:
        lab.end()


def mosha(arena: Arena, node: int, *words: str) -> str:
    """What the command prints there; it must succeed."""
    done = run(arena.cluster.node(node), ["mosha", *words])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def drained(arena: Arena, node: int) -> list[int]:
    """The drained nodes, as that one sees them."""
    return [one["id"] for one in json.loads(mosha(arena, node, "status", "--json"))["nodes"] if one["drained"]]


@pytest.mark.long
def test_in_maintenance_a_service_runs_on_unmanaged_and_is_taken_up_again(arena: Arena) -> None:
    before = arena.life()
    other = arena.others(before.node)[0]
    assert "maintenance is on: tick" in mosha(arena, other, "maintenance", "on", "tick")
    assert arena.goes_on(before, LEASES_S), "its lease goes on"
    assert "maintenance is off: tick" in mosha(arena, other, "maintenance", "off", "tick")
    assert arena.goes_on(before, LEASES_S), "what runs is left as it is"
    mosha(arena, other, "maintenance", "on", "tick")
    arena.faults.signal(before.node, "group tick", SIGKILL)
    arena.lives("tick", 0)
    arena.world.sleep(LEASES_S)
    assert not arena.world.running("tick"), "what ends in maintenance stays ended, and nobody else starts it"
    mosha(arena, other, "maintenance", "off", "tick")
    assert arena.wait_again(before).node == before.node
    arena.judge()


def test_a_drained_node_gives_up_its_group_and_takes_none_until_that_is_over(arena: Arena) -> None:
    first = arena.life()
    assert f"node {first.node} is drained" in mosha(arena, first.node, "drain")
    second = arena.wait_elsewhere("tick", first.node)
    (third,) = set(arena.nodes) - {first.node, second.node}
    arena.faults.restart_agent(first.node)
    mosha(arena, third, "drain", str(second.node))
    assert arena.wait_elsewhere("tick", second.node).node == third, "a drained node stays so when its agent begins anew"
    eventually(lambda: drained(arena, third), lambda nodes: nodes == sorted({first.node, second.node}),
               within_s=LIMIT_S, what="both are seen to be drained")
    mosha(arena, second.node, "drain", str(first.node), "--off")
    last = arena.life()
    assert last.node == third, "what runs elsewhere stays there"
    mosha(arena, third, "drain")
    assert arena.wait_elsewhere("tick", third).node == first.node
    for node in (second.node, third):
        mosha(arena, node, "drain", "--off")
    arena.judge()


def test_a_heal_finds_who_is_drained_and_outlets_also_after_a_boot(arena: Arena) -> None:
    drains, looks = arena.others(arena.life().node)
    arena.faults.order(looks, DRAIN, "", drains)
    arena.faults.outlet(drains, FAILS)
    arena.faults.kill(drains)
    arena.faults.start(drains)
    assert {kind for kind, node, _ in arena.faults.record.lasting() if node == drains} == {DRAINED, OUTLET}
    eventually(lambda: drained(arena, looks), lambda nodes: nodes == [drains], within_s=LIMIT_S, what="it is drained")
    arena.judge()
    eventually(lambda: drained(arena, looks), lambda nodes: not nodes, within_s=LIMIT_S, what="nobody is drained")
    switch = arena.cluster.client.containers.get(arena.cluster.names.power)
    assert run(switch, ["cat", f"{DIRECTORY}/{drains}"]).stdout == WORKS
