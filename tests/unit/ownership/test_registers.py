"""What is known of a group, and ballots: R10 and R12."""

from __future__ import annotations

import itertools

import pytest

from mosha.ownership.ballot import DECIDED, GOES_ON, STOPPED, Ballot
from mosha.ownership.journal import NOBODY, Block, Commit, Dead, Entry, Number, Released
from mosha.ownership.records import Records, Register

A, B, C = (f"{node}.1.{node:032x}" for node in (1, 2, 3))


def block(epoch: int, mbal: Number, bal: Number = NOBODY, value: str = "", seq: int = 1) -> Block:
    return Block("kv", epoch, mbal, bal, value, seq)


def register(*entries: tuple[Entry, str]) -> Register:
    records = Records()
    for entry, writer in entries:
        records.merge(entry, writer, 0.0)
    return records.register("kv")


# ---- registers ----------------------------------------------------------------------------------------------------


def test_what_is_known_does_not_depend_on_the_order_in_which_it_was_read() -> None:
    entries: list[tuple[Entry, str]] = [
        (block(1, (1, A), (1, A), A), A), (Commit("kv", 1, A), A), (Released("kv", 1, A), A),
        (block(2, (1, B), seq=2), B), (block(2, (1, B), (1, B), B, seq=3), B), (Dead(A), C),
    ]
    for order in itertools.permutations(entries):
        found = register(*order)
        assert (found.epoch, found.owner, found.owner_epoch, found.released_epoch) == (2, A, 1, 1)
        assert found.blocks == {B: block(2, (1, B), (1, B), B, seq=3)}
        assert found.undecided


def test_the_epoch_is_the_highest_in_any_block_or_commit() -> None:
    found = register((block(3, (1, A)), A), (Commit("kv", 2, B), B))
    assert (found.epoch, found.owner_epoch, found.undecided) == (3, 2, True)
    found = register((block(3, (1, A)), A), (Commit("kv", 4, B), B))
    assert (found.epoch, found.blocks, found.undecided) == (4, {}, False)


def test_accepted_is_not_decided() -> None:
    found = register(*[(block(1, (1, A), (1, A), A), writer) for writer in (A, B, C)])
    assert found.undecided
    assert not found.owner


def test_a_release_is_of_its_epoch() -> None:
    records = Records()
    records.merge(Commit("kv", 1, A), A, 0.0)
    records.merge(Released("kv", 1, A), A, 0.0)
    assert records.register("kv").released
    records.merge(Commit("kv", 2, B), B, 0.0)
    records.merge(Released("kv", 1, A), A, 0.0)
    assert not records.register("kv").released


@pytest.mark.parametrize("first", [A, B])
def test_of_two_owners_of_an_epoch_all_take_the_same_one_and_say_so_once(first: str) -> None:
    records = Records()
    for _ in range(2):                               # as on two voters
        for identity in (first, B if first == A else A):
            records.merge(Commit("kv", 3, identity), identity, 0.0)
    found = records.register("kv")
    assert (found.owner, found.is_held_by(B), found.is_held_by(A)) == (B, True, False)
    said = records.take_log()
    assert len(said) == 1, said
    assert "epoch 3 of kv was decided twice" in said[0]
    assert A in said[0]
    assert B in said[0]
    records.merge(Commit("kv", 4, A), A, 0.0)
    assert (found.owner, records.take_log()) == (A, []), "the next epoch is as ever"


@pytest.mark.parametrize("order", list(itertools.permutations([
    Commit("kv", 3, A), Commit("kv", 3, B), Released("kv", 3, A, C), Released("kv", 3, B, A),
])))
def test_in_an_epoch_with_two_owners_only_what_the_later_one_releases_counts_and_nobody_is_the_heir(
    order: tuple[Entry, ...]
) -> None:
    records, has_released = Records(), False
    for entry in order:
        records.merge(entry, A, 0.0)
        found = records.register("kv")
        has_released = has_released or entry == Released("kv", 3, B, A)
        if found.owner == B and found.disputed_epoch:
            assert (found.released, found.is_held_by(B)) == (has_released, not has_released)
    assert (found.released, found.heir, found.is_left_to(C), found.is_left_to(A)) == (True, "", False, False)
    assert found.was_released(3, A)


def test_another_life_of_a_node_releases_what_it_has_inherited_but_not_where_both_were_decided() -> None:
    earlier, later = f"2.9.{0:032x}", f"2.10.{0:032x}"
    found = register((Commit("kv", 1, earlier), A), (Released("kv", 1, later, C), A))
    assert (found.released, found.heir) == (True, C)
    found = register((Commit("kv", 1, earlier), A), (Commit("kv", 1, later), A), (Released("kv", 1, later, C), A))
    assert (found.owner, found.released) == (earlier, False)


@pytest.mark.parametrize("values", [("1,2,3", "2,3,4"), ("2,3,4", "1,2,3")])
def test_two_electorates_with_one_number_are_said_once_and_none_of_them_is_right(values: tuple[str, str]) -> None:
    records = Records()
    records.merge(Commit("voters/1", 1, values[0]), A, 0.0)
    records.merge(Commit("voters/1", 1, values[0]), B, 0.0)
    assert (records.disputed, records.take_log()) == ("", [])
    for value in values:
        records.merge(Commit("voters/1", 1, value), A, 0.0)
    assert records.disputed == "voters/1"
    assert len(records.take_log()) == 1


def test_news_is_told_once_and_an_identity_is_seen_when_it_was_first_named() -> None:
    records = Records()
    assert records.merge(Commit("kv", 1, A), B, 5.0)
    assert not records.merge(Commit("kv", 1, A), C, 6.0)
    assert records.merge(Dead(A), B, 7.0)
    assert not records.merge(Dead(A), C, 8.0)
    assert records.first_seen == {A: 5.0}
    assert records.register("kv").changed_at == 5.0


def test_the_block_with_the_highest_seq_counts_whatever_comes_late() -> None:
    found = register((block(1, (2, A), (2, A), A, seq=7), A), (block(1, (1, A), seq=3), A))
    assert found.blocks[A].seq == 7


# ---- ballots ------------------------------------------------------------------------------------------------------


def ballot(number: Number = (5, A), epoch: int = 1) -> Ballot:
    return Ballot("kv", epoch, number, A, 10.0, 12.5)


def test_it_takes_a_quorum_in_each_phase() -> None:
    mine, known = ballot(), register()
    mine.done = {1}
    assert mine.advance(10.1, known, 2) == GOES_ON
    assert mine.phase == 1
    mine.done = {1, 3}
    assert mine.advance(10.2, known, 2) == GOES_ON
    assert (mine.phase, mine.done, mine.value) == (2, set(), A)
    mine.done = {2}
    assert mine.advance(10.3, known, 2) == GOES_ON
    mine.done = {2, 3}
    assert mine.advance(10.4, known, 2) == DECIDED


@pytest.mark.parametrize("phase", [1, 2])
@pytest.mark.parametrize(
    "read",
    [
        (block(2, (1, B)), B), (Commit("kv", 1, B), B), (Commit("kv", 2, B), B), (block(1, (6, B)), B),
        (block(1, (5, B)), B),
    ],
)
def test_it_is_beaten_in_either_phase(phase: int, read: tuple[Entry, str]) -> None:
    mine = ballot()
    if phase == 2:
        mine.done = {1, 2}
        assert mine.advance(10.1, register(), 2) == GOES_ON
    mine.done = {1, 2}
    assert mine.advance(10.2, register(read), 2) == STOPPED


def test_an_heirs_ballot_ends_when_the_epoch_before_turns_out_to_have_had_two_owners() -> None:
    commits: list[tuple[Entry, str]] = [(Commit("kv", 1, A), A), (Released("kv", 1, A, C), A)]
    mine = ballot((0, C), epoch=2)
    assert mine.advance(10.1, register(*commits), 2) == GOES_ON
    assert mine.advance(10.1, register(*commits, (Commit("kv", 1, B), B)), 2) == STOPPED
    assert ballot((1, C), epoch=2).advance(10.1, register(*commits, (Commit("kv", 1, B), B)), 2) == GOES_ON


def test_lower_numbers_and_earlier_epochs_do_not_beat_it() -> None:
    mine = ballot(epoch=2)
    mine.done = {1, 2}
    known = register((Commit("kv", 1, B), B), (block(2, (4, B)), B), (block(1, (9, C)), C))
    assert mine.advance(10.1, known, 2) == GOES_ON
    assert mine.phase == 2


def test_it_takes_up_the_value_of_the_highest_ballot_that_was_accepted() -> None:
    mine = ballot()
    mine.done = {1, 2}
    known = register((block(1, (4, B), (2, B), B), B), (block(1, (3, C), (3, C), C), C))
    assert mine.advance(10.1, known, 2) == GOES_ON
    assert mine.value == C
    assert mine.block(known, 9) == block(1, (5, A), (5, A), C, seq=9)


def test_phase_1_keeps_what_this_processor_accepted_before() -> None:
    known = register((block(1, (4, A), (3, A), B, seq=8), A))
    assert ballot().block(known, 9) == block(1, (5, A), (3, A), B, seq=9)


def test_phase_1_of_another_epoch_keeps_nothing() -> None:
    known = register((block(1, (4, A), (3, A), B, seq=8), A))
    assert ballot(epoch=2).block(known, 9) == block(2, (5, A), seq=9)


def test_a_ballot_over_b_decides_nothing() -> None:
    mine, known = ballot(), register()
    mine.done = {1, 2}
    assert mine.advance(10.1, known, 2) == GOES_ON
    mine.done = {1, 2}
    assert mine.advance(12.5, known, 2) == STOPPED
