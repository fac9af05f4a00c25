"""Runs seeds in a process of its own, with whatever sources its PYTHONPATH names; one line of JSON for each run.

``python child.py SEEDS PLAN``: SEEDS is a JSON list, PLAN a JSON object of what to change in each drawn plan; null for
the seeds as they are. It ends at the first run that is invalid.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from moslab.history.checkers import INVALID
from moslab.simulator.draw import directed_plan, draw_plan
from moslab.simulator.run import run

RUN_CORE_S_MAX = 60.0


def main(seeds: list[int], changes: dict[str, Any] | None) -> None:
    """All seeds, in this order."""
    for seed in seeds:
        plan = draw_plan(seed) if changes is None else directed_plan(seed, changes)
        result = run(plan, core_s_max=RUN_CORE_S_MAX, hasty=True)
        print(json.dumps([seed, result.verdict, result.problems, plan.profile]), flush=True)
        if result.verdict == INVALID:
            return


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), json.loads(sys.argv[2]))
