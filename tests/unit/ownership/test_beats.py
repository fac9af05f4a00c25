"""On which voters a beat is written: Q while nothing happens, others in turn, all when more is at stake (R5)."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest

from mosha.fencing import Fencing
from mosha.ownership import slot
from mosha.ownership.disk_paxos import Call, DiskPaxos
from mosha.timing import Timing
from tests.unit.ownership.cluster import ERA, LATENCY_S, Cluster, Node

TIMING = Timing()
VOTERS, QUORUM = 7, 4


def settled(nodes: int = VOTERS, **options: Any) -> tuple[Cluster, Node]:
    """A cluster of seven voters, and the node that has run kv for a while."""
    cluster = Cluster(nodes, VOTERS, **options)
    cluster.boot()
    owner, _ = cluster.until_runs(30)
    cluster.pass_time(10)
    return cluster, owner


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(node, voter) of each exchange that writes a slot."""
    found: list[tuple[int, int]] = []
    call = DiskPaxos._call

    def noted(self: DiskPaxos, voter: int, task: str, arguments: list[Any], *rest: Any) -> Call:
        if task == "exchange" and arguments[1] is not None:
            found.append((self.node, voter))
        return call(self, voter, task, arguments, *rest)

    monkeypatch.setattr(DiskPaxos, "_call", noted)
    return found


def counter(cluster: Cluster, voter: int, node: int) -> int:
    data = cluster.nodes[voter].disk.files[slot.file_name(ERA, 0)]
    found = slot.decode(data[slot.offset_of(node) :][: slot.BYTES])
    assert found is not None
    return found.counter


def test_at_rest_all_nodes_write_on_the_same_q_voters_and_on_the_others_in_turn(written: list[tuple[int, int]]) -> None:
    cluster, _ = settled(8)
    written.clear()
    beats = 4 * VOTERS
    cluster.pass_time(beats * TIMING.beat_s)
    for node in cluster.nodes:
        times = Counter(voter for who, voter in written if who == node)
        for voter in range(1, VOTERS + 1):
            often = voter <= QUORUM or voter == node
            assert times[voter] == pytest.approx(beats if often else beats / VOTERS, abs=1), (node, voter)


def test_each_voter_soon_shows_how_far_a_node_has_come() -> None:
    cluster, _ = settled()
    cluster.pass_time(60)
    for node in cluster.nodes:
        counters = [counter(cluster, voter, node) for voter in cluster.voters]
        assert max(counters) - min(counters) <= VOTERS, node
        assert max(counters) >= 120, node


def test_until_there_is_a_lease_all_voters_are_asked(written: list[tuple[int, int]]) -> None:
    cluster = Cluster(VOTERS)
    cluster.boot()
    cluster.until(lambda: cluster.nodes[1].ownership.quorate(cluster.nodes[1].now), 5)
    assert {voter for node, voter in written if node == 1} == set(range(1, VOTERS + 1))


def test_a_lost_answer_sends_the_beat_to_all_within_a_turn(written: list[tuple[int, int]]) -> None:
    cluster, _ = settled()
    cluster.hangs.add((3, 2))
    written.clear()
    cluster.until(lambda: (3, 2) in written, 2)      # the beat that is not answered
    cluster.pass_time(TIMING.turn_s + 4 * LATENCY_S)
    assert {voter for node, voter in written if node == 3} == set(range(1, VOTERS + 1))
    written.clear()
    cluster.pass_time(20 * TIMING.beat_s)
    times = Counter(voter for node, voter in written if node == 3)
    assert times[5] >= 19, "the next one takes its place from then on"
    assert times[6] <= 5


@pytest.mark.parametrize("one_way", [True, False])
@pytest.mark.parametrize("voter", [1, 3, 6])
def test_one_voter_less_costs_no_lease_anything(voter: int, one_way: bool) -> None:
    cluster, owner = settled()
    node = next(one for one in cluster.nodes.values() if one.number not in (voter, owner.number))
    cluster.cuts |= {(voter, node.number)} if one_way else {(voter, node.number), (node.number, voter)}
    until = cluster.now + 20 * TIMING.beat_s
    least = TIMING.lease_s
    while cluster.now < until:
        cluster.pass_time(0.02)
        end = node.ownership.lease_of_all()
        assert end is not None
        least = min(least, end - node.now)
    assert least > TIMING.lease_s - TIMING.beat_s - TIMING.turn_s - 0.05
    assert not node.voids


@pytest.mark.parametrize("voter", [2, 6])
def test_a_voter_that_was_away_is_written_again_soon(voter: int) -> None:
    cluster, _ = settled()
    cluster.isolate(voter)
    cluster.pass_time(10)
    others = [node for node in cluster.nodes if node != voter]
    before = {node: counter(cluster, voter, node) for node in others}
    cluster.cuts.clear()
    cluster.pass_time((VOTERS + 1) * TIMING.beat_s + TIMING.op_limit_s)
    assert all(counter(cluster, voter, node) > before[node] for node in others)


@pytest.mark.parametrize(("lost", "deaf"), list(itertools.product(
    [(1,), (2, 4), (1, 2, 3)], [(), (5,), (5, 6, 7)],
)))
def test_who_goes_over_to_other_voters_stands_still_on_no_majority(
    lost: tuple[int, ...], deaf: tuple[int, ...], monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The owner loses voters, a watcher others, and no probe is answered: nobody may take it for dead."""
    probed = Fencing.probed
    monkeypatch.setattr(Fencing, "probed", lambda self, node, up: probed(self, node, False))
    cluster = Cluster(9, VOTERS, can_shoot=True, wants=())
    cluster.nodes[8].wants.add("kv")
    cluster.boot()
    cluster.until(lambda: cluster.owners() == [8], 30)
    cluster.pass_time(10)
    suspects: set[int] = set()
    for at in range(400):
        if at == 20:
            cluster.hangs |= {(8, voter) for voter in lost}
        if at == 25:
            cluster.hangs |= {(9, voter) for voter in deaf}
        if at == 220:
            cluster.hangs.clear()
        cluster.pass_time(0.05)
        suspects.update(*(node.fencing.suspects() for node in cluster.nodes.values()))
    assert cluster.owners() == [8]
    assert not suspects
    assert not cluster.shots


@pytest.mark.parametrize(("timing", "latency_s"), [(TIMING, 0.35), (Timing(0.1, 0.75), 0.07)])
def test_answers_that_take_longer_than_a_late_beat_keep_nobody_from_being_shot(
    timing: Timing, latency_s: float, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each way; an operation may take D."""
    monkeypatch.setattr(Cluster, "latency", lambda self: latency_s)
    cluster = Cluster(3, timing=timing, can_shoot=True, fenced=("kv",))
    cluster.boot()
    owner, _ = cluster.until_runs(60 * timing.beat_s)
    cluster.pass_time(20 * timing.beat_s)
    owner.crash()
    cluster.until_runs(100 * timing.beat_s)
    assert cluster.shots


@pytest.mark.parametrize("seed", range(6))
def test_who_stood_still_with_its_clocks_soon_knows_that_it_was_succeeded(
    seed: int, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The promised overlap has two beats for that: one exchange shows news, the next one reads it (R6)."""
    cluster = Cluster(8, VOTERS, seed=seed, wants=())
    owner = cluster.nodes[VOTERS]
    owner.wants.add("kv")
    for node in cluster.nodes.values():
        node.boot()
        cluster.pass_time(cluster.random.uniform(0, 0.4))
    cluster.until_runs(30)
    cluster.nodes[8].wants.add("kv")
    cluster.pass_time(cluster.random.uniform(3, 6))
    stood_s = cluster.random.uniform(6, 7)
    owner.freeze()
    cluster.isolate(owner.number)
    cluster.pass_time(stood_s)
    assert cluster.owners() == [8]
    monkeypatch.setattr(Node, "runs", lambda self, group: False)     # it runs on a moment: that is what is promised
    owner.offset -= stood_s
    cluster.cuts.clear()
    owner.thaw()
    cluster.pass_time(2 * (TIMING.beat_s + TIMING.eager_s))
    assert owner.voids


def test_a_voter_that_is_looked_at_rarely_brings_nobody_back_to_life() -> None:
    cluster, _ = settled(9)
    for wait_s in (0.0, 0.7, 1.3):
        cluster.pass_time(wait_s)
        cluster.nodes[9].crash()
        cluster.pass_time(TIMING.expiry_s + TIMING.beat_s)
        others = [node for node in cluster.nodes.values() if node.is_up]
        assert [node.number for node in others if node.ownership.peers.alive(node.now, 9)] == []
        cluster.boot(9)
        cluster.pass_time(10)


@pytest.mark.parametrize("in_turn", range(VOTERS))
def test_after_a_beat_that_came_late_all_voters_are_asked(in_turn: int) -> None:
    """What is left of the lease does not bear that one of the first voters hangs meanwhile."""
    cluster = Cluster(8, VOTERS, wants=())
    owner = cluster.nodes[8]
    owner.wants.add("kv")
    cluster.boot()
    cluster.until_runs(30)
    cluster.pass_time(5 + in_turn * TIMING.beat_s)
    begun = owner.ownership.beats_at(owner.now)
    cluster.until(lambda: owner.ownership.beats_at(owner.now) > begun, 2)
    cluster.pass_time(0.05)
    owner.freeze()
    cluster.hangs.add((8, 2))
    cluster.pass_time(TIMING.lease_s - 0.1)
    owner.thaw()
    cluster.pass_time(1.5)
    assert not owner.voids


@pytest.mark.parametrize("lives_anew", [False, True])
def test_what_only_voters_that_are_looked_at_rarely_show_is_news_as_well(lives_anew: bool) -> None:
    """8 has lost 1, 2 and 4, so 9 sees it on 3 of the first voters; then 9 loses 3 while 8 has something new to say."""
    cluster, _ = settled(9)
    there, here = cluster.nodes[8], cluster.nodes[9]
    cluster.hangs |= {(8, 1), (8, 2), (8, 4)}
    cluster.pass_time(10)
    assert not there.voids
    cluster.hangs.add((9, 3))
    if lives_anew:
        there.crash()
        there.boot()
    else:
        there.ownership.new_revision(at_once=False)
    cluster.until(lambda: there.ownership.quorate(there.now), 5)
    cluster.pass_time(2 * VOTERS * TIMING.beat_s)
    seen = here.ownership.peers.all[8]
    assert seen.said() == (there.ownership.identity, there.ownership.revision)
    assert here.ownership.peers.alive(here.now, 8)
