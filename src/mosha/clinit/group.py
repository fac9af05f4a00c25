"""The state machine of one resource group on one node.

It has no clock and starts no process: :meth:`Group.tell`, :meth:`Group.exited`, :meth:`Group.emptied` and
:meth:`Group.tick` take the time and return what to do, in order. An entry is known by its tag, and an entry's
*family* is the process started for it with all that it left behind. Rules:

1. A told level goes STOPPING -> DUMPING -> STARTING -> CHECKING -> DONE | PASSED | FAILED (``states.GROUP``), each
   as soon as it can; the level shown is the old one until STARTING. A tell at any moment begins again at STOPPING.
2. STOPPING waits for the families whose entry has not the new level, DUMPING for those whose entry changed, became
   ``off`` or vanished; both are stopped with the same grace (INT, then TERM, then KILL again and again). A family
   whose entry has both levels unchanged runs on untouched.
3. STARTING takes the entries of the level in their order, one at a time. ``wait`` and ``test`` are waited for,
   ``once`` and ``respawn`` are not, ``off`` and ``monitor`` are passed over. What runs already is not started twice; a
   ``wait`` or ``once`` that succeeded is not run again by a repeated tell of the same level.
4. A ``wait``, ``once`` or ``test`` that exits non-zero is a failure, and so is a ``respawn`` that exits more than
   ``fast_exits_max`` times, each under ``fast_exit_s`` after its start (a longer run takes one back). After a failed
   ``wait`` nothing more is started; after another failure only the other ``test`` entries are.
5. A ``respawn`` that exits is started again at once, but never beside what its family left: that is stopped first.
6. CHECKING: FAILED after any failure; PASSED if the level has entries and all are tests; else DONE, also for a level
   without entries. A failure that comes later turns DONE into FAILED; what runs is left to the next tell.
   A ``test`` that takes longer than ``test_limit_s`` is a failure, and is stopped; nobody waits for its end. So is a
   ``wait`` that takes longer than ``wait_limit_s``, or ``stop_limit_s`` at the level ``stop``.
7. HALTING is the end: nothing is started or told any more. Either everything is stopped with the usual grace, or
   somebody kills it.
8. A ``monitor`` runs while the group is DONE, the first time one interval after that, and then one after each end. If
   it exits non-zero, or takes longer than ``monitor_limit_s``, that is a failure, and no monitor is run any more.
9. On *hold*, once it is DONE, nothing is started and no end of a process is judged, until the next tell: that starts
   what is missing then, and leaves alone what runs.
10. A family that lives ``STUCK_S`` after its first KILL, the last of the signals, is *stuck* (state D), if the group is
   leaving something, and waits for it: whoever asks is told so as long as it is, each time that it is killed again.
   Nothing else comes of it here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple, Union

from mosha.clinit import states
from mosha.clinit.states import CLEARING, ENDING, LEFT, RUNNING
from mosha.tables.clstat import (
    CHECKING,
    CONFIGURED,
    DONE,
    DUMPING,
    FAILED,
    HALTING,
    PASSED,
    STARTING,
    STOPPING,
)
from mosha.tables.cltab import MONITOR, OFF, ONCE, RESPAWN, TEST, WAIT, Entry
from mosha.tables.settings import DEFAULT_POLICY, Policy
from mosha.timing import STUCK_S

STOP = "stop"
STRAYS = ""
"""The tag of processes that belong to the group, but to which entry nobody can tell: any change of level ends them."""


class Start(NamedTuple):
    """Start the process of ``entry``, for ``level``."""

    entry: Entry
    level: str


class Signal(NamedTuple):
    """Send ``signo`` once to each process of the family of ``tag``."""

    tag: str
    signo: int


class StateChanged(NamedTuple):
    """The group came to ``state``; ``reason`` says why it is FAILED, or why it is halted."""

    level: str
    state: str
    reason: str = ""


class Stuck(NamedTuple):
    """Rule 10: the tags of such families; none when there are none any more."""

    tags: tuple[str, ...]


Action = Union[Start, Signal, StateChanged, Stuck]


class _Family:
    """The process of an entry with all that it left behind; ``state``: ``states.FAMILY``."""

    again = False
    changed = False
    signals_sent = 0
    killed_s = float("inf")

    def __init__(self, entry: Entry, started_s: float, state: str = RUNNING, due_s: float | None = None) -> None:
        self.entry, self.started_s, self.state, self.due_s = entry, started_s, state, due_s

    @property
    def running(self) -> bool:
        """Whether the process that was started lives."""
        return self.state in (RUNNING, ENDING)

    @property
    def stopping(self) -> bool:
        return self.state in (ENDING, CLEARING)

    def enter(self, event: str) -> None:
        self.state = states.FAMILY[self.state][event]

    def stop(self, now_s: float, policy: Policy) -> None:
        """Begin to stop it, or go on with that."""
        if not self.stopping:
            self.due_s = now_s + policy.stop[0][0]
        self.enter("stop")

    def next_signal(self, now_s: float, policy: Policy) -> int:
        """The signal that is due now. The grace before the next one counts from now, however late this one is."""
        steps = policy.stop
        step = min(self.signals_sent, len(steps) - 1)
        self.signals_sent += 1
        last = step == len(steps) - 1
        if last:
            self.killed_s = min(self.killed_s, now_s)
        self.due_s = now_s + (policy.kill_again_s if last else steps[step + 1][0] - steps[step][0])
        return steps[step][1]


class Group:
    """One group; ``level`` and ``state`` are what clstat shows (no level before the first tell). ``policy``: how its
    processes are treated."""

    def __init__(self, name: str, policy: Policy = DEFAULT_POLICY) -> None:
        self.name = name
        self.level = ""
        self.state = CONFIGURED
        self.policy = policy
        self._wanted = ""
        self._repeated = False
        self._on_hold = False
        self._to_start: list[Entry] = []
        self._only_tests = False
        self._awaited = ""
        self._families: dict[str, _Family] = {}
        self._succeeded: dict[str, Entry] = {}
        self._fast_exits: dict[str, int] = {}
        self._monitors: dict[str, Entry] = {}
        self._monitors_due_s: dict[str, float] = {}
        self._failure = ""
        self._stuck: tuple[str, ...] = ()

    @property
    def rests(self) -> bool:
        """Whether it is on the way to no state."""
        return self.state in (CONFIGURED, DONE, PASSED, FAILED, HALTING)

    @property
    def next_due(self) -> float | None:
        """When :meth:`tick` has something to do; ``None`` if only an event can bring something."""
        dues = [family.due_s for family in self._families.values() if family.due_s is not None]
        return min([*dues, *self._monitors_due_s.values()], default=None)

    def remains(self) -> list[str]:
        """The tags whose process ended but whose family is not known to be empty: see :meth:`emptied`."""
        return [tag for tag, family in self._families.items() if not family.running]

    @property
    def ends_strays(self) -> bool:
        """Whether a level is being left, or everything, so that processes of no entry are to end."""
        return self.state == HALTING or (self.state in (STOPPING, DUMPING) and not self._repeated)

    def tags(self) -> set[str]:
        """Of the families that are accounted for."""
        return set(self._families)

    def strayed(self, now_s: float) -> list[Action]:
        """Processes of no entry were seen, which are to end; what is left of them is :meth:`emptied` later."""
        if STRAYS in self._families:
            return []
        self._hold_strays(now_s)
        self._families[STRAYS].changed = True
        self._families[STRAYS].stop(now_s, self.policy)
        return self.tick(now_s)

    def treat(self, now_s: float, policy: Policy) -> None:
        """From now on processes are treated so; what is being stopped begins with the first signal again."""
        if policy == self.policy:
            return
        self.policy = policy
        for family in self._families.values():
            if family.stopping:
                family.signals_sent, family.due_s = 0, now_s + policy.stop[0][0]

    @property
    def on_hold(self) -> bool:
        return self._on_hold

    def hold(self) -> None:
        """Rule 9."""
        if self.state == DONE:
            self._on_hold = True
            self._monitors_due_s.clear()

    def tell(self, now_s: float, level: str, entries: Iterable[Entry], strays: bool = False) -> list[Action]:
        """Go to ``level``; ``entries`` are all entries of the group. ``strays``: there are processes of no entry."""
        if self.state == HALTING:
            return []
        entries_by_tag = {entry.tag: entry for entry in entries}
        wanted = {tag: e for tag, e in entries_by_tag.items() if e.mode != OFF and e.at(level)}
        repeated = self._repeated = level == self._wanted and not self._failure
        self._succeeded = {
            tag: entry
            for tag, entry in self._succeeded.items()
            if repeated and tag in wanted and entry.mode in (WAIT, ONCE) and _same_process(entry, wanted[tag])
        }
        self._wanted = level
        self._to_start = [entry for entry in wanted.values() if entry.mode != MONITOR]
        self._monitors = {tag: entry for tag, entry in wanted.items() if entry.mode == MONITOR}
        self._monitors_due_s.clear()
        self._only_tests = bool(wanted) and all(entry.mode == TEST for entry in wanted.values())
        self._awaited = ""
        self._fast_exits.clear()
        self._failure = ""
        if strays and not repeated:
            self._hold_strays(now_s)
        for tag, family in self._families.items():
            entry = entries_by_tag.get(tag)
            family.again = False
            family.changed = entry is None or not _same_process(entry, family.entry)
            if self._on_hold and family.entry.mode == RESPAWN and not family.running:
                family.changed = True                # only what its process left behind is there
            if family.changed or tag not in wanted:
                family.stop(now_s, self.policy)
        self._on_hold = False
        before = self.state
        change = self._enter("tell")
        news = [] if self.state == before else [change]
        return [*news, *self.tick(now_s), *self._advance(now_s)]

    def exited(self, now_s: float, tag: str, status: int, left: int = 0) -> list[Action]:
        """The process started for ``tag`` ended and ``left`` others of its family live.

        ``status`` is the exit code, or minus the signal.
        """
        family = self._families[tag]
        was_stopping = family.stopping
        family.enter("exited")
        if not was_stopping:
            family.due_s = None                      # what it left may live for as long as it likes
        if not was_stopping and not self._on_hold:
            self._judge(now_s, family, status)
            if left and family.entry.mode in (RESPAWN, TEST, MONITOR):
                family.stop(now_s, self.policy)
        if not left:
            return self.emptied(now_s, tag)
        return [*self.tick(now_s), *self._advance(now_s)]

    def emptied(self, now_s: float, tag: str) -> list[Action]:
        """No process of the family of ``tag`` lives any more."""
        family = self._families.pop(tag)
        family.enter("emptied")
        restart = [self._start(now_s, family.entry)] if family.again else []
        actions = [*restart, *self._advance(now_s)]
        if self.state == DONE and tag in self._monitors and not self._on_hold:
            self._monitors_due_s[tag] = now_s + self._monitors[tag].every_s
        return [*actions, *self._look_for_stuck(now_s)]

    def tick(self, now_s: float) -> list[Action]:
        """Time went by: the signals and the monitors that are due."""
        news = self._watch(now_s)
        signals = [
            Signal(tag, family.next_signal(now_s, self.policy))
            for tag, family in self._families.items()
            if family.stopping and family.due_s is not None and family.due_s <= now_s
        ]
        return [*news, *signals, *self._look_for_stuck(now_s)]

    def halt(self) -> list[Action]:
        """Rule 7: somebody kills everything, and this is told nothing any more."""
        self._families.clear()
        self._monitors_due_s.clear()
        return [self._enter("halt")]

    def halt_in_order(self, now_s: float, strays: bool = False, reason: str = "") -> list[Action]:
        """Rule 7: stop everything with the usual grace; ``reason`` is for people."""
        self._to_start.clear()
        self._monitors_due_s.clear()
        if strays:
            self._hold_strays(now_s)
        for family in self._families.values():
            family.again = False
            family.stop(now_s, self.policy)
        return [self._enter("halt")._replace(reason=reason), *self.tick(now_s)]

    def _enter(self, event: str) -> StateChanged:
        self.state = states.GROUP[self.state][event]
        if self.state == STARTING:
            self.level = self._wanted
        return StateChanged(self.level, self.state, self._failure if self.state == FAILED else "")

    def _advance(self, now_s: float) -> list[Action]:
        actions: list[Action] = []
        while True:
            event = self._next_event(now_s, actions)
            if not event:
                return actions
            actions.append(self._enter(event))
            if self.state == DONE:
                self._monitors_due_s = {
                    tag: now_s + entry.every_s for tag, entry in self._monitors.items() if tag not in self._families
                }
            elif self.state == FAILED:
                self._monitors_due_s.clear()

    def _next_event(self, now_s: float, actions: list[Action]) -> str:
        """What happens next by itself in the present state, or nothing."""
        stopping = [family for family in self._families.values() if family.stopping]
        if self.state == STOPPING:
            return "" if any(not family.changed for family in stopping) else "clear"
        if self.state == DUMPING:
            return "" if any(family.changed for family in stopping) else "clear"
        if self.state == STARTING:
            return "clear" if self._start_all(now_s, actions) else ""
        if self.state == CHECKING:
            return "failed" if self._failure else "passed" if self._only_tests else "done"
        return "failed" if self.state == DONE and self._failure else ""

    def _start_all(self, now_s: float, actions: list[Action]) -> bool:
        """Rule 3: start what can be started now; true if that was all."""
        while True:
            awaited = self._families.get(self._awaited)
            if awaited is not None and awaited.running and not awaited.stopping:
                return False
            if not self._to_start:
                return True
            entry = self._to_start.pop(0)
            if entry.tag in self._families:
                self._families[entry.tag].entry = entry
            elif entry.tag not in self._succeeded and (not self._failure or entry.mode == TEST):
                actions.append(self._start(now_s, entry))
            self._awaited = entry.tag if entry.mode in (WAIT, TEST) else ""

    def _start(self, now_s: float, entry: Entry) -> Start:
        limit_s = self._limit_s(entry.mode)
        self._families[entry.tag] = _Family(entry, now_s, due_s=now_s + limit_s if math.isfinite(limit_s) else None)
        return Start(entry, self.level)

    def _limit_s(self, mode: str) -> float:
        """How long a process may take before it has failed."""
        policy = self.policy
        wait_limit_s = policy.stop_limit_s if self.level == STOP else policy.wait_limit_s
        limits_s = {MONITOR: policy.monitor_limit_s, TEST: policy.test_limit_s, WAIT: wait_limit_s}
        return limits_s.get(mode, math.inf)

    def _look_for_stuck(self, now_s: float) -> list[Action]:
        """Rule 10."""
        before, is_leaving = self._stuck, self.state in (STOPPING, DUMPING, HALTING)
        lasting = [tag for tag, family in self._families.items() if now_s >= family.killed_s + STUCK_S]
        self._stuck = tuple(lasting) if is_leaving else ()
        return [Stuck(self._stuck)] if self._stuck or before else []

    def _hold_strays(self, now_s: float) -> None:
        if STRAYS not in self._families:
            self._families[STRAYS] = _Family(Entry(self.name, STRAYS, "", OFF, ""), now_s, LEFT)

    def _watch(self, now_s: float) -> list[Action]:
        """Rules 6 and 8: start the monitors that are due, and stop what takes too long."""
        actions: list[Action] = []
        for tag in [tag for tag, due_s in self._monitors_due_s.items() if due_s <= now_s]:
            del self._monitors_due_s[tag]
            actions.append(self._start(now_s, self._monitors[tag]))
        late = [
            family for family in self._families.values()
            if family.state == RUNNING and family.due_s is not None and family.due_s <= now_s
        ]
        for family in late:
            if family.entry.mode != MONITOR or (self.state == DONE and not self._on_hold):
                self._fail(f"{family.entry.tag}: no answer within {now_s - family.started_s:g} s")
            if family.entry.mode == WAIT:
                self._to_start.clear()
            family.stop(now_s, self.policy)
        return [*actions, *(self._advance(now_s) if late else [])]

    def _judge(self, now_s: float, family: _Family, status: int) -> None:
        """Rule 4, for a process that nobody stopped."""
        entry = family.entry
        if entry.mode == RESPAWN:
            family.again = self._may_start_again(now_s, family)
        elif status == 0:
            self._succeeded[entry.tag] = entry
        elif entry.mode != MONITOR or self.state == DONE:    # a level change may well be what it saw
            self._fail(f"{entry.tag}: {ending(status)}")
            if entry.mode == WAIT:
                self._to_start.clear()

    def _may_start_again(self, now_s: float, family: _Family) -> bool:
        tag, policy = family.entry.tag, self.policy
        fast = now_s - family.started_s < policy.fast_exit_s
        count = self._fast_exits[tag] = max(0, self._fast_exits.get(tag, 0) + (1 if fast else -1))
        if count <= policy.fast_exits_max:
            return True
        self._fail(f"{tag}: exited {count} times within {policy.fast_exit_s:g} s of its start")
        return False

    def _fail(self, reason: str) -> None:
        self._failure = self._failure or reason


def _same_process(one: Entry, other: Entry) -> bool:
    """Whether a process of the first may run on as one of the second."""
    return (one.mode, one.command) == (other.mode, other.command)


def ending(status: int) -> str:
    """How a process ended, in words."""
    return f"exit status {status}" if status >= 0 else f"killed by signal {-status}"
