"""What came of a fault plan, in words that mean the same in every world (adr/0045).

Rules:

1. No time is in it, and no name of a world: who owns a group when the faults have had their time, by what was before;
   how many epochs and starts that took, to the end; who was shot; and the verdict.
2. A node is its number, so before a plan begins every group is brought to the same node.
3. A *start* is a first process of a group, tests of fitness aside; an *epoch* is a token that nobody had before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from moslab.faults.record import OFF
from moslab.history.record import History
from moslab.scenario.cluster import Cluster
from moslab.scenario.group import Group

FIRST = 1                        # the node of rule 2
STAYS, MOVED, NOWHERE, TWICE = "stays", "moved", "nowhere", "twice"


class OfGroup(NamedTuple):
    """``owner``: it stays, has moved, runs nowhere, or twice."""

    owner: str
    epochs: int
    starts: int


class Outcome(NamedTuple):
    """``shot``: the nodes that STOMITH had put off when the faults had had their time."""

    verdict: str
    shot: tuple[int, ...]
    groups: Mapping[str, OfGroup]

    def words(self) -> dict[str, str]:
        """Each thing that may differ, by its name."""
        found = {"verdict": self.verdict, "shot": " ".join(map(str, self.shot)) or "nobody"}
        for name, group in sorted(self.groups.items()):
            found.update({f"{name}: owner": group.owner, f"{name}: epochs": str(group.epochs),
                          f"{name}: starts": str(group.starts)})
        return found


def bring_home(cluster: Cluster) -> None:
    """Rule 2."""
    for name in cluster.world.groups:
        group = cluster.group(name)
        if group.owner != FIRST:
            cluster.move(group, FIRST)
            group.wait_running(elsewhere=True)


def owners(cluster: Cluster) -> dict[str, str]:
    """By group, now."""
    return {name: _owner(cluster.group(name)) for name in cluster.world.groups}


def shot(cluster: Cluster) -> tuple[int, ...]:
    """Those without power, from which nobody here took it."""
    ours = {node for _, node, _ in cluster.world.faults.record.lasting(OFF)}
    return tuple(node for node in sorted(cluster.world.off()) if node not in ours)


def counted(history: History, group: str, since_s: float) -> tuple[int, int]:
    """The epochs and starts of a group since then."""
    ours = [one for one in history.intervals if one.group == group and one.pid not in history.tests]
    old = {one.epoch for one in ours if one.begin_s < since_s}
    begins: dict[tuple[int, int, str], float] = {}           # a process that stood still is in several pieces
    for one in ours:
        known = one.node, one.pid, one.epoch
        begins[known] = min(one.begin_s, begins.get(known, one.begin_s))
    return len({one.epoch for one in ours} - old), sum(begin_s >= since_s for begin_s in begins.values())


def _owner(group: Group) -> str:
    nodes = {run.node for run in group.runs}
    if len(nodes) > 1:
        return TWICE
    return NOWHERE if not nodes else STAYS if nodes == {FIRST} else MOVED
