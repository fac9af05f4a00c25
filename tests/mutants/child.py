"""Runs seeds in a process of its own, with whatever sources its PYTHONPATH names; one line of JSON for each run.

``python child.py FIRST LAST PLAN``: PLAN is a JSON object of what to change in each drawn plan. It ends at the first
run that is invalid.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from moslab.faults.plan import FaultPlan
from moslab.history.checkers import INVALID
from moslab.simulator.draw import draw_plan
from moslab.simulator.run import run

RUN_S_MAX = 60.0


def changed(plan: FaultPlan, changes: dict[str, Any]) -> FaultPlan:
    """Objects are merged, and None takes a name away; all else is replaced."""
    for name, value in changes.items():
        before = getattr(plan, name)
        merged = {**before, **value} if isinstance(before, dict) else {}
        setattr(plan, name, {key: one for key, one in merged.items() if one is not None} or value)
    return plan


def main(first: int, last: int, changes: dict[str, Any]) -> None:
    """All seeds from first to last."""
    for seed in range(first, last + 1):
        result = run(changed(draw_plan(seed), changes), real_s_max=RUN_S_MAX, hasty=True)
        print(json.dumps([seed, result.verdict, result.problems]), flush=True)
        if result.verdict == INVALID:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))
