"""What the protocol alone takes of the phases that ``bench-failover`` measures: the agent's code under virtual time.

Rules:

1. Nothing waits for a processor here, however many nodes there are: what grows with them grows by the protocol, and
   what grows more in containers grows by the machine that all of them share.
2. Phases end as in containers with the first process of the next run, and begin as there with the last sign of the
   old run; starts begin when a majority of the nodes has booted, as the disks of booted nodes count before their
   agents begin.
3. Answers of voters take up to ``ANSWER_S``, of the group's test ``TEST_S``, of the switch ``SHOT_S``, at every size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from statistics import median
from typing import Any

from mosha.ownership.electorate import VOTERS_MAX
from moslab.errors import LabError
from moslab.faults.plan import FaultPlan
from moslab.faults.targets import quorum
from moslab.history.checkers import VALID
from moslab.history.intervals import Interval
from moslab.simulator.run import Result, run

ANSWER_S, TEST_S, SHOT_S = 0.004, 0.005, 0.1
AT_S = 6.0                       # of the fault
OFF_S = 1.0                      # for which all nodes are without power, before a cold start
CORE_S_MAX = 120.0
CLTAB = f"bench:fit:test:test:run {TEST_S}\nbench:run:start:respawn:live\n"
HACTL = "bench start\n"
OWNER = ["owner:bench"]
BOOTED = re.compile(r" *(?P<at>[0-9.]+) +(?P<node>\d+) boots$")

FIRST, COLD, SHOT, LEASE, MOVE = "first boot", "cold start", "death, STOMITH", "death, no STOMITH", "planned move"


def median_s(metric: str, beat_s: float, lease_s: float, size: int, rounds: int) -> float:
    """Of so many runs, each from a seed of its own."""
    return median(measure(metric, beat_s, lease_s, size, seed) for seed in range(rounds))


def measure(metric: str, beat_s: float, lease_s: float, size: int, seed: int) -> float:
    """One run; LabError if it is not a valid one."""
    nodes = list(range(1, size + 1))
    conf = {"beat": f"{beat_s:g}", "lease": f"{lease_s:g}", "voters": " ".join(map(str, nodes[:VOTERS_MAX]))}
    faults: dict[str, dict[str, Any]] = {
        COLD: {"do": "crash", "whom": nodes, "for": OFF_S}, MOVE: {"do": "leave", "whom": OWNER},
        LEASE: {"do": "crash", "whom": OWNER}, SHOT: {"do": "crash", "whom": OWNER},
    }
    plan = FaultPlan(
        seed=seed, nodes=size, cltab=CLTAB, hactl=HACTL, founded=metric != FIRST,
        safety_s=AT_S + 3 * lease_s + 2 * OFF_S,
        conf={**conf, "stomith": "/sbin/off %n"} if metric == SHOT else conf,
        faults=[{"at": AT_S, **faults[metric]}] if metric in faults else [],
    )
    plan.network.update(
        latency_min_s=ANSWER_S / 8, latency_max_s=ANSWER_S / 2, tail=0.0, careful=0.0, torn=0.0
    )
    plan.clocks["late"] = 0.0
    plan.power.update(shot_min_s=SHOT_S, shot_max_s=SHOT_S)
    result = run(plan, traced=metric in (FIRST, COLD), core_s_max=CORE_S_MAX)
    if result.verdict != VALID:
        raise LabError(f"{metric}, {size} nodes, seed {seed}: {result.verdict}: {'; '.join(result.problems)}")
    return _took_s(metric, result)


def _took_s(metric: str, result: Result) -> float:
    """Rule 2."""
    owned = sorted(result.history.owned(), key=lambda one: one.begin_s)
    if metric == FIRST:
        return _next(owned, 0.0).begin_s - _majority_s(result, 0.0)
    if metric == COLD:
        return _next(owned, AT_S).begin_s - _majority_s(result, AT_S)
    before = next(one for one in owned if one.begin_s < AT_S <= one.end_s)
    elsewhere = (one for one in owned if one.node != before.node and one.begin_s < result.plan.safety_s)
    return _next(elsewhere, AT_S).begin_s - before.end_s


def _next(owned: Iterable[Interval], after_s: float) -> Interval:
    """The first that began after that time; LabError if none did: two nodes without STOMITH are no majority alone."""
    found = next((one for one in owned if one.begin_s > after_s), None)
    if found is None:
        raise LabError(f"under virtual time nothing ran after {after_s:g} s")
    return found


def _majority_s(result: Result, after_s: float) -> float:
    """When a majority of the nodes had booted, after that time."""
    booted: dict[int, float] = {}
    for found in filter(None, map(BOOTED.match, result.trace)):
        if float(found["at"]) >= after_s:
            booted.setdefault(int(found["node"]), float(found["at"]))
    return sorted(booted.values())[quorum(result.plan.nodes) - 1]
