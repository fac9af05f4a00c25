"""Writes the history of a run down, as the world happens to it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moslab.history.intervals import Interval
from moslab.history.record import Buried, Gone, History, Life, Overwritten, Released
from moslab.simulator.facts import JOURNAL, Facts, released

if TYPE_CHECKING:
    from moslab.simulator.node import Node
    from moslab.simulator.process import Member


class Observer:
    """Sees everything, changes nothing."""

    def __init__(self, history: History, facts: Facts) -> None:
        self.history, self.facts = history, facts
        self._said: set[tuple[str, str, int]] = set()
        self._since: dict[tuple[int, int], float] = {}

    def ran(self, member: Member, interval: Interval) -> None:
        """A process executed from then to then."""
        self.history.intervals.append(interval)
        self.history.leashes[member.pid] = member.guardian.number
        if member.tests:
            self.history.tests.add(member.pid)

    def gone(self, member: Member, time_s: float) -> None:
        """A process that was killed is gone only now."""
        self.history.gone.append(Gone(member.group, member.node.number, member.epoch, member.stopped_s, time_s))

    def wrote(self, time_s: float, voter: Node, name: str, offset: int, data: bytes) -> None:
        """An agent's write is about to take effect on a voter."""
        if JOURNAL not in name:
            return
        held = voter.disk.files.get(name, b"")[offset : offset + len(data)]
        if held and not data.startswith(held):
            self.history.overwritten.append(Overwritten(time_s, voter.number, name))
        for group, epoch, node in released(name, data):
            self.released(time_s, group, epoch, node)
        begun, buried = self.facts.appends(name, data)
        if begun is not None:
            self.history.lives.append(Life(time_s, begun))
        if buried is not None:
            self.history.buried.append(Buried(time_s, *buried))

    def released(self, time_s: float, group: str, epoch: str, node: int) -> None:
        """It is written somewhere that the node gave the group up."""
        said = (group, epoch, node)
        if said not in self._said:
            self._said.add(said)
            self.history.released.append(Released(time_s, group, epoch, node))

    def thawed(self, time_s: float, node: int, stood_still: bool) -> None:
        """A whole node goes on; ``stood_still``: its clocks did, and do not show for how long."""
        (self.history.stops if stood_still else self.history.thaws).append((time_s, node))

    def voided(self, time_s: float, node: int) -> None:
        """An identity of the node is void."""
        self.history.voids.append((time_s, node))

    def forgot(self, time_s: float, node: int) -> None:
        """What its disk holds counts no more, or an operator has given the voter up."""
        self.history.forgot.append((time_s, node))

    def shot(self, time_s: float, node: int) -> None:
        self.history.shots.append((time_s, node))

    def crashed(self, time_s: float, node: int, text: str) -> None:
        """An agent ended by an error of its own."""
        self.history.crashes.append((time_s, node, text))

    def contact(self, time_s: float, node: int, voter: int, there: bool) -> None:
        """Whether the node and the voter reach each other from now on."""
        pair = node, voter
        if there:
            self._since.setdefault(pair, time_s)
        elif pair in self._since:
            self.history.contacts.setdefault(pair, []).append((self._since.pop(pair), time_s))

    def so_far(self) -> History:
        """The history with the contacts that go on; what runs is not in it."""
        contacts = {pair: [*spans] for pair, spans in self.history.contacts.items()}
        for pair, since_s in self._since.items():
            contacts.setdefault(pair, []).append((since_s, float("inf")))
        return replace(self.history, contacts=contacts)

    def close(self, time_s: float) -> None:
        """The run is over."""
        self.history.contacts = self.so_far().contacts
        self._since.clear()
        self.history.end_s = time_s
