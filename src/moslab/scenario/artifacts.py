"""What a failed test leaves: a folder with a report, the history behind it, logs, and a plan that does it again.

========================  =========================================================================================
``report.html``           the run as a page, of ``history.json``
``history.json``          what happened, what was broken, what was said, the verdict (:mod:`moslab.history.stored`)
``node1.log``, …          what each node said; ``world.log``: what nobody of them did
``plan.json``             what was done, for ``pytest --replay`` in any world
``shrunk.json``           the same as small as it could be made, if the plan alone breaks a promise when it is simulated
``not-shrunk.txt``        else: what the simulator makes of the plan
========================  =========================================================================================
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from moslab.errors import NotBegunError
from moslab.faults.plan import FaultPlan
from moslab.history.checkers import INVALID, UNKNOWN
from moslab.history.record import History
from moslab.history.stored import Run, to_json
from moslab.report.html import page
from moslab.scenario.plans import plan_of
from moslab.scenario.world import SIM, Spec
from moslab.simulator.run import run as simulated
from moslab.simulator.shrink import shrink

NAME_MAX = 120
REPORT, HISTORY, PLAN, SHRUNK, NOT_SHRUNK = "report.html", "history.json", "plan.json", "shrunk.json", "not-shrunk.txt"
SIMULATE_CORE_S_MAX = SHRINK_CORE_S_MAX = 20.0


def folder_of(root: Path, test: str) -> Path:
    """Of that test; of each of its clusters there is one below."""
    return root / re.sub(r"[^A-Za-z0-9_.-]+", "-", test).strip("-.")[-NAME_MAX:]


def leave(folder: Path, run: Run, plan: FaultPlan, options: Iterable[str]) -> list[str]:
    """Write it all, instead of what was there; the lines that say where it is, and what does it again, for which pytest
    is given these options as well. What was shrunk breaks its promise simulated, so it is done again there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _add(folder, {HISTORY: to_json(run), REPORT: page(run), PLAN: plan.to_json(), **_logs(run)})
    small = _small(plan)
    _add(folder, small)
    there = [f"--world={run.world}"] if run.world != SIM else []
    in_small = small.get(NOT_SHRUNK, "").strip() or _replay(folder / SHRUNK, options)
    return [f"report: {folder / REPORT}", f"in small: {in_small}",
            f"its faults: {_replay(folder / PLAN, [*there, *options])}"]


def leave_unbegun(
    folder: Path, title: str, world: str, spec: Spec, seed: int, again: str, error: NotBegunError,
    options: Iterable[str],
) -> list[str]:
    """The same of a cluster that did not come up: nothing was broken, and its nodes have said what is in the error."""
    history = History(spec.nodes, end_s=max([line.time_s for line in error.log], default=0.0))
    problems = ["the cluster did not come up"]
    run = Run(title, world, seed, again, str(error), UNKNOWN, problems, 0.0, history, [], error.log)
    return leave(folder, run, plan_of(spec, seed), options)


def _small(plan: FaultPlan) -> dict[str, str]:
    """The plan as small as it could be made, or why it could not be, by file name."""
    result = simulated(plan, core_s_max=SIMULATE_CORE_S_MAX)
    if result.verdict == INVALID:
        return {SHRUNK: shrink(result, core_s_max=SHRINK_CORE_S_MAX).plan.to_json()}
    why = "".join(f" ({problem.splitlines()[0]})" for problem in result.problems[:1])
    return {NOT_SHRUNK: f"not shrunk: its faults alone, simulated, are {result.verdict}{why}\n"}


def _replay(plan: Path, options: Iterable[str]) -> str:
    return shlex.join(["pytest", "--replay", str(plan), *options])


def _add(folder: Path, papers: Mapping[str, str]) -> None:
    for name, text in papers.items():
        (folder / name).write_text(text, encoding="utf-8")


def _logs(run: Run) -> dict[str, str]:
    said: dict[str, list[str]] = {f"node{node}.log": [] for node in range(1, run.history.nodes + 1)}
    for time_s, node, text in run.log:
        said.setdefault(f"node{node}.log" if node else "world.log", []).append(f"{time_s:11.6f} {text}\n")
    return {name: "".join(lines) for name, lines in said.items()}
