"""Many runs: seeds in, verdicts and counters out, on several processes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field

from moslab.faults.plan import BOTH, KINDS
from moslab.history.checkers import INVALID, UNKNOWN, VALID
from moslab.simulator import reached
from moslab.simulator.draw import draw_plan
from moslab.simulator.facts import NAMES
from moslab.simulator.guardian import WITHIN_K
from moslab.simulator.installed import UNEVEN
from moslab.simulator.run import Result, run

RUN_CORE_S_MAX = 60.0
AHEAD = 4                        # runs that wait for each process

EXPECTED: tuple[str, ...] = (
    *(f"fault {kind}" for kind in KINDS if kind not in ("pause", "kill")),
    *(f"fault {kind}/{what}" for kind in ("pause", "kill") for what in ("agent", "leash", "group")),
    f"fault kill/{BOTH}",
    "cut one way", "cut both ways", "cut while another lasts", "cut that leaves a bridge",
    "fault aimed at an owner", "flap", "disk lost", "crash", "crash of a frozen node",
    "crash loses what was not synced",
    "STOMITH works", "STOMITH fails", "STOMITH lies", "STOMITH slow", "STOMITH cut",
    "leash kills: deadline", "leash kills: agent's order",
    "message meets a cut", "reply meets a cut", "request waits for the thaw", "request to a node without power",
    "late completion", "step fails", "step fails and took effect", "step hangs", "torn write", "probe lost",
    "node rebooted between two steps", "task ran over its limit", "late task ends", "worker is lost", "no fork",
    "process left behind", "signal ignored",
    "killed process in state D", "edit replicated",
    "disk restored", "handle is stale", "read of a replaced file", "write into a replaced file",
    "disk lost under a running agent", "disk lost at the end of its agent", "two versions of the protocol",
    "leash does not obey and is killed", WITHIN_K, "edit in place", "no room on the disk",
    "second guardian is spared", "group was tested ahead", "leash outlives its agent", "group was adopted",
    "clock stood still", "file of a node without power",
    "message on a worse connection", "connection breaks",
    "map of all nodes", "map without some nodes", "request to a node that is not on the map",
    "exchange ends before the journals do", "copy ends before the journals do",
    "elder runs a group", "elder yields a group", "elder lost its quorum",
    *UNEVEN, *reached.NAMES, *NAMES,
)
"""What has to happen at least once in an ordinary budget of seeds, whatever their plans have."""

SEEDS_MIN = 200                  # an ordinary budget: from so many on a zero is a failure


@dataclass
class Summary:
    """Of one run, small enough to be sent between processes."""

    seed: int
    verdict: str
    problems: list[str]
    counters: dict[str, int]
    virtual_s: float
    core_s: float
    thaw_overlap_s: float


@dataclass
class Total:
    """Of a campaign. ``failed``: the runs that are not valid."""

    verdicts: dict[str, int] = field(default_factory=lambda: {VALID: 0, INVALID: 0, UNKNOWN: 0})
    counters: dict[str, int] = field(default_factory=dict)
    failed: list[Summary] = field(default_factory=list)
    virtual_s: float = 0.0
    core_s: float = 0.0
    real_s: float = 0.0
    thaw_overlap_s: float = 0.0

    def add(self, one: Summary) -> None:
        self.verdicts[one.verdict] += 1
        for name, count in one.counters.items():
            self.counters[name] = self.counters.get(name, 0) + count
        self.virtual_s += one.virtual_s
        self.core_s += one.core_s
        self.thaw_overlap_s = max(self.thaw_overlap_s, one.thaw_overlap_s)
        if one.verdict != VALID:
            self.failed.append(one)


def never_reached(counters: dict[str, int]) -> list[str]:
    """What should have happened sometimes, and never did."""
    return [name for name in EXPECTED if not counters.get(name)]


def summary(result: Result) -> Summary:
    """The short form of a result, with what its history reached."""
    counters = {**result.counters, **reached.reached(result)}
    return Summary(
        result.plan.seed, result.verdict, result.problems, counters, result.virtual_s, result.core_s,
        result.thaw_overlap_s,
    )


def run_seed(seed: int, nodes: int | None) -> Summary:
    """One run in this process."""
    return summary(run(draw_plan(seed, nodes), core_s_max=RUN_CORE_S_MAX))


def campaign(
    seeds: Iterable[int], jobs: int, nodes: int | None, failures_max: int, total: Total
) -> Iterator[Summary]:
    """Run all seeds and add them up; stops early at ``failures_max`` runs that are invalid."""
    began = time.perf_counter()
    for one in _results(seeds, jobs, nodes):
        total.add(one)
        total.real_s = time.perf_counter() - began
        yield one
        if total.verdicts[INVALID] >= failures_max:
            return


def _results(seeds: Iterable[int], jobs: int, nodes: int | None) -> Iterator[Summary]:
    if jobs == 1:
        for seed in seeds:
            yield run_seed(seed, nodes)
        return
    with ProcessPoolExecutor(jobs) as pool:
        left = iter(seeds)
        flying: set[Future[Summary]] = set()
        try:
            while True:
                while len(flying) < AHEAD * jobs:
                    more = next(left, None)
                    if more is None:
                        break
                    flying.add(pool.submit(run_seed, more, nodes))
                if not flying:
                    return
                done, flying = wait(flying, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
