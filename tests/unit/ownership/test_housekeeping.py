"""What is removed from a voter: only what the dead have left, and nothing that anybody still needs."""

from __future__ import annotations

from collections import Counter

import pytest

from mosha.ownership import journal, link
from mosha.ownership.housekeeping import clean
from mosha.ownership.journal import Block, Commit, Dead, Entry
from mosha.ownership.link import WAITING_MAX
from mosha.ownership.marker import FULL
from mosha.ownership.slot import COUNTED, Slot, decode, encode, file_name, offset_of
from tests.unit.ownership.cluster import ERA, Cluster, Node


def journals(node: Node) -> set[str]:
    """The writers of the journals on the node's voter."""
    return {writer for name in node.disk.files for writer in [journal.writer_of(name, ERA)] if writer}


def sweep(cluster: Cluster) -> None:
    """All voters, as often as it takes for what must be repeated first."""
    for _ in range(4):
        for node in cluster.nodes.values():
            if node.is_up and node.voter is not None:
                clean(node.ownership, node.disk)
        cluster.pass_time(1)


def moved(times: int) -> Cluster:
    """A cluster whose group was moved by the death of its owner, again and again."""
    cluster = Cluster(3)
    cluster.boot()
    for _ in range(times):
        owner, _ = cluster.until_runs(10)
        owner.crash()
        owner.boot()
        cluster.pass_time(3)
    return cluster


def test_lives_leave_a_bounded_number_of_journals() -> None:
    cluster = moved(12)
    assert max(len(journals(node)) for node in cluster.nodes.values()) > 6
    sweep(cluster)
    cluster.pass_time(10)
    sweep(cluster)
    (owner,) = cluster.owners()
    for node in cluster.nodes.values():
        assert len(journals(node)) <= 4
    assert len(cluster.runs) == len({(run.era, run.epoch) for run in cluster.runs})
    assert cluster.owners() == [owner]


def test_what_was_decided_is_known_after_all_have_rebooted() -> None:
    cluster = moved(4)
    sweep(cluster)
    epoch = cluster.runs[-1].epoch
    for node in cluster.nodes.values():
        node.crash()
    cluster.boot()
    cluster.until_runs(10)
    assert cluster.runs[-1].epoch == epoch + 1


def test_the_living_and_the_open_stay() -> None:
    cluster = moved(1)
    alive = {node.ownership.identity for node in cluster.nodes.values()}
    dead = f"9.1.{'d' * 32}"
    name = journal.name(ERA, dead, 0)
    node = cluster.nodes[1]
    node.disk.files[name] = journal.encode(Block("other", 1, (1, dead), (1, dead), dead, 1))
    node.ownership.fenced(node.now, [dead])
    written = journals(node) & alive
    sweep(cluster)
    assert name in node.disk.files, "an epoch that is not decided"
    assert written <= journals(node)
    for each in cluster.nodes.values():
        each.ownership.records.merge(Commit("other", 1, node.ownership.identity), dead, node.now)
    sweep(cluster)
    assert name not in node.disk.files


def test_a_late_older_slot_makes_nobody_dead() -> None:
    cluster = moved(1)
    owner, _ = cluster.until_runs(10)
    node = next(each for each in cluster.nodes.values() if each is not owner)
    earlier = f"{owner.number}.1.{'e' * 32}"
    files, name, at = node.disk.files, file_name(ERA, 0), offset_of(owner.number)
    late = encode(Slot(earlier, 9, 0, 0, 0))
    owner.freeze()                                   # so that it is seen before the next beat is written over it
    files[name] = files[name][:at] + late + files[name][at + len(late) :]
    cluster.until(lambda: node.ownership.peers.all[owner.number].identity == earlier, 1)
    clean(node.ownership, node.disk)
    assert owner.ownership.identity in journals(node)


def own_entries(node: Node, voter: Node) -> list[Entry]:
    """What the node's present identity wrote into its journal there, copies aside."""
    mine = f"{ERA}.j.{node.ownership.identity}."
    names = [name for name in voter.disk.files if name.startswith(mine) and ".copy." not in name]
    return [entry for name in names for entry in journal.decode(voter.disk.files[name])[0]]


def empty(cluster: Cluster, node: Node) -> None:
    """Somebody empties its disk while its agent runs; until its voter counts again."""
    life = node.voter.marker.life
    node.disk.files.clear()
    cluster.until(lambda: node.voter.marker.life != life and node.voter.marker.state == FULL, 20)


def test_what_was_repeated_on_a_disk_that_was_emptied_is_repeated_once_more() -> None:
    cluster = moved(2)
    (owner,) = cluster.owners()
    register = cluster.nodes[owner].ownership.records.register("kv")
    commit = Commit("kv", register.owner_epoch, register.owner)
    node = cluster.nodes[3 if owner != 3 else 2]
    cluster.until(lambda: node.ownership.repeats(commit), 10)
    assert commit in own_entries(node, node)
    empty(cluster, node)
    assert not node.ownership.repeats(commit)
    assert commit not in own_entries(node, node)
    cluster.until(lambda: node.ownership.repeats(commit), 10)
    assert commit in own_entries(node, node)


def test_what_was_decided_outlives_one_disk_after_the_other() -> None:
    """Each voter is emptied under its agent, and cleans up with what it knows, before the next one is."""
    cluster = moved(2)
    for node in cluster.nodes.values():
        node.wants.clear()                           # who has it gives it up, and nobody takes it
    cluster.pass_time(3)
    sweep(cluster)
    assert cluster.owners() == []
    register = cluster.nodes[1].ownership.records.register("kv")
    commit = Commit("kv", register.owner_epoch, register.owner)
    for node in cluster.nodes.values():
        empty(cluster, node)
        for other in cluster.nodes.values():
            if other is not node:
                other.crash()
                other.boot()
                cluster.pass_time(3)
        sweep(cluster)
        held = {entry for name, data in node.disk.files.items() if ".j." in name for entry in journal.decode(data)[0]}
        assert commit in held, f"voter {node.number} has lost what was decided"


def test_a_voter_that_was_emptied_is_told_again_what_another_lacks() -> None:
    cluster = Cluster(5)
    cluster.boot()
    owner, _ = cluster.until_runs(10)
    emptied, away = [node for node in cluster.nodes.values() if node is not owner][:2]
    away.crash()
    fact = Dead(f"9.1.{'d' * 32}")
    owner.ownership.fenced(owner.now, [fact.identity])
    cluster.until(lambda: fact in own_entries(owner, emptied), 10)
    empty(cluster, emptied)
    assert fact not in own_entries(owner, emptied), "a copy has it"
    cluster.until(lambda: fact in own_entries(owner, emptied), 10)


def test_what_waits_for_a_voter_that_is_down_is_bounded_and_has_what_is_needed() -> None:
    """Weeks without a voter: others run groups, begin anew and are shot, and all of that waits for it."""
    cluster = Cluster(3)
    cluster.boot(1, 2)
    owner, _ = cluster.until_runs(10)
    away = cluster.nodes[3]
    commit = Commit("kv", owner.ownership.epoch("kv"), owner.ownership.identity)
    for begun in range(0, 10_000, 200):
        owner.ownership.fenced(owner.now, [f"9.{life}.{life:032x}" for life in range(begun, begun + 200)])
        cluster.pass_time(0.6)
        assert len(owner.ownership._spreads) <= WAITING_MAX + 200
    away.boot()
    cluster.until(lambda: commit in own_entries(owner, away), 30)
    cluster.until(lambda: not owner.ownership._spreads, 30)
    assert len(cluster.runs) == 1


def test_a_death_waits_on_until_a_majority_has_it_however_much_waits() -> None:
    """An epoch may still be decided for who died: who is to know of that has read so many voters."""
    cluster = Cluster(3)
    cluster.boot()
    owner, _ = cluster.until_runs(10)
    dead = {f"9.{life}.{life:032x}" for life in range(WAITING_MAX + 100)}
    owner.ownership.fenced(owner.now, sorted(dead))
    cluster.until(lambda: not owner.ownership._spreads, 30)
    told = Counter(
        fact.identity for node in cluster.nodes.values() for fact in {*own_entries(owner, node)}
        if isinstance(fact, Dead)
    )
    assert [one for one in dead if told[one] < owner.ownership.quorum] == []


def test_a_voter_that_lost_its_disk_hears_again_of_more_than_may_wait() -> None:
    """What is written there again lets go of what another voter, which is down, need not hear of any more."""
    cluster = Cluster(5, wants=[f"g{number}" for number in range(40)])
    cluster.boot(1, 2, 3, 4)
    cluster.until(lambda: all(map(cluster.owners, [f"g{number}" for number in range(40)])), 30)
    cluster.pass_time(3)
    owner = max(list(cluster.nodes.values())[:3], key=lambda node: len(node.ownership.held_groups()))
    links, ended = owner.ownership._links, 0
    for voter, waiting, step in ((5, 700, 20), (4, WAITING_MAX - 24, 4)):
        if voter == 4:
            cluster.nodes[4].crash()
        while len(links[voter]._waiting) < waiting:
            owner.ownership.fenced(owner.now, [f"9.{life}.{life:032x}" for life in range(ended, ended + step)])
            ended += step
            cluster.pass_time(0.6)
    identity = owner.ownership.identity
    cluster.nodes[4].disk.files.clear()
    cluster.nodes[4].boot()
    cluster.until(lambda: not links[4]._waiting, 30)
    assert owner.ownership.identity == identity


def test_a_disk_that_was_emptied_remembers_again_how_much_is_written() -> None:
    cluster = moved(0)
    node = cluster.nodes[1]
    cluster.until(lambda: COUNTED in node.disk.files, 10)
    node.disk.files.clear()
    cluster.until(lambda: COUNTED in node.disk.files, 10)
    counted = decode(node.disk.files[COUNTED])
    assert counted is not None
    assert counted.identity == node.ownership.identity


def generations(node: Node, identity: str) -> list[int]:
    """Of the identity's journals on the node's voter."""
    found = [journal.parts_of(name, ERA) for name in sorted(node.disk.files)]
    return sorted(parts.generation for parts in found if parts is not None and parts.writer == identity)


def facts_on(node: Node) -> set[object]:
    """All entries on the node's voter that are no blocks."""
    names = [name for name in node.disk.files if journal.writer_of(name, ERA)]
    entries = {entry for name in names for entry in journal.decode(node.disk.files[name])[0]}
    return {entry for entry in entries if not isinstance(entry, Block)}


def test_journals_of_identities_that_live_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "JOURNAL_BYTES_MAX", 512)
    cluster = Cluster(3, seed=2)
    cluster.boot()
    owner, _ = cluster.until_runs(10)
    alive = {node.ownership.identity for node in cluster.nodes.values()}
    sizes, latest = [], 0
    for _ in range(40):                              # a group that is given up again and again
        cluster.until(lambda: any(node.ownership.held("kv") for node in cluster.nodes.values()), 10)
        (owner,) = [node for node in cluster.nodes.values() if node.ownership.held("kv")]
        owner.ownership.renounce(owner.now, "kv")
        cluster.pass_time(1)
        sweep(cluster)
        disk = cluster.nodes[1].disk.files
        sizes.append(sum(len(data) for name, data in disk.items() if journal.writer_of(name, ERA)))
        latest = max(latest, *(max(generations(cluster.nodes[1], identity), default=0) for identity in alive))
    assert {node.ownership.identity for node in cluster.nodes.values()} == alive
    assert latest >= 4, "journals went on in next generations"
    assert max(sizes[20:]) <= 8192
    assert all(len(generations(cluster.nodes[1], identity)) <= 2 for identity in alive)
    epoch = max(run.epoch for run in cluster.runs)
    for node in cluster.nodes.values():
        node.crash()
    cluster.boot()
    cluster.until_runs(10)
    assert cluster.runs[-1].epoch > epoch, "what was decided is known"


def test_of_the_living_what_is_written_now_and_what_is_open_stays() -> None:
    cluster = moved(1)
    node, other = cluster.nodes[1], cluster.nodes[2].ownership.identity
    first, second = (journal.name(ERA, other, generation) for generation in (7, 8))
    opened, unheard = Block("other", 1, (1, other), (1, other), other, 1), Commit("more", 4, other)
    node.disk.files[first] = journal.encode(opened)
    node.disk.files[second] = journal.encode(Commit("once", 1, other))
    node.ownership.records.merge(Commit("once", 1, other), other, node.now)
    clean(node.ownership, node.disk)
    assert first in node.disk.files, "an epoch that is not decided"
    node.disk.files[first] = journal.encode(unheard)
    assert "more" not in node.ownership.records.registers
    clean(node.ownership, node.disk)
    assert first in node.disk.files, "a decision that this node has not heard of"
    for each in cluster.nodes.values():
        each.ownership.records.merge(unheard, other, each.now)
    sweep(cluster)
    assert first not in node.disk.files
    assert second in node.disk.files, "where it writes now"
    assert unheard in facts_on(node), "it was repeated"


def test_copies_go_when_all_in_them_is_repeated_whoever_lives() -> None:
    cluster = moved(1)
    node, other = cluster.nodes[1], cluster.nodes[2].ownership.identity
    name = journal.copy_name(journal.name(ERA, other, 0), 12345)
    node.disk.files[name] = journal.encode(Commit("once", 1, other))
    for each in cluster.nodes.values():
        each.ownership.records.merge(Commit("once", 1, other), other, each.now)
    assert clean(node.ownership, node.disk) == [], "first it is repeated"
    sweep(cluster)
    assert name not in node.disk.files
    assert Commit("once", 1, other) in facts_on(node)


def test_nothing_counts_as_repeated_on_a_disk_of_another_life() -> None:
    cluster = moved(1)
    node = cluster.nodes[1]
    fact = Commit("once", 1, node.ownership.identity)
    node.ownership.records.merge(fact, node.ownership.identity, node.now)
    node.ownership.repeats(fact)
    cluster.pass_time(1)
    assert node.ownership.repeats(fact)
    assert node.voter is not None
    node.voter.marker = node.voter.marker._replace(life="another")
    assert not node.ownership.repeats(fact)


def test_a_bad_journal_stays_until_its_voter_has_forgotten() -> None:
    cluster = moved(0)
    node, other = cluster.nodes[1], cluster.nodes[2].ownership.identity
    name = journal.copy_name(journal.name(ERA, other, 0), 12345)
    node.disk.files[name] = b"x" + journal.encode(Commit("once", 1, other))[1:]
    assert name not in clean(node.ownership, node.disk)
    life = node.voter.marker.life
    cluster.until(lambda: node.voter.marker.life != life and node.voter.marker.state == FULL, 20)
    assert name not in node.disk.files
