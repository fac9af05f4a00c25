"""Finding one's place: an agent begins when openMosix knows this node's number, and a map that has it.

It asks until both answers fit, at growing intervals: a node boots with openMosix not configured yet.
"""

from __future__ import annotations

import logging
from typing import Any

from mosha.platform.world import World

log = logging.getLogger(__name__)

ASK_LIMIT_S = 10.0
ASK_AGAIN_S = 0.05               # doubled up to a second
ASK_AGAIN_MAX_S = 1.0
PATIENCE_S = 0.5                 # it is said in the log once when the intervals have grown to this
TASKS = ("whois", "nodes")


class Place:
    """Driven by answers; ``found`` when it is known."""

    def __init__(self, world: World) -> None:
        self.found: tuple[int, frozenset[int]] | None = None
        self._world = world
        self._answers: dict[str, Any] = {}
        self._asking = False
        self._again_s = ASK_AGAIN_S
        self._ask_at = world.now()
        self._reported = False

    def step(self, now: float) -> float:
        """Ask if it is time to; the time of the next step, unless an answer comes before."""
        if self._asking:
            return now + ASK_LIMIT_S
        if now < self._ask_at:
            return self._ask_at
        self._asking, self._answers = True, {}
        for task in TASKS:
            self._ask(task)
        return now + ASK_LIMIT_S

    def _ask(self, task: str) -> None:
        def answered(result: Any, error: OSError | None) -> None:
            self._answers[task] = str(error) if error else result
            if len(self._answers) == len(TASKS):
                self._weigh(*(self._answers[name] for name in TASKS))

        self._world.submit(0, task, [], ASK_LIMIT_S, answered)

    def _weigh(self, me: Any, nodes: Any) -> None:
        self._asking = False
        if isinstance(me, int) and isinstance(nodes, list) and me in nodes:
            self.found = me, frozenset(nodes)
            return
        if not self._reported and self._again_s > PATIENCE_S:
            log.info("openMosix is not configured yet (number %s, map %s)", me, nodes)
            self._reported = True
        self._ask_at = self._world.now() + self._again_s
        self._again_s = min(ASK_AGAIN_MAX_S, 2 * self._again_s)
