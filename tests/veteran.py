"""A scripted peer: a node's agent of 2003, OpenMosix::HA 0.555 with Cluster::Init 0.215, as it was seen to behave.

``python veteran.py NODE MFSBASE HPCBASE VARPATH``: on the node of that number, whose own directory is that in MFS, for
as long as nobody sends TERM. It knows nothing of mosha. What it does and when is from the description of the running
programs of 2003; numbers of their weaknesses are in parentheses. Left out: what kills them (1 to 3, 22, 24, 25), the
socket, settings, and that they are two processes.

It is wrong on purpose where those were: a mere look decides, any sight of a group elsewhere stops it (13), the newest
mtime wins and is copied in place (4), a stale clstat counts for ever (10), only the direct child is signalled (15).
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TICK_S = 0.02
HEARTBEAT_S = 30.0
STOPS = ((0.0, signal.SIGINT), (5.0, signal.SIGTERM), (15.0, signal.SIGKILL), (30.0, signal.SIGKILL))
CHECK_S = 1.0                    # each level change looks this often whether all has stopped, after the first as well
FAST_S, FASTS_MAX, PAUSE_S = 1.0, 5, 60.0
BALANCE, QUORUM, LOST_S = 1.5, 0.6, 30.0
STALE_S, CALM_S = 60.0, 120.0
SETTLED = ("DONE", "PASSED", "FAILED")


class Entry:
    """A line of cltab."""

    def __init__(self, line: str) -> None:
        self.group, self.tag, self.levels, self.mode, self.command = line.split(":", 4)

    def at(self, level: str) -> bool:
        """One character of the field is enough: ``start`` matches ``s``."""
        if self.levels == level:
            return True
        return level in self.levels.split(",") if "," in self.levels else len(level) == 1 and level in self.levels


class Managed:
    """One process of a group."""

    def __init__(self, entry: Entry) -> None:
        self.entry, self.fasts, self.stopping_at, self.sent = entry, 0, 0.0, 0
        self.resumes_at = 0.0
        self.start()

    def start(self) -> None:
        self.began = time.monotonic()
        self.child = subprocess.Popen(["/bin/sh", "-c", self.entry.command], stdin=subprocess.DEVNULL)

    def is_gone(self) -> bool:
        return self.child.poll() is not None

    def stop(self, now: float) -> None:
        """The next of the signals, when it is due."""
        self.stopping_at = self.stopping_at or now
        while self.sent < len(STOPS) and now >= self.stopping_at + STOPS[self.sent][0]:
            if not self.is_gone():
                self.child.send_signal(STOPS[self.sent][1])
            self.sent += 1

    def respawn(self, now: float) -> None:
        if self.resumes_at:
            if now >= self.resumes_at:
                self.resumes_at, self.fasts = 0.0, 0
                self.start()
        elif self.is_gone():
            self.fasts = self.fasts + 1 if now - self.began < FAST_S else max(0, self.fasts - 1)
            if self.fasts > FASTS_MAX:
                self.resumes_at = now + PAUSE_S
            else:
                self.start()


class Group:
    """One group of clinit: told a level, it comes to it."""

    def __init__(self, name: str) -> None:
        self.name, self.level, self.state, self.shown = name, "", "CONFIGURED", ""
        self.processes: dict[str, Managed] = {}
        self.todo: list[Entry] = []
        self.waits_for: Managed | None = None
        self.tests: list[bool] = []
        self.only_tests, self.check_at = True, 0.0

    def tell(self, level: str, now: float) -> None:
        is_first = not self.level
        self.level = level
        self.state, self.check_at = ("STARTING" if is_first else "STOPPING"), now + CHECK_S
        if is_first:
            self.shown = level

    def step(self, now: float, table: list[Entry]) -> bool:
        """Whether the state that others see has changed."""
        before = self.shown, self.state
        if self.state == "STOPPING":
            self._stop(now)
        elif self.state == "DUMPING":
            self.state = "STARTING"
        elif self.state == "STARTING":
            self._start(now, [entry for entry in table if entry.group == self.name and entry.at(self.level)])
        elif self.state == "CHECKING":
            self.state = "FAILED" if not all(self.tests) else "PASSED" if self.tests and self.only_tests else "DONE"
        for managed in self.processes.values():
            if managed.entry.mode == "respawn" and not managed.stopping_at:
                managed.respawn(now)
        return before != (self.shown, self.state)

    def _stop(self, now: float) -> None:
        leaving = [one for one in self.processes.values() if not one.entry.at(self.level)]
        for managed in leaving:
            managed.stop(now)
        if now < self.check_at:
            return
        self.check_at = now + CHECK_S
        if all(managed.is_gone() for managed in leaving):
            for managed in leaving:
                del self.processes[managed.entry.tag]
            self.state = "DUMPING"
            self.todo, self.waits_for = [], None

    def _start(self, now: float, entries: list[Entry]) -> None:
        if not self.todo and self.waits_for is None:
            self.todo, self.tests = [*entries], []
            self.only_tests = all(entry.mode == "test" for entry in entries)
        self.shown = self.level
        while True:
            if self.waits_for is not None:
                if not self.waits_for.is_gone():
                    return
                if self.waits_for.entry.mode == "test":
                    self.tests.append(self.waits_for.child.returncode == 0)
                self.waits_for = None
            if not self.todo:
                self.state = "CHECKING"
                return
            entry = self.todo.pop(0)
            if entry.mode == "off" or (entry.tag in self.processes and entry.mode in ("respawn", "once")):
                continue
            managed = self.processes[entry.tag] = Managed(entry)
            if entry.mode in ("wait", "test"):
                self.waits_for = managed


class Clinit:
    """All groups of this node, and its clstat."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.groups = directory, dict[str, Group]()
        self.table: list[Entry] = []
        self._read_at, self._written_at = -1, time.monotonic()

    def tell(self, name: str, level: str) -> None:
        self._reread()
        group = self.groups.setdefault(name, Group(name))
        if group.level != level:
            group.tell(level, time.monotonic())

    def step(self) -> None:
        now = time.monotonic()
        changed = [group.step(now, self.table) for group in list(self.groups.values())]
        if any(changed) or now >= self._written_at + HEARTBEAT_S:
            self._written_at = now
            text = "".join(f"Cluster::Init::Group {one.name} {one.shown} {one.state}\n" for one in self.groups.values())
            (self.directory / "clstat.new").write_text(text)
            (self.directory / "clstat.new").rename(self.directory / "clstat")

    def _reread(self) -> None:
        """Only a later second counts (26)."""
        stamp = int((self.directory / "cltab").stat().st_mtime)
        if stamp > self._read_at:
            self._read_at = stamp
            lines = (self.directory / "cltab").read_text().split("\n")
            self.table = [Entry(line) for line in lines if line.strip() and not line.startswith(("#", ":::"))]


class Veteran:
    """The monitor."""

    def __init__(self, me: int, mfsbase: str, hpcbase: str, varpath: str) -> None:
        self.me, self.mfsbase, self.hpcbase, self.varpath = me, mfsbase, hpcbase, varpath
        self.random = random.Random(me)
        self.quorate_at, self.cycle_s, self.began = 0, 1.0, time.monotonic()
        self.is_ending = False
        self.clinit = Clinit(self.directory(me))
        (self.directory(me) / "clstat").unlink(missing_ok=True)

    def directory(self, node: int) -> Path:
        return Path(self.mfsbase, str(node), self.varpath)

    def run(self) -> None:
        """Until TERM."""
        self._newest("cltab", self.nodes())
        self.sleep(1.0)
        while not self.is_ending:
            self.cycle()
            self.sleep(int(self.cycle_s))
        self.halt()
        for group in self.clinit.groups.values():
            for managed in group.processes.values():
                managed.child.kill()
        (self.directory(self.me) / "clstat").unlink(missing_ok=True)

    def sleep(self, seconds: float) -> None:
        """While clinit works."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.is_ending:
            self.clinit.step()
            time.sleep(TICK_S)

    def nodes(self) -> list[int]:
        """Those that openMosix says are up; one look."""
        found = []
        for name in os.listdir(f"{self.hpcbase}/nodes"):
            try:
                if int(Path(self.hpcbase, "nodes", name, "status").read_text()) & 2:
                    found.append(int(name))
            except (OSError, ValueError):
                continue
        return sorted(found)

    def cycle(self) -> None:
        nodes = self.nodes()
        if len(nodes) < QUORUM * self.quorate_at:
            self.say(f"quorum lost: {nodes}")
            self.halt()
            self.sleep(LOST_S)
            return
        self.quorate_at = len(nodes)
        running = self.hastat(nodes)
        for name in ("hactl", "cltab"):
            self._newest(name, nodes)
        wanted = self._wanted()
        for group in sorted({*running, *wanted}):
            self.scan(group, running.get(group, {}), wanted.get(group, ""), len(nodes))

    def hastat(self, nodes: list[int]) -> dict[str, dict[int, tuple[str, str]]]:
        """What is active where; a file that cannot be read is skipped, one that is stale counts (10)."""
        found: dict[str, dict[int, tuple[str, str]]] = {}
        for node in nodes:
            try:
                lines = (self.directory(node) / "clstat").read_text().splitlines()
                age_s = time.time() - (self.directory(node) / "clstat").stat().st_mtime
            except OSError:
                continue
            if age_s > STALE_S and node != self.me and time.monotonic() > self.began + CALM_S:
                self.say(f"STOMITH node {node}")
            for line in lines:
                _, name, level, state = line.split()
                if state != "CONFIGURED" and (level, state) != ("stop", "DONE"):
                    found.setdefault(name, {})[node] = level, state
        return found

    def scan(self, group: str, where: dict[int, tuple[str, str]], wanted: str, count: int) -> None:
        """The first row that holds."""
        level, state = where.get(self.me, ("", ""))
        next_s, order = 5.0, ""
        if level and not wanted:
            order = "stop"
        elif level and len(where) > 1:
            self.cycle_s += self.random.randrange(10)
            self.say(f"{group}: conflict {where}")
            self.clinit.tell(group, "stop")
            return
        elif (level, state) in (("test", "PASSED"), ("test", "DONE")):
            order = wanted
        elif (level, state) == ("test", "FAILED"):
            order = "stop"
        elif (level, state) == ("plan", "DONE"):
            order = "test"
        elif wanted not in ("", "stop") and not where:
            next_s = 10.0
            order = "plan" if self.random.random() < BALANCE / count else ""
        elif level and state in SETTLED and level != wanted:
            order = wanted
        elif not level or state in SETTLED:
            next_s = count
        self.cycle_s = (self.cycle_s + next_s) / 2
        if order:
            self.say(f"{group}: {order}")
            self.clinit.tell(group, order)

    def halt(self) -> None:
        """Stop all that runs here, and wait for that without limit."""
        is_ending, self.is_ending = self.is_ending, False
        while any(self.hastat([self.me])):
            for group in self.hastat([self.me]):
                self.clinit.tell(group, "stop")
            self.sleep(1.0)
        self.is_ending = self.is_ending or is_ending

    def say(self, text: str) -> None:
        print(f"{time.time():.3f} node {self.me}: {text}", flush=True)

    def _wanted(self) -> dict[str, str]:
        text = re.sub(r"(?m)^\s*#.*$", "", (self.directory(self.me) / "hactl").read_text())
        rows = [line.split() for line in text.splitlines()]
        return {row[0]: row[1] for row in rows if len(row) > 1}

    def _newest(self, name: str, nodes: list[int]) -> None:
        """The newest by whole seconds, copied in place with its time (4)."""
        stamps: dict[int, int] = {}
        for node in nodes:
            try:
                stamps[node] = int((self.directory(node) / name).stat().st_mtime)
            except OSError:
                continue
        newest = max(stamps, key=lambda node: stamps[node], default=self.me)
        if stamps.get(newest, 0) > stamps.get(self.me, 0):
            mine = self.directory(self.me) / name
            mine.write_bytes((self.directory(newest) / name).read_bytes())
            os.utime(mine, (stamps[newest], stamps[newest]))


def main() -> None:
    number, mfsbase, hpcbase, varpath = sys.argv[1:]
    veteran = Veteran(int(number), mfsbase, hpcbase, varpath)

    def end(_number: int, _frame: Any) -> None:
        veteran.is_ending = True

    for number_of in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number_of, end)
    veteran.run()


if __name__ == "__main__":
    main()
