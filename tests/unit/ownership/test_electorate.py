"""How one set of voters follows another while groups run: R20."""

from __future__ import annotations

import random
from math import ceil
from typing import Any

import pytest

from mosha.ownership import electorate, journal, marker
from mosha.ownership.ballot import Ballot
from mosha.ownership.disk_paxos import DISPUTED
from mosha.ownership.electorate import VOTERS_MAX, Electorate, value_of
from mosha.ownership.journal import Commit
from mosha.ownership.marker import FULL, NONE
from mosha.timing import Timing
from tests.unit.ownership.cluster import ERA, Cluster, Node

TIMING = Timing()
W = TIMING.recovery_s


def started(nodes: int, voters: int, ends_s: float = 10.0, **options: Any) -> tuple[Cluster, Node]:
    cluster = Cluster(nodes, voters, **options)
    cluster.boot()
    owner, _ = cluster.until_runs(ends_s)
    cluster.until(lambda: settled(cluster, *range(1, voters + 1)), 10)
    cluster.until(lambda: all(node.ownership.quorate(node.now) for node in cluster.nodes.values()), 10)
    return cluster, owner


def settled(cluster: Cluster, *voters: int) -> bool:
    """Whether these are the voters on every node that is up, and nothing of those before is left."""
    wanted = tuple(sorted(voters))
    up = [node for node in cluster.nodes.values() if node.is_up and not node.is_frozen]
    shown = [node.voter.marker for node in up]
    return (
        all(one.electorate.voters == wanted and not one.electorate.before for one in shown)
        and all(node.ownership.electorate.voters == wanted for node in up)
        and all(node.voter.is_at_rest for node in up)
        and all((node.voter.marker.state == FULL) is (node.number in wanted) for node in up)
    )


def elect(cluster: Cluster, by: int, *voters: int) -> float:
    """Let a node see to it; how long it took until all had settled."""
    cluster.nodes[by].wish = frozenset(voters)
    took = cluster.until(lambda: settled(cluster, *voters), 60)
    assert not cluster.nodes[by].refusal
    return took


# ---- electorates --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(1, VOTERS_MAX))
def test_majorities_of_neighbours_meet(size: int) -> None:
    smaller, larger = electorate.first(range(1, size + 1)), electorate.first(range(1, size + 2))
    assert smaller.quorum + larger.quorum > size + 1


def test_a_joint_one_counts_both_and_a_closed_one_does_not() -> None:
    before = electorate.first([1, 2, 3], 7)
    joint = before.next([1, 2, 3, 4])
    assert joint == Electorate(7, 1, (1, 2, 3, 4), (1, 2, 3))
    closed = joint._replace(before=())
    assert joint.counts(before)
    assert joint.counts(closed)
    assert closed.counts(joint)
    assert not closed.counts(before)
    assert not before.counts(joint)
    assert not joint.counts(before._replace(era=8))
    assert not joint.counts(before._replace(voters=(1, 2)))


@pytest.mark.parametrize(("voters", "problem"), [
    ([1, 2, 3], "one voter at a time"), ([1, 2, 4], "one voter at a time"), ([1, 2, 3, 4, 5], "one voter at a time"),
    ([1, 2], ""), ([1, 2, 3, 9], ""),
])
def test_what_may_follow(voters: list[int], problem: str) -> None:
    assert problem in electorate.first([1, 2, 3]).problem_with(voters)
    assert bool(problem) is bool(electorate.first([1, 2, 3]).problem_with(voters))


def test_neither_none_nor_too_many() -> None:
    assert electorate.first([1]).problem_with([])
    most = electorate.first(range(VOTERS_MAX))
    assert str(VOTERS_MAX) in most.problem_with(range(VOTERS_MAX + 1))


def test_decisions_are_read_as_they_were_written() -> None:
    value = electorate.value_of([4, 3, 1])
    assert electorate.decided(electorate.first([3, 1]).group, value) == (1, frozenset((1, 3, 4)))
    assert electorate.decided("kv", "1.1.aa") is None


@pytest.mark.parametrize("fields", [[], [1, 2, [3]], ["1", 0, [], []], [1, 0, ["2"], []], 3])
def test_what_is_no_electorate_is_refused(fields: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        electorate.decode(fields)


# ---- one after another --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_voter_is_added_while_the_group_runs_on(size: int) -> None:
    cluster, owner = started(size + 1, size)
    took = elect(cluster, size + 1, *range(1, size + 2))
    assert took < 3 * W + 5
    assert len(cluster.runs) == 1
    assert not any(node.voids for node in cluster.nodes.values())
    assert cluster.owners() == [owner.number]


@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("goes", ["the first", "the last"])
def test_a_voter_is_removed_while_the_group_runs_on(size: int, goes: str) -> None:
    cluster, _ = started(size, size)
    left = set(range(1, size + 1)) - {1 if goes == "the first" else size}
    elect(cluster, 1, *left)
    assert len(cluster.runs) == 1
    assert not any(node.voids for node in cluster.nodes.values())


def test_a_voter_that_is_gone_for_good_is_replaced() -> None:
    cluster, _ = started(4, 3)
    cluster.nodes[3].crash()
    cluster.pass_time(5)
    elect(cluster, 1, 1, 2, 3, 4)
    cluster.pass_time(2 * W)
    elect(cluster, 1, 1, 2, 4)
    cluster.pass_time(2 * W)
    cluster.nodes[2].crash()
    owner, _ = cluster.until_runs(20)
    assert owner.number in (1, 4)
    cluster.nodes[3].boot()
    cluster.pass_time(10)
    assert cluster.nodes[3].voter.marker.state == NONE
    assert cluster.nodes[3].ownership.voters == {1, 2, 4}


def test_a_voter_that_comes_back_keeps_what_the_same_identities_wrote_on_it() -> None:
    cluster, _ = started(3, 3)
    identities = {node.ownership.identity for node in cluster.nodes.values()}
    elect(cluster, 1, 1, 2)
    cluster.pass_time(2 * W)
    disk = cluster.nodes[3].disk
    before = {name: content for name, content in disk.files.items() if ".j." in name}
    assert before
    elect(cluster, 1, 1, 2, 3)
    assert identities == {node.ownership.identity for node in cluster.nodes.values()}
    assert all(disk.files[name].startswith(content) for name, content in before.items())
    written = {journal.writer_of(name, cluster.nodes[3].voter.era) for name in disk.files.keys() - before.keys()}
    assert written & identities


def test_what_was_decided_before_is_known_to_voters_that_came_later() -> None:
    """The last of the first three voters goes only after all that they held is on the next ones."""
    cluster, owner = started(6, 3)
    for voters in ((1, 2, 3, 4), (2, 3, 4), (2, 3, 4, 5), (3, 4, 5), (3, 4, 5, 6), (4, 5, 6)):
        elect(cluster, 4, *voters)
        cluster.pass_time(2 * W)
    assert len(cluster.runs) == 1
    for number in (1, 2, 3):
        if number != owner.number:
            cluster.nodes[number].crash()
    cluster.pass_time(5)
    assert len(cluster.runs) == 1
    owner.crash()
    after, _ = cluster.until_runs(20)
    assert cluster.runs[-1].epoch == cluster.runs[0].epoch + 1
    assert after.number in (4, 5, 6)


def test_the_next_change_waits_until_the_last_is_settled() -> None:
    cluster, _ = started(5, 3)
    cluster.nodes[1].wish = frozenset((1, 2, 3, 4))
    cluster.until(lambda: cluster.nodes[1].ownership.voters == {1, 2, 3, 4}, 30)
    cluster.nodes[1].wish = frozenset((1, 2, 3, 4, 5))
    cluster.until(lambda: bool(cluster.nodes[1].refusal), 5)
    assert cluster.nodes[1].refusal.startswith("the voters [1, 2, 3, 4] are not settled yet: try again ")
    cluster.until(lambda: settled(cluster, 1, 2, 3, 4), 30)
    ownership = cluster.nodes[1].ownership
    cluster.until(lambda: ownership.next_change_at() is not None, 5)
    now, next_at = cluster.nodes[1].now, ownership.next_change_at()
    assert next_at is not None
    assert ownership.elect(now, frozenset((2, 3))).endswith(f"not settled yet: try again in {ceil(next_at - now)} s")
    assert now < next_at <= now + W
    cluster.pass_time(2 * W)
    assert ownership.elect(cluster.nodes[1].now, frozenset((2, 3))) == "one voter at a time: they are [1, 2, 3, 4]"
    elect(cluster, 1, 1, 2, 3, 4, 5)


def test_two_that_want_different_voters_get_one_of_both() -> None:
    cluster, _ = started(5, 3)
    cluster.nodes[1].wish, cluster.nodes[2].wish = frozenset((1, 2, 3, 4)), frozenset((1, 2, 3, 5))
    cluster.until(lambda: settled(cluster, 1, 2, 3, 4) or settled(cluster, 1, 2, 3, 5), 60)
    assert [cluster.nodes[1].refusal, cluster.nodes[2].refusal].count("") == 1


def accept(cluster: Cluster, node: int, voters: list[int]) -> None:
    """Somebody began that change, and got no further than to this node's own disk."""
    ownership, now = cluster.nodes[node].ownership, cluster.nodes[node].now
    begun = Ballot(ownership.electorate.group, 1, (1, ownership.identity), value_of(voters), now, now + 2)
    begun.phase, begun.value = 2, begun.proposal
    ownership._links[node].put(ownership.contests.due(begun))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_change_that_was_begun_is_decided_by_whoever_knows_of_it(size: int) -> None:
    cluster, _ = started(size + 1, size)
    accept(cluster, 2, list(range(1, size + 2)))
    cluster.pass_time(TIMING.ballot_limit_s / 2)
    assert not any(node.ownership.contests.has_ballot("voters/1") for node in cluster.nodes.values())
    cluster.until(lambda: settled(cluster, *range(1, size + 2)), 3 * W + 10)
    assert len(cluster.runs) == 1


def test_a_later_wish_is_proposed_although_an_earlier_one_came_to_nothing() -> None:
    cluster, _ = started(5, 3)
    contests = cluster.nodes[1].ownership.contests
    contests.want(cluster.nodes[1].now - 100, "voters/1", lambda: 99, value_of([1, 2, 3, 4]))
    elect(cluster, 1, 1, 2, 3, 5)


def test_without_quorum_nothing_is_changed() -> None:
    cluster, _ = started(4, 3)
    cluster.isolate(1, 4)
    cluster.pass_time(10)
    cluster.nodes[1].wish = frozenset((1, 2, 3, 4))
    cluster.until(lambda: bool(cluster.nodes[1].refusal), 10)
    assert "quorum" in cluster.nodes[1].refusal


def test_a_node_that_was_away_learns_of_two_changes() -> None:
    cluster, _ = started(5, 3)
    cluster.nodes[5].crash()
    elect(cluster, 1, 1, 2, 3, 4)
    cluster.pass_time(2 * W)
    elect(cluster, 1, 2, 3, 4)
    cluster.nodes[5].boot()
    cluster.until(lambda: cluster.nodes[5].ownership.quorate(cluster.nodes[5].now), 20)
    assert cluster.nodes[5].ownership.voters == {2, 3, 4}


def test_a_node_whose_configuration_guesses_wrong_believes_the_voters() -> None:
    cluster, _ = started(4, 3)
    newcomer = cluster.nodes[4]
    newcomer.crash()
    newcomer.disk.files.clear()
    cluster.voters = frozenset((2, 3, 4))
    newcomer.boot()
    cluster.until(lambda: newcomer.ownership.quorate(newcomer.now), 20)
    assert newcomer.ownership.voters == {1, 2, 3}
    assert newcomer.voter.marker.state == NONE


def test_a_voter_that_is_wiped_while_the_voters_change_recovers() -> None:
    cluster, _ = started(5, 4)
    cluster.nodes[1].wish = frozenset((1, 2, 3, 4, 5))
    cluster.until(lambda: bool(cluster.nodes[2].voter.electorate.before), 10)
    cluster.nodes[2].crash()
    cluster.nodes[2].disk.files.clear()
    cluster.pass_time(0.5)
    cluster.nodes[2].boot()
    cluster.until(lambda: settled(cluster, 1, 2, 3, 4, 5), 60)


def test_an_era_that_is_founded_keeps_the_voters_that_were_elected() -> None:
    cluster, _ = started(4, 4)
    elect(cluster, 1, 2, 3, 4)
    for number in (2, 3):
        cluster.nodes[number].crash()
        cluster.nodes[number].disk.files.clear()
        cluster.nodes[number].boot()
    cluster.until(lambda: cluster.runs[-1].era != cluster.runs[0].era, 60)
    cluster.until(lambda: settled(cluster, 2, 3, 4), 60)
    assert marker.number_of(cluster.nodes[4].voter.era) == cluster.nodes[4].voter.electorate.era


def test_an_era_that_is_earlier_because_a_clock_went_back_is_joined() -> None:
    """All voters lose their disks, and the founder's wall clock is behind that of the last one."""
    cluster, _ = started(5, 3, founded=False, ends_s=60)
    first = cluster.nodes[4].voter.electorate.era
    for number in (1, 2, 3):
        cluster.nodes[number].crash()
        cluster.nodes[number].disk.files.clear()
    cluster.wall_s -= 10_000
    for number in (1, 2, 3):
        cluster.nodes[number].boot()
    cluster.until(lambda: all(node.ownership.quorate(node.now) for node in cluster.nodes.values()), 60)
    assert {node.voter.electorate.era for node in cluster.nodes.values()} == {cluster.nodes[1].voter.electorate.era}
    assert cluster.nodes[1].voter.electorate.era < first
    cluster.until_runs(30)


# ---- two electorates with one number: somebody has forgotten what it promised, unnoticed (A5) ----------------------


def void(cluster: Cluster) -> bool:
    return all(node.voids[-3:] == [DISPUTED] * 3 for node in cluster.nodes.values())


def found_anew(cluster: Cluster) -> None:
    """As docs/ownership.md has it."""
    for node in cluster.nodes.values():
        node.crash()
        node.disk.files.pop(marker.NAME)
    cluster.boot()
    _, took = cluster.until_runs(60)
    assert took >= W
    assert len({node.voter.electorate for node in cluster.nodes.values()}) == 1


@pytest.mark.parametrize(("nodes", "values"), [(2, ("1", "2")), (4, ("1,2,3", "2,3,4"))])
def test_who_reads_of_two_electorates_with_one_number_ends_and_nothing_runs_before_the_voters_are_founded_anew(
    nodes: int, values: tuple[str, str],
) -> None:
    """One half has the one, and the other half the other: each of them was a majority of its own."""
    cluster, _ = started(nodes, nodes)
    other = f"1.0.{'d' * 32}"
    for number, node in cluster.nodes.items():
        facts = values if number <= nodes // 2 else values[::-1]
        content = b"".join(journal.encode(Commit("voters/1", 1, value)) for value in facts)
        node.disk.files[journal.name(ERA, other, 0)] = content
    cluster.until(lambda: void(cluster), 60)
    runs = len(cluster.runs)
    cluster.pass_time(8)
    assert len(cluster.runs) == runs
    assert not cluster.owners()
    found_anew(cluster)


def test_markers_show_two_electorates_with_one_number_where_nobody_reads_the_journals_of_the_other_half() -> None:
    cluster, _ = started(4, 4)
    elect(cluster, 1, 1, 2, 3)
    chosen = cluster.nodes[1].voter.electorate
    for number in (3, 4):
        node = cluster.nodes[number]
        node.crash()
        node.disk.files[marker.NAME] = marker.encode(node.voter.marker._replace(
            state=FULL, electorate=chosen._replace(voters=(2, 3, 4)),
        ))
        node.boot()
    cluster.until(lambda: void(cluster), 60)
    assert not cluster.owners()
    found_anew(cluster)


# ---- any order of faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_groups_never_run_twice_while_voters_change_and_nodes_fail(seed: int) -> None:
    """That no two nodes run the group is checked by the cluster at every step."""
    draw = random.Random(seed)
    size = draw.randint(2, 5)
    cluster = Cluster(6, size, seed=seed, rates=[draw.uniform(0.99, 1.01) for _ in range(6)], can_shoot=seed % 3 == 0)
    cluster.boot()
    cluster.pass_time(4)
    for _ in range(40):
        node = cluster.nodes[draw.randint(1, 6)]
        what = draw.choice(["elect"] * 3 + ["crash", "wipe", "cut", "freeze", "boot", "heal"])
        if what == "elect" and node.is_up:
            node.wish = node.ownership.voters ^ {draw.randint(1, 6)}
        elif what in ("crash", "wipe") and node.is_up:
            node.crash()
            if what == "wipe" and draw.random() < 0.5:
                node.disk.files.clear()
        elif what == "boot" and not node.is_up:
            node.boot()
        elif what == "cut":
            cluster.cuts |= {(node.number, draw.randint(1, 6))}
        elif what == "freeze" and node.is_up and not node.is_frozen:
            node.freeze()
            cluster.after(draw.uniform(0.5, 8), lambda node=node: node.is_frozen and node.thaw())  # type: ignore[misc]
        elif what == "heal":
            cluster.cuts.clear()
        cluster.pass_time(draw.choice([0.05, 0.3, 1.0, 3.0, 8.0]))
    cluster.cuts.clear()
    for node in cluster.nodes.values():
        if node.is_up and node.is_frozen:
            node.thaw()
        if not node.is_up:
            node.boot()
    cluster.pass_time(4 * W + 20)
    cluster.until(lambda: len(cluster.owners()) == 1, 60)
    assert len({node.ownership.electorate for node in cluster.nodes.values()}) == 1
