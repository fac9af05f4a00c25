"""What a failed test leaves: a folder with a report, the history behind it, logs, and a plan that does it again.

========================  =========================================================================================
``report.html``           the run as a page, of ``history.json``
``history.json``          what happened, what was broken, what was said, the verdict (:mod:`moslab.history.stored`)
``node1.log``, …          what each node said; ``world.log``: what nobody of them did
``plan.json``             what was done, for ``pytest --replay`` in any world
``shrunk.json``           simulated: the same as small as it could be made, if the plan alone breaks a promise
========================  =========================================================================================
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from moslab.history.stored import Run, to_json
from moslab.report.html import page
from moslab.scenario.plans import PLAN, SHRUNK
from moslab.scenario.world import SIM

NAME_MAX = 120
REPORT, HISTORY = "report.html", "history.json"


def folder_of(root: Path, test: str) -> Path:
    """Of that test; of each of its clusters there is one below."""
    return root / re.sub(r"[^A-Za-z0-9_.-]+", "-", test).strip("-.")[-NAME_MAX:]


def write(folder: Path, run: Run) -> Path:
    """Write it all but plans, instead of what was there; the report."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    add(folder, {HISTORY: to_json(run), REPORT: page(run), **_logs(run)})
    return folder / REPORT


def add(folder: Path, papers: Mapping[str, str]) -> None:
    """More of it, by file name."""
    for name, text in papers.items():
        (folder / name).write_text(text, encoding="utf-8")


def again(folder: Path, papers: Iterable[str], world: str, options: Iterable[str]) -> list[str]:
    """The lines that carry its plans out in that world, for which pytest is given these options as well."""
    there = [f"--world={world}"] if world != SIM else []
    return [
        f"{what}: {shlex.join(['pytest', '--replay', str(folder / paper), *there, *options])}"
        for paper, what in ((SHRUNK, "in small"), (PLAN, "its faults")) if paper in papers
    ]


def _logs(run: Run) -> dict[str, str]:
    said: dict[str, list[str]] = {f"node{node}.log": [] for node in range(1, run.history.nodes + 1)}
    for time_s, node, text in run.log:
        said.setdefault(f"node{node}.log" if node else "world.log", []).append(f"{time_s:11.6f} {text}\n")
    return {name: "".join(lines) for name, lines in said.items()}
