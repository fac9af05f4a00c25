"""One resource group in the stand-alone daemon: its guardian process, and what becomes of it (``states.UNIT``).

Rules:

1. A group that was told a level has a guardian, which holds its processes. It ends when the group has come to a level
   without entries, and at a halt; nothing of the group lives then.
2. A guardian that died otherwise is LOST: what it left is killed, and then the group is told its level again if the
   guardian had lived for ``STEADY_S``; else the group is FAILED until somebody tells it a level.
3. What is told while a guardian ends, or is LOST, waits for that. Only the last tell counts.
"""

from __future__ import annotations

import selectors
import signal
from collections.abc import Iterable
from typing import Protocol

from mosha.clinit import states
from mosha.clinit.guardian import FINISHED, KILLED
from mosha.clinit.leash import Leash
from mosha.clinit.states import FINISHING, HELD, IDLE, LOST
from mosha.tables.clstat import CONFIGURED, DONE, FAILED, PASSED, GroupStat
from mosha.tables.cltab import OFF, Entry
from mosha.tables.settings import Policy

STEADY_S = 10.0
SETTLED = (DONE, PASSED, FAILED)
FINISH_LIMIT_S = 5.0             # for a guardian of which no process should live
KILL_LIMIT_S = 5.0               # for a guardian that was told to kill everything


class Host(Protocol):
    """What a unit needs of its daemon."""

    selector: selectors.BaseSelector

    def now(self) -> float: ...

    def say(self, line: str) -> None: ...

    def start_leash(self, group: str, policy: Policy) -> Leash: ...

    def sweep(self, group: str) -> bool: ...


class Unit:
    """``wanted``: the level told last; ``shown``: what clstat says."""

    def __init__(self, name: str, host: Host) -> None:
        self.name = name
        self.state = IDLE
        self.wanted = ""
        self.entries: tuple[Entry, ...] = ()
        self.policy = Policy()
        self.shown: GroupStat | None = None
        self._host = host
        self._leash: Leash | None = None
        self._started_s = self._lived_s = 0.0            # of the guardian; the last one
        self._pending = False
        self._halting = False
        self._due_s = float("inf")       # when a guardian that should have ended is dealt with
        self._asked_to_kill = False

    @property
    def pid(self) -> int | None:
        """Of the guardian."""
        return self._leash.pid if self._leash is not None else None

    @property
    def rests(self) -> bool:
        """Whether nothing of it lives, and nothing waits to be done."""
        return self.state == IDLE and not self._pending

    @property
    def next_due(self) -> float:
        """When :meth:`tick` has something to do; LOST is looked after in every turn."""
        return self._due_s

    def tell(self, level: str, entries: Iterable[Entry], policy: Policy) -> None:
        """Go to the level."""
        self.wanted, self.entries, self.policy = level, tuple(entries), policy
        self._pending = True
        self._advance()

    def halt(self) -> None:
        """Stop everything in order; nothing is told any more."""
        self._pending, self._halting = False, True
        if self.state == HELD:
            assert self._leash is not None
            self._leash.halt()
            self._enter("finish")

    def kill(self) -> None:
        """End everything at once, after a halt."""
        if self._leash is not None and not self._asked_to_kill:
            self._asked_to_kill = True
            self._leash.kill()
            self._due_s = self._host.now() + KILL_LIMIT_S

    def tick(self) -> None:
        """Time went by."""
        if self.state == LOST and self._host.sweep(self.name):
            self._enter("swept")
            self._again()
        if self._leash is None or self._host.now() < self._due_s:
            return
        if self._asked_to_kill:
            self._leash.kill_guardian()          # what it leaves is swept
            self._due_s = self._host.now() + KILL_LIMIT_S
        else:
            self.kill()

    def receive(self) -> None:
        """Take in what the guardian reports."""
        assert self._leash is not None
        for report in self._leash.receive():
            if report.kind == "state":
                if report.state in SETTLED and (self._pending or report.level != self.wanted):
                    continue                     # it was on its way when another level was told
                self._show(report.level, report.state, report.text)
            elif report.kind == "log":
                self._host.say(f"{self.name}: {report.text}")
        if self._leash.gone:
            self._bury(self._leash)
        elif self.state == HELD and self._is_at_nothing():
            self._leash.finish()
            self._enter("finish")
            self._due_s = self._host.now() + FINISH_LIMIT_S

    # ---- inside -----------------------------------------------------------------------------------------------

    def _enter(self, event: str) -> None:
        self.state = states.UNIT[self.state][event]

    def _is_at_nothing(self) -> bool:
        """Whether it has come to a level at which it has nothing."""
        at_level = any(entry.mode != OFF and entry.at(self.wanted) for entry in self.entries)
        return self.shown is not None and self.shown[1:] == (self.wanted, DONE) and not at_level

    def _advance(self) -> None:
        """Do what is pending, where that is possible now."""
        if not self._pending or self.state not in (IDLE, HELD):
            return
        self._pending = False
        if self.state == IDLE:
            try:
                self._leash = self._host.start_leash(self.name, self.policy)
            except OSError as error:
                self._show(self.wanted, FAILED, f"no guardian can be started: {error.strerror}")
                return
            self._host.selector.register(self._leash, selectors.EVENT_READ, lambda _mask: self.receive())
            self._started_s, self._due_s, self._asked_to_kill = self._host.now(), float("inf"), False
        assert self._leash is not None
        self._enter("tell")
        self._leash.tell(self.wanted, self.entries, policy=self.policy)

    def _bury(self, leash: Leash) -> None:
        self._host.selector.unregister(leash)
        leash.close()
        self._leash, self._due_s = None, float("inf")
        self._lived_s = self._host.now() - self._started_s
        if self.state == FINISHING and leash.status in (FINISHED, KILLED):
            self._enter("ended")
            self._rest()
        else:
            self._host.say(f"{self.name}: its guardian died, {_cause(leash.status)}; what it left is killed")
            self._enter("died")

    def _again(self) -> None:
        """Rule 2."""
        if self._halting or self._pending:
            self._rest()
        elif self._lived_s >= STEADY_S:
            self._pending = True
            self._advance()
        else:
            self._show(self.wanted, FAILED, "its guardian died too soon after it was started")

    def _rest(self) -> None:
        if self._halting and self.shown is not None:
            self._show(self.shown.level, CONFIGURED)
        self._advance()

    def _show(self, level: str, state: str, reason: str = "") -> None:
        stat = GroupStat(self.name, level, state)
        before, self.shown = self.shown, stat
        if stat != before:
            self._host.say(f"{self.name}: {level or '-'} {state}{f': {reason}' if reason else ''}")


def _cause(status: int | None) -> str:
    if status is None:
        return "nobody knows how"
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
