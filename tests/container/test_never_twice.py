"""No group runs on two nodes at once, whatever breaks; and it runs again. Judged by the tickers' journals alone.

Two clusters: one with STOMITH and one without, where only the lease decides. Each scenario leaves its cluster whole.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from signal import SIGCONT, SIGKILL, SIGSTOP

import docker
import pytest

from mosha.timing import THAW_S
from moslab import journals
from moslab.errors import LabError
from moslab.faults.links import Link, apart, between
from moslab.layout import Options, lease_s
from moslab.node import run
from moslab.progress import Progress
from moslab.wait import eventually
from tests.container.arena import Arena, tables
from tests.container.conftest import Lab

VOTERS_LIMIT_S = 60.0
LEASES_S = 2 * lease_s(3)


STOMITH = pytest.param(True, id="stomith", marks=pytest.mark.xdist_group("twice-stomith"))
LEASE = pytest.param(False, id="lease", marks=pytest.mark.xdist_group("twice-lease"))


@pytest.fixture(scope="module", params=[STOMITH, LEASE])
def one_arena(client: docker.DockerClient, request: pytest.FixtureRequest) -> Iterator[Arena]:
    lab = Lab(client, f"t-twice-{uuid.uuid4().hex[:6]}")
    groups = ("tick", "orphans", "hidden", *(() if request.param else ("deaf", "mounted")))
    try:
        options = Options(stomith=request.param, tables=tables(*groups))
        lab.cluster.up(3 if request.param else 4, Progress(), options=options)
        yield Arena(lab.cluster, groups, request.param)
    finally:
        lab.end()


@pytest.fixture
def arena(one_arena: Arena) -> Iterator[Arena]:
    """The cluster, whole and running; and again, if the scenario failed."""
    one_arena.settle()
    yield one_arena
    one_arena.faults.end()


# -- voters --------------------------------------------------------------------------------------------


def test_the_voters_change_and_the_group_runs_on(arena: Arena) -> None:
    before = arena.life()
    last = arena.nodes[-1]
    for action, voters in (("remove", arena.nodes[:-1]), ("add", arena.nodes)):
        eventually(
            lambda action=action: run(arena.cluster.node(1), ["mosha", "voters", action, str(last)]),  # type: ignore[misc]
            lambda done: done.exit_code == 0, within_s=VOTERS_LIMIT_S, what=f"{action} {last}", every_s=1.0,
        )  # fmt: skip
        eventually(
            lambda: electorates(arena), lambda seen, voters=voters: seen == [(list(voters), [])] * len(arena.nodes),  # type: ignore[misc]
            within_s=VOTERS_LIMIT_S, what=f"the voters are {voters} on every node", every_s=0.5,
        )  # fmt: skip
    assert arena.goes_on(before, 0.2), "a change of the voters moves nothing"
    refused = run(arena.cluster.node(1), ["mosha", "voters", "add", "99"])
    assert (refused.exit_code, "not on the map" in refused.stderr) == (1, True)


def electorates(arena: Arena) -> list[tuple[list[int], list[int]]]:
    """(voters, those before that count too), as each node sees it."""
    shown = [run(container, ["mosha", "voters", "--json"]) for container in arena.cluster.nodes().values()]
    pages = [json.loads(answer.stdout)["electorate"] for answer in shown if answer.exit_code == 0]
    return [(page["voters"], page["before"]) for page in pages]


# -- nodes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["tick", "orphans"])
def test_the_node_dies(arena: Arena, group: str) -> None:
    before = arena.life(group)
    arena.faults.kill(before.node)
    after = arena.wait_elsewhere(group, before.node)
    arena.faults.start(before.node)
    arena.judge()
    assert arena.life(group).node == after.node, "the group stays where it is when a node comes back"


def test_the_node_is_frozen(arena: Arena) -> None:
    before = arena.life()
    arena.faults.pause(before.node)
    arena.wait_elsewhere("tick", before.node)
    try:
        arena.faults.resume(before.node)
    except LabError:
        assert arena.stomith, "it was shot"
    found = arena.judge(0.0 if arena.stomith else THAW_S)
    print("overlap after the thaw:", [f"{overlap.duration_s:.3f} s" for overlap in found] or 0)


def test_the_node_loses_its_disk_and_rejoins(arena: Arena) -> None:
    before = arena.life()
    arena.faults.kill(before.node)
    arena.faults.lose_disk(before.node)
    after = arena.wait_elsewhere("tick", before.node)
    arena.faults.start(before.node)
    arena.judge()
    assert arena.goes_on(after, 0.0)
    tables_of = [run(container, ["cat", "/var/mosix-ha/cltab", "/var/mosix-ha/hactl"]).stdout
                 for container in arena.cluster.nodes().values()]
    assert len(set(tables_of)) == 1, "it was given the tables"


# -- processes -----------------------------------------------------------------------------------------


def test_the_agent_is_killed(arena: Arena) -> None:
    before = arena.life()
    arena.faults.signal(before.node, "agent", SIGKILL)
    arena.wait_again(before)
    arena.judge()


def test_the_agent_is_restarted(arena: Arena) -> None:
    before = arena.life()
    arena.faults.restart_agent(before.node)
    arena.wait_again(before)
    arena.judge()


def test_the_agent_stands_still(arena: Arena) -> None:
    before = arena.life()
    arena.faults.signal(before.node, "agent", SIGSTOP)
    arena.wait_elsewhere("tick", before.node)
    arena.judge()


def test_the_leash_is_killed(arena: Arena) -> None:
    before = arena.life()
    arena.faults.signal(before.node, "leash tick", SIGKILL)
    arena.wait_again(before)
    arena.judge()


def test_the_leash_of_a_daemon_that_hides_is_killed(arena: Arena) -> None:
    """One of two tickers forked twice, has a session of its own, and no mark in its environment."""
    before = arena.lives("hidden", 2)
    node, known = before[0].node, {life[:5] for life in before}
    marked = arena.faults.pids(node, "group hidden")
    assert len({life.pid for life in before} - set(marked)) == 1
    arena.faults.signal(node, "leash hidden", SIGKILL)
    for life in before:
        arena.wait_again(life)
    seen = [life for life in journals.read(arena.cluster, whole=True).lives if life.group == "hidden"]
    ended_s = max(life.end_s for life in seen if life[:5] in known)
    began_s = min(life.begin_s for life in seen if life.begin_s > max(life.begin_s for life in before))
    assert ended_s < began_s, "nothing of the group began before all of it had ended"
    arena.judge()


def test_the_leash_stands_still(arena: Arena) -> None:
    before = arena.life()
    arena.faults.signal(before.node, "leash tick", SIGSTOP)
    arena.goes_on(before, LEASES_S)
    arena.judge()


def test_the_leash_stands_still_and_the_agent_is_killed(arena: Arena) -> None:
    before = arena.life()
    arena.faults.signal(before.node, "leash tick", SIGSTOP)
    arena.faults.signal(before.node, "agent", SIGKILL)
    arena.wait_again(before)
    arena.judge()


def test_the_service_is_killed(arena: Arena) -> None:
    before = arena.life()
    arena.faults.signal(before.node, "group tick", SIGKILL)
    after = arena.wait_again(before)
    assert (after.node, after.epoch) == (before.node, before.epoch), "a respawn is no move"
    arena.judge()


def test_the_service_stands_still(arena: Arena) -> None:
    before = arena.life()
    arena.faults.signal(before.node, "group tick", SIGSTOP)
    arena.faults.signal(before.node, "group tick", SIGCONT)
    assert arena.goes_on(before, LEASES_S)
    arena.judge()


@pytest.mark.parametrize("one_arena", [LEASE], indirect=True)
def test_a_service_that_ignores_the_signals_to_end(arena: Arena) -> None:
    """A stop in order waits for KILL; a lapse kills at once."""
    before = arena.life("deaf")
    arena.faults.restart_agent(before.node)
    before = arena.wait_again(before)
    arena.settle()
    before = arena.life("deaf")
    arena.faults.cut(arena.around(before.node))
    arena.wait_elsewhere("deaf", before.node)
    arena.judge()


@pytest.mark.parametrize("one_arena", [LEASE], indirect=True)
@pytest.mark.parametrize("end_of", ["lease", "agent", "leash"])
def test_a_mount_ends_where_the_group_does(arena: Arena, end_of: str) -> None:
    """When it runs elsewhere the mount is gone; it is there once where it runs."""
    before = arena.life("mounted")
    assert len(mounted_at(arena, before.node)) == 1
    if end_of == "lease":
        arena.faults.cut(arena.around(before.node))
        arena.wait_elsewhere("mounted", before.node)
        assert not mounted_at(arena, before.node)
    else:
        arena.faults.signal(before.node, "agent" if end_of == "agent" else "leash mounted", SIGKILL)
        after = arena.wait_again(before)
        assert len(mounted_at(arena, after.node)) == 1
        if after.node != before.node:
            assert not mounted_at(arena, before.node)
    arena.judge()


def mounted_at(arena: Arena, node: int) -> list[str]:
    """What is mounted there for the group."""
    shown = run(arena.cluster.node(node), ["grep", " /mnt ", "/proc/self/mountinfo"])
    return shown.stdout.splitlines()


def test_a_compound_command_leaves_orphans(arena: Arena) -> None:
    """The shell dies; what it had started lives on, in sessions of its own, and ends before the next shell begins."""
    before = arena.life("orphans")
    role = "group orphans"
    old = eventually(lambda: arena.faults.pids(before.node, role), lambda pids: len(pids) >= 3,
                     within_s=10, what="the shell and both of its children")
    assert run(arena.cluster.node(before.node), ["sh", "-c", f"kill -9 {old[0]}"]).exit_code == 0
    arena.wait_again(before)
    living = arena.faults.pids(before.node, role)
    assert not set(living) & set(old)
    arena.judge()


# -- links ---------------------------------------------------------------------------------------------


def links_of_owner(arena: Arena, node: int, shape: str) -> frozenset[Link]:
    others = arena.others(node)
    half = [node, *others[: len(arena.nodes) // 2 - 1]]
    return {
        "both ways": arena.around(node),
        "from it": between([node], others, one_way=True),
        "to it": between(others, [node], one_way=True),
        "halves": apart([half, [other for other in arena.nodes if other not in half]]),
    }[shape]


@pytest.mark.parametrize("shape", ["both ways", "from it", "to it"])
def test_the_owner_is_cut_off(arena: Arena, shape: str) -> None:
    before = arena.life()
    arena.faults.cut(links_of_owner(arena, before.node, shape))
    arena.wait_elsewhere("tick", before.node)
    arena.judge()


def test_the_cluster_falls_into_halves(arena: Arena) -> None:
    """Of three, the majority goes on; of four, nobody has a majority, and all stand still until the heal."""
    before = arena.life()
    cut = arena.faults.cut(links_of_owner(arena, before.node, "halves"))
    if len(arena.nodes) % 2:
        arena.wait_elsewhere("tick", before.node)
    else:
        assert not arena.goes_on(before, LEASES_S)
        arena.faults.heal(cut)
        arena.wait_again(before)
    arena.judge()


def test_overlapping_and_flapping_cuts(arena: Arena) -> None:
    before = arena.life()
    first = arena.faults.cut(arena.around(before.node))
    arena.faults.cut(between([before.node], arena.others(before.node)[:1]))
    arena.faults.heal(first)
    if not arena.stomith:
        arena.faults.flap(arena.around(before.node), 0.5, 0.2, 4)
    arena.judge()


# -- nothing happens -----------------------------------------------------------------------------------


def test_one_blind_observer_moves_nothing(arena: Arena) -> None:
    before = arena.life()
    arena.faults.cut(between([before.node], arena.others(before.node)[:1], one_way=True))
    assert arena.goes_on(before, LEASES_S)
    arena.judge()
    assert arena.goes_on(before, 0.0)


def test_a_lost_probe_moves_nothing(arena: Arena) -> None:
    before = arena.life()
    for other in arena.others(before.node):
        arena.faults.flap(between([before.node], [other]), 0.1, 0.1, 1)
    arena.judge()
    assert arena.goes_on(before, LEASES_S)


def test_a_node_that_leaves_and_joins_moves_nothing(arena: Arena) -> None:
    before = arena.life()
    bystander = arena.others(before.node)[0]
    arena.faults.kill(bystander)
    assert arena.goes_on(before, LEASES_S)
    arena.faults.start(bystander)
    arena.judge()
    assert arena.goes_on(before, LEASES_S)
