"""How a command gives an order to the agent on its node, and waits for the answer.

An order is a small file beside the voter's marker, for the agent that runs: that takes it at its next beat and answers
on its page. One that is not taken in time is withdrawn.
"""

from __future__ import annotations

import json
import time
from typing import Any, Callable, TypeVar

from mosha import status
from mosha.config import Config
from mosha.ownership.voter import ORDER
from mosha.platform import linux, openmosix
from mosha.platform.store import LocalStore

ANSWER_BEATS, ANSWER_S = 4, 5.0      # an agent takes an order and shows its answer within this
LOOK_EVERY_S = 0.1
T = TypeVar("T")


class Refused(Exception):
    """It cannot be done; the reason."""


def page(settings: Config) -> dict[str, Any]:
    """What the agent shows; raises NotRunning."""
    return status.read(settings.var, linux.boottime(), openmosix.boot_id())


def give(
    settings: Config, answer: Callable[[dict[str, Any], str], T | None], takes_s: float = 0.0, **order: Any
) -> T:
    """``answer(page, name)`` finds that of the order of this name. Raises Refused, NotRunning."""
    beat_s: float = page(settings)["beat"]
    name = f"{time.time_ns()}"
    content = json.dumps({**order, "name": name}).encode()
    store = LocalStore(settings.var)
    store.replace(ORDER, content)
    found: T | None = None
    try:
        found = wait(settings, lambda shown: answer(shown, name), takes_s + ANSWER_BEATS * beat_s + ANSWER_S)
    finally:
        is_withdrawn = store.read(ORDER, len(content)) == content and store.remove(ORDER)
    if found is None:
        what = "did not take the order, which is withdrawn" if is_withdrawn else "took the order and has not answered"
        raise Refused(f"the agent {what}: see its log")
    return found


def wait(settings: Config, find: Callable[[dict[str, Any]], T | None], limit_s: float) -> T | None:
    """What ``find(page)`` gives as soon as that is something; None if it is nothing within the limit."""
    deadline = time.monotonic() + limit_s
    found: T | None = None
    while found is None and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)
        found = find(page(settings))
    return found
