"""The mutants have not rotted, and the hunt tells a caught one from the original."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTANTS, Change, Mutant
from tests.mutants.hunt import (
    CAUGHT,
    DIRECTED,
    DOCS,
    EQUIVALENT,
    HEAD,
    ONE_SEED_IN,
    ORDINARY,
    ROOT,
    ROTTEN,
    SURVIVES,
    Search,
    Verdict,
    apply,
    documented,
    hunt,
    main,
    mutated,
)

QUICK = ("expiry-one-read", "ballot-quorum")
BUDGET = 40


def named(name: str) -> Mutant:
    return next(mutant for mutant in MUTANTS if mutant.name == name)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_replacement_applies_once_and_changes_code(mutant: Mutant) -> None:
    with mutated(mutant) as source:
        for change in mutant.changes:
            text = (source / change.file).read_text(encoding="utf-8")
            assert text != (ROOT / "src" / change.file).read_text(encoding="utf-8")
            compile(text, change.file, "exec")


def test_names_are_unique_and_there_are_enough() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert sum(1 for mutant in MUTANTS if not mutant.equivalent) >= 20
    assert all(json.loads(json.dumps(mutant.plan)) == mutant.plan for mutant in MUTANTS)


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_one_is_caught(name: str) -> None:
    verdict = hunt(named(name), sys.executable, 0, BUDGET)
    assert verdict.state == CAUGHT, verdict
    assert list(verdict.searches) == ([ORDINARY, DIRECTED] if verdict.mutant.plan else [ORDINARY])
    for found in verdict.searches.values():
        assert found.state == CAUGHT, verdict
        assert "overlap" in found.checkers
        assert found.seed is not None
        assert found.schedules == found.seed + 1


def test_the_original_is_not_caught() -> None:
    verdict = hunt(Mutant("nothing", "none", ()), sys.executable, 0, 2)
    assert (verdict.state, verdict.searches[ORDINARY].schedules) == (SURVIVES, 2)
    assert verdict.row() == "| nothing | none | not within 2 | - | SURVIVES |"


def test_a_mutant_whose_text_is_gone_is_a_failure(tmp_path: Path) -> None:
    verdict = hunt(Mutant("rotten", "none", (Change("mosha/timing.py", "no such text", ""),)), sys.executable, 0, 1)
    assert verdict.state == ROTTEN
    (tmp_path / "twice").write_text("a a")
    with pytest.raises(Exception, match="has 2 times"):
        apply(Change("twice", "a", "b"), tmp_path)


def test_an_equivalent_one_is_not_run() -> None:
    verdict = hunt(Mutant("same", "none", (), equivalent="the reason"), "no-python", 0, 1)
    assert (verdict.state, verdict.searches, verdict.first) == (EQUIVALENT, {}, "the reason")
    assert verdict.row() == "| same | none | - | - | equivalent |"


def test_one_that_only_its_directed_plan_catches_says_so() -> None:
    mutant = Mutant("rare", "R1", (), {"founded": False})
    searches = {ORDINARY: Search(SURVIVES, 400), DIRECTED: Search(CAUGHT, 3, 2, "directed", "overlap, epochs")}
    verdict = Verdict(mutant, CAUGHT, searches)
    why = f"overlap, epochs; its plan is one seed in {ONE_SEED_IN}"
    assert verdict.row() == f"| rare | R1 | not within 400 | 3 | {why} |"


def test_the_documented_table_is_one_of_all_mutants_and_can_be_replaced() -> None:
    text = DOCS.read_text(encoding="utf-8")
    named_there = [row.split(" | ")[0].strip("| ") for row in text.partition(HEAD[0])[2].split("\n\n")[0].splitlines()]
    assert named_there[2:] == [mutant.name for mutant in MUTANTS]
    other = documented(text, [*HEAD, "| one | R1 | 1 | 1 | overlap |"])
    assert other.count("| one | R1 |") == 1
    assert MUTANTS[0].rule not in other
    assert documented(other, text[text.index(HEAD[0]) :].split("\n\n")[0].splitlines()) == text


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["no-such-mutant"])
