"""Where processes are, and how they move: the one place that knows.

Rules:

1. A process goes elsewhere at the moment when it becomes a command (``mosrun``), as it has no memory then that would
   have to be moved: :mod:`emulator.guests` does that, and tells here who is away and who is a guest.
2. A process that runs stays where it is, as its memory cannot be moved: EOPNOTSUPP, and the log says so. What would
   fail on the genuine system fails as there.
3. ``expel``, ``bring`` and switching off wait until those have ended that would have to move (:class:`Empty`).
"""

from __future__ import annotations

import errno
import logging
from typing import Callable, NamedTuple

from emulator.hpc.procfs import stat_of
from emulator.hpc.state import TOGGLES
from emulator.membership import Membership
from emulator.probe import Prober, Report

log = logging.getLogger(__name__)

HOME, BALANCE = 0, -1
"""What is written to ``goto`` instead of a node: go home; let the balancer choose."""
DEPTH_MAX = 64


class Guest(NamedTuple):
    """A process whose home is another node. The ids are those that it has there."""

    home: int
    address: str
    pid: int
    pgrp: int
    session: int
    uid: int
    gid: int
    name: str


class Migration:
    """Who is away from this node, who is a guest here; takes the requests of ``<pid>/goto`` and ``<pid>/migrate``."""

    def __init__(self, membership: Membership, prober: Prober) -> None:
        self._membership = membership
        self._prober = prober
        self._away: dict[int, int] = {}
        self._guests: dict[int, Guest] = {}
        self._wardens: dict[int, Guest] = {}
        self.waiting: list[Empty] = []

    @property
    def guests(self) -> dict[int, Guest]:
        """The guests, by the pid that they have here."""
        return dict(self._guests)

    @property
    def away(self) -> dict[int, int]:
        """On which node the processes are that are away."""
        return dict(self._away)

    def where(self, pid: int) -> int:
        """The node where a process is; 0 for one at home. A guest, and what it has started, is here."""
        return self._away.get(pid) or (self._membership.mospe if self.guest_of(pid) else HOME)

    def moves_of(self, pid: int) -> int:
        """How often it has moved."""
        return int(pid in self._away or pid in self._guests)

    def guest_of(self, pid: int) -> Guest | None:
        """The guest that this process, or thread, is or descends from; None if it is of this node."""
        for _ in range(DEPTH_MAX if self._wardens else 0):
            guest = self._guests.get(pid) or self._wardens.get(pid)
            stat = stat_of(pid) if guest is None else None
            if stat is None:
                return guest
            pid = stat.parent
        return None

    def home_of(self, pid: int) -> int:
        """The node where a guest, or what it has started, is at home; 0 for a process of this node."""
        guest = self.guest_of(pid)
        return guest.home if guest else HOME

    def left(self, pid: int, node: int) -> None:
        """A process of this node is on ``node`` now."""
        self._away[pid] = node

    def arrives(self, guest: Guest, warden: int) -> None:
        """A guest is about to be here: what has ``warden`` as its ancestor is its own, also what it leaves behind."""
        self._wardens[warden] = guest

    def arrived(self, pid: int, warden: int) -> None:
        """That guest is here, and is called ``pid`` here."""
        self._guests[pid] = self._wardens[warden]

    def ended(self, pid: int) -> None:
        """A process that was away has ended."""
        self._away.pop(pid, None)
        self._look_again()

    def gone(self, pid: int, warden: int) -> None:
        """A guest is here no more; ``pid`` is 0 if it never was."""
        self._guests.pop(pid, None)
        self._wardens.pop(warden, None)
        self._look_again()

    def admits(self, node: int, then: Callable[[int], None]) -> None:
        """Call ``then(0)`` if another node takes guests, else ``then(errno)``.

        ENXIO for one that is not in the map, ENETUNREACH for one that is dead or takes no guests.
        """
        if node not in self._membership.seen:
            then(errno.ENXIO)
            return

        def answered(report: Report | None) -> None:
            open_to_guests = report is not None and not report.status & TOGGLES["block"]
            then(0 if open_to_guests else errno.ENETUNREACH)

        self._prober.probe(node, answered)

    def move(self, pid: int, node: int, then: Callable[[int], None]) -> None:
        """Call ``then(0)`` when the process is where it is sent, or ``then(errno)``."""

        def refuse(code: int) -> None:
            if not code:
                log.warning("openMosix: process %d stays where it is: the memory of a running process cannot be"
                            " moved here (mosrun starts a command on another node)", pid)
            then(code or errno.EOPNOTSUPP)

        here = self.where(pid) or self._membership.mospe
        if node == HOME:
            node = self.home_of(pid) or self._membership.mospe
        if node in (BALANCE, here):
            then(0)
        elif node == self._membership.mospe:
            refuse(0)
        else:
            self.admits(node, refuse)

    def _look_again(self) -> None:
        for empty in list(self.waiting):
            empty.look()


class Empty:
    """The wait until no guest is here (``guests``), or no process of this node is away (``away``), or neither.

    ``finish()`` is called before who waits hears of it, ``abandon()`` if the wait is given up.
    """

    def __init__(
        self,
        migration: Migration,
        *,
        guests: bool = False,
        away: bool = False,
        finish: Callable[[], None] = lambda: None,
        abandon: Callable[[], None] = lambda: None,
    ) -> None:
        self._migration = migration
        self._guests = guests
        self._away = away
        self._finish = finish
        self._abandon = abandon
        self._then: Callable[[], None] | None = None

    def begin(self, then: Callable[[], None]) -> None:
        """Call ``then()`` once, as soon as it is so."""
        self._then = then
        self._migration.waiting.append(self)
        left = self._left()
        if left:
            log.warning("openMosix: waiting until %d processes have ended, as they cannot be moved", left)
        self.look()

    def look(self) -> None:
        """Whether it is so now."""
        if not self._left() and self._then is not None:
            self._migration.waiting.remove(self)
            self._finish()
            self._then()

    def give_up(self) -> None:
        """Do not call it any more."""
        self._migration.waiting.remove(self)
        self._abandon()

    def _left(self) -> int:
        guests = len(self._migration.guests) if self._guests else 0
        return guests + (len(self._migration.away) if self._away else 0)
