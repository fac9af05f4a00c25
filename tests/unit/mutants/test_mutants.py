"""The mutants have not rotted, and the hunt tells a caught one from the original."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from moslab.simulator.draw import draw_plan
from moslab.wait import eventually
from tests.mutants.catalogue import MUTANTS, Change, Mutant
from tests.mutants.hunt import (
    ALL,
    BROKEN,
    BY_PLAN,
    CAUGHT,
    DIRECTED,
    DIRECTED_BUDGET,
    DOCS,
    EQUIVALENT,
    HEAD,
    ONE_SEED_IN,
    ORDINARY,
    ROOT,
    ROTTEN,
    SURVIVES,
    Children,
    Search,
    Verdict,
    apply,
    documented,
    hunt,
    judged,
    main,
    mutated,
    name_of,
    ordinary_seeds,
    search,
    summary,
)

QUICK = ("ahead-unheld", "expiry-one-read")
BUDGET = 40
DEADLINE_S = 60.0


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
        assert "overlap" in found.checkers or "epochs" in found.checkers
        assert found.seed is not None
        assert found.schedules == found.seed + 1


@pytest.mark.long
@pytest.mark.parametrize("mutant", [one for one in MUTANTS if not one.equivalent], ids=lambda mutant: mutant.name)
def test_each_is_caught_still_by_the_plan_that_was_written_against_it(mutant: Mutant) -> None:
    """Or by the first seeds, if none was: what changes in the agent may take the sting out of a plan."""
    seeds = range(DIRECTED_BUDGET if mutant.plan else ALL)
    with mutated(mutant) as source:
        assert search(source, sys.executable, seeds, mutant.plan or None).state == CAUGHT


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


FOUND = Search(CAUGHT, 3, 2, "directed", "overlap, epochs")
LATER = Search(CAUGHT, 62, 230, "directed", "overlap, epochs", at_most=231)
NOTHING, WRONG = Search(SURVIVES, 400), Search(BROKEN, first="its process ended with 1")


@pytest.mark.parametrize(("ordinary", "directed", "state", "status"), [
    (FOUND, None, CAUGHT, 0), (FOUND, NOTHING, CAUGHT, 0), (NOTHING, FOUND, BY_PLAN, 0),
    (NOTHING, NOTHING, SURVIVES, 1), (NOTHING, None, SURVIVES, 1), (WRONG, FOUND, BROKEN, 1), (FOUND, WRONG, BROKEN, 1),
])
def test_a_mutant_is_caught_by_seeds_or_by_its_plan_or_is_a_failure(
    ordinary: Search, directed: Search | None, state: str, status: int,
) -> None:
    searches = {ORDINARY: ordinary, **({DIRECTED: directed} if directed else {})}
    verdict = judged(Mutant("one", "R1", ()), searches)
    assert verdict.state == state
    equivalent = Verdict(Mutant("same", "R1", ()), EQUIVALENT, {})
    text, code = summary([verdict, equivalent], 400)
    assert text == (
        f"2 mutants: {int(state == CAUGHT)} caught by 400 ordinary seeds, {int(state == BY_PLAN)} only by their "
        f"directed plans; 1 equivalent, {status} not caught"
    )
    assert code == status


def test_of_later_seeds_only_those_that_draw_its_plan_are_run() -> None:
    mutant = named("read-renews")
    seeds = ordinary_seeds(mutant, 1, 400)
    assert seeds[:ALL] == list(range(1, ALL + 1))
    assert seeds[ALL:], "it is drawn again and again"
    assert all(draw_plan(seed).profile == "directed EAGER_OWNER" for seed in seeds[ALL:])
    assert ordinary_seeds(Mutant("one", "R1", ()), 1, 400) == list(range(1, 400 + 1))
    assert ordinary_seeds(mutant, 1, 2) == [1, 2]
    row = judged(mutant, {ORDINARY: LATER}).row()
    assert row.endswith("| at most 231 | - | overlap, epochs |"), "seeds were left out"


def test_one_that_only_its_directed_plan_catches_says_so() -> None:
    verdict = judged(Mutant("rare", "R1", (), {"founded": False}), {ORDINARY: NOTHING, DIRECTED: FOUND})
    assert verdict.row() == "| rare | R1 | not within 400 | 3 | by plan, which is no seed: overlap, epochs |"
    verdict = judged(Mutant("rare", "R1", (), named("read-renews").plan), {ORDINARY: NOTHING, DIRECTED: FOUND})
    why = f"by plan, which is one seed in {ONE_SEED_IN}: overlap, epochs"
    assert verdict.row() == f"| rare | R1 | not within 400 | 3 | {why} |"
    assert f" one seed in {ONE_SEED_IN}," in DOCS.read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGINT])
def test_a_hunt_that_is_told_to_end_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.mutants.hunt", "-j", "2", *(mutant.name for mutant in MUTANTS[:4])]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}) as process:
        try:
            eventually(
                lambda: processes_with(tmp_path), lambda found: len(found) == 3, within_s=DEADLINE_S,
                what="the hunt and two runs",
            )
            assert len(list(tmp_path.glob("mosha-mutant-*"))) == 2
            process.send_signal(number)
            assert process.wait(DEADLINE_S) == 128 + number
        finally:
            process.kill()
    assert not processes_with(tmp_path)
    assert not list(tmp_path.iterdir())


def processes_with(directory: Path) -> list[str]:
    """Those that have it in their environment."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(directory).encode() in file.read_bytes():
                found.append(file.parent.name)
        except OSError:
            pass                                     # it has ended, or is not ours
    return found


def rows_of(text: str) -> list[str]:
    return text[text.index(HEAD[0]) :].split("\n\n")[0].splitlines()[len(HEAD) :]


def test_the_documented_table_is_what_the_hunt_says_of_all_mutants() -> None:
    rows = rows_of(DOCS.read_text(encoding="utf-8"))
    assert [name_of(row) for row in rows] == [mutant.name for mutant in MUTANTS]
    for mutant, row in zip(MUTANTS, rows):
        name, rule, ordinary, directed_plan, why = row.strip("| ").split(" | ")
        assert (name, rule) == (mutant.name, mutant.rule)
        if mutant.equivalent:
            assert (ordinary, directed_plan, why) == ("-", "-", EQUIVALENT)
        else:
            assert ordinary != "-", f"{name}: seeds were not tried"
            assert (directed_plan != "-") == bool(mutant.plan), name


def test_rows_take_the_place_of_those_before_and_others_stay() -> None:
    text = DOCS.read_text(encoding="utf-8")
    rows = rows_of(text)
    gone = "| no-such-mutant | R1 | 1 | 1 | overlap |"
    other = documented(text.replace(rows[1], gone), [f"| {MUTANTS[0].name} | R1 | 1 | 1 | overlap |"])
    assert rows_of(other) == [f"| {MUTANTS[0].name} | R1 | 1 | 1 | overlap |", *rows[2:]]
    assert documented(other, rows[:2]) == text


def test_what_has_no_time_to_begin_is_a_failure_and_keeps_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    docs = tmp_path / "simulator.md"
    docs.write_text(DOCS.read_text(encoding="utf-8"))
    for name, value in (("DOCS", docs), ("OUT", tmp_path / "out"), ("ROOT", tmp_path), ("CHILDREN", Children())):
        monkeypatch.setattr(f"tests.mutants.hunt.{name}", value)
    assert main([QUICK[0], "--docs", "--within", "-1"]) == 1
    assert "1 not caught" in capsys.readouterr().out
    assert rows_of(docs.read_text()) == rows_of(DOCS.read_text())


def test_runs_need_nothing_installed(tmp_path: Path) -> None:
    """As with PyPy: -S knows no site-packages, and so nothing of this project but what the hunt names."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    assert hunt(Mutant("nothing", "none", ()), str(bare), 0, 1).state == SURVIVES


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["no-such-mutant"])
