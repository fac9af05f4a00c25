"""How often one node asked another for which operation, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable

from emulator.fuse.protocol import OPERATIONS
from emulator.membership import Path

HEAD = "node operation done failed seconds slowest"
LINKS_HEAD = "node from to in-use connected lost requests"


class Tally:
    """The operations between this node and one other, by opcode. ``add`` is on every request's way: it only adds."""

    __slots__ = ("_done", "_failed", "_seconds", "_slowest")

    def __init__(self) -> None:
        count = max(OPERATIONS) + 1
        self._done = [0] * count
        self._failed = [0] * count
        self._seconds = [0.0] * count
        self._slowest = [0.0] * count

    def add(self, opcode: int, error: int, took_s: float) -> None:
        """One operation ended; ``error`` is 0 if it was done."""
        if error:
            self._failed[opcode] += 1
        else:
            self._done[opcode] += 1
        self._seconds[opcode] += took_s
        if took_s > self._slowest[opcode]:
            self._slowest[opcode] = took_s

    def rows(self) -> list[str]:
        """``operation done failed seconds slowest`` of each operation that occurred, by name."""
        sums: dict[str, tuple[int, int, float, float]] = {}
        for opcode, name in OPERATIONS.items():
            done, failed, seconds, slowest = sums.get(name, (0, 0, 0.0, 0.0))
            sums[name] = (
                done + self._done[opcode],
                failed + self._failed[opcode],
                seconds + self._seconds[opcode],
                max(slowest, self._slowest[opcode]),
            )
        return [
            f"{name} {done} {failed} {seconds:.6f} {slowest:.6f}"
            for name, (done, failed, seconds, slowest) in sorted(sums.items())
            if done or failed
        ]


class LinkTally:
    """One path to one other node: connections made over it, those of them that are lost, requests sent."""

    __slots__ = ("connected", "lost", "requests")

    def __init__(self) -> None:
        self.connected = 0
        self.lost = 0
        self.requests = 0


def render_links(rows: Iterable[tuple[int, Path, bool, LinkTally]]) -> str:
    """A table, one line for each path to each node, in this order; those of the map and those that were used."""
    lines = [
        f"{node} {path.own} {path.other} {'yes' if in_use else 'no'} {tally.connected} {tally.lost} {tally.requests}"
        for node, path, in_use, tally in rows
    ]
    return "".join(f"{line}\n" for line in [LINKS_HEAD, *lines])


def render(tallies: Iterable[tuple[int, Tally]]) -> str:
    """A table, one line for each node and operation."""
    lines = [f"{node} {row}" for node, tally in sorted(tallies, key=lambda pair: pair[0]) for row in tally.rows()]
    return "".join(f"{line}\n" for line in [HEAD, *lines])
