"""A machine with real leashes and workers, and nobody who decides: ``python lone_machine.py SCENARIO DIRECTORY``.

It is PID 1 of a PID namespace; the machine is a child of it, as an agent is one of init. Each group has a service and a
daemon that hides: it forked twice, has a session of its own, and nothing of the environment that it was given.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Callable, cast

from mosha.agent import Agent
from mosha.clinit.leash import Leash
from mosha.config import Config
from mosha.lives import Life
from mosha.platform import linux, procscan
from mosha.platform.machine import Machine
from mosha.tables import cltab

LIMIT_S = 10.0
HIDES = "setsid env -i"
CLTAB = """\
{group}:daemon:start:once:{hides} sh -c 'echo $$ >{file}.new; mv {file}.new {file}; exec sleep 600' >/dev/null 2>&1 &
{group}:service:start:respawn:sleep 600
"""


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

    def __init__(self, directory: Path) -> None:
        (directory / "hpc/nodes/1").mkdir(parents=True)
        self._directory = directory
        self.machine = Machine(Config(rundir=str(directory / "run"), root=str(directory), hpcbase=f"{directory}/hpc"))
        self.machine._agent = cast(Agent, self)
        assert self.machine.life.end_earlier(LIMIT_S)
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

    def start(self, group: str, hides: str = HIDES) -> list[int]:
        """Its daemon and its service."""
        file = self._directory / group
        leash = self.machine.start_leash(group, {}, self.machine.now() + 60.0)
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
        (pid,) = self.machine._workers.pids()
        return pid

    def kill_leash(self, group: str) -> None:
        os.kill(self.leashes[group].pid, signal.SIGKILL)
        self.until(lambda: self.leashes[group].gone, f"the leash of {group} is gone")

    def children(self) -> dict[int, str]:
        """Of this process: states by pid."""
        return {p.pid: p.state for p in procscan.processes().values() if p.parent == os.getpid()}


def killed(directory: Path) -> None:
    """What a killed leash held ends with a sweep; another group and the workers are not touched."""
    lone = Lone(directory)
    worker = lone.worker()
    mine, others = lone.start("mine"), lone.start("others")
    lone.kill_leash("mine")
    assert lives(mine[0]), "it hides from its leash's end"
    until(lambda: lone.machine.sweep("mine"), "nothing of the group is left")
    assert [lives(pid) for pid in (*mine, *others)] == [False, False, True, True]
    assert lone.worker() == worker
    kept = {worker, lone.leashes["others"].pid}
    lone.until(lambda: lone.children().keys() == kept, "the dead are collected, and nobody else")


def several(directory: Path) -> None:
    """Two leashes are killed at once: all that they held ends, whosever sweep it is."""
    lone = Lone(directory)
    pids = [*lone.start("mine"), *lone.start("others")]
    lone.kill_leash("mine")
    lone.kill_leash("others")
    until(lambda: lone.machine.sweep("mine"), "nothing of either is left")
    assert not any(map(lives, pids))
    assert lone.machine.sweep("others")
    assert lone.machine.sweep(None)


def frozen(directory: Path) -> None:
    """A leash that stands still: what is below it ends, though it is not gone."""
    lone = Lone(directory)
    mine, others = lone.start("mine"), lone.start("others")
    os.kill(lone.leashes["mine"].pid, signal.SIGSTOP)
    assert lone.machine.sweep("mine")
    assert [lives(pid) for pid in (*mine, *others)] == [False, False, True, True]
    lone.leashes["mine"].kill_guardian()
    lone.until(lambda: lone.leashes["mine"].gone, "the leash is gone")
    assert lone.machine.sweep("mine")


def old_kernel(directory: Path) -> None:
    """Without a child subreaper what carries the mark is found, and nothing else is collected."""
    linux.set_subreaper = lambda: False
    lone = Lone(directory)
    mine, others = lone.start("mine", "setsid"), lone.start("others", "setsid")
    lone.kill_leash("mine")
    until(lambda: lone.machine.sweep("mine"), "nothing of the group is left")
    assert [lives(pid) for pid in (*mine, *others)] == [False, False, True, True]


def next_life(directory: Path) -> None:
    """The agent is killed while a leash stands still: the next life ends what is below that, and then the leash."""
    assert _in_a_child(lambda: _stop_and_die(directory)) == -signal.SIGKILL
    pid = int((directory / "mine").read_text())
    assert lives(pid)
    assert Life(str(directory / "run")).end_earlier(LIMIT_S)
    assert not lives(pid)


def _stop_and_die(directory: Path) -> None:
    lone = Lone(directory)
    lone.start("mine")
    os.kill(lone.leashes["mine"].pid, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGKILL)


def _in_a_child(work: Callable[[], None]) -> int:
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


SCENARIOS = {scenario.__name__: scenario for scenario in (killed, several, frozen, old_kernel)}

if __name__ == "__main__":
    name, where = sys.argv[1], Path(sys.argv[2])
    if name == "next_life":
        next_life(where)
    else:
        sys.exit(_in_a_child(lambda: SCENARIOS[name](where)))
