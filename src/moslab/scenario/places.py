"""How many nodes all sessions of one user have at once on this machine: places, each held by one process.

Rules:

1. A place is an abstract name that a socket is bound to, unix(7). So it is free again when its process has ended,
   however that was, and nothing is left of it.
2. A cluster has as many places as nodes, or none; one that is larger than all has them all.
3. Who holds no places waits for them, so long and not longer. Who holds some takes what is free: two that waited for
   what the other has would do so for ever.
"""

from __future__ import annotations

import errno
import os
import socket

from moslab.errors import CannotError
from moslab.wait import eventually

PREFIX = "moslab-places"
IDLE_MAX = 10
LENT_MAX = 8 * max(2, os.cpu_count() or 1)
WAIT_LIMIT_S = 300.0


class Places:
    """``count`` places of that name."""

    def __init__(self, name: str, count: int) -> None:
        self._name, self._count = name, count
        self._held: list[int] = []

    def take(self, wanted: int, within_s: float = WAIT_LIMIT_S) -> list[int]:
        """Hold so many; LabError if others have them for ``within_s`` seconds (rules 2 and 3)."""
        if self._held:
            return self._free(wanted)
        wanted = min(wanted, self._count)
        return eventually(lambda: self.try_take(wanted), lambda found: len(found) == wanted, within_s=within_s,
                          what=f"{wanted} of {self._count} places for nodes, which tests of this user have in all")

    def try_take(self, wanted: int) -> list[int]:
        """Hold so many, or none."""
        found = self._free(wanted)
        if len(found) < wanted:
            self.give(found)
            return []
        return found

    def give(self, held: list[int]) -> None:
        """Hold these no more."""
        for fd in held:
            self._held.remove(fd)
            os.close(fd)

    def _free(self, wanted: int) -> list[int]:
        """So many that nobody held until now, or fewer."""
        found: list[int] = []
        for number in range(self._count):
            if len(found) == wanted:
                break
            fd = self._take_one(number)
            if fd is not None:
                found.append(fd)
        self._held += found
        return found

    def _take_one(self, number: int) -> int | None:
        """None if somebody has it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as place:
            try:
                place.bind(f"\0{PREFIX}-{os.geteuid()}-{self._name}-{number}")
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return None
                raise CannotError(f"a place for a node, which tests count: {error.strerror}") from None
            return place.detach()
