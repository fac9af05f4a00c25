"""The power switch: STOMITH that works, fails, lies about its failure, is slow, or cannot be reached.

The answer of a slow one is never early; it may come when the node is back, or after the limit. One that *spares* says
off and does nothing: with it nothing is promised (assumption A4), so it is never drawn; directed plans have it, to see
what ends then.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Callable

from moslab.faults.plan import SHOTS
from moslab.simulator.disk import error

if TYPE_CHECKING:
    from moslab.simulator.cluster import Cluster
    from moslab.simulator.tasks import Job

WORKS, FAILS, LIES, SLOW, CUT, SPARES = SHOTS
MODES = (WORKS, FAILS, LIES, SLOW, CUT)


class Power:
    """``modes``: how a shot of that shooter ends, ``outlets``: one at that node; it works if nothing is said."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._kernel = cluster.kernel
        self._draw = cluster.stream("power")
        self.modes: dict[int, str] = {}
        self.outlets: dict[int, str] = {}

    def shoot(self, job: Job, finish: Callable[[Any], None], watch: Callable[[Job], None]) -> None:
        """Cut the power of the job's target."""
        settings = self._cluster.plan.power
        mode = self.modes.get(job.world.node.number) or self.outlets.get(job.target.number, WORKS)
        self._cluster.count(f"STOMITH {mode}")
        self._cluster.trace(job.world.node.number, f"STOMITH {job.target.number} {mode}")
        if mode == CUT:
            watch(job)
            return
        after_s = self._draw.uniform(settings["shot_min_s"], settings["shot_max_s"])
        if mode == SLOW:
            after_s += job.limit_s * settings["slow"] * self._draw.uniform(0.2, 1.0)
        at = self._kernel.now + after_s
        if mode not in (FAILS, SPARES):
            off_s = after_s * self._draw.random() if mode == SLOW else after_s
            self._kernel.at(self._kernel.now + off_s, self._off, job.target.number)
        if mode != SLOW:
            failed = error(errno.EIO) if mode in (FAILS, LIES) else None
            self._kernel.at(at, finish, (job, None if failed else "off", failed))
        else:
            self._kernel.at(at, finish, (job, "off", None))
            watch(job)

    def _off(self, number: int) -> None:
        node = self._cluster.nodes[number]
        self._cluster.history.shot(self._kernel.now, number)
        node.power_off()
        on_after_s = self._cluster.plan.power["on_after_s"]
        if on_after_s:
            self._kernel.at(self._kernel.now + self._draw.uniform(0.2, 1.0) * on_after_s, node.power_on)
