"""What a leash leaves when it is killed: the process that started it is the second guardian.

Rules:

1. The caller becomes a child subreaper (Linux 3.4), so whatever a leash leaves becomes a child of it, whatever it did
   to hide: all that is below the caller, and below no leash and no worker of it, is killed by every sweep, and
   collected when it has ended. On an older kernel what is in the group's control group is found (where there are any:
   :mod:`mosha.platform.units`), else only what carries the group's mark in its environment.
2. What is the caller's own is waited for by who started it, so no pid is signalled after it was given to somebody else.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import partial
from typing import Callable

from mosha.platform import linux, procscan
from mosha.resources import remove_left

SWEEP_LIMIT_S = 0.1              # for processes that outlived their leash, and for mounts; tried again by the caller


class Orphans:
    """``own()``: the pids of leashes and workers; ``leash(group)``: that of one leash, if there is one;
    ``units(group)``: those in the group's control groups, guardians excepted."""

    def __init__(
        self, rundir: str, own: Callable[[], Collection[int]], leash: Callable[[str], int | None],
        units: Callable[[str | None], Collection[int]],
    ) -> None:
        self._rundir, self._own, self._leash, self._units = rundir, own, leash, units
        self._adopts = linux.set_subreaper()

    def sweep(self, group: str | None) -> bool:
        """Kill what outlived its leash, and take its addresses and mounts away; whether nothing is left."""
        left = partial(self._left, group)
        return procscan.kill_all(left, SWEEP_LIMIT_S) and remove_left(group, self._rundir, SWEEP_LIMIT_S)

    def shown(self, group: str) -> str:
        """What a sweep of that group has left, in words."""
        return procscan.shown(self._left(group)) or "an address or a mount"

    def collect(self) -> bool:
        """Those that have ended; whether that was all of them: one that is the caller's own hides what ended later."""
        try:
            while self._adopts:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None:
                    return True
                if ended.si_pid in self._own():
                    return False
                os.waitpid(ended.si_pid, os.WNOHANG)
        except ChildProcessError:
            pass
        return True

    def _left(self, group: str | None) -> set[int]:
        """What is below the leash of the group, which was killed; all orphans (rule 1); and what carries its mark."""
        table = procscan.processes()
        found = procscan.descendants(table, os.getpid(), self._own())
        leash = None if group is None else self._leash(group)
        if leash is not None:
            found += procscan.descendants(table, leash)
        return {*procscan.living(found), *procscan.marked(group, self._rundir), *self._units(group)}
