"""What is removed from a voter: only what the dead have left, and nothing that anybody still needs."""

from __future__ import annotations

from mosha.ownership import journal
from mosha.ownership.housekeeping import clean
from mosha.ownership.journal import Block, Commit
from mosha.ownership.slot import Slot, encode, file_name, offset_of
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
