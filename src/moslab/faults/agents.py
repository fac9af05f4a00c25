"""Faults of real processes, and operators at real agents: the same in containers and on machines.

Rule: a signal to a role that no process has is a LabError, and no fault.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from mosha.orders import DRAIN, MOVE, UNDRAIN
from moslab.errors import LabError
from moslab.faults.record import DRAINED, STOP, Record
from moslab.wait import eventually

AGENT_LIMIT_S = 30.0
STOPPED = "stopped"
"""The role of all that stand still."""


class Agents:
    """What :class:`moslab.faults.record.Breaker` has of them, by what a world does on a node."""

    record: Record

    def pids(self, node: int, role: str) -> list[int]:
        """The processes of a role (:mod:`moslab.faults.inside`); none if there are none."""
        raise NotImplementedError

    def _inside(self, node: int, role: str, signo: int) -> list[int]:
        """Send them that; LabError if there are none."""
        raise NotImplementedError

    def _mosha(self, node: int, words: Sequence[str]) -> tuple[int, str, str]:
        """Exit code, output and complaint of that command of the agent's."""
        raise NotImplementedError

    def signal(self, node: int, role: str, signo: int) -> list[int]:
        """Send a signal to a role of a node; their pids. LabError if none."""
        name = signal.Signals(signo).name
        if signo == signal.SIGSTOP:
            with self.record.lasts(STOP, node, role):
                return self._inside(node, role, signo)
        if signo == signal.SIGCONT:
            pids = self._inside(node, role, signo)
            self.record.ends(STOP, node, role)
            return pids
        with self.record.instant(name, node, role):
            return self._inside(node, role, signo)

    def restart_agent(self, node: int) -> None:
        """End the agent in order; return when the next one has begun."""
        before = self.signal(node, "agent", signal.SIGTERM)
        eventually(lambda: self.pids(node, "agent"), lambda pids: bool(pids) and not set(pids) & set(before),
                   within_s=AGENT_LIMIT_S, what=f"a new agent on node {node}", every_s=0.05)

    def order(self, node: int, do: str, group: str, target: int) -> None:
        words = [MOVE, group, str(target)] if do == MOVE else [DRAIN, str(target), *(["--off"] if do != DRAIN else [])]
        begin_s = self.record.now_s()
        if do == DRAIN:
            self.record.begins(DRAINED, target, "", begin_s)     # also if the command fails: it may be under way
        code, _, said = self._mosha(node, words)
        if code:
            raise LabError(f"mosha {' '.join(words)} on node {node}: {said.strip()}")
        if do == MOVE:
            self.record.happened(MOVE, node, f"{group} to {target}", begin_s)
        elif do == UNDRAIN:
            self.record.ends(DRAINED, target)

    def status(self, node: int) -> dict[str, Any]:
        """What its agent says of all; nothing if it does not answer."""
        try:
            code, page, _ = self._mosha(node, ["status", "--json"])
        except LabError:                                     # it was shot just now
            return {}
        return dict(json.loads(page)) if code == 0 else {}

    def undrain(self, pages: Mapping[int, dict[str, Any]]) -> list[int]:
        """Undrain all nodes, whoever drained them; which these were. Agents have to run, and each knows of itself best
        (``pages``, by node, as :meth:`status`; of one that gave none others know)."""
        ours = {node for _, node, _ in self.record.lasting(DRAINED)}
        drained = [
            node for node, page in pages.items()
            if node in ours or any(one["id"] == node and one.get("drained")
                                   for view in ([page] if page else pages.values()) for one in view.get("nodes", []))
        ]
        for node in drained:
            self.order(node, UNDRAIN, "", node)
        return drained


def states_of(page: Mapping[str, Any]) -> list[str]:
    """How all nodes are, by what an agent says of all."""
    return [node["state"] for node in page.get("nodes", [{"state": "no agent"}])]
