"""What this node tells of itself: its status bits, its settings, its load and memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Callable

from emulator.hpc.procfs import running
from emulator.membership import Membership
from emulator.mfs.pace import PACES
from emulator.probe import Report

CONFIGURED, UP = 1, 2
TOGGLES = {"stay": 4, "lstay": 8, "block": 16, "quiet": 32, "nomfs": 64}
"""The status bit of each toggle in ``admin/``."""

STANDARD_SPEED = 15000
NUMBERS = {
    "speed": (STANDARD_SPEED,),
    "sspeed": (STANDARD_SPEED,),
    "overheads": (81, 150, 39, 38, 0, 11, 0, 18, 0, 18, 0, 12, 8141, 351),
    "slowdecay": (975,),
    "fastdecay": (926,),
    "decayinterval": (2,),
    "gateways": (0,),
    "mfscosts": (36, 40, 14, 19, 88, 56),
}
"""What holds numbers in ``admin/``, and what they are at boot."""
MEASURED_EACH_S = 1.0


class State:
    """The node's own settings. Defaults are those of the genuine kernel (2.4.26, openMosix 1.8.1)."""

    def __init__(self, membership: Membership) -> None:
        self.toggles: set[str] = set()
        self.numbers: dict[str, Sequence[int]] = dict(NUMBERS)
        self.time: str | None = None  # what was written to mfs/time, if anything was
        self._membership = membership
        self._listeners: list[Callable[[], None]] = []
        self._measured: tuple[int, int, int, int] = (0, 0, 0, 0)
        self._measured_s = -MEASURED_EACH_S

    @property
    def status(self) -> int:
        """The bits of ``nodes/N/status`` of a node that answers."""
        return CONFIGURED | UP | sum(TOGGLES[name] for name in self.toggles)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback()`` after each change of a setting."""
        self._listeners.append(callback)

    def set_toggle(self, name: str, on: bool) -> None:
        self._set({*self.toggles, name} if on else self.toggles - {name}, self.numbers, self.time)

    def set_numbers(self, name: str, numbers: Sequence[int]) -> None:
        self._set(self.toggles, {**self.numbers, name: numbers}, self.time)

    def set_time(self, name: str) -> None:
        self._set(self.toggles, self.numbers, name)

    def restore(self, toggles: Iterable[str], numbers: Mapping[str, Sequence[int]], time: str | None) -> None:
        """Have the settings of before; ValueError if they are none."""
        on, sizes = set(toggles), {name: len(values) for name, values in numbers.items()}
        known = {name: len(values) for name, values in NUMBERS.items()}
        if not on <= TOGGLES.keys() or sizes != known or time not in (None, *PACES):
            raise ValueError("no settings")
        self._set(on, dict(numbers), time)

    def _set(self, toggles: set[str], numbers: dict[str, Sequence[int]], time: str | None) -> None:
        self.toggles, self.numbers, self.time = toggles, numbers, time
        self._membership.serve_files("nomfs" not in toggles)
        for callback in self._listeners:
            callback()

    def report(self) -> Report:
        """This node as others see it; load and memory are at most ``MEASURED_EACH_S`` old, as in the kernel."""
        if time.monotonic() - self._measured_s >= MEASURED_EACH_S:
            return self.fresh()
        return self._report()

    def fresh(self) -> Report:
        """The same, as of now."""
        self._measured, self._measured_s = measure(), time.monotonic()
        return self._report()

    def _report(self) -> Report:
        load, mem, rmem, tmem = self._measured
        cpus = os.cpu_count() or 1
        return Report(self.status, load, cpus, self.numbers["speed"][0], 100, mem, rmem, tmem)


def measure() -> tuple[int, int, int, int]:
    """Load in 1/100 process; memory available, free and in all, in bytes.

    The load is what runs on this node now; the average that the kernel keeps is that of all nodes on its machine.
    """
    with open("/proc/meminfo", "rb", buffering=0) as file:
        kib = {line.split()[0]: int(line.split()[1]) for line in file.read(4096).splitlines()[:8]}
    total, free, available = (kib[name] << 10 for name in (b"MemTotal:", b"MemFree:", b"MemAvailable:"))
    return 100 * running(), available, free, total
