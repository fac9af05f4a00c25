"""One run: a safety phase full of faults, a heal, and the wait until every group runs."""

from __future__ import annotations

import gc
import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mosha.ownership import copies, journal, link
from mosha.tables import hactl
from mosha.tables.errors import TableErrors
from moslab.faults.plan import FaultPlan
from moslab.faults.record import Fault
from moslab.history.checkers import INVALID, judge, thaw_overlap_s
from moslab.history.record import History, Line
from moslab.history.stored import Run
from moslab.simulator.cluster import Cluster
from moslab.simulator.facts import JOURNAL, VOID, said, waits_for
from moslab.simulator.inject import Injector
from moslab.simulator.installed import is_promised
from moslab.simulator.node import TABLES

CALLS_PER_NODE_S_MAX = 20_000
SLICE_S = 0.5                    # in which the liveness phase is looked at
REST_S, REST_LEASES = 5.0, 3     # together, of F L: so long everything must run, and nothing move, before it ends
_RESTLESS = re.compile(r"(?m)^([^:#\n]+):.*\b(?:dies|fail|exit)=")      # groups whose commands crash or fail
SETTLE_S = 20.0                  # for the tables, which may stay in conflict
FILES_MAX, FILES_PER_NODE_MAX = 64, 16
JOURNAL_BYTES_MAX = 32768        # on one voter, and for each node
GENERATIONS_MAX = 4              # of these sizes: what is written, what is about to be removed, and what was copied
GROUP_BYTES = 2048               # what is needed of one group, twice


@dataclass
class Result:
    """What came of one plan."""

    plan: FaultPlan
    verdict: str
    problems: list[str]
    history: History
    counters: dict[str, int]
    virtual_s: float
    core_s: float                # processor time of this process
    calls: int
    read_bytes: int              # by all agents, through MFS
    thaw_overlap_s: float = 0.0
    recovered_s: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    log: list[Line] = field(default_factory=list)    # if it was traced

    @property
    def trace(self) -> list[str]:
        """The log with a column for each node."""
        width = 2 * self.plan.nodes if self.plan.nodes <= 16 else 0

        def column(node: int) -> str:
            return " " * min(2 * node, width) if width else f"{node:4d} "

        return [f"{time_s:11.6f} {column(node)}{node or '*'} {text}" for time_s, node, text in self.log]

    def stored(self, title: str, again: str = "") -> Run:
        """For a report."""
        return Run(
            title, "sim", self.plan.seed, again, "", self.verdict, self.problems, 0.0, self.history, self.faults,
            self.log,
        )


class _Log(logging.Handler):
    """What the agents log, as events of the trace; and what it says is counted."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(logging.INFO)
        self._cluster = cluster

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self._cluster.trace(self._cluster.speaker, text)
        name = said(text) if record.levelno >= logging.WARNING else None
        if name is not None:
            self._cluster.count(name)
        if VOID in text:
            self._cluster.history.voided(self._cluster.kernel.now, self._cluster.speaker)


def run(
    plan: FaultPlan, traced: bool = False, core_s_max: float = float("inf"), hasty: bool = False,
) -> Result:
    """Run a plan to its end, or until it took ``core_s_max`` of one core; if ``hasty``, a safety phase in which
    something was wrong is the end."""
    log: list[Line] = []

    def note(now_s: float, node: int, text: str) -> None:
        log.append(Line(now_s, node, text))

    began = time.process_time()
    cluster = Cluster(plan, note if traced else None)
    with at_work(cluster, traced):
        injector = Injector(cluster)
        try:
            recovered_s = _live(cluster, injector, began + core_s_max, hasty)
        finally:
            cluster.kernel.close()
    verdict, problems = judge(cluster.result)
    return Result(
        plan, verdict, problems, cluster.result, cluster.counters, cluster.kernel.now, time.process_time() - began,
        cluster.kernel.calls, cluster.tasks.handles.read_bytes, thaw_overlap_s(cluster.result), recovered_s,
        injector.record, log,
    )


@contextmanager
def _sizes(plan: FaultPlan) -> Iterator[None]:
    """The agents' own bounds, as the plan has them."""
    before = journal.READ_MAX, link.JOURNAL_BYTES_MAX, copies.PART_BYTES_MAX
    journal.READ_MAX = plan.sizes["read"]
    link.JOURNAL_BYTES_MAX = copies.PART_BYTES_MAX = plan.sizes["journal"]
    try:
        yield
    finally:
        journal.READ_MAX, link.JOURNAL_BYTES_MAX, copies.PART_BYTES_MAX = before


@contextmanager
def at_work(cluster: Cluster, traced: bool) -> Iterator[None]:
    """While its agents do something: what they log is the cluster's, and no garbage is collected."""
    log = logging.getLogger("mosha")
    handler, level, propagate = _Log(cluster), log.level, log.propagate
    log.propagate = False
    log.setLevel(logging.INFO if traced else logging.WARNING)
    log.addHandler(handler)
    collecting = gc.isenabled() and sys.implementation.name == "cpython"    # PyPy has no other collector
    if collecting:
        gc.disable()
    try:
        with _sizes(cluster.plan):
            yield
    finally:
        if collecting:
            gc.enable()
        log.removeHandler(handler)
        log.propagate = propagate
        log.setLevel(level)


def _live(cluster: Cluster, injector: Injector, stop_at: float, hasty: bool) -> float:
    """Both phases; how long after the heal everything ran, and went on to."""
    plan, history = cluster.plan, cluster.result
    injector.schedule()
    if not advance(cluster, plan.safety_s, stop_at) or (hasty and judge(cluster.history.so_far())[0] == INVALID):
        _close(cluster)
        return 0.0
    heal = plan.heal or cluster.numbers
    injector.heal(heal)
    history.healed, history.healed_s = heal, cluster.kernel.now
    history.promised = is_promised(plan)
    history.rest_s = REST_S + REST_LEASES * plan.settings().timing.expiry_s
    history.restless = frozenset(_RESTLESS.findall(plan.cltab))
    well_since = _rest(cluster, heal, stop_at)
    history.wanted = _wanted(cluster, heal) if history.promised else []
    _note_fenced(cluster, heal)
    _close(cluster)
    return well_since - history.healed_s if well_since is not None else 0.0


def _rest(cluster: Cluster, heal: list[int], stop_at: float) -> float | None:
    """Until the healed cluster has been at rest for long enough, or the bound; since when all ran that should."""
    kernel, history = cluster.kernel, cluster.result
    healed_s, bound_s = kernel.now, cluster.plan.bound_s
    well_since: float | None = None
    quiet_since, before = kernel.now, _homes(cluster, heal)
    while kernel.now < healed_s + bound_s + history.rest_s:
        if not advance(cluster, kernel.now + SLICE_S, stop_at):
            break
        _note_fenced(cluster, heal)
        homes = _homes(cluster, heal)
        wanted = [group for group in _wanted(cluster, heal) if group not in history.idle() and history.promised]
        is_well = all(_runs(cluster, group) for group in wanted)
        well_since = (kernel.now if well_since is None else well_since) if is_well else None
        if not is_well or (homes != before and history.promised):
            quiet_since = kernel.now
        before = homes
        settled = kernel.now > healed_s + SETTLE_S or cluster.tables_settled(heal)
        if kernel.now >= quiet_since + history.rest_s and settled:
            break
    return well_since


def _homes(cluster: Cluster, heal: list[int]) -> tuple[int, list[set[str]]]:
    """What changes while a cluster is not at rest: how often an identity ended, and which groups each node runs."""
    restless = cluster.result.restless
    return sum(1 for _, node in cluster.result.voids if node in heal), [
        {member.group for member in cluster.nodes[number].members.values() if member.runs and not member.tests}
        - restless for number in heal
    ]


def advance(cluster: Cluster, until_s: float, stop_at: float) -> bool:
    """Slice by slice; False if it took too many calls, or until this process has used ``stop_at`` seconds of a core."""
    while cluster.kernel.now < until_s:
        to_s = min(until_s, cluster.kernel.now + SLICE_S)
        if not cluster.kernel.run(to_s, int(CALLS_PER_NODE_S_MAX * SLICE_S * len(cluster.numbers))):
            cluster.result.crashes.append((cluster.kernel.now, 0, "too many events in a short time"))
            return False
        if time.process_time() > stop_at:
            cluster.result.unfinished = f"cut short at {cluster.kernel.now:.1f} s: it took too long"
            return False
    return True


def _close(cluster: Cluster) -> None:
    plan, history, now = cluster.plan, cluster.result, cluster.kernel.now
    for node in cluster.nodes.values():
        for member in node.members.values():
            if member.runs:
                member.record_end(float("inf"))
        files = node.disk.files
        history.files[node.number] = len(files)
        history.journal_bytes[node.number] = sum(len(files[name]) for name in files if JOURNAL in name)
    groups = len(hactl.levels(hactl.parse(plan.hactl))) + len(cluster.result.electorates)
    each = GENERATIONS_MAX * (plan.sizes["journal"] + groups * GROUP_BYTES)
    history.journal_bytes_max = JOURNAL_BYTES_MAX + each * len(cluster.numbers)
    history.files_max = FILES_MAX + FILES_PER_NODE_MAX * len(cluster.numbers)
    for table in sorted(TABLES):
        history.final[table] = [cluster.edits_in(number, f"{table}.good") for number in cluster.numbers]
    for number in cluster.numbers:
        history.aside |= cluster.edits_aside(number)
        if number not in plan.heal:                  # its agent may not have looked since
            history.aside |= {(table, one) for table in TABLES for one in cluster.edits_in(number, f"{table}.previous")}
    cluster.history.close(now)


def _note_fenced(cluster: Cluster, heal: list[int]) -> None:
    """Which fenced groups wait for a node that was not healed, as nobody can shoot."""
    history = cluster.result
    if "stomith" in cluster.plan.conf:
        return
    disks = [cluster.nodes[number].disk.files for number in heal]
    owners = {group: waits_for(disks, group) for group in sorted(history.fenced)}
    history.waiting = {group: node for group, node in owners.items() if node is not None and node not in heal}


def _wanted(cluster: Cluster, heal: list[int]) -> list[str]:
    """The groups that must run, as the tables on the healed nodes have it."""
    for number in heal:
        try:
            levels = hactl.levels(hactl.parse(cluster.nodes[number].disk.files["hactl"].decode()))
        except (KeyError, TableErrors):              # it has lost its disk, or somebody broke the table
            continue
        return [group for group, level in levels.items() if level != hactl.STOP]
    return []


def _runs(cluster: Cluster, group: str) -> bool:
    return any(
        member.group == group and member.runs and not member.tests
        for node in cluster.nodes.values() if not node.frozen for member in node.members.values()
    )
