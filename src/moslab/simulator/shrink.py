"""Makes a failing plan small: fewer faults, shorter, fewer nodes; whatever still fails in the same way is kept."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Callable

from moslab.faults.plan import FaultPlan
from moslab.simulator.run import Result, run

RUNS_MAX = 400
RUN_CORE_S_MAX = 30.0
OPTIONAL = frozenset({"flap", "both", "wipe", "slow", "error", "hang", "loss", "torn", "reboot", "signal"})
Trial = Callable[[FaultPlan], Result]


def kinds(result: Result) -> frozenset[str]:
    """Which promises were broken."""
    return frozenset(problem.partition(":")[0] for problem in result.problems)


def shrink(
    failed: Result, trial: Trial | None = None, runs_max: int = RUNS_MAX, core_s_max: float = float("inf"),
) -> Result:
    """The smallest failing run that was found within ``runs_max`` runs, of which none begins after so much of one core;
    the first promise broken stays broken."""
    trial = trial or (lambda plan: run(plan, core_s_max=RUN_CORE_S_MAX))
    broken = failed.problems[0].partition(":")[0]
    best, runs, again, stop_at = failed, 0, True, time.process_time() + core_s_max
    while again:
        again = False
        for plan in _smaller(best.plan):
            if runs >= runs_max or time.process_time() > stop_at:
                return best
            runs += 1
            result = trial(plan)
            if result.verdict == failed.verdict and broken in kinds(result):
                best, again = result, True
                break
    return best


def _smaller(plan: FaultPlan) -> Iterator[FaultPlan]:
    """Plans that are a step smaller, the boldest steps first."""
    count = len(plan.faults)
    size = count
    while size:
        for begin in range(0, count, size):
            yield _with(plan, faults=plan.faults[:begin] + plan.faults[begin + size :])
        size //= 2
    for place in range(len(plan.installed)):
        yield _with(plan, installed=plan.installed[:place] + plan.installed[place + 1 :])
    last = max((fault["at"] for fault in plan.faults), default=0.0)
    if plan.safety_s > last + 10:
        yield _with(plan, safety_s=round(last + 9, 1))
    if plan.nodes > 1 and not _named(plan, plan.nodes):
        yield _with(plan, nodes=plan.nodes - 1, heal=[number for number in plan.heal if number < plan.nodes])
    for place, fault in enumerate(plan.faults):
        for name in [name for name in fault if name in OPTIONAL]:
            less = {key: value for key, value in fault.items() if key != name}
            yield _with(plan, faults=[*plan.faults[:place], less, *plan.faults[place + 1 :]])


def _named(plan: FaultPlan, node: int) -> bool:
    """Whether the plan speaks of the node alone; in a list of all it may be left out."""
    return (
        str(node) in plan.conf.get("voters", "").split() or plan.heal == [node] or node in plan.arbitrators
        or any(node in fault["whom"] or node in (*fault.get("to", []), fault.get("node")) for fault in plan.faults)
        or any(node in fault.get("nodes", ()) for fault in plan.faults)
        or any(node in (one["node"], *one.get("voters", ()), *one.get("map", ())) for one in plan.installed)
    )


def _with(plan: FaultPlan, **changes: object) -> FaultPlan:
    smaller = copy.deepcopy(plan)
    for name, value in changes.items():
        setattr(smaller, name, value)
    return smaller
