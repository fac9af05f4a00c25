"""A cluster for many scenarios: its groups are tickers, and after each scenario their journals are judged."""

from __future__ import annotations

import json
from typing import Callable

from moslab import journals
from moslab.cluster import Cluster
from moslab.faults.docker import Faults
from moslab.faults.links import Link, between
from moslab.history.intervals import Overlap, overlaps
from moslab.journals import Life, Look
from moslab.node import run
from moslab.wait import eventually

RUN_LIMIT_S = 45.0
UP_LIMIT_S = 60.0
TICK = "/usr/lib/mosha/demo/tick"
OWN_NET = r"ip -4 -o addr show dev eth0 primary | sed -n 's|.* inet \([0-9.]*\)\.[0-9]*/\([0-9]*\) .*|\1.250/\2|p'"
ENTRIES = {
    "addressed": f"addressed:a-on:start:respawn:exec mosha ip $({OWN_NET})\n"
                 f"addressed:a-run:start:respawn:{TICK} /san/addressed\n",
    "tick": f"tick:tick-fit:test:test:test -d /san\ntick:tick-run:start:respawn:{TICK} /san/tick\n",
    "deaf": f"deaf:deaf-run:start:respawn:{TICK} /san/deaf deaf\n",
    "orphans": f"orphans:o-run:start:respawn:(setsid {TICK} /san/orphans &); {TICK} /san/orphans & wait\n",
    "hidden": "hidden:h-run:start:respawn:(setsid env -i MOSHA_NODE=$MOSHA_NODE MOSHA_EPOCH=$MOSHA_EPOCH"
              f" {TICK} /san/hidden &); exec {TICK} /san/hidden\n",
    "mounted": "mounted:m-on:start:respawn:mosha mount -t tmpfs none /mnt\n"
               "mounted:m-in:start:wait:timeout 20 sh -c 'until mountpoint -q /mnt; do sleep 0.1; done'\n"
               f"mounted:m-run:start:respawn:{TICK} /san/mounted\n",
}


def tables(*groups: str) -> dict[str, str]:
    """cltab and hactl of these groups."""
    return {"cltab": "".join(ENTRIES[group] for group in groups), "hactl": "".join(f"{g} start\n" for g in groups)}


class Arena:
    """See the head of the module. Every wait is for what the journals show, not for what an agent says of itself."""

    def __init__(self, cluster: Cluster, groups: tuple[str, ...], stomith: bool) -> None:
        self.cluster, self.groups, self.stomith = cluster, groups, stomith
        self.nodes = tuple(cluster.nodes())
        self.faults = Faults(cluster)
        self._judged_s = 0.0

    def life(self, group: str = "tick") -> Life:
        """One of the runs of a group, which must be running on one node."""
        return self._wait(group, lambda look: look.owner(group) is not None, "runs").running(group)[0]

    def lives(self, group: str, count: int) -> tuple[Life, ...]:
        """The runs of a group, which must come to so many."""
        return self._wait(group, lambda look: len(look.running(group)) == count, f"has {count} runs").running(group)

    def wait_elsewhere(self, group: str, node: int) -> Life:
        """The run on another node than this one."""
        look = self._wait(group, lambda look: any(life.node != node for life in look.running(group)), "runs elsewhere")
        return next(life for life in look.running(group) if life.node != node)

    def wait_again(self, before: Life) -> Life:
        """A run, on any node, that began after ``before`` had ended."""

        def found(look: Look) -> list[Life]:
            same = [life for life in look.running(before.group) if life[:5] == before[:5]]
            return [] if same else list(look.running(before.group))

        return found(self._wait(before.group, lambda look: bool(found(look)), "runs again"))[0]

    def goes_on(self, before: Life, for_s: float) -> bool:
        """Whether that very run is going on ``for_s`` from now."""
        until_s = journals.read(self.cluster).now_s + for_s
        look = eventually(lambda: journals.read(self.cluster), lambda look: look.now_s > until_s,
                          within_s=for_s + RUN_LIMIT_S, what="time goes by", every_s=0.2)
        return any(life[:5] == before[:5] for life in look.running(before.group))

    def others(self, node: int) -> list[int]:
        return [other for other in self.nodes if other != node]

    def around(self, node: int) -> frozenset[Link]:
        """All links of a node, both ways."""
        return between([node], self.others(node))

    def settle(self) -> None:
        """End all faults; return when all nodes are up and all groups run."""
        self.faults.end()
        eventually(self._agents, lambda seen: set(seen) == {"up"}, within_s=UP_LIMIT_S, what="all agents are up",
                   every_s=0.2)
        for group in self.groups:
            self.life(group)

    def judge(self, tolerance_s: float = 0.0) -> list[Overlap]:
        """Settle; then: no group ran on two nodes at once for longer than that since it was judged last."""
        self.settle()
        look = journals.read(self.cluster, whole=True)
        found = [overlap for overlap in overlaps(look.intervals(self.faults.freezes()))
                 if overlap.end_s > self._judged_s]
        self._judged_s = look.now_s
        bad = [overlap for overlap in found if overlap.duration_s > tolerance_s]
        assert not bad, "\n".join([*map(str, bad), *map(str, self.faults.record)])
        return found

    def _agents(self) -> list[str]:
        shown = [run(container, ["mosha", "status", "--json"]) for container in self.cluster.nodes().values()]
        pages = [json.loads(answer.stdout) if answer.exit_code == 0 else {} for answer in shown]
        return [node["state"] for page in pages for node in page.get("nodes", [{"state": "no agent"}])]

    def _wait(self, group: str, until: Callable[[Look], bool], what: str) -> Look:
        return eventually(lambda: journals.read(self.cluster), until, within_s=RUN_LIMIT_S, what=f"{group} {what}",
                          every_s=0.05)
