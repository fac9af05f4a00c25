"""What lies beside a table and is in no version of it: what another version replaced last, and edits that yielded.

Rules:

1. What a version replaces becomes ``NAME.previous``. An edit that yields is kept as ``NAME.kept-…``, which is a
   conflict until somebody removes that file. With ``KEPT_MAX`` of these no more is kept, and so nothing replaced.
2. Who has the table open to write it in place (``cat > NAME``) writes into ``NAME.previous`` once another version was
   taken. ``NAME.aside`` has the checksum of what was put there: any other text is an edit that yields. That very file
   is kept then, so that what he writes later is in it too.
3. An empty ``NAME.previous``, or one that the machine says is open to write, may be written yet. When the next version
   needs that name it is kept as in rule 2.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import count

from mosha.platform.world import Store

FILE_BYTES_MAX = 1024 * 1024
KEPT_MAX = 16
CHECKSUM_DIGITS = 64


class Aside:
    """Of one table. ``directory`` is what messages say. All but the beginning may raise OSError."""

    def __init__(self, store: Store, name: str, directory: object) -> None:
        self.kept: list[str] = []                    # files with edits that are in no version
        self.previous = f"{name}.previous"
        self._store, self._name, self._directory = store, name, directory
        self._note, self._looked = f"{name}.aside", False
        self._noted: str | None = None               # the checksum of what was put aside, as far as it is known

    def look(self) -> list[str]:
        """Once a beat: what is kept, and what somebody wrote into what was put aside; what is to be logged."""
        if self._looked:
            self.kept = [name for name in self.kept if self._store.read(name, 0) is not None]
        else:
            self.kept = [name for name in self._store.list() if name.startswith(f"{self._name}.kept-")]
            self._noted = (self._store.read(self._note, CHECKSUM_DIGITS) or b"").decode("ascii", "replace") or None
            self._looked = True
        return self._written()

    def keep(self, contents: Iterable[bytes], why: str, most: int = KEPT_MAX) -> list[str]:
        """As files of rule 1; what is to be logged."""
        lines = []
        for content in dict.fromkeys(contents):
            if not content.strip() or len(content) > FILE_BYTES_MAX:
                continue
            name = next(self._names(content))
            if name not in self.kept:
                self._make_room(most)
                self._store.replace(name, content, durable=True)
                self._has_kept(name)
            lines.append(self._said(why, name))
        return lines

    def free(self) -> list[str]:
        """The name of rule 1 is about to be taken: nothing is left there that is known nowhere else; what is to be
        logged."""
        return self._written(is_needed=True)

    def put(self) -> bytes:
        """Something was put there: what that is."""
        content = self._store.read(self.previous, FILE_BYTES_MAX) or b""
        if self._noted != checksum_of(content):
            self._noted = checksum_of(content)
            self._store.replace(self._note, self._noted.encode(), durable=True)
        return content

    def _written(self, is_needed: bool = False) -> list[str]:
        """Rules 2 and 3."""
        content = self._store.read(self.previous, FILE_BYTES_MAX)
        if content is None:
            return []
        checksum = checksum_of(content)
        self._noted = self._noted or checksum
        is_edit = bool(content.strip()) and checksum != self._noted
        if is_needed:
            is_edit = is_edit or not content.strip() or self._store.is_being_written(self.previous)
        if not is_edit or (len(self.kept) >= KEPT_MAX and not is_needed):
            return []
        self._make_room(KEPT_MAX)
        name = next(name for name in self._names(content) if name not in self.kept)      # what has one may grow still
        self._store.rename(self.previous, name)
        self._has_kept(name)
        return [self._said(f"somebody had {self._name} open while another version came, and may write still", name)]

    def _names(self, content: bytes) -> Iterator[str]:
        for salt in count():
            yield f"{self._name}.kept-{checksum_of(content + b' ' * salt)[:8]}"

    def _make_room(self, most: int) -> None:
        if len(self.kept) >= most:
            raise OSError(errno.EDQUOT, f"{KEPT_MAX} files {self._name}.kept-* wait for somebody to remove them")

    def _has_kept(self, name: str) -> None:
        self.kept = sorted([*self.kept, name])

    def _said(self, why: str, name: str) -> str:
        return f"conflict: {why}; that is kept as {self._directory}/{name}"


@lru_cache(maxsize=16)
def checksum_of(content: bytes) -> str:
    """In hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
