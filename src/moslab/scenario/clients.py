"""Clients of a group, as a test has them: at work until the end of the block, or the judgement.

What they saw is in the history, and is judged with it (:mod:`moslab.history.linear`).
"""

from __future__ import annotations

from types import TracebackType
from typing import Callable

from moslab.errors import LabError
from moslab.history.record import OK, WRITE
from moslab.scenario.world import Workload, World
from moslab.wait import eventually

COUNT, KEYS, COUNT_MAX, KEYS_MAX = 3, 2, 16, 16
PORT = 6379
WITHIN_S = 60.0
LOOK_EVERY_S = 0.25


class Clients:
    """See the head of the module."""

    def __init__(self, world: World, group: str, workload: Workload, broken: Callable[[], str]) -> None:
        self._world, self._group, self._workload, self._broken = world, group, workload, broken

    def wait_acknowledged(self, writes: int = 1, within: float = WITHIN_S) -> None:
        """Wait until so many writes that began after now are acknowledged."""
        __tracebackhide__ = True
        since_s = self._world.faults.record.now_s()
        try:
            eventually(
                lambda: self._acknowledged(since_s), lambda seen: seen >= writes, within_s=within, clock=self._world,
                what=f"clients of {self._group} have {writes} more writes acknowledged", every_s=LOOK_EVERY_S,
            )
        except LabError as error:
            problem = str(error)
        else:
            return
        raise AssertionError(f"{problem}\n{self._broken()}")

    def end(self) -> None:
        """They read each register once more, as soon as that can be, and are gone."""
        self._workload.end()

    def __enter__(self) -> Clients:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _acknowledged(self, since_s: float) -> int:
        return sum(
            one.begin_s > since_s for one in self._workload.operations() if (one.kind, one.outcome) == (WRITE, OK)
        )
