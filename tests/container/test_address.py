"""The address of a group is never on two nodes at once, whatever breaks, and it comes again where the group runs.

Judged by a watcher beside each node, in the node's network but not among its processes: no agent, leash or pause of the
node has a part in it. There is no STOMITH, so no node is switched off, and only leases decide.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL, SIGSTOP
from typing import Callable

import docker
import pytest
from docker.types import Mount

from moslab import journals
from moslab.faults.links import between
from moslab.history.intervals import Interval, overlaps
from moslab.layout import Options, lease_s
from moslab.progress import Progress
from moslab.wait import eventually
from tests.container.arena import Arena, tables
from tests.container.conftest import Lab

HOST = 250                       # of the address, in the nodes' own /24; nodes are at 101 and so on
NODES = 3
COMES_LIMIT_S = 30.0
LEASES_S = 2 * lease_s(NODES)
WATCH = Path(__file__).with_name("address_watch.py")

pytestmark = pytest.mark.xdist_group("address")


@pytest.fixture(scope="module")
def one_arena(client: docker.DockerClient) -> Iterator[Arena]:
    lab = Lab(client, f"t-address-{uuid.uuid4().hex[:6]}")
    try:
        lab.cluster.up(NODES, Progress(), options=Options(stomith=False, tables=tables("addressed")))
        arena = Arena(lab.cluster, ("addressed",), False)
        command = ["/usr/bin/python3", "-IS", "-c", WATCH.read_text(encoding="utf-8")]
        for number, container in lab.cluster.nodes().items():
            client.containers.run(
                container.attrs["Image"], entrypoint=command, command=[str(number), address_of(arena)],
                network_mode=f"container:{container.id}", detach=True,
                labels=lab.cluster.names.labels("client"), name=f"{container.name}-watch",
                mounts=[Mount("/san", lab.cluster.names.san, type="volume")],
            )
        yield arena
    finally:
        lab.end()


def address_of(arena: Arena) -> str:
    """That of the group, beside those of the nodes."""
    networks = arena.cluster.node(1).attrs["NetworkSettings"]["Networks"]
    (own,) = [network["IPAddress"] for network in networks.values()]
    return f"{own.rpartition('.')[0]}.{HOST}"


def wait_for_address(arena: Arena, node: int) -> None:
    """As it was seen on that node, and nowhere else."""
    address = address_of(arena)
    eventually(
        lambda: journals.read(arena.cluster), lambda look: look.owner(address) == node, within_s=COMES_LIMIT_S,
        what=f"{address} is on node {node} alone", every_s=0.05,
    )


def held(arena: Arena) -> Interval:
    """The run of the group, whose node has the address."""
    before = arena.life("addressed")
    wait_for_address(arena, before.node)
    return before


def judge(arena: Arena) -> None:
    """Processes may overlap for the instant after a thaw; addresses never."""
    seen = sorted(arena.judge().addresses, key=lambda interval: interval.begin_s)
    doubled = overlaps(seen)
    assert not doubled, "\n".join(map(str, doubled))
    one, two = seen[-2:]
    print(f"the address: node {one.node}, then node {two.node} after {two.begin_s - one.end_s:.3f} s")
    wait_for_address(arena, arena.life("addressed").node)


def cut_off(arena: Arena, node: int) -> None:
    arena.faults.cut(arena.around(node))


def cut_one_way(arena: Arena, node: int) -> None:
    arena.faults.cut(between([node], arena.others(node), one_way=True))


def stop_the_agent(arena: Arena, node: int) -> None:
    arena.faults.signal(node, "agent", SIGSTOP)


def kill_both_guardians(arena: Arena, node: int) -> None:
    """The next life of the agent takes away what the records name, or the kernel does."""
    cut_off(arena, node)
    arena.faults.signal(node, "leash addressed", SIGKILL)
    arena.faults.signal(node, "agent", SIGKILL)


def freeze(arena: Arena, node: int) -> None:
    """Nothing of the node runs: the kernel alone ends the address, when its lifetime does."""
    arena.faults.pause(node)


@pytest.mark.parametrize("fault", [cut_off, cut_one_way, stop_the_agent, kill_both_guardians, freeze])
def test_it_goes_with_the_group(arena: Arena, fault: Callable[[Arena, int], None]) -> None:
    before = held(arena)
    fault(arena, before.node)
    after = arena.wait_elsewhere("addressed", before.node)
    wait_for_address(arena, after.node)
    judge(arena)


@pytest.mark.parametrize("whom", ["guardians addressed", "leash addressed", "group addressed"])
def test_it_comes_again_after_a_kill(arena: Arena, whom: str) -> None:
    before = held(arena)
    arena.faults.signal(before.node, whom, SIGKILL)
    after = arena.wait_again(before)
    wait_for_address(arena, after.node)
    judge(arena)


def test_it_stays_where_the_next_agent_takes_the_group_over(arena: Arena) -> None:
    """Longer than the lifetime that the one before gave it; where the next comes too late the group begins anew."""
    before = held(arena)
    arena.faults.signal(before.node, "agent", SIGKILL)
    after = before if arena.goes_on(before, LEASES_S) else arena.wait_again(before)
    wait_for_address(arena, after.node)
    doubled = overlaps(sorted(arena.judge().addresses, key=lambda interval: interval.begin_s))
    assert not doubled, "\n".join(map(str, doubled))
