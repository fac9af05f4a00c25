"""Which node should go first for a group: an order that all nodes compute alike from what they know."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache


@lru_cache(maxsize=65536)
def preference(group: str, node: int) -> bytes:
    """A fixed order of the nodes for a group, another one for each group; the smallest comes first."""
    return hashlib.sha256(f"{group}/{node}".encode()).digest()


def first(group: str, nodes: Iterable[int], load: Mapping[int, int], prefer: Sequence[int] = ()) -> int | None:
    """The one that comes before all others; None of none."""
    return min(nodes, key=lambda node: _place(group, node, load, prefer), default=None)


def rank(group: str, me: int, others: Iterable[int], load: Mapping[int, int], prefer: Sequence[int] = ()) -> int:
    """How many of the others come before this node: those that hactl prefers, in its order, then those with fewer
    groups, then by the fixed order."""
    mine = _place(group, me, load, prefer)
    return sum(1 for node in others if _place(group, node, load, prefer) < mine)


def turn(node: int, prefer: Sequence[int]) -> int:
    """The node's place in the list, and that of all others behind it."""
    return prefer.index(node) if node in prefer else len(prefer)


def _place(group: str, node: int, load: Mapping[int, int], prefer: Sequence[int]) -> tuple[int, int, bytes]:
    """The order: the smallest comes first."""
    return turn(node, prefer), load.get(node, 0), preference(group, node)
