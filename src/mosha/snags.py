"""Groups that cannot be ended, here and elsewhere, and whose node is to be shot for one (R24).

Rules:

1. A node is to be shot for a group only when it has been *stuck* with it for so long as the configuration says, and
   only if another living node may have the group, and is not stuck itself: else a shot frees nothing that runs again.
2. Nobody is shot for a group with which two nodes were stuck, the second within ``FORGET_S`` after the first: what it
   waits for is not of one node, and the next one would be shot as well. What was seen of a group is forgotten at once,
   ``FORGET_S`` after the last of it.
3. Nor is anybody while the nodes that were stuck with something, whatever it is, are more than one, and most of the
   nodes or of the voters: what holds up so many is not of one node either, and the quorum is not to go for it.
4. Each node says what it has seen itself, and counts what others say: so who was shot, and is back, knows of it too.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Callable

from mosha.timing import FORGET_S, STUCK_S

log = logging.getLogger(__name__)

NODES_MAX = 2                    # that are said of a group: one more than may be shot for it
GROUPS_MAX = 16                  # of which that is said: a record has a bound

Record = Mapping[str, Any]


class Snags:
    """As the node ``me`` sees them; times in seconds."""

    def __init__(
        self, me: int, stuck_s: float, has_heir: Callable[[int, str], bool],
        are_most: Callable[[Collection[int]], bool],
    ) -> None:
        """``stuck_s``: after SIGKILL, 0 for never. ``has_heir(node, group)``: whether another node than that one may
        have the group. ``are_most(nodes)``: whether they are most of the nodes, or of the voters."""
        self._me, self._stuck_s, self._has_heir, self._are_most = me, stuck_s, has_heir, are_most
        self._since: dict[tuple[int, str], float] = {}           # who is stuck with what, since it was heard
        self._seen: dict[str, dict[int, float]] = {}             # group -> who was, and when last
        self._told: dict[str, set[int]] = {}                     # what others have seen of it
        self._spared: dict[str, str] = {}                        # group -> why by rule 2 or 3, as the log has it

    def step(self, now: float, own: Collection[str], others: Mapping[int, Record]) -> None:
        """``own``: with what this node is stuck; ``others``: the records of nodes that beat."""
        if not (own or others or self._since or self._seen or self._told):
            return                                   # nothing was, nor is
        stuck = {(self._me, group) for group in own}
        stuck.update((node, group) for node, said in others.items() for group in said.get("stuck", ()))
        self._since = {one: self._since.get(one, now) for one in stuck}
        for node, group in stuck:
            self._seen.setdefault(group, {})[node] = now
        self._seen = {
            group: nodes for group, nodes in self._seen.items() if now < max(nodes.values()) + FORGET_S
        }
        self._told = {}
        for said in others.values():
            for group, nodes in said.get("stuck_on", {}).items():
                self._told.setdefault(group, set()).update(nodes)
        self._say({group: why for group in (*self._seen, *self._told) if (why := self._shared(group))})

    def said(self) -> dict[str, list[int]]:
        """What this node has seen itself: of each group nodes that were stuck with it."""
        return {group: sorted(self._seen[group])[:NODES_MAX] for group in sorted(self._seen)[:GROUPS_MAX]}

    def due(self, now: float, node: int, groups: Iterable[str]) -> list[str]:
        """Those of the groups for which that node is to be shot now."""
        wait_s = self._stuck_s - STUCK_S
        since = self._since
        ripe = [group for group in groups if (node, group) in since and now >= since[node, group] + wait_s]
        return [group for group in ripe if not self.spared(node, group)]

    def spared(self, node: int, group: str) -> str:
        """Why nobody shoots that node for the group, in words; nothing if somebody will in time."""
        if not self._stuck_s:
            return "the configuration has `stuck = 0`"
        shared = self._shared(group)
        if shared:
            return f"what it waits for holds up other nodes too ({shared})"
        return "" if self._has_heir(node, group) else "no other node may have it now"

    def _shared(self, group: str) -> str:
        """What shows that it is not of one node: rules 2 and 3."""
        nodes = self._nodes(group)
        if len(nodes) > 1:
            return f"nodes {_listed(nodes)} were stuck with it"
        every = set().union(*map(self._nodes, (*self._seen, *self._told)))
        return f"nodes {_listed(every)} were stuck with something" if len(every) > 1 and self._are_most(every) else ""

    def _nodes(self, group: str) -> set[int]:
        return {*self._seen.get(group, ()), *self._told.get(group, ())}

    def _say(self, spared: dict[str, str]) -> None:
        for group in sorted(spared.keys() - self._spared.keys()):
            log.error("%s: %s, nobody is shot for it", group, spared[group])
        self._spared = spared


def _listed(nodes: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(nodes)))
