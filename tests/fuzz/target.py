"""What is fuzzed: a reader of bytes that somebody else wrote, and what must hold whatever they are.

A target is called with bytes, and raises when a promise is broken; what it reads may refuse them only by the error that
it promises. ``seeds`` are good inputs and known bad ones, ``words`` what a mutation may put in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable


@dataclass(frozen=True)
class Target:
    """``share``: of all inputs of `make fuzz`, in parts; a slow one has a small share."""

    name: str
    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    share: float = 1.0
    bytes_max: int = 512


def text_of(data: bytes) -> str:
    """As the agent decodes its tables."""
    return data.decode("utf-8", "surrogateescape")
