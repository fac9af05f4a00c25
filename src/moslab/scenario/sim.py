"""The simulated world: the agents' own code on modelled machines, under virtual time, from a seed (docs/simulator.md).

Rules:

1. What a shot has put off stays off until somebody gives it power, as in the other worlds.
2. Beat, lease and voters are those that a cluster in containers is given.
3. A role of processes is ``agent``, ``leash GROUP`` or ``group GROUP``: there are no workers to be killed.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from emulator.powerswitch.outlets import WORKS
from mosha.orders import DRAIN, MOVE, UNDRAIN
from moslab.errors import CannotError, LabError, UnsupportedError
from moslab.faults import record, toxics
from moslab.faults.links import Link, as_plan, kind_of, shown
from moslab.faults.plan import FaultPlan
from moslab.faults.record import (
    CLOCK,
    CUT,
    DRAINED,
    EDIT,
    FILES,
    LOSS,
    MAP,
    OF_POWER,
    OFF,
    OUTLET,
    PAUSE,
    REBOOT,
    STOP,
    WALL_CLOCK,
    Record,
)
from moslab.faults.signals import AGENT, ROLES, of_signal
from moslab.faults.toxics import Toxic
from moslab.history.intervals import Interval
from moslab.history.record import History, Line
from moslab.scenario.plans import plan_of
from moslab.scenario.tables import as_in, hactl_of, is_sound, modelled, wanted
from moslab.scenario.world import SIM, Output, Spec, Workload
from moslab.simulator.effect import processes
from moslab.simulator.node import Node
from moslab.simulator.stepwise import Lasting, Stepwise
from moslab.wait import eventually

SETTLE_LIMIT_S = 120.0
AGENT_LIMIT_S = 30.0
LOOK_EVERY_S = 0.05


class SimFaults:
    """See :class:`moslab.faults.record.Breaker`."""

    def __init__(self, simulated: Stepwise, is_routed: bool = False) -> None:
        self._is_routed = is_routed
        self.record = Record(simulated.now_s)
        self._simulated = simulated
        self._lasting: dict[tuple[str, int, str], list[Lasting]] = {}
        self._named = 0
        self._wall_s: dict[int, float] = {}                  # by how much wall clocks are off

    # -- nodes -------------------------------------------------------------------------------------

    def kill(self, node: int) -> None:
        if not self._node(node).up:
            raise LabError(f"node {node} is off already")
        self._ends_of(node)
        with self._lasts(OFF, node) as begun:
            begun.append(self._simulated.begin("crash", [node]))

    def start(self, node: int) -> None:
        machine = self._node(node)
        if machine.up:
            raise LabError(f"node {node} {'is paused' if machine.frozen else 'runs already'}")
        if (OFF, node, "") not in self._lasting:             # it was shot
            self._lasting[OFF, node, ""] = [self._simulated.begin("crash", [node])]
        self._ends_of(node)

    def reboot(self, node: int) -> None:
        machine = self._runs(node)
        with self.record.instant(REBOOT, node):
            shut = self._simulated.begin("leave", [node], reboot=True)
            eventually(lambda: machine.up, lambda up: not up, within_s=AGENT_LIMIT_S, what=f"node {node} shuts down",
                       every_s=LOOK_EVERY_S, clock=self._simulated)
            self._ends_of(node)
            shut.end()

    def pause(self, node: int) -> None:
        self._runs(node)
        with self._lasts(PAUSE, node) as begun:
            begun.append(self._simulated.begin("freeze", [node]))

    def resume(self, node: int) -> None:
        if not self._node(node).frozen:
            raise LabError(f"node {node} is not paused")
        self._end(PAUSE, node)

    def lose_disk(self, node: int) -> None:
        if self._node(node).up:
            raise LabError(f"node {node} runs: a disk is lost while the node is off")
        with self.record.instant("lose disk", node):
            self._simulated.begin("wipe", [node])

    # -- processes ---------------------------------------------------------------------------------

    def signal(self, node: int, role: str, signo: int) -> list[int]:
        what, group = self._role(role)
        machine = self._node(node)
        found = processes(machine, what, group or None) if not machine.frozen else []
        if not found:
            raise LabError(f"node {node} has no {role}")
        planned = of_signal(node, role, signo)
        if signo == signal.SIGSTOP:
            with self._lasts(STOP, node, role) as begun:
                begun += [self._simulated.begin(**fault) for fault in planned]
                if not any(process.frozen for process in found):
                    raise LabError(f"node {node}: nothing is promised if neither agent nor leash runs")
        elif signo == signal.SIGCONT:
            self._end(STOP, node, role)
        elif planned:
            with self.record.instant(signal.Signals(signo).name, node, role):
                for fault in planned:
                    self._simulated.begin(**fault)
        else:
            raise UnsupportedError(f"send {signal.Signals(signo).name} to {role}")
        return [int(getattr(process, "pid", 0)) for process in found]

    def restart_agent(self, node: int) -> None:
        machine = self._node(node)
        lives = machine.lives
        self.signal(node, "agent", signal.SIGTERM)
        eventually(lambda: machine.lives, lambda now: now > lives, within_s=AGENT_LIMIT_S,
                   what=f"a new agent on node {node}", every_s=LOOK_EVERY_S, clock=self._simulated)

    # -- links -------------------------------------------------------------------------------------

    def cut(self, links: Iterable[Link], loss: float = 1.0, network: int | None = None) -> str:
        if network is not None:
            raise UnsupportedError("cut one of several networks")
        if loss != 1:
            wanted = frozenset(links)
            return self._of_links(LOSS, as_plan(wanted, "worsen", loss=loss), shown(wanted, f"{loss:.2%}"))
        return self._of_links(CUT, as_plan(links), shown(links))

    def worsen(self, links: Iterable[Link], toxic: Toxic) -> str:
        if not self._is_routed:
            raise CannotError("MFS does not go through Toxiproxy here: it wants the marker cluster(toxiproxy=True)")
        wanted = frozenset(links)
        return self._of_links(toxic.kind, as_plan(wanted, "worsen", **toxics.as_plan(toxic)), shown(wanted, toxic.said))

    def heal(self, name: str) -> None:
        if (kind_of(name), 0, name) not in self._lasting:
            raise LabError(f"there is no cut {name!r}")
        self._end(kind_of(name), 0, name)

    # -- files, power, clocks, operators -----------------------------------------------------------

    def disturb(self, node: int, error: float, hang: float, full: bool = False) -> None:
        """Of what it does with the others' files, too."""
        self._node(node)
        more: dict[str, object] = {"full": True} if full else {}
        fault = {"error": error, "hang": hang, **more} if error or hang or full else None
        self._instead(FILES, node, "weather", fault)

    def exhaust(self, node: int, what: str) -> None:
        raise UnsupportedError(f"exhaust the {what} of nodes")

    def relieve(self, node: int, what: str) -> None:
        raise UnsupportedError(f"exhaust the {what} of nodes")

    def outlet(self, node: int, how: str) -> None:
        record.check_outlet(how)
        self._node(node)
        self._instead(OUTLET, node, "stomith", {"how": how, "of": "outlet"} if how != WORKS else None)

    def slew(self, node: int, by: float) -> None:
        self._node(node)
        self._instead(CLOCK, node, "slew", {"by": by} if by else None)

    def jump(self, node: int, by_s: float) -> None:
        self._node(node)
        begin_s = self._simulated.now_s()
        self._simulated.begin("jump", [node], by=by_s - self._wall_s.pop(node, 0.0))
        self.record.ends(WALL_CLOCK, node)
        if by_s:
            self._wall_s[node] = by_s
            self.record.begins(WALL_CLOCK, node, "", begin_s, f"{by_s:+g}")

    def map(self, node: int, nodes: Sequence[int]) -> None:
        self._with_power(node)
        begin_s = self._simulated.now_s()
        self._simulated.begin("map", [node], nodes=list(nodes))
        self.record.ends(MAP, node)
        if len(nodes) < len(self._simulated.cluster.nodes):
            self.record.begins(MAP, node, "", begin_s, f"of {' '.join(map(str, nodes))}")

    def edit(self, node: int, table: str, text: str) -> None:
        self._with_power(node)
        with self.record.instant(EDIT, node, table):
            self._simulated.begin("edit", [node], table=table, text=text, bad=not is_sound(table, text))

    def order(self, node: int, do: str, group: str, target: int) -> None:
        self._with_power(node)
        begin_s = self._simulated.now_s()
        self._simulated.begin("order", [node], order={"do": do, "group": group, "node": target})
        if do == MOVE:
            self.record.happened(MOVE, node, f"{group} to {target}", begin_s)
        elif do == DRAIN:
            self.record.begins(DRAINED, target, "", begin_s)
        else:
            self.record.ends(DRAINED, target)

    # -- all ---------------------------------------------------------------------------------------

    def end(self) -> None:
        for kind, node, detail in list(self._lasting):
            self._end(kind, node, detail)
        for number, machine in self._simulated.cluster.nodes.items():
            if not machine.up:
                self.start(number)
        for _, node, _ in self.record.lasting(DRAINED):
            self.order(node, UNDRAIN, "", node)
        for node in list(self._wall_s):
            self.jump(node, 0.0)
        for _, node, _ in self.record.lasting(MAP):
            self.map(node, list(self._simulated.cluster.nodes))

    # -- inside ------------------------------------------------------------------------------------

    def _node(self, node: int) -> Node:
        found = self._simulated.cluster.nodes.get(node)
        if found is None:
            raise LabError(f"there is no node {node}")
        return found

    def _runs(self, node: int) -> Node:
        machine = self._node(node)
        if not machine.up or machine.frozen:
            raise LabError(f"node {node} does not run: it is {'paused' if machine.up else 'off'}")
        return machine

    def _with_power(self, node: int) -> None:
        if not self._node(node).up:
            raise LabError(f"node {node} is off")

    def _of_links(self, kind: str, faults: list[dict[str, Any]], shown: str) -> str:
        self._named += 1
        name = f"{kind}-{self._named}"
        with self._lasts(kind, 0, name, shown) as begun:
            begun += [self._simulated.begin(**fault) for fault in faults]
        return name

    @staticmethod
    def _role(role: str) -> tuple[str, str]:
        """Rule 3."""
        word, _, group = role.partition(" ")
        if word not in ROLES or bool(group) != (word != AGENT):
            raise UnsupportedError(f"send signals to {role!r}")
        return word, group

    def _instead(self, kind: str, node: int, do: str, fault: dict[str, object] | None) -> None:
        """From now on this fault, or none, and no longer one of that kind."""
        self._end(kind, node)
        if fault is not None:
            with self._lasts(kind, node, shown=" ".join(map(str, fault.values()))) as begun:
                begun.append(self._simulated.begin(do, [node], **fault))

    @contextmanager
    def _lasts(self, kind: str, node: int, detail: str = "", shown: str = "") -> Iterator[list[Lasting]]:
        begin_s = self._simulated.now_s()
        begun: list[Lasting] = []
        yield begun
        if (kind, node, detail) in self._lasting:            # once more what lasts already
            self._lasting[kind, node, detail] += begun
        else:
            self._lasting[kind, node, detail] = begun
            self.record.begins(kind, node, detail, begin_s, shown)

    def _end(self, kind: str, node: int, detail: str = "") -> None:
        for begun in self._lasting.pop((kind, node, detail), []):
            begun.end()
        self.record.ends(kind, node, detail)

    def _ends_of(self, node: int) -> None:
        """With its power ends what a node had, and when it gets it back."""
        for kind, whom, detail in list(self._lasting):
            if whom == node and kind in OF_POWER:
                self._end(kind, node, detail)


class SimWorld:
    """See :class:`moslab.scenario.world.World`."""

    name = SIM

    def __init__(self, spec: Spec, seed: int) -> None:
        self.spec, self.groups = spec, wanted(hactl_of(spec.cltab, spec.hactl))
        self._simulated = Stepwise(plan_of(spec, seed))
        self._faults = SimFaults(self._simulated, spec.toxiproxy)

    def now_s(self) -> float:
        return self._simulated.now_s()

    def sleep(self, for_s: float) -> None:
        self._simulated.sleep(for_s)

    @property
    def nodes(self) -> tuple[int, ...]:
        return tuple(self._simulated.cluster.nodes)

    @property
    def faults(self) -> SimFaults:
        return self._faults

    def running(self, group: str) -> Sequence[Interval]:
        return tuple(member.interval(float("inf")) for member in self._simulated.running(group))

    def off(self) -> list[int]:
        return [number for number, node in self._simulated.cluster.nodes.items() if not node.up]

    def settle(self) -> None:
        """All agents see all nodes, as in containers, and every group runs on one node."""
        self._faults.end()

        def look() -> dict[str, object]:
            for node in self.off():                          # a late shot
                self._faults.start(node)
            runs = {group: sorted({one.node for one in self.running(group)}) for group in self.groups}
            return {"agents": sorted(set(self._simulated.views())), **runs}

        eventually(
            look, lambda seen: seen["agents"] == ["up"] and all(len(seen[g]) == 1 for g in self.groups),  # type: ignore[arg-type]
            within_s=SETTLE_LIMIT_S, what="all agents are up and all groups run", every_s=LOOK_EVERY_S, clock=self,
        )

    def history(self) -> History:
        return self._simulated.history()

    def is_judged(self) -> None:
        """It forgets nothing, and is nobody else's."""

    def edit(self, node: int, table: str, text: str) -> None:
        self._faults.edit(node, table, as_in(modelled, table, text))

    def run(self, node: int, command: Sequence[str]) -> Output:
        raise UnsupportedError("run commands on nodes")

    def serve(self, group: str, count: int, keys: int, port: int) -> Workload:
        raise UnsupportedError("serve clients")

    def left(self) -> list[str]:
        return []

    def log(self) -> list[Line]:
        return [Line(*said) for said in self._simulated.log]

    def plan(self) -> FaultPlan:
        return self._simulated.plan()

    def keep(self) -> str:
        return "a simulated cluster ends with its test; plan.json does it again: moslab sim --trace --plan …/plan.json"

    def close(self) -> None:
        pass
