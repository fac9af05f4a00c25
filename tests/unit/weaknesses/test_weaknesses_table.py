"""docs/weaknesses.md and the tests agree: every number has tests that are named after it, and all of them are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs/weaknesses.md"
PLACES = ("tests/unit/weaknesses/*.py", "tests/unit/clinit/test_clinit_faults.py")
ROW = re.compile(r"^\| ([wf])(\d+) \|.*\| ([^|]+) \|$", re.M)
NUMBERS = {"w": set(range(1, 36)), "f": set(range(1, 15))}


def names_there() -> dict[str, list[str]]:
    """File -> the names of its tests."""
    found: dict[str, list[str]] = {}
    for path in sorted({path for place in PLACES for path in ROOT.glob(place)}):
        if path != Path(__file__):
            found[path.name] = re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.M)
    return found


def numbers_of(test: str, kind: str) -> set[int]:
    """``test_f07_f09_…`` has two."""
    return {int(number) for number in re.findall(rf"(?<=_){kind}_?(\d\d)(?=_)", test)}


def rows() -> list[tuple[str, int, list[str]]]:
    """(kind, number, the tests that are cited)."""
    text = DOCS.read_text(encoding="utf-8")
    return [(kind, int(number), re.findall(r"`(\w+)`", cited)) for kind, number, cited in ROW.findall(text)]


def test_every_number_is_there_once() -> None:
    for kind, numbers in NUMBERS.items():
        listed = [number for row_kind, number, _ in rows() if row_kind == kind]
        assert listed == sorted(numbers)


def test_every_cited_test_is_there_and_has_the_number() -> None:
    there = {test for tests in names_there().values() for test in tests}
    for kind, number, cited in rows():
        assert cited, f"{kind}{number} has no test"
        for test in cited:
            assert test in there, test
            names = numbers_of(test, kind) | (numbers_of(test, "fault") if kind == "w" else set())
            assert number in names, f"{test} is not named after {kind}{number}"


def test_every_test_of_a_number_is_cited() -> None:
    cited = {test for _, _, tests in rows() for test in tests}
    named = [test for tests in names_there().values() for test in tests if re.match(r"test_([wf]|fault_)\d\d_", test)]
    assert sorted(set(named) - cited) == []
