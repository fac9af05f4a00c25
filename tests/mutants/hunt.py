"""``python -m tests.mutants.hunt``, or ``make mutants``: after how many schedules is each mutant caught, and by what?

Rules:

1. Each mutant is a copy of src in a temporary directory, run by a process of its own, seeds from ``--first`` on, until
   a run is invalid or ``--budget`` schedules were not.
2. The schedule that caught it is run with the sources as they are: if that is invalid too, nothing was caught.
3. A mutant that survives its budget, or whose text does not apply, is a failure, and so is the whole. One that is
   marked as equivalent is not run.
4. A checker that only watches over liveness, leaks or crashes may catch a mutant; the table names all that did.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.mutants.catalogue import MUTANTS, Change, Mutant

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("child.py")
BUDGET = 400
SECONDS_MAX = 1800.0
CAUGHT, SURVIVES, EQUIVALENT, ROTTEN, BROKEN = "caught", "SURVIVES", "equivalent", "ROTTEN", "BROKEN"


class Verdict(NamedTuple):
    """What became of one mutant."""

    mutant: Mutant
    state: str
    schedules: int = 0
    seed: int | None = None
    checkers: str = ""
    first: str = ""              # problem, or what is wrong with the hunt
    seconds: float = 0.0


class RottenError(Exception):
    """A replacement does not apply exactly once."""


def apply(change: Change, source: Path) -> None:
    """Replace the text below ``source``; raises RottenError."""
    file = source / change.file
    text = file.read_text(encoding="utf-8")
    if text.count(change.old) != 1:
        raise RottenError(f"{change.file} has {text.count(change.old)} times: {change.old.strip()[:60]}")
    file.write_text(text.replace(change.old, change.new), encoding="utf-8")


@contextmanager
def mutated(mutant: Mutant) -> Iterator[Path]:
    """A copy of the sources with the mutant's changes."""
    with tempfile.TemporaryDirectory(prefix="mosha-mutant-") as directory:
        source = Path(directory) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        for change in mutant.changes:
            apply(change, source)
        yield source


def runs(source: Path, python: str, first: int, last: int, mutant: Mutant, seconds: float) -> list[list[object]]:
    """[seed, verdict, problems] of each run, up to the first that is invalid; fewer when the time is up."""
    command = ["nice", "-n", "10", python, str(CHILD), str(first), str(last), json.dumps(mutant.plan)]
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile("w+") as out:
        try:
            subprocess.run(command, env=environment, stdout=out, stdin=subprocess.DEVNULL, check=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            pass
        out.seek(0)
        return [json.loads(line) for line in out if line.endswith("\n")]


def hunt(mutant: Mutant, python: str, first: int, budget: int, seconds: float = SECONDS_MAX) -> Verdict:
    """Rules 1 to 3."""
    if mutant.equivalent:
        return Verdict(mutant, EQUIVALENT, first=mutant.equivalent)
    began = time.monotonic()
    try:
        with mutated(mutant) as source:
            done = runs(source, python, first, first + budget - 1, mutant, seconds)
    except RottenError as error:
        return Verdict(mutant, ROTTEN, first=str(error))
    except subprocess.CalledProcessError as error:
        return Verdict(mutant, BROKEN, first=f"its process ended with {error.returncode}")
    took = time.monotonic() - began
    if not done or done[-1][1] != "invalid":
        return Verdict(mutant, SURVIVES, len(done), seconds=took)
    seed, _, problems = done[-1]
    assert isinstance(seed, int)
    assert isinstance(problems, list)
    again = runs(ROOT / "src", python, seed, seed, mutant, SECONDS_MAX)
    if not again or again[0][1] != "valid":
        why = f"the sources as they are fail it too: {again[0][1:] if again else 'it took too long'}"
        return Verdict(mutant, BROKEN, len(done), seed, first=why, seconds=took)
    checkers = ", ".join(dict.fromkeys(str(problem).partition(":")[0] for problem in problems))
    return Verdict(mutant, CAUGHT, len(done), seed, checkers, str(problems[0]), took)


def line(verdict: Verdict) -> str:
    """One row of the table."""
    seed = "" if verdict.seed is None else f"seed {verdict.seed}"
    more = verdict.checkers if verdict.state == CAUGHT else verdict.first
    return (
        f"{verdict.mutant.name:23s} {verdict.state:10s} {verdict.schedules:5d} {seed:10s} {verdict.seconds:7.1f} s  "
        f"{more or '-':28s} {verdict.mutant.rule}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 1 if a mutant survives, or cannot be tried."""
    parser = argparse.ArgumentParser(prog="hunt", description="Does the simulator catch each mutant?")
    parser.add_argument("names", nargs="*", help="these mutants only")
    parser.add_argument("-j", "--jobs", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--budget", type=int, default=BUDGET, help=f"schedules for each mutant (default {BUDGET})")
    parser.add_argument("--seconds", type=float, default=SECONDS_MAX, help="and real time for each")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the runs, as pypy3")
    arguments = parser.parse_args(argv)
    unknown = set(arguments.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not arguments.names or mutant.name in arguments.names]

    def one(mutant: Mutant) -> Verdict:
        verdict = hunt(mutant, arguments.python, arguments.first, arguments.budget, arguments.seconds)
        print(line(verdict), flush=True)
        return verdict

    with ThreadPoolExecutor(arguments.jobs) as pool:
        verdicts = list(pool.map(one, chosen))
    counts = {state: sum(1 for one in verdicts if one.state == state) for state in (CAUGHT, EQUIVALENT)}
    left = len(verdicts) - sum(counts.values())
    print(f"{len(verdicts)} mutants: {counts[CAUGHT]} caught, {counts[EQUIVALENT]} equivalent, {left} not caught")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
