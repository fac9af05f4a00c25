"""What a function makes of each argument, worked out once."""

from __future__ import annotations

import pytest

from mosha.remembered import Remembered


def test_a_function_is_asked_once_for_each_argument_and_again_when_there_were_too_many() -> None:
    asked: list[str] = []

    def size(text: str) -> int:
        asked.append(text)
        return len(text)

    size_of = Remembered(size, 2).__getitem__
    assert [size_of(text) for text in ("a", "bb", "a", "bb")] == [1, 2, 1, 2]
    assert asked == ["a", "bb"]
    assert size_of("ccc") == 3
    assert size_of("a") == 1
    assert asked == ["a", "bb", "ccc", "a"], "no more than two are kept"


def test_what_the_function_raises_is_not_kept() -> None:
    number_of = Remembered(int, 2)
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            number_of["x"]
    assert not number_of
