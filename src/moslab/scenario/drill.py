"""A drill: the owner of a group is killed, cut off, and its agent frozen, one after the other; how long it was away.

Rules:

1. *Away* is from the end of its last process on the old node to the beginning of the first on the new one. *Overlap* is
   what that is less than nothing: for so long both ran.
2. After each step all is healed and all groups run. Where the group came back is where the next step begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable, NamedTuple

from moslab.errors import LabError
from moslab.history.intervals import Interval
from moslab.scenario.breach import Breach
from moslab.scenario.cluster import Cluster
from moslab.scenario.group import Group

STEPS: dict[str, Callable[[Cluster, int], Breach]] = {
    "its node loses power": lambda cluster, node: cluster.kill(node),
    "its node is cut off": lambda cluster, node: cluster.cut(node),
    "its agent is frozen": lambda cluster, node: cluster.stop_process("agent", on=node),
}


class Step(NamedTuple):
    """What one step did; seconds."""

    what: str
    before: int
    after: int
    away_s: float

    @property
    def overlap_s(self) -> float:
        """Rule 1."""
        return max(0.0, -self.away_s)


def drill(cluster: Cluster, group: Group) -> Iterator[Step]:
    """One step after the other. AssertionError if the group does not come back."""
    for what, begin in STEPS.items():
        before = group.run()
        with begin(cluster, before.node):
            after = group.wait_running(elsewhere=before.node)
        cluster.heal()
        yield Step(what, before.node, after.node, after.begin_s - _end_s(cluster, before))


def _end_s(cluster: Cluster, run: Interval) -> float:
    """When it ended, by the history: what runs is seen with no end, or with the latest one."""
    found = [one.end_s for one in cluster.world.history().intervals
             if (one.group, one.node, one.begin_s) == (run.group, run.node, run.begin_s)]
    if not found:
        raise LabError(f"{run.group} ran on node {run.node}, and the history does not know of it")
    return max(found)
