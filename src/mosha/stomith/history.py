"""What was asked of STOMITH devices, and what they said: one JSON object a line, in ``varpath/stomith.log``.

Rules:

1. A call is one line, written when it has ended. Neither options nor arguments are in it, and what a device said is
   written without its secrets.
2. At ``BYTES_MAX`` the file becomes ``stomith.log.previous``, in the place of the one before.
3. A log that cannot be written is no reason for a shot to fail, or to wait: a FIFO may lie there.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from mosha.platform import plain

NAME = "stomith.log"
BYTES_MAX = 256 * 1024
WORDS_CHARACTERS_MAX = 400
_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Attempt(NamedTuple):
    """One call of one device."""

    time: float             # seconds since 1970
    by: str                 # agent, or operator
    node: int | None
    level: int
    device: str
    action: str
    ok: bool
    code: int | None
    seconds: float
    words: str


def append(directory: Path, attempt: Attempt) -> None:
    """Write one line; errors are swallowed, see rule 3."""
    fields = attempt._asdict()
    fields.update(time=round(attempt.time, 3), seconds=round(attempt.seconds, 3))
    fields["words"] = attempt.words[-WORDS_CHARACTERS_MAX:]
    line = json.dumps(fields).encode() + b"\n"
    file = directory / NAME
    try:
        if file.exists() and file.stat().st_size + len(line) > BYTES_MAX:
            os.replace(file, f"{file}.previous")
        fd = plain.checked(os.open(file, _APPENDING, 0o600), file)
        try:
            os.write(fd, line)
        finally:
            os.close(fd)
    except OSError:
        pass


def read(directory: Path, last: int) -> list[dict[str, Any]]:
    """The last lines, the oldest first; a line that is not whole is left out. Raises OSError."""
    found: list[dict[str, Any]] = []
    for file in (directory / f"{NAME}.previous", directory / NAME):
        try:
            text = plain.read(file, 2 * BYTES_MAX)
        except FileNotFoundError:
            continue
        found += [fields for fields in map(_parse, text.splitlines()) if fields is not None]
    return found[-last:]


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(line)
        return Attempt(**fields)._asdict()
    except (ValueError, TypeError, RecursionError):
        return None
