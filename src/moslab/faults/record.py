"""What was broken, in whatever world: each fault with its begin and end, and what still lasts.

Rules:

1. A fault begins and ends *within* the recorded bounds: begin is taken before the call that makes it, end after the
   call that ends it. All times are of one clock, that of the history.
2. A fault that nothing ends (a killed process) ends when its call returns.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Callable, NamedTuple, Protocol

from emulator.powerswitch.outlets import OUTLETS
from moslab.errors import LabError
from moslab.faults.links import Link
from moslab.faults.toxics import DELAY, RATE, RESET, SLOW_CLOSE, Toxic

UNENDED = float("inf")
OFF, PAUSE, STOP, CUT, FILES = "off", "pause", "stop", "cut", "files"
OUTLET, DRAINED, EXHAUSTED = "outlet", "drained", "exhausted"
CLOCK, WALL_CLOCK = "clock", "wall clock"
LOSS = "loss"
MAP = "map"
"""The kinds that last."""
REBOOT, EDIT = "reboot", "edit"
OF_LINKS = frozenset({CUT, LOSS, DELAY, RATE, RESET, SLOW_CLOSE})
"""Those of links. Each has a name, which begins with its kind."""
OF_POWER = frozenset({OFF, PAUSE, STOP, FILES, EXHAUSTED})
"""Those of a node that end when it loses its power, or gets it back; an outlet, a clock and a disk are as they were."""


class Fault(NamedTuple):
    """What was done, to which nodes, and when; ``end_s`` is infinite while it lasts."""

    kind: str
    nodes: tuple[int, ...]
    detail: str
    begin_s: float
    end_s: float = UNENDED


class Event(NamedTuple):
    """What a record was told: a fault begins (it has no end yet), ends (and began before), or was. ``shown`` is written
    down instead of the detail, by which it is known; node 0: it is not one node's."""

    kind: str
    node: int
    detail: str
    begin_s: float | None
    end_s: float = UNENDED
    shown: str = ""

    def since(self, zero_s: float) -> Event:
        """The same, with times that count from then."""
        return self._replace(begin_s=None if self.begin_s is None else self.begin_s - zero_s, end_s=self.end_s - zero_s)


class Record:
    """The faults of one cluster. Threads may share it. ``keep`` gets each event, once it is in."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.all: list[Fault] = []
        self.now_s = now_s
        self.keep: Callable[[Event], None] = lambda _event: None
        self._lasting: dict[tuple[str, int, str], int] = {}
        self._lock = threading.Lock()

    def lasting(self, kind: str = "") -> list[tuple[str, int, str]]:
        """(kind, node, detail) of what lasts, of that kind or of all; node 0 for what is not one node's."""
        return [key for key in list(self._lasting) if kind in ("", key[0])]

    @contextmanager
    def lasts(self, kind: str, node: int, detail: str = "") -> Iterator[None]:
        """The block begins it; once more what lasts already is one fault, which goes on."""
        begin_s = self.now_s()
        yield
        if (kind, node, detail) not in self.lasting(kind):
            self.begins(kind, node, detail, begin_s)

    @contextmanager
    def instant(self, kind: str, node: int, detail: str = "") -> Iterator[None]:
        """The block is all of it."""
        begin_s = self.now_s()
        yield
        self.happened(kind, node, detail, begin_s)

    def happened(self, kind: str, node: int, detail: str, begin_s: float) -> None:
        """It began at that time, and is over."""
        self._tell(Event(kind, node, detail, begin_s, self.now_s()))

    def begins(self, kind: str, node: int, detail: str, begin_s: float, shown: str = "") -> None:
        """It has begun at that time; ``shown`` is written down instead of the detail, by which it is known."""
        self._tell(Event(kind, node, detail, begin_s, shown=shown))

    def ends(self, kind: str, node: int, detail: str = "") -> None:
        """It has ended, if it lasted."""
        self._tell(Event(kind, node, detail, None, self.now_s()))

    def take(self, event: Event) -> bool:
        """What was told to another record, or to this one; False if it is the end of nothing."""
        kind, node, detail, begin_s, end_s, shown = event
        with self._lock:
            if begin_s is None:
                place = self._lasting.pop((kind, node, detail), None)
                if place is not None:
                    self.all[place] = self.all[place]._replace(end_s=end_s)
                return place is not None
            if end_s == UNENDED:
                self._lasting[kind, node, detail] = len(self.all)
            self.all.append(Fault(kind, (node,) if node else (), shown or detail, begin_s, end_s))
            return True

    def _tell(self, event: Event) -> None:
        if self.take(event):
            self.keep(event)


class Breaker(Protocol):
    """What breaks a cluster, in every world. LabError where it does not work, UnsupportedError where it never does."""

    record: Record

    def kill(self, node: int) -> None:
        """Cut its power."""

    def start(self, node: int) -> None:
        """Give it power; also after STOMITH."""

    def reboot(self, node: int) -> None:
        """Shut it down in order, and have it boot; it boots when this returns."""

    def pause(self, node: int) -> None:
        """The whole machine stands still."""

    def resume(self, node: int) -> None:
        """It goes on."""

    def lose_disk(self, node: int) -> None:
        """Give a node that is off a new disk; it stays off."""

    def signal(self, node: int, role: str, signo: int) -> list[int]:
        """Send a signal to a role of a node; their pids."""

    def restart_agent(self, node: int) -> None:
        """End the agent in order; return when init has begun the next one."""

    def cut(self, links: Iterable[Link], loss: float = 1.0, network: int | None = None) -> str:
        """Cut links, in one network or in all, or lose so much of what is sent there; the cut's name."""

    def worsen(self, links: Iterable[Link], toxic: Toxic) -> str:
        """What MFS sends over the links meets that, or all packets where that is all there is; its name."""

    def heal(self, name: str) -> None:
        """Of that cut, or whatever else ails links."""

    def outlet(self, node: int, how: str) -> None:
        """From now on shots at the node end so: "fails", "lies" (it is shot, and a failure is said), "slow" (seconds
        late), "works"."""

    def disturb(self, node: int, error: float, hang: float, full: bool = False) -> None:
        """Of what others do with its files through MFS so much, from 0 to 1, fails with EIO, and so much is never
        answered; ``full``: there is no room for more (ENOSPC). With nothing of it all is well again."""

    def exhaust(self, node: int, what: str) -> None:
        """From now on the agent there, and what it starts, gets no more ``memory`` or ``descriptors``."""

    def relieve(self, node: int, what: str) -> None:
        """They get it again."""

    def slew(self, node: int, by: float) -> None:
        """The clock of its agent's deadlines runs faster by so much, as 0.05, or slower; 0: as before."""

    def jump(self, node: int, by_s: float) -> None:
        """Its agent's wall clock is off by so much in all; 0: right."""

    def map(self, node: int, nodes: Sequence[int]) -> None:
        """openMosix on the node, which is one of them, knows just these from now on; all of them: as before."""

    def edit(self, node: int, table: str, text: str) -> None:
        """Somebody edits ``cltab`` or ``hactl`` there by hand: this is what it says then."""

    def order(self, node: int, do: str, group: str, target: int) -> None:
        """An operator at the node says ``move`` (the group to the target), ``drain`` or ``undrain`` (the target)."""

    def end(self) -> None:
        """End what still lasts, whoever began it."""


EXHAUSTIBLE = ("memory", "descriptors")


def check_exhaustible(what: str) -> None:
    """LabError for what nobody can have too little of."""
    if what not in EXHAUSTIBLE:
        raise LabError(f"{what!r} is none of {', '.join(EXHAUSTIBLE)}")


def check_outlet(how: str) -> None:
    """LabError for a word that no outlet knows."""
    if how not in OUTLETS:
        raise LabError(f"{how!r} is none of {', '.join(OUTLETS)}")


def flap(
    faults: Breaker, sleep: Callable[[float], None], links: Iterable[Link], cut_s: float, whole_s: float, times: int,
) -> None:
    """Cut the links and heal them, again and again, sleeping between; they are whole at the end."""
    wanted = frozenset(links)
    for _ in range(times):
        name = faults.cut(wanted)
        try:
            sleep(cut_s)
        finally:
            faults.heal(name)
        sleep(whole_s)


def lines(record: Sequence[Fault]) -> list[str]:
    """One for each fault, for people."""
    return [
        f"{fault.begin_s:12.3f} to {'the end' if fault.end_s == UNENDED else format(fault.end_s, '.3f')}: {fault.kind}"
        f"{''.join(f' node {node}' for node in fault.nodes)}{f' ({fault.detail})' if fault.detail else ''}"
        for fault in record
    ]
