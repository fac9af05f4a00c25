from __future__ import annotations

import time

import pytest

from moslab.errors import LabError
from moslab.wait import eventually


def test_it_returns_the_state_that_was_waited_for() -> None:
    states = iter([1, 2, 3, 4])
    assert eventually(lambda: next(states), lambda n: n == 3, within_s=5, what="three", every_s=0.001) == 3


def test_it_ends_with_the_bound_and_the_last_state() -> None:
    began_s = time.monotonic()
    with pytest.raises(LabError, match=r"^node 3 is up: not within 0\.05 s; last seen: down$"):
        eventually(lambda: "down", lambda state: state == "up", within_s=0.05, what="node 3 is up", every_s=0.01)
    assert time.monotonic() - began_s < 10


def test_it_looks_once_at_least() -> None:
    assert eventually(lambda: 7, within_s=0, what="seven") == 7


def test_what_the_look_raises_passes_through() -> None:
    def look() -> bool:
        raise KeyError("x")

    with pytest.raises(KeyError):
        eventually(look, within_s=5, what="never")
