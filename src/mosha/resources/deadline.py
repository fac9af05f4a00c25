"""The deadline of a group's leash, where the group's own commands can read it: a small file in the run directory.

The leash puts a new one in its place at each extension, so nobody reads half of one. It stays when the leash has ended,
and is in the past then.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "MOSHA_DEADLINE"
"""Tells a group's commands which file it is. Its content: seconds on the clock of ``linux.boottime``."""

DIRECTORY = "deadlines"


def place(rundir: str, group: str) -> str:
    """The file of that group."""
    return os.path.join(rundir, DIRECTORY, group)


def put(path: str, deadline_s: float) -> None:
    """Raises OSError."""
    file = Path(path)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    new.write_text(f"{deadline_s!r}\n", encoding="ascii")
    new.replace(file)


def read(path: str) -> float:
    """Raises OSError, ValueError."""
    return float(Path(path).read_text(encoding="ascii"))


def shown(rundir: str, group: str) -> float:
    """That of the group's leash; long ago for one that shows none: it ends with its agent."""
    try:
        return read(place(rundir, group))
    except (OSError, ValueError):
        return -float("inf")
