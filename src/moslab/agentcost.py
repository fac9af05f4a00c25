"""Runs inside a node, as ``python3 -IS -c <this text> WHAT …``: what the agent and clinit cost. It prints JSON.

``rest``: of all processes of the agent together, seconds of processor time since they began, with that of those which
they have reaped, and bytes of memory, what is shared by its share (PSS). What groups run is not theirs.
``levels COMMANDS LONG_S TIMES`` and ``respawn TIMES``: seconds, one for each time, by a stand-alone clinit, whose
guardian is that of the agent.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

LIBRARY = "/usr/lib/mosha"
PROGRAM = "mosha"
AGENT = re.compile(rb"/usr/s?bin/mosha\0$")
LIMIT_S = 30.0
POLL_S = 0.0005
CALM_S = 1.2                     # a daemon that lived for so long is in no crash loop: fast_exit_s
GROUP = "bench"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def used_ticks(stat: str) -> int:
    """Of a line of /proc/PID/stat: of the process and of those that it has reaped."""
    return sum(map(int, stat.rpartition(")")[2].split()[11:15]))


def pss_kib(smaps: str) -> int:
    """Of /proc/PID/smaps_rollup."""
    return next(int(line.split()[1]) for line in smaps.splitlines() if line.startswith("Pss:"))


def rest() -> dict[str, float]:
    """See the head."""
    ticks = kib = processes = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if AGENT.search(Path(f"/proc/{pid}/cmdline").read_bytes()):
                ticks += used_ticks(Path(f"/proc/{pid}/stat").read_text())
                kib += pss_kib(Path(f"/proc/{pid}/smaps_rollup").read_text())
                processes += 1
        except OSError:
            continue                         # it has ended
    return {"processor_s": ticks / TICKS_PER_S, "pss_bytes": 1024 * kib, "processes": processes}


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait; TimeoutError after ``LIMIT_S``."""
    until_s = time.monotonic() + LIMIT_S
    while not holds():
        if time.monotonic() >= until_s:
            raise TimeoutError(what)
        time.sleep(POLL_S)


class Clinit:
    """A stand-alone daemon on a cltab, in a directory of its own; its group can be told levels."""

    def __init__(self, directory: str, entries: list[str]) -> None:
        self._clstat, table = Path(directory, "clstat"), Path(directory, "cltab")
        lines = [f":::socket:{directory}/socket", f":::clstat:{self._clstat}", *(f"{GROUP}:{one}" for one in entries)]
        table.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._daemon = subprocess.Popen([PROGRAM, "clinit", "-d", "-c", str(table)], stderr=subprocess.DEVNULL)
        try:
            until(self._clstat.exists, "clinit begins")
        except TimeoutError:
            self._daemon.kill()
            self._daemon.wait()
            raise
        sys.path.insert(0, LIBRARY)
        from mosha.clinit.client import Client
        self._client = Client(str(table))

    def goes(self, level: str) -> float:
        """The seconds from the order to the group's being done with it."""
        shown = f"{GROUP} {level} DONE\n"
        began_s = time.perf_counter()
        answer = self._client.tell(GROUP, level)
        if not answer.ok:
            raise ValueError(answer.text)
        until(lambda: shown in self._clstat.read_text(encoding="utf-8"), f"{GROUP} at {level}")
        return time.perf_counter() - began_s

    def end(self) -> None:
        self._client.shutdown()
        self._daemon.wait(LIMIT_S)


def shell(commands: list[str]) -> float:
    """The seconds that a shell takes for the commands."""
    began_s = time.perf_counter()
    subprocess.run(["/bin/sh", "-c", "\n".join(commands)], check=True)
    return time.perf_counter() - began_s


def levels(directory: str, count: int, long_s: float, times: int) -> dict[str, list[float]]:
    """Level changes: with nothing to be run, with ``count`` commands that do nothing, with as many of ``long_s`` each;
    and what a shell takes for the same, in turns with these."""
    trivial, long = ["/bin/true"] * count, [f"/bin/sleep {long_s}"] * count
    lists = {"trivial": trivial, "long": long}
    entries = [f"{level}{at}:{level}:wait:{line}" for level, lines in lists.items() for at, line in enumerate(lines)]
    found: dict[str, list[float]] = {name: [] for name in ("nothing", *lists, *(f"{level} shell" for level in lists))}
    clinit = Clinit(directory, entries)
    try:
        clinit.goes("begin")
        for _ in range(times):
            for level, lines in lists.items():
                found[level].append(clinit.goes(level))
                found[f"{level} shell"].append(shell(lines))
            found["nothing"].append(clinit.goes("begin"))
    finally:
        clinit.end()
    return found


def respawn(directory: str, times: int) -> list[float]:
    """From the kill of a daemon to the moment at which a process is executed in its place."""
    shown = Path(directory, "shown")
    clinit = Clinit(directory, [f"daemon:run:respawn:echo $$ $(date +%s%N) >>{shown}; exec sleep 1000"])

    def runs() -> list[list[str]]:
        return [line.split() for line in shown.read_text(encoding="utf-8").splitlines()]

    try:
        clinit.goes("run")
        until(lambda: shown.exists() and len(runs()) == 1, "the daemon runs")
        found: list[float] = []
        while len(found) < times:
            time.sleep(CALM_S)
            began_ns = time.time_ns()
            os.kill(int(runs()[-1][0]), signal.SIGKILL)
            until(lambda: len(runs()) > len(found) + 1, "the daemon runs again")
            found.append((int(runs()[-1][1]) - began_ns) / 1e9)
    finally:
        clinit.end()
    return found


def main() -> None:
    what, *words = sys.argv[1:]
    with tempfile.TemporaryDirectory() as directory:
        if what == "rest":
            print(json.dumps(rest()))
        elif what == "levels":
            print(json.dumps(levels(directory, int(words[0]), float(words[1]), int(words[2]))))
        else:
            print(json.dumps(respawn(directory, int(words[0]))))


if __name__ == "__main__":
    main()
