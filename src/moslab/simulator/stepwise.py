"""A simulated cluster that is driven from outside: time passes when somebody waits, and faults happen now.

Rules:

1. Nothing happens between two waits: however long the driver takes, the cluster stands still meanwhile.
2. Each fault is added to the plan at its moment, and its end when it ends: the plan is always one that repeats what was
   done so far.
3. What was observed can be judged at any time, and changes nothing.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import replace
from typing import Any

from mosha.status import TWIN
from moslab.errors import CannotError, LabError
from moslab.faults.plan import Fault, FaultPlan, PlanError, checked
from moslab.history.intervals import Interval
from moslab.history.record import History
from moslab.simulator.cluster import Cluster
from moslab.simulator.inject import Injector, Undo
from moslab.simulator.process import Member
from moslab.simulator.run import FILES_MAX, FILES_PER_NODE_MAX, advance, at_work

LINES_MAX = 200_000


class Lasting:
    """A fault of the plan that has begun; :meth:`end` ends it, once."""

    def __init__(self, simulated: Stepwise, fault: Fault, undo: Undo | None) -> None:
        self._simulated, self._fault, self._undo = simulated, fault, undo

    def end(self) -> None:
        if self._undo is not None:
            self._fault["for"] = round(self._simulated.now_s() - self._fault["at"], 9)
            undo, self._undo = self._undo, None
            undo()


class Stepwise:
    """See the rules. It is a clock (:class:`moslab.wait.Clock`). CannotError for a plan that cannot be run."""

    def __init__(self, plan: FaultPlan) -> None:
        try:
            self._plan = checked(plan)
        except PlanError as error:
            raise CannotError(f"the simulator: {error}") from None
        self.log: deque[tuple[float, int, str]] = deque(maxlen=LINES_MAX)
        self.cluster = Cluster(plan, lambda now_s, node, text: self.log.append((now_s, node, text)))
        self.injector = Injector(self.cluster)

    def now_s(self) -> float:
        return self.cluster.kernel.now

    def sleep(self, for_s: float) -> None:
        """Let virtual time pass; LabError if too much happens in it."""
        with at_work(self.cluster, traced=True):
            if not advance(self.cluster, self.now_s() + for_s, float("inf")):
                raise LabError("the simulator: too many events in a short time")

    def begin(self, do: str, whom: list[int], **more: Any) -> Lasting:
        """A fault of the forms of :mod:`moslab.faults.plan`, now (rule 2)."""
        fault: Fault = {"at": self.now_s(), "do": do, "whom": whom, **more}
        self._plan.faults.append(fault)
        return Lasting(self, fault, self.injector.begin(fault))

    def plan(self) -> FaultPlan:
        """What was done so far, then a heal of all nodes: ``moslab sim --plan`` does it again."""
        return replace(self._plan, safety_s=self.now_s(), heal=[])

    def running(self, group: str) -> list[Member]:
        """The processes of a group that execute, tests of fitness aside."""
        return [
            member for node in self.cluster.nodes.values() if not node.frozen
            for member in node.members.values() if member.group == group and member.runs and not member.tests
        ]

    def views(self) -> list[str]:
        """How each node's agent sees all nodes; "no agent" for each node that has none."""
        found: list[str] = []
        for node in self.cluster.nodes.values():
            page = node.disk.files.get(TWIN) if node.world is not None and not node.frozen else None
            seen = json.loads(page).get("nodes", []) if page else []      # an agent that is not placed yet sees nobody
            found += [other["state"] for other in seen] or ["no agent"]
        return found

    def history(self) -> History:
        """What the observer knows by now (rule 3); what runs has no end yet."""
        observed, nodes = self.cluster.history.so_far(), self.cluster.nodes.values()
        living: list[Interval] = []
        tests = set(observed.tests)
        for node in nodes:
            runs = [] if node.frozen else [member for member in node.members.values() if member.runs]
            living += [member.interval(float("inf")) for member in runs]
            tests |= {member.pid for member in runs if member.tests}
        return replace(
            observed, intervals=[*observed.intervals, *living], tests=tests, end_s=self.now_s(),
            files={node.number: len(node.disk.files) for node in nodes},
            files_max=FILES_MAX + FILES_PER_NODE_MAX * len(nodes),
        )
