"""A fault plan carried out in any world, as a test would: the same faults, as far apart, on whom it names.

Rules:

1. The cluster stands when it begins. What a plan has before its first fault, as the simulator's cluster boots then, is
   cut to ``LEAD_S``; what is between faults stays.
2. ``owner:GROUP`` is the node on which the group runs at that moment, else the one on which it was seen last.
3. What the world never can, and what is not there to be broken any more, is left out and said; nothing is done in its
   place. What else a plan says (clocks, network, sizes, the nodes of ``heal``) is the simulator's.
4. At ``safety_s`` everything is healed, and all groups must run; then the history is judged.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from itertools import count
from typing import Callable

from mosha.orders import DRAIN, MOVE, UNDRAIN
from moslab.errors import LabError, UnsupportedError
from moslab.faults.links import from_power
from moslab.faults.plan import BAD_TABLE, Fault, FaultPlan
from moslab.faults.toxics import of_plan
from moslab.scenario.breach import Breach
from moslab.scenario.cluster import Cluster, Verdict
from moslab.scenario.tables import CLTAB, hactl_of, real

LEAD_S = 1.0
OWNER = "owner:"
FLAPS_MAX = 25                   # of the links of one cut
Nodes = list[int]
Breaches = Iterator[Breach]


class Replay:
    """One plan on one cluster. ``left_out`` is what rule 3 says; ``late_s`` how much later than its time the latest
    fault began, by the clock of the world."""

    def __init__(self, cluster: Cluster, plan: FaultPlan) -> None:
        self._cluster, self._plan = cluster, plan
        self.left_out: list[str] = []
        self.late_s = 0.0
        self._seen: dict[str, int] = {}
        self._tables = {CLTAB: real(plan.cltab), "hactl": hactl_of(plan.cltab, plan.hactl)}
        self._maps: dict[int, Breach] = {}                   # by node: what is not on its map
        self._order = count()
        self._due: list[tuple[float, int, Callable[[], object]]] = []

    def run(self) -> None:
        """All faults, until ``safety_s``; what still lasts then is not ended."""
        for fault in self._plan.faults:
            for one in _flaps(fault):
                self._at(one["at"], lambda one=one: self._begin(one))  # type: ignore[misc]
        first_s = min([fault["at"] for fault in self._plan.faults], default=0.0)
        zero_s = self._cluster.world.now_s() - max(0.0, first_s - LEAD_S)
        while self._due and self._due[0][0] < self._plan.safety_s:
            at_s, _, call = heapq.heappop(self._due)
            self._sleep_until(zero_s + at_s)
            self.late_s = max(self.late_s, self._cluster.world.now_s() - zero_s - at_s)
            call()
        self._sleep_until(zero_s + self._plan.safety_s)

    def judge(self) -> Verdict:
        """Rule 4."""
        return self._cluster.judge()

    # -- inside ------------------------------------------------------------------------------------

    def _at(self, at_s: float, call: Callable[[], object]) -> None:
        heapq.heappush(self._due, (at_s, next(self._order), call))

    def _sleep_until(self, when_s: float) -> None:
        left_s = when_s - self._cluster.world.now_s()
        if left_s > 0:
            self._cluster.sleep(left_s)

    def _begin(self, fault: Fault) -> None:
        breaches: list[Breach] = []
        try:
            kind = getattr(self, f"_do_{fault['do']}", None)
            if kind is None:
                raise UnsupportedError(f"do {fault['do']}")
            for breach in kind(self._nodes(fault["whom"]), fault):
                breaches.append(breach)
        except UnsupportedError as error:
            self._leave_out(fault, f"it cannot {error}")
        except LabError as error:
            self._leave_out(fault, str(error).splitlines()[0])
        if "for" in fault:
            for breach in breaches:
                self._at(fault["at"] + fault["for"], lambda breach=breach: self._end(fault, breach))  # type: ignore[misc]

    def _end(self, fault: Fault, breach: Breach) -> None:
        try:
            breach.heal()
        except LabError as error:                            # the heal ends it, then
            self._leave_out(fault, f"its end: {str(error).splitlines()[0]}")

    def _leave_out(self, fault: Fault, why: str) -> None:
        self.left_out.append(f"{json.dumps(fault)}: {why}")

    def _nodes(self, whom: list[int | str]) -> Nodes:
        """Rule 2."""
        found = []
        for one in whom:
            if isinstance(one, str):
                group = one.removeprefix(OWNER)
                runs = self._cluster.group(group).runs
                self._seen[group] = runs[0].node if runs else self._seen.get(group, 0)
                if not self._seen[group]:
                    raise LabError(f"{group} ran nowhere yet")
            found.append(self._seen[group] if isinstance(one, str) else one)
        return list(dict.fromkeys(found))

    def _do_crash(self, nodes: Nodes, fault: Fault) -> Breaches:
        if fault.get("restore"):
            raise UnsupportedError("put a backup back")
        for node in nodes:
            yield self._cluster.kill(node)
            if fault.get("wipe"):
                self._cluster.lose_disk(node)

    def _do_freeze(self, nodes: Nodes, fault: Fault) -> Breaches:
        if "clock" in fault:
            raise UnsupportedError("stop the clocks of nodes")
        yield from map(self._cluster.pause, nodes)

    def _do_pause(self, nodes: Nodes, fault: Fault) -> Breaches:
        for node, role in self._roles(nodes, fault):
            yield self._cluster.stop_process(role, on=node)

    def _do_kill(self, nodes: Nodes, fault: Fault) -> Breaches:
        if fault.get("wipe"):
            raise UnsupportedError("empty the directory of an agent that was killed")
        for node, role in self._roles(nodes, fault):
            self._cluster.signal_process(role, fault.get("signal", "KILL"), on=node)
        yield from ()

    def _roles(self, nodes: Nodes, fault: Fault) -> list[tuple[int, str]]:
        """(node, role) of what is meant; without a group of each that runs there."""
        what = fault["what"]
        if what == "agent":
            return [(node, what) for node in nodes]
        if what not in ("leash", "group"):
            raise UnsupportedError(f"send signals to {what!r}")
        groups = [fault["group"]] if fault.get("group") else self._cluster.world.groups
        here = [(run.node, f"{what} {name}") for name in groups for run in self._cluster.world.running(name)]
        found = [one for one in dict.fromkeys(here) if one[0] in nodes]
        if not found:
            raise LabError(f"no {what} there")
        return found

    def _do_wipe(self, nodes: Nodes, _fault: Fault) -> Breaches:
        for node in nodes:
            if node not in self._cluster.world.off():
                raise UnsupportedError("empty a directory whose agent runs")
            self._cluster.lose_disk(node)
        yield from ()

    def _do_leave(self, nodes: Nodes, fault: Fault) -> Breaches:
        for node in nodes:
            (self._cluster.reboot if fault.get("reboot") else self._cluster.restart_agent)(node)
        yield from ()

    def _do_cut(self, nodes: Nodes, fault: Fault) -> Breaches:
        others = [node for node in self._nodes(fault["to"]) if node not in nodes]
        yield self._cluster.cut(nodes, others, one_way=not fault.get("both"))

    def _do_worsen(self, nodes: Nodes, fault: Fault) -> Breaches:
        others, one_way = self._nodes(fault["to"]), not fault.get("both")
        for toxic in of_plan(fault):
            yield self._cluster.worsen(nodes, toxic, others, one_way=one_way)
        if fault.get("loss"):
            yield self._cluster.lose(nodes, fault["loss"], others, one_way=one_way)

    def _do_weather(self, nodes: Nodes, fault: Fault) -> Breaches:
        more = [name for name in ("slow", "loss", "torn") if fault.get(name, 0) not in (0, 1)]
        if more:
            raise UnsupportedError(f"have weather that is {', '.join(more)}")
        if fault.get("refuses"):
            raise UnsupportedError("have a disk that refuses what its agent writes")
        yield self._cluster.disturb(nodes, error=fault.get("error", 0.0), hang=fault.get("hang", 0.0),
                                    full=fault.get("full", False))

    def _do_stomith(self, nodes: Nodes, fault: Fault) -> Breaches:
        if fault.get("of") == "outlet":
            yield from (self._cluster.break_outlet(node, fault["how"]) for node in nodes)
        elif fault["how"] == "cut":
            yield self._cluster.cut_links(from_power(nodes), f"{nodes} from the power switch")
        else:
            raise UnsupportedError(f"have nodes whose shots are such: {fault['how']}")

    def _do_jump(self, nodes: Nodes, fault: Fault) -> Breaches:
        yield self._cluster.jump_clock(nodes, fault["by"])

    def _do_slew(self, nodes: Nodes, fault: Fault) -> Breaches:
        yield self._cluster.slew_clock(nodes, fault["by"])

    def _do_map(self, nodes: Nodes, fault: Fault) -> Breaches:
        absent = [node for node in self._cluster.nodes if node not in fault["nodes"]]
        for node in nodes:
            if node in self._maps:
                self._maps.pop(node).heal()
            if absent:
                self._maps[node] = self._cluster.unmap(absent, on=node)
                yield self._maps[node]

    def _do_edit(self, nodes: Nodes, fault: Fault) -> Breaches:
        table = fault["table"]
        more = sorted({"levels", "maintenance", "in_place", "for"} & set(fault))
        if more:
            raise UnsupportedError(f"edit a table with {', '.join(more)}")
        if fault.get("bad"):
            text = fault.get("text", BAD_TABLE)
        elif "text" in fault:
            text = self._tables[table] = real(fault["text"]) if table == CLTAB else fault["text"]
        else:
            text = self._tables[table] = f"{self._tables[table]}# edit at {fault['at']:g}\n"
        for node in nodes:
            self._cluster.edit(node, table, text)
        yield from ()

    def _do_order(self, nodes: Nodes, fault: Fault) -> Breaches:
        order = fault["order"]
        do, group, target = order.get("do"), order.get("group", ""), order.get("node", 0)
        if do not in (MOVE, DRAIN, UNDRAIN):
            raise UnsupportedError(f"have an operator say {do!r}")
        for node in nodes:
            self._cluster.order(node, do, group, target or node)
        yield from ()


def _flaps(fault: Fault) -> list[Fault]:
    """Each time that a cut which flaps is on; any other fault as it is."""
    every_s, for_s = fault.get("flap"), fault.get("for")
    if not every_s:
        return [fault]
    times = FLAPS_MAX if for_s is None else min(FLAPS_MAX, int(for_s / (2 * every_s)) + 1)
    rest = {name: value for name, value in fault.items() if name != "flap"}
    return [{**rest, "at": fault["at"] + 2 * place * every_s, "for": every_s} for place in range(times)]
