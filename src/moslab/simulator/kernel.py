"""Virtual time: a list of calls that may stand still half done, and random streams of which each has one purpose.

Rules:

1. Calls run in the order of their time, those of one time in the order in which they were asked for.
2. A stream is known by the run's seed and its purpose, so that a draw for one purpose never moves another's.
3. All draws are made of ``random()`` alone: it is the same in every Python. No logarithm, no power: these are not.
4. The calls are a sorted list, the next one last, and their times, plain numbers, one beside it: to find and make a
   place there takes less than a heap of tuples does, which PyPy has in Python only (measured, 60 calls waiting: three
   quarters of its time under CPython, a fifth under PyPy).
5. A call may *stand* (:meth:`Kernel.stand`): other calls are made, and it goes on from there when one of them says so.
   So each loop has a thread of its own, of which one runs at any time, and who goes on is handed over by name: nothing
   depends on how threads are scheduled. Threads cost some 15 % (measured, CPython 3.13), so there are none, and nothing
   stands, unless ``may_stand`` was set before a run.
"""

from __future__ import annotations

import hashlib
import random
from bisect import bisect_left
from collections.abc import Sequence
from threading import Lock, Thread, current_thread
from typing import Any, Callable, TypeVar

T = TypeVar("T")
Call = Callable[[Any], None]


class Stood:
    """A call that stands, until :meth:`go_on` is called by another call, as the last thing that this one does."""

    def __init__(self) -> None:
        self.gate = Lock()
        self.gate.acquire()
        self.thread: Thread | None = None

    def go_on(self, _: None = None) -> None:
        """Does not return: the loop that made this call is over."""
        raise _HandedOver(self)


class _HandedOver(BaseException):
    def __init__(self, to: Stood) -> None:
        super().__init__()
        self.to = to


class _Closed(BaseException):
    """The run is over: what stands is left as it is."""


class Kernel:
    """The clock and the calls. ``now`` is true time, in seconds since the begin of the run."""

    __slots__ = ("_calls_max", "_closed", "_count", "_done", "_due", "_is_over", "_problem", "_standing", "_times",
                 "_until_s", "may_stand", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._times: list[float] = []                # negative, so that they ascend
        self._due: list[tuple[Call, Any]] = []       # the call of each
        self._count = 0                              # of all that were asked for
        self._until_s, self._calls_max, self._is_over = 0.0, 0, False
        self._done = Lock()
        self._done.acquire()
        self._problem: BaseException | None = None
        self._standing: dict[Stood, None] = {}
        self._closed = self.may_stand = False

    @property
    def calls(self) -> int:
        """How many have been made."""
        return self._count - len(self._due)

    def at(self, time_s: float, call: Call, argument: Any = None) -> None:
        """Have ``call(argument)`` made at true time ``time_s``, or now if that has passed."""
        self._count += 1
        negative_s = -(time_s if time_s > self.now else self.now)
        place = bisect_left(self._times, negative_s)
        self._times.insert(place, negative_s)
        self._due.insert(place, (call, argument))

    def run(self, until_s: float, calls_max: int) -> bool:
        """Make all calls up to ``until_s``; False if one loop made ``calls_max`` of them. Raises what a call raised."""
        self._until_s, self._calls_max, self._is_over = until_s, calls_max, False
        if self.may_stand:
            self._begin_loop()
            self._done.acquire()
        else:
            self._is_over = self._make_calls()
        problem, self._problem = self._problem, None
        if problem is not None:
            raise problem
        if self._is_over:
            self.now = until_s
        return self._is_over

    def stand(self, stood: Stood) -> None:
        """Make other calls, until one of them has ``stood`` go on; to be called by a call."""
        assert self.may_stand, "this run has no threads"
        self._standing[stood] = None
        stood.thread = current_thread()
        self._begin_loop()
        stood.gate.acquire()
        del self._standing[stood]
        if self._closed:
            raise _Closed

    def close(self) -> None:
        """The run is over; what stands does nothing more."""
        self._closed = True
        for stood in list(self._standing):
            stood.gate.release()
            assert stood.thread is not None
            stood.thread.join()

    def _begin_loop(self) -> None:
        Thread(target=self._loop, daemon=True).start()

    def _loop(self) -> None:
        """Rule 5: what ends it has handed over to another one, or to who waits for all of them."""
        try:
            self._is_over = self._make_calls()
        except _HandedOver as handed:
            handed.to.gate.release()
            return
        except _Closed:
            return
        except BaseException as problem:     # noqa: BLE001  (it is raised where somebody waits)
            self._problem = problem
        self._done.release()

    def _make_calls(self) -> bool:
        """All of this run, which is another one than before for a loop of which a call stood; False if too many."""
        times, due = self._times, self._due
        while times and -times[-1] <= self._until_s:
            until_s, left = self._until_s, self._calls_max
            while times and -times[-1] <= until_s:
                self.now = -times.pop()
                call, argument = due.pop()
                call(argument)
                left -= 1
                if not left:
                    return False
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
