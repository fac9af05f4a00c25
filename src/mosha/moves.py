"""The groups that this node moves to another one, because an operator or ``failback`` wants it.

A move is nothing but this: the owner says in its record where the group is to go; that node tests ahead (R26) and says
in its record that it is *ready*; then the owner stops the group, and names that node as its heir (R12). Rules:

1. A group is not stopped before the target is ready, nor while one that it requires is not up, as it would not be
   started again. While that does not come, or if the target fails, is drained or does not live, the group runs on where
   it is; after ``MOVE_LIMIT_S`` the move is over. A group that can be tested by its owner alone is stopped when the
   target had the time to hear of it.
2. It is done when this node does not hold the group any more. Who has it then is decided as ever: a target that dies in
   that instant is one that did not contend.
3. A target that ``failback`` asked for in vain is left alone for ``PAUSE_MAX_S``.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

from mosha.timing import MOVE_LIMIT_S, PAUSE_MAX_S

FAILBACK = "failback"


class _Move:
    stops = False

    def __init__(self, target: int, why: str, since: float) -> None:
        self.target, self.why, self.since = target, why, since


class Over(NamedTuple):
    """A move has ended; ``problem``: why it was none, or nothing."""

    group: str
    target: int
    why: str
    problem: str


class Moves:
    """``announce_s``: in this time every node has heard what a record says."""

    def __init__(self, announce_s: float) -> None:
        self._announce_s = announce_s
        self._all: dict[str, _Move] = {}
        self._not_before: dict[str, float] = {}      # group -> when failback may try again

    def begin(self, now: float, group: str, target: int, why: str) -> str:
        """Why not, or nothing. ``why`` is who wants it, and comes back when it is over."""
        before = self._all.get(group)
        if before is None:
            self._all[group] = _Move(target, why, now)
            return ""
        return f"it is on its way to node {before.target}"

    def may_fail_back(self, now: float, group: str) -> bool:
        return group not in self._all and now >= self._not_before.get(group, now)

    def targets(self) -> dict[str, int]:
        """Where each group is to go: what this node's record says."""
        return {group: move.target for group, move in sorted(self._all.items())}

    def target(self, group: str) -> int | None:
        move = self._all.get(group)
        return None if move is None else move.target

    def stopping(self) -> list[str]:
        """The groups that are to be stopped here now."""
        return [group for group, move in self._all.items() if move.stops]

    def abandon(self, now: float, problem: str) -> list[Over]:
        """All of them."""
        return [self._end(now, group, problem) for group in sorted(self._all)]

    def step(
        self, now: float, held: Callable[[str], bool], unfit: Callable[[int, str], str], missing: Callable[[str], str],
        is_ready: Callable[[int, str], bool], tests_ahead: Callable[[str], bool],
    ) -> list[Over]:
        """Go on; what is over. ``unfit(node, group)``: why the node cannot have it, ``missing(group)``: why nobody can
        now, or nothing."""
        over = []
        for group, move in sorted(self._all.items()):
            if not held(group):
                over.append(self._end(now, group, ""))
            elif not move.stops:
                problem, lacks = unfit(move.target, group), missing(group)
                if not problem and now >= move.since + MOVE_LIMIT_S:
                    problem = lacks or f"node {move.target} was not ready within {MOVE_LIMIT_S:g} s"
                if problem:
                    over.append(self._end(now, group, problem))
                elif lacks:
                    continue
                elif tests_ahead(group):
                    move.stops = is_ready(move.target, group)
                else:
                    move.stops = now >= move.since + self._announce_s
        return over

    def _end(self, now: float, group: str, problem: str) -> Over:
        move = self._all.pop(group)
        if move.why == FAILBACK and problem:
            self._not_before[group] = now + PAUSE_MAX_S
        return Over(group, move.target, move.why, problem)
