"""Nodes that run OpenMosix::HA of 2003: what they have, by their clstat, and what this node leaves alone for that.

Rules:

1. A node that no agent of today was ever seen on is asked for its directory. One that has a clstat there, and none of
   ``OURS``, is an *elder*. What cannot be read says nothing: nobody becomes an elder by that, and an elder keeps what
   it had. Nothing is begun here before each such node has answered once, or openMosix finds it down, or it was asked
   ``MISSES_MAX`` times. On which nodes one of today was seen is kept in the file ``agents``: a next life asks
   nobody about these, and waits for none.
2. What an elder has (a group at any level, but one that is configured only, or has come to ``stop``) is not begun here
   while openMosix finds its node up. A clstat that stands still counts, as it did in 2003.
3. An elder that sees its group elsewhere, at whatever level, stops it. So what this node wins stays at ``plan``, which
   its clstat shows, for ``PLAN_S`` and until each elder that is up was read after that and does not have it. What this
   node runs already it does not stop; what an elder has beyond ``plan`` and ``test`` it leaves to that one.
4. While there is an elder the quorum of 2003 counts as well: with fewer than ``SHARE`` of the nodes up that were up
   before, nothing runs here. Each number that has quorum is the one that counts next.
5. An elder is one until an agent of today is seen on its node, or it is on the map no more.

Nothing here weakens who owns what among agents of today; with elders nobody promises more than in 2003 did.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Set
from contextlib import suppress
from functools import partial
from typing import Any, Callable

from mosha.monitor import PLAN, STOP, TEST
from mosha.ownership import marker
from mosha.platform import record
from mosha.platform.world import PROBES, Store, World
from mosha.status import TWIN
from mosha.tables import clstat
from mosha.tables.clstat import CONFIGURED, DONE, GroupStat
from mosha.tables.errors import TableErrors
from mosha.tables.lines import is_node
from mosha.timing import FAILED_PROBES

log = logging.getLogger(__name__)

OURS = (marker.NAME, record.NAME, TWIN)
CLSTAT = "clstat"
AGENTS = "agents"                # nodes on which an agent of today was seen, by any life on this disk
AGENTS_BYTES_MAX = 64 * 1024
AGE = "2003"                     # the state of an elder's node, for people
LOOK_S = 1.0                     # between two looks at an elder
LOOK_OUT_S = 5.0                 # and at a node that has no agent: one of 2003 runs nothing so soon after its start
LOOK_LIMIT_S = 2.0
MISSES_MAX = 3
PLAN_S = 7.0                     # of 2003: at least 5 s between two looks; and what it takes for clstat to be written
SHARE = 0.6


class _Seen:
    """What is known of one node on which no agent of today was seen."""

    __slots__ = ("differs", "downs", "due", "groups", "has_answered", "is_asked", "is_elder", "misses", "read_at")

    def __init__(self, due: float) -> None:
        self.due = due
        self.is_asked = self.is_elder = self.has_answered = False
        self.downs = self.misses = 0                 # in a row
        self.read_at = float("-inf")                 # when the latest look began that could be read
        self.groups: dict[str, GroupStat] = {}
        self.differs: list[str] = []                 # tables that are not those in force here

    @property
    def is_up(self) -> bool:
        return self.downs < FAILED_PROBES

    @property
    def is_settled(self) -> bool:
        return self.has_answered or not self.is_up or self.misses >= MISSES_MAX


class Elders:
    """As node ``me`` sees them. ``known()``: the nodes on which an agent of today was seen; ``alive(node)``: it lives;
    ``in_force(table)``: the checksum of what is in force here."""

    def __init__(
        self, me: int, world: World, known: Callable[[], Set[int]], alive: Callable[[int], bool],
        in_force: Callable[[str], str],
    ) -> None:
        self.news = 0                                # counts what people may want to see
        self.lost: tuple[int, int] | None = None     # no quorum by rule 4: nodes up, and how many there were
        self._me, self._world = me, world
        self._found, self._alive, self._in_force = known, alive, in_force
        self._nodes: frozenset[int] = frozenset()
        self._kept = _agents(world.var.read(AGENTS, AGENTS_BYTES_MAX) or b"")
        self._seen: dict[int, _Seen] = {}
        self._unsettled: set[int] = set()
        self._since: dict[str, float] = {}           # group -> since when it is at plan here, or beyond
        self._count = 0                              # of the nodes that were up when there was quorum

    @property
    def present(self) -> bool:
        """Whether there is one on the map."""
        return any(seen.is_elder for seen in self._seen.values())

    @property
    def rests(self) -> bool:
        """Whether there is none, and none may be found."""
        return not self.present and not self._unsettled

    def groups(self) -> dict[int, dict[str, GroupStat]]:
        """What each elder that is up has."""
        return {node: seen.groups for node, seen in sorted(self._seen.items()) if seen.is_elder and seen.is_up}

    def beat(self, now: float, nodes: frozenset[int]) -> None:
        """Look at those whose turn it is; ``nodes`` is the map."""
        self._unsettled = (self._unsettled & nodes) | (nodes - self._nodes - {self._me})
        self._nodes = nodes
        known = self._known()
        self._keep(known & nodes)
        strangers = nodes - ({node for node in known if self._alive(node)} if self.present else known) - {self._me}
        for node in sorted(self._seen.keys() - strangers):
            self._forget(node)
        for node in sorted(strangers):
            seen = self._seen.setdefault(node, _Seen(now))
            if not seen.is_asked and now >= seen.due:
                self._probe(node, seen)
        self._count_up()

    def allow(
        self, wanted: Mapping[str, str], held: Callable[[str], bool], runs: Callable[[str], bool]
    ) -> Mapping[str, str]:
        """What is left of the levels that are wanted here; ``held(group)``: this node owns it, ``runs(group)``: and
        has it beyond tests."""
        if self._unsettled:
            unknown = self._unsettled - self._known()
            self._unsettled = {node for node in unknown if node not in self._seen or not self._seen[node].is_settled}
        if self._unsettled:
            return {group: level for group, level in wanted.items() if held(group)}
        if self.lost is not None:
            return {}
        had = self.groups().values()
        if not any(had):
            return wanted
        return {
            group: level for group, level in wanted.items()
            if runs(group) or all(self._is_left(one[group], held(group)) for one in had if group in one)
        }

    def planned(self, now: float, held: Iterable[str]) -> Collection[str]:
        """Those of the groups that this node owns that are not to go beyond ``plan`` yet."""
        self._since = {group: self._since.get(group, now) for group in held}
        up = [seen for seen in self._seen.values() if seen.is_elder and seen.is_up]
        return frozenset(
            group for group, since in self._since.items()
            if now < since + PLAN_S or any(seen.read_at < since + PLAN_S or group in seen.groups for seen in up)
        )

    def show(self, page: dict[str, Any], unknown: Callable[[], list[str]]) -> None:
        """Put them on the page for people; ``unknown()``: what they do not know of what is in force here."""
        if not self.present:
            return
        for node in page["nodes"]:
            seen = self._seen.get(node["id"])
            if seen is not None and seen.is_elder:
                node["state"] = AGE if seen.is_up else "down"
        for group in page["groups"]:
            for node_id, groups in self.groups().items():
                if group["owner"] is None and group["name"] in groups:
                    _, level, state = groups[group["name"]]
                    group.update(owner=node_id, level=level, state=state, elder=True)
        elders = {node: seen for node, seen in sorted(self._seen.items()) if seen.is_elder}
        page["elders"] = [{"id": node, "up": seen.is_up, "differs": seen.differs} for node, seen in elders.items()]
        page["elders_lost"] = list(self.lost) if self.lost else None
        page["elders_unknown"] = unknown()

    # ---- inside -----------------------------------------------------------------------------------------------

    def _known(self) -> Set[int]:
        return self._kept | self._found()

    def _keep(self, known: Set[int]) -> None:
        if known != self._kept:
            self._kept = frozenset(known)
            with suppress(OSError):                  # then the next life asks
                self._world.var.replace(AGENTS, f"{' '.join(map(str, sorted(known)))}\n".encode())

    @staticmethod
    def _is_left(stat: GroupStat, held: bool) -> bool:
        """Whether an elder that has it so leaves it to this node."""
        return held and stat.level in (PLAN, TEST)

    def _forget(self, node: int) -> None:
        seen = self._seen.pop(node, None)
        if seen is not None and seen.is_elder:
            log.warning("node %d does not run the agent of 2003 any more", node)
            self.news += 1

    def _probe(self, node: int, seen: _Seen) -> None:
        seen.is_asked = True
        self._world.submit(PROBES, "probe", [node], LOOK_LIMIT_S, partial(self._probed, node, seen))

    def _probed(self, node: int, seen: _Seen, up: Any, error: OSError | None) -> None:
        was_up = seen.is_up
        seen.downs = 0 if error is None and up else seen.downs + 1
        if seen.is_elder and seen.is_up != was_up:
            log.warning("node %d, of 2003, is %s", node, "up" if seen.is_up else "down")
            self.news += 1
        if seen.downs and seen.is_up and not seen.is_elder:
            self._probe(node, seen)                  # one answer means nothing, and a group may wait for this
        elif seen.downs or node in self._known():
            self._answered(seen)
        else:
            looked_at = partial(self._looked_at, node, seen, self._world.now())
            self._world.submit(node, "elder", [list(OURS)], LOOK_LIMIT_S, looked_at)

    def _looked_at(self, node: int, seen: _Seen, began: float, found: Any, error: OSError | None) -> None:
        self._answered(seen)
        if error is not None:
            seen.misses += 1
            return
        text, *checksums = found
        try:
            stats = clstat.parse(text.decode("utf-8", "replace"), f"clstat of node {node}") if text is not None else []
        except TableErrors as errors:
            seen.misses += 1
            if seen.misses == MISSES_MAX:
                log.warning("%s", errors.errors[0])
            return
        before = seen.is_elder, seen.groups, seen.differs
        seen.has_answered, seen.misses, seen.read_at = True, 0, began
        if text is not None and not seen.is_elder:
            log.warning("node %d runs OpenMosix::HA of 2003: only what that promises is promised meanwhile", node)
            seen.is_elder = True
        seen.groups = {stat.name: stat for stat in stats if not _is_idle(stat)}
        tables = zip(("cltab", "hactl"), checksums)
        seen.differs = [name for name, checksum in tables if checksum and self._in_force(name) not in ("", checksum)]
        self.news += before != (seen.is_elder, seen.groups, seen.differs)

    def _answered(self, seen: _Seen) -> None:
        is_soon = seen.is_elder or not seen.is_settled or self.present
        seen.is_asked, seen.due = False, self._world.now() + (LOOK_S if is_soon else LOOK_OUT_S)

    def _count_up(self) -> None:
        """Rule 4."""
        if not self.present:
            self._count, self.lost = 0, None
            return
        up = 1 + sum(
            1 for node in self._nodes - {self._me}
            if self._alive(node) or (node in self._seen and self._seen[node].is_up)
        )
        if up >= SHARE * self._count:
            lost, self._count = None, up
        else:
            lost = up, self._count
        if (lost is None) != (self.lost is None):
            log.warning("of %d nodes %d are up: %squorum as 2003 counts it", self._count, up, "no " if lost else "")
            self.news += 1
        self.lost = lost


def _is_idle(stat: GroupStat) -> bool:
    return stat.state == CONFIGURED or (stat.level, stat.state) == (STOP, DONE)


def _agents(text: bytes) -> frozenset[int]:
    """What was kept; nobody where it is not whole."""
    words = text.decode("ascii", "replace").split() if text.endswith(b"\n") else []
    return frozenset(map(int, words)) if all(map(is_node, words)) else frozenset()


def are_here(store: Store) -> bool:
    """Whether this node's own directory is that of an agent of 2003 which runs, or was killed. Raises OSError."""
    names = store.list()
    return CLSTAT in names and not any(name in names for name in OURS)
