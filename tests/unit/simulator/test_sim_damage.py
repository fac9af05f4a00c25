"""What lies on a bad disk is noticed, whatever its shape (A5)."""

from __future__ import annotations

from typing import Any

import pytest

from mosha.ownership import electorate, identity, journal, marker, slot
from mosha.ownership.journal import Commit, Dead
from mosha.ownership.marker import FULL, Marker
from moslab.faults.plan import DAMAGED, DAMAGES, DECIDED
from moslab.history.checkers import VALID
from moslab.simulator import directed
from moslab.simulator.damage import damage
from moslab.simulator.directed import DIRECTED, SHARP, crash
from moslab.simulator.disk import Disk
from moslab.simulator.draw import directed_plan
from moslab.simulator.kernel import Stream
from moslab.simulator.run import run

ERA, NONCE = "7-" + "e" * 8, "a" * 32
ME = identity.make(1, 4, NONCE)
FILES = {
    marker.NAME: marker.encode(Marker(FULL, ERA, NONCE, "c", "boot", electorate=electorate.first([1, 2, 3], 7))),
    "state": b"4\n", slot.COUNTED: slot.encode(slot.Slot(ME, 128, 0, 0, 0)),
    slot.file_name(ERA, 0): b"".join(
        slot.encode(slot.Slot(identity.make(node, 1, NONCE), 9, 0, 0, 0)) for node in range(1, 5)
    ),
    "founded": f"{ERA}\n".encode(), journal.name(ERA, ME, 0): journal.encode(Dead(ME)),
}


@pytest.mark.parametrize("shape", DAMAGES)
@pytest.mark.parametrize("file", DAMAGED)
def test_what_is_bad_is_noticed(file: str, shape: str) -> None:
    for seed in range(200):
        name, content = damage(file, shape, FILES, Stream(seed, "damage"), NONCE)
        assert content is not None
        assert (name == journal.name(ERA, ME, 0)) == (file == "written")
        if file == "voter":
            assert marker.decode(content) in (None, marker.decode(FILES[name])), "its last byte may go"
        elif file == "counted":
            assert slot.decode(content) in (None, slot.decode(FILES[name])), "its end may be anything"
        elif file == "founded":
            assert not marker.is_era(content.decode("ascii", "replace").strip())
        elif file == "journal":
            assert all(entry == Dead(identity.make(9999, 1, NONCE)) for entry in journal.decode(content)[0])
        elif file == "written":
            assert journal.is_bad(content)
        elif file == "slots":
            places = [slot.decode(content[at : at + slot.BYTES]) for at in range(0, len(content), slot.BYTES)]
            wrong = [
                found is None or identity.node_of(found.identity) != node for node, found in enumerate(places, 1)
            ]
            assert any(wrong) or shape in ("bits", "short"), "the end of each may be anything"


def test_what_was_decided_twice_is_whole_and_of_the_epochs_in_force() -> None:
    """Nobody can detect that by a checksum; the owner is the greater of the two, and goes on."""
    voters = Commit(f"{electorate.PREFIX}1", 1, "1,2,3,4")
    files = {**FILES, journal.name(ERA, ME, 1): b"".join(map(journal.encode, [
        Commit("g1", 2, ME), Commit("g1", 3, ME), Commit("g1", 1, ME), voters,
    ]))}
    name, content = damage(DECIDED, "other", files, Stream(1, "damage"), NONCE)
    loser = identity.make(1, 0, NONCE)
    assert (journal.writer_of(name, ERA), loser < ME) == (loser, True)
    assert content is not None
    assert journal.decode(content)[0] == [Commit("g1", 3, loser), voters._replace(identity="1")]


@pytest.mark.parametrize(("plan", "name"), [
    (directed.OWNED_TWICE, "takeover: released"), (directed.ELECTED_TWICE, "voter: founded an era"),
])
def test_after_a_second_decision_nothing_runs_twice_and_all_runs_again(plan: dict[str, Any], name: str) -> None:
    result = run(directed_plan(1, plan), traced=True)
    assert result.verdict == VALID, result.problems
    assert any("was decided twice" in text for _, _, text in result.log)
    assert result.counters[name]


def test_it_lies_in_the_same_file_and_no_crash_undoes_it() -> None:
    disk = Disk(frozenset(), lambda _: None)
    disk.write("slots", 0, b"whole")
    disk.spoil("slots", b"rotten")
    disk.crash(Stream(1, "crash"))
    assert disk.read("slots") == b"rotten"
    assert disk.generations == {}


def test_a_running_voter_whose_marker_is_bad_counts_again() -> None:
    """Without a boot: or else the death of another one stops everything."""
    faults = [{"at": 3.0, "do": "damage", "whom": [1], "file": "voter", "shape": "other"}, crash(6.0, 100.0, [2])]
    plan = directed.plan(faults, nodes=3, network=SHARP, safety_s=8.0, heal=[1, 3], bound_s=8.0)
    found = run(directed_plan(1, plan))
    assert (found.verdict, found.problems) == (VALID, [])
    assert found.counters["voter: marker is bad"] == 1


@pytest.mark.parametrize(("shape", "rest"), [("empty", b""), ("gone", None)])
def test_a_journal_is_lost_only_where_a_slot_tells_of_it(shape: str, rest: bytes | None) -> None:
    name = journal.name(ERA, ME, 0)
    for life, loses in ((NONCE, True), ("b" * 32, False)):
        told = slot.encode(slot.Slot(ME, 9, len(FILES[name]), 0, 0, slot.life_of(life)))
        files = {**FILES, slot.file_name(ERA, 0): told}
        found, content = damage("written", shape, files, Stream(1, "damage"), NONCE)
        assert found == name
        assert (content == rest) == loses
        assert loses or journal.is_bad(content or b"")


def test_what_is_gone_does_not_come_back() -> None:
    disk = Disk(frozenset(), lambda _: None)
    disk.write("journal", 0, b"whole")
    disk.spoil("journal", None)
    disk.crash(Stream(1, "crash"))
    assert disk.files == {}


@pytest.mark.parametrize("plan", ["JOURNAL_ROTS", "JOURNAL_EMPTIED", "JOURNAL_GONE"])
@pytest.mark.parametrize("seed", range(1, 4))
def test_a_journal_that_rots_is_not_taken_for_empty(seed: int, plan: str) -> None:
    found = run(directed_plan(seed, DIRECTED[plan]))
    assert (found.verdict, found.problems) == (VALID, [])
    assert found.counters["damage written"] == 1


def test_a_directed_plan_has_every_file() -> None:
    faults = [fault for fault in DIRECTED["DAMAGES"]["faults"] if fault["do"] == "damage"]
    assert {fault["file"] for fault in faults} == set(DAMAGED)
    assert {fault["shape"] for fault in faults} == set(DAMAGES)
