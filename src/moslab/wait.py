"""The one way to wait: look until it is so, or say what was seen last."""

from __future__ import annotations

import time
from typing import Callable, Protocol, TypeVar

import tenacity

from moslab.errors import LabError

T = TypeVar("T")


class Clock(Protocol):
    """By which somebody waits: that of this machine, or a simulated one, where a sleep is what makes things happen."""

    def now_s(self) -> float:
        """Seconds since some moment."""

    def sleep(self, for_s: float) -> None:
        """Let that time pass."""


class RealClock:
    """This machine's."""

    def now_s(self) -> float:
        return time.monotonic()

    def sleep(self, for_s: float) -> None:
        time.sleep(for_s)


REAL = RealClock()


def eventually(
    look: Callable[[], T],
    until: Callable[[T], bool] = bool,
    *,
    within_s: float,
    what: str,
    every_s: float = 0.1,
    clock: Clock = REAL,
) -> T:
    """The first state, of those that ``look()`` returns every ``every_s``, for which ``until(state)`` holds.

    Raises LabError that names ``what``, the bound and the last state seen after ``within_s`` seconds of the clock. It
    looks once at least. What ``look`` raises passes through.
    """
    __tracebackhide__ = True
    deadline_s = clock.now_s() + within_s
    retrying = tenacity.Retrying(
        stop=lambda _state: clock.now_s() >= deadline_s,
        wait=tenacity.wait_fixed(every_s),
        retry=tenacity.retry_if_result(lambda state: not until(state)),
        sleep=clock.sleep,
    )
    try:
        return retrying(look)
    except tenacity.RetryError as error:
        seen = error.last_attempt.result()
    raise LabError(f"{what}: not within {within_s:g} s; last seen: {seen}")
