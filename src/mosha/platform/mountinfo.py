"""What is mounted, as /proc/self/mountinfo shows it: proc(5)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

FILE = "/proc/self/mountinfo"
_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")


class Mount(NamedTuple):
    """One mount. ``number`` is its own while it is there, ``device`` (major:minor) that of its file system."""

    number: int
    parent: int
    device: str
    directory: str
    kind: str
    source: str


class Window(NamedTuple):
    """What a mount shows of its file system: all below ``root``; with the options of both."""

    directory: str
    kind: str
    root: str
    options: frozenset[str]
    system_options: frozenset[str]


def read() -> list[Mount]:
    """All mounts that this process can see. Raises OSError."""
    with open(FILE, "rb") as stream:
        return parse(stream.read())


def windows() -> list[Window]:
    """The same mounts, as windows. Raises OSError."""
    with open(FILE, "rb") as stream:
        return parse_windows(stream.read())


def parse(text: bytes) -> list[Mount]:
    """The mounts of a mountinfo file; lines that are not understood are left out."""
    return [
        Mount(int(w[0]), int(w[1]), _plain(w[2]), _plain(w[4]), _plain(after[0]), _plain(after[1]))
        for w, after in _lines(text) if w[0].isdigit() and w[1].isdigit()
    ]


def parse_windows(text: bytes) -> list[Window]:
    """Likewise."""
    return [
        Window(_plain(w[4]), _plain(after[0]), _plain(w[3]), _options(w[5]), _options(b"".join(after[2:3])))
        for w, after in _lines(text)
    ]


def top(mounts: Sequence[Mount], directory: str) -> Mount | None:
    """The mount that one meets at the directory: of several on one another the last."""
    there = [mount for mount in mounts if mount.directory == directory]
    below = {mount.parent for mount in there}
    return next((mount for mount in there if mount.number not in below), None)


def is_alone(mounts: Sequence[Mount], mount: Mount) -> bool:
    """Whether its file system is mounted nowhere else that this process can see."""
    return not any(other.device == mount.device and other.number != mount.number for other in mounts)


def _plain(word: bytes) -> str:
    return os.fsdecode(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), word))


def _lines(text: bytes) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """The words of each line, and those that come after the optional fields."""
    for line in text.splitlines():
        words = line.split(b" ")
        if b"-" in words[6:-2]:
            yield words, words[words.index(b"-", 6) + 1 :]


def _options(word: bytes) -> frozenset[str]:
    return frozenset(_plain(word).split(","))
