"""A cluster for many scenarios: its groups are tickers, and after each scenario their journals are judged."""

from __future__ import annotations

from moslab.cluster import Cluster
from moslab.faults.links import Link, between
from moslab.faults.record import lines
from moslab.history.intervals import Interval
from moslab.history.record import History
from moslab.scenario import cluster as scenario
from moslab.scenario.docker import DockerWorld
from moslab.scenario.tables import TICK
from moslab.scenario.world import Spec

OWN_NET = r"ip -4 -o addr show dev eth0 primary | sed -n 's|.* inet \([0-9.]*\)\.[0-9]*/\([0-9]*\) .*|\1.250/\2|p'"
ENTRIES = {
    "addressed": f"addressed:a-on:start:respawn:exec mosha ip $({OWN_NET})\n"
                 f"addressed:a-run:start:respawn:{TICK} /san/addressed\n",
    "tick": f"tick:tick-fit:test:test:test -d /san\ntick:tick-run:start:respawn:{TICK} /san/tick\n",
    "deaf": f"deaf:deaf-run:start:respawn:{TICK} /san/deaf deaf\n",
    "orphans": f"orphans:o-run:start:respawn:(setsid {TICK} /san/orphans &); {TICK} /san/orphans & wait\n",
    "hidden": "hidden:h-run:start:respawn:(setsid env -i MOSHA_NODE=$MOSHA_NODE MOSHA_ERA=$MOSHA_ERA"
              f" MOSHA_EPOCH=$MOSHA_EPOCH {TICK} /san/hidden &); exec {TICK} /san/hidden\n",
    "mounted": "mounted:m-on:start:respawn:mosha mount -t tmpfs none /mnt\n"
               "mounted:m-in:start:wait:timeout 20 sh -c 'until mountpoint -q /mnt; do sleep 0.1; done'\n"
               f"mounted:m-run:start:respawn:{TICK} /san/mounted\n",
}


def tables(*groups: str) -> dict[str, str]:
    """cltab and hactl of these groups."""
    return {"cltab": "".join(ENTRIES[group] for group in groups), "hactl": "".join(f"{g} start\n" for g in groups)}


class Arena:
    """A cluster of the laboratory's own tests. Every wait is for what the journals show, not for what an agent says of
    itself."""

    def __init__(self, cluster: Cluster, groups: tuple[str, ...], stomith: bool) -> None:
        self.cluster, self.groups, self.stomith = cluster, groups, stomith
        self.world = DockerWorld(cluster, groups, Spec(len(cluster.nodes()), stomith))
        self.faults = self.world.faults
        self._scenario = scenario.Cluster(self.world, 0)
        self._known: set[str] = set()
        self._is_wrong = False

    def life(self, group: str = "tick") -> Interval:
        """One of the runs of a group, which must be running on one node."""
        return self._scenario.group(group).run()

    def lives(self, group: str, count: int) -> tuple[Interval, ...]:
        """The runs of a group, which must come to so many."""
        return self._scenario.eventually(
            lambda: self._scenario.group(group).runs, lambda runs: len(runs) == count, what=f"{group} has {count} runs",
        )

    def wait_elsewhere(self, group: str, node: int) -> Interval:
        """The run on another node than this one."""
        return self._scenario.group(group).wait_running(elsewhere=node)

    def wait_again(self, before: Interval) -> Interval:
        """A run, on any node, that began after ``before`` had ended."""
        return self._scenario.group(before.group).wait_again(before)

    def goes_on(self, before: Interval, for_s: float) -> bool:
        """Whether that very run is going on ``for_s`` from now."""
        return self._scenario.group(before.group).goes_on(before, for_s)

    @property
    def nodes(self) -> tuple[int, ...]:
        return self.world.nodes

    def others(self, node: int) -> list[int]:
        return [other for other in self.nodes if other != node]

    def around(self, node: int) -> frozenset[Link]:
        """All links of a node, both ways."""
        return between([node], self.others(node))

    def off(self) -> list[int]:
        """The nodes without power."""
        return self.world.off()

    def settle(self) -> None:
        """End all faults; return when all nodes are up and all groups run."""
        self.world.settle()

    @property
    def is_whole(self) -> bool:
        """Whether nothing was done to it since it was judged."""
        return self._scenario.judged is not None and not self._is_wrong

    def judge(self) -> History:
        """Settle; then the checkers find nothing wrong in the whole history that no judgement before has found."""
        verdict = self._scenario.judge()
        problems = [problem for problem in verdict.problems if problem not in self._known]
        self._known.update(problems)
        self._is_wrong = bool(problems)
        assert not problems, "\n".join([*problems, *lines(self.faults.record.all)])
        assert verdict.history is not None
        return verdict.history
