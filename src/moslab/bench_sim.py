"""``bench-sim``: how fast the simulator is, and what more nodes cost.

Rules:

1. Every figure is of a process of its own, on one core; its processor time counts, not how long it took.
2. Eight nodes run ten times as long under CPython, and 333 times as long under PyPy, as larger clusters: its
   compiler needs some seconds before it is of use, and they count.
3. What a node costs may grow no faster, from the smallest cluster of a run to any other, than the bytes it reads do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from moslab import bench
from moslab.errors import CannotError, LabError
from moslab.history.checkers import VALID
from moslab.progress import Progress
from moslab.simulator.speed import Cost

FEW = 8
SIZES = (64, 250, 1000)
SECONDS = 60.0
LONGER = {"cpython": 10, "pypy3": 333}
RATES = {"cpython": 100.0, "pypy3": 400.0}
LARGEST, LARGEST_CORE_S = 1000, 30 * 60.0        # the target is for 60 virtual seconds
RUN_LIMIT_S = 2 * 3600.0
SOURCE = Path(__file__).parents[1]
Row = dict[str, Any]


def bench_sim(sizes: list[int], seconds: float, with_pypy: bool, progress: Progress) -> int:
    """Measure, print a table, write ``out/bench/sim.json``; 0 if all targets are met, else 1."""
    if not sizes or min(sizes) < 1 or seconds <= 0:
        raise CannotError("bench-sim: at least one number of nodes, and some seconds")
    pypy = shutil.which("pypy3")
    if with_pypy and pypy is None:
        raise CannotError("bench-sim: no pypy3 here: apt-get install pypy3, or leave it out: --without-pypy")
    rows = [_few("cpython", sys.executable, seconds, progress)]
    if with_pypy and pypy is not None:
        rows.append(_few("pypy3", pypy, seconds, progress))
    rows += scale_rows([_cost(sys.executable, nodes, seconds, progress) for nodes in sorted(sizes)])
    return bench.conclude("sim", rows)


def _few(name: str, python: str, seconds: float, progress: Progress) -> Row:
    cost = _cost(python, FEW, seconds * LONGER[name], progress)
    return row(f"rate, {name}, N={FEW}", "x", cost.rate, RATES[name])


def _cost(python: str, nodes: int, seconds: float, progress: Progress) -> Cost:
    command = [python, "-m", "moslab.simulator.speed", str(nodes), str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with progress.stage(f"{nodes} nodes, {seconds:g} virtual s, {Path(python).name}"):
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"{' '.join(command)}: not done after {RUN_LIMIT_S:g} s") from None
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    cost = Cost(**json.loads(done.stdout))
    if cost.verdict != VALID:
        raise LabError(f"{' '.join(command)}: the run is {cost.verdict}")
    return cost


def scale_rows(costs: list[Cost]) -> list[Row]:
    """Four for each size; the first is the measure of the others (rule 3)."""
    first, rows = costs[0], []
    for cost in costs:
        size = f"N={cost.nodes}"
        limit_s = LARGEST_CORE_S * cost.virtual_s / SECONDS if cost.nodes == LARGEST else None
        rows += [
            row(f"core time, {size}", "s", cost.core_s, limit_s),
            row(f"rate, cpython, {size}", "x", cost.rate, None),
            row(f"read by a node in 1 s, {size}", "KiB", cost.node_kib, None),
            row(f"cost of a node for 1 s, {size}", "ms", cost.node_ms, first.node_ms * cost.node_kib / first.node_kib),
        ]
    return rows


def row(metric: str, unit: str, ours: float, target: float | None) -> Row:
    """A row of the table. There is no peer: nothing else runs this agent."""
    return bench.row(metric, unit, 1, ours, target, at_least=unit == "x")
