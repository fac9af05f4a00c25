"""One voter's exchanges: what is written and read, what counts, and the windows of R13."""

from __future__ import annotations

from typing import Any

import pytest

from mosha.ownership import electorate, journal, marker, slot
from mosha.ownership.ballot import OVER, Ballot
from mosha.ownership.journal import NOBODY, Block, Commit, Dead, Entry, Fact
from mosha.ownership.link import APPEND_BYTES_MAX, Due, Link, Reply, Request, Spread, has_expired
from mosha.ownership.marker import FULL, RECOVERING, REJOINING, Marker
from mosha.ownership.slot import Slot
from mosha.platform import plans
from tests.unit.agent.fake_world import carry_out

ERA, CONFIGURATION, LIMIT_S = "1-00000001", "c", 1.5
A, B, C = (f"{node}.1.{node:032x}" for node in (1, 2, 3))
VOTERS = electorate.first([8, 9], 1)
WHOLE = Marker(FULL, ERA, "life", CONFIGURATION, "boot", electorate=VOTERS)
LIFE = slot.life_of(WHOLE.life)


class Scene:
    """Node 1's link to a voter whose disk is a dictionary."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = {} if files is None else files
        self.files.setdefault(marker.NAME, marker.encode(WHOLE))
        self.useless: set[Any] = set()
        self.dead: set[str] = set()
        self.now = 100.0
        self.link = self.make(A)

    def make(self, identity: str) -> Link:
        link = Link(9, identity, ERA, CONFIGURATION, VOTERS, LIMIT_S, self._is_useful, self.dead)
        link.is_near = link.wants_all = True
        return link

    def _is_useful(self, fact: Fact) -> bool:
        return fact not in self.useless

    def mark(self, **changes: Any) -> None:
        self.files[marker.NAME] = marker.encode(WHOLE._replace(**changes))

    def ask(self, beat: bool = True) -> Request:
        self.link.wants_beat = self.link.wants_beat or beat
        return self.link.request(self.now, 0, [0])

    def do(self, request: Request) -> Any:
        try:
            return carry_out(self.files, plans.exchange(*request.arguments))
        except FileNotFoundError:
            return None

    def exchange(self, beat: bool = True, takes_s: float = 0.01) -> Reply | None:
        request = self.ask(beat)
        reply = self.do(request)
        self.now += takes_s
        return self.link.answered(self.now, request, reply)

    def fail(self, happens: bool = False) -> Request:
        """An exchange without an answer."""
        request = self.ask()
        if happens:
            self.do(request)
        self.now += LIMIT_S
        assert self.link.answered(self.now, request, None) is None
        return request

    def beat(self, node: int, counter: int, identity: str = "") -> None:
        """Another node writes its slot."""
        content = slot.encode(Slot(identity or f"{node}.1.{node:032x}", counter, 0, 0, 0))
        step = ["pwrite", slot.file_name(ERA, slot.file_of(node)), slot.offset_of(node), content]
        carry_out(self.files, (tuple(each) for each in [step]))

    def append(self, identity: str, entry: Entry) -> None:
        """Another node appends to its journal, and its slot says so."""
        name = journal.name(ERA, identity, 0)
        self.files[name] = self.files.get(name, b"") + journal.encode(entry)
        self.told(identity, len(self.files[name]))

    def told(self, identity: str, size: int, generation: int = 0, life: int = slot.life_of(WHOLE.life)) -> None:
        node = int(identity.partition(".")[0])
        content = slot.encode(Slot(identity, size, size, generation, 0, life))
        step = ["pwrite", slot.file_name(ERA, slot.file_of(node)), slot.offset_of(node), content]
        carry_out(self.files, (tuple(each) for each in [step]))

    def read_all(self) -> list[Entry]:
        self.link.wants_all = True
        reply = self.exchange()
        assert reply is not None
        return [entry for entry, _ in reply.entries]

    def entries(self, identity: str = A) -> list[list[Entry]]:
        """What a reader finds in each of the identity's journals here."""
        names = sorted(name for name in self.files if journal.writer_of(name, ERA) == identity)
        return [journal.decode(self.files[name])[0] for name in names]


def due(phase: int = 1, epoch: int = 1, seq: int = 1) -> Due:
    ballot = Ballot("kv", epoch, (1, A), A, 100.0, 102.5)
    ballot.phase = phase
    return Due(ballot, phase, Block("kv", epoch, (1, A), NOBODY, "", seq))


# ---- writing ------------------------------------------------------------------------------------------------------


def test_a_beat_writes_the_slot_and_nothing_else() -> None:
    scene = Scene()
    assert scene.exchange() is not None
    written = slot.decode(scene.files[slot.file_name(ERA, 0)][slot.offset_of(1) :])
    assert written == Slot(A, 1, 0, 0, 0)
    assert not scene.entries()
    assert not scene.link.wants()


def test_what_is_appended_is_told_in_the_slot() -> None:
    scene = Scene()
    scene.link.put(Spread(Dead(B)))
    assert scene.link.wants()
    assert scene.exchange(beat=False) is not None
    scene.link.put(Spread(Dead(C)))
    assert scene.exchange(beat=False) is not None
    assert scene.entries() == [[Dead(B), Dead(C)]]
    written = slot.decode(scene.files[slot.file_name(ERA, 0)][slot.offset_of(1) :])
    assert written == Slot(A, 2, len(scene.files[journal.name(ERA, A, 0)]), 0, 0, LIFE)


def test_one_exchange_at_a_time() -> None:
    scene = Scene()
    scene.ask()
    scene.link.put(Spread(Dead(B)))
    scene.link.wants_beat = True
    assert not scene.link.wants()


def test_facts_come_before_blocks_and_what_is_of_no_use_is_left_out() -> None:
    scene = Scene()
    over, later = due(), due(phase=2)
    over.ballot.phase = OVER
    scene.useless = {Commit("old", 1, B)}
    for pending in (due(), over, Spread(Commit("old", 1, B)), later._replace(phase=1), Spread(Dead(B))):
        scene.link.put(pending)
    assert scene.exchange() is not None
    assert scene.entries() == [[Dead(B), due().block]]
    assert scene.exchange(beat=False) is not None, "the slots were not read before"
    assert not scene.link.wants()


def test_an_exchange_appends_a_bounded_number_of_bytes_and_the_rest_later() -> None:
    scene = Scene()
    facts = [Commit(f"{number:0>200}", 1, B) for number in range(300)]
    for fact in facts:
        scene.link.put(Spread(fact))
    rounds = 0
    while scene.link.wants():
        request = scene.ask(beat=False)
        assert request.append_bytes <= APPEND_BYTES_MAX
        scene.link.answered(scene.now, request, scene.do(request))
        rounds += 1
        assert rounds <= 5
    assert scene.entries() == [facts]


# ---- what nobody knows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("happens", [False, True])
def test_after_a_failure_a_new_generation_begins_with_the_facts_but_not_the_blocks(happens: bool) -> None:
    scene = Scene()
    scene.link.put(Spread(Dead(B)))
    scene.exchange()
    scene.link.put(Spread(Dead(C)))
    scene.link.put(due())
    scene.fail(happens)
    assert not scene.link.wants(), "only beats are tried"
    request = scene.ask()
    assert request.arguments[0] is None
    assert scene.link.answered(scene.now, request, scene.do(request)) is not None
    assert scene.exchange() is not None
    first, second = scene.entries()
    assert first == [Dead(B), *([Dead(C), due().block] if happens else [])]
    assert second == [Dead(C)]


def test_an_old_write_that_comes_late_overwrites_nothing() -> None:
    scene = Scene()
    scene.link.put(due(seq=1))
    late = scene.fail()
    scene.link.put(due(seq=2))
    scene.exchange()
    scene.exchange()
    scene.do(late)
    assert scene.entries() == [[due(seq=1).block], [due(seq=2).block]]


def test_a_failed_beat_begins_no_generation() -> None:
    scene = Scene()
    scene.link.put(Spread(Dead(B)))
    scene.exchange()
    scene.fail()
    scene.exchange()
    scene.link.put(Spread(Dead(C)))
    scene.exchange()
    assert scene.entries() == [[Dead(B), Dead(C)]]


# ---- what counts (R2) ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [{"state": RECOVERING}, {"state": REJOINING}, {"era": "2-00000001"}, {"configuration": "d"}],
)
def test_another_marker_does_not_count(change: dict[str, Any]) -> None:
    scene = Scene()
    scene.mark(**change)
    scene.link.put(due())
    assert scene.exchange() is None
    assert scene.link.marker is not None
    assert scene.link.counted_at is None
    scene.mark()
    assert scene.exchange() is not None


@pytest.mark.parametrize("content", [None, b"", b"torn"])
def test_no_marker_does_not_count(content: bytes | None) -> None:
    scene = Scene()
    del scene.files[marker.NAME]
    if content is not None:
        scene.files[marker.NAME] = content
    assert scene.exchange() is None
    assert scene.link.marker is None


@pytest.mark.parametrize(("takes_s", "counts"), [(LIMIT_S - 0.01, True), (LIMIT_S + 0.01, False)])
def test_an_exchange_that_took_too_long_does_not_count(takes_s: float, counts: bool) -> None:
    assert (Scene().exchange(takes_s=takes_s) is not None) is counts


def test_a_voter_that_lost_its_disk_meanwhile_gets_a_new_journal() -> None:
    scene = Scene()
    scene.link.put(Spread(Dead(B)))
    assert scene.exchange() is not None
    scene.files.clear()                              # wiped; it waits W, copies from others, is full in that era
    scene.mark(life="another")
    scene.link.put(due())
    assert scene.exchange() is None, "there is nothing that it could be appended to"
    assert scene.exchange() is None, "it is another life"
    assert scene.exchange() is not None
    scene.link.put(due(seq=2))
    assert scene.exchange() is not None
    assert [due(seq=2).block] in scene.entries()


def test_copies_of_a_voter_that_lost_its_disk_are_read_from_their_beginning() -> None:
    scene = Scene()
    name = journal.copy_name(journal.name(ERA, B, 0), 0)
    scene.files[name] = journal.encode(Dead(B)) + journal.encode(Dead(A))
    reply = scene.exchange()
    assert reply is not None
    assert reply.entries == [(Dead(B), B), (Dead(A), B)]
    scene.mark(life="another")
    scene.files[name] = journal.encode(Dead(C)) + scene.files[name]
    assert scene.exchange() is None
    reply = scene.exchange()
    assert reply is not None
    assert reply.entries == [(Dead(C), B), (Dead(B), B), (Dead(A), B)]


def test_a_reboot_is_no_loss() -> None:
    scene = Scene()
    scene.link.put(Spread(Dead(B)))
    scene.exchange()
    scene.mark(boot="next")
    scene.link.put(Spread(Dead(C)))
    assert scene.exchange() is not None
    assert scene.entries() == [[Dead(B), Dead(C)]]


# ---- reading ------------------------------------------------------------------------------------------------------


def two_links() -> tuple[Scene, Scene]:
    """Nodes 1 and 2 on the same voter; 1 has read everything."""
    scene = Scene()
    other = Scene(scene.files)
    other.link = other.make(B)
    other.exchange()
    scene.exchange()
    return scene, other


def test_a_slot_tells_of_a_tail_which_is_read_once() -> None:
    scene, other = two_links()
    other.link.put(Spread(Dead(C)))
    other.exchange()
    reply = scene.exchange(beat=False)
    assert reply is not None
    assert [node for node, _ in reply.slots] == [2]
    assert not reply.entries
    assert not scene.link.wants(), "a tail comes with the next beat"
    scene.link.is_eager = True
    assert scene.link.wants(), "there is a tail"
    reply = scene.exchange(beat=False)
    assert reply is not None
    assert reply.entries == [(Dead(C), B)]
    assert not scene.link.wants()
    other.link.put(Spread(Dead(A)))
    other.exchange()
    scene.exchange(beat=False)
    reply = scene.exchange(beat=False)
    assert reply is not None
    assert reply.entries == [(Dead(A), B)], "from where it was"


def test_beats_of_others_are_told_apart_from_news() -> None:
    scene = Scene()
    scene.beat(2, 1)
    scene.beat(40, 1)
    scene.beat(3, 1, identity=B)
    reply = scene.exchange()
    assert reply is not None
    assert {node for node, _ in reply.slots} >= {2, 3}
    assert not [node for node, _ in reply.slots if node == 40], "its file was not asked for"
    scene.beat(2, 2)
    reply = scene.exchange()
    assert reply is not None
    assert 2 in reply.beating
    assert not [node for node, _ in reply.slots if node != 1]


def test_what_was_torn_is_decoded_when_it_is_whole() -> None:
    scene = Scene()
    scene.beat(2, 1)
    scene.exchange()
    name, at = slot.file_name(ERA, 0), slot.offset_of(2)
    after = slot.encode(Slot(B, 2, 77, 0, 5))
    before = scene.files[name]
    scene.files[name] = before[:at] + after[:42] + before[at + 42 :]
    assert scene.exchange() is not None
    scene.files[name] = scene.files[name][:at] + after + before[at + slot.BYTES :]
    reply = scene.exchange()
    assert reply is not None
    assert (2, Slot(B, 2, 77, 0, 5)) in reply.slots


def test_a_block_reads_all_journals_after_it_was_written() -> None:
    scene, _ = two_links()
    name = journal.name(ERA, C, 0)
    scene.files[journal.copy_name(name, 7)] = journal.encode(Dead(B))
    scene.link.put(due())
    request = scene.ask()
    steps = []
    plan = plans.exchange(*request.arguments)
    answers: dict[str, Any] = {"list": sorted(scene.files), "pread": "", "tail": "", "whole": ""}
    step = next(plan)
    try:
        while True:
            steps.append(step)
            step = plan.send(answers.get(step[0]))
    except StopIteration:
        pass
    kinds = [step[0] for step in steps]
    assert kinds[:4] == ["append", "sync", "pwrite", "list"]
    assert steps[-1][:2] == ("whole", marker.NAME), "the marker last (R2)"
    reply = scene.link.answered(scene.now, request, scene.do(request))
    assert reply is not None
    assert (Dead(B), C) in reply.entries


def test_a_journal_beyond_one_read_is_not_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, other = two_links()
    facts = [Commit(f"g{number}", 1, B) for number in range(8)]
    for fact in facts:
        other.link.put(Spread(fact))
    other.exchange()
    size = len(scene.files[journal.name(ERA, B, 0)])
    monkeypatch.setattr(journal, "READ_MAX", size // 2)
    scene.link.put(due())
    found: list[Entry] = []
    whole: list[bool] = []
    while scene.link.wants() or not whole:
        reply = scene.exchange(beat=False)
        assert reply is not None
        found += [entry for entry, writer in reply.entries if writer == B]
        whole.append(reply.is_whole)
        assert len(whole) <= 6
    assert found == facts
    assert whole[0] is False
    assert whole[-1] is True


def test_what_was_removed_is_asked_for_no_more() -> None:
    scene, other = two_links()
    other.link.put(Spread(Commit("g", 1, B)))
    other.exchange()
    scene.link.wants_all = True
    scene.exchange()
    name = journal.name(ERA, B, 0)
    assert name in dict(scene.link._all_known())
    del scene.files[name]
    scene.told(f"2.2.{'e' * 32}", 0)                 # or else it is lost
    scene.link.wants_all = True
    reply = scene.exchange()
    assert reply is not None
    assert reply.is_whole
    assert dict(scene.link._all_known()) == {}


def test_what_cannot_be_decoded_is_not_read_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    monkeypatch.setattr(journal, "READ_MAX", 100)
    scene.files[journal.name(ERA, B, 0)] = b"x" * 200
    scene.link.wants_all = True
    reply = scene.exchange()
    assert reply is not None
    assert not reply.is_whole
    assert not scene.link.wants(), "it comes with a later beat, or a block"


def test_a_fact_is_repeated_in_each_generation_in_which_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosha.ownership.link.JOURNAL_BYTES_MAX", 100)
    scene, fact = Scene(), Commit("g", 1, B)
    assert not scene.link.repeats(fact)
    assert not scene.link.repeats(fact), "it is on its way, once"
    scene.exchange()
    assert scene.link.repeats(fact)
    scene.link.put(Spread(Commit("more", 1, B)))
    scene.exchange()
    scene.link.put(Spread(Commit("yet more", 1, B)))
    scene.exchange()
    assert scene.link.generation == 1
    assert not scene.link.repeats(fact)
    scene.exchange()
    assert scene.link.repeats(fact)
    found, _ = journal.decode(scene.files[journal.name(ERA, A, 1)])
    assert found == [Commit("yet more", 1, B), fact]


def test_a_generation_that_is_needed_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosha.ownership.link.JOURNAL_BYTES_MAX", 100)
    scene = Scene()
    scene.link = Link(
        9, A, ERA, CONFIGURATION, VOTERS, LIMIT_S, lambda fact: True, needed=lambda facts: [*facts],
    )
    for number in range(9):
        scene.link.put(Spread(Commit(f"g{number}", 1, B)))
        scene.exchange()
    assert scene.link.generation == 0, "another one would be as long"


# ---- windows (R13) ------------------------------------------------------------------------------------------------


def test_a_window_is_from_the_end_of_the_first_read_to_the_start_of_the_latest() -> None:
    scene = Scene()
    assert scene.link.window(2) is None
    scene.beat(2, 1)
    scene.now = 200.0
    scene.exchange(takes_s=0.5)
    assert scene.link.window(2) is None, "one read is no window"
    scene.now = 201.0
    scene.exchange(takes_s=0.5)
    assert scene.link.window(2) == (200.5, 201.0)
    scene.now = 203.0
    scene.exchange(takes_s=0.5)
    assert scene.link.window(2) == (200.5, 203.0)
    scene.beat(2, 2)
    scene.now = 204.0
    scene.exchange(takes_s=0.5)
    assert scene.link.window(2) is None
    scene.now = 205.0
    scene.exchange()
    assert scene.link.window(2) == (204.5, 205.0)


def test_a_slot_that_goes_back_has_changed() -> None:
    scene = Scene()
    for counter in (1, 2, 1):
        scene.beat(2, counter)
        scene.now += 1
        scene.exchange()
    assert scene.link.window(2) is None


def test_a_read_that_does_not_count_is_no_read() -> None:
    scene = Scene()
    scene.beat(2, 1)
    scene.exchange()
    scene.now += 1
    scene.exchange()
    window = scene.link.window(2)
    scene.now += 1
    scene.fail(happens=True)
    scene.exchange(takes_s=LIMIT_S + 1)
    assert scene.link.window(2) == window


@pytest.mark.parametrize("change", [{"boot": "next"}, {"life": "another"}, {"state": REJOINING}])
def test_another_marker_begins_all_windows_anew(change: dict[str, Any]) -> None:
    scene = Scene()
    scene.beat(2, 1)
    for _ in range(2):
        scene.exchange()
        scene.now += 5
    scene.mark(**change)
    scene.exchange()
    assert scene.link.window(2) is None
    scene.mark(boot="next", life="another")
    for _ in range(3):
        scene.now += 5
        scene.exchange()
    window = scene.link.window(2)
    assert window is not None
    assert window[0] > 110.0


@pytest.mark.parametrize(
    ("windows", "seen", "expected"),
    [
        ([(10.0, 12.6), (10.0, 12.6), None], 9.0, True),
        ([(10.0, 12.6), None, None], 9.0, False),                     # Q - 1 voters do not suffice
        ([(10.0, 12.6), (10.0, 12.4), None], 9.0, False),
        ([(10.0, 13.0), (10.4, 12.9), None], 9.0, False),             # 2.5 on each, but not in common
        ([(10.0, 13.0), (10.4, 13.0), None], 9.0, True),
        ([(10.0, 99.0), (10.0, 99.0), (10.0, 99.0)], 97.0, False),    # it was first seen within the window
        ([(10.0, 99.6), (10.0, 99.6), (10.0, 97.0)], 97.0, True),
        ([(10.0, 12.6), (10.0, 12.6), (12.5, 12.6)], 9.0, True),      # a node that beats on a minority only
        ([None, None, None], 0.0, False),
    ],
)
def test_expiry(windows: list[tuple[float, float] | None], seen: float, expected: bool) -> None:
    assert has_expired(windows, 2, 2.55, seen) is expected


# ---- reading closely, and not at all ------------------------------------------------------------------------------


def test_a_journal_is_closed_by_a_read_that_was_issued_when_its_writer_was_dead() -> None:
    scene = Scene()
    scene.append(B, Dead(C))
    assert scene.read_all() == [Dead(C)]
    scene.link.wants_all = True
    request = scene.ask()
    scene.dead.add(B)
    assert scene.link.answered(scene.now, request, scene.do(request)) is not None
    scene.append(B, Commit("kv", 1, B))
    assert scene.read_all() == [Commit("kv", 1, B)], "it was not known to be dead when the read was issued"
    scene.files[journal.name(ERA, B, 0)] += journal.encode(Commit("kv", 2, B))
    assert scene.read_all() == []
    scene.append(C, Commit("kv", 3, C))
    assert scene.read_all() == [Commit("kv", 3, C)]


def test_a_voter_that_forgot_has_no_closed_journals() -> None:
    scene = Scene()
    scene.dead.add(B)
    scene.append(B, Dead(C))
    for _ in range(3):
        scene.read_all()
    scene.link.wants_all = True
    assert scene.link.request(scene.now, 0, [0]).closing == {journal.name(ERA, B, 0)}
    scene.link.is_busy = False
    scene.mark(life="another")
    scene.link.wants_all = True
    assert scene.exchange() is None
    assert scene.read_all() == [Dead(C)]


@pytest.mark.parametrize("reads", ["is_near", "is_eager", "wants_tails", "wants_all"])
def test_what_others_append_on_a_voter_that_is_not_near_is_read_in_its_turn(reads: str) -> None:
    scene = Scene()
    scene.link.is_near = scene.link.wants_all = False
    scene.append(B, Dead(C))
    for _ in range(2):
        reply = scene.exchange()
        assert reply is not None
        assert not reply.entries
    assert scene.link.wants() is False
    setattr(scene.link, reads, True)
    assert scene.link.wants() is (reads in ("is_eager", "wants_all"))
    reply = scene.exchange()
    assert reply is not None
    assert reply.entries == [(Dead(C), B)]
    assert scene.link.wants() is False


def test_a_journal_that_was_removed_is_forgotten_when_all_is_read() -> None:
    scene = Scene()
    scene.link.is_near = scene.link.wants_all = False
    scene.append(B, Dead(C))
    assert scene.exchange() is not None
    del scene.files[journal.name(ERA, B, 0)]
    scene.told(f"2.2.{'e' * 32}", 0)
    assert scene.read_all() == []
    scene.link.is_eager = True
    assert scene.link.wants() is False


def test_a_close_look_does_not_wait_for_the_slot() -> None:
    scene = Scene()
    scene.append(B, Dead(C))
    scene.read_all()
    scene.files[journal.name(ERA, B, 0)] += journal.encode(Commit("kv", 1, B))
    reply = scene.exchange()
    assert reply is not None
    assert not reply.entries
    scene.link.look_closely(B)
    reply = scene.exchange(beat=False)
    assert reply is not None
    assert reply.entries == [(Commit("kv", 1, B), B)]


# ---- what is bad --------------------------------------------------------------------------------------------------


def test_an_exchange_that_meets_a_bad_line_does_not_count_until_the_voter_has_forgotten() -> None:
    scene = Scene()
    scene.append(B, Dead(C))
    scene.append(B, Commit("kv", 1, B))
    name = journal.name(ERA, B, 0)
    whole = scene.files[name]
    scene.files[name] = bytes([whole[0] ^ 1]) + whole[1:]
    for _ in range(3):
        assert scene.exchange() is None
    assert not scene.link.wants(), "it waits for the next beat"
    scene.mark(life="another")
    del scene.files[name]
    scene.append(C, Dead(A))
    assert scene.exchange() is None, "it is another life"
    assert scene.read_all() == [Dead(A)]


def test_what_it_had_read_before_is_not_read_again() -> None:
    scene = Scene()
    scene.append(B, Dead(C))
    assert scene.read_all() == [Dead(C)]
    name = journal.name(ERA, B, 0)
    scene.files[name] = b"x" + scene.files[name][1:]
    scene.append(B, Dead(A))
    assert scene.read_all() == [Dead(A)]


def test_who_reads_all_and_finds_less_than_a_slot_said_before_does_not_count_it() -> None:
    scene = Scene()
    line = journal.encode(Dead(C))
    name = journal.name(ERA, B, 0)
    scene.files[name] = line[:-5]
    assert scene.read_all() == [], "it is on its way"
    scene.told(B, len(line))
    assert scene.read_all() == [], "the slot was read after it"
    scene.link.wants_all = True
    assert scene.exchange() is None
    scene.files[name] = line
    assert scene.exchange() is not None, "the disk could not be read"


@pytest.mark.parametrize("rest", [b"", None])
@pytest.mark.parametrize("is_known", [False, True])
def test_a_journal_that_is_empty_or_gone_while_its_slot_tells_of_it_is_bad(is_known: bool, rest: bytes | None) -> None:
    """What was read of it is no reason to count on: who knows nothing of it yet would miss it."""
    scene = Scene()
    name, line = journal.name(ERA, B, 0), journal.encode(Dead(C))
    scene.files[name] = line
    scene.told(B, len(line))
    assert scene.read_all() == [Dead(C)]
    if not is_known:
        scene.link = scene.make(A)
    scene.files.pop(name)
    if rest is not None:
        scene.files[name] = rest
    if not is_known:
        assert scene.exchange() is not None, "no slot was read before"
    scene.link.wants_all = True
    outcome = scene.exchange()
    assert (outcome is None) == (rest is None or not is_known)
    scene.told(f"2.2.{'e' * 32}", 0)
    assert scene.exchange() is not None, "its voter may have removed it since"


@pytest.mark.parametrize(("generation", "life"), [(0, LIFE + 1), (0, 0), (1, LIFE)])
def test_what_a_slot_tells_of_another_life_or_generation_is_no_loss(generation: int, life: int) -> None:
    scene = Scene()
    scene.told(B, 77, life=LIFE if generation else life)
    scene.exchange()
    scene.told(B, 0, generation, life)
    assert scene.read_all() == []


def test_a_block_is_read_only_when_the_slots_were_read_before() -> None:
    """They may tell of a journal that is lost."""
    scene = Scene()
    scene.told(B, 77)
    scene.link.put(due())
    reply = scene.exchange()
    assert reply is not None
    assert reply.done == []
    assert scene.link.wants()
    assert scene.exchange() is None


def test_after_a_failure_the_slot_tells_of_the_generation_that_was_counted_until_another_begins() -> None:
    """Or else nothing would tell that it is lost, if it is."""
    scene = Scene()
    scene.link.put(Spread(Dead(B)))
    assert scene.exchange() is not None
    assert scene.exchange() is not None
    name = journal.name(ERA, A, 0)
    whole = scene.files.pop(name)
    scene.link.put(Spread(Dead(C)))
    request = scene.ask()
    assert scene.do(request) is None
    assert scene.link.answered(scene.now, request, None) is None
    assert scene.exchange() is None
    assert scene.exchange() is None
    scene.files[name] = whole
    assert scene.exchange() is not None
    assert scene.exchange() is not None
    assert scene.entries() == [[Dead(B)], [Dead(C)]]


def test_a_late_append_makes_no_file_anew() -> None:
    scene = Scene()
    scene.link.put(Spread(Dead(B)))
    assert scene.exchange() is not None
    scene.link.put(Spread(Dead(C)))
    request = scene.ask()
    del scene.files[journal.name(ERA, A, 0)]
    assert scene.do(request) is None
    assert journal.name(ERA, A, 0) not in scene.files
