"""Shapes: what a value that somebody wrote as JSON may be, and the words for one that is not.

JSON as Python reads it knows NaN and Infinity, and says that true is a 1: no shape here takes these for numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple

_SETTING = re.compile(r"[a-z0-9_.]+")
Shapes = Mapping[str, "Shape"]


class Shape(NamedTuple):
    """``holds`` says whether a value is ``said``."""

    said: str
    holds: Callable[[Any], bool]


def number(low: float, high: float) -> Shape:
    """Both included."""
    said = f"a number from {low:g} to {high:g}"
    return Shape(said, lambda value: type(value) in (int, float) and low <= value <= high)


def whole(low: int, high: int) -> Shape:
    """Both included."""
    return Shape(f"a whole number from {low} to {high}", lambda value: type(value) is int and low <= value <= high)


def one_of(*values: Any) -> Shape:
    """One of these, and of the same type."""
    said = f"one of {', '.join(map(str, values))}"
    return Shape(said, lambda value: any(type(value) is type(one) and value == one for one in values))


def wholes(low: int, high: int) -> Shape:
    """A list of them."""
    one = whole(low, high)
    said = f"a list of whole numbers from {low} to {high}"
    return Shape(said, lambda value: type(value) is list and all(map(one.holds, value)))


YES_NO = Shape("true or false", lambda value: type(value) is bool)
TEXT = Shape("a text", lambda value: type(value) is str)
LIST = Shape("a list", lambda value: type(value) is list)
FULL_LIST = Shape("a list that is not empty", lambda value: type(value) is list and bool(value))
OBJECT = Shape("an object", lambda value: type(value) is dict)
LINES = Shape(
    "an object of names of settings and texts of one line",
    lambda value: type(value) is dict and all(
        _SETTING.fullmatch(name) and type(one) is str and len(one.splitlines()) < 2 for name, one in value.items()
    ),
)


def problem(data: Mapping[str, Any], shapes: Shapes) -> str:
    """What is wrong with an object that has only keys of ``shapes``, the first thing; empty if nothing is."""
    unknown = sorted(set(data) - set(shapes))
    if unknown:
        return f"unknown: {', '.join(unknown)}"
    return next(
        (f"{name} is {shapes[name].said}, not {value!r:.60}" for name, value in data.items()
         if not shapes[name].holds(value)), "",
    )
