"""What a test breaks, written down as a fault plan: of a world that has no plan of its own.

Rules:

1. It passes everything on. What the world's record says of it afterwards is its time, and how long it lasted; what the
   record does not know of, as it ended something else, is no fault.
2. The plan's zero is when this began. Not in it are faults that other hands made, signals that no plan has, or to whom
   none has (workers, shots), the end of a drain before the heal, and a service's own commands: those are modelled. Nor
   is a cut of one of several networks, or memory or descriptors that are exhausted, of which plans know nothing.
3. What no plan may have, as an amount that is out of bounds, is refused in every world, before anything is broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from moslab.errors import CannotError
from moslab.faults.links import Link, as_plan
from moslab.faults.plan import FAULTS_MAX, Fault, FaultPlan, wrong_form
from moslab.faults.record import UNENDED, Breaker, check_outlet
from moslab.faults.signals import of_signal
from moslab.faults.toxics import Toxic
from moslab.faults.toxics import as_plan as of_toxic
from moslab.scenario.tables import as_in, is_sound, modelled

WORSEN = "worsen"
LASTING = ("crash", "freeze", "pause", "cut", WORSEN, "weather", "stomith", "jump", "slew", "map")


class Written:
    """See :class:`moslab.faults.record.Breaker`; around one."""

    def __init__(self, faults: Breaker) -> None:
        self._faults, self.record = faults, faults.record
        self._began_s = self.record.now_s()
        self._written: list[tuple[int, Fault]] = []          # place in the record; fault without its time

    def plan(self, plan: FaultPlan) -> FaultPlan:
        """That one with what was broken so far, then a heal."""
        faults = []
        for place, fault in self._written:
            seen = self.record.all[place]
            lasts = (fault["do"] in LASTING or "reboot" in fault) and seen.end_s != UNENDED
            for_s = {"for": round(max(0.0, seen.end_s - seen.begin_s), 6)} if lasts else {}
            faults.append({"at": round(max(0.0, seen.begin_s - self._began_s), 6), **fault, **for_s})
        ends_s = max([fault["at"] + fault.get("for", 0.0) for fault in faults], default=0.0)
        return replace(plan, faults=faults, safety_s=max(ends_s, self.record.now_s() - self._began_s))

    # -- nodes -------------------------------------------------------------------------------------

    def kill(self, node: int) -> None:
        with self._writes({"do": "crash", "whom": [node]}):
            self._faults.kill(node)

    def start(self, node: int) -> None:
        self._faults.start(node)

    def reboot(self, node: int) -> None:
        with self._writes({"do": "leave", "whom": [node], "reboot": True}):
            self._faults.reboot(node)

    def pause(self, node: int) -> None:
        with self._writes({"do": "freeze", "whom": [node]}):
            self._faults.pause(node)

    def resume(self, node: int) -> None:
        self._faults.resume(node)

    def lose_disk(self, node: int) -> None:
        with self._writes({"do": "wipe", "whom": [node]}):
            self._faults.lose_disk(node)

    # -- processes ---------------------------------------------------------------------------------

    def signal(self, node: int, role: str, signo: int) -> list[int]:
        with self._writes(*of_signal(node, role, signo)):
            return self._faults.signal(node, role, signo)

    def restart_agent(self, node: int) -> None:
        with self._writes({"do": "leave", "whom": [node]}):
            self._faults.restart_agent(node)

    # -- links -------------------------------------------------------------------------------------

    def cut(self, links: Iterable[Link], loss: float = 1.0, network: int | None = None) -> str:
        wanted = frozenset(links)
        planned = as_plan(wanted) if loss == 1 else as_plan(wanted, WORSEN, loss=loss)
        with self._writes(*planned if network is None else []):
            return self._faults.cut(wanted, loss, network)

    def worsen(self, links: Iterable[Link], toxic: Toxic) -> str:
        wanted = frozenset(links)
        with self._writes(*as_plan(wanted, WORSEN, **of_toxic(toxic))):
            return self._faults.worsen(wanted, toxic)

    def heal(self, name: str) -> None:
        self._faults.heal(name)

    # -- files, power, clocks, operators -----------------------------------------------------------

    def disturb(self, node: int, error: float, hang: float, full: bool = False) -> None:
        more = {"full": True} if full else {}
        with self._writes({"do": "weather", "whom": [node], "error": error, "hang": hang, **more}):
            self._faults.disturb(node, error, hang, full)

    def exhaust(self, node: int, what: str) -> None:
        self._faults.exhaust(node, what)

    def relieve(self, node: int, what: str) -> None:
        self._faults.relieve(node, what)

    def outlet(self, node: int, how: str) -> None:
        check_outlet(how)                                    # plans have more words
        with self._writes({"do": "stomith", "whom": [node], "how": how, "of": "outlet"}):
            self._faults.outlet(node, how)

    def slew(self, node: int, by: float) -> None:
        with self._writes({"do": "slew", "whom": [node], "by": by}):
            self._faults.slew(node, by)

    def jump(self, node: int, by_s: float) -> None:
        with self._writes({"do": "jump", "whom": [node], "by": by_s}):
            self._faults.jump(node, by_s)

    def map(self, node: int, nodes: Sequence[int]) -> None:
        with self._writes({"do": "map", "whom": [node], "nodes": [*nodes]}):
            self._faults.map(node, nodes)

    def edit(self, node: int, table: str, text: str) -> None:
        with self.editing(node, table, text):
            self._faults.edit(node, table, text)

    @contextmanager
    def editing(self, node: int, table: str, text: str) -> Iterator[None]:
        """The block makes that edit, in whatever form the world has tables."""
        bad = {} if is_sound(table, text) else {"bad": True}
        with self._writes({"do": "edit", "whom": [node], "table": table, "text": as_in(modelled, table, text), **bad}):
            yield

    def order(self, node: int, do: str, group: str, target: int) -> None:
        with self._writes({"do": "order", "whom": [node], "order": {"do": do, "group": group, "node": target}}):
            self._faults.order(node, do, group, target)

    def end(self) -> None:
        self._faults.end()

    # -- inside ------------------------------------------------------------------------------------

    @contextmanager
    def _writes(self, *faults: Fault) -> Iterator[None]:
        """The block makes these, which have one place in the record. CannotError by rule 3."""
        for fault in faults:
            problem = wrong_form({"at": 0.0, **fault})
            if problem:
                raise CannotError(f"{fault['do']}: {problem}")
        place = len(self.record.all)
        yield
        if len(self.record.all) > place and len(self._written) + len(faults) <= FAULTS_MAX:
            self._written += [(place, fault) for fault in faults]
