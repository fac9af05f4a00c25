"""``python -m tests.mutants.hunt``, or ``make mutants``: after how many schedules is each mutant caught, and by what?

Rules:

1. Each mutant is a copy of src in a temporary directory, run by processes of its own, until a run is invalid: with
   ``--budget`` *ordinary* seeds from ``--first`` on; and, if it has one, with its *directed* plan on at most
   ``DIRECTED_BUDGET`` of these seeds. Of the ordinary seeds the first ``ALL`` are all run, and of the others those that
   draw its plan: if one of these catches it, so does the budget, after *at most* so many; what the seeds between would
   have done is not asked.
2. The schedule that caught it is run with the sources as they are: if that is invalid too, nothing was caught.
3. One that ordinary seeds catch is *caught*; one that only its directed plan catches is caught *by plan*. A mutant that
   neither catches within its budget, or whose text does not apply, is a failure, and so is the whole. One that is
   marked as equivalent is not run.
4. A checker that only watches over liveness, leaks or crashes may catch a mutant; the table names all that did.
5. ``out/mutants/mutants.json`` has it all, ``table.md`` the table of docs/simulator.md; ``--docs`` puts its rows there,
   and leaves those of mutants that were not run. Nobody else writes there.
6. What has not begun ``--within`` seconds of real time is not run, and that is a failure; a search ends after
   ``--seconds``.
7. SIGTERM and SIGINT end the children and remove the copies; nothing is written then.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from moslab.history.checkers import INVALID, VALID
from moslab.simulator import directed
from moslab.simulator.draw import IN_ORDER, PROFILES, draw_plan
from tests.mutants.catalogue import MUTANTS, Change, Mutant

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("child.py")
OUT = ROOT / "out" / "mutants"
DOCS = ROOT / "docs" / "simulator.md"
BUDGET, ALL, DIRECTED_BUDGET = 10_000, 20, 60
ONE_SEED_IN = round(
    (len(directed.DIRECTED) - len(directed.WORDS)) / next(share for share, name in PROFILES if name == IN_ORDER)
)
SECONDS_MAX, WITHIN_S = 300.0, 2 * 3600.0
CAUGHT, BY_PLAN, SURVIVES, EQUIVALENT = "caught", "by plan", "SURVIVES", "equivalent"
ROTTEN, BROKEN, LATE = "ROTTEN", "BROKEN", "NOT RUN"
ENDING = (signal.SIGTERM, signal.SIGINT)
ORDINARY, DIRECTED = "ordinary", "directed"
HEAD = ("| mutant | rule | seeds | directed plan | caught by |", "|---|---|---|---|---|")


class Search(NamedTuple):
    """What came of seeds, or of a directed plan."""

    state: str
    schedules: int = 0
    seed: int | None = None
    profile: str = ""            # of the run that was invalid
    checkers: str = ""
    first: str = ""              # problem, or what is wrong with the hunt
    seconds: float = 0.0
    at_most: int = 0             # so many seeds catch it, if seeds were left out before the one that did

    def __str__(self) -> str:
        if self.state == CAUGHT:
            return f"at most {self.at_most}" if self.at_most else str(self.schedules)
        return f"not within {self.schedules}"


class Verdict(NamedTuple):
    """What became of one mutant; ``searches`` by name."""

    mutant: Mutant
    state: str
    searches: dict[str, Search]
    first: str = ""

    def row(self) -> str:
        """Of the table in the documentation."""
        found = [one for one in self.searches.values() if one.state == CAUGHT]
        cells = [str(self.searches.get(name, "-")) for name in (ORDINARY, DIRECTED)]
        why = ", ".join(dict.fromkeys(word for one in found for word in one.checkers.split(", "))) or self.state
        if self.state == BY_PLAN:
            is_drawn = any(plan is self.mutant.plan for plan in directed.DIRECTED.values())
            why = f"{BY_PLAN}, which is {f'one seed in {ONE_SEED_IN}' if is_drawn else 'no seed'}: {why}"
        return f"| {self.mutant.name} | {self.mutant.rule} | {' | '.join(cells)} | {why} |"


class RottenError(Exception):
    """A replacement does not apply exactly once."""


class EndedError(Exception):
    """The hunt was told to end."""


class Children:
    """The processes of the runs, which end before the hunt does."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._living: set[subprocess.Popen[bytes]] = set()
        self._over = False

    def run(self, command: Sequence[str], seconds: float, **more: Any) -> None:
        """Until it ends or the time is up; raises CalledProcessError, EndedError."""
        with self._lock:
            if self._over:
                raise EndedError
            child = subprocess.Popen(command, start_new_session=True, **more)    # Ctrl-C is for the hunt
            self._living.add(child)
        try:
            status = child.wait(seconds)
        except subprocess.TimeoutExpired:
            status = 0
        finally:
            child.kill()
            child.wait()
            with self._lock:
                self._living.remove(child)
        if self._over:
            raise EndedError
        if status:
            raise subprocess.CalledProcessError(status, command)

    def end(self) -> None:
        """All, and no other begins."""
        with self._lock:
            self._over = True
            for child in self._living:
                child.kill()


CHILDREN = Children()


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


@cache
def profile_of(seed: int) -> str:
    """Which kind of plan it draws."""
    return draw_plan(seed).profile


def ordinary_seeds(mutant: Mutant, first: int, budget: int) -> list[int]:
    """Rule 1; all of the budget for a mutant without a plan, or with one that no seed draws."""
    seeds = range(first, first + budget)
    profiles = {f"{IN_ORDER} {name}" for name, plan in directed.DIRECTED.items() if plan is mutant.plan}
    return [*seeds[:ALL], *(seed for seed in seeds[ALL:] if not profiles or profile_of(seed) in profiles)]


def runs(
    source: Path, python: str, seeds: Sequence[int], plan: dict[str, Any] | None, seconds: float
) -> list[list[Any]]:
    """[seed, verdict, problems, profile] of each run, up to the first that is invalid; fewer when the time is up."""
    command = ["nice", "-n", "10", python, str(CHILD), json.dumps([*seeds]), json.dumps(plan)]
    path = os.pathsep.join((str(source), str(ROOT)))            # emulator is beside src; nothing need be installed
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile("w+") as out:
        CHILDREN.run(command, seconds, env=environment, stdout=out, stdin=subprocess.DEVNULL)
        out.seek(0)
        return [json.loads(line) for line in out if line.endswith("\n")]


def search(
    source: Path, python: str, seeds: Sequence[int], plan: dict[str, Any] | None, seconds: float = SECONDS_MAX,
) -> Search:
    """Rules 1 and 2."""
    began = time.monotonic()
    try:
        done = runs(source, python, seeds, plan, seconds)
    except subprocess.CalledProcessError as error:
        return Search(BROKEN, first=f"its process ended with {error.returncode}")
    took = time.monotonic() - began
    if not done or done[-1][1] != INVALID:
        return Search(SURVIVES, len(done), seconds=took)
    seed, _, problems, profile = done[-1]
    again = runs(ROOT / "src", python, [seed], plan, SECONDS_MAX)
    if not again or again[0][1] != VALID:
        why = f"the sources as they are fail it too: {again[0][1:] if again else 'it took too long'}"
        return Search(BROKEN, len(done), seed, profile, first=why, seconds=took)
    checkers = ", ".join(dict.fromkeys(problem.partition(":")[0] for problem in problems))
    nth = seed - seeds[0] + 1
    at_most = nth if nth > len(done) else 0
    return Search(CAUGHT, len(done), seed, profile, checkers, problems[0], took, at_most)


def hunt(mutant: Mutant, python: str, first: int, budget: int, seconds: float = SECONDS_MAX) -> Verdict:
    """Rules 1 to 3."""
    if mutant.equivalent:
        return Verdict(mutant, EQUIVALENT, {}, mutant.equivalent)
    try:
        with mutated(mutant) as source:
            searches = {ORDINARY: search(source, python, ordinary_seeds(mutant, first, budget), None, seconds)}
            if mutant.plan:
                seeds = range(first, first + DIRECTED_BUDGET)
                searches[DIRECTED] = search(source, python, seeds, mutant.plan, seconds)
    except RottenError as error:
        return Verdict(mutant, ROTTEN, {}, str(error))
    return judged(mutant, searches)


def judged(mutant: Mutant, searches: dict[str, Search]) -> Verdict:
    """Rule 3."""
    states = {one.state for one in searches.values()}
    worth = next(state for state in (BROKEN, CAUGHT, SURVIVES) if state in states)
    first = next(one.first for one in searches.values() if one.state == worth)
    only_by_plan = worth == CAUGHT and searches[ORDINARY].state != CAUGHT
    return Verdict(mutant, BY_PLAN if only_by_plan else worth, searches, first)


def summary(verdicts: Sequence[Verdict], budget: int) -> tuple[str, int]:
    """The last line, and the exit code."""
    counts = {state: sum(1 for one in verdicts if one.state == state) for state in (CAUGHT, BY_PLAN, EQUIVALENT)}
    left = len(verdicts) - sum(counts.values())
    text = (
        f"{len(verdicts)} mutants: {counts[CAUGHT]} caught by {budget} ordinary seeds, {counts[BY_PLAN]} only by their "
        f"directed plans; {counts[EQUIVALENT]} equivalent, {left} not caught"
    )
    return text, 1 if left else 0


def line(verdict: Verdict) -> str:
    """One mutant, for who waits for it."""
    found = "; ".join(
        f"{name} {one}{f' ({one.profile}, seed {one.seed}: {one.checkers})' if one.state == CAUGHT else ''}, "
        f"{one.seconds:.0f} s" for name, one in verdict.searches.items()
    )
    return f"{verdict.mutant.name:23s} {verdict.state:10s} {found or verdict.first}"


def written(verdicts: Sequence[Verdict]) -> list[str]:
    """Rule 5; the rows of the table."""
    OUT.mkdir(parents=True, exist_ok=True)
    data = [
        {"mutant": one.mutant.name, "rule": one.mutant.rule, "state": one.state, "first": one.first,
         **{name: found._asdict() for name, found in one.searches.items()}} for one in verdicts
    ]
    (OUT / "mutants.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    rows = [one.row() for one in verdicts if one.state != LATE]
    (OUT / "table.md").write_text("".join(f"{row}\n" for row in (*HEAD, *rows)), encoding="utf-8")
    return rows


def documented(text: str, rows: Sequence[str]) -> str:
    """The text with these rows in its table, in the catalogue's order; those of mutants that there are no more go."""
    lines = text.splitlines()
    begin = lines.index(HEAD[0])
    end = next(number for number in range(begin, len(lines)) if not lines[number].startswith("|"))
    named = {name_of(row): row for row in (*lines[begin + len(HEAD) : end], *rows)}
    table = [named[mutant.name] for mutant in MUTANTS if mutant.name in named]
    return "\n".join([*lines[:begin], *HEAD, *table, *lines[end:]]) + "\n"


def name_of(row: str) -> str:
    """Of the mutant."""
    return row.split(" | ")[0].strip("| ")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 1 if a mutant survives, or cannot be tried."""
    parser = argparse.ArgumentParser(prog="hunt", description="Does the simulator catch each mutant?")
    parser.add_argument("names", nargs="*", help="these mutants only")
    parser.add_argument("-j", "--jobs", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--budget", type=int, default=BUDGET, help=f"ordinary seeds for each (default {BUDGET})")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS_MAX, help=f"real time for each search (default {SECONDS_MAX:g})",
    )
    parser.add_argument(
        "--within", type=float, default=WITHIN_S, help=f"seconds in which a mutant has to begin (default {WITHIN_S:g})",
    )
    parser.add_argument("--docs", action="store_true", help=f"put the rows into {DOCS.relative_to(ROOT)}")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the runs, as pypy3")
    arguments = parser.parse_args(argv)
    unknown = set(arguments.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not arguments.names or mutant.name in arguments.names]

    end = time.monotonic() + arguments.within

    def one(mutant: Mutant) -> Verdict:
        if time.monotonic() > end:
            return Verdict(mutant, LATE, {}, f"not begun within {arguments.within:g} s")
        verdict = hunt(mutant, arguments.python, arguments.first, arguments.budget, arguments.seconds)
        print(line(verdict), flush=True)
        return verdict

    with ThreadPoolExecutor(arguments.jobs) as pool:
        try:
            verdicts = list(pool.map(one, chosen))
        finally:
            CHILDREN.end()
    rows = written(verdicts)
    if arguments.docs:
        DOCS.write_text(documented(DOCS.read_text(encoding="utf-8"), rows), encoding="utf-8")
    text, status = summary(verdicts, arguments.budget)
    print(f"{text}; {OUT.relative_to(ROOT)}/")
    return status


def told_to_end(number: int, _frame: object) -> None:
    """Rule 7; once, so that nothing keeps it from that."""
    for one in ENDING:
        signal.signal(one, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    for one in ENDING:
        signal.signal(one, told_to_end)
    sys.exit(main())
