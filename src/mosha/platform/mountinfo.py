"""What is mounted, as /proc/self/mountinfo shows it: proc(5)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

FILE = "/proc/self/mountinfo"
_OCTAL = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """One mount. ``number`` is its own while it is there, ``device`` (major:minor) that of its file system."""

    number: int
    parent: int
    device: str
    directory: str
    kind: str
    source: str


def read() -> list[Mount]:
    """All mounts that this process can see. Raises OSError."""
    with open(FILE, "rb") as stream:
        return parse(stream.read())


def parse(text: bytes) -> list[Mount]:
    """The mounts of a mountinfo file; lines that are not understood are left out."""
    mounts = []
    for line in text.splitlines():
        words = line.split(b" ")
        if b"-" not in words[6:-2]:
            continue
        after = words.index(b"-", 6) + 1
        device, directory, kind, source = (_plain(word) for word in (words[2], words[4], *words[after : after + 2]))
        mounts.append(Mount(int(words[0]), int(words[1]), device, directory, kind, source))
    return mounts


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
