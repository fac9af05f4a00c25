"""Which node should go first for a group: an order that all nodes compute alike from what they know."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache


@lru_cache(maxsize=65536)
def preference(group: str, node: int) -> bytes:
    """A fixed order of the nodes for a group, another one for each group; the smallest comes first."""
    return hashlib.sha256(f"{group}/{node}".encode()).digest()


def first(group: str, nodes: Iterable[int], load: Mapping[int, int]) -> int | None:
    """The one that comes before all others; None of none."""
    return min(nodes, key=lambda node: _place(group, node, load), default=None)


def rank(group: str, me: int, others: Iterable[int], load: Mapping[int, int]) -> int:
    """How many of the others come before this node: those with fewer groups first, then by preference."""
    mine = _place(group, me, load)
    return sum(1 for node in others if _place(group, node, load) < mine)


def _place(group: str, node: int, load: Mapping[int, int]) -> tuple[int, bytes]:
    """The order: the smallest comes first."""
    return load.get(node, 0), preference(group, node)
