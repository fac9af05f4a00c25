"""A service that writes down where it runs: who had it when, whatever agents say of it."""

from __future__ import annotations

from typing import NamedTuple

SCRIPT = '#!/bin/sh\nwhile :; do echo "$2 $(date +%s.%N)" >>"$1"; sleep 0.05; done\n'
"""Appends the node, its second argument, and the time to the file that is its first, as long as it lives."""
GAP_S = 1.0
"""Who has not ticked for so long does not run."""
OVERLAP_MAX_S = 0.2
"""Two ticks, and what the processes take on a machine with others to serve."""


class Life(NamedTuple):
    """One run, by its first and last tick."""

    node: int
    began: float
    ended: float


def lives(text: str) -> list[Life]:
    """All runs, in the order of their ends."""
    found: dict[int, list[Life]] = {}
    for line in text.split("\n")[:-1]:
        node, at = int(line.split()[0]), float(line.split()[1])
        of_node = found.setdefault(node, [])
        if of_node and at <= of_node[-1].ended + GAP_S:
            of_node[-1] = of_node[-1]._replace(ended=at)
        else:
            of_node.append(Life(node, at, at))
    return sorted((life for of_node in found.values() for life in of_node), key=lambda life: life.ended)


def overlap_s(all_: list[Life]) -> float:
    """For how long two nodes ran it at the same time."""
    pairs = [(one, other) for one in all_ for other in all_ if one.node < other.node]
    return sum(max(0.0, min(one.ended, other.ended) - max(one.began, other.began)) for one, other in pairs)
