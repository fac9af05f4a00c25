"""A machine with real leashes and workers, and nobody who decides.

It is a child of PID 1 of a PID namespace, as an agent is one of init. Each group has a service and a daemon that hides:
it forked twice, has a session of its own, and nothing of the environment that it was given.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, cast

from mosha.agent import Agent
from mosha.clinit.leash import Leash
from mosha.config import Config
from mosha.platform import procscan
from mosha.platform.machine import Machine
from mosha.tables import cltab
from mosha.tables.settings import CGROUP, SESSION

LIMIT_S = 30.0
NO_ONE: Mapping[str, str] = {}
HIDES = "setsid env -i"
CLTAB = """\
{group}:daemon:start:once:{hides} sh -c 'echo $$ >{file}.new; mv {file}.new {file}; exec sleep 600' >/dev/null 2>&1 &
{group}:service:start:respawn:sleep 600
"""


def hierarchy() -> str | None:
    return sys.argv[3] if len(sys.argv) > 3 else None



def until(condition: Callable[[], Any], what: str) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {LIMIT_S} s: {what}"
        time.sleep(0.005)



def lives(pid: int) -> bool:
    process = procscan.process(pid)
    return process is not None and process.state != procscan.ZOMBIE



class Lone:
    """The machine, and what an agent would do with the reports of its leashes."""

    def __init__(self, directory: Path, is_first: bool = True) -> None:
        if is_first:
            (directory / "hpc/nodes/1").mkdir(parents=True)
        self._directory = directory
        self.machine = Machine(Config(rundir=str(directory / "run"), root=str(directory), hpcbase=f"{directory}/hpc"))
        self.machine._agent = cast(Agent, self)
        units = SESSION if hierarchy() is None else CGROUP
        assert self.machine.begin(units, 0.1, LIMIT_S)
        assert (self.machine._units is not None and self.machine._units.tree is not None) == (units == CGROUP)
        self.leashes: dict[str, Leash] = {}
        self.services: dict[str, int] = {}

    def leash_ready(self, group: str) -> None:
        for report in self.leashes[group].receive():
            if (report.kind, report.tag) == ("started", "service"):
                self.services[group] = report.pid

    def until(self, condition: Callable[[], Any], what: str) -> None:
        def turned() -> Any:
            self.machine._turn(self.machine.now() + 0.005)
            return condition()

        until(turned, what)

    def start(
        self, group: str, hides: str = HIDES, owner: Mapping[str, str] = NO_ONE, deadline_s: float = 60.0
    ) -> list[int]:
        """Its daemon and its service."""
        file = self._directory / group
        leash = self.machine.start_leash(group, owner, self.machine.now() + deadline_s)
        assert isinstance(leash, Leash)
        self.leashes[group] = leash
        leash.tell("start", cltab.parse(CLTAB.format(group=group, hides=hides, file=file)).entries)
        self.until(lambda: file.exists() and group in self.services, f"{group} runs")
        return [int(file.read_text()), self.services[group]]

    def worker(self) -> int:
        """The pid of the worker that does a task."""
        answers: list[Any] = []
        self.machine.submit(0, "nodes", [], LIMIT_S, lambda result, error: answers.append((result, error)))
        self.until(lambda: answers, "a worker answers")
        assert answers == [([1], None)]
        return self.machine._workers.pids()[0]

    def kill_leash(self, group: str) -> None:
        os.kill(self.leashes[group].pid, signal.SIGKILL)
        self.until(lambda: self.leashes[group].gone, f"the leash of {group} is gone")

    def children(self) -> dict[int, str]:
        """Of this process: states by pid."""
        return {p.pid: p.state for p in procscan.processes().values() if p.parent == os.getpid()}



def tree_of(directory: Path) -> str:
    path = (directory / "run/units").read_text().strip()
    assert "/mosha." in path
    return path



def in_a_child(work: Callable[[], None]) -> int:
    """How it ended, as of a subprocess."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:        # noqa: BLE001  (it must not become a second test process)
            traceback.print_exc()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

