"""``python -m moslab.simulator.speed NODES SECONDS``: what one calm cluster costs, as a line of JSON.

Rules:

1. Nothing fails, and one group runs; voters are the seven lowest numbers.
2. All of the run counts: the set-up, the compiler's warm-up, the begin, in which every node reads of every other, and
   the checkers. Loading the modules does not.
3. Bytes are those that the agents have read through the modelled MFS.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from moslab.faults.plan import FaultPlan
from moslab.simulator.pypy import begin_anew, tune
from moslab.simulator.run import run

SEED = 1
CLTAB = "web:web-fit:test:test:run 0.05\nweb:web-run:start:respawn:live\n"


@dataclass(frozen=True)
class Cost:
    """Of one run."""

    nodes: int
    verdict: str
    virtual_s: float
    core_s: float
    read_bytes: int

    @property
    def rate(self) -> float:
        """Virtual seconds in a second of one core."""
        return self.virtual_s / self.core_s

    @property
    def node_ms(self) -> float:
        """Milliseconds of one core for a node and a virtual second."""
        return 1000 * self.core_s / self.nodes / self.virtual_s

    @property
    def node_kib(self) -> float:
        """KiB that a node reads in a virtual second."""
        return self.read_bytes / 1024 / self.nodes / self.virtual_s


def measure(nodes: int, seconds: float) -> Cost:
    """Run it here."""
    result = run(FaultPlan(seed=SEED, nodes=nodes, cltab=CLTAB, hactl="web start\n", safety_s=seconds))
    return Cost(nodes, result.verdict, result.virtual_s, result.core_s, result.read_bytes)


def main(argv: Sequence[str]) -> int:
    """Print the cost of a run."""
    tune()
    print(json.dumps(asdict(measure(int(argv[0]), float(argv[1])))))
    return 0


if __name__ == "__main__":
    begin_anew("moslab.simulator.speed")
    raise SystemExit(main(sys.argv[1:]))
