"""What a voter that has forgotten, or has a new electorate, copies of others, page after page.

Rules (R16a):

1. A page lists all journals of a voter, and reads each on from where the page before ended, as far as the page is long.
   The copy is whole when one page has come to the end of all that it listed. Then it has what was there when that page
   began, in the same or in other files: whatever was removed between two pages was repeated before.
2. A page counts if the marker that was read after it says full, in that era. All pages of a copy are of one life of
   that voter, since names of files mean nothing in another, and no journal is bad: else the copy begins again.
3. What was copied is kept as one copy for each writer, in parts, whose names nobody has met before: others know of each
   file how much of it they have read. Earlier copies stay as they are, until housekeeping removes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mosha.ownership import journal
from mosha.ownership.marker import FULL, Marker
from mosha.platform.world import Store

PART_BYTES_MAX = 65536
Lines = dict[str, dict[bytes, None]]             # of each writer


class Copy:
    """Of one voter."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.is_whole = False
        self.lines: Lines = {}
        self._life = ""
        self._known: dict[str, int] = {}

    def known(self) -> list[tuple[str, int]]:
        """The journals that were met, and how many bytes of each were copied."""
        return sorted(self._known.items())

    def take(self, era: str, journals: list[Any], said: Marker | None, is_whole: bool) -> bool:
        """One page, and the voter's marker as read after it; False if there is a bad journal, which will be there for a
        while."""
        is_full = said is not None and said.state == FULL and said.era == era
        if said is None or not is_full or self._life not in ("", said.life):
            self._begin()                            # rule 2
            return True
        if any(journal.is_bad(data or b"") for _, data in journals):
            self._begin()
            return False
        self._life = said.life
        for name, data in journals:
            writer = journal.writer_of(name, era)
            if data is None:
                self._known.pop(name, None)
            elif writer is not None:
                entries, used = journal.decode(data)
                self._known[name] = self._known.get(name, 0) + used
                self.lines.setdefault(writer, {}).update(dict.fromkeys(map(journal.encode, entries)))
        self.is_whole = is_whole
        return True


def keep(store: Store, era: str, copies: Iterable[Copy], nonce: str) -> None:
    """Rule 3; ``nonce``: hexadecimal digits that nobody else ever gets."""
    merged: Lines = {}
    for copy in copies:
        for writer, lines in copy.lines.items():
            merged.setdefault(writer, {}).update(lines)
    number = int(nonce, 16)
    for writer, lines in merged.items():
        parts = [b""]
        for line in lines:
            if len(parts[-1]) + len(line) > PART_BYTES_MAX:
                parts.append(b"")
            parts[-1] += line
        for part in parts:
            store.replace(journal.copy_name(journal.name(era, writer, 0), number), part, durable=True)
            number += 1
