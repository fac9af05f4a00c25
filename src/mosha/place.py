"""Finding one's place: an agent begins when its platform knows this node's number, and a map that has it (R2).

It asks until both answers fit, at growing intervals: a node boots with openMosix not configured yet, and a map may
change. Nor does it begin with configured voters that are not on the map, unless its disk knows of later voters. Until
then it is nobody's: it runs nothing, votes for nothing, and says for what it waits, in the log and on its page.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from mosha import status
from mosha.config import PLATFORMS, Config
from mosha.ownership import marker
from mosha.platform.world import World

log = logging.getLogger(__name__)

ASK_LIMIT_S = 10.0
ASK_AGAIN_S = 0.05               # doubled up to a second
ASK_AGAIN_MAX_S = 1.0
PATIENCE_S = 0.5                 # it is said in the log once when the intervals have grown to this
TASKS = ("whois", "nodes")


class Place:
    """Driven by answers; ``found`` when it is known."""

    def __init__(self, config: Config, world: World) -> None:
        self.found: tuple[int, frozenset[int]] | None = None
        self._config, self._world = config, world
        self._answers: dict[str, Any] = {}
        self._asking = False
        self._again_s = ASK_AGAIN_S
        self._ask_at = world.now()
        self._reported = ""

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
            self._answers[task] = (error.strerror or str(error)) if error else result
            if len(self._answers) == len(TASKS):
                self._weigh(*(self._answers[name] for name in TASKS))

        self._world.submit(0, task, [], ASK_LIMIT_S, answered)

    def _weigh(self, me: Any, nodes: Any) -> None:
        self._asking = False
        why = self._problem(me, nodes)
        if not why:
            self.found = me, frozenset(nodes)
            return
        if self._again_s > PATIENCE_S:
            self._report(why)
        self._ask_at = self._world.now() + self._again_s
        self._again_s = min(ASK_AGAIN_MAX_S, 2 * self._again_s)

    def _problem(self, me: Any, nodes: Any) -> str:
        """What is in the way; empty for nothing."""
        if not isinstance(me, int) or not isinstance(nodes, list) or not me or not nodes:
            return f"{PLATFORMS[self._config.platform]} is not configured yet (number {me}, map {nodes})"
        if me not in nodes:
            return f"node {me} is not on the map {nodes}"
        strangers = sorted(self._config.voters - set(nodes))
        if strangers and not self._knows_voters():
            return f"the configuration names voters {strangers}, which are not on the map {nodes}"
        return ""

    def _knows_voters(self) -> bool:
        """Whether those of the configuration, which are only the first ones, are of no interest any more."""
        found = marker.decode(self._world.var.read(marker.NAME, marker.BYTES_MAX) or b"")
        return found is not None and found.electorate.era != 0

    def _report(self, why: str) -> None:
        if why != self._reported:
            log.warning("nothing runs here: %s", why)
            self._reported = why
        page = json.dumps({"waits": why, "beat": self._config.timing.beat_s})
        stamped = status.stamped(page, self._world.now(), self._world.boot_id())
        try:
            self._world.var.replace(status.TWIN, stamped.encode())
        except OSError as error:
            log.error("%s cannot be written: %s", status.TWIN, error.strerror or error)
