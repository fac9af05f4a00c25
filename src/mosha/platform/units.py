"""How the processes of a group are held together, besides by descent: by control groups where the machine offers them.

Both who runs groups, the agent and the stand-alone daemon, have one of these. Settings: ``auto``, ``cgroup`` (the same,
and it is said where there are none) and ``session`` (without). Nothing here fails the caller.
"""

from __future__ import annotations

import selectors
from typing import Callable

from mosha.platform import cgroups
from mosha.platform.cgroups import Tree
from mosha.platform.warden import Warden
from mosha.tables.settings import CGROUP, SESSION


class Units:
    """Of one life, which has begun: nothing of an earlier one is left, but what it takes over. ``tree`` is None without
    control groups."""

    def __init__(
        self, how: str, rundir: str, selector: selectors.BaseSelector, say: Callable[[str], None],
        second_s: float = 0.0, inherits: bool = False,
    ) -> None:
        """``second_s``: so long after its deadline a leash must have ended its group; ``inherits``: it has control
        groups of the life before."""
        self._selector, self._say = selector, say
        self._warden: Warden | None = None
        self._is_watched = False
        self.tree: Tree | None = self._root(how, rundir, inherits)
        if self.tree is None:
            if how == CGROUP:
                say("there is no control group that this machine lets us change: groups are sessions")
            return
        say(f"groups are control groups below {self.tree.path}")
        try:
            self._warden = Warden(self.tree, rundir, second_s)
            self._watch(self._warden)
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

    @staticmethod
    def _root(how: str, rundir: str, inherits: bool) -> Tree | None:
        if inherits:
            return cgroups.inherit(rundir)
        return cgroups.plant(rundir) if how != SESSION else None

    def _watch(self, warden: Warden) -> None:
        self._selector.register(warden.fileno(), selectors.EVENT_READ, lambda *_mask: self._died(warden))
        self._is_watched = True

    def _died(self, warden: Warden) -> None:
        self._selector.unregister(warden.fileno())
        warden.forget()
        self._is_watched = False
        self._say("the warden of the control groups has died: it is started anew")
