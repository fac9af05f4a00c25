"""Where there are control groups: agent and leash killed at once, with a daemon that has done all to hide.

Its control group ends it: it is dead before anybody else can have the group, as the ticker's journal shows. The warden
that does that, and the one that writes the log, can each be killed or stand still, and nothing moves.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from signal import SIGCONT, SIGKILL, SIGSTOP

import docker
import pytest

from moslab import bench, journals, reader
from moslab.layout import Options, beat_s, lease_s
from moslab.node import run
from moslab.progress import Progress
from moslab.scenario.tables import TICK
from moslab.wait import eventually
from tests.container.arena import Arena
from tests.container.conftest import Lab

pytestmark = pytest.mark.xdist_group("units")

GHOST = ("ghost:g-hide:start:once:setsid env -i MOSHA_NODE=$MOSHA_NODE MOSHA_ERA=$MOSHA_ERA MOSHA_EPOCH=$MOSHA_EPOCH"
         f" sh -c '{TICK} /san/ghost deaf & exit' </dev/null >/dev/null 2>&1\n"
         "ghost:g-run:start:respawn:sleep 1000\n")
"""A daemon alone in its session, init's or its guardian's child, which ignores TERM and INT."""
LEFT_S = lease_s(3) - 2 * beat_s(3) - 0.25
"""So much of a lease there is at any moment, less what is kept back for killing: the daemon has to be dead by then."""
LEASES_S = 2 * lease_s(3)
LIMIT_S = 30.0
HOW = {
    "cgroup2": "true",
    "pids": "umount /run/cgroup && mount -t cgroup -o pids pids /run/cgroup",
}


@pytest.fixture(scope="module")
def one_arena(client: docker.DockerClient) -> Iterator[Arena]:
    lab = Lab(client, f"t-units-{uuid.uuid4().hex[:6]}")
    try:
        tables = {"cltab": GHOST, "hactl": "ghost start\n"}
        lab.cluster.up(3, Progress(), options=Options(stomith=False, tables=tables))
        yield Arena(lab.cluster, ("ghost",), False)
    finally:
        lab.end()


def hold(arena: Arena, hierarchy: str) -> None:
    """Have all agents hold their groups so."""
    for node, container in arena.cluster.nodes().items():
        changed = run(container, ["sh", "-c", HOW[hierarchy]])
        assert changed.exit_code == 0, changed.stderr
        arena.faults.restart_agent(node)
    arena.settle()
    for node in arena.nodes:
        assert eventually(lambda node=node: held_in(arena, node), within_s=LIMIT_S,  # type: ignore[misc]
                          what="control groups").startswith("/run/cgroup/mosha.")


def held_in(arena: Arena, node: int) -> str:
    """Where the agent of a node has its groups; empty where that is nowhere."""
    path = run(arena.cluster.node(node), ["cat", "/run/mosha/units"]).stdout.strip()
    there = run(arena.cluster.node(node), ["test", "-d", path]).exit_code == 0
    return path if there and arena.faults.pids(node, "warden") else ""


@pytest.mark.long
@pytest.mark.parametrize("hierarchy", ["cgroup2", "pids"])
def test_agent_and_leash_are_killed_at_once(arena: Arena, hierarchy: str) -> None:
    hold(arena, hierarchy)
    before = arena.life("ghost")
    assert before.pid not in arena.faults.pids(before.node, "group ghost"), "nothing tells whose it is"
    earlier = held_in(arena, before.node)
    killed_s = arena.faults.now_s()
    leash, agent = arena.faults.signal(before.node, "guardians ghost", SIGKILL)
    done_s = arena.faults.now_s()
    assert leash != agent
    arena.wait_again(before)
    history = arena.judge()
    look = journals.read(arena.cluster, whole=True).since(arena.faults.zero_s)
    ended_s = next(life.end_s for life in look.lives if life[:5] == before[:5])
    row = bench.row(f"daemon that hides, after agent and leash were killed ({hierarchy})", "s", 1,
                    max(0.0, ended_s - done_s), LEFT_S)
    bench.write(f"units-{hierarchy}", [row])
    assert killed_s - reader.ALIVE_S < ended_s < killed_s + LEFT_S, row
    assert history.end_s > ended_s
    assert run(arena.cluster.node(before.node), ["test", "-d", earlier]).exit_code == 1, "nothing is left of that life"


@pytest.mark.long
@pytest.mark.parametrize("role", ["warden", "log"])
@pytest.mark.parametrize("signo", [SIGKILL, SIGSTOP])
def test_the_warden_and_who_writes_the_log_are_nobodys_life(arena: Arena, role: str, signo: int) -> None:
    if not all(held_in(arena, node) and arena.faults.pids(node, "log") for node in arena.nodes):
        hold(arena, "cgroup2")                               # a writer is begun anew with the next line only
    before = arena.life("ghost")
    (old,) = arena.faults.signal(before.node, role, signo)
    assert arena.goes_on(before, LEASES_S), "the agent and the leash are there"
    if signo == SIGSTOP:
        assert arena.faults.signal(before.node, role, SIGCONT) == [old]
    elif role == "warden":
        eventually(lambda: arena.faults.pids(before.node, role), lambda new: bool(new) and new != [old],
                   within_s=LIMIT_S, what="a new warden")
    arena.judge()
    assert arena.goes_on(before, 0.0), "a healthy group is not moved"
