"""The switch itself: a node's container is its power.

Rules:

1. "off" is said only after the engine itself showed the container not running. A command that was sent but
   not seen to work is an error.
2. A node is named by its number, and only containers with this cluster's label are touched.
3. Everything ends within ``LIMIT_S``.
4. Off is silent, if the node can be (:mod:`emulator.power`).
5. An outlet may be broken on purpose (:mod:`emulator.powerswitch.outlets`).
"""

from __future__ import annotations

import time
from typing import Any

from emulator import power
from emulator.powerswitch import outlets
from emulator.powerswitch.engine import Engine, EngineError, query, with_labels
from emulator.powerswitch.protocol import Answer, Request

LIMIT_S = 7.0
LOOK_EVERY_S = 0.02


class Switch:
    """The power of one cluster's nodes."""

    def __init__(self, engine: Engine, cluster: str, faults: str = outlets.DIRECTORY) -> None:
        self._engine = engine
        self._cluster = cluster
        self._outlets = faults

    def obey(self, request: Request) -> Answer:
        """Do what is asked, and see that it is done, within ``LIMIT_S``; a failure is an answer too."""
        deadline_s = time.monotonic() + LIMIT_S
        try:
            if request.node is None:
                listed = self._list(deadline_s)
                return Answer(True, listed if request.command == "list" else "ok")
            container = self._container(request.node, deadline_s)
            if request.command == "status":
                return Answer(True, _word(self._runs(container, deadline_s)))
            on = request.command == "on"
            fault = outlets.WORKS if on else outlets.outlet(request.node, self._outlets)
            if fault == outlets.SLOW:
                time.sleep(outlets.LAG_S)
            if fault != outlets.FAILS:
                self._change(container, on, deadline_s)
            if fault in (outlets.FAILS, outlets.LIES):
                return Answer(False, f"outlet {request.node} does not switch")
            return Answer(True, _word(on))  # as seen; another may have switched it again since
        except (EngineError, ValueError, OSError) as error:
            return Answer(False, str(error))

    def _list(self, deadline_s: float) -> str:
        nodes = sorted((int(c["Labels"]["org.mosha.node"]), c["State"]) for c in self._nodes(deadline_s))
        return "\n".join(f"{node} {_word(state in ('running', 'paused'))}" for node, state in nodes)

    def _nodes(self, deadline_s: float, *labels: str) -> list[dict[str, Any]]:
        labels += (f"org.mosha.cluster={self._cluster}", "org.mosha.role=node")
        path = query("/containers/json", all=1, filters=with_labels(*labels))
        return list(self._ask("GET", path, {200}, deadline_s))

    def _container(self, node: int, deadline_s: float) -> str:
        found = self._nodes(deadline_s, f"org.mosha.node={node}")
        if len(found) != 1:
            raise EngineError(f"{len(found) or 'no'} node {node} in cluster {self._cluster}")
        return str(found[0]["Id"])

    def _change(self, container: str, to: bool, deadline_s: float) -> None:
        """Start it or end it, then look until the engine shows that it is so; nothing to do is no error."""
        state = self._state(container, deadline_s)
        if _is_on(state) == to or (not to and not state["Paused"] and self._goes_silent(container, deadline_s)):
            return
        self._ask("POST", f"/containers/{container}/{'start' if to else 'kill'}", {204, 304, 409}, deadline_s)
        while self._runs(container, deadline_s) != to:
            time.sleep(LOOK_EVERY_S)

    def _goes_silent(self, container: str, deadline_s: float) -> bool:
        """Whether it was seen to have ended by itself, in silence."""
        path = query(f"/containers/{container}/kill", signal=power.SIGNAL.name)
        self._ask("POST", path, {204, 304, 409}, deadline_s)
        silent_s = min(time.monotonic() + power.WITHIN_S, deadline_s)
        while runs := self._runs(container, deadline_s):
            if time.monotonic() > silent_s:
                break
            time.sleep(power.LOOK_EVERY_S)
        return not runs

    def _runs(self, container: str, deadline_s: float) -> bool:
        return _is_on(self._state(container, deadline_s))

    def _state(self, container: str, deadline_s: float) -> dict[str, Any]:
        return dict(self._ask("GET", f"/containers/{container}/json", {200}, deadline_s)["State"])

    def _ask(self, method: str, path: str, good: set[int], deadline_s: float) -> Any:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise EngineError(f"not seen within {LIMIT_S:g} s")
        status, answer = self._engine.request(method, path, limit_s=left_s)
        if status not in good:
            reason = answer.get("message", "") if isinstance(answer, dict) else ""
            raise EngineError(f"engine: {method} {path.partition('?')[0]}: {status} {reason}".rstrip())
        return answer


def _is_on(state: dict[str, Any]) -> bool:
    return bool(state["Running"] or state["Restarting"])


def _word(runs: bool) -> str:
    return "on" if runs else "off"
