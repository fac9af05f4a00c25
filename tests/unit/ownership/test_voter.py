"""How a voter comes to count, and when it must not: R16 to R19."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from typing import Any

import pytest

from mosha.ownership import copies as copying
from mosha.ownership import electorate, journal, marker, slot
from mosha.ownership import voter as voters
from mosha.ownership.journal import Dead, Entry
from mosha.ownership.marker import FULL, NONE, RECOVERING, REJOINING, Marker
from mosha.ownership.slot import Slot
from mosha.ownership.voter import FOUNDED, Seen, Voter
from mosha.timing import OP_LIMIT_MAX_S, F, Timing
from tests.unit.agent.fake_world import MemoryStore

ERA, TIMING = "5-00000005", Timing()
W = TIMING.recovery_s
VOTERS = electorate.first([1, 2, 3], 5)
CONFIGURATION = "c"
A = "1.1." + "a" * 32
JOURNAL = journal.name(ERA, A, 0)


class Scene:
    """Voter ``me`` of 1 … ``voters``, with its disk; the others are what is put into ``seen``."""

    def __init__(
        self, voters: int = 3, files: dict[str, bytes] | None = None, is_named: bool = True, me: int = 1,
    ) -> None:
        self.is_named, self.me = is_named, me
        self.voters, self.store = frozenset(range(1, voters + 1)), MemoryStore(**(files or {}))
        self.now, self.nonces = 100.0, 0
        self.seen: dict[int, Seen] = {}
        self.start()

    def start(self, boot: str = "boot", number: int = 0, configuration: str = CONFIGURATION) -> Voter:
        def nonce() -> str:
            self.nonces += 1
            return f"{self.nonces:032x}"

        self.voter = Voter(
            self.me, self.voters, configuration, TIMING, self.store, boot, number, lambda: self.now, nonce,
            lambda: 1700.0, self.is_named,
        )
        return self.voter

    @property
    def on_disk(self) -> Marker | None:
        return marker.decode(self.store.files[marker.NAME])

    def see(self, voter: int, state: str = FULL, era: str = ERA, **fields: Any) -> None:
        self.seen[voter] = Seen(
            Marker(
                state, era, f"life {voter}", CONFIGURATION, "b",
                electorate=electorate.first(self.voters, marker.number_of(era)),
            )._replace(**fields), self.now,
        )

    def peek(self, voter: int, content: bytes, state: str = FULL, era: str = ERA) -> bool:
        """It looked at that voter's slot of this node, and at the marker there."""
        self.see(voter, state, era)
        shown = self.seen[voter].marker
        assert shown is not None
        return self.voter.peeked(voter, content, marker.encode(shown))

    def step(self, seconds: float = 0.0) -> str:
        self.now += seconds
        self.voter.step(self.now, self.seen)
        assert self.on_disk == self.voter.marker
        return self.voter.marker.state


# ---- a disk that was founded --------------------------------------------------------------------------------------


def test_founded_is_good_for_one_start() -> None:
    scene = Scene(files={FOUNDED: b"7-00000007 1 2 3\n"})
    assert (scene.voter.marker.state, scene.voter.era) == (FULL, "7-00000007")
    assert FOUNDED not in scene.store.files
    del scene.store.files[marker.NAME]
    assert scene.start().marker.state == RECOVERING


@pytest.mark.parametrize("content", [
    b"", b"yes", b"7", b"7-0000000Z 1 2 3", b"7-00000007 1 2 3" + b" " * 120, b"\xff\n", b"7-00000007",
    b"7-00000007 1 1", b"7-00000007 0 1", b"7-00000007 1 x", b"7-00000007 1 2 3 4 5 6 7 8",
])
def test_founded_must_name_an_era_and_its_voters(content: bytes) -> None:
    scene = Scene(files={FOUNDED: content})
    assert scene.voter.marker.state == RECOVERING
    assert FOUNDED not in scene.store.files
    assert scene.store.files[voters.FOUNDED_REFUSED] == content, "it is kept for who wrote it"
    (line,) = [line for line in scene.voter.take_log() if line.startswith("founded is refused")]
    assert repr(content[:20])[1:-1] in line


def test_founded_counts_and_not_what_this_node_thinks_of_voters() -> None:
    """Else nodes with other maps, or other configurations, begin the same era with majorities that never meet."""
    scene = Scene(voters=2, files={FOUNDED: b"7-00000007 1 2 3\n"})
    assert scene.voter.electorate.voters == (1, 2, 3)
    other = Scene(voters=2, files={FOUNDED: b"7-00000007 3 4 5\n"})
    assert (other.voter.marker.state, other.voter.electorate.voters) == (NONE, (3, 4, 5))


def test_voters_that_nobody_named_found_nothing_unless_an_operator_says_so() -> None:
    scene = Scene(is_named=False)
    for _ in range(4):
        for voter in (2, 3):
            scene.see(voter, RECOVERING, "", electorate=electorate.first(scene.voters))
        assert scene.step(2 * TIMING.recovery_s) == RECOVERING
    scene.store.files[voters.ORDER] = json.dumps({"do": "found", "without": [], "name": "1"}).encode()
    scene.voter.obey(scene.now)
    assert scene.voter.answer == ["1", ""]
    assert scene.step() == FULL


@pytest.mark.parametrize(("shown", "state"), [((3,), FULL), ((2, 3), RECOVERING)])
def test_a_later_era_of_other_voters_is_followed_when_no_majority_is_left(shown: tuple[int, ...], state: str) -> None:
    """A node that founded an era by itself, on a map that had nobody else, takes no quorum from those that go on."""
    scene = Scene(files={FOUNDED: b"7-00000007 1 2 3\n"})
    alone = electorate.first({3}, 9)
    for voter in (2, 3):
        era = "9-00000009" if voter in shown else "7-00000007"
        scene.see(voter, FULL, era, electorate=alone if voter in shown else electorate.first({1, 2, 3}, 7))
    assert scene.step(1.0) == state


def test_a_node_without_a_vote_is_not_drawn_away_either() -> None:
    scene = Scene(files={FOUNDED: b"7-00000007 2 3 4\n"})
    for voter in (2, 3):
        scene.see(voter, FULL, "7-00000007", electorate=electorate.first({2, 3, 4}, 7))
    scene.see(4, FULL, "9-00000009", electorate=electorate.first({4}, 9))
    assert scene.step(1.0) == NONE
    assert scene.voter.electorate.voters == (2, 3, 4)


def test_founded_does_not_outdo_a_marker() -> None:
    scene = Scene(
        files={
            marker.NAME: marker.encode(Marker(RECOVERING, ERA, "x", CONFIGURATION, "boot", electorate=VOTERS)),
            FOUNDED: b"7-00000007 1 2 3",
        }
    )
    assert (scene.voter.marker.state, scene.voter.era) == (RECOVERING, ERA)
    assert FOUNDED not in scene.store.files


# ---- recovering ---------------------------------------------------------------------------------------------------


def test_it_waits_w_before_it_looks() -> None:
    scene = Scene()
    for voter in (2, 3):
        scene.see(voter)
    assert scene.voter.next_due(scene.now) == scene.now + W
    assert scene.step(W - 0.1) == RECOVERING
    assert scene.step(0.2) == RECOVERING
    assert scene.voter.wants_copies(scene.now, scene.seen) == ("", []), "what was read before W does not count"


@pytest.mark.parametrize("when", ["it begins", "it forgets", "it was emptied"])
def test_w_begins_when_that_it_has_forgotten_is_on_the_disk(when: str) -> None:
    """Until then others take the marker before for one that counts, however long writing takes."""
    scene = Scene(files={} if when == "it begins" else {FOUNDED: b"7-00000007 1 2 3\n"})
    before, genuine = scene.voter.marker, scene.store.replace

    def slow(name: str, content: bytes, durable: bool) -> None:
        scene.now += 3.0
        genuine(name, content, durable)

    scene.store.replace = slow  # type: ignore[assignment]
    if when == "it begins":
        scene.store.files.clear()
        scene.start()
    elif when == "it forgets":
        later = before._replace(era="9-00000009", electorate=before.electorate._replace(era=9))
        scene.seen[2] = Seen(later, scene.now)
        assert scene.step() == RECOVERING
    else:
        scene.store.files.clear()
        scene.voter.look()
    assert scene.voter.marker.state == RECOVERING
    assert scene.voter.next_due(0.0) >= scene.now + W, "and scene.now is when it was written"


def test_an_invitation_is_good_until_the_voters_change() -> None:
    """Who comes later would count as one that knows what was decided before the change, and is empty."""
    scene = Scene(voters=3)
    scene.step(W)
    for voter in (2, 3):
        scene.see(voter, RECOVERING, "", life=f"life of {voter}")
    assert scene.step() == FULL
    assert "life of 3" in scene.voter.marker.invited
    scene.voter.learn(scene.voter.electorate.next((1, 3)))
    assert scene.voter.marker.invited == ()


def test_w_begins_anew_with_each_start() -> None:
    scene = Scene()
    scene.step(W - 0.1)
    life = scene.voter.marker.life
    scene.start()
    assert scene.voter.marker.life == life
    assert scene.voter.next_due(scene.now) == scene.now + W


def text(*entries: Entry) -> bytes:
    return b"".join(map(journal.encode, entries))


def copies(scene: Scene) -> list[int]:
    scene.step()
    return scene.voter.wants_copies(scene.now, scene.seen)[1]


def test_a_quorum_of_others_is_copied() -> None:
    scene = Scene(voters=5)
    scene.step(W)
    for voter in (2, 3, 4):
        scene.see(voter)
    scene.see(5, RECOVERING, "")
    assert copies(scene) == [2, 3, 4]
    said = scene.seen[2].marker
    for voter in (2, 3):
        journals = [[JOURNAL, text(Dead(A), Dead(f"{voter}.1.{'b' * 32}"))], ["cltab", b"x"]]
        scene.voter.copy_of(voter).take(ERA, journals, said, True)
    assert copies(scene) == [4]
    assert scene.step() == RECOVERING, "two of three"
    scene.voter.copy_of(4).take(ERA, [], said, True)
    assert scene.step() == FULL
    assert scene.voter.era == ERA
    copied = {name: data for name, data in scene.store.files.items() if name != marker.NAME}
    (name,) = copied
    assert journal.writer_of(name, ERA) == A
    assert journal.decode(copied[name]) == (
        [Dead(A), Dead(f"2.1.{'b' * 32}"), Dead(f"3.1.{'b' * 32}")], len(copied[name])
    )


def test_large_copies_are_parts_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "PART_BYTES_MAX", 200)
    scene = Scene()
    scene.step(W)
    facts = [Dead(f"{number}.1.{'b' * 32}") for number in range(1, 30)]
    for voter in (2, 3):
        scene.see(voter)
    assert copies(scene) == [2, 3]
    for voter in (2, 3):
        scene.voter.copy_of(voter).take(ERA, [[JOURNAL, text(*facts[voter :])]], scene.seen[2].marker, True)
    assert scene.step() == FULL
    parts = [data for name, data in scene.store.files.items() if journal.writer_of(name, ERA) == A]
    assert len(parts) > 5
    assert all(len(part) <= 200 for part in parts)
    assert {entry for part in parts for entry in journal.decode(part)[0]} == set(facts[2:])


@pytest.mark.parametrize(
    "said", [None, Marker(RECOVERING, ERA, "l", "c", "b"), Marker(FULL, "6-00000006", "l", "c", "b")]
)
def test_a_copy_of_a_voter_that_is_not_full_after_it_is_none(said: Marker | None) -> None:
    scene = Scene()
    scene.step(W)
    for voter in (2, 3):
        scene.see(voter)
    assert copies(scene) == [2, 3]
    for voter in (2, 3):
        scene.voter.copy_of(voter).take(ERA, [], said, True)
    assert scene.step() == RECOVERING
    assert copies(scene) == [2, 3]


def test_a_copy_takes_as_many_pages_as_it_needs_and_all_of_one_life() -> None:
    scene = Scene()
    scene.step(W)
    for voter in (2, 3):
        scene.see(voter)
    said = scene.seen[2].marker
    assert said is not None
    first, second = text(Dead(A)), text(Dead(f"2.1.{'b' * 32}"))
    assert copies(scene) == [2, 3]
    copy = scene.voter.copy_of(2)
    copy.take(ERA, [[JOURNAL, first + second[:9]]], said, False)
    assert copy.known() == [(JOURNAL, len(first))], "a line that is not whole is read again"
    assert copies(scene) == [2, 3]
    copy.take(ERA, [[JOURNAL, second]], said._replace(life="another"), True)
    assert copy.known() == [], "what a voter has after it was wiped is another journal of that name"
    for page, is_whole in ((first, False), (second, True)):
        assert copies(scene) == [2, 3]
        copy.take(ERA, [[JOURNAL, page]], said, is_whole)
    assert copies(scene) == [3]
    scene.voter.copy_of(3).take(ERA, [], said, True)
    assert scene.step() == FULL
    (kept,) = [data for name, data in scene.store.files.items() if journal.writer_of(name, ERA) == A]
    assert kept == first + second


def test_copies_never_have_the_name_of_earlier_ones() -> None:
    names: list[set[str]] = []
    scene = Scene()
    for _ in range(2):
        scene.step(W)
        for voter in (2, 3):
            scene.see(voter)
        assert copies(scene) == [2, 3]
        for voter in (2, 3):
            scene.voter.copy_of(voter).take(ERA, [[JOURNAL, text(Dead(A))]], scene.seen[2].marker, True)
        assert scene.step() == FULL
        names.append({name for name in scene.store.files if ".copy." in name})
        for name in names[-1]:
            scene.store.remove(name)                 # as housekeeping does
        scene.voter._forget("the voters have changed", scene.voter.marker.life)
    assert all(names)
    assert not names[0] & names[1]


def test_copies_of_another_era_are_dropped() -> None:
    scene = Scene()
    scene.step(W)
    for voter in (2, 3):
        scene.see(voter)
    assert copies(scene) == [2, 3]
    scene.voter.copy_of(2).take(ERA, [[JOURNAL, b"old"]], scene.seen[2].marker, True)
    for voter in (2, 3):
        scene.see(voter, era="6-00000006")
    assert copies(scene) == [2, 3]
    for voter in (2, 3):
        scene.voter.copy_of(voter).take("6-00000006", [], scene.seen[2].marker, True)
    assert scene.step() == FULL
    assert scene.voter.era == "6-00000006"
    assert not any(".j." in name for name in scene.store.files)


def test_being_full_in_an_era_ends_what_is_left_of_others() -> None:
    later = "6-00000006"
    kept = {"cltab": b"x", journal.name(later, A, 0): b"y"}
    scene = Scene(files={JOURNAL: b"x", slot.file_name(ERA, 0): b"x", **kept})
    scene.step(W)
    scene.see(2, era=later, invited=(scene.voter.marker.life,))
    assert scene.step() == FULL
    assert {name for name in scene.store.files if name != marker.NAME} == set(kept)


# ---- founding and invitation --------------------------------------------------------------------------------------


def test_the_lowest_that_recovers_founds_when_all_are_there() -> None:
    scene = Scene()
    scene.step(W)
    latest = electorate.first([1, 2, 3], 9)
    scene.see(2, RECOVERING, "9-00000009")
    assert scene.step() == RECOVERING, "voter 3 is not there"
    scene.seen[3] = Seen(None, scene.now)
    assert scene.step() == RECOVERING, "voter 3 has not begun"
    scene.see(3, RECOVERING, "")
    assert scene.step() == RECOVERING, "voter 3 does not know yet who votes"
    scene.see(3, RECOVERING, "", electorate=latest)
    assert scene.step() == FULL
    assert marker.number_of(scene.voter.era) == 1700
    assert scene.voter.electorate == latest._replace(era=1700)
    assert scene.voter.marker.invited == (scene.voter.marker.life, "life 2", "life 3")


def test_an_era_is_above_all_that_were_seen() -> None:
    scene = Scene()
    scene.step(W)
    scene.see(2, RECOVERING, "9999999-00000009")
    scene.see(3, RECOVERING, "", electorate=electorate.first([1, 2, 3], 9999999))
    assert scene.step() == FULL
    assert marker.number_of(scene.voter.era) == 10_000_000


@pytest.mark.parametrize(
    ("state", "fields"), [(REJOINING, {}), (FULL, {"configuration": "d"}), (RECOVERING, {"configuration": "d"})]
)
def test_nothing_is_founded_beside_one_that_may_count_at_any_moment(state: str, fields: dict[str, Any]) -> None:
    scene = Scene()
    scene.step(W)
    scene.see(2, RECOVERING, "")
    scene.see(3, state, **fields)
    assert scene.step() == RECOVERING


def test_the_only_voter_settles_after_a_restart_in_the_middle() -> None:
    alone = electorate.Electorate(7, 1, (1,))
    left = Marker(FULL, ERA, "x", CONFIGURATION, "boot", electorate=alone, settled=False)
    scene = Scene(files={marker.NAME: marker.encode(left)})
    scene.step()
    assert scene.voter.marker.settled


def test_an_era_is_later_than_what_nodes_without_a_vote_know() -> None:
    scene = Scene()
    scene.step(W)
    scene.voter.witnessed(None)
    scene.voter.witnessed(Marker(NONE, "", "x", CONFIGURATION, "boot", electorate=electorate.first([1, 2, 3], 4000)))
    scene.see(2, RECOVERING, "")
    scene.see(3, RECOVERING, "")
    assert scene.step() == FULL
    assert marker.number_of(scene.voter.era) == 4001


def test_not_the_lowest_waits_to_be_invited() -> None:
    scene = Scene(voters=3)
    scene.voter = Voter(
        3, scene.voters, CONFIGURATION, TIMING, scene.store, "boot", 0, lambda: scene.now, lambda: "n" * 32, lambda: 0
    )
    scene.step(W)
    scene.see(1, RECOVERING, "")
    scene.see(2, RECOVERING, "")
    assert scene.step() == RECOVERING
    scene.see(1, FULL, "1700-00000001", invited=("another life",))
    assert scene.step() == RECOVERING
    scene.see(1, FULL, "1700-00000001", invited=("another life", scene.voter.marker.life))
    assert scene.step() == FULL
    assert scene.voter.era == "1700-00000001"


def test_an_old_invitation_does_not_count_again() -> None:
    scene = Scene()
    scene.step(W)
    invited = (scene.voter.marker.life,)
    scene.see(2, era=ERA, invited=invited)
    assert scene.step() == FULL
    scene.see(3, era="6-00000006")
    assert scene.step() == RECOVERING
    scene.step(W)
    del scene.seen[3]
    scene.see(2, era=ERA, invited=invited)
    assert scene.step() == RECOVERING, "it was full in that era, and may have forgotten nothing"


def test_a_voter_alone_founds() -> None:
    scene = Scene(voters=1)
    assert scene.step(W - 0.1) == RECOVERING
    assert scene.step(0.11) == FULL


# ---- full ---------------------------------------------------------------------------------------------------------


def full(**files: bytes) -> Scene:
    shown = Marker(FULL, ERA, "life 1", CONFIGURATION, "boot", electorate=VOTERS)
    return Scene(files={marker.NAME: marker.encode(shown), **files})


def test_an_agent_that_restarts_within_a_boot_goes_on() -> None:
    assert full().voter.marker.state == FULL


def test_a_later_era_ends_it() -> None:
    scene = full()
    scene.see(2, RECOVERING, "6-00000006")
    assert scene.step() == FULL
    scene.see(2, FULL, "6-00000006", configuration="d")
    assert scene.step() == FULL
    scene.see(2, FULL, "4-00000006")
    assert scene.step() == FULL
    scene.see(2, FULL, "6-00000006")
    assert scene.step() == RECOVERING
    assert scene.voter.next_due(scene.now) == scene.now + W
    assert scene.voter.take_log()


@pytest.mark.parametrize("boot", ["next", ""])
def test_after_a_boot_it_asks_others_for_its_slot(boot: str) -> None:
    scene = full(**{slot.COUNTED: slot.encode(Slot("1.3." + "b" * 32, 9, 0, 0, 0))})
    scene.start(boot, number=3)
    assert scene.voter.wants_peeks() == [2, 3]
    assert scene.step(100) == REJOINING
    scene.peek(3, slot.encode(Slot("1.3." + "b" * 32, 9, 0, 0, 0)))
    assert scene.voter.wants_peeks() == [2]
    assert scene.step() == REJOINING
    assert scene.voter.next_due(scene.now) == scene.now + TIMING.op_limit_s
    assert scene.step(TIMING.op_limit_s - 0.01) == REJOINING, "who answers within D is heard"
    assert scene.step(0.02) == FULL
    assert scene.voter.marker.life == "life 1"


@pytest.mark.parametrize("content", [b"", bytes(64)])
def test_a_voter_without_its_slot_knows_nothing_later(content: bytes) -> None:
    scene = full()
    scene.start("next", number=3)
    scene.peek(2, content)
    scene.peek(3, content)
    assert scene.step() == FULL


@pytest.mark.parametrize(("state", "era", "counts"), [
    (FULL, ERA, True), (REJOINING, ERA, True), (RECOVERING, ERA, False), (NONE, ERA, False),
    (FULL, "4-00000006", False),
])
def test_who_has_forgotten_itself_is_no_witness(state: str, era: str, counts: bool) -> None:
    """It knew of a later life, perhaps, before it lost its disk. If all have, there is none to wait for."""
    scene = full()
    scene.start("next", number=3)
    assert scene.peek(2, b"", state, era)
    assert scene.voter.wants_peeks() == ([3] if counts else [2, 3])
    scene.step()
    assert scene.step(TIMING.op_limit_s) == (FULL if counts else REJOINING)
    assert scene.peek(3, b"", RECOVERING)
    assert scene.step() == FULL


def test_who_answers_after_the_first_still_shows_that_the_disk_is_old() -> None:
    """Of three voters those that have met a later life, and the one that is asked first, may be two."""
    scene = full()
    scene.start("next", number=3)
    scene.peek(3, b"")
    assert scene.step() == REJOINING
    scene.peek(2, slot.encode(Slot("1.4." + "b" * 32, 9, 0, 0, 0)))
    assert scene.step() == RECOVERING


def test_who_had_a_vote_is_asked_no_more() -> None:
    scene = Scene(4, files={FOUNDED: b"5-00000005 1 2 3 4\n"})
    scene.start("next", number=3)
    for voter in (3, 4):
        scene.peek(voter, b"")
    later = electorate.Electorate(5, 1, (1, 2, 3))
    scene.see(2, electorate=later)
    assert scene.step() == REJOINING
    assert scene.voter.wants_peeks() == [2, 3], "with other voters it begins anew"
    assert scene.step(TIMING.op_limit_s) == REJOINING


def test_a_disk_that_was_rolled_back_has_forgotten() -> None:
    scene = full()
    scene.start("next", number=3)
    scene.peek(2, slot.encode(Slot("1.4." + "b" * 32, 9, 0, 0, 0)))
    assert scene.step() == RECOVERING
    assert scene.voter.marker.life != "life 1"


@pytest.mark.parametrize(
    ("counted", "seen", "state"),
    [
        (("1.3.", "b", 200), ("1.3.", "b", 200), FULL),
        (("1.3.", "b", 200), ("1.3.", "b", 201), RECOVERING),        # it wrote more than this disk remembers
        (("1.3.", "b", 200), ("1.3.", "c", 1), RECOVERING),          # another life with that number
        (("1.2.", "b", 200), ("1.3.", "c", 900), RECOVERING),        # it has not counted what was written then
        (("1.2.", "b", 200), ("1.2.", "b", 900), RECOVERING),
        (("1.3.", "b", 200), ("1.2.", "c", 900), FULL),              # an old one, on a voter that was away
        (("1.3.", "b", 200), ("1.4.", "c", 1), RECOVERING),
    ],
)
def test_a_disk_that_was_rolled_back_within_a_life_has_forgotten(
    counted: tuple[str, str, int], seen: tuple[str, str, int], state: str
) -> None:
    def content(life: str, nonce: str, counter: int) -> bytes:
        return slot.encode(Slot(life + nonce * 32, counter, 0, 0, 0))

    scene = full(**{slot.COUNTED: content(*counted)})
    scene.start("next", number=3)
    for voter in (2, 3):
        scene.peek(voter, content(*seen))
    assert scene.step() == state


@pytest.mark.parametrize(("seen", "state"), [("1.3.", RECOVERING), ("1.2.", FULL)])
def test_a_disk_that_does_not_remember_what_it_counted_is_not_trusted(seen: str, state: str) -> None:
    scene = full(**{slot.COUNTED: slot.encode(Slot("1.3." + "b" * 32, 9, 0, 0, 0))[:40]})
    scene.start("next", number=3)
    for voter in (2, 3):
        scene.peek(voter, slot.encode(Slot(seen + "b" * 32, 1, 0, 0, 0)))
    assert scene.step() == state


def test_a_late_look_meets_the_slot_of_this_very_agent() -> None:
    scene = full()
    scene.start("next", number=3)
    now = "1.4." + "b" * 32
    scene.voter.mine.add(now)
    for voter in (2, 3):
        scene.peek(voter, slot.encode(Slot(now, 1, 0, 0, 0)))
    assert scene.step() == FULL


def test_another_configuration_begins_as_one_that_has_forgotten() -> None:
    scene = full(**{JOURNAL: journal.encode(Dead(A))})
    scene.start(configuration="d")
    assert (scene.voter.marker.state, scene.voter.marker.configuration, scene.voter.era) == (RECOVERING, "d", ERA)
    for voter in (2, 3):
        scene.see(voter)                             # with the old configuration
    assert scene.step(W) == RECOVERING
    for voter in (2, 3):
        scene.see(voter)
    assert scene.step() == RECOVERING
    for voter in (2, 3):
        scene.see(voter, RECOVERING, configuration="d")
    assert scene.step() == FULL
    assert marker.number_of(scene.voter.era) > marker.number_of(ERA)


@pytest.mark.parametrize("restarts", [0, 1])
def test_a_voter_whose_lease_was_longer_waits_for_the_longer_one(restarts: int) -> None:
    """Else an owner that runs on under the old configuration is overtaken by a founding under the new one."""
    scene = full()
    scene.store.files[marker.NAME] = marker.encode(scene.voter.marker._replace(lease_s=20.0))
    for _ in range(1 + restarts):
        scene.start(configuration="d")
    for voter in (2, 3):
        scene.see(voter, RECOVERING, configuration="d")
    longer_s = F * 20.0 + OP_LIMIT_MAX_S
    assert scene.step(longer_s - 0.1) == RECOVERING
    scene.step(0.11)
    for voter in (2, 3):
        scene.see(voter, RECOVERING, configuration="d")
    assert scene.step() == FULL
    assert scene.voter.marker.lease_s == TIMING.lease_s


def witness(scene: Scene) -> None:
    scene.voter.witnessed(Marker(NONE, "", "w", CONFIGURATION, "b", lease_s=20.0, electorate=VOTERS))


def another_voter(scene: Scene) -> None:
    scene.see(2, RECOVERING, "", lease_s=20.0)
    scene.see(3, RECOVERING, "")
    scene.step()


@pytest.mark.parametrize("shown", [witness, another_voter])
def test_a_voter_that_was_emptied_waits_for_the_longest_lease_that_anybody_knows(
    shown: Callable[[Scene], None]
) -> None:
    """Its own marker would have told it, and is lost."""
    scene = Scene()
    for _ in range(2):
        shown(scene)
        scene.start()                                # the marker remembers
    shown(scene)
    longer_s = F * 20.0 + OP_LIMIT_MAX_S
    for wait_s, state in ((longer_s - 0.1, RECOVERING), (0.11, RECOVERING), (0.0, FULL)):
        scene.step(wait_s)
        for voter in (2, 3):
            scene.see(voter, RECOVERING, "")
        assert scene.voter.marker.state == state or scene.step() == state


def test_what_counts_waits_for_no_lease() -> None:
    scene = full()
    before = scene.voter.marker
    witness(scene)
    assert (before.state, scene.voter.marker) == (FULL, before)


# ---- an operator's word -------------------------------------------------------------------------------------------


def give(scene: Scene, content: bytes) -> None:
    scene.store.replace(voters.ORDER, content)
    scene.voter.obey(scene.now)
    assert voters.ORDER not in scene.store.files, "an order is carried out once"


def order(scene: Scene, **words: Any) -> str:
    """Why it was refused; that is logged too."""
    give(scene, json.dumps({**words, "name": "mine"}).encode())
    name, problem = scene.voter.answer
    assert name == "mine"
    assert bool(problem) is any(problem in line for line in scene.voter.take_log() if line.startswith("refused"))
    return problem


def test_an_operator_may_say_that_a_voter_is_gone() -> None:
    scene = Scene()
    scene.step(W)
    scene.see(2, RECOVERING, "")
    assert scene.step(1.0) == RECOVERING, "voter 3 is not there"
    assert order(scene, do="found", without=[3]) == ""
    scene.see(2, RECOVERING, "")
    assert scene.step(1.0) == FULL
    assert "life 2" in scene.voter.marker.invited


@pytest.mark.parametrize("again", ["wiped", "told to forget"])
def test_who_is_gone_is_said_of_one_recovery_only(again: str) -> None:
    """Weeks later voter 3 is there and cut off: the old word would found an era over what it still runs."""
    scene = Scene()
    scene.step(W)
    scene.see(2, RECOVERING, "")
    assert order(scene, do="found", without=[3]) == ""
    scene.see(2, RECOVERING, "")
    assert scene.step(1.0) == FULL
    if again == "wiped":
        del scene.store.files[marker.NAME]
        scene.voter.look()
    else:
        assert order(scene, do="forget") == ""
    scene.seen.clear()
    for _ in range(3):
        scene.see(2, RECOVERING, "", electorate=scene.voter.electorate)
        assert scene.step(W) == RECOVERING
    assert order(scene, do="found", without=[3]) == ""
    scene.see(2, RECOVERING, "", electorate=scene.voter.electorate)
    assert scene.step(1.0) == FULL


@pytest.mark.parametrize(("without", "problem"), [
    ([2, 3], "2 of [1, 2, 3] must be there"), ([1], "this node is one of those"), ([3, 4], "not voters: [4]"),
])
def test_an_era_is_not_founded_without_a_quorum_or_by_one_that_is_gone(without: list[int], problem: str) -> None:
    scene = Scene()
    scene.step(W)
    assert problem in order(scene, do="found", without=without)
    assert scene.step(1.0) == RECOVERING


def test_a_voter_that_is_two_electorates_behind_never_counts_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """One write: a crash between two would leave a voter of voters that it has not copied."""
    scene = Scene(files={FOUNDED: b"7-00000007 1 2 3\n"})
    written: list[str] = []
    replace = scene.store.replace

    def watched(name: str, content: bytes, durable: bool = False) -> None:
        found = marker.decode(content) if name == marker.NAME else None
        written.extend([found.state] if found is not None else [])
        replace(name, content, durable)

    monkeypatch.setattr(scene.store, "replace", watched)
    scene.voter.learn(electorate.Electorate(7, 2, (1, 3, 4)))
    assert written == [RECOVERING]


def test_an_operator_is_told_on_which_node_to_say_it() -> None:
    scene = Scene(is_named=False, me=2)
    for voter in (1, 3):
        scene.see(voter, RECOVERING, "")
    scene.step(W)
    assert "say it on node 1" in order(scene, do="found", without=[])
    assert scene.step(1.0) == RECOVERING
    assert order(scene, do="found", without=[1]) == "", "it does not matter any more"
    scene.see(3, RECOVERING, "")
    assert scene.step(1.0) == FULL


def test_an_order_is_over_when_another_voter_has_to_found() -> None:
    """It was not there yet when the operator said so."""
    scene = Scene(is_named=False, me=2)
    scene.step(W)
    assert order(scene, do="found", without=[]) == ""
    for voter in (1, 3):
        scene.see(voter, RECOVERING, "")
    assert scene.step() == RECOVERING
    assert [line for line in scene.voter.take_log() if "no era is founded" in line and "say it on node 1" in line]
    assert scene.step(1.0) == RECOVERING
    assert not scene.voter.take_log(), "it is said once"


def test_a_node_without_a_vote_founds_nothing_and_has_nothing_to_forget() -> None:
    scene = Scene(files={marker.NAME: marker.encode(Marker(
        NONE, ERA, "x", CONFIGURATION, "boot", electorate=electorate.first([2, 3], 5),
    ))})
    for words in ({"do": "found", "without": [3]}, {"do": "forget"}):
        assert order(scene, **words) == "this node has no vote"
        assert scene.step(1.0) == NONE


def test_an_order_is_not_there_again_after_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    removed: dict[str, bool] = {}
    monkeypatch.setattr(scene.store, "remove", lambda name, durable=False: removed.setdefault(name, durable) or True)
    scene.store.files[voters.ORDER] = json.dumps({"do": "forget", "name": "1"}).encode()
    scene.voter.obey(scene.now)
    assert removed[voters.ORDER]


def test_an_order_that_is_withdrawn_while_it_is_read_is_not_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(files={FOUNDED: b"7-00000007 1 2 3\n"})
    monkeypatch.setattr(scene.store, "remove", lambda _, durable: False)
    scene.store.replace(voters.ORDER, b'{"do": "forget", "name": "mine"}')
    scene.voter.obey(scene.now)
    assert scene.voter.marker.state == FULL
    assert scene.voter.answer == []


def test_a_voter_that_counts_founds_nothing_and_can_be_told_to_forget() -> None:
    scene = Scene(files={FOUNDED: b"7-00000007 1 2 3\n"})
    life = scene.voter.marker.life
    assert "only a voter that recovers" in order(scene, do="found", without=[3])
    assert order(scene, do="forget") == ""
    assert scene.voter.marker.state == RECOVERING
    assert scene.voter.marker.life != life
    assert scene.step(W / 2) == RECOVERING


@pytest.mark.parametrize("content", [
    b"", b"found", b"[]", b'{"do": "found"}', b'{"do": "found", "without": ["x"]}', b'{"do": []}',
    b'{"do": "elect", "name": "mine", "voters": [1e999]}', b"[" * 4000, b"\xff",
])
def test_what_is_not_an_order_changes_nothing(content: bytes) -> None:
    scene = Scene()
    before = scene.voter.marker
    give(scene, content)
    assert "not an order" in scene.voter.take_log()[-1]
    assert (scene.voter.marker, scene.voter.answer) == (before, [])


# ---- a marker that is bad -----------------------------------------------------------------------------------------


def test_a_voter_forgets_when_its_marker_is_not_what_it_wrote() -> None:
    scene = Scene(files={FOUNDED: b"7-00000007 1 2 3\n"})
    life, whole = scene.voter.marker.life, scene.store.files[marker.NAME]
    scene.voter.look()
    assert (scene.voter.marker.state, scene.voter.marker.life) == (FULL, life), "nothing is wrong with it"
    older = marker.encode(scene.voter.marker._replace(life="older"))
    for bad in (b"", whole[:-9], whole.replace(b"full", b"fulL"), older, None):
        scene.start()
        assert scene.voter.marker.state in (FULL, RECOVERING)
        life = scene.voter.marker.life
        if bad is None:
            del scene.store.files[marker.NAME]
        else:
            scene.store.files[marker.NAME] = bad
        scene.voter.look()
        assert scene.step(W / 2) == RECOVERING, "what it wrote lies there again"
        assert scene.voter.marker.life != life
        assert any("the marker on this disk is not what was written" in line for line in scene.voter.take_log())


def test_the_marker_of_a_node_without_a_vote_promises_nothing() -> None:
    scene = Scene(files={FOUNDED: b"7-00000007 1 2 3\n"})
    scene.voters = frozenset({2, 3})
    del scene.store.files[marker.NAME]
    assert scene.start().marker.state == NONE
    scene.store.files[marker.NAME] = b"rotten"
    scene.voter.look()
    assert scene.voter.marker.state == NONE
    assert scene.on_disk == scene.voter.marker, "who asks which era it knows is told"


def emptied(scene: Scene) -> str:
    """Somebody empties the directory, and nobody has looked yet; the life of the voter until then."""
    scene.store.files.clear()
    return scene.voter.marker.life


def assert_forgot(scene: Scene, life: str) -> None:
    """It forgets, under another life, at once, and waits."""
    assert scene.on_disk == scene.voter.marker
    assert scene.voter.marker.state == RECOVERING
    assert scene.voter.marker.life != life, "a link to it would go on where nothing is"
    assert scene.voter.marker.met == ""
    assert scene.voter.next_due(scene.now) == scene.now + W
    assert scene.voter.losses == 1


def test_one_that_was_emptied_learns_of_other_voters_as_one_that_forgot() -> None:
    for latest in (VOTERS._replace(number=1, voters=(1, 2, 3, 4)), VOTERS._replace(number=2, voters=(1, 2, 3, 4, 5))):
        scene = Scene(files={FOUNDED: b"5-00000005 1 2 3\n"})
        assert scene.voter.electorate == VOTERS
        life = emptied(scene)
        scene.voter.learn(latest)
        assert_forgot(scene, life)


def test_one_that_was_emptied_and_left_out_of_an_era_has_another_life() -> None:
    scene = Scene(files={FOUNDED: b"5-00000005 1 2 3\n"})
    life = emptied(scene)
    scene.see(2, era="6-00000006")
    scene.step()
    assert_forgot(scene, life)


def test_one_that_was_emptied_neither_closes_nor_goes_on_alone() -> None:
    for moment in ("meets", "closes", "opens", "goes alone"):
        scene = Scene(2, files={FOUNDED: b"5-00000005 1 2\n"})
        if moment != "meets":
            scene.voter.meet()
        if moment in ("opens", "goes alone"):
            assert scene.voter.close()
        life = emptied(scene)
        if moment == "meets":
            scene.voter.meet()
        elif moment == "opens":
            scene.voter.reopen()
        else:
            assert not (scene.voter.close if moment == "closes" else scene.voter.go_alone)(), moment
        assert_forgot(scene, life)
        assert not scene.voter.close()


def test_one_that_was_emptied_does_not_settle() -> None:
    scene = Scene(files={FOUNDED: b"5-00000005 1 2 3\n"})
    latest = VOTERS._replace(number=1, voters=(1, 2))
    scene.voter.learn(latest)
    scene.see(2, electorate=latest._replace(before=VOTERS.voters))
    scene.step()
    assert scene.voter.electorate.before == VOTERS.voters
    life = emptied(scene)
    scene.step(W)
    assert_forgot(scene, life)


def test_one_that_is_emptied_while_it_recovers_waits_and_copies_anew() -> None:
    scene = Scene()
    for _ in range(2):
        for voter in (2, 3):
            scene.see(voter)
        scene.step(W)
        for voter in (2, 3):
            scene.see(voter)
        era, voters = scene.voter.wants_copies(scene.now, scene.seen)
        assert (era, voters) == (ERA, [2, 3])
        for voter in (2, 3):
            scene.voter.copy_of(voter).take(ERA, [[JOURNAL, text(Dead(A))]], scene.seen[voter].marker, True)
        if not scene.voter.losses:
            life = emptied(scene)
            scene.step()
            assert_forgot(scene, life)
            scene.voter.wants_copies(scene.now, scene.seen)
    assert scene.step() == FULL
    assert any(name.startswith(JOURNAL) for name in scene.store.files)


# ---- bad journals -------------------------------------------------------------------------------------------------


def test_a_voter_that_finds_a_bad_journal_forgets_and_removes_it_when_it_is_full() -> None:
    names = [journal.name(ERA, A, generation) for generation in range(2 * voters.LOOKED_AT)]
    scene = full(**dict.fromkeys(names, text(Dead(A))))
    for _ in range(4):
        scene.voter.look_at_journals()
    assert scene.voter.marker.state == FULL
    scene.store.files[names[-1]] = b"x" + text(Dead(A))[1:]
    for _ in range(3):
        scene.voter.look_at_journals()
    assert scene.on_disk == scene.voter.marker
    assert (scene.voter.marker.state, scene.voter.losses) == (RECOVERING, 1)
    assert any(names[-1] in line for line in scene.voter.take_log())
    scene.voter.look_at_journals()
    assert scene.voter.losses == 1, "once"
    scene.step(W)
    for voter in (2, 3):
        scene.see(voter)
    for voter in copies(scene):
        scene.voter.copy_of(voter).take(ERA, [[JOURNAL, text(Dead(A))]], scene.seen[2].marker, True)
    assert scene.step() == FULL
    assert set(names) & set(scene.store.files) == set(names[:-1])


@pytest.mark.parametrize("rest", [text(Dead(A))[:-1], b"", None])
@pytest.mark.parametrize("life", ["life 1", "life 2"])
def test_a_journal_that_is_shorter_than_its_slot_says_or_gone_is_bad(rest: bytes | None, life: str) -> None:
    """If its writer knew this life of the voter."""
    line = text(Dead(A))
    slots = slot.file_name(ERA, slot.file_of(1))
    told = Slot(A, 1, len(line), 0, 0, slot.life_of(life))
    scene = full(**{JOURNAL: line, slots: bytes(slot.offset_of(1)) + slot.encode(told)})
    scene.voter.look_at_journals()
    assert scene.voter.marker.state == FULL
    del scene.store.files[JOURNAL]
    if rest is not None:
        scene.store.files[JOURNAL] = rest
    scene.voter.look_at_journals()
    assert scene.voter.marker.state == (RECOVERING if life == "life 1" else FULL)


def test_a_page_with_a_bad_journal_is_no_copy() -> None:
    copy, said = copying.Copy(), Marker(FULL, ERA, "l", "c", "b")
    assert copy.take(ERA, [[JOURNAL, text(Dead(A))]], said, False)
    assert not copy.take(ERA, [[JOURNAL, b"x" + text(Dead(A))]], said, True)
    assert not copy.is_whole
    assert copy.known() == []


def test_nobody_goes_alone_over_a_bad_journal() -> None:
    """It may have said that somebody accepted another electorate."""
    scene = Scene(2, files={FOUNDED: b"5-00000005 1 2\n"})
    scene.voter.meet()
    assert scene.voter.close()
    scene.store.files[JOURNAL] = b"x" + text(Dead(A))[1:]
    assert not scene.voter.go_alone()
    scene.store.files[JOURNAL] = text(Dead(A))
    assert scene.voter.go_alone()


@pytest.mark.parametrize("call", ["list", "read"])
def test_nobody_goes_alone_over_a_journal_that_cannot_be_read(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor ends for it: the other one of two was shot just now."""
    scene = Scene(2, files={FOUNDED: b"5-00000005 1 2\n", JOURNAL: text(Dead(A))})
    scene.voter.meet()
    assert scene.voter.close()
    works = getattr(scene.store, call)

    def fails(*arguments: Any) -> Any:
        if arguments[:1] == (marker.NAME,):
            return works(*arguments)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(scene.store, call, fails)
        assert not scene.voter.go_alone()
    assert scene.voter.go_alone()
