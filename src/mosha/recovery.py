"""How soon it is found that a service has failed, and how soon it begins anew, by the tables in force: ``mosha check``.

Rules:

1. What ends is noticed at once, and a ``respawn`` is started again at once. What hangs is found by a ``monitor`` alone:
   within its interval and ``monitor_limit_s``, from the end of the run that found the service well last. Of several the
   slowest counts, as each may be for something else.
2. Then the group is stopped: by the signals of ``stop``, the last of which ends everything but state D. What is at
   level ``stop`` comes next, a ``wait`` for ``stop_limit_s`` at most, and what that leaves is stopped in the same way.
3. Then it is started: where it is, as often as ``restarts`` says, else elsewhere, after the test there. That takes what
   its own commands take: ``test_limit_s`` for each ``test`` at most, ``wait_limit_s`` for each ``wait``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from mosha.monitor import STOP
from mosha.tables.cltab import MONITOR, TEST, WAIT, Cltab, Entry
from mosha.tables.hactl import Hactl, levels


class Recovery(NamedTuple):
    """Of one group at the level that hactl wants; seconds. ``monitor``: the slowest, None if nothing looks."""

    group: str
    level: str
    monitor: Entry | None
    limit_s: float
    stop_s: float
    start_s: float
    restarts: int

    @property
    def found_s(self) -> float:
        """Rule 1, of what hangs; infinite if nothing looks."""
        return self.monitor.every_s + self.limit_s if self.monitor is not None else math.inf

    def line(self) -> str:
        """For people, as a line of the bounds."""
        if self.monitor is None:
            formula, time, found = "no monitor", "", "what ends is noticed at once, what hangs never"
        else:
            formula = f"{self.monitor.every_s:g} + {self.limit_s:g} + {self.stop_s:g}"
            time = f"{self.found_s + self.stop_s:.3f} s"
            found = (f"what hangs is found after {self.found_s:g} s ({self.monitor.tag}), and stopped after "
                     f"{self.stop_s:g} s")
        takes = f"takes {self.start_s:g} s at most" if math.isfinite(self.start_s) else "has no limit (wait_limit_s)"
        where = f"here (restarts={self.restarts})" if self.restarts else "elsewhere (restarts=0)"
        return f"{'service ' + self.group:<22}  {formula:<35}  {time:>9}  {found}; its start {where} {takes}"

    def said(self) -> dict[str, Any]:
        """For programs; None for what has no limit."""
        return {
            "group": self.group, "level": self.level, "monitor": self.monitor.tag if self.monitor is not None else None,
            "restarts": self.restarts, "found_s": _finite(self.found_s), "stop_s": self.stop_s,
            "start_s": _finite(self.start_s),
        }


def of(cltab: Cltab, hactl: Hactl) -> Iterator[Recovery]:
    """Of each group that shall run, and has something to run."""
    policy = cltab.policy
    for group, level in levels(hactl).items():
        entries = [entry for entry in cltab.group(group) if entry.at(level)]
        if level == STOP or not entries:
            continue
        monitors = [entry for entry in entries if entry.mode == MONITOR]
        stops = [entry for entry in cltab.group(group) if entry.at(STOP)]
        yield Recovery(
            group, level, max(monitors, key=lambda entry: entry.every_s, default=None), policy.monitor_limit_s,
            policy.stop[-1][0] * (2 if stops else 1) + _sum_s(stops, policy.stop_limit_s, policy.test_limit_s),
            _sum_s(entries, policy.wait_limit_s, policy.test_limit_s), hactl[group].restarts,
        )


def _sum_s(entries: Iterable[Entry], wait_s: float, test_s: float) -> float:
    """What these may take, one after the other."""
    limits_s = {WAIT: wait_s, TEST: test_s}
    return sum(limits_s.get(entry.mode, 0.0) for entry in entries)


def _finite(time_s: float) -> float | None:
    return time_s if math.isfinite(time_s) else None
