"""How the processes of a group are held together, besides by descent: by control groups where the machine offers them.

Both who runs groups, the agent and the stand-alone daemon, have one of these. Settings: ``auto``, ``cgroup`` (the same,
and it is said where there are none) and ``session`` (without). Nothing here fails the caller.
"""

from __future__ import annotations

import selectors
import time
from typing import Callable

from mosha.platform import cgroups
from mosha.platform.cgroups import NEW_RECORD, RECORD, Tree
from mosha.platform.warden import RESTART_S, Warden
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
        self._how, self._rundir, self._second_s = how, rundir, second_s
        self._selector, self._say = selector, say
        self._warden: Warden | None = None
        self._is_watched = False
        self._record = RECORD if claimed is None else NEW_RECORD
        self._tried_s, self._trouble = 0.0, ""
        self.tree = claimed
        if claimed is None:
            self._plant()
        else:
            self._hold(claimed)

    def ready(self) -> Tree | None:
        """The directory for one more leash. It is another one when that of before was removed, as by the warden of an
        earlier life, which had it until it was this life's."""
        if self.tree is not None and not self.tree.is_there():
            self._plant()
        return self.tree

    def _is_guarded(self) -> bool:
        return self._warden is not None and self._record == RECORD

    def _plant(self) -> None:
        if self._warden is not None:
            self._forget(self._warden)
            self._warden = None
        self.tree = cgroups.plant(self._rundir) if self._how != SESSION else None
        self._record = RECORD
        if self.tree is not None:
            self._hold(self.tree)
        elif self._how == CGROUP:
            self._say("there is no control group that this machine lets us change: groups are sessions")

    def _hold(self, tree: Tree) -> None:
        self._say(f"groups are control groups below {tree.path}")
        self._guard(tree)

    def _guard(self, tree: Tree) -> None:
        """Have a warden, then the record: what fails is tried again (:meth:`tick`)."""
        self._tried_s = time.monotonic()
        try:
            if self._warden is None:
                self._warden = Warden(tree, self._rundir, self._second_s, self._record)
                self._watch(self._warden)
            if self._record != RECORD:
                cgroups.settle(self._rundir)
                self._record = RECORD
        except OSError as error:
            text = f"no warden can be started: {error.strerror}"
            if text != self._trouble:
                self._trouble = text
                self._say(text)

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
        """In each turn: a warden that has died, or could not be had, is started anew, but not often."""
        if self._warden is not None and not self._is_watched:
            if self._warden.is_due() and self._warden.renew(self._record):
                self._watch(self._warden)
        elif self.tree is not None and not self._is_guarded() and time.monotonic() >= self._tried_s + RESTART_S:
            self._guard(self.tree)

    def close(self) -> None:
        """At the end of the life; the warden ends what may be left, and removes the directory."""
        if self._warden is not None:
            self._warden.close()
        elif self.tree is not None:
            self.tree.uproot(0.0)

    def _watch(self, warden: Warden) -> None:
        self._selector.register(warden.fileno(), selectors.EVENT_READ, lambda *_mask: self._died(warden))
        self._is_watched = True

    def _forget(self, warden: Warden) -> None:
        if self._is_watched:
            self._selector.unregister(warden.fileno())
        warden.forget()
        self._is_watched = False

    def _died(self, warden: Warden) -> None:
        self._forget(warden)
        self._say("the warden of the control groups has died: it is started anew")
