"""The world of real machines: an inventory of them, reached over ssh (adr/0041).

Rules:

1. On each machine openMosix is at work already, genuine or emulated; what is missing is said of all of them at once.
   The agent, its tables, witnesses and journals are the laboratory's, and gone afterwards.
2. The cluster has just the machines of the inventory: a test that wants another number is skipped.
3. The history is of this machine's clock (:mod:`moslab.hosts.observed`); a machine whose journals cannot be read makes
   it unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mosha.voters import new_era
from moslab import journals
from moslab.errors import LabError, UnsupportedError
from moslab.faults.agents import states_of
from moslab.history.intervals import Interval
from moslab.history.record import History, Line
from moslab.hosts import install, observed
from moslab.hosts.faults import Faults
from moslab.hosts.fleet import Fleet
from moslab.hosts.inventory import Inventory
from moslab.scenario.tables import as_in, hactl_of, wanted, witnessed
from moslab.scenario.world import HOSTS, Output, Spec, Workload
from moslab.simulator.run import FILES_MAX, FILES_PER_NODE_MAX
from moslab.wait import REAL, eventually

SETTLE_LIMIT_S = 90.0
LOOK_EVERY_S = 0.2


class HostsWorld:
    """See :class:`moslab.scenario.world.World`."""

    name = HOSTS

    def __init__(self, inventory: Inventory, spec: Spec) -> None:
        can_be(inventory, spec)
        hactl = hactl_of(spec.cltab, spec.hactl)
        self.spec, self.groups = spec, wanted(hactl)
        era = new_era()
        self.fleet = Fleet(inventory, lambda run: install.files(
            inventory, spec, run, era, {"cltab": _witnessed(spec.cltab, run), "hactl": hactl}))
        self._faults = Faults(self.fleet)
        self._seen: dict[int, dict[str, Any]] = {}           # what each agent said of all when that was last asked
        self._begins: dict[tuple[int, str, int, float], float] = {}
        self._read_s = self._judged_s = 0.0                  # until when the last history was, and the last judged one

    def now_s(self) -> float:
        return REAL.now_s()

    def sleep(self, for_s: float) -> None:
        REAL.sleep(for_s)

    @property
    def nodes(self) -> tuple[int, ...]:
        return self.fleet.inventory.numbers

    @property
    def faults(self) -> Faults:
        return self._faults

    def running(self, group: str) -> Sequence[Interval]:
        found: list[Interval] = []
        for node, answer in self.fleet.ask_all("look", whole=False).items():
            look, clock = journals.look_of(answer["looks"][answer["boot"]]), self.fleet.clocks[node][answer["boot"]]
            found += observed.running(look, group, node, clock, self._faults.zero_s, self._begins)
        return tuple(found)

    def off(self) -> list[int]:
        return self.fleet.off()

    def settle(self) -> None:
        self._faults.end()
        try:
            eventually(self._agents, lambda seen: set(seen) == {"up"}, within_s=SETTLE_LIMIT_S,
                       what="all agents are up", every_s=LOOK_EVERY_S)
        except LabError as error:
            words = [f"node {line.node}: {line.text}" for line in self.log()[-15:]]
            raise LabError("\n".join([str(error), *words])) from None
        self._faults.undrain(self._seen)
        eventually(self._owners, lambda seen: all(len(nodes) == 1 for nodes in seen.values()), within_s=SETTLE_LIMIT_S,
                   what="every group runs on one node", every_s=LOOK_EVERY_S)

    def history(self) -> History:
        asked_s = REAL.now_s()
        answers = self.fleet.ask_all("look", whole=True)
        absent = sorted(set(self.nodes) - set(answers))
        if absent:
            raise LabError(f"the journals of node {absent[0]} cannot be read: it is off")
        seen = [
            observed.Seen(node, journals.look_of(look), self.fleet.clocks[node][boot], boot != answer["boot"])
            for node, answer in answers.items() for boot, look in answer["looks"].items()
        ]
        history = observed.history(len(self.nodes), seen, self._faults.zero_s, REAL.now_s(), self._judged_s)
        self._read_s = asked_s - self._faults.zero_s
        history.files_max = FILES_MAX + FILES_PER_NODE_MAX * len(self.nodes)
        missed = []
        for node, answer in self.fleet.ask_all("read").items():
            history.files[node] = answer["files"]
            if "Traceback" in answer["log"]:
                history.crashes.append((history.end_s, node, answer["log"]))
            if not answer["is_whole"]:
                missed.append(f"the log of node {node} has forgotten its beginning")
        history.unfinished = "; ".join(filter(None, [history.unfinished, *missed]))
        return history

    def is_judged(self) -> None:
        self._judged_s = self._read_s

    def edit(self, node: int, table: str, text: str) -> None:
        self._faults.edit(node, table, as_in(lambda cltab: _witnessed(cltab, self.fleet.run), table, text))

    def run(self, node: int, command: Sequence[str]) -> Output:
        return Output(*self.fleet.command(node, command))

    def serve(self, group: str, count: int, keys: int, port: int) -> Workload:
        raise UnsupportedError("serve clients")

    def left(self) -> list[str]:
        return []                                            # who else is at work there is nobody's business here

    def log(self) -> list[Line]:
        lines = [line for node, answer in self.fleet.ask_all("read").items()
                 for line in observed.said(answer["log"], node, self.fleet.clocks[node], self._faults.zero_s)]
        return sorted(Line(*line) for line in lines)

    def plan(self) -> None:
        return None

    def keep(self) -> str:
        return "machines of an inventory are not kept: they are healed and cleaned"

    def close(self) -> None:
        self.fleet.close()

    # -- inside ------------------------------------------------------------------------------------

    def _owners(self) -> dict[str, list[int]]:
        return {group: sorted({run.node for run in self.running(group)}) for group in self.groups}

    def _agents(self) -> list[str]:
        """How each node's agent sees all nodes. A machine that a late shot has hit is given power again."""
        for node in self.off():
            self._faults.start(node)
        self._seen = {node: self._faults.status(node) for node in self.nodes}
        return [state for page in self._seen.values() for state in states_of(page)]


def can_be(inventory: Inventory, spec: Spec) -> None:
    """UnsupportedError if these machines never make such a cluster (rule 2)."""
    size = len(inventory.machines)
    if spec.nodes != size:
        raise UnsupportedError(f"make a cluster of {spec.nodes} nodes: the inventory has {size}")
    if spec.stomith and not inventory.can_shoot:
        raise UnsupportedError("shoot nodes: the inventory's [mosha] has no stomith")
    if spec.toxiproxy:
        raise UnsupportedError("put Toxiproxy between nodes")
    if spec.networks > 1:
        raise UnsupportedError("make a cluster in two networks")


def _witnessed(text: str, run: str) -> str:
    return witnessed(text, install.witness(run))
