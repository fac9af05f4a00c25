"""How the processes of a group are held together, besides by descent: by control groups where the machine offers them.

Both who runs groups, the agent and the stand-alone daemon, have one of these. Settings: ``auto``, ``cgroup`` (the same,
and it is said where there are none) and ``session`` (without). Nothing here fails the caller.
"""

from __future__ import annotations

import selectors
from typing import Callable

from mosha.platform import cgroups
from mosha.platform.cgroups import NEW_RECORD, RECORD, Tree
from mosha.platform.warden import Warden
from mosha.tables.settings import CGROUP, SESSION


class Units:
    """Of one life, which has begun: nothing of an earlier one is left, but what it takes over. ``tree`` is None without
    control groups."""

    def __init__(
        self, how: str, rundir: str, selector: selectors.BaseSelector, say: Callable[[str], None],
        second_s: float = 0.0, claimed: Tree | None = None,
    ) -> None:
        """``second_s``: so long after its deadline a leash must have ended its group; ``claimed``: the directory of
        the life before (:func:`mosha.platform.cgroups.claim`), whose warden ends when this life has one."""
        self._selector, self._say = selector, say
        self._warden: Warden | None = None
        self._is_watched = False
        self.tree = claimed
        if self.tree is None and how != SESSION:
            self.tree = cgroups.plant(rundir)
        if self.tree is None:
            if how == CGROUP:
                say("there is no control group that this machine lets us change: groups are sessions")
            return
        say(f"groups are control groups below {self.tree.path}")
        try:
            self._warden = Warden(self.tree, rundir, second_s, RECORD if claimed is None else NEW_RECORD)
            self._watch(self._warden)
            if claimed is not None:
                cgroups.settle(rundir)
        except OSError as error:
            say(f"no warden can be started: {error.strerror}")

    def own(self) -> set[int]:
        """The pid of the warden, which the caller does not wait for."""
        return {self._warden.pid} if self._warden is not None else set()

    def pids(self, group: str | None) -> set[int]:
        """The processes in the units of a group, but for guardians that live; empty ones are removed."""
        if self.tree is None:
            return set()
        found = self.tree.pids(group)
        if not found:
            self.tree.prune()
        return found

    def tick(self) -> None:
        """In each turn: a warden that has died is started anew."""
        if self._warden is not None and not self._is_watched and self._warden.is_due() and self._warden.renew():
            self._watch(self._warden)

    def close(self) -> None:
        """At the end of the life; the warden ends what may be left, and removes the directory."""
        if self._warden is not None:
            self._warden.close()
        elif self.tree is not None:
            self.tree.uproot(0.0)

    def _watch(self, warden: Warden) -> None:
        self._selector.register(warden.fileno(), selectors.EVENT_READ, lambda *_mask: self._died(warden))
        self._is_watched = True

    def _died(self, warden: Warden) -> None:
        self._selector.unregister(warden.fileno())
        warden.forget()
        self._is_watched = False
        self._say("the warden of the control groups has died: it is started anew")
