"""Look-ups that were given up: the kernel makes each a second time at once, and that one must not wait again.

A name that the kernel knows is revalidated by a look-up; when that fails, whatever the errno, it looks the name up
anew. Both belong to one operation of one thread, which ends within one bound.
"""

from __future__ import annotations

from emulator.fuse import protocol as fuse
from emulator.fuse.protocol import Request

AT_ONCE_S = 0.25
KEPT_MAX = 1024

Key = tuple[int, int, bytes]


class GivenUp:
    """The look-ups that were given up in the last ``AT_ONCE_S``, each until it is made again."""

    def __init__(self) -> None:
        self._errors: dict[Key, tuple[float, int]] = {}

    def add(self, key: Key, error: int, now_s: float) -> None:
        """This look-up has failed with ``error`` for want of an answer."""
        if len(self._errors) >= KEPT_MAX:
            self._errors.clear()
        self._errors[key] = (now_s + AT_ONCE_S, error)

    def check(self, key: Key, now_s: float) -> None:
        """Raises OSError if this is the second time."""
        if self._errors:
            until_s, error = self._errors.pop(key, (0.0, 0))
            if now_s < until_s:
                raise OSError(error, "given up just now")


def key_of(request: Request) -> Key | None:
    """Which look-up it is; None if it is none."""
    if request.opcode != fuse.LOOKUP:
        return None
    return request.pid, request.nodeid, bytes(request.frame[fuse.IN_HEADER.size :])
