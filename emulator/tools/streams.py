"""The standard output and error of a tool, as the genuine ones have them: of C, whose failures they do not look at.

What cannot be written (``>/dev/full``, ``2>&-``) is lost without a word, and the exit code is what it would be.
"""

from __future__ import annotations

import sys
from io import BufferedWriter, FileIO, StringIO, TextIOWrapper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def install() -> None:
    """Have them so from now on. One that is closed stays so, for who becomes another program."""
    sys.stdout = _taking(sys.stdout)
    sys.stderr = _taking(sys.stderr)


def _taking(stream: Any) -> Any:
    if stream is None:
        return StringIO()
    raw = _Taking(stream.fileno(), "w", closefd=False)
    return TextIOWrapper(BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=stream.line_buffering)


class _Taking(FileIO):
    """A file that takes whatever is written to it."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or len(data)          # None: it would block
        except OSError:
            return len(data)
