"""Clusters that are lent to tests, and given back.

Rules:

1. A simulated cluster is new for each test, and its seed is the test's. One of containers is lent again to a test that
   wants the same, after an audit: it is settled, all groups run, no fault lasts, and nothing was wrong. Else it is
   removed.
2. Clusters that nobody has are bounded in nodes: who begins a new one removes the oldest of these.
3. Names have the worker's and a random part, so sessions and workers do not meet.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from moslab.errors import LabError
from moslab.scenario.sim import SimWorld
from moslab.scenario.world import SIM, Spec, World

if TYPE_CHECKING:
    import docker

IDLE_NODES_MAX = 10


class Pool:
    """See the rules."""

    def __init__(self) -> None:
        self._idle: list[World] = []
        self._client: docker.DockerClient | None = None

    def lend(self, name: str, spec: Spec, seed: int) -> World:
        """A cluster that is settled; CannotError, LabError if none can be had."""
        if name == SIM:
            world: World = SimWorld(spec, seed)
            world.settle()
            return world
        for idle in [idle for idle in self._idle if idle.spec == spec]:
            self._idle.remove(idle)
            try:
                idle.settle()
            except LabError:
                idle.close()
            else:
                return idle
        while self._idle and sum(len(idle.nodes) for idle in self._idle) + spec.nodes > IDLE_NODES_MAX:
            self._idle.pop(0).close()
        return self._begin(spec)

    def give_back(self, world: World, sound: bool) -> None:
        """``sound``: its audit found nothing (rule 1)."""
        if sound and world.name != SIM:
            self._idle.append(world)
        else:
            world.close()

    def close(self) -> None:
        """Remove all that nobody has."""
        while self._idle:
            self._idle.pop().close()
        if self._client is not None:
            self._client.close()

    def _begin(self, spec: Spec) -> World:
        from moslab import engine
        from moslab.progress import Progress
        from moslab.scenario.docker import DockerWorld

        if self._client is None:
            self._client = engine.connect()
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        return DockerWorld.begin(self._client, f"t-{worker}-{uuid.uuid4().hex[:8]}", spec, Progress())
