"""No group runs on two nodes at once, whatever breaks; and it runs again. Judged by the tickers' journals alone.

Two clusters: one with STOMITH and one without, where only the lease decides. Each scenario leaves its cluster whole.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import docker
import pytest

from mosha.clinit.journal import RESTART_S
from mosha.timing import THAW_S
from moslab import bench, journals
from moslab.faults.links import Link, apart, between, from_power
from moslab.faults.record import flap
from moslab.history.checkers import thaw_overlap_s
from moslab.layout import Options, beat_s, lease_s
from moslab.node import run
from moslab.progress import Progress
from moslab.wait import REAL, eventually
from tests.container.arena import Arena, tables
from tests.container.conftest import Lab

VOTERS_LIMIT_S = 60.0
LEASES_S = 2 * lease_s(3)
POWER_OFF_LIMIT_S = 30.0
WORKERS_LIMIT_S = 30.0
SHOT_LIMIT_S = 30.0
FREEZES = 3
LATE_S = lease_s(3) - 2 * beat_s(3) - 0.25
"""An agent that stands still for so long has a late slot, and is suspect but for its probes; yet its lease goes on."""
PROBE_TRIES = 3
LOSE_A_PROBE = Path(__file__).with_name("lose_a_probe.py")

STOMITH = pytest.param(True, id="stomith", marks=pytest.mark.xdist_group("twice-stomith"))
LEASE = pytest.param(False, id="lease", marks=pytest.mark.xdist_group("twice-lease"))
STOMITH_LONG = pytest.param(True, id="stomith", marks=[*STOMITH.marks, pytest.mark.long])


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


# -- voters --------------------------------------------------------------------------------------------


@pytest.mark.long
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
    """With STOMITH it is shot, and never thaws. Without, what overlaps after its thaw is measured."""
    longest_s = []
    for _ in range(1 if arena.stomith else FREEZES):
        before = arena.life()
        arena.faults.pause(before.node)
        arena.wait_elsewhere("tick", before.node)
        if arena.stomith:
            wait_off(arena, before.node)
        else:
            arena.faults.resume(before.node)
        longest_s.append(thaw_overlap_s(arena.judge()))
    name = f"overlap after a thaw, {'' if arena.stomith else 'no '}STOMITH"
    row = bench.row(name, "s", len(longest_s), max(longest_s), 0.0 if arena.stomith else THAW_S)
    bench.write(f"thaw-{'stomith' if arena.stomith else 'lease'}", [row])
    assert row["met"], row


def wait_off(arena: Arena, node: int) -> None:
    """Until it was shot."""
    eventually(lambda: arena.cluster.node(node).status, lambda seen: seen == "exited", within_s=POWER_OFF_LIMIT_S,
               what=f"node {node} is shot")


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
    """The next one takes over what runs, or comes too late for that, on a machine that is too busy (test_adoption has
    longer leases): never a second process beside the first."""
    before = arena.life()
    arena.faults.signal(before.node, "agent", SIGKILL)
    if not arena.goes_on(before, LEASES_S):
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


def test_the_workers_of_the_agent_are_killed(arena: Arena) -> None:
    before = arena.life()
    old = arena.faults.signal(before.node, "workers", SIGKILL)
    wait_new_workers(arena, before.node, old)
    assert arena.goes_on(before, LEASES_S), "a beat is lost, and the lease outlasts it"
    arena.judge()


@pytest.mark.parametrize("one_arena", [STOMITH_LONG, LEASE], indirect=True)
def test_the_workers_of_the_agent_stand_still(arena: Arena) -> None:
    """What they were asked fails when its time is up; then others are asked."""
    before = arena.life()
    old = arena.faults.signal(before.node, "workers", SIGSTOP)
    wait_new_workers(arena, before.node, old)
    arena.judge()


def wait_new_workers(arena: Arena, node: int, old: list[int]) -> None:
    """Until the agent has one for each voter that is none of the old ones."""
    assert len(old) >= len(arena.nodes)
    eventually(lambda: set(arena.faults.pids(node, "workers")) - set(old), lambda new: len(new) >= len(arena.nodes),
               within_s=WORKERS_LIMIT_S, what=f"new workers on node {node}", every_s=0.2)


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
    look = journals.read(arena.cluster, whole=True).since(arena.faults.zero_s)
    seen = [life for life in look.lives if life.group == "hidden"]
    ended_s = max(life.end_s for life in seen if life[:5] in known)
    began_s = min(life.begin_s for life in seen if life.begin_s > max(life.begin_s for life in before))
    assert ended_s < began_s, "nothing of the group began before all of it had ended"
    arena.judge()


@pytest.mark.parametrize("service", ["runs", "is killed"])
def test_the_leash_stands_still(arena: Arena, service: str) -> None:
    """The agent is the other guardian: it does not hear that the leash was extended, and ends both."""
    before = arena.life()
    arena.faults.signal(before.node, "leash tick", SIGSTOP)
    if service == "is killed":                               # of which the leash tells nobody
        arena.faults.signal(before.node, "group tick", SIGKILL)
    arena.wait_again(before)
    arena.judge()


@pytest.mark.parametrize("log_writer", ["first", pytest.param("new", marks=pytest.mark.long)])
def test_the_leash_stands_still_and_the_agent_is_killed(arena: Arena, log_writer: str) -> None:
    before = arena.life()
    if log_writer == "new":                                  # which the agent forked in the middle of its life
        arena.faults.signal(before.node, "workers", SIGKILL)
        assert arena.goes_on(before, RESTART_S)
        arena.faults.signal(before.node, "leash tick", SIGKILL)
        before = arena.wait_again(before)
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


@pytest.mark.long
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
    """When it runs elsewhere the mount is gone; it is there once where it runs, also when that is where it was."""
    before = arena.life("mounted")
    assert len(mounted_at(arena, before.node)) == 1
    if end_of == "lease":
        arena.faults.cut(arena.around(before.node))
        arena.wait_elsewhere("mounted", before.node)
        assert not mounted_at(arena, before.node)
    else:
        arena.faults.signal(before.node, "agent" if end_of == "agent" else "leash mounted", SIGKILL)
        goes_on = end_of == "agent" and arena.goes_on(before, LEASES_S)
        after = before if goes_on else arena.wait_again(before)
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


@pytest.mark.parametrize("one_arena", [STOMITH], indirect=True)
@pytest.mark.parametrize("role", ["shot", "workers"])
def test_the_shot_at_the_owner_is_killed(arena: Arena, role: str) -> None:
    """It hangs, as nobody hears the power switch, while the owner's lease goes on: its death is no success. When the
    worker that waits for it is killed, it ends as well."""
    before = arena.life()
    others = arena.others(before.node)
    arena.faults.cut(from_power(others) | arena.around(before.node))
    shooter = eventually(lambda: next((node for node in others if arena.faults.pids(node, "shot")), None),
                         within_s=SHOT_LIMIT_S, what="a shot is under way", every_s=0.02)
    assert shooter is not None
    shot = arena.faults.pids(shooter, "shot")
    arena.faults.signal(shooter, role, SIGKILL)
    arena.wait_elsewhere("tick", before.node)
    assert not set(arena.faults.pids(shooter, "shot")) & set(shot)
    assert before.node not in arena.off()
    arena.judge()


@pytest.mark.parametrize("one_arena", [STOMITH_LONG, LEASE], indirect=True)
def test_overlapping_and_flapping_cuts(arena: Arena) -> None:
    before = arena.life()
    first = arena.faults.cut(arena.around(before.node))
    arena.faults.cut(between([before.node], arena.others(before.node)[:1]))
    arena.faults.heal(first)
    if not arena.stomith:
        flap(arena.faults, REAL.sleep, arena.around(before.node), 0.5, 0.2, 4)
    arena.judge()


# -- nothing happens -----------------------------------------------------------------------------------


@pytest.mark.parametrize("one_arena", [STOMITH_LONG, LEASE], indirect=True)
def test_one_blind_observer_moves_nothing(arena: Arena) -> None:
    """Its own probes say that the owner is down; on the other voters it sees the owner's slot."""
    before = arena.life()
    blind, *others = arena.others(before.node)
    arena.faults.cut(between([before.node], [blind], one_way=True))
    assert arena.goes_on(before, LEASES_S)
    assert [probe(arena, node, before.node) for node in (blind, *others)] == ["down.", *["up."] * len(others)]
    shown = json.loads(run(arena.cluster.node(blind), ["mosha", "status", "--json"]).stdout)
    assert [node["state"] for node in shown["nodes"] if node["id"] == before.node] == ["up"]
    arena.judge()
    assert arena.goes_on(before, 0.0)


def probe(arena: Arena, node: int, other: int) -> str:
    """What openMosix says there of the other one."""
    return run(arena.cluster.node(node), ["mosctl", "status", str(other)]).stdout.strip()


@pytest.mark.parametrize("one_arena", [STOMITH], indirect=True)
def test_a_lost_probe_moves_nothing(arena: Arena) -> None:
    """The owner's agent stands still until its slot is late enough for a shot, were it not for the probes of its node;
    of these each observer loses one, with all its tries."""
    before = arena.life()
    (agent,) = arena.faults.pids(before.node, "agent")
    askers = [arena.faults.fabric.addresses[node] for node in arena.others(before.node)]
    arguments = [str(agent), str(LATE_S), str(PROBE_TRIES), *askers]
    done = run(arena.cluster.node(before.node), ["python3", "-IS", "-c", LOSE_A_PROBE.read_text(), *arguments])
    assert (done.exit_code, done.stderr) == (0, "")
    lost = [int(word) for word in done.stdout.split()]
    assert max(lost) == PROBE_TRIES, f"a probe was sent, and lost: {lost}"
    assert arena.goes_on(before, LEASES_S)
    assert not arena.off(), "nobody was shot"
    arena.judge()


@pytest.mark.long
def test_a_node_that_leaves_and_joins_moves_nothing(arena: Arena) -> None:
    before = arena.life()
    bystander = arena.others(before.node)[0]
    arena.faults.kill(bystander)
    assert arena.goes_on(before, LEASES_S)
    arena.faults.start(bystander)
    arena.judge()
    assert arena.goes_on(before, LEASES_S)


@pytest.mark.long
@pytest.mark.parametrize("one_arena", [STOMITH], indirect=True)
def test_a_node_that_was_never_there_joins_and_moves_nothing(arena: Arena) -> None:
    """It is the last scenario: the cluster keeps the node."""
    before = [arena.life(group) for group in arena.groups]
    new = arena.faults.join()
    arena.settle()
    look = [run(container, ["sh", "-c", "ls /openmosix/proc/hpc/nodes; cat /var/mosix-ha/cltab /var/mosix-ha/hactl"])
            for container in arena.cluster.nodes().values()]
    assert len(look) == new
    assert {shown.stdout for shown in look} == {look[0].stdout}, "all have the same map, and the same tables"
    assert str(new) in look[0].stdout.split()
    assert arena.goes_on(before[0], LEASES_S)
    assert all(arena.goes_on(life, 0.0) for life in before)
    arena.judge()
