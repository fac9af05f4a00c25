"""The history of one run: what an observer outside of all nodes has seen, on one clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from moslab.history.intervals import Interval

SEEN_LEASES = 4                  # from the end of a group until nobody takes it for up any more
HEARD_LEASES = 2                 # after which everybody who has a majority knows what a majority knows


class Edit(NamedTuple):
    """Edit ``number`` of a table was made on a node."""

    time_s: float
    table: str
    number: int
    node: int


class Held(NamedTuple):
    """From then on a majority of nodes, and of voters, had that edit of the table in force: it is acknowledged."""

    time_s: float
    table: str
    number: int


class Numbered(NamedTuple):
    """A node was the first that gave a version's number to what has these edits; ``time_s`` is when it began to write
    that: nothing that comes after can hold it back."""

    time_s: float
    table: str
    node: int
    edits: tuple[int, ...]


class WentBack(NamedTuple):
    """The version of a table that a node has got a lower number than the one before, on the same disk."""

    time_s: float
    table: str
    node: int
    before: int
    number: int


class Released(NamedTuple):
    """A node said to others that it has given the group up, which it had in that epoch."""

    time_s: float
    group: str
    epoch: str
    node: int


class Elected(NamedTuple):
    """From then on these may be the voters: the ones of that number in their era."""

    time_s: float
    era: int
    number: int
    voters: tuple[int, ...]


class Life(NamedTuple):
    """A node's next life was seen for the first time; before it has any process."""

    time_s: float
    node: int


class Buried(NamedTuple):
    """A node said that an earlier life of it is dead; ``kept``: the groups that this node has by later decisions."""

    time_s: float
    node: int
    kept: frozenset[str]


class Overwritten(NamedTuple):
    """What a journal on a voter held was replaced by something else."""

    time_s: float
    voter: int
    name: str


class Gone(NamedTuple):
    """A process that executed nothing any more was really gone at that time only."""

    group: str
    node: int
    epoch: str
    end_s: float
    gone_s: float


READ, WRITE = "read", "write"
OK, FAIL, INFO = "ok", "fail", "info"


class Operation(NamedTuple):
    """A client reads or writes a register. It ended well (ok), did surely not happen (fail), or nobody knows (info): it
    has no end then. ``node`` was asked."""

    client: int
    node: int
    key: str
    kind: str
    value: int | None
    outcome: str
    begin_s: float
    end_s: float


class Line(NamedTuple):
    """A node said something, or (0) the world did."""

    time_s: float
    node: int
    text: str


@dataclass
class History:
    """What the checkers know. Nodes are numbers, times seconds."""

    nodes: int
    electorates: list[Elected] = field(default_factory=list)               # the voters, and all that followed
    lease_s: float = 0.0
    drift: float = 0.0
    end_s: float = float("inf")
    intervals: list[Interval] = field(default_factory=list)
    tests: set[int] = field(default_factory=set)                           # pids of what only tests fitness
    thaws: list[tuple[float, int]] = field(default_factory=list)
    stops: list[tuple[float, int]] = field(default_factory=list)           # of nodes whose clocks had stood still
    stop_s: float = 0.0                                                    # of these: how long, where voters answer
    hampered: list[tuple[float, float, int]] = field(default_factory=list)  # begin, end, node: what was broken
    forgot: list[tuple[float, int]] = field(default_factory=list)          # what this voter knew may count no more
    shots: list[tuple[float, int]] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)
    contacts: dict[tuple[int, int], list[tuple[float, float]]] = field(default_factory=dict)  # (node, voter) -> spans
    crashes: list[tuple[float, int, str]] = field(default_factory=list)    # of an agent, by its own error
    edits: list[Edit] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    numbered: list[Numbered] = field(default_factory=list)
    went_back: list[WentBack] = field(default_factory=list)
    final: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)  # table -> on each node, the edits in force
    aside: set[tuple[str, int]] = field(default_factory=set)               # edits that are not in force, and kept
    lost: set[tuple[str, int]] = field(default_factory=set)                # edits that were on disks that were lost
    released: list[Released] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    buried: list[Buried] = field(default_factory=list)
    leashes: dict[int, int] = field(default_factory=dict)                  # pid -> the guardian that held it
    overwritten: list[Overwritten] = field(default_factory=list)
    elders: frozenset[int] = frozenset()                                   # nodes with an agent of 2003
    fenced: frozenset[str] = frozenset()                                   # groups that expiry does not free
    waiting: dict[str, int] = field(default_factory=dict)                  # of these: group -> whose death is unknown
    requires: dict[str, tuple[str, ...]] = field(default_factory=dict)     # group -> those that come before
    addresses: list[Interval] = field(default_factory=list)                # as if each were a group
    voids: list[tuple[float, int]] = field(default_factory=list)           # the node's identity became void
    operations: list[Operation] = field(default_factory=list)
    registers: list[str] = field(default_factory=list)                     # keys that clients have written and read
    restless: frozenset[str] = frozenset()                                 # groups whose own commands fail or crash
    healed: list[int] = field(default_factory=list)                        # nodes
    healed_s: float | None = None
    rest_s: float = 0.0                                                    # the last so many are to be quiet
    bound_s: float = 0.0
    wanted: list[str] = field(default_factory=list)                        # groups that must run at the end
    files: dict[int, int] = field(default_factory=dict)                    # node -> files in the agent's directory
    files_max: int = 0
    journal_bytes: dict[int, int] = field(default_factory=dict)            # node -> in the journals on its voter
    journal_bytes_max: int = 0
    promised: bool = True                                                  # whether anything must run at all
    unfinished: str = ""                                                   # why not all of it was seen

    def idle(self) -> set[str]:
        """The groups that need not run: fenced ones of which it is not known that their owner is dead, and all that are
        started only after one of these."""
        found = {group for group in self.waiting if group in self.fenced}
        while more := {group for group, others in self.requires.items() if found & {*others}} - found:
            found |= more
        return found

    def owned(self) -> list[Interval]:
        """The intervals of what ran under a token: not of tests that were made ahead of it, nor by an agent of 2003."""
        return [i for i in self.intervals if (i.epoch or i.pid not in self.tests) and i.node not in self.elders]

    def services(self) -> list[Interval]:
        """The intervals of what is more than a test of fitness."""
        return [i for i in self.intervals if i.pid not in self.tests]
