"""A directory's entries as READDIR answers them."""

from __future__ import annotations

import os
from bisect import bisect_right

from emulator.fuse.protocol import DIRENT


class Listing:
    """All entries in one piece; the offset of each is the byte at which the next begins."""

    __slots__ = ("_content", "_ends", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._ends: list[int] = [0]
        self._content: bytes | None = None

    def add(self, ino: int, kind: int, name: bytes) -> None:
        """One more entry; ``kind`` is the file type as in d_type (mode >> 12)."""
        length = len(name)
        end = self._ends[-1] + ((DIRENT.size + length + 7) & ~7)
        self._ends.append(end)
        self._parts.append(DIRENT.pack(ino, end, length, kind) + name + _PADDING[length & 7])

    def scan(self, directory: int, base: int) -> None:
        """All entries of an open directory, their inode numbers xored with ``base``."""
        pack, append, mark, end = DIRENT.pack, self._parts.append, self._ends.append, self._ends[-1]
        with os.scandir(directory) as found:
            for entry in found:
                name = os.fsencode(entry.name)
                length = len(name)
                end += (DIRENT.size + length + 7) & ~7
                mark(end)
                append(pack(base ^ entry.inode(), end, length, _kind(entry)) + name + _PADDING[length & 7])

    def cut(self, offset: int, size: int) -> bytes:
        """The whole entries from ``offset`` on that fit in ``size`` bytes; empty at the end."""
        if self._content is None:
            self._content = b"".join(self._parts)
            self._parts.clear()
        return self._content[offset : self._ends[bisect_right(self._ends, offset + size) - 1]]


REG, DIR, LNK, UNKNOWN = 8, 4, 10, 0  # d_type, see readdir(3)


def _kind(entry: os.DirEntry[str]) -> int:
    if entry.is_file(follow_symlinks=False):
        return REG
    if entry.is_dir(follow_symlinks=False):
        return DIR
    return LNK if entry.is_symlink() else UNKNOWN


_PADDING = [b"\0" * (-length % 8) for length in range(8)]
