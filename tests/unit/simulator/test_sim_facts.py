"""What is read out of journals, markers and logs for the counters of what was reached."""

from __future__ import annotations

import pytest

from mosha.ownership import electorate, journal, marker
from mosha.ownership.journal import NOBODY, Block, Commit, Dead, Entry, Released
from mosha.ownership.marker import FULL, REJOINING, Marker
from moslab.simulator.facts import NAMES, RARE, SAID, Facts, said, voters_of, waits_for

ERA = "7-" + "e" * 8
A, B, NEXT = f"1.4.{'a' * 32}", f"2.1.{'b' * 32}", f"1.5.{'c' * 32}"


class Seen:
    """Facts, and how often each name was counted."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.chosen: list[tuple[int, int, list[int]]] = []
        self.buried: list[tuple[int, frozenset[str]]] = []
        self.facts = Facts(self._count, lambda *chosen: self.chosen.append((*chosen[:2], sorted(chosen[2]))))

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def write(self, writer: str, *entries: Entry, generation: int = 0) -> int | None:
        data = b"".join(map(journal.encode, entries))
        begun, buried = self.facts.appends(journal.name(ERA, writer, generation), data)
        self.buried += [buried] if buried is not None else []
        return begun


def block(writer: str, epoch: int, number: int, value: str = "", seq: int = 1) -> Block:
    """Phase 2 if there is a value."""
    return Block("kv", epoch, (number, writer), (number, writer) if value else NOBODY, value, seq)


def test_a_life_is_seen_once_and_never_goes_back() -> None:
    seen = Seen()
    assert seen.write(A, block(A, 1, 1)) == 1
    assert seen.write(A, block(A, 1, 2)) is None
    assert seen.write(NEXT, Dead(A)) == 1
    assert seen.write(A, Dead(B), generation=1) is None
    assert seen.write(B, Dead(B)) == 2
    assert seen.facts.appends("7-ee.slots.0", b"") == (None, None)
    assert seen.counts["journal: next generation"] == 1


def test_what_a_node_keeps_when_it_says_that_a_life_before_is_dead() -> None:
    seen = Seen()
    seen.write(A, Commit("kv", 1, A), Commit("web", 1, A), Commit("db", 2, B))
    seen.write(B, Dead(A))
    assert seen.buried == [], "somebody else says so"
    seen = Seen()
    seen.write(A, Commit("kv", 1, A), Commit("web", 1, A), Commit("db", 2, B))
    seen.write(NEXT, Commit("kv", 2, NEXT), Dead(A), Dead(A))
    assert seen.buried == [(1, frozenset({"kv"}))]
    seen.write(NEXT, Dead(A), generation=1)
    assert len(seen.buried) == 1, "once"


def test_for_whom_a_fenced_group_waits() -> None:
    def disk(era: str, writer: str, *entries: Entry) -> dict[str, bytes]:
        shown = marker.encode(Marker(FULL, era, "a" * 32, "c", "boot"))
        return {marker.NAME: shown, journal.name(era, writer, 0): b"".join(map(journal.encode, entries))}

    owned = disk(ERA, A, Commit("kv", 1, B), Released("kv", 1, B), Commit("kv", 2, A))
    assert waits_for([owned], "kv") == 1
    assert waits_for([owned], "web") is None
    assert waits_for([], "kv") is None
    assert waits_for([owned, disk(ERA, NEXT, Dead(A))], "kv") is None
    assert waits_for([owned, disk(ERA, A, Released("kv", 2, A))], "kv") is None
    assert waits_for([owned, disk(ERA, B, Commit("kv", 3, B))], "kv") == 2
    assert waits_for([owned, disk("8-" + "e" * 8, B)], "kv") is None, "another era knows no owner"


@pytest.mark.parametrize(
    ("ground", "name"),
    [
        ((A, Released("kv", 1, A)), "takeover: released"),
        ((NEXT, Dead(A)), "takeover: dead by its own node"),
        ((B, Dead(A)), "takeover: dead by STOMITH"),
        ((B, Dead(B)), "takeover: expired"),
    ],
)
def test_the_ground_of_a_takeover(ground: tuple[str, Entry], name: str) -> None:
    seen = Seen()
    seen.write(A, block(A, 1, 1), block(A, 1, 1, A, 2), Commit("kv", 1, A))
    seen.write(ground[0], ground[1])
    seen.write(B, block(B, 2, 1))
    assert seen.counts == {"takeover: first owner": 1, name: 1}


def test_contention() -> None:
    seen = Seen()
    seen.write(A, block(A, 1, 1))
    seen.write(B, block(B, 1, 1))
    seen.write(A, block(A, 1, 2, seq=2), block(A, 1, 2, B, seq=3))
    seen.write(A, block(A, 1, 2, B, seq=3))
    assert seen.counts == {
        "takeover: first owner": 1, "ballot: two in one epoch": 1, "ballot: beaten, and tried again": 1,
        "ballot: value adopted": 1,
    }


def test_a_voter_that_rejoins() -> None:
    seen = Seen()
    one = Marker(REJOINING, ERA, "d" * 32, "c" * 16, "boot", (), 2.5, electorate.first((1, 2)))
    for state in (FULL, REJOINING, FULL, FULL):
        seen.facts.marked(1, marker.encode(one._replace(state=state)))
    seen.facts.marked(1, b"torn")
    assert seen.counts == {"voter: rejoined": 1}


def test_the_voters_are_followed_and_are_no_group() -> None:
    seen = Seen()
    number = electorate.first((1, 2)).group
    seen.write(A, Block(number, 1, (1, A), (1, A), "1,2,3", 1), Commit(number, 1, "1,2,3"))
    assert seen.chosen == [(7, 1, [1, 2, 3])]
    assert seen.counts == {}
    assert voters_of(b"torn") == frozenset()


def test_what_agents_say_has_names() -> None:
    assert said(f"{A} is void: its lease has ended") == "void: lease ended"
    assert said(f"voter of era {ERA}: copied from voters [2, 3]") == "voter: copied"
    assert said("STOMITH node 3") is None
    assert {*NAMES, *RARE} >= {name for name, _ in SAID}
