"""What a function makes of each argument, worked out once.

Like ``functools.lru_cache``, which PyPy has in Python only, with a lock and a list: there it takes two to four times as
long as this, and CPython needs no more for this one either. What is kept has a bound, and is forgotten all at once.
"""

from __future__ import annotations

from typing import Callable, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Remembered(dict[K, V]):
    """``Remembered(function, most)[argument]``; what the function raises is not kept."""

    def __init__(self, function: Callable[[K], V], most: int) -> None:
        super().__init__()
        self._function, self._most = function, most

    def __missing__(self, key: K) -> V:
        value = self._function(key)
        if len(self) >= self._most:
            self.clear()
        self[key] = value
        return value
