"""A world: where a scenario's cluster lives. One form, and an implementation of it for each (adr/0031).

Rules:

1. A world observes processes, not what agents say of them: a group *runs* where a process of it executes that is more
   than a test of fitness, whoever is cut off.
2. It is a clock. Whoever waits, waits by it, so that a wait takes no time where time is simulated.
3. What it never can is an UnsupportedError that names it: the test is skipped, and counted. What does not work this
   time is a LabError.
4. :meth:`World.settle` ends all faults, whoever began them, and returns when all nodes are up and all groups run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from moslab.errors import LabError
from moslab.faults.plan import FaultPlan
from moslab.faults.record import Breaker
from moslab.history.intervals import Interval
from moslab.history.record import History, Line, Operation
from moslab.wait import Clock

NODES = 5
DOCKER, NAMESPACES, HOSTS, SIM = "docker", "namespaces", "hosts", "sim"
WEB = "web:web-fit:test:test:test -d /\nweb:web-run:start:respawn:sleep infinity\n"


@dataclass(frozen=True)
class Spec:
    """The cluster that a test asks for. Without ``hactl`` all groups of the cltab shall run at ``start``; in containers
    MFS can go through Toxiproxy, and all nodes can be in two networks."""

    nodes: int = NODES
    stomith: bool = True
    cltab: str = WEB
    hactl: str = ""
    profile: str = "default"
    toxiproxy: bool = False
    networks: int = 1


class Output(NamedTuple):
    """What a command on a node did."""

    exit_code: int
    stdout: str
    stderr: str


class Workload(Protocol):
    """Clients at work."""

    registers: tuple[str, ...]

    def operations(self) -> list[Operation]:
        """What they did by now, by the clock of the history; LabError if that is not known."""

    def end(self) -> None:
        """It is over, after each register was read once more if that can be. It may have ended before."""


class World(Clock, Protocol):
    """See the rules. All times are seconds of its clock, but those of its history, which may be of another."""

    name: str
    spec: Spec
    groups: tuple[str, ...]

    @property
    def nodes(self) -> tuple[int, ...]:
        """Their numbers; also of those that are off."""

    @property
    def faults(self) -> Breaker:
        """What breaks it."""

    def running(self, group: str) -> Sequence[Interval]:
        """The processes by which a group runs now (rule 1)."""

    def off(self) -> list[int]:
        """The nodes without power: killed, or shot."""

    def settle(self) -> None:
        """Rule 4; LabError with the state that was seen last."""

    def history(self) -> History:
        """What the world has observed since it began; LabError if it could not."""

    def is_judged(self) -> None:
        """The last history was found valid, and another test begins: what it showed may be forgotten."""

    def edit(self, node: int, table: str, text: str) -> None:
        """Somebody edits ``cltab`` or ``hactl`` on a node, as a test would write them (rule 1)."""

    def run(self, node: int, command: Sequence[str]) -> Output:
        """Run a command on a node."""

    def serve(self, group: str, count: int, keys: int, port: int) -> Workload:
        """So many clients write and read so many registers that a group serves."""

    def left(self) -> list[str]:
        """What there is on its nodes that a test has left; nothing where that cannot be told."""

    def log(self) -> list[Line]:
        """What all nodes have said, on the clock of the history."""

    def plan(self) -> FaultPlan | None:
        """What was done so far, exactly, where a world knows that itself."""

    def keep(self) -> str:
        """Let it live on when this program ends; says how to look at it, and how to remove it."""

    def close(self) -> None:
        """Remove it."""


def log_of(world: World, now_s: float) -> list[Line]:
    """What all nodes have said, or that nobody knows."""
    try:
        return world.log()
    except LabError as error:
        return [Line(now_s, 0, f"the logs cannot be read: {error}")]
