"""Whom a fault hits, in words: ``3``, ``1,2``, ``owner of kv``, ``one``, ``minority``, ``majority``, ``half``, ``all``.

Several of these are joined by ``+``, and ``not`` before one of them means all others. Where words leave a choice, the
nodes come in the order of their numbers, or shuffled by the random numbers that the caller gives.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Callable

from moslab.errors import CannotError

OWNER = "owner of "


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


def _part(words: str, order: list[int], owner: Callable[[str], int]) -> set[int]:
    if words.startswith("not "):
        return set(order) - _part(words[4:].strip(), order, owner)
    if words.startswith(OWNER):
        return {owner(words[len(OWNER):].strip())}
    size = len(order)
    counts = {"one": 1, "minority": size - quorum(size), "majority": quorum(size), "half": size // 2, "all": size}
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
