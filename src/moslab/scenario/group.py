"""A resource group as a test sees it, the same in every world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from moslab.errors import CannotError
from moslab.history.intervals import Interval

if TYPE_CHECKING:
    from moslab.scenario.cluster import Cluster

WITHIN_S = 45.0


class Group:
    """Wherever it runs. *Elsewhere* is not where this test has last seen it, by :attr:`owner` or by a wait."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.name = name
        self._cluster = cluster
        self._seen = 0                                       # the node where it was seen last; 0: nowhere yet

    @property
    def runs(self) -> tuple[Interval, ...]:
        """Its processes that execute now, on whatever nodes."""
        return tuple(self._cluster.world.running(self.name))

    @property
    def owner(self) -> int:
        """The one node on which it runs; waits until there is one."""
        __tracebackhide__ = True
        return self.run().node

    def run(self, within: float = WITHIN_S) -> Interval:
        """A process of it, on the one node on which it runs; waits until there is one."""
        __tracebackhide__ = True
        found = self._await(lambda runs: len({one.node for one in runs}) == 1, "runs on one node", within)
        return self._saw(found[0])

    def wait_running(self, elsewhere: bool | int = False, within: float = WITHIN_S) -> Interval:
        """Wait until it runs; ``elsewhere`` than it was seen last, or than on that node."""
        __tracebackhide__ = True
        if elsewhere is False:
            return self.run(within)
        before = self._seen if elsewhere is True else elsewhere
        if not before:
            raise CannotError(f"elsewhere than where? nobody has asked yet for the owner of {self.name}")
        found = self._await(
            lambda runs: any(one.node != before for one in runs), f"runs elsewhere than on node {before}", within,
        )
        return self._saw(next(one for one in found if one.node != before))

    def wait_stopped(self, within: float = WITHIN_S) -> None:
        """Wait until no process of it executes anywhere."""
        __tracebackhide__ = True
        self._await(lambda runs: not runs, "runs nowhere", within)

    def wait_again(self, before: Interval, within: float = WITHIN_S) -> Interval:
        """Wait for a process of it, on any node, that began after that one had ended: in containers the witness, which
        goes on where a process of the group is respawned alone."""
        __tracebackhide__ = True
        found = self._await(
            lambda runs: bool(runs) and all(one[:5] != before[:5] for one in runs), "runs again", within,
        )
        return self._saw(found[0])

    def goes_on(self, before: Interval, for_s: float) -> bool:
        """Whether that very process executes ``for_s`` from now."""
        self._cluster.world.sleep(for_s)
        return any(one[:5] == before[:5] for one in self.runs)

    def _await(self, until: Callable[[tuple[Interval, ...]], bool], what: str, within: float) -> tuple[Interval, ...]:
        __tracebackhide__ = True
        return self._cluster.eventually(lambda: self.runs, until, within=within, what=f"group {self.name} {what}")

    def _saw(self, run: Interval) -> Interval:
        self._seen = run.node
        return run

    def __repr__(self) -> str:
        return f"<group {self.name}>"
