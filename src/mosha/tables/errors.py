"""What is wrong with a table, in words for the person who wrote it."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN_MAX = 20
REASON_CHARACTERS_MAX = 400


class TableError(ValueError):
    """One problem of one table; ``str`` is ``FILE:LINE: reason``. Lines count from 1, 0 is the file as a whole."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(file, line, reason)
        self.file = file
        self.line = line
        self.reason = _printable(reason[:REASON_CHARACTERS_MAX])

    def __str__(self) -> str:
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.reason}"


def _printable(text: str) -> str:
    """What it quotes may be anything; it is shown on terminals, and in a line of a log."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


class TableErrors(ValueError):
    """All problems of one table, in the order of its lines; ``str`` has one line for each, up to a limit."""

    def __init__(self, errors: Sequence[TableError]) -> None:
        super().__init__(list(errors))
        self.errors = list(errors)

    def __str__(self) -> str:
        lines = [str(error) for error in self.errors[:SHOWN_MAX]]
        if len(self.errors) > SHOWN_MAX:
            lines.append(f"and {len(self.errors) - SHOWN_MAX} more")
        return "\n".join(lines)
