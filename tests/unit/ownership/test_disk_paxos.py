"""Whole clusters in virtual time: one owner of a group at any time, and one again soon, whatever fails."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from mosha.ownership import electorate, journal, marker, slot
from mosha.ownership.disk_paxos import Call, DiskPaxos
from mosha.ownership.journal import NOBODY, Block, Commit, Dead, Released
from mosha.ownership.marker import configuration
from mosha.ownership.slot import file_name
from mosha.ownership.voter import FOUNDED, Voter
from mosha.platform.store import LocalStore
from mosha.timing import Timing
from tests.unit.ownership.cluster import ERA, Cluster, Node

TIMING = Timing()
SIZES = [1, 2, 3, 5]


def started(nodes: int = 3, voters: int | None = None, **options: object) -> tuple[Cluster, Node]:
    """A cluster, and the node that runs kv."""
    cluster = Cluster(nodes, voters, **options)  # type: ignore[arg-type]
    cluster.boot()
    owner, _ = cluster.until_runs(30)
    cluster.pass_time(3)
    assert cluster.owners() == [owner.number]
    return cluster, owner


# ---- cold start ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_a_founded_cluster_runs_at_once_and_stays_as_it_is(size: int) -> None:
    cluster = Cluster(size)
    cluster.boot()
    owner, took = cluster.until_runs(5)
    assert took < TIMING.beat_s
    cluster.pass_time(30)
    ((_, group, node, era, epoch),) = cluster.runs
    assert (group, node, era, epoch) == ("kv", owner.number, ERA, 1)
    assert not any(node.voids for node in cluster.nodes.values())


@pytest.mark.parametrize("size", SIZES)
def test_an_unfounded_cluster_waits_w(size: int) -> None:
    cluster = Cluster(size, founded=False)
    cluster.boot()
    _, took = cluster.until_runs(30)
    assert TIMING.recovery_s <= took <= TIMING.recovery_s + 1
    assert marker.number_of(cluster.runs[0].era) >= 1_700_000_000


@pytest.mark.parametrize("size", SIZES[1:])
def test_while_w_passes_markers_are_looked_at_seldom_and_at_its_end_at_once(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(size, founded=False)
    asked: list[tuple[float, int, int, str]] = []
    call = DiskPaxos._call

    def noted(self: DiskPaxos, voter: int, task: str, *rest: Any) -> Call:
        asked.append((cluster.now, self.node, voter, task))
        return call(self, voter, task, *rest)

    monkeypatch.setattr(DiskPaxos, "_call", noted)
    cluster.boot()
    cluster.until_runs(30)
    looks = [at for at, node, voter, task in asked if (node, voter, task) == (1, size, "mark")]
    waited = [at for at in looks if at < TIMING.recovery_s * 0.98]
    assert len(waited) <= 4 + TIMING.recovery_s / (2 * TIMING.beat_s)
    assert any(TIMING.recovery_s * 0.98 <= at <= TIMING.recovery_s * 1.02 for at in looks)


def test_what_lies_where_a_counter_is_to_be_remembered_is_put_aside(tmp_path: Path) -> None:
    """When the disk did not take the counter (R19)."""
    store = LocalStore(tmp_path)
    store.replace(FOUNDED, b"1-00000001 1\n")
    voter = Voter(
        1, frozenset({1}), configuration(TIMING), TIMING, store, "boot", 0, lambda: 100.0, lambda: "b" * 32,
        lambda: 1700.0,
    )
    ownership = DiskPaxos("1.1." + "a" * 32, TIMING, 100.0, voter, lambda low, _high: low)
    (tmp_path / slot.COUNTED).mkdir()
    ownership.step(100.0)
    (call,) = [call for call in ownership.calls(100.0) if call.task == "count"]
    call.done(100.1, None)
    assert not (tmp_path / slot.COUNTED).exists()


def test_an_unfounded_cluster_needs_all_voters() -> None:
    cluster = Cluster(3, founded=False)
    cluster.boot(1, 2)
    cluster.pass_time(60)
    assert not cluster.runs
    cluster.boot(3)
    _, took = cluster.until_runs(30)
    assert took <= TIMING.recovery_s + 2


@pytest.mark.parametrize("size", [3, 5])
def test_a_founded_cluster_needs_a_majority(size: int) -> None:
    cluster = Cluster(size)
    cluster.boot(*range(1, size // 2 + 1))
    cluster.pass_time(20)
    assert not cluster.runs
    cluster.boot(size)
    cluster.until_runs(5)


def test_all_voters_rebooted_with_their_disks_wait_for_nothing() -> None:
    cluster, _ = started()
    for node in cluster.nodes.values():
        node.crash()
    cluster.pass_time(1)
    began = cluster.now
    cluster.boot()
    cluster.until_runs(5)
    assert cluster.now - began < 2
    assert (cluster.runs[-1].era, cluster.runs[-1].epoch) == (ERA, 2)


def test_a_node_without_a_vote_runs_groups_too() -> None:
    cluster = Cluster(5, 3)
    for voter in cluster.voters:
        cluster.nodes[voter].wants.clear()           # as arbitrators: they vote, and never contend
    cluster.boot()
    owner, _ = cluster.until_runs(10)
    assert owner.number in (4, 5)
    owner.crash()
    cluster.until_runs(10, besides=owner.number)
    assert {run.node for run in cluster.runs} == {4, 5}


def test_many_groups() -> None:
    groups = [f"g{number}" for number in range(12)]
    cluster = Cluster(3, wants=groups)
    cluster.boot()
    cluster.until(lambda: all(cluster.owners(group) for group in groups), 10)
    cluster.pass_time(10)
    assert len(cluster.runs) == len(groups)


# ---- release ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_release_moves_the_group(size: int) -> None:
    cluster, owner = started(size)
    owner.release("kv")
    heir, took = cluster.until_runs(5)
    assert heir is not owner
    assert took < 2 * TIMING.beat_s
    assert cluster.runs[-1].epoch == 2
    cluster.until(lambda: not owner.ownership.claims("kv"), 2)
    owner.wants.add("kv")
    cluster.pass_time(10)
    assert cluster.owners() == [heir.number]


def test_a_group_that_nobody_wants_is_free() -> None:
    cluster, owner = started()
    for node in cluster.nodes.values():
        node.wants.clear()
    owner.release("kv")
    cluster.pass_time(10)
    assert not cluster.owners()
    assert not any(node.ownership.claims("kv") for node in cluster.nodes.values())


def test_a_release_that_the_next_owner_read_first_is_over() -> None:
    cluster, owner = started()
    others = [node for node in cluster.nodes if node != owner.number]
    cluster.hangs = {(owner.number, other) for other in others}
    owner.release("kv")                              # only its own voter has it
    heir, _ = cluster.until_runs(2)
    assert owner.ownership.claims("kv")
    cluster.hangs.clear()
    cluster.until(lambda: not owner.ownership.claims("kv"), 5)
    assert cluster.owners() == [heir.number]
    owner.wants.add("kv")
    heir.crash()
    cluster.nodes[next(node for node in others if node != heir.number)].wants.clear()
    cluster.until(lambda: cluster.owners() == [owner.number], 20)


@pytest.mark.parametrize("seed", range(5))
def test_who_gives_up_in_the_middle_of_a_ballot_leaves_nothing_behind(seed: int) -> None:
    cluster = Cluster(3, seed=seed)
    cluster.boot()
    cluster.until(lambda: any(node.ownership.claims("kv") for node in cluster.nodes.values()), 5)
    quitter = next(node for node in cluster.nodes.values() if node.ownership.claims("kv"))
    cluster.pass_time(0.001 * seed)
    quitter.release("kv")
    heir, took = cluster.until_runs(5)
    assert heir is not quitter
    assert took < 1
    cluster.pass_time(3)
    assert cluster.owners() == [heir.number]


# ---- death and expiry ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("kind", ["crash", "cut", "freeze"])
def test_an_owner_that_falls_silent_is_replaced_when_its_lease_has_ended(size: int, kind: str) -> None:
    cluster, owner = started(size)
    ended = owner.running["kv"][1]
    if kind == "cut":
        cluster.isolate(owner.number)
    else:
        owner.crash() if kind == "crash" else owner.freeze()
    heir, _ = cluster.until_runs(10, besides=owner.number)
    assert heir is not owner
    assert cluster.runs[-1].epoch == 2
    last_beat = ended - TIMING.lease_s
    assert cluster.now - last_beat >= TIMING.expiry_s - 0.001
    assert cluster.now - last_beat <= TIMING.expiry_s + 1.2
    cluster.cuts.clear()
    if owner.is_frozen:
        owner.thaw()
    cluster.pass_time(10)
    assert cluster.owners() == [heir.number]
    assert len(owner.voids) == (0 if kind == "crash" else 1)


@pytest.mark.parametrize("kind", ["crash", "cut", "freeze"])
def test_that_its_owner_has_expired_does_not_free_a_fenced_group(kind: str) -> None:
    cluster, owner = started(3, wants=("kv", "web"), fenced=("kv",))
    if kind == "cut":
        cluster.isolate(owner.number)
    else:
        owner.crash() if kind == "crash" else owner.freeze()
    cluster.pass_time(30)
    assert not [number for number in cluster.owners() if number != owner.number]
    assert [number for number in cluster.owners("web") if number != owner.number], "only the fenced one waits"
    others = [node for node in cluster.nodes.values() if node is not owner]
    assert {node.ownership.contests.waits_for(node.now, "kv") for node in others} == {owner.number}
    assert {node.ownership.contests.waits_for(node.now, "web") for node in others} == {None}
    assert all(owner.number in node.ownership.owners(node.now) for node in others), "it is worth a shot"
    cluster.cuts.clear()
    if kind == "crash":
        owner.boot()
    elif kind == "freeze":
        owner.thaw()
    cluster.until(lambda: bool(cluster.owners()), 10)            # its next life says that the one before is dead
    assert cluster.runs[-1].epoch == 2
    cluster.pass_time(2)
    assert not any(node.ownership.contests.waits_for(node.now, "kv") for node in cluster.nodes.values())


def test_a_fenced_group_moves_at_once_when_its_owner_gives_it_up_or_is_shot() -> None:
    cluster, owner = started(3, fenced=("kv",), can_shoot=True)
    owner.release("kv")
    heir, took = cluster.until_runs(5)
    assert took < 2 * TIMING.beat_s
    cluster.shooting_works = False
    heir.wants.add("kv")
    owner.wants.add("kv")
    heir.freeze()
    cluster.isolate(heir.number)
    cluster.pass_time(20)
    assert not [number for number in cluster.owners() if number != heir.number]
    assert cluster.shots, "it was tried"
    cluster.shooting_works = True
    third, _ = cluster.until_runs(70, besides=heir.number)
    assert third is not heir
    assert cluster.runs[-1].epoch == 3


def test_two_without_stomith_stop_and_wait() -> None:
    cluster, owner = started(2)
    owner.crash()
    cluster.pass_time(30)
    assert not cluster.owners()
    owner.boot()
    cluster.until_runs(5)
    assert cluster.runs[-1].epoch == 2


def test_a_minority_moves_nothing() -> None:
    cluster, owner = started(5)
    cluster.isolate(*[node for node in cluster.nodes if node != owner.number][:2])
    cluster.pass_time(20)
    assert len(cluster.runs) == 1
    cluster.cuts.clear()
    cluster.pass_time(10)
    assert len(cluster.runs) == 1, "who comes back moves nothing"


@pytest.mark.parametrize("direction", ["to", "from"])
def test_an_owner_that_is_cut_off_in_one_direction_is_replaced(direction: str) -> None:
    cluster, owner = started(3)
    others = [node for node in cluster.nodes if node != owner.number]
    cluster.cuts |= {(owner.number, other) if direction == "to" else (other, owner.number) for other in others}
    cluster.until_runs(20, besides=owner.number)
    cluster.pass_time(10)
    assert owner.number not in cluster.owners()


def test_clocks_that_err_by_a_hundredth() -> None:
    """The owner's is slow, the others' are fast, and the lease is long: the factor F is all that keeps them apart."""
    timing = Timing(0.1, 10.0)
    cluster = Cluster(3, rates=[0.99, 1.01, 1.01], timing=timing)
    cluster.boot(1, 2)
    owner, _ = cluster.until_runs(5)
    if owner.number != 1:
        owner.release("kv")
    owner, _ = cluster.until_runs(5)
    assert owner.number == 1
    for node in cluster.nodes.values():
        node.wants.add("kv")
    cluster.boot(3)
    cluster.pass_time(1)
    ended = owner.running["kv"][1]
    owner.freeze()                                   # its leash lets the group run to the end of the lease
    cluster.until_runs(15, besides=1)
    assert ended <= cluster.now <= ended + 1


def test_a_lease_is_from_the_issue_of_a_write(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, owner = started()
    monkeypatch.setattr(cluster, "latency", lambda: 0.4)
    cluster.pass_time(5)
    end = owner.ownership.lease_end("kv")
    assert end is not None
    assert end - owner.now <= TIMING.lease_s - 0.8


def test_a_ballot_counts_no_voter_whose_journals_were_not_read_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(1)
    node = cluster.nodes[1]
    writer = f"9.1.{'a' * 32}"
    accepted = Block("kv", 1, (1, writer), (1, writer), writer, 99)
    filler = b"".join(journal.encode(Commit(f"g{number}", 1, writer)) for number in range(40))
    name = journal.name(ERA, writer, 0)
    node.disk.files[name] = filler + journal.encode(accepted)
    monkeypatch.setattr(journal, "READ_MAX", 400)
    node.wants.clear()
    cluster.boot()
    cluster.until(lambda: node.ownership.quorate(node.now), 1)
    node.wants.add("kv")
    cluster.until(lambda: node.ownership.records.register("kv").owner_epoch > 0, 5)
    assert node.ownership.records.register("kv").owner == writer, "what was accepted is decided"


def test_a_lapsed_identity_never_runs_again() -> None:
    cluster, owner = started()
    identity = owner.ownership.identity
    cluster.isolate(owner.number)
    cluster.until(lambda: bool(owner.voids), 10)
    assert owner.voids == ["its lease has ended"]
    assert not owner.runs("kv")
    cluster.cuts.clear()
    cluster.until_runs(10)
    assert owner.ownership.identity != identity
    cluster.pass_time(10)
    assert identity in cluster.nodes[1].ownership.records.dead or cluster.runs[-1].node != owner.number


def test_a_node_that_reboots_frees_its_own_groups_at_once() -> None:
    cluster, owner = started()
    owner.crash()
    owner.boot()
    _, took = cluster.until_runs(5)
    assert took < 1.5
    assert cluster.runs[-1].epoch == 2


def test_a_window_that_predates_the_identity_expires_nothing() -> None:
    cluster, owner = started()
    watcher, other = (node for node in cluster.nodes.values() if node is not owner)
    owner.freeze()
    cluster.pass_time(1.0)
    watcher.wants.clear()
    cluster.until_runs(10, besides=owner.number)
    other.release("kv")
    cluster.isolate(watcher.number)
    owner.thaw()
    owner.wants.add("kv")
    other.wants.clear()
    cluster.until(lambda: cluster.owners() == [owner.number], 10)
    watcher.wants.add("kv")
    cluster.cuts.clear()
    cluster.pass_time(10)
    assert cluster.owners() == [owner.number]


# ---- epochs -------------------------------------------------------------------------------------------------------


def test_an_epoch_that_was_begun_is_decided_before_the_next() -> None:
    """An earlier life of node 1 had its block accepted, and died; node 1 decides that epoch, and then the next."""
    cluster = Cluster(3)
    earlier = f"1.1.{'e' * 32}"
    block = Block("kv", 1, (1, earlier), (1, earlier), earlier, 2)
    for voter in (1, 2):
        cluster.nodes[voter].disk.files[journal.name(ERA, earlier, 0)] = journal.encode(block)
    for node in cluster.nodes.values():
        node.lives = 1
        node.wants = {"kv"} if node.number == 1 else set()
    cluster.boot()
    cluster.until_runs(10)
    assert [(run.node, run.epoch) for run in cluster.runs] == [(1, 2)]
    cluster.pass_time(2)
    assert cluster.nodes[2].ownership.records.register("kv").owner_epoch == 2
    assert earlier in cluster.nodes[2].ownership.records.dead


@pytest.mark.parametrize("seed", range(8))
def test_contenders_agree_and_soon(seed: int) -> None:
    cluster = Cluster(5, seed=seed)
    for node in cluster.nodes.values():
        node._rank = lambda: 0  # type: ignore[method-assign]
    cluster.boot()
    cluster.until_runs(5)
    cluster.pass_time(5)
    assert len({(run.node, run.epoch) for run in cluster.runs}) == 1


@pytest.mark.parametrize("has_block", [False, True])
def test_a_later_epoch_of_what_is_held_ends_the_identity(has_block: bool) -> None:
    cluster, owner = started()
    other = f"9.1.{'d' * 32}"
    name = journal.name(ERA, other, 0)
    number = (1, other)
    block = journal.encode(Block("kv", 2, number, number, other, 1)) if has_block else b""
    for voter in (1, 2, 3):
        cluster.nodes[voter].disk.files[name] = block + journal.encode(Commit("kv", 2, other))
    cluster.until(lambda: bool(owner.voids), 10)
    assert owner.voids == ["kv has another owner"]


@pytest.mark.parametrize(("rival", "runs_on"), [("1", True), ("9", False)])
def test_an_epoch_that_was_decided_twice_ends_no_agent_and_the_greater_owner_runs_on(rival: str, runs_on: bool) -> None:
    """As after a disk was put back that is an older one, which R19 did not notice. (A whole cluster, where never twice
    is checked at each step.)"""
    cluster, owner = started()
    other = f"{rival}.0.{'d' * 32}"
    assert (other < owner.ownership.identity) == runs_on
    epoch = owner.ownership.epoch("kv")
    for voter in (1, 2, 3):
        cluster.nodes[voter].disk.files[journal.name(ERA, other, 0)] = journal.encode(Commit("kv", epoch, other))
    sayers: set[int] = set()

    def all_said() -> bool:
        sayers.update(node.number for node in cluster.nodes.values() if node.ownership.records.take_log())
        return len(sayers) == 3

    cluster.until(all_said, 20)
    cluster.pass_time(20)
    if runs_on:
        assert not owner.voids
        assert owner.runs("kv")
        assert len({run.epoch for run in cluster.runs}) == 1
        own = Commit("kv", epoch, owner.ownership.identity)
        for voter in (1, 2, 3):
            files = cluster.nodes[voter].disk.files
            names = [name for name in files if journal.writer_of(name, ERA) == own.identity]
            written = [entry for name in names for entry in journal.decode(files[name])[0] if entry == own]
            assert len(written) == 2, "who forgot the first one reads the second, and ends"
    else:
        assert owner.voids == ["kv has another owner"], "it ended, and not its agent"
        assert cluster.runs[-1].epoch == epoch + 1


def test_what_the_loser_of_an_epoch_that_was_decided_twice_releases_takes_nothing_from_the_owner() -> None:
    cluster, owner = started()
    other, epoch = f"1.0.{'d' * 32}", owner.ownership.epoch("kv")
    for voter in (1, 2, 3):
        content = journal.encode(Released("kv", epoch, other)) + journal.encode(Commit("kv", epoch, other))
        cluster.nodes[voter].disk.files[journal.name(ERA, other, 0)] = content
    cluster.until(lambda: all(n.ownership.records.register("kv").disputed_epoch for n in cluster.nodes.values()), 20)
    cluster.pass_time(20)
    assert cluster.owners() == [owner.number]
    assert len(cluster.runs) == 1


def test_a_block_of_a_later_epoch_is_enough_to_stop() -> None:
    cluster, owner = started()
    other = f"9.1.{'d' * 32}"
    for voter in (1, 2, 3):
        cluster.nodes[voter].disk.files[journal.name(ERA, other, 0)] = journal.encode(
            Block("kv", 2, (1, other), NOBODY, "", 1)
        )
    cluster.until(lambda: not owner.ownership.held("kv"), 10)
    cluster.until_runs(10)
    assert cluster.runs[-1].epoch == 2


def test_who_is_told_to_be_dead_ends() -> None:
    cluster, owner = started()
    teller = cluster.nodes[owner.number % 3 + 1]
    for node in cluster.nodes.values():              # it lives, so nobody else may start
        node.wants.clear()
    teller.ownership.fenced(teller.now, [owner.ownership.identity])
    cluster.until(lambda: bool(owner.voids), 2)
    assert owner.voids == ["it was fenced"]


def test_the_own_disk_is_ahead_of_every_counter() -> None:
    cluster, _ = started()
    for _ in range(40):
        cluster.pass_time(5)
        for node in cluster.nodes.values():
            ahead = slot.decode(node.disk.files[slot.COUNTED])
            reached = max(link.counter for link in node.ownership._links.values())
            assert ahead is not None
            assert ahead.identity == node.ownership.identity
            assert reached <= ahead.counter <= reached + slot.COUNTED_AHEAD
    assert reached > 2 * slot.COUNTED_AHEAD


def test_nothing_is_written_before_the_own_disk_counts_it() -> None:
    """A copy of that disk shows it, however soon it was made."""
    cluster = Cluster(3)
    cluster.boot()

    def is_counted(node: Node) -> bool:
        disks = [other.disk.files.get(slot.file_name(ERA, 0), b"") for other in cluster.nodes.values()]
        at = slot.offset_of(node.number)
        written = [found for found in (slot.decode(disk[at : at + slot.BYTES]) for disk in disks) if found is not None]
        counted = slot.decode(node.disk.files.get(slot.COUNTED, b""))
        assert all(counted is not None and found.identity == counted.identity for found in written)
        return len(written) == 3

    cluster.until(lambda: all(is_counted(node) for node in cluster.nodes.values()), 5)
    node = cluster.nodes[1]
    cluster.pass_time(5)
    node.crash()
    node.boot()
    cluster.until(lambda: node.ownership.quorate(node.now), 5)
    assert node.voter.marker.state == marker.FULL, "what it wrote before is counted"


def test_a_disk_that_does_not_answer_holds_the_first_write_for_a_while_only() -> None:
    cluster = Cluster(3)
    cluster.hangs.add((1, 1))
    cluster.boot()
    node = cluster.nodes[1]
    took = cluster.until(lambda: node.ownership.quorate(node.now), 5)
    assert took >= cluster.timing.op_limit_s
    assert slot.COUNTED not in node.disk.files


def test_a_distrusted_identity_ends() -> None:
    cluster, owner = started()
    owner.ownership.distrust("the clocks went apart")
    assert not owner.ownership.held("kv")
    assert owner.ownership.lease_end("kv") is None
    cluster.until(lambda: bool(owner.voids), 1)


# ---- voters that forget, eras -------------------------------------------------------------------------------------


def wipe(node: Node) -> None:
    """Its disk is lost; the machine starts again."""
    node.crash()
    node.disk.files.clear()
    node.lives = 0
    node.boot()


def test_a_wiped_voter_copies_the_era_and_is_written_to_again() -> None:
    cluster, owner = started()
    wiped = next(node for node in cluster.nodes.values() if node is not owner)
    wipe(wiped)
    began = cluster.now
    cluster.until(lambda: wiped.voter is not None and wiped.voter.marker.state == marker.FULL, 10)
    assert cluster.now - began >= TIMING.recovery_s
    cluster.pass_time(5)
    assert len(cluster.runs) == 1
    third = next(node for node in cluster.nodes.values() if node not in (owner, wiped))
    third.crash()                                    # now both the wiped one and the owner are needed
    cluster.pass_time(5)
    owner.release("kv")
    cluster.until(lambda: cluster.owners() == [wiped.number], 10)
    entries = [
        entry for name, data in wiped.disk.files.items() if journal.writer_of(name, ERA) == owner.ownership.identity
        for entry in journal.decode(data)[0]
    ]
    assert Released("kv", 1, owner.ownership.identity) in entries, "what was written after the loss can be read"


def test_a_wiped_voter_alone_of_two_founds_only_when_the_other_has_lapsed() -> None:
    cluster, _ = started(2)
    wipe(cluster.nodes[1])
    cluster.until(lambda: cluster.runs[-1].era != ERA, 30)
    cluster.pass_time(10)
    assert len({run.era for run in cluster.runs}) == 2


def test_a_majority_that_was_wiped_founds_an_era_and_void_is_what_was_before() -> None:
    cluster, owner = started()
    identity = owner.ownership.identity
    for node in cluster.nodes.values():
        if node is not owner:
            wipe(node)
    cluster.until(lambda: cluster.runs[-1].era != ERA, 30)
    cluster.pass_time(10)
    era = cluster.runs[-1].era
    assert marker.number_of(era) > marker.number_of(ERA)
    assert identity != owner.ownership.identity
    assert owner.voids
    for node in cluster.nodes.values():
        assert node.ownership.era == era
        assert not [name for name in node.disk.files if name.startswith(ERA)], "nothing of the earlier era is left"


def test_an_agent_whose_voters_are_in_another_era_is_void() -> None:
    cluster = Cluster(4, 3)
    outsider = cluster.nodes[4]
    voters = electorate.first(cluster.voters, 1)
    shown = marker.Marker(marker.FULL, ERA, "life", marker.configuration(TIMING), "boot", electorate=voters)
    for voter in cluster.voters:                     # machines without agents
        cluster.nodes[voter].is_up = True
        cluster.nodes[voter].disk.files[marker.NAME] = marker.encode(shown)
    cluster.boot(4)
    cluster.pass_time(3)
    assert cluster.owners() == [4]
    for voter, is_void in ((1, False), (3, True)):
        cluster.nodes[voter].disk.files[marker.NAME] = marker.encode(
            shown._replace(era="2-00000002", electorate=voters._replace(era=2))
        )
        cluster.pass_time(0.6)
        assert bool(outsider.voids) is is_void
    assert outsider.voids == ["the voters are in another era"]


def test_slots_are_changed_in_place_and_journals_grow_by_entries_only() -> None:
    cluster, _ = started()
    files = cluster.nodes[1].disk.files
    before = {name: data for name, data in files.items() if ".j." in name}
    size = len(files[file_name(ERA, 0)])
    cluster.pass_time(30)
    assert {name: data for name, data in files.items() if ".j." in name} == before
    assert len(files[file_name(ERA, 0)]) == size


def test_what_is_known_of_another_node() -> None:
    cluster, owner = started()
    watcher = next(node for node in cluster.nodes.values() if node is not owner)
    ownership = watcher.ownership
    assert ownership.owner(watcher.now, "kv") == owner.number
    assert ownership.owners(watcher.now) == {owner.number}
    assert owner.ownership.owners(owner.now) == set(), "the others"
    assert ownership.identities_of(owner.number) == (owner.ownership.identity,)
    assert ownership.peers.alive(watcher.now, owner.number)
    assert not ownership.peers.is_late(watcher.now, owner.number)
    assert not ownership.peers.alive(watcher.now, 99)
    ownership.fenced(watcher.now, [owner.ownership.identity])
    assert ownership.identities_of(owner.number) == ()
    assert not ownership.peers.alive(watcher.now, owner.number)
    assert ownership.owner(watcher.now, "kv") is None
    assert Dead(owner.ownership.identity).identity in ownership.records.dead


# ---- at random ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "seed"), [*((3, seed) for seed in range(8)), *((5, seed) for seed in range(2))])
def test_never_twice_and_always_again(size: int, seed: int) -> None:
    """Crashes, cuts, freezes, lost disks of one voter, releases; then all is well again. The cluster watches itself."""
    chance = random.Random(seed * 10 + size)
    rates = [1 + chance.uniform(-0.01, 0.01) for _ in range(size)]
    cluster = Cluster(size, seed=seed, rates=rates)
    cluster.boot()
    for _ in range(10):
        node = cluster.nodes[chance.randrange(size) + 1]
        if chance.random() < 0.6:
            node = cluster.nodes[(cluster.owners() or [node.number])[0]]
        kind = chance.randrange(6)
        if kind == 0 and node.is_up:
            node.crash()
        elif kind == 1 and node.is_up and not node.is_frozen:
            node.freeze()
        elif kind == 2:
            cluster.isolate(node.number)
        elif kind == 3:
            cluster.cuts |= {(node.number, other) for other in cluster.nodes if other != node.number}
        elif kind == 4 and node.is_up and not node.is_frozen and node.runs("kv"):
            node.release("kv")
            node.wants.add("kv")
        elif kind == 5 and all(
            each.voter is not None and each.voter.marker.state == marker.FULL for each in cluster.nodes.values()
        ):
            wipe(node)
        cluster.pass_time(chance.uniform(0.2, 4))
        if chance.random() < 0.7:
            cluster.cuts.clear()
            for each in cluster.nodes.values():
                if each.is_frozen:
                    each.thaw()
                if not each.is_up:
                    each.boot()
    cluster.cuts.clear()
    for each in cluster.nodes.values():
        if each.is_frozen:
            each.thaw()
        if not each.is_up:
            each.boot()
    cluster.pass_time(12)
    assert len(cluster.owners()) == 1
    tokens = [(marker.number_of(run.era), run.epoch) for run in cluster.runs]
    assert tokens == sorted(tokens)
    assert len({(run.era, run.epoch): run.node for run in cluster.runs}) == len(
        {(run.era, run.epoch, run.node) for run in cluster.runs}
    )
