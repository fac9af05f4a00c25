"""``requires`` of hactl: in what order groups start and stop, across the cluster.

Rules:

1. A group that this node does not own yet is wanted here only while each group that it requires is *up*: its owner
   lives, and says in its record that it has come to its level there, and is not about to give it up.
2. A group that is to stop here is left as it is while one that requires it is to stop as well, and has not: here, or
   anywhere if hactl stops both; for at most ``STOP_LIMIT_S``, and not for one that is in maintenance.
3. Nothing else follows: a group runs on where one that it requires fails, moves or dies. It is not moved meanwhile, as
   by rule 1 it would be started nowhere.
4. Nothing here decides who owns a group. What is seen of others may be late; then a group starts too early or too late,
   and never twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Callable, Protocol

from mosha.status import is_up
from mosha.tables import hactl
from mosha.tables.hactl import STOP, Hactl
from mosha.timing import STOP_LIMIT_S


class Local(Protocol):
    """The groups of this node."""

    maintained: Collection[str]

    def owns(self, name: str) -> bool: ...

    def is_done(self, name: str, level: str) -> bool:
        """Whether the group has come to that level here."""

    def runs_at(self, name: str) -> str | None:
        """The level that it has here, beyond tests; None if nothing of it is to run."""


class Requirements:
    """``owner(group)``: who has it; ``said(node)``: what another node says now, nothing of one
    that is not seen to beat."""

    def __init__(
        self, local: Local, owner: Callable[[str], int | None], said: Callable[[int], Mapping[str, Any]],
    ) -> None:
        self.up: list[str] = []                      # of the groups that others require, those that are up here
        self._local, self._owner, self._said = local, owner, said
        self._levels: Mapping[str, str] = {}
        self._of: Mapping[str, Collection[str]] = {}             # group -> those that it requires
        self._by: Mapping[str, Collection[str]] = {}             # group -> those that require it
        self._waits_since: dict[str, float] = {}                 # groups that rule 2 keeps

    def take(self, table: Hactl) -> None:
        """The table in force is another."""
        self._levels, self._by = hactl.levels(table), hactl.required_by(table)
        self._of = {group: wanted.requires for group, wanted in table.items() if wanted.requires}
        self._waits_since = {group: since for group, since in self._waits_since.items() if group in self._by}

    def order(self, now: float, wanted: Mapping[str, str], gives_up: Callable[[str], bool]) -> Mapping[str, str]:
        """What is left of the levels that are wanted here, and what stays for a while; ``gives_up(group)``: whether
        this node is about to end it."""
        local = self._local
        self.up = sorted(
            group for group in self._by
            if group in wanted and local.is_done(group, wanted[group]) and not gives_up(group)
        )
        waiting = [
            group for group, others in self._of.items()
            if wanted.get(group, STOP) != STOP and not local.owns(group) and self._down(others)
        ]
        staying = {group: level for group in self._by for level in [self._stays(now, group, wanted)] if level}
        if not waiting and not staying:
            return wanted
        return {**{group: level for group, level in wanted.items() if group not in waiting}, **staying}

    def missing(self, group: str) -> str:
        """What it requires and is not up, in words, or nothing: it would be started nowhere."""
        down = self._down(self._of.get(group, ()))
        are = "is" if len(down) == 1 else "are"
        return f"{group} requires {' and '.join(down)}, which {are} not up" if down else ""

    def _down(self, groups: Collection[str]) -> list[str]:
        return [group for group in groups if not self._is_up(group)]

    def _is_up(self, group: str) -> bool:
        owner = self._owner(group)
        return group in self.up or (owner is not None and is_up(self._said(owner), group))

    def _stays(self, now: float, group: str, wanted: Mapping[str, str]) -> str | None:
        """The level at which it is left, by rule 2."""
        level = self._local.runs_at(group)
        is_to_stop = level is not None and wanted.get(group, STOP) == STOP
        if not is_to_stop or not any(self._is_to_end(other, wanted) for other in self._by[group]):
            self._waits_since.pop(group, None)
            return None
        return level if now < self._waits_since.setdefault(group, now) + STOP_LIMIT_S else None

    def _is_to_end(self, group: str, wanted: Mapping[str, str]) -> bool:
        """Whether it is to stop, and has not."""
        if wanted.get(group, STOP) != STOP or group in self._local.maintained:
            return False
        is_stopped_everywhere = self._levels.get(group, STOP) == STOP
        return self._local.owns(group) or (is_stopped_everywhere and self._owner(group) is not None)
