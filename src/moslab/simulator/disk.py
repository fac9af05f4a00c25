"""The directory of one node's agent on its disk: what is seen, and what a crash leaves of it.

Rules:

1. A write is seen at once. It is on the disk after the next :meth:`Disk.sync`, or at once when it is durable.
2. A crash leaves of each name that was changed since the last sync the old content, the new one, or, if it was changed
   in place, the beginning of the new one before the end of the old. What was synced is never lost.
3. A write in place may be half done for a moment: whoever reads meanwhile meets it torn.
4. A name whose file was replaced or removed has another generation; the old content is kept for those who hold it.
   A file that was renamed is found under its new name.
"""

from __future__ import annotations

import errno
import os
from typing import Callable

from moslab.simulator.kernel import Stream

BLOCK_BYTES = 512
REPLACED_MAX = 256


def error(number: int) -> OSError:
    """The error of this number, with the usual words."""
    return OSError(number, os.strerror(number))


def over(content: bytes, offset: int, data: bytes) -> bytes:
    """The data over what was there; a gap is filled with zeros."""
    return content[:offset].ljust(offset, b"\0") + data + content[offset + len(data) :]


class Disk:
    """``watch(name)`` is called when one of the ``watched`` names has a new content."""

    __slots__ = (
        "_in_place", "_renamed", "_unfinished", "_unsynced", "files", "generations", "replaced", "watch", "watched",
    )

    def __init__(self, watched: frozenset[str], watch: Callable[[str], None]) -> None:
        self.files: dict[str, bytes] = {}
        self.generations: dict[str, int] = {}                # of names that have had another file: rule 4
        self.replaced: dict[tuple[str, int], bytes] = {}
        self.watched, self.watch = watched, watch
        self._unsynced: dict[str, bytes | None] = {}         # name -> what the disk has of it
        self._in_place: set[str] = set()
        self._renamed: dict[tuple[str, int], tuple[str, int]] = {}       # file -> what it is since: rule 4
        self._unfinished: dict[str, bytes] = {}

    def read(self, name: str) -> bytes:
        """The content as seen now; raises ENOENT."""
        try:
            return self.files[name]
        except KeyError:
            raise error(errno.ENOENT) from None

    def write(self, name: str, offset: int, data: bytes) -> None:
        """In place; creates the file, and fills a gap with zeros."""
        old = self._settled(name)
        self._note(name)
        self._in_place.add(name)
        self._put(name, data if offset == 0 and len(data) >= len(old or b"") else over(old or b"", offset, data))

    def write_replaced(self, name: str, generation: int, offset: int, data: bytes) -> None:
        """Into what an earlier file of that name has become."""
        key = name, generation
        self.replaced[key] = over(self.replaced.get(key, b""), offset, data)

    def tear(self, name: str, offset: int, data: bytes, bytes_done: int) -> None:
        """Like :meth:`write`, but only the first bytes are seen before :meth:`finish` or the next change."""
        before = self._settled(name) or b""
        self.write(name, offset, data)
        self._unfinished[name] = self.files[name]
        self.files[name] = over(before, offset, data[:bytes_done])

    def finish(self, name: str) -> None:
        """The rest of a torn write is done, if nothing came in between."""
        self._settled(name)

    def replace(self, name: str, data: bytes, durable: bool) -> None:
        """Whole or not at all: another file gets the name."""
        self._part(name)
        if durable:
            self._unsynced.pop(name, None)
        else:
            self._note(name)
        self._in_place.discard(name)
        self._put(name, data)

    def rename(self, old: str, new: str) -> None:
        """Durably, over the new name's file, if there is one; raises ENOENT."""
        content, file = self._settled(old), self.file(old)
        if content is None:
            raise error(errno.ENOENT)
        self.replace(new, content, durable=True)
        self.remove(old)
        self._unsynced.pop(old, None)
        self._renamed[file] = self.file(new)

    def file(self, name: str) -> tuple[str, int]:
        """The file of that name, whatever it is called later: for :meth:`found`."""
        return name, self.generations.get(name, 0)

    def found(self, file: tuple[str, int]) -> tuple[str, bool]:
        """The last name of that file, and whether it has it still."""
        while file in self._renamed:
            file = self._renamed[file]
        return file[0], file[0] in self.files and self.file(file[0]) == file

    def remove(self, name: str) -> bool:
        """Whether there was such a file."""
        if self._part(name) is None:
            return False
        self._note(name)
        del self.files[name]
        return True

    def spoil(self, name: str, data: bytes | None) -> None:
        """Something else lies there now, in the same file, or nothing, and on the disk for good."""
        if data is None:
            self.remove(name)
            self._unsynced.pop(name, None)
            return
        self._settled(name)
        self._unsynced.pop(name, None)
        self._in_place.discard(name)
        self._put(name, data)

    def names(self) -> list[str]:
        """Of all files, sorted."""
        return sorted(self.files)

    def sync(self) -> None:
        """Rule 1."""
        for name in list(self._unfinished):
            self._settled(name)
        self._unsynced.clear()
        self._in_place.clear()

    def sync_file(self, name: str) -> None:
        """Rule 1, of one file; raises ENOENT."""
        if self._settled(name) is None:
            raise error(errno.ENOENT)
        self._unsynced.pop(name, None)
        self._in_place.discard(name)

    def crash(self, draw: Stream) -> int:
        """Rule 2; how many names went back, or were torn."""
        for name in list(self._unfinished):
            self._settled(name)
        lost = 0
        for name, old in list(self._unsynced.items()):
            fate = draw.random()
            if fate < 0.4:
                continue
            lost += 1
            new = self.files.get(name)
            if new is not None and name in self._in_place and fate < 0.7:
                cut = BLOCK_BYTES * draw.integer(0, len(new) // BLOCK_BYTES)
                self.files[name] = new[:cut] + (old or b"")[cut:]
            elif old is None:
                self.files.pop(name, None)
            else:
                self.files[name] = old
        self._unsynced.clear()
        self._in_place.clear()
        return lost

    def wipe(self) -> None:
        """All of it is lost."""
        for name in list(self.files):
            self._part(name)
        self.files.clear()
        self._renamed.clear()
        self._unsynced.clear()
        self._in_place.clear()
        self._unfinished.clear()

    def _part(self, name: str) -> bytes | None:
        """The name from its file, whose whole content this is: rule 4."""
        content = self._settled(name)
        if content is not None:
            generation = self.generations.get(name, 0)
            self.generations[name] = generation + 1
            self.replaced[name, generation] = content
            if len(self.replaced) > REPLACED_MAX:
                del self.replaced[next(iter(self.replaced))]
        return content

    def _settled(self, name: str) -> bytes | None:
        """The whole content: a torn write is finished first."""
        whole = self._unfinished.pop(name, None)
        if whole is not None:
            self.files[name] = whole
        return self.files.get(name)

    def _note(self, name: str) -> None:
        if name not in self._unsynced:
            self._unsynced[name] = self.files.get(name)

    def _put(self, name: str, data: bytes) -> None:
        self.files[name] = data
        if name in self.watched:
            self.watch(name)
