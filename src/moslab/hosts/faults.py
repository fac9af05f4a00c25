"""Faults on real machines (:class:`moslab.faults.record.Breaker`).

Rules:

1. A machine drops what comes to it from another one's address, in a table of its own; the laboratory's connection is
   never cut, as its address is none of the nodes'. A machine that was off gets its rules before its agent runs.
2. Whatever lasts on a machine ends when the laboratory is gone (:mod:`moslab.hosts.keeper`).
3. What stands still, outlets, files through MFS, clocks and disks of real machines are beyond reach: UnsupportedError.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from signal import SIGCONT

from moslab.errors import CannotError, LabError, UnsupportedError
from moslab.faults.agents import STOPPED, Agents
from moslab.faults.links import CHAIN, HEAD, POWER, Cuts, Link, receivers, rules, shown
from moslab.faults.record import CUT, EDIT, OF_POWER, OFF, STOP, Record
from moslab.faults.toxics import Toxic
from moslab.hosts.fleet import Fleet
from moslab.hosts.install import TABLES
from moslab.hosts.keeper import TABLE
from moslab.hosts.link import LostError
from moslab.wait import REAL


class Faults(Agents):
    """See the rules. Times are of this machine's monotonic clock, from when this began."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.zero_s = REAL.now_s()
        self.record = Record(lambda: REAL.now_s() - self.zero_s)
        self._cuts: Cuts = {}
        self._number = 0

    # -- nodes -------------------------------------------------------------------------------------

    def kill(self, node: int) -> None:
        with self.record.lasts(OFF, node):
            self.fleet.power_off(node)

    def start(self, node: int) -> None:
        self.fleet.power_on(node)
        if any(end == node for links in self._cuts.values() for _, end in links):
            self._filter([node])
        self.fleet.ask(node, "begin")
        for kind, whom, detail in self.record.lasting():
            if whom == node and kind in OF_POWER:
                self.record.ends(kind, node, detail)

    def reboot(self, node: int) -> None:
        raise UnsupportedError("reboot machines in order")

    def pause(self, node: int) -> None:
        raise UnsupportedError("freeze machines")

    def resume(self, node: int) -> None:
        raise UnsupportedError("freeze machines")

    def lose_disk(self, node: int) -> None:
        raise UnsupportedError("take disks out of machines")

    def pids(self, node: int, role: str) -> list[int]:
        return self._signalled(node, role, [])

    # -- links -------------------------------------------------------------------------------------

    def cut(self, links: Iterable[Link], loss: float = 1.0, network: int | None = None) -> str:
        wanted = frozenset(links)
        if loss != 1:
            raise UnsupportedError("lose a share of packets")
        if network is not None:
            raise UnsupportedError("cut one of several networks")
        if any(POWER in link for link in wanted):
            raise UnsupportedError("cut nodes off from what switches them")
        for node in sorted({end for _, end in wanted}):
            if not self.fleet.machines[node].cut:
                raise UnsupportedError(f"cut links of machine {node}: the inventory forbids it")
        self._number += 1
        name = f"{CUT}-{self._number}"
        begin_s = self.record.now_s()
        self._cuts[name] = wanted
        try:
            self._filter(receivers(wanted))
        except LabError:
            self._cuts.pop(name)
            self._filter(receivers(wanted))
            raise
        self.record.begins(CUT, 0, name, begin_s, shown(wanted))
        return name

    def worsen(self, links: Iterable[Link], toxic: Toxic) -> str:
        raise UnsupportedError("worsen connections")

    def heal(self, name: str) -> None:
        if name not in self._cuts:
            raise CannotError(f"there is no cut {name!r}; there are: {', '.join(self._cuts) or 'none'}")
        self._filter(receivers(self._cuts.pop(name)))
        self.record.ends(CUT, 0, name)

    # -- files, power, operators -------------------------------------------------------------------

    def disturb(self, node: int, error: float, hang: float, full: bool = False) -> None:
        raise UnsupportedError("disturb files of machines")

    def exhaust(self, node: int, what: str) -> None:
        raise UnsupportedError("exhaust machines")

    def relieve(self, node: int, what: str) -> None:
        raise UnsupportedError("exhaust machines")

    def outlet(self, node: int, how: str) -> None:
        raise UnsupportedError("break outlets")

    def slew(self, node: int, by: float) -> None:
        raise UnsupportedError("set the clocks of machines")

    def jump(self, node: int, by_s: float) -> None:
        raise UnsupportedError("set the clocks of machines")

    def map(self, node: int, nodes: Sequence[int]) -> None:
        raise UnsupportedError("change the maps of machines")

    def edit(self, node: int, table: str, text: str) -> None:
        with self.record.instant(EDIT, node, table):
            self.fleet.ask(node, "write", path=f"{TABLES}/{table}", text=text)

    # -- all ---------------------------------------------------------------------------------------

    def end(self) -> None:
        for name in list(self._cuts):
            self.heal(name)
        self.fleet.ask_all("signal", role=STOPPED, signals=[int(SIGCONT)])
        for _, node, role in self.record.lasting(STOP):
            self.record.ends(STOP, node, role)
        for node in self.fleet.off():
            self.start(node)

    # -- inside ------------------------------------------------------------------------------------

    def _inside(self, node: int, role: str, signo: int) -> list[int]:
        pids = self._signalled(node, role, [signo])
        if not pids:
            raise LabError(f"node {node} has no {role}")
        return pids

    def _signalled(self, node: int, role: str, signals: list[int]) -> list[int]:
        pids: list[int] = self.fleet.ask(node, "signal", role=role, signals=signals)["pids"]
        return pids

    def _mosha(self, node: int, words: Sequence[str]) -> tuple[int, str, str]:
        code, shown, said = self.fleet.command(node, ["mosha", *words])
        return code, shown, said

    def _filter(self, nodes: Iterable[int]) -> None:
        """Have these nodes drop what is cut now, and nothing else (rule 1)."""
        addresses = {number: machine.address for number, machine in self.fleet.machines.items()}
        off = self.fleet.off()
        for node in nodes:
            if node not in off:
                cuts = {name: ends for name, links in self._cuts.items() if (ends := receivers(links).get(node))}
                text = HEAD + "".join(rules(name, ends, addresses) for name, ends in cuts.items())
                if not cuts:
                    text = f"add table {TABLE}\ndelete table {TABLE}\n"
                sources = sorted({addresses[a] for ends in cuts.values() for a, _ in ends})
                try:
                    self.fleet.ask(node, "cut", rules=_ours(text), sources=sources)
                except LostError:                            # it was shot meanwhile, and its rules are gone with it
                    pass


def _ours(text: str) -> str:
    """The rules of a cut, in the laboratory's own table on a machine that is not the laboratory's."""
    return text.replace(CHAIN, f"{TABLE} in").replace("inet cuts", TABLE)
