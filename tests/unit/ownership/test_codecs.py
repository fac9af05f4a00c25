"""What lies on the disks: whole or not at all, whatever is torn, cut, changed or late."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import Any

import pytest

from mosha.ownership import identity, journal, marker, slot
from mosha.ownership.electorate import ERA_MAX, NUMBER_MAX, Electorate
from mosha.ownership.journal import NOBODY, Block, Commit, Dead, Entry, Released
from mosha.ownership.marker import FULL, RECOVERING, REJOINING, Marker
from mosha.ownership.slot import Slot

NONCE = "0123456789abcdef" * 2
A, B = identity.make(1, 1, NONCE), identity.make(65535, 999_999_999, "f" * 32)
ENTRIES: Sequence[Entry] = (
    Block("kv", 1, (1, A), NOBODY, "", 1),
    Block("k", 7, (12, B), (11, A), A, 99),
    Commit("kv", 1, A),
    Released("kv", 1, A),
    Dead(B),
)
MARKERS = [
    Marker(FULL, "12-0123abcd", NONCE, "c" * 16, "boot", (NONCE, "f" * 32)), Marker(RECOVERING, "", "x", "c", ""),
]


# ---- identities ---------------------------------------------------------------------------------------------------


def test_an_identity_says_its_node_and_its_number() -> None:
    assert (identity.node_of(B), identity.number_of(B)) == (65535, 999_999_999)
    assert (identity.node_of(A), identity.number_of(A)) == (1, 1)
    assert A.endswith(NONCE)


@pytest.mark.parametrize(
    "text", ["", "1", f"0.1.{NONCE}", f"01.1.{NONCE}", f"1.1.{NONCE}0", f"1.1.{NONCE[1:]}", f"1.1.{NONCE.upper()}",
             f"1.1.{NONCE}\n", f"1.-1.{NONCE}", f"1/1.{NONCE}", f"123456.1.{NONCE}"]
)
def test_what_is_no_identity(text: str) -> None:
    assert not identity.well_formed(text)


def test_only_identities_are_made() -> None:
    with pytest.raises(ValueError, match="not an identity"):
        identity.make(0, 1, NONCE)


# ---- slots --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [Slot(A, 0, 0, 0, 0), Slot(B, 2**64 - 1, 2**32 - 1, 2**16 - 1, 2**32 - 1)])
def test_a_slot_comes_back(content: Slot) -> None:
    data = slot.encode(content)
    assert len(data) == slot.BYTES
    assert slot.decode(data) == content


def test_no_slot_is_none() -> None:
    for data in (b"", bytes(slot.BYTES), slot.encode(Slot(A, 1, 0, 0, 0))[:-1]):
        assert slot.decode(data) is None


def test_a_changed_or_torn_slot_is_none_or_one_of_both() -> None:
    old, new = Slot(A, 6, 100, 0, 3), Slot(B, 7, 220, 1, 4)
    before, after = slot.encode(old), slot.encode(new)
    for at in range(slot.BYTES):
        assert slot.decode(after[:at] + before[at:]) in (None, old, new)
    for at in range(46):                             # what follows is padding
        for bit in range(8):
            changed = bytearray(after)
            changed[at] ^= 1 << bit
            assert slot.decode(bytes(changed)) is None


def test_slots_do_not_overlap() -> None:
    places = [(slot.file_of(node), slot.offset_of(node)) for node in range(1, 200)]
    assert len(set(places)) == len(places)
    assert all(0 <= offset <= slot.FILE_BYTES - slot.BYTES and offset % slot.BYTES == 0 for _, offset in places)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (Slot(A, 7, 100, 0, 3), True), (Slot(B, 7, 100, 0, 3), False), (Slot(A, 7, 101, 0, 3), False),
        (Slot(A, 7, 100, 1, 3), False), (Slot(A, 7, 100, 0, 4), False),
    ],
)
def test_a_beat_changes_the_counter_only(after: Slot, expected: bool) -> None:
    before = slot.encode(Slot(A, 6, 100, 0, 3))
    assert slot.only_beats(before, slot.encode(after)) is expected
    assert not slot.only_beats(b"", slot.encode(after))
    assert not slot.only_beats(b"\0" * slot.BYTES, b"\0" * slot.BYTES)


# ---- journals -----------------------------------------------------------------------------------------------------


def test_a_journal_comes_back() -> None:
    data = b"".join(map(journal.encode, ENTRIES))
    assert journal.decode(data) == (list(ENTRIES), len(data))
    assert journal.decode(b"") == ([], 0)


def test_a_cut_journal_is_a_beginning_of_it() -> None:
    lines = [journal.encode(entry) for entry in ENTRIES]
    data = b"".join(lines)
    for at in range(len(data)):
        entries, used = journal.decode(data[:at])
        assert entries == list(ENTRIES[: len(entries)])
        assert used == sum(map(len, lines[: len(entries)])) <= at
        assert at - used < len(lines[len(entries)])


def test_a_changed_byte_ends_a_journal_and_changes_no_entry() -> None:
    lines = [journal.encode(entry) for entry in ENTRIES]
    data = b"".join(lines)
    chance = random.Random(1)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= chance.randrange(1, 256)
        entries, _ = journal.decode(bytes(changed))
        assert entries == list(ENTRIES[: len(entries)])
        assert sum(map(len, lines[: len(entries)])) <= at


def test_every_bit_of_a_journal_matters_and_a_beginning_is_not_bad() -> None:
    data = b"".join(map(journal.encode, ENTRIES[:3]))
    for at in range(len(data)):
        for bit in range(8):
            changed = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            assert journal.is_bad(changed)
            assert journal.is_bad(changed, journal.decode(changed)[1])
    for at in range(len(data) + 1):
        assert not journal.is_bad(data[:at])
        assert journal.is_bad(data[:at], 0, at) == (journal.decode(data[:at])[1] < at), "it was whole on the disk"


def test_facts_of_other_kinds_are_others() -> None:
    facts = {Commit("kv", 1, A): 1, Released("kv", 1, A): 2, Dead(A): 3}
    assert len(facts) == 3
    assert Commit("kv", 1, A) in facts


def test_a_hole_ends_a_journal() -> None:
    first, second = map(journal.encode, ENTRIES[:2])
    assert journal.decode(first + bytes(10) + second) == ([ENTRIES[0]], len(first))
    assert journal.is_bad(first + bytes(10) + second)


@pytest.mark.parametrize(
    "body", [b'["later", 1]', b'["commit", 1]', b'["block", "kv", 1, [], [], "", 1]', b"[]", b"1", b"{"]
)
def test_what_a_later_version_may_write_ends_a_journal(body: bytes) -> None:
    first = journal.encode(ENTRIES[0])
    data = first + b"%08x %s\n" % (zlib.crc32(body), body)
    assert journal.decode(data) == ([ENTRIES[0]], len(first))
    assert not journal.is_bad(data, len(first), len(data) - len(first))


def test_an_entry_has_a_limit() -> None:
    with pytest.raises(ValueError, match="over the limit of 4096"):
        journal.encode(Commit("g" * 4096, 1, A))
    longest = Block("\N{SNOWMAN}" * journal.GROUP_BYTES_MAX, 2**31, (2**31, B), (2**31, B), B, 2**31)
    assert journal.decode(journal.encode(longest))[0] == [longest]


def test_the_names_of_journals() -> None:
    era = "12-0123abcd"
    name = journal.name(era, A, 3)
    copy = journal.copy_name(name, 7)
    assert journal.writer_of(name, era) == journal.writer_of(copy, era) == A
    others = [f"{name}.tmp", f"x{name}", f"{copy}.", f"{copy}.copy", f"{name}\n", marker.NAME, slot.file_name(era, 0)]
    assert not any(journal.writer_of(other, era) for other in others)
    assert journal.writer_of(name, "13-0123abcd") is None
    assert journal.parts_of(name, era) == (A, 3, None)
    assert journal.parts_of(copy, era) == (A, 3, 7)
    assert journal.parts_of(f"{name}.tmp", era) is journal.parts_of(name, "13-0123abcd") is None
    assert len({journal.name(era, A, 0), journal.name(era, A, 1), journal.name(era, B, 0)}) == 3


# ---- markers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", MARKERS)
def test_a_marker_comes_back(content: Marker) -> None:
    data = marker.encode(content)
    assert marker.decode(data) == content
    assert marker.decode(data + b"what is left of a longer one") == content


@pytest.mark.parametrize("content", MARKERS)
def test_a_cut_or_changed_marker_is_none(content: Marker) -> None:
    data = marker.encode(content)
    for at in range(len(data) - 1):
        assert marker.decode(data[:at]) is None
        for change in (1, 0x20, 0x80):
            changed = bytearray(data)
            changed[at] ^= change
            assert marker.decode(bytes(changed)) is None


@pytest.mark.parametrize(
    "content", [Marker("whole", "", "", "", ""), Marker(FULL, "12", "", "", ""), b'["full"]', b"1", b"{"]
)
def test_a_marker_of_another_kind_is_none(content: Marker | bytes) -> None:
    if isinstance(content, bytes):
        content = b"%08x %s\n" % (zlib.crc32(content), content)
    assert marker.decode(content if isinstance(content, bytes) else marker.encode(content)) is None


LARGEST = Electorate(ERA_MAX, NUMBER_MAX, tuple(range(65529, 65536)), tuple(range(65529, 65535)))


def test_the_largest_marker_fits() -> None:
    nonces = tuple(f"{number:032x}" for number in range(7))
    largest = Marker(
        REJOINING, marker.make_era(ERA_MAX, NONCE), NONCE, "c" * 16, "b" * 36, nonces, electorate=LARGEST,
        met="b" * 36, absent=(65535,),
    )
    assert len(marker.encode(largest)) < marker.BYTES_MAX
    assert marker.decode(marker.encode(largest)) == largest


@pytest.mark.parametrize("change", [
    {"era": ERA_MAX + 1}, {"era": -1}, {"number": NUMBER_MAX + 1}, {"number": -1}, {"number": 10**400},
    {"voters": tuple(range(1, 9))}, {"voters": (0, 1)}, {"voters": (1, 65536)}, {"voters": (2, 1)}, {"before": (1, 1)},
    {"before": tuple(range(1, 100))}, {"voters": (True,)},
])
def test_a_marker_with_an_electorate_that_no_agent_has_is_none(change: dict[str, Any]) -> None:
    content = Marker(FULL, "", NONCE, "c", "b", electorate=LARGEST._replace(**change))
    assert marker.decode(marker.encode(content)) is None


@pytest.mark.parametrize("absent", [(0,), (65536,), (-1,), (1, 1), tuple(range(1, 9))])
def test_a_marker_that_says_of_impossible_nodes_that_they_are_absent_is_none(absent: tuple[int, ...]) -> None:
    assert marker.decode(marker.encode(Marker(FULL, "", NONCE, "c", "b", absent=absent))) is None


def test_eras() -> None:
    era = marker.make_era(1_700_000_000, NONCE)
    assert marker.is_era(era)
    assert marker.number_of(era) == 1_700_000_000
    assert marker.number_of("") == 0
    assert not any(map(marker.is_era, ["", "1", "1-", "-01234567", "1-0123456g", f"{era}\n", f"../{era}"]))
