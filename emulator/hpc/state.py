"""What this node tells of itself: its status bits, its settings, its load and memory."""

from __future__ import annotations

import os
import time

from emulator.hpc.procfs import running
from emulator.membership import Membership
from emulator.probe import Report

CONFIGURED, UP = 1, 2
TOGGLES = {"stay": 4, "lstay": 8, "block": 16, "quiet": 32, "nomfs": 64}
"""The status bit of each toggle in ``admin/``."""

STANDARD_SPEED = 15000
MEASURED_EACH_S = 1.0


class State:
    """The node's own settings. Defaults are those of the genuine kernel (2.4.26, openMosix 1.8.1)."""

    def __init__(self, membership: Membership) -> None:
        self.toggles: set[str] = set()
        self.speed = STANDARD_SPEED
        self._membership = membership
        self._measured: tuple[int, int, int, int] = (0, 0, 0, 0)
        self._measured_s = -MEASURED_EACH_S

    @property
    def status(self) -> int:
        """The bits of ``nodes/N/status`` of a node that answers."""
        return CONFIGURED | UP | sum(TOGGLES[name] for name in self.toggles)

    def set_toggle(self, name: str, on: bool) -> None:
        if on:
            self.toggles.add(name)
        else:
            self.toggles.discard(name)
        if name == "nomfs":
            self._membership.serve_files(not on)

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
        return Report(self.status, load, cpus, self.speed, 100, mem, rmem, tmem)


def measure() -> tuple[int, int, int, int]:
    """Load in 1/100 process; memory available, free and in all, in bytes.

    The load is what runs on this node now; the average that the kernel keeps is that of all nodes on its machine.
    """
    with open("/proc/meminfo", "rb", buffering=0) as file:
        kib = {line.split()[0]: int(line.split()[1]) for line in file.read(4096).splitlines()[:8]}
    total, free, available = (kib[name] << 10 for name in (b"MemTotal:", b"MemFree:", b"MemAvailable:"))
    return 100 * running(), available, free, total
