"""The deadline of a group's leash, where the group's own commands can read it: a small file in the run directory.

The leash puts a new one in its place at each extension, so nobody reads half of one. It stays when the leash has ended,
and is in the past then.
"""

from __future__ import annotations

import os

from mosha.platform import plain

VARIABLE = "MOSHA_DEADLINE"
"""Tells a group's commands which file it is. Its content: seconds on the clock of ``linux.boottime``."""

DIRECTORY = "deadlines"
BYTES_MAX = 64
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC


def place(rundir: str, group: str) -> str:
    """The file of that group."""
    return os.path.join(rundir, DIRECTORY, group)


def put(path: str, deadline_s: float) -> None:
    """Raises OSError."""
    directory, name = os.path.split(path)
    new = f"{directory}/.{name}.new"
    try:
        fd = os.open(new, _FLAGS, 0o644)
    except FileNotFoundError:
        os.mkdir(directory, 0o700)
        fd = os.open(new, _FLAGS, 0o644)
    try:
        os.write(fd, b"%r\n" % deadline_s)
    finally:
        os.close(fd)
    os.replace(new, path)


def read(path: str) -> float:
    """Raises OSError, ValueError."""
    return float(plain.read(path, BYTES_MAX))


def shown(rundir: str, group: str) -> float:
    """That of the group's leash; long ago for one that shows none: it ends with its agent."""
    try:
        return read(place(rundir, group))
    except (OSError, ValueError):
        return -float("inf")
