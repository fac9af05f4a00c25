"""What is to be run elsewhere, as it is said: bytes, with NUL between words, none of which can have one.

Program, directory, umask, the numbers of the ignored signals (with blanks between), how many arguments there are,
these, then name and value of each variable. Nothing but ``os`` is imported: who says it has just begun, and is in a
hurry.
"""

from __future__ import annotations

import os
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HEADER = Struct("=IIQ")
"""Of each frame (:mod:`emulator.guests.frames`): its length with this, its kind, a number."""
START = 1
"""The kind of frame in which that is said; its number is the node's."""
FIELDS = 5
"""Before the arguments."""
SEPARATOR = b"\0"


def packed(
    program: str, arguments: Sequence[str], environment: Mapping[str, str], directory: str, umask: int,
    ignored: Iterable[int],
) -> bytes:
    """As said above."""
    words = [program, directory, str(umask), " ".join(map(str, ignored)), str(len(arguments)), *arguments]
    for variable in environment.items():
        words += variable
    return SEPARATOR.join(map(os.fsencode, words))
