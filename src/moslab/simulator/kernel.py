"""Virtual time: a heap of calls, and random streams of which each has one purpose.

Rules:

1. Calls run in the order of their time, those of one time in the order in which they were asked for.
2. A stream is known by the run's seed and its purpose, so that a draw for one purpose never moves another's.
3. All draws are made of ``random()`` alone: it is the same in every Python. No logarithm, no power: these are not.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any, Callable, TypeVar

T = TypeVar("T")
Call = Callable[[Any], None]


class Kernel:
    """The clock and the heap. ``now`` is true time, in seconds since the begin of the run."""

    __slots__ = ("_heap", "_sequence", "calls", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.calls = 0
        self._heap: list[tuple[float, int, Call, Any]] = []
        self._sequence = 0

    def at(self, time_s: float, call: Call, argument: Any = None) -> None:
        """Have ``call(argument)`` made at true time ``time_s``, or now if that has passed."""
        self._sequence += 1
        heappush(self._heap, (time_s if time_s > self.now else self.now, self._sequence, call, argument))

    def run(self, until_s: float, calls_max: int) -> bool:
        """Make all calls up to ``until_s``; False if that took more than ``calls_max`` of them."""
        heap = self._heap
        left = calls_max
        while heap and heap[0][0] <= until_s:
            self.now, _, call, argument = heappop(heap)
            call(argument)
            left -= 1
            if not left:
                self.calls += calls_max
                return False
        self.calls += calls_max - left
        self.now = until_s
        return True


class Stream:
    """One source of randomness: see rules 2 and 3."""

    __slots__ = ("random",)

    def __init__(self, seed: int, purpose: str) -> None:
        digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
        self.random = random.Random(int.from_bytes(digest[:16], "big")).random

    def chance(self, probability: float) -> bool:
        """True with this probability; draws nothing for 0."""
        return probability > 0.0 and self.random() < probability

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.random()

    def integer(self, low: int, high: int) -> int:
        """One of ``low`` to ``high``, both included."""
        return low + int(self.random() * (high - low + 1))

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self.random() * len(choices))]

    def weighted(self, choices: Sequence[tuple[float, T]]) -> T:
        """One of (weight, choice)."""
        mark = self.random() * sum(weight for weight, _ in choices)
        for weight, choice in choices:
            mark -= weight
            if mark < 0:
                return choice
        return choices[-1][1]

    def some(self, choices: Sequence[T], count: int) -> list[T]:
        """``count`` different ones, in their old order."""
        left, wanted, found = len(choices), count, []
        for choice in choices:
            if self.random() * left < wanted:
                found.append(choice)
                wanted -= 1
            left -= 1
        return found
