"""Which living processes belong to which entry of a group.

Rules:

1. With a child subreaper every process of the group descends from the leash, whatever it did. Without, ours is what
   descends from it, is in its control group if it has one, is in its session, carries the group's mark in its
   environment, or was ours before.
2. A process belongs to the entry it was started for, else to the entry of its parent, else to that which its
   environment names; it keeps to it for ever. Where none of these says anything it is a stray, and so is what belongs
   to an entry of which everything was taken for dead: a look at /proc is not one instant.
3. A signal reaches each process of a family once.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection

from mosha.clinit.group import STRAYS
from mosha.platform import procscan
from mosha.platform.cgroups import Unit
from mosha.platform.procscan import Process

TAG = "MOSHA_TAG"
LOOKS_TO_KILL_MAX = 16


class Families:
    """The processes that descend from the caller, by tag."""

    def __init__(self, group: str, rundir: str, subreaper: bool, unit: Unit | None = None) -> None:
        self._group, self._rundir, self._unit = group, rundir, unit
        self._subreaper = subreaper
        self._tags: dict[tuple[int, int], str] = {}

    def started(self, pid: int, tag: str) -> None:
        """``pid`` is the new process of ``tag``, and not yet waited for."""
        process = procscan.process(pid)
        if process is not None:
            self._tags[pid, process.born] = tag

    def forget(self) -> None:
        """No process of the group lives."""
        self._tags.clear()

    def living(self, tags: Collection[str]) -> dict[str, list[Process]]:
        """All living processes of the group by tag, none for tags without. ``tags``: those of rule 2."""
        families = self._look(procscan.processes())
        for tag in families.keys() - tags - {STRAYS}:
            strays = families.pop(tag)
            self._tags.update({(process.pid, process.born): STRAYS for process in strays})
            families[STRAYS] = families.get(STRAYS, []) + strays
        return families

    def send(self, tag: str, signo: int) -> None:
        """Rule 3. SIGKILL is repeated for what the killed ones may have started meanwhile."""
        done: set[Process] = set()
        for _ in range(LOOKS_TO_KILL_MAX if signo == signal.SIGKILL else 1):
            table = procscan.processes()
            new = [process for process in self._look(table).get(tag, ()) if process not in done]
            if not new:
                return
            _send_once(new, table, signo)
            done.update(new)

    def _look(self, table: dict[int, Process]) -> dict[str, list[Process]]:
        tags: dict[tuple[int, int], str] = {}
        families: dict[str, list[Process]] = {}
        until_s = procscan.patience()
        for process in self._members(table, until_s):
            key = process.pid, process.born
            parent = table.get(process.parent)
            tag = self._tags.get(key)
            if tag is None and parent is not None:
                tag = tags.get((parent.pid, parent.born))
            if tag is None:
                tag = procscan.variable(process.pid, TAG, until_s) or STRAYS
            tags[key] = tag
            if process.state != procscan.ZOMBIE:
                families.setdefault(tag, []).append(process)
        self._tags = tags
        return families

    def _members(self, table: dict[int, Process], until_s: float) -> list[Process]:
        me = os.getpid()
        members = procscan.descendants(table, me)
        if not self._subreaper:
            known = {me, *(process.pid for process in members)}
            session, inside = os.getsid(0), self._unit.pids() if self._unit is not None else set()
            members += [
                p for p in table.values()
                if p.pid not in known and (p.pid in inside or p.session == session or self._is_marked(p, until_s))
            ]
        return members

    def _is_marked(self, process: Process, until_s: float) -> bool:
        return (process.pid, process.born) in self._tags or (
            procscan.variable(process.pid, procscan.MARK, until_s) == self._group
            and procscan.names_no_other(process.pid, self._rundir, until_s)
        )


def _send_once(processes: list[Process], table: dict[int, Process], signo: int) -> None:
    """By process group, so that a fork cannot slip through, where the whole process group is meant."""
    pids = {process.pid for process in processes}
    foreign = {process.group for process in table.values() if process.pid not in pids}
    for group in {process.group for process in processes} - foreign:
        procscan.kill(-group, signo)
    for process in processes:
        if process.group in foreign:
            procscan.kill(process.pid, signo)
