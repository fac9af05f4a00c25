"""The record: whole or not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosha.platform.record import BYTES_MAX, decode, encode
from mosha.platform.store import LocalStore


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


def test_a_record_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="over the limit"):
        encode({"x": "y" * BYTES_MAX})


@pytest.mark.parametrize("block", [b"", b"mosha1\n", b"mosha1 x y\n{}", b"\n\n", b"mosha1 2 6b3f0d8a\n[]"])
def test_nonsense_is_not_a_record(block: bytes) -> None:
    assert decode(block) is None
