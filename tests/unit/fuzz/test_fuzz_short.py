"""A few thousand inputs for everything that is fuzzed; `make fuzz` tries a million and more."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.fuzz.property import hunt
from tests.fuzz.registry import TARGETS
from tests.fuzz.target import Target

ROOT = Path(__file__).parents[3]
EXAMPLES = 60


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_breaks_a_promise(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds:
        target.check(seed)
        target.check(seed[: len(seed) // 2])
    tried, problem = hunt(target, EXAMPLES, derandomize=True)
    assert not problem
    assert tried >= EXAMPLES


def test_a_broken_promise_is_found_and_shrunk() -> None:
    def check(data: bytes) -> None:
        assert b"x" not in data, "an x"

    tried, problem = hunt(Target("one that is broken", check, (b"abxab",)), 500, derandomize=True)
    assert tried > 0
    assert "data=b'x'" in problem


def test_what_was_found_is_said_of_a_bad_record_in_no_time() -> None:
    """Deep JSON, which a reader might follow for long."""
    begun = time.monotonic()
    for target in TARGETS.values():
        target.check(b"\0" + b"[" * 100_000)
    assert time.monotonic() - begun < 60


def test_the_command_is_in_the_makefile_and_names_are_unique() -> None:
    assert re.search(r"^fuzz: .*\n\t.*-m tests\.fuzz ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert len({re.sub(r"\W+", "-", name) for name in TARGETS}) == len(TARGETS)
