"""What the guardian of one group decides: what is started, when everything is killed and why, and when it has ended.

It has no clock, starts no process and kills none: it is told the time and what was seen, and says what to do. Around it
are the leash of a machine (:mod:`mosha.clinit.guardian`) and that of the simulator. Rules:

1. Everything is killed when the deadline passes, when the agent is gone or wants it, and when anything goes wrong.
   ``reason`` says why, and stays. After that nothing is obeyed and nothing is started. The agent may be gone, and
   nothing is killed before the deadline, where the next one may take the group over: rule 5.
2. The deadline is absolute. Whatever is told comes with the time, which is held against it before anything else: so an
   order that comes after it is not even read, and nothing is started. It only ever moves forward.
3. One that was begun ahead of its epoch starts nothing but tests (entries of mode test, at level test), until it is
   told the token.
4. It has ended only when no process lives: after a kill, or when it was told to finish and the group rests.
   To halt is to finish with everything stopped by the usual signals, and without a level. So is halted what still lives
   when the group rests and ``stop_limit_s`` has passed since it was told to finish: what a command of level ``stop``
   left, and a ``once`` or ``respawn`` there. Nobody else may have the group before that has ended.
5. The next life of the agent may take a group over that has a token, is in a control group, and was told neither to
   stop nor to finish. It learns what it takes over (:meth:`Custody.legacy`), and tells a deadline of its own when it
   knows that the group is its own; until then nothing has changed but who gives the orders.
6. Where there is a deadline the clocks of the machine are compared here as well (R1), as an agent that hangs does not:
   again when half of the time to the deadline has gone, so a clock that is slewed is found out before that comes. From
   the end of the agent until the next one's first order nobody else knows whether that can find the group. Custody is
   told of both (:meth:`Custody.watch`). Everything is killed when the clocks went apart, or when it cannot be found.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Callable, NamedTuple

from mosha.clinit.group import STOP, Action, Group, Start
from mosha.clocks import Clocks
from mosha.tables.cltab import TEST, Entry
from mosha.tables.settings import DEFAULT_POLICY, Policy

Order = Mapping[str, Any]
"""What the agent tells a guardian; values that JSON knows."""

KILL: Order = {"kill": True}
FINISH: Order = {"finish": True}
HALT: Order = {"halt": True}
HOLD: Order = {"hold": True}

OWNER = "MOSHA_OWNER"
"""The variable that has the whole token, for the next life of the agent: era, epoch and identity, by spaces."""

OVERDUE, AGENT_GONE, ORDERED, NO_TOKEN = "deadline", "agent gone", "agent's order", "told to start without a token"
CLOCKS, HIDDEN = "the clocks of this machine went apart", "the next agent would not find it"

WATCH_S = 0.1                    # between two looks of rule 6 at least: a clock slewed by a tenth goes wrong by 10 ms
WATCH_MAX_S = 1.0                # at most; a leash without an agent never waits for longer than the one above


def tell(
    level: str, entries: Iterable[Entry], environment: Mapping[str, str] | None = None, policy: Policy | None = None
) -> Order:
    """Go to ``level``; ``entries`` are all of the group. ``environment`` and ``policy`` replace those before.

    Of the policy only what is not the default is told, and ``stop``: a leash of an earlier version has to take it.
    """
    return {
        "level": level,
        "entries": _listed(entries),
        "environment": dict(environment) if environment else None,
        "policy": _told(policy) if policy else None,
    }


def _told(policy: Policy) -> dict[str, Any]:
    usual = DEFAULT_POLICY._asdict()
    return {name: value for name, value in policy._asdict().items() if name == "stop" or value != usual[name]}


def strange(order: Order) -> list[str]:
    """What an order says of a policy, and this version does not know; it is left out."""
    return sorted((order.get("policy") or {}).keys() - set(Policy._fields))


def own(environment: Mapping[str, str]) -> Order:
    """The group was won: whatever is told may be started, with these variables."""
    return {"own": dict(environment)}


def extend(deadline_s: float) -> Order:
    """The lease goes on until then."""
    return {"deadline": deadline_s}


def _listed(entries: Iterable[Entry]) -> list[list[Any]]:
    return [[e.group, e.tag, e.levels, e.mode, e.command, e.line, e.every_s] for e in entries]


class Legacy(NamedTuple):
    """What the next life of an agent takes over with a leash: who had the group, in which epoch, until when (seconds,
    of the clock of deadlines), and what was told and has come of it."""

    group: str
    era: str
    epoch: int
    identity: str
    deadline_s: float
    level: str
    state: str
    on_hold: bool
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Legacy:
        """From what a guardian says, as JSON knows it. Raises ValueError, KeyError, TypeError."""
        return cls(**{**said, "entries": tuple(Entry(*fields) for fields in said["entries"])})

    def said(self) -> dict[str, Any]:
        """Values that JSON knows."""
        return {**self._asdict(), "entries": _listed(self.entries)}


class Custody:
    """See the rules of the module; times in seconds, of one clock."""

    def __init__(
        self, group: str, environment: Mapping[str, str], deadline_s: float, ahead: bool,
        policy: Policy = DEFAULT_POLICY, in_unit: bool = False,
    ) -> None:
        """``in_unit``: all that it starts is in a control group of its own."""
        self.reason = ""
        self.is_left = False                         # by its agent, and the next one has not told anything
        self.deadline_s = deadline_s
        self.environment = environment
        self._is_ahead = ahead
        self._in_unit = in_unit
        self._finishing = False
        self._finish_by_s = float("inf")
        self._clocks = Clocks()
        self._watch_due_s = 0.0 if math.isfinite(deadline_s) else float("inf")
        self._told = ""
        self._entries: tuple[Entry, ...] = ()
        self._group = Group(group, policy)

    @property
    def next_due(self) -> float:
        """When :meth:`watch` and :meth:`look` are to be called at the latest."""
        due = self._group.next_due
        finish_by_s = self._finish_by_s if self._group.rests else float("inf")
        return min(self.deadline_s, self._watch_due_s, finish_by_s, float("inf") if due is None else due)

    def remains(self) -> list[str]:
        """The tags whose main process ended, and whose other processes are not known to have ended."""
        return self._group.remains()

    def tags(self) -> set[str]:
        """Of the families that are accounted for; processes of other tags are strays."""
        return self._group.tags()

    @property
    def ends_strays(self) -> bool:
        """Whether processes that belong to no entry are to end: a level is being left, or everything."""
        return self._group.ends_strays or (self._finishing and self._group.rests)

    def strayed(self, now_s: float) -> list[Action]:
        """Such processes were seen, at a time when they are to end."""
        return self._group.strayed(now_s) if self._holds(now_s) and self.ends_strays else []

    def kill(self, reason: str) -> None:
        """Rule 1; the first reason counts."""
        self.reason = self.reason or reason

    def agent_gone(self, now_s: float) -> bool:
        """Nobody gives orders any more; whether the next life of the agent may: rule 5."""
        if not self._holds(now_s):
            return False
        if self.legacy() is None:
            self.kill(AGENT_GONE)
        elif not self.is_left:
            self.is_left, self._watch_due_s = True, now_s
        return not self.reason

    def watch(self, before_s: float, skew_s: float | None, after_s: float, is_found: bool) -> None:
        """Rule 6: how far the second clock was seen to be ahead between these times, and whether the next agent would
        find the group, which counts while ``is_left``."""
        if not math.isfinite(self.deadline_s):
            return
        half_s = (self.deadline_s - after_s) / 2
        self._watch_due_s = after_s + (WATCH_S if self.is_left else min(max(WATCH_S, half_s), WATCH_MAX_S))
        if self._clocks.apart_s(before_s, skew_s, after_s):
            self.kill(CLOCKS)
        if self.is_left and not is_found:
            self.kill(HIDDEN)

    def legacy(self) -> Legacy | None:
        """What may be taken over; None if everything ends with the agent."""
        era, epoch, identity, *_ = [*self.environment.get(OWNER, "").split(), "", "", ""]
        is_to_end = self._is_ahead or self._finishing or self._told in ("", STOP) or bool(self.reason)
        if is_to_end or not self._in_unit or not identity:
            return None
        group = self._group
        is_there = group.level == self._told
        return Legacy(
            group.name, era, int(epoch), identity, self.deadline_s, self._told, group.state if is_there else "",
            group.on_hold, self._entries,
        )

    def look(self, now_s: float) -> list[Action]:
        """Time went by."""
        if not self._holds(now_s):
            return []
        actions = self._group.tick(now_s)
        if self._group.rests and now_s >= self._finish_by_s:
            self._finish_by_s = float("inf")
            reason = f"not all has ended within {self._group.policy.stop_limit_s:g} s"
            actions += self._group.halt_in_order(now_s, reason=reason)
        return actions

    def obey(self, now_s: float, order: Order, has_strays: Callable[[], bool]) -> list[Action]:
        """The agent tells something; ``has_strays()``: whether processes live that belong to no entry."""
        if not self._holds(now_s):
            return []
        self.is_left = False
        if "deadline" in order:
            self.deadline_s = max(self.deadline_s, order["deadline"])
        elif "own" in order:
            self.environment, self._is_ahead = order["own"], False
        elif "kill" in order:
            self.kill(ORDERED)
        elif "finish" in order:
            self._finishing = True
            self._finish_by_s = now_s + self._group.policy.stop_limit_s
        elif "hold" in order:
            self._group.hold()
        elif "halt" in order:
            self._finishing = True
            return self._group.halt_in_order(now_s, has_strays())
        else:
            self.environment = order["environment"] or self.environment
            if order["policy"]:
                unknown = strange(order)
                known = {name: value for name, value in order["policy"].items() if name not in unknown}
                stop = tuple((after_s, signo) for after_s, signo in known["stop"])
                self._group.treat(now_s, Policy(**{**known, "stop": stop}))
            self._told, self._entries = order["level"], tuple(Entry(*fields) for fields in order["entries"])
            return self._group.tell(now_s, self._told, self._entries, has_strays())
        return []

    def may_start(self, now_s: float, start: Start) -> bool:
        """Asked before every start, which takes ``environment``."""
        if not self._holds(now_s):
            return False
        if self._is_ahead and not start.level == start.entry.mode == TEST:
            self.kill(NO_TOKEN)
        return not self.reason

    def ended(self, now_s: float, tag: str, left: int, status: int | None = None) -> list[Action]:
        """A process of ``tag`` is gone and ``left`` of that tag live; ``status`` is that of a main process."""
        if not self._holds(now_s):
            return []
        if status is not None:
            return self._group.exited(now_s, tag, status, left)
        return self._group.emptied(now_s, tag) if not left and tag in self._group.remains() else []

    def halt(self) -> list[Action]:
        """Once, when everything is about to be killed."""
        return self._group.halt()

    def has_ended(self, is_empty: bool) -> bool:
        """Rule 4; ``is_empty``: no process of the group lives."""
        return is_empty and (bool(self.reason) or (self._finishing and self._group.rests))

    def _holds(self, now_s: float) -> bool:
        """Rules 1 and 2."""
        if now_s >= self.deadline_s:
            self.kill(OVERDUE)
        return not self.reason
