"""How many nodes all sessions of one user have at once on this machine: places, each held by one process.

Rules:

1. A place is a file that is locked by flock(2). So it is free again when its process has ended, however that was.
2. A cluster has as many places as nodes, or none; one that is larger than all has them all.
3. Who holds no places waits for them, so long and not longer. Who holds some takes what is free: two that waited for
   what the other has would do so for ever.
"""

from __future__ import annotations

import os
import tempfile

from mosha.platform.locks import try_lock
from moslab.errors import CannotError
from moslab.wait import eventually

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
            fd = self._open(number)
            if try_lock(fd):
                found.append(fd)
            else:
                os.close(fd)
        self._held += found
        return found

    def _open(self, number: int) -> int:
        directory = f"{tempfile.gettempdir()}/moslab-places-{os.geteuid()}"
        try:
            os.makedirs(directory, 0o700, exist_ok=True)
            return os.open(f"{directory}/{self._name}-{number}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise CannotError(f"{directory}: where tests count their nodes: {error.strerror}") from None
