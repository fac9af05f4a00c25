"""What all tables have in common: lines, names and how a bad one is reported.

Rules:

1. A line ends with ``\\n`` only. One ``\\r`` before it is dropped (Windows writes it); elsewhere it is wrong.
2. Blank lines, and lines whose first visible character is ``#``, say nothing.
3. A NUL, text that is no UTF-8, a line that is too long are errors; the rest of the table is still read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mosha.tables.errors import TableError, TableErrors

LINE_CHARACTERS_MAX = 4096
TABLE_CHARACTERS_MAX = 1 << 20
TABLE_BYTES_MAX = 4 * TABLE_CHARACTERS_MAX           # of UTF-8
NAME_CHARACTERS_MAX = 64
SHOWN_CHARACTERS_MAX = 40
LISTED_MAX = 10
NODE_MAX = 65535
GROUPS_MAX = 400                 # of one table
DIGITS_MAX = 20

NAME_RULE = f"letters, digits, _ - and . only, at most {NAME_CHARACTERS_MAX}, not starting with - or ."
_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{NAME_CHARACTERS_MAX - 1}}}", re.ASCII)


def is_name(text: str) -> bool:
    """Whether ``text`` can name a group, a tag or a level: it is used in file names and environments."""
    return _NAME.fullmatch(text) is not None


def is_whole(text: str, least: int, most: int) -> bool:
    """Whether it is a number in decimal digits, from ``least`` to ``most``."""
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX and least <= int(text) <= most


def is_node(text: str) -> bool:
    """Whether it is the number of a node."""
    return is_whole(text, 1, NODE_MAX)


def shown(text: str) -> str:
    """``text`` as an error message quotes it: printable and short."""
    if len(text) > SHOWN_CHARACTERS_MAX:
        text = text[: SHOWN_CHARACTERS_MAX - 3] + "..."
    return ascii(text)


def listed(names: Sequence[str]) -> str:
    """As a message names what there is: not too many."""
    more = len(names) - LISTED_MAX
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:LISTED_MAX])} and {more} more"


class Reader:
    """The lines of one table that say something, and the problems found on the way."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.line = 0
        self.errors: list[TableError] = []
        self._text = text

    def __iter__(self) -> Iterator[str]:
        if len(self._text) > TABLE_CHARACTERS_MAX:
            self.line = 1
            self.problem(f"table is longer than {TABLE_CHARACTERS_MAX} characters")
            return
        for number, line in enumerate(self._text.split("\n"), 1):
            self.line = number
            reason = _unreadable(line)
            if reason:
                self.problem(reason)
            elif line.strip() and not line.lstrip().startswith("#"):
                yield line[:-1] if line.endswith("\r") else line

    def problem(self, reason: str) -> None:
        """Note what is wrong with the line read last."""
        self.errors.append(TableError(self.file, self.line, reason))

    def check(self) -> None:
        """Raise :class:`TableErrors` if there were problems."""
        if self.errors:
            raise TableErrors(sorted(self.errors, key=lambda error: error.line))


def _unreadable(line: str) -> str:
    if len(line) > LINE_CHARACTERS_MAX:
        return f"line is longer than {LINE_CHARACTERS_MAX} characters"
    if "\0" in line:
        return "NUL character in line"
    if "\r" in line[:-1]:
        return "carriage return inside the line"
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        return "line is not valid UTF-8"
    return ""
