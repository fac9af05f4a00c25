"""The record: whole or not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mosha.aside import KEPT_MAX
from mosha.platform.record import BYTES_MAX, decode, encode
from mosha.platform.store import LocalStore
from mosha.tables.hactl import NAMED_CHARACTERS_MAX
from mosha.tables.lines import GROUPS_MAX


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("beat", encode({"beat": 1, "long": "x" * 500}))
    with open(tmp_path / "beat", "rb") as reader:
        store.write("beat", encode({"beat": 2}))             # shorter: the rest of the old one stays behind it
        assert decode(reader.read()) == {"beat": 2}, "whoever keeps it open sees the new one"
    assert decode(store.read("beat", BYTES_MAX) or b"") == {"beat": 2}


def test_no_part_of_a_record_passes_for_one() -> None:
    block = encode({"beat": 12345, "text": "abc"})
    assert decode(block) is not None
    assert all(decode(block[:length]) is None for length in range(len(block)))


def test_a_flipped_bit_is_noticed() -> None:
    block = encode({"beat": 1, "claims": {"kv": 3}})
    for index in range(len(block)):
        for bit in range(8):
            harmed = bytearray(block)
            harmed[index] ^= 1 << bit
            assert decode(bytes(harmed)) in (None, {"beat": 1, "claims": {"kv": 3}})


def test_a_record_of_nothing_that_can_be_left_out_is_refused() -> None:
    with pytest.raises(ValueError, match="over the limit"):
        encode({"x": "y" * BYTES_MAX})


def said(count: int, characters: int, level: str = "start") -> dict[str, Any]:
    """The most that a node says of so many groups with names of that length."""
    names = [f"{number:0{characters}}" for number in range(count)]
    return {
        "identity": f"65535.4294967295.{0:032x}", "era": "1700000000-00112233", "revision": 2**31,
        "unfit": names, "up": names, "ready": [], "moving": dict.fromkeys(names, 65535), "suspects": [65535] * 100,
        "tables": {table: [2**31, "0" * 64, ",".join(["0" * 12] * 32)] for table in ("cltab", "hactl")},
        "kept": ["hactl.kept-00112233"] * 4 * KEPT_MAX, "orders": [], "answers": {},
        "failures": {name: {"count": 9, "why": "x" * 400, "until": 1700000000} for name in names},
        "groups": {
            name: {"level": level, "state": "CONFIGURED", "since": "2026-11-22T12:00:00.000+00:00", "why": "x" * 40}
            for name in names
        },
    }


def test_what_is_for_people_is_left_out_of_a_record_that_would_be_too_large() -> None:
    found = decode(encode(said(GROUPS_MAX, NAMED_CHARACTERS_MAX // GROUPS_MAX - len("start"))))
    assert found is not None
    assert found["lacks"] == ["failures", "since"], "hactl at its bounds"
    assert found["groups"][f"{7:019}"] == {"level": "start", "state": "CONFIGURED"}
    assert found["up"] == found["unfit"] == list(found["moving"]) == list(found["groups"])


def test_whatever_a_node_says_there_is_a_record() -> None:
    """Groups of tables before are there still; an order is for a thousand nodes; all of them are suspects."""
    most = {
        **said(3000, 64, "l" * 64), "suspects": list(range(65536)),
        "orders": [["1.1", "clear", "", 0, list(range(1000))] for _ in range(8)] * 10,
        "answers": {f"{node}.1": "x" * 400 for node in range(1000)},
    }
    found = decode(encode(most))
    assert found is not None
    assert (found["identity"], found["revision"]) == (most["identity"], most["revision"])
    assert {*found, *found["lacks"]} >= {*most}


@pytest.mark.parametrize("block", [
    b"", b"mosha1\n", b"mosha1 x y\n{}", b"\n\n", b"mosha1 2 6b3f0d8a\n[]", b"mosha1 %s 0\n{}" % (b"9" * 5000),
])
def test_nonsense_is_not_a_record(block: bytes) -> None:
    assert decode(block) is None
