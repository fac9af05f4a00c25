"""How a command gives an order to the agent on its node, and waits for the answer.

An order is a small file beside the voter's marker, for the agent that runs: that takes it at its next beat and answers
on its page. One that is not taken in time is withdrawn. Commands on one node give orders, and edit a table, one after
the other: :func:`turn`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, TypeVar

from mosha import status
from mosha.config import Config
from mosha.ownership.voter import ORDER
from mosha.platform import linux, openmosix
from mosha.platform.locks import try_lock
from mosha.platform.store import LocalStore
from mosha.timing import ORDER_LIMIT_S

ANSWER_BEATS, ANSWER_S = 4, 5.0      # an agent takes an order and shows its answer within this
LOOK_EVERY_S = 0.1
TURN = ".commands"               # a file that the command has locked which gives an order or edits a table
T = TypeVar("T")


class Refused(Exception):
    """It cannot be done; the reason."""


def page(settings: Config) -> dict[str, Any]:
    """What the agent shows; raises NotRunning."""
    return status.read(settings.var, linux.boottime(), openmosix.boot_id())


def give(
    settings: Config, answer: Callable[[dict[str, Any], str], T | None], takes_s: float = 0.0, **order: Any
) -> T:
    """``answer(page, name)`` finds that of the order of this name, which must be taken within ANSWER_BEATS and
    ANSWER_S, and answered within ``takes_s`` more than that. Raises Refused, NotRunning."""
    beat_s: float = page(settings)["beat"]
    name = f"{time.time_ns()}"
    content = json.dumps({**order, "name": name}).encode()
    store = LocalStore(settings.var)
    limit_s = ANSWER_BEATS * beat_s + ANSWER_S
    with turn(settings):
        store.replace(ORDER, content)
        try:
            wait(settings, lambda _: store.read(ORDER, len(content)) != content or None, limit_s)
        finally:
            is_withdrawn = store.read(ORDER, len(content)) == content and store.remove(ORDER)
    if is_withdrawn:
        raise Refused("the agent did not take the order, which is withdrawn: see its log")
    found = wait(settings, lambda shown: answer(shown, name), takes_s + limit_s)
    if found is None:
        raise Refused("the agent took the order and has not answered: see its log")
    return found


@contextmanager
def turn(settings: Config) -> Iterator[None]:
    """No other command on this node is in its turn. Raises Refused after ORDER_LIMIT_S; a command that was killed has
    none."""
    settings.var.mkdir(parents=True, exist_ok=True)
    fd = os.open(settings.var / TURN, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + ORDER_LIMIT_S
        while not try_lock(fd):
            if time.monotonic() >= deadline:
                raise Refused(f"another command on this node has not ended within {ORDER_LIMIT_S:g} s; nothing is done")
            time.sleep(LOOK_EVERY_S)
        yield
    finally:
        os.close(fd)


def wait(settings: Config, find: Callable[[dict[str, Any]], T | None], limit_s: float) -> T | None:
    """What ``find(page)`` gives as soon as that is something; None if it is nothing within the limit."""
    deadline = time.monotonic() + limit_s
    found: T | None = None
    while found is None and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)
        found = find(page(settings))
    return found
