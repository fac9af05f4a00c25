"""Files that somebody gives us, read up to a bound."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, TypeVar

T = TypeVar("T")


def load(path: Path, bytes_max: int, read: Callable[[str], T], error: type[Exception]) -> T:
    """What ``read`` makes of the text; ``error``, with the file's name, if that refuses it, or it cannot be had."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(bytes_max + 1)
        if len(data) > bytes_max:
            raise error(f"longer than {bytes_max} bytes")
        return read(data.decode())
    except OSError as problem:
        raise error(f"{path}: {problem.strerror}") from None
    except (error, UnicodeDecodeError) as problem:
        raise error(f"{path}: {problem}") from None
