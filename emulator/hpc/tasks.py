"""What openMosix keeps of each process of this node: the settings in ``<pid>/`` and ``hpc/decay``.

Rules:

1. A process is known by pid and start time: what an old pid had does not pass to a new process.
2. A new process has the settings that its parent has, as fork copies them. That is seen when the process, or any
   setting, is next asked for or changed; one whose parent ended before that has the settings of who adopted it.
3. A guest has those that it had at home when it came.
4. What is kept for the next daemon of this boot is as of the last setting that was written, which knew all processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Callable

from emulator.hpc.procfs import Stat, live, process_of, stat_of

SETTINGS = {
    "lock": 0,
    "sigmig": 0,
    "disclosure": 3,
    "migfilter": 0,
    "migpolicy": 0,
    "mignodes": 0,
    "miggroup": 0,
    "selected": 0,
}
"""Those in ``<pid>/``, and what they are at boot."""

DECAY = {"cpujob": 0, "iojob": 0, "slow": 1, "fast": 0, "own": 0, "inherit": 0, "exec": 0, "execonce": 0}
"""Those in ``hpc/decay``, and what they are at boot: each process sees and sets its own."""

DEFAULTS = {**SETTINGS, **DECAY}
TASKS_MIN = 64


class Task:
    """One process."""

    __slots__ = ("pid", "settings", "start")

    def __init__(self, pid: int, start: int, settings: dict[str, int]) -> None:
        self.pid = pid
        self.start = start
        self.settings = settings


class Tasks:
    """All processes that were asked for, or descend from one that was."""

    def __init__(self) -> None:
        self._tasks: dict[int, Task] = {}
        self._prune_at = TASKS_MIN
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback()`` after each setting that a process has written."""
        self._listeners.append(callback)

    def kept(self) -> list[tuple[int, int, dict[str, int]]]:
        """Pid and start of each process, and which settings are not those of boot."""
        return [(task.pid, task.start, dict(task.settings.items() - DEFAULTS.items())) for task in self._tasks.values()]

    def restore(self, kept: Iterable[tuple[int, int, Mapping[str, int]]]) -> None:
        """Have what was kept; ValueError if it is none."""
        tasks = {pid: Task(pid, start, {**DEFAULTS, **changes}) for pid, start, changes in kept}
        if any(task.settings.keys() != DEFAULTS.keys() for task in tasks.values()):
            raise ValueError("no settings of processes")
        self._tasks = tasks

    def of(self, pid: int) -> Task | None:
        """The process, or None if there is none."""
        stat = stat_of(pid)
        if stat is None:
            self._tasks.pop(pid, None)
            return None
        unknown: list[tuple[int, Stat]] = []
        settings = DEFAULTS
        while stat is not None:
            task = self._tasks.get(pid)
            if task is not None and task.start == stat.start:
                if not unknown:
                    return task
                settings = task.settings
                break
            unknown.append((pid, stat))
            pid = stat.parent
            stat = stat_of(pid) if pid else None
        for pid, stat in reversed(unknown):
            task = self._tasks[pid] = Task(pid, stat.start, dict(settings))
        self._prune()
        return task

    def of_thread(self, thread: int) -> Task | None:
        """The process of the thread that asks."""
        process = process_of(thread)
        return None if process is None else self.of(process)

    def selected(self, thread: int) -> int:
        """The node that the thread's process has selected; 0 for none."""
        task = self.of_thread(thread)
        return 0 if task is None else task.settings["selected"]

    def set(self, task: Task, changes: dict[str, int]) -> None:
        """Change settings of this process, and of those that it starts from now on."""
        for pid in live():
            self.of(pid)
        task.settings.update(changes)
        for callback in self._listeners:
            callback()

    def give(self, pid: int, settings: Mapping[str, int]) -> None:
        """Let a process that has started nothing yet have these settings; names that are none are left out."""
        task = self.of(pid)
        if task is not None:
            task.settings.update({name: settings[name] for name in task.settings.keys() & settings.keys()})

    def _prune(self) -> None:
        if len(self._tasks) > self._prune_at:
            there = set(live())
            self._tasks = {pid: task for pid, task in self._tasks.items() if pid in there}
            self._prune_at = max(TASKS_MIN, 2 * len(self._tasks))
