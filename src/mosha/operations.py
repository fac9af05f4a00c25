"""What this node does because somebody wants it: orders of operators, moves, being drained, and ``failback``.

Rules:

1. A node that is *drained* takes no group and gives up those that it has, in order, as one that leaves (R21), but for
   those in maintenance; its agent goes on, votes and shoots. So it stays, also after a boot, until somebody ends it:
   :class:`Drained`.
2. One that is to be shot, for a group that it cannot end, *gives way* before: it is drained for a time, without that
   file, and of all groups.
3. Everything else is in :mod:`mosha.orders` and :mod:`mosha.moves`. Nothing here decides who owns a group.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Callable, Protocol

from mosha.moves import FAILBACK, Moves, Over
from mosha.orders import CLEAR, DRAIN, KINDS, MOVE, UNDRAIN, Order, Orders
from mosha.placement import turn
from mosha.platform.world import Store
from mosha.timing import MOVE_LIMIT_S, ORDER_LIMIT_S, STOP_LIMIT_S, Timing

log = logging.getLogger(__name__)

NAME = "drained"
NEVER = float("inf")
LEFT = "this node gives up all that it has"


class Sight(Protocol):
    """What this node sees of the cluster."""

    def owner(self, group: str) -> int | None: ...

    def alive(self, node: int) -> bool:
        """Whether it is on the map and lives."""

    def living(self) -> list[int]:
        """All nodes that live, this one too."""

    def unfit(self, node: int, group: str) -> str:
        """Why another node cannot have the group now, or nothing."""

    def missing(self, group: str) -> str:
        """What it requires and is not up, in words, or nothing: it would be started nowhere."""

    def lives_since(self, node: int) -> float:
        """When the other node's identity was first seen."""

    def is_ready(self, node: int, group: str) -> bool:
        """Whether the other node has tested the group ahead."""

    def has_heirs(self) -> bool:
        """Whether groups that this node gives up can go to another one."""


class Drained:
    """Whether somebody wants this node to be drained: for this life, and in the file ``drained`` for those to come."""

    def __init__(self, store: Store) -> None:
        """Raises OSError."""
        self._store = store
        self.is_wanted = store.read(NAME, 1) is not None

    def want(self, wanted: bool) -> None:
        """From now on. Where the disk does not take it, this life does what was wanted anyhow."""
        if wanted == self.is_wanted:
            return
        self.is_wanted = wanted
        try:
            if wanted:
                self._store.replace(NAME, b"", durable=True)
            else:
                self._store.remove(NAME)
        except OSError as error:
            log.error("the next life of this agent will not know of it: %s", error.strerror or error)
        log.warning("drained: nothing is to run here but what is in maintenance" if wanted else "not drained any more")


class Operations:
    """Of the node ``me``. ``clear(group)`` forgets failures here, of all groups if it is empty."""

    def __init__(
        self, me: int, drained: Drained, timing: Timing, now: float, sight: Sight, clear: Callable[[str], None]
    ) -> None:
        self.orders, self.moves = Orders(me), Moves(timing.announce_s)
        self._me, self._drained, self._timing, self._sight, self._clear = me, drained, timing, sight, clear
        self.gives_way, self._way_until = False, NEVER
        self.drain_from = now if drained.is_wanted else NEVER

    @property
    def is_drained(self) -> bool:
        return self._drained.is_wanted or self.gives_way

    @property
    def rests(self) -> bool:
        """Whether nobody wants anything now."""
        return self.orders.rests and not self.moves.targets()

    def take(self, now: float, order: Mapping[str, Any]) -> None:
        """What an operator wants here, or something that is no order."""
        try:
            self._give(now, order)
        except (ValueError, TypeError, KeyError, OverflowError):
            log.warning("not an order: %.80r", dict(order))

    def _give(self, now: float, order: Mapping[str, Any]) -> None:
        do, name, group, node = str(order["do"]), str(order["name"]), str(order["group"]), int(order["node"])
        if do not in KINDS:
            raise ValueError(do)
        living, limit_s = self._sight.living(), ORDER_LIMIT_S
        whom = living
        if do == MOVE:
            owner = self._sight.owner(group)
            whom, limit_s = [] if owner is None else [owner], MOVE_LIMIT_S + STOP_LIMIT_S
        elif do in (DRAIN, UNDRAIN):
            whom = [one for one in living if one == (node or self._me)]
        self.orders.give(now, Order(f"{self._me}.{name}", do, group, node, tuple(whom)), limit_s)

    def step(
        self, now: float, held: Callable[[str], bool], tests_ahead: Callable[[str], bool],
    ) -> None:
        """Carry out what is to be done."""
        for order in self.orders.step(now, self._sight.alive):
            problem = self._obey(now, order, held)
            if problem is not None:
                self.orders.answer(order.name, problem)
        sight = self._sight
        for over in self.moves.step(now, held, sight.unfit, sight.missing, sight.is_ready, tests_ahead):
            self._say(over)

    def fail_back(self, now: float, group: str, prefer: tuple[int, ...]) -> None:
        """Move a group that runs here to an earlier node of that list, if one is fit and has been there for a while."""
        if self.is_drained or not self.moves.may_fail_back(now, group):
            return
        for node in prefer[: turn(self._me, prefer)]:
            is_steady = now >= self._sight.lives_since(node) + self._timing.lost_s
            if is_steady and not self._sight.unfit(node, group):
                self._begin(now, group, node, FAILBACK)
                return

    def abandon(self, now: float) -> None:
        """This identity ends, or gives everything up."""
        for over in self.moves.abandon(now, LEFT):
            self._say(over)

    def drain(self, now: float, wanted: bool) -> None:
        """Begin or end it."""
        self._drained.want(wanted)
        self._follow(now)

    def give_way(self, now: float, wanted: bool, limit_s: float) -> None:
        """Rule 2, as long as it is wanted, and for so long at most: who is not shot by then takes groups again."""
        self._way_until = min(self._way_until, now + limit_s) if wanted else NEVER
        gives_way = wanted and now < self._way_until
        if gives_way != self.gives_way:
            self.gives_way = gives_way
            log.warning("this node gives way: it is to be shot" if gives_way else "this node gives way no more")
            self._follow(now)

    def _follow(self, now: float) -> None:
        """Begin to be drained, or end it."""
        if not self.is_drained:
            self.drain_from = NEVER
        elif self.drain_from == NEVER:
            self.drain_from = now + (self._timing.announce_s if self._sight.has_heirs() else 0.0)
            self.abandon(now)

    def said(self) -> dict[str, Any]:
        """What this node's record says."""
        return {**self.orders.said(), "drained": self.is_drained, "moving": self.moves.targets()}

    def next_due(self, now: float) -> float:
        return min(self.orders.next_due(), self.drain_from if self.drain_from > now else NEVER)

    def _obey(self, now: float, order: Order, held: Callable[[str], bool]) -> str | None:
        """The answer; None: it comes later."""
        if order.do == CLEAR:
            self._clear(order.group)
        elif order.do == MOVE:
            return self._move(now, order, held)
        else:
            self.drain(now, order.do == DRAIN)
        return ""

    def _move(self, now: float, order: Order, held: Callable[[str], bool]) -> str | None:
        if not held(order.group):
            return f"node {self._me} does not have {order.group}"
        if order.node == self._me:
            return ""
        problem = self._sight.unfit(order.node, order.group) or self._begin(now, order.group, order.node, order.name)
        return problem or None

    def _begin(self, now: float, group: str, node: int, why: str) -> str:
        problem = self.moves.begin(now, group, node, why)
        if not problem:
            log.warning("%s: to be moved to node %d (%s)", group, node, FAILBACK if why == FAILBACK else "an operator")
        return problem

    def _say(self, over: Over) -> None:
        what = f"not moved: {over.problem}" if over.problem else f"left to node {over.target}"
        log.warning("%s: %s", over.group, what)
        self.orders.answer(over.why, over.problem)
