"""Clusters that are lent to tests, and given back.

Rules:

1. A simulated cluster is new for each test, and its seed is the test's. A real one is lent again to a test that
   wants the same, after an audit: it is settled, all groups run, no fault lasts, nothing was wrong, and nothing was
   left (:mod:`moslab.scenario.leavings`). Else it is removed.
2. Clusters that nobody has are bounded in nodes, those of all workers and sessions together: who begins a new one
   removes the oldest of its own, and one for which there is no place is not kept. So are those that somebody has: who
   wants one waits for places (:mod:`moslab.scenario.places`).
3. The machines of an inventory are one cluster: who wants another one of them has the idle one removed first, and a
   test never has two.
4. Names have the worker's and a random part, so sessions and workers do not meet. Each of them has an engine of
   namespaces of its own, from the first cluster in it on. Before its first cluster of containers a session removes what
   is left of those whose session and guard both died.
"""

from __future__ import annotations

import os
import re
import uuid
from typing import TYPE_CHECKING

from moslab.errors import CannotError, LabError, NotBegunError, UnsupportedError
from moslab.scenario.places import IDLE_MAX, LENT_MAX, Places
from moslab.scenario.sim import SimWorld
from moslab.scenario.world import DOCKER, HOSTS, NAMESPACES, SIM, Spec, World, log_of

if TYPE_CHECKING:
    import docker

    from moslab.hosts.inventory import Inventory
    from moslab.namespaces.own import OwnEngine

OURS = re.compile(r"t-(?:main|gw\d+)-[0-9a-f]{8}")
"""The names of clusters (rule 4)."""
COUNTED = (DOCKER, NAMESPACES)
TABLES = (": cltab: ", ": hactl: ")                          # of what was left


class Pool:
    """See the rules. ``inventory``: of the world of hosts, where there is one."""

    def __init__(self, inventory: Inventory | None = None) -> None:
        self._inventory = inventory
        self._idle: list[World] = []
        self._lent: list[World] = []
        self._for_idle, self._for_lent = Places("idle", IDLE_MAX), Places("lent", LENT_MAX)
        self._held: dict[World, list[int]] = {}
        self._clients: dict[str, docker.DockerClient] = {}
        self._own: OwnEngine | None = None

    def lend(self, name: str, spec: Spec, seed: int) -> World:
        """A cluster that is settled; CannotError, LabError if none can be had, NotBegunError if it does not come up."""
        held = self._for_lent.take(spec.nodes) if name in COUNTED else []
        try:
            world = self._found(name, spec, seed)
        except BaseException:
            self._for_lent.give(held)
            raise
        self._lent.append(world)
        self._held[world] = held
        return world

    def _found(self, name: str, spec: Spec, seed: int) -> World:
        if name == SIM:
            return _settled(SimWorld(spec, seed))
        for idle in [idle for idle in self._idle if (idle.name, idle.spec) == (name, spec)]:
            self._no_longer_idle(idle)
            try:
                idle.settle()
            except LabError:
                idle.close()
            else:
                return idle
        if name == HOSTS:
            return self._begin_hosts(spec)
        while self._idle and sum(len(idle.nodes) for idle in self._idle) + spec.nodes > IDLE_MAX:
            self._no_longer_idle(self._idle[0]).close()
        return _settled(self._begin(name, spec))

    def give_back(self, world: World, sound: bool) -> list[str]:
        """``sound``: nothing was wrong. What was left all the same (rule 1): nothing where tables are others, by which
        anything else may run."""
        self._lent.remove(world)
        held, left, is_kept = self._held.pop(world), [], False
        try:
            left = world.left() if sound else []
            is_kept = sound and not left and self._try_keep(world)
        except LabError as error:
            left = [str(error)]
        finally:
            try:
                if not is_kept:
                    world.close()
            finally:
                self._for_lent.give(held)
        return [] if any(word in line for line in left for word in TABLES) else left

    def _try_keep(self, world: World) -> bool:
        """It is idle from now on, if there is a place for it (rule 2)."""
        wanted = len(world.nodes) if world.name in COUNTED else 0
        held = self._for_idle.try_take(wanted)
        if world.name == SIM or len(held) < wanted:
            return False
        self._idle.append(world)
        self._held[world] = held
        world.is_judged()
        return True

    def _no_longer_idle(self, world: World) -> World:
        self._idle.remove(world)
        self._for_idle.give(self._held.pop(world))
        return world

    def close(self) -> None:
        """Remove all that nobody has."""
        while self._idle:
            self._no_longer_idle(self._idle[-1]).close()
        for client in self._clients.values():
            client.close()
        if self._own is not None:
            self._own.close()

    def _begin_hosts(self, spec: Spec) -> World:
        """Rule 3."""
        from moslab.scenario.hosts import HostsWorld, can_be

        if self._inventory is None:
            raise CannotError("the world of hosts needs an inventory: --inventory FILE")
        can_be(self._inventory, spec)
        if any(world.name == HOSTS for world in self._lent):
            raise UnsupportedError("make two clusters of one inventory")
        for idle in [idle for idle in self._idle if idle.name == HOSTS]:
            self._no_longer_idle(idle).close()
        return _settled(HostsWorld(self._inventory, spec))

    def _begin(self, name: str, spec: Spec) -> World:
        from moslab.progress import Progress
        from moslab.scenario.docker import DockerWorld

        if name not in self._clients:
            self._clients[name] = self._connect(name)
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        cluster = f"t-{worker}-{uuid.uuid4().hex[:8]}"
        return DockerWorld.begin(self._clients[name], cluster, spec, Progress(), None if name == DOCKER else self._own)

    def _connect(self, name: str) -> docker.DockerClient:
        from moslab import engine
        from moslab.namespaces.own import OwnEngine
        from moslab.removal import sweep_dead

        if name == DOCKER:
            client = engine.connect()
            sweep_dead(client, OURS)
            return client
        self._own = OwnEngine()
        return self._own.client()


def _settled(world: World) -> World:
    """A new one, all of whose groups run; else it is removed."""
    try:
        try:
            world.settle()
        except LabError as error:
            raise NotBegunError(str(error), log_of(world, world.now_s())) from None
    except BaseException:
        world.close()
        raise
    return world
