"""``python -m tests.mutants.reach``, or ``make sim-coverage``: does simulation alone reach all of ownership?

Rules:

1. What counts is the simulator: each directed plan with a seed, and seeds from ``--first`` on. No other test runs.
2. It fails below ``PERCENT`` of branch coverage of ``mosha.ownership``, if something of ``RARE``, of which directed
   plans are sure, was never reached, or if a run is not valid. What an ordinary budget of seeds has to reach besides a
   campaign of that size says (``EXPECTED``): measuring makes a run four times as long.
3. The seeds are given, so that one result is like the next; ``--seconds`` bounds it on a slow machine, and a run that
   this leaves out is reported.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from coverage import Coverage

from moslab.faults.plan import FaultPlan
from moslab.history.checkers import VALID
from moslab.simulator.campaign import summary
from moslab.simulator.directed import DIRECTED
from moslab.simulator.draw import directed_plan, draw_plan
from moslab.simulator.facts import RARE
from moslab.simulator.run import run
from tests.mutants.child import RUN_CORE_S_MAX

ROOT = Path(__file__).parents[2]
OUT = ROOT / "out" / "sim-coverage"
PACKAGE = "mosha.ownership"
PERCENT = 95.0
SEEDS, DIRECTED_SEEDS = 40, 1
SECONDS_MAX = 3600.0


def plans(first: int, seeds: int) -> Iterator[tuple[str, FaultPlan]]:
    """All runs, with their names."""
    for name, changes in DIRECTED.items():
        for seed in range(first, first + DIRECTED_SEEDS):
            yield f"{name} {seed}", directed_plan(seed, changes)
    for seed in range(first, first + seeds):
        yield f"seed {seed}", draw_plan(seed)


def share(first: int, seeds: int, index: int, jobs: int, seconds: float) -> None:
    """Every ``jobs``-th run, in this process; one line of JSON for each."""
    end = time.monotonic() + seconds
    for number, (name, plan) in enumerate(plans(first, seeds)):
        if number % jobs == index and time.monotonic() < end:
            one = summary(run(plan, core_s_max=2 * RUN_CORE_S_MAX))
            print(json.dumps([name, one.verdict, one.problems[:3], one.counters]), flush=True)


def runs(first: int, seeds: int, jobs: int, seconds: float) -> list[list[object]]:
    """What all processes said; their coverage is in ``OUT``."""
    environment = {**os.environ, "COVERAGE_FILE": str(OUT / ".coverage"), "PYTHONPATH": str(ROOT / "src")}
    measured = ["coverage", "run", "--rcfile=/dev/null", "--branch", "--parallel-mode", f"--source={PACKAGE}"]
    children = [
        subprocess.Popen(
            [sys.executable, "-m", *measured, "-m", "tests.mutants.reach", "--share", str(index), "--first", str(first),
             "--seeds", str(seeds), "--jobs", str(jobs), "--seconds", str(seconds)],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        ) for index in range(jobs)
    ]
    with ThreadPoolExecutor(jobs) as pool:           # all at one time: one whose pipe is full stands still
        said = list(pool.map(lambda child: child.communicate()[0], children))
    if any(child.returncode for child in children):
        raise SystemExit("a process of the campaign has failed")
    return [json.loads(line) for text in said for line in text.splitlines()]


class Reached(NamedTuple):
    """Percent of the package, and of each file the branches that were never taken, as (from, to) lines."""

    branches: float
    lines: float
    missing: dict[str, list[list[int]]]


def reached() -> Reached:
    """What the runs have left in ``OUT``; the whole report is there too."""
    coverage = Coverage(data_file=str(OUT / ".coverage"), config_file=False, branch=True, source=[PACKAGE])
    coverage.combine([str(OUT)])
    report = OUT / "report.json"
    coverage.json_report(outfile=str(report))
    return from_report(json.loads(report.read_text(encoding="utf-8")))


def from_report(report: dict[str, Any]) -> Reached:
    """A branch is one of the ways on from a line that has several; lines are counted by themselves."""
    totals, files = report["totals"], report["files"]
    return Reached(
        100.0 * totals["covered_branches"] / totals["num_branches"],
        100.0 * totals["covered_lines"] / totals["num_statements"],
        {file: files[file]["missing_branches"] for file in sorted(files) if files[file]["missing_branches"]},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Rule 2."""
    parser = argparse.ArgumentParser(prog="reach", description="Branch coverage of ownership by simulation alone")
    parser.add_argument("-j", "--jobs", type=int, default=2)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--seconds", type=float, default=SECONDS_MAX, help="real time for it")
    parser.add_argument("--share", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    first, seeds, jobs, seconds = arguments.first, arguments.seeds, arguments.jobs, arguments.seconds
    if arguments.share is not None:
        share(first, seeds, arguments.share, jobs, seconds)
        return 0
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.glob(".coverage*"):
        old.unlink()
    done = runs(first, seeds, jobs, seconds)
    counts: Counter[str] = Counter()
    wrong = []
    for name, verdict, problems, counters in done:
        assert isinstance(counters, dict)
        counts.update(counters)
        if verdict != VALID:
            wrong.append(f"{name}: {verdict}: {problems}")
    found = reached()
    never = [name for name in RARE if not counts[name]]
    wanted = len(DIRECTED) * DIRECTED_SEEDS + seeds
    for file, branches in found.missing.items():
        print(f"{file}: {', '.join(f'{one} -> {other}' for one, other in branches)}")
    print(
        f"{len(done)} of {wanted} runs; {found.branches:.1f} % of the branches of {PACKAGE}, at least {PERCENT:g} % "
        f"are wanted; {found.lines:.1f} % of its lines"
    )
    print(*(f"never reached: {name}" for name in never), *wrong, sep="\n", end="\n" if never or wrong else "")
    return 1 if never or wrong or found.branches < PERCENT else 0


if __name__ == "__main__":
    sys.exit(main())
