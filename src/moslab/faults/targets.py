"""Whom a fault hits, in words: ``3``, ``1,2``, ``owner of kv``, ``one``, ``minority``, ``majority``, ``half``, ``all``.

Several of these are joined by ``+``, and ``not`` before one of them means all others. Where words leave a choice, the
nodes come in the order of their numbers, or shuffled by the random numbers that the caller gives. ``minority
third`` is less than a third, as in Jepsen: of fewer than four nobody. Of links, not of nodes, is ``majorities ring``.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from typing import Callable

from moslab.errors import CannotError
from moslab.faults.links import Link, majorities_ring

OWNER = "owner of "
RING = "majorities ring"


def quorum(size: int) -> int:
    """The least number of nodes that is a majority."""
    return size // 2 + 1


def select(
    words: str, nodes: Sequence[int], owner: Callable[[str], int], draw: random.Random | None = None
) -> tuple[int, ...]:
    """The nodes that ``words`` mean, in order; ``owner`` says who owns a group. CannotError for other words."""
    order = list(nodes)
    if draw is not None:
        order.sort(key=lambda _node: draw.random())
    chosen: set[int] = set()
    for part in words.split("+"):
        chosen |= _part(part.strip(), order, owner)
    return tuple(sorted(chosen))


def ring(nodes: Sequence[int], whom: object = RING, others: object = None) -> frozenset[Link]:
    """The links that ``majorities ring`` means; none if ``whom`` is something else. CannotError if there are none."""
    if whom != RING:
        return frozenset()
    links = majorities_ring(nodes)
    if others is not None:
        raise CannotError(f"{RING} is of all nodes, and not from others")
    if not links:
        raise CannotError(f"{len(nodes)} nodes make no ring of majorities: at least 4")
    return links


def _part(words: str, order: list[int], owner: Callable[[str], int]) -> set[int]:
    if words.startswith("not "):
        return set(order) - _part(words[4:].strip(), order, owner)
    if words.startswith(OWNER):
        return {owner(words[len(OWNER):].strip())}
    size = len(order)
    if words == RING:
        raise CannotError(f"{RING} says which links, not which nodes: it stands alone, of what can be done to links")
    counts = {
        "one": 1, "minority": size - quorum(size), "minority third": (size - 1) // 3, "majority": quorum(size),
        "half": size // 2, "all": size,
    }
    if words in counts:
        return set(order[:counts[words]])
    try:
        chosen = {int(number) for number in words.split(",")}
    except ValueError:
        raise CannotError(
            f"{words!r} names no nodes: say 1,2 or `owner of GROUP` or {', '.join(counts)}, or `not` before one"
        ) from None
    if not chosen <= set(order):
        present = ", ".join(map(str, sorted(order)))
        raise CannotError(f"there is no node {min(chosen - set(order))}; there are {present}")
    return chosen


def known(node: int, nodes: Sequence[int], gone: Iterable[Collection[int]]) -> list[int]:
    """Whom openMosix on that node still has on its map where each of these parts of the cluster is off the others'."""
    return [one for one in nodes if all((one in part) == (node in part) for part in gone)]


def check_unmapped(gone: Collection[int], on: Collection[int], is_said: bool) -> None:
    """CannotError for nodes that cannot be off the maps of those of ``on``, be these said or all that have power."""
    if not gone or {*gone} >= {*on} or (is_said and {*gone} & {*on}):
        raise CannotError(f"{sorted(gone)} cannot be off the maps of {[*on]}: a node is on its own map")
