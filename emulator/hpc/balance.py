"""Where a new process is best off that may go anywhere: the balancer, for the one moment when a process can move.

Rules:

1. Nothing leaves a node that stays (``stay``, ``lstay``), or is quiet; nothing goes to a node that is blocked.
2. At most ``ASKED_MAX`` other nodes are asked, drawn at random, as the genuine kernel knows the load of so many.
3. A node costs its running processes, the new one counted, per speed of its processors. What was sent there in the last
   ``RECENT_S``, and can be in no answer yet, counts as running. Another node must cost less than this one.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Callable

from emulator.hpc.state import TOGGLES, State
from emulator.membership import Membership
from emulator.probe import Prober, Report
from emulator.reactor import Reactor

ASKED_MAX = 7
RECENT_S = 2.0
ONE = 100
"""The load of one process."""
_STAYS = ("stay", "lstay", "quiet")


class Balance:
    """Chooses for this node."""

    def __init__(self, reactor: Reactor, membership: Membership, prober: Prober, state: State) -> None:
        self._reactor = reactor
        self._membership = membership
        self._prober = prober
        self._state = state
        self._sent: deque[tuple[float, int]] = deque()

    def choose(self, then: Callable[[int], None]) -> None:
        """Call ``then(node)``, this node's own number if the process is best off here; always, and once."""
        here = self._membership.mospe
        others = [node for node in self._membership.seen if node != here]
        if not others or self._state.toggles.intersection(_STAYS):
            then(here)
            return
        waiting = set(random.sample(others, min(len(others), ASKED_MAX)))
        found: list[tuple[float, int]] = []

        def answered(node: int, report: Report | None) -> None:
            waiting.discard(node)
            if report is not None and not report.status & TOGGLES["block"]:
                found.append((cost(report, self._recent(node)), node))
            if not waiting:
                then(self._best(found))

        for node in list(waiting):
            self._prober.probe(node, lambda report, node=node: answered(node, report))  # type: ignore[misc]

    def _best(self, found: list[tuple[float, int]]) -> int:
        here = self._membership.mospe
        least, node = min(found, default=(0.0, here))
        if node == here or least >= cost(self._state.fresh(), 0):
            return here
        self._sent.append((self._reactor.now(), node))
        return node

    def _recent(self, node: int) -> int:
        while self._sent and self._sent[0][0] < self._reactor.now() - RECENT_S:
            self._sent.popleft()
        return sum(other == node for _, other in self._sent)


def cost(report: Report, more: int) -> float:
    """What one process more costs on a node to which ``more`` were sent that it does not count yet."""
    return (report.load + ONE * (1 + more)) / max(1, report.speed * report.cpus)
