"""The one way to wait: look until it is so, or say what was seen last."""

from __future__ import annotations

from typing import Callable, TypeVar

import tenacity

from moslab.errors import LabError

T = TypeVar("T")


def eventually(
    look: Callable[[], T],
    until: Callable[[T], bool] = bool,
    *,
    within_s: float,
    what: str,
    every_s: float = 0.1,
) -> T:
    """The first state, of those that ``look()`` returns every ``every_s``, for which ``until(state)`` holds.

    Raises LabError that names ``what``, the bound and the last state seen after ``within_s`` seconds. It
    looks once at least. What ``look`` raises passes through.
    """
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_delay(within_s),
        wait=tenacity.wait_fixed(every_s),
        retry=tenacity.retry_if_result(lambda state: not until(state)),
    )
    try:
        return retrying(look)
    except tenacity.RetryError as error:
        seen = error.last_attempt.result()
        raise LabError(f"{what}: not within {within_s:g} s; last seen: {seen}") from None
