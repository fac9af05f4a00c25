"""What is done to a file system, and how often a second: ``python load.py MEASURE FOLDER SECONDS`` prints the rate.

Rules:

1. Nothing but the standard library, so that any Python can run it; only the calls themselves are in the loop.
2. A folder is prepared by :func:`prepare` where its files are, not through the file system that is measured.
3. A measure runs for so many seconds and at least once; what it makes is gone afterwards.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

SMALL_BYTES = 200
ENTRIES = 1000
BLOCK = 1 << 20
BIG_BLOCKS = 128
CLOCK_EVERY = 8
"""Calls between two looks at the clock."""

SMALL, STAT, CREATE, FSYNC, LIST, READ, WRITE = "small", "stat", "create", "fsync", "list", "read", "write"


def prepare(folder: Path) -> None:
    """Make what the measures use."""
    (folder / "small").write_bytes(b"x" * SMALL_BYTES)
    (folder / "log").touch()
    (folder / "list").mkdir()
    for number in range(ENTRIES):
        (folder / "list" / f"entry-{number:04}").touch()
    with (folder / "big").open("wb", buffering=0) as file:
        block = os.urandom(BLOCK)
        for _ in range(BIG_BLOCKS):
            file.write(block)


def small(folder: str) -> Callable[[], int]:
    """Open, read and close a small file."""
    path = f"{folder}/small"

    def once() -> int:
        fd = os.open(path, os.O_RDONLY)
        data = os.read(fd, 4096)
        os.close(fd)
        assert len(data) == SMALL_BYTES
        return 1

    return once


def stat(folder: str) -> Callable[[], int]:
    """The attributes of a file."""
    path = f"{folder}/small"

    def once() -> int:
        os.stat(path)
        return 1

    return once


def create(folder: str) -> Callable[[], int]:
    """Make a small file beside its place, and rename it there."""
    path, place = f"{folder}/made.new", f"{folder}/made"

    def once() -> int:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(fd, b"x" * SMALL_BYTES)
        os.close(fd)
        os.rename(path, place)
        return 1

    return once


def fsync(folder: str) -> Callable[[], int]:
    """Write a little and have it on the disk."""
    fd = os.open(f"{folder}/log", os.O_WRONLY)

    def once() -> int:
        os.pwrite(fd, b"x" * SMALL_BYTES, 0)
        os.fsync(fd)
        return 1

    return once


def entries(folder: str) -> Callable[[], int]:
    """The names in a directory."""
    path = f"{folder}/list"

    def once() -> int:
        assert len(os.listdir(path)) == ENTRIES
        return 1

    return once


def read(folder: str) -> Callable[[], int]:
    """MB of a large file, in blocks of 1 MiB, opened anew each time."""
    path, block = f"{folder}/big", [bytearray(BLOCK)]

    def once() -> int:
        fd = os.open(path, os.O_RDONLY)
        total = 0
        while count := os.readv(fd, block):
            total += count
        os.close(fd)
        assert total == BLOCK * BIG_BLOCKS
        return total

    return once


def write(folder: str) -> Callable[[], int]:
    """MB of a large file, over what is there, in blocks of 1 MiB, until close; nothing is synced."""
    path, block = f"{folder}/big", os.urandom(BLOCK)

    def once() -> int:
        fd = os.open(path, os.O_WRONLY)
        for _ in range(BIG_BLOCKS):
            assert os.write(fd, block) == BLOCK
        os.close(fd)
        return BLOCK * BIG_BLOCKS

    return once


MEASURES = {SMALL: small, STAT: stat, CREATE: create, FSYNC: fsync, LIST: entries, READ: read, WRITE: write}
IN_MB = (READ, WRITE)


def rate(name: str, folder: str, seconds: float) -> float:
    """How often a second, or MB a second."""
    once = MEASURES[name](folder)
    many = 1 if name in IN_MB else CLOCK_EVERY
    once()
    done, begin = 0, time.perf_counter()
    while True:
        for _ in range(many):
            done += once()
        took = time.perf_counter() - begin
        if took >= seconds:
            return done / took / (1e6 if name in IN_MB else 1)


if __name__ == "__main__":
    print(rate(sys.argv[1], sys.argv[2], float(sys.argv[3])))
