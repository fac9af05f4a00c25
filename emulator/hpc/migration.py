"""Where processes are, and how they move: the one place that knows.

Nothing moves yet: every process is at home, and no node has guests. What a request answers is what the genuine system
answers wherever the process does not move; EOPNOTSUPP is said where it would have moved.
"""

from __future__ import annotations

import errno
from typing import Callable

from emulator.hpc.state import TOGGLES
from emulator.membership import Membership
from emulator.probe import Prober, Report

HOME, BALANCE = 0, -1
"""What is written to ``goto`` instead of a node: go home; let the balancer choose."""


class Migration:
    """Takes the requests of ``<pid>/goto`` and ``<pid>/migrate``."""

    def __init__(self, membership: Membership, prober: Prober) -> None:
        self._membership = membership
        self._prober = prober

    def move(self, node: int, then: Callable[[int], None]) -> None:
        """Call ``then(0)`` when a process that is asked to move to ``node`` is there, or ``then(errno)``.

        ENXIO for one that is not in the map, ENETUNREACH for one that is dead or takes no guests.
        """
        if node in (BALANCE, HOME, self._membership.mospe):
            then(0)
        elif node not in self._membership.table:
            then(errno.ENXIO)
        else:

            def answered(report: Report | None) -> None:
                open_to_guests = report is not None and not report.status & TOGGLES["block"]
                then(errno.EOPNOTSUPP if open_to_guests else errno.ENETUNREACH)

            self._prober.probe(node, answered)
