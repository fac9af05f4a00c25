"""Inputs by hypothesis: seeds, whole or cut, with words and noise between them; what it finds it shrinks."""

from __future__ import annotations

import traceback

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.target import Target


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Pieces of what is good, of what may be put in, and of anything."""
    seed = st.sampled_from(target.seeds)
    cut = st.builds(
        lambda data, low, high: data[min(low, high) : max(low, high)], seed, st.integers(0, 400), st.integers(0, 400)
    )
    word = st.sampled_from(target.words or (b"",))
    piece = st.one_of(seed, cut, word, st.binary(max_size=12), st.text(max_size=6).map(lambda text: text.encode()))
    return st.one_of(st.lists(piece, max_size=8).map(b"".join), st.binary(max_size=target.bytes_max), changed(seed))


def changed(seed: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """A good one with some bytes replaced."""

    def change(data: bytes, places: list[tuple[int, bytes]]) -> bytes:
        for place, new in places:
            at = place % (len(data) + 1)
            data = data[:at] + new + data[at + 1 :]
        return data

    return st.builds(change, seed, st.lists(st.tuples(st.integers(0, 1000), st.binary(max_size=3)), max_size=4))


def hunt(target: Target, examples: int, *, derandomize: bool = False) -> tuple[int, str]:
    """How many inputs were tried, and what is wrong."""
    tried = 0

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=derandomize,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(inputs(target))
    def check(data: bytes) -> None:
        nonlocal tried
        tried += 1
        target.check(data)

    try:
        check()
    except Exception:  # noqa: BLE001  (whatever breaks a promise)
        return tried, f"{target.name}: {traceback.format_exc()}"
    return tried, ""
