"""``--attach``: tests on a cluster that is up already, as somebody else has begun it.

Rules:

1. It is neither begun nor removed here, whatever comes of a test; it is healed before and after each, as any other.
2. A test that asks for what it has not is skipped by that name. What a test does not say is as it is: the groups are
   those that write a journal.
3. What a test leaves fails it (:mod:`moslab.scenario.leavings`), tables that are others as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mosha import config
from moslab.cluster import Cluster
from moslab.errors import UnsupportedError
from moslab.faults.fabric import read_file
from moslab.layout import checked_name, lease_s
from moslab.namespaces.own import engine_of
from moslab.scenario.docker import DockerWorld
from moslab.scenario.leavings import Leavings

CONF = "/etc/mosha.conf"


class Attached:
    """The cluster of that name; CannotError if it does not run."""

    def __init__(self, name: str) -> None:
        self.cluster = Cluster(engine_of(checked_name(name)), name)
        self.cluster.size()
        self._leavings: Leavings | None = None
        self._is_lent = False

    def lend(self, wanted: Mapping[str, Any]) -> DockerWorld:
        """For one test, which asks for that (rule 2)."""
        if self._is_lent:
            raise UnsupportedError("make two clusters of the one that is attached")
        world = DockerWorld.attach(self.cluster)
        self._check(world, wanted)
        world.settle()
        self._leavings = Leavings(self.cluster)
        self._is_lent = True
        return world

    def left(self) -> list[str]:
        """Rule 3; it may be lent again."""
        self._is_lent = False
        return self._leavings.found() if self._leavings is not None else []

    def close(self) -> None:
        """The connection; the cluster stays."""
        self.cluster.client.close()

    # -- inside ------------------------------------------------------------------------------------

    def _check(self, world: DockerWorld, wanted: Mapping[str, Any]) -> None:
        nodes = self.cluster.nodes()
        conf = config.parse(read_file(nodes[min(nodes)], CONF).decode(), CONF)
        has = {"nodes": len(nodes), "stomith": bool(conf.stomith), "toxiproxy": world.spec.toxiproxy,
               "networks": world.spec.networks}
        for name, value in has.items():
            if wanted.get(name, value) != value:
                raise UnsupportedError(f"have {name}={wanted[name]}: the cluster that is attached has {value}")
        given = [name for name in ("cltab", "hactl") if name in wanted]
        if given:
            raise UnsupportedError(f"give the cluster that is attached another {given[0]}")
        profile = wanted.get("profile")
        if profile and lease_s(len(nodes), profile) != conf.timing.lease_s:
            raise UnsupportedError(f"have profile={profile}: the cluster that is attached has another lease")
