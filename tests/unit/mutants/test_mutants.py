"""The mutants have not rotted, and the hunt tells a caught one from the original."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTANTS, Change, Mutant
from tests.mutants.hunt import CAUGHT, EQUIVALENT, ROOT, ROTTEN, SURVIVES, apply, hunt, main, mutated

QUICK = ("first-lease", "expiry-one-read")
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
    assert "overlap" in verdict.checkers
    assert verdict.seed is not None
    assert verdict.schedules == verdict.seed + 1


def test_the_original_is_not_caught() -> None:
    verdict = hunt(Mutant("nothing", "none", ()), sys.executable, 0, 2)
    assert (verdict.state, verdict.schedules) == (SURVIVES, 2)


def test_a_mutant_whose_text_is_gone_is_a_failure(tmp_path: Path) -> None:
    verdict = hunt(Mutant("rotten", "none", (Change("mosha/timing.py", "no such text", ""),)), sys.executable, 0, 1)
    assert verdict.state == ROTTEN
    (tmp_path / "twice").write_text("a a")
    with pytest.raises(Exception, match="has 2 times"):
        apply(Change("twice", "a", "b"), tmp_path)


def test_an_equivalent_one_is_not_run() -> None:
    verdict = hunt(Mutant("same", "none", (), equivalent="the reason"), "no-python", 0, 1)
    assert (verdict.state, verdict.schedules, verdict.first) == (EQUIVALENT, 0, "the reason")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["no-such-mutant"])
