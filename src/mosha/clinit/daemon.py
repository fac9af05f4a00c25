"""The stand-alone daemon: one init for the resource groups of one cltab, as Cluster::Init was.

Rules:

1. One process, one loop; nothing in it blocks but short looks at local files. Each group has a guardian process of its
   own (:mod:`mosha.clinit.guardian`), the same as under the agent, but without a lease: it ends its group when this
   process is gone, and what it leaves itself is ended here (:mod:`mosha.platform.orphans`).
2. One life at a time for each socket (:mod:`mosha.lives`): it begins when nothing of an earlier one is left.
3. A cltab is taken as a whole or not at all: the last good one stays in use, and a group that runs can be told any
   level. It is read at each tell, and when somebody says so; then groups whose entries changed take that up. A group
   that runs and is no more in it runs on until it is told another level: half a file may be what was read.
4. It ends when it is told to and nothing of any group lives; told so twice, it kills what is still there.
5. No file, no client and no log can end it, or a group.
"""

from __future__ import annotations

import os
import selectors
import signal
from pathlib import Path

from mosha.clinit import places
from mosha.clinit.control import Control
from mosha.clinit.group import STOP
from mosha.clinit.journal import Journal
from mosha.clinit.leash import Leash
from mosha.clinit.protocol import READ, SHUTDOWN, Answer, Request
from mosha.clinit.states import LOST
from mosha.clinit.unit import Unit
from mosha.lives import AlreadyRuns, Life
from mosha.platform import linux, plain
from mosha.platform.orphans import Orphans
from mosha.platform.store import LocalStore
from mosha.platform.units import Units
from mosha.platform.wake import Wakeup, fds_of
from mosha.resources.records import RUN_VARIABLE
from mosha.tables import clstat, cltab
from mosha.tables.cltab import Cltab
from mosha.tables.errors import TableErrors
from mosha.tables.lines import listed
from mosha.tables.settings import Policy

__all__ = ["AlreadyRuns", "Daemon"]

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
EARLIER_LIMIT_S = 10.0
SWEEP_PAUSE_S = 0.05             # between two attempts to end what a guardian left
FLUSH_PAUSE_S = 0.05             # and to give the log's writer what it had no room for
JOURNAL_LIMIT_S = 2.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STARTED, ALL_HALTING = "level transition started", "all groups halting"


class Daemon:
    """Settings lines of the cltab come before the arguments. :meth:`run` serves until the end. Raises TableErrors."""

    def __init__(
        self, cltab: str = places.DEFAULT_CLTAB, socket: str | None = None, clstat: str | None = None,
        log: str | None = None,
    ) -> None:
        plain.fill_standard()
        self.places = places.find(cltab, socket, clstat, log)
        self.selector: selectors.BaseSelector = selectors.DefaultSelector()
        self._table = Cltab()
        self._problem = ""               # what is wrong with the cltab that was read last
        self._units: dict[str, Unit] = {}
        self._halting = False
        self._written: str | None = None
        self._heartbeat_due_s = 0.0
        self._unheard = ""               # why nobody can ask, as it was said
        self._held: Units | None = None

    def run(self) -> int:
        """Serve; the exit code. Raises AlreadyRuns, OSError."""
        os.umask(0o022)
        for file in (self.places.socket, self.places.clstat):
            Path(file).parent.mkdir(parents=True, exist_ok=True)
        self._life = Life(self.places.rundir, "clinit")
        os.chmod(self.places.rundir, 0o700)
        self._orphans = Orphans(self.places.rundir, self._own_children, self._guardian, self._in_units)
        self._wake = Wakeup((*ENDING, signal.SIGHUP, signal.SIGCHLD))
        self._journal = Journal(self.places.log, "clinit")
        try:
            return self._live()
        finally:
            if self._held is not None:
                self._held.close()
            self._journal.close(JOURNAL_LIMIT_S)
            self._life.close()

    # ---- for the units ----------------------------------------------------------------------------------------

    def now(self) -> float:
        """Seconds since the boot."""
        return linux.boottime()

    def say(self, line: str) -> None:
        """One line for the log."""
        self._journal.line(line)

    def start_leash(self, group: str, policy: Policy) -> Leash:
        """Fork a guardian. Raises OSError."""
        environment = {"PATH": PATH, **os.environ, RUN_VARIABLE: self.places.rundir}
        last_words = self._journal.last_words
        return Leash.start(group, environment, float("inf"), last_words, self._own_fds(), policy=policy,
                            tree=self._held.ready() if self._held is not None else None)

    def sweep(self, group: str) -> bool:
        """End what a guardian left; whether nothing is left."""
        return self._orphans.sweep(group)

    # ---- the loop ---------------------------------------------------------------------------------------------

    def _live(self) -> int:
        if not self._life.end_earlier(EARLIER_LIMIT_S):
            self.say(f"what is left of an earlier life does not end within {EARLIER_LIMIT_S:g} s")
            return 1
        self._held = Units(self.places.units, self.places.rundir, self.selector, self.say)
        self._clstat = LocalStore(Path(self.places.clstat).parent, say=self.say)
        self._clstat_name = Path(self.places.clstat).name
        self._clstat.remove(self._clstat_name)
        self._control = Control(self.places.socket, self.selector, self.now, self._obey)
        self.selector.register(self._wake, selectors.EVENT_READ, lambda _mask: self._woken())
        self._read()
        self.say(f"clinit serves {self.places.socket}, {len(self._table.groups())} groups in {self.places.cltab}")
        while not (self._halting and all(unit.rests for unit in self._units.values())):
            self._turn()
        self._control.close()
        self._clstat.remove(self._clstat_name)
        self.say("clinit has ended, and all groups")
        return 0

    def _turn(self) -> None:
        """Wait for events, at most until something is due, and deliver them."""
        for key, mask in self.selector.select(max(0.0, self._due_s() - self.now())):
            if self.selector.get_map().get(key.fileobj) is key:      # an earlier callback may have unregistered it
                key.data(mask)
        for unit in self._units.values():
            unit.tick()
        self._control.tick()
        if self._held is not None:
            self._held.tick()
        self._orphans.collect()
        self._show()
        self._journal.flush()

    def _due_s(self) -> float:
        dues = [unit.next_due for unit in self._units.values()]
        if self._journal.waits:
            dues.append(self.now() + FLUSH_PAUSE_S)
        if any(unit.state == LOST for unit in self._units.values()):
            dues.append(self.now() + SWEEP_PAUSE_S)
        return min([self._heartbeat_due_s, self._control.next_due(), *dues])

    def _woken(self) -> None:
        signals = self._wake.taken()
        if signals.intersection(ENDING):
            self._halt()
        elif signal.SIGHUP in signals:
            self._read_again()

    def _show(self) -> None:
        """clstat, at each change and as a heartbeat. A group that vanished from cltab, and of which nothing is left, is
        forgotten."""
        known = set(self._table.groups())
        self._units = {name: unit for name, unit in self._units.items() if name in known or not unit.rests}
        shown = [unit.shown for unit in self._units.values() if unit.shown is not None and unit.shown.level]
        text = clstat.render(sorted(shown))
        now_s = self.now()
        if text == self._written and now_s < self._heartbeat_due_s:
            return
        self._heartbeat_due_s = now_s + self.places.heartbeat_s
        unheard, self._unheard = self._unheard, self._control.renew()
        if self._unheard not in ("", unheard):
            self.say(self._unheard)
        try:
            self._clstat.replace(self._clstat_name, text.encode())
            self._written = text
        except OSError as error:
            if self._written is not None:
                self.say(f"{self.places.clstat} cannot be written: {error.strerror}")
            self._written = None
            self._heartbeat_due_s = min(self._heartbeat_due_s, now_s + 1.0)

    # ---- requests ---------------------------------------------------------------------------------------------

    def _obey(self, request: Request) -> Answer:
        if request.do == SHUTDOWN:
            self._halt()
            return Answer(True, ALL_HALTING)
        if self._halting:
            return Answer(False, ALL_HALTING)
        if request.do == READ:
            return self._read_again()
        return self._tell(request.group, request.level)

    def _tell(self, group: str, level: str) -> Answer:
        self._read()
        note = f"; {self._problem}" if self._problem else ""
        entries = self._table.group(group)
        unit = self._units.get(group)
        if not entries and (unit is None or unit.rests):
            return Answer(False, f"no such group: {group}{note}; there are: {listed(self._table.groups()) or 'none'}")
        if entries and level != STOP and not any(entry.at(level) for entry in entries):
            has = listed(cltab.levels_of(entries, STOP))
            note = f"; {group} has nothing at level {level}, so all of it is stopped; there are: {has}{note}"
        if unit is None:
            unit = self._units[group] = Unit(group, self)
        unit.tell(level, entries, self._table.policy)
        return Answer(True, f"{STARTED}{note}")

    def _halt(self) -> None:
        for unit in self._units.values():
            if self._halting:
                unit.kill()
            else:
                unit.halt()
        self._halting = True

    def _read(self) -> None:
        """Rule 3."""
        try:
            self._table = cltab.parse(places.read(self.places.cltab), self.places.cltab)
            problem = ""
        except TableErrors as errors:
            first, more = errors.errors[0], len(errors.errors) - 1
            problem = f"the last good cltab stays in use: {first}{f', and {more} more' if more else ''}"
        except OSError as error:
            problem = f"the last good cltab stays in use: {self.places.cltab}: {error.strerror}"
        if problem and problem != self._problem:
            self.say(problem)
        self._problem = problem

    def _read_again(self) -> Answer:
        """And have the groups take up what has changed."""
        if self._halting:
            return Answer(False, ALL_HALTING)
        self._read()
        if self._problem:
            return Answer(False, self._problem)
        changed, missed = 0, []
        for name, unit in self._units.items():
            entries, policy = self._table.group(name), self._table.policy
            if not entries:
                missed.append(name)
            elif (unit.entries, unit.policy) != (entries, policy):
                unit.tell(unit.wanted, entries, policy)
                changed += 1
        note = f"; not in it, and left as they are: {', '.join(sorted(missed))}" if missed else ""
        return Answer(True, f"{len(self._table.groups())} groups, {changed} told what is new{note}")

    # ---- processes --------------------------------------------------------------------------------------------

    def _own_children(self) -> set[int]:
        guardians = {unit.pid for unit in self._units.values() if unit.pid is not None}
        wardens = self._held.own() if self._held is not None else set()
        return {self._journal.pid, *wardens, *guardians}

    def _in_units(self, group: str | None) -> set[int]:
        return self._held.pids(group) if self._held is not None else set()

    def _guardian(self, group: str) -> int | None:
        unit = self._units.get(group)
        return unit.pid if unit is not None else None

    def _own_fds(self) -> list[int]:
        """What a guardian must not inherit: all of this process but the lock of its life, and the log."""
        return sorted({*fds_of(self.selector), self._life.agent_fd, *self._wake.fds()})
