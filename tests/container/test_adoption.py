"""The agent is killed, and the next one takes over what runs (R9): judged by the tickers' journals."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGKILL, SIGTERM

import docker
import pytest

from moslab import bench, journals, layout
from moslab.history.intervals import Interval
from moslab.layout import Options
from moslab.node import run
from moslab.progress import Progress
from moslab.wait import eventually
from tests.container.arena import Arena, tables
from tests.container.conftest import Lab

GROUPS = ("tick", "hidden", "mounted", "deaf")
BEATS_PER_LEASE = 20             # a busy machine takes seconds to start an agent: that is no matter of these tests
LEASE_S = BEATS_PER_LEASE * layout.beat_s(3)
AGENT_LIMIT_S = 30.0
GAP_MAX_S = 1.0                  # between two ticks (10 ms)
MOSHA, AWAY = "/usr/bin/mosha", "/usr/bin/mosha.away"

pytestmark = pytest.mark.xdist_group("adoption")


@pytest.fixture(scope="module")
def one_arena(client: docker.DockerClient) -> Iterator[Arena]:
    lab = Lab(client, f"t-adopt-{uuid.uuid4().hex[:6]}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(layout.BEATS_PER_LEASE, "default", BEATS_PER_LEASE)
        try:
            lab.cluster.up(3, Progress(), options=Options(stomith=False, tables=tables(*GROUPS)))
            yield Arena(lab.cluster, GROUPS, False)
        finally:
            lab.end()


def kill_agent(arena: Arena, node: int) -> None:
    """And wait for the next one."""
    before = arena.faults.signal(node, "agent", SIGKILL)
    eventually(lambda: arena.faults.pids(node, "agent"), lambda pids: len(pids) == 1 and not set(pids) & set(before),
               within_s=AGENT_LIMIT_S, what=f"another agent on node {node}", every_s=0.02)


def gap_s(arena: Arena, run: Interval) -> float:
    """The longest time that this very process has not ticked."""
    look = journals.read(arena.cluster, whole=True).since(arena.faults.zero_s)
    (life,) = [life for life in look.lives if (life.node, life.pid, life.begin_s) == (run.node, run.pid, run.begin_s)]
    return max((until - since for since, until in life.pauses), default=0.0)


@pytest.mark.parametrize("kills", [1, pytest.param(2, marks=pytest.mark.long)])
def test_what_runs_goes_on(arena: Arena, kills: int) -> None:
    """With the same processes, a daemon that hides and a mount among them; and the next life is who can end it."""
    before = {group: arena.life(group) for group in ("tick", "mounted")}
    hidden = arena.lives("hidden", 2)
    node = before["tick"].node
    for _ in range(kills):
        kill_agent(arena, node)
    assert arena.goes_on(before["tick"], 1.5 * LEASE_S), "nobody ended it, and its lease was extended"
    assert arena.life("mounted")[:5] == before["mounted"][:5]
    assert {life[:5] for life in arena.lives("hidden", 2)} == {life[:5] for life in hidden}
    row = bench.row(f"longest pause, agent killed {kills} times", "s", 1, gap_s(arena, before["tick"]), GAP_MAX_S)
    bench.write(f"adoption-{kills}", [row])          # told, not asserted: so does a busy machine
    arena.faults.signal(node, "group tick", SIGKILL)
    after = arena.wait_again(before["tick"])
    assert (after.node, after.epoch) == (node, before["tick"].epoch), "the leash starts it anew, as ever"
    other = arena.others(node)[0]
    assert run(arena.cluster.node(other), ["mosha", "move", "tick", str(other)]).exit_code == 0
    assert arena.wait_elsewhere("tick", node).epoch != after.epoch
    arena.judge()


@pytest.mark.long
def test_killed_and_not_restarted(arena: Arena) -> None:
    """It ends by its deadline, and then another node takes it."""
    before = arena.life()
    with no_agent(arena, before.node):
        killed_s = arena.faults.now_s()
        arena.faults.signal(before.node, "agent", SIGKILL)
        after = arena.wait_elsewhere("tick", before.node)
    look = journals.read(arena.cluster, whole=True).since(arena.faults.zero_s)
    (ended_s,) = [life.end_s for life in look.lives if (life.node, life.pid) == (before.node, before.pid)]
    assert killed_s < ended_s < after.begin_s
    arena.judge()


@contextmanager
def no_agent(arena: Arena, node: int) -> Iterator[None]:
    """Init cannot start one on that node."""
    container = arena.cluster.node(node)
    assert run(container, ["mv", MOSHA, AWAY]).exit_code == 0
    try:
        yield
    finally:
        assert run(container, ["mv", AWAY, MOSHA]).exit_code == 0


def test_agent_and_leash_are_killed_at_once(arena: Arena) -> None:
    """Nothing is taken over: what the leash held has ended before the group begins anew."""
    before = arena.lives("hidden", 2)
    arena.faults.signal(before[0].node, "guardians hidden", SIGKILL)
    for life in before:
        arena.wait_again(life)
    arena.judge()


def test_what_was_being_stopped_is_not_taken_over(arena: Arena) -> None:
    """The service ignores what tells it to end: the agent is killed long before the leash would kill it."""
    before = arena.life("deaf")
    arena.faults.signal(before.node, "agent", SIGTERM)
    eventually(lambda: run(arena.cluster.node(before.node), ["cat", "/var/mosix-ha/clstat"]).stdout,
               lambda text: re.search("deaf.*STOPPING", text) is not None, within_s=AGENT_LIMIT_S,
               what="deaf is being stopped", every_s=0.05)
    killed_s = arena.faults.now_s()
    arena.faults.signal(before.node, "agent", SIGKILL)
    arena.wait_again(before)
    look = journals.read(arena.cluster, whole=True).since(arena.faults.zero_s)
    (ended_s,) = [life.end_s for life in look.lives if (life.node, life.pid) == (before.node, before.pid)]
    assert ended_s < killed_s + LEASE_S / 2, "at once, and not at its deadline"
    arena.judge()
