"""The two tables of this node, cltab and hactl: looked at with the beats, and fetched from who has newer ones.

What is in them, and which version is the newest, is :mod:`mosha.replication`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Callable

from mosha import novelties
from mosha.others import Others
from mosha.ownership.disk_paxos import DiskPaxos
from mosha.platform.world import World
from mosha.replication import Replica
from mosha.tables import cltab, hactl
from mosha.tables.cltab import Cltab
from mosha.tables.hactl import Hactl

log = logging.getLogger(__name__)

FETCH_LIMIT_S = 10.0


class Replicas:
    """Of the node ``me``. ``keep(name, action)`` writes what may fail; ``alive(node)``; ``taken()``: something has come
    that may change what is done."""

    def __init__(
        self, me: int, world: World, directory: Path, others: Others,
        keep: Callable[[str, Callable[[], object]], None], alive: Callable[[int], bool], taken: Callable[[], None],
    ) -> None:
        self._me, self._world, self._others = me, world, others
        self._keep, self._alive, self._taken = keep, alive, taken
        self.cltab: Replica[Cltab] = Replica(
            world.var, "cltab", cltab.parse, Cltab(), directory, cltab.taken_away, self._is_here
        )
        self.hactl: Replica[Hactl] = Replica(
            world.var, "hactl", hactl.parse, {}, directory, hactl.taken_away, self._is_here
        )
        self.both: tuple[Replica[Any], ...] = self.cltab, self.hactl
        self._fetching: set[str] = set()

    @property
    def rests(self) -> bool:
        """Whether nothing was heard of since the latest look, and nothing is on its way."""
        return not (self._fetching or self._others.lately or any(replica.waits for replica in self.both))

    def heard(self, node: int, said: Mapping[str, Any]) -> None:
        """Another node's record."""
        tables = said.get("tables")
        for replica in self.both:
            replica.heard(node, tables.get(replica.name) if isinstance(tables, dict) else None)

    def said(self) -> dict[str, Any]:
        """What this node's record says of them."""
        return {
            "tables": {replica.name: replica.said() for replica in self.both},
            "kept": [*self.cltab.kept, *self.hactl.kept],
        }

    def checksum(self, name: str) -> str:
        """Of the table of that name that is in force here; empty for none."""
        return next(replica.checksum for replica in self.both if replica.name == name)

    def conflicts(self) -> list[str]:
        """The tables that differ between nodes."""
        return [replica.name for replica in self.both if replica.conflict()]

    def novelties(self) -> list[str]:
        """What agents of 2003 do not know of what is in force."""
        return [*novelties.of_cltab(self.cltab.text), *novelties.of_hactl(self.hactl.text)]

    def look(self, now: float, ownership: DiskPaxos) -> None:
        """Once a beat."""
        voters, heard = ownership.voters, self._others.lately | {self._me}
        knows = len(voters & heard) >= ownership.quorum

        def may_number() -> bool:
            """Also after something that took long."""
            return knows and ownership.quorate(self._world.now())

        for replica in self.both:
            self._keep(replica.name, partial(self._look_at, replica, may_number, now))
        self._others.lately.clear()
        if any(replica.waits for replica in self.both):
            for voter in voters & ownership.peers.all.keys() - {self._me}:
                self._others.ask_again(voter)        # some slot may be an old one

    def _is_here(self, node: int) -> bool:
        """Whether what it has of the tables counts."""
        return node in self._others.lately or self._alive(node)

    def _look_at(self, replica: Replica[Any], may_number: Callable[[], bool], now: float) -> None:
        source = replica.wanted_from()
        if source is not None and replica.name not in self._fetching:
            self._fetch(source, replica)
        for line in replica.look(may_number(), now, may_number):
            log.warning("%s", line)

    @staticmethod
    def _take(replica: Replica[Any], node: int, content: bytes) -> None:
        for line in replica.take(node, content.decode("utf-8", "surrogateescape")):
            log.warning("%s", line)

    def _fetch(self, node: int, replica: Replica[Any]) -> None:
        self._fetching.add(replica.name)

        def fetched(content: Any, error: OSError | None) -> None:
            self._fetching.discard(replica.name)
            if error is not None:
                replica.refused(node)
            else:
                self._taken()
                self._keep(replica.name, partial(self._take, replica, node, content))

        self._world.submit(node, "fetch", [replica.good], FETCH_LIMIT_S, fetched)
