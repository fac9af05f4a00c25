"""A machine with real leashes and workers, and nobody who decides.

Run as ``python lone_machine.py SCENARIO DIRECTORY [HIERARCHY]``. With a hierarchy (``cgroup2``, ``pids``, ``freezer``)
groups are control groups there, else sessions. It is PID 1 of a PID namespace; the machine is a child of it, as an
agent is one of init. Each group has a service and a daemon that hides: it forked twice, has a session of its own, and
nothing of the environment that it was given.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, cast

from mosha import lives as lives_of_agents
from mosha.agent import Agent
from mosha.clinit import custody, door
from mosha.clinit.leash import Leash
from mosha.config import Config
from mosha.lives import Life
from mosha.platform import cgroups, linux, procscan
from mosha.platform import machine as machine_of_agents
from mosha.platform.machine import Machine
from mosha.platform.mountinfo import Window
from mosha.platform.world import World
from mosha.resources import deadline
from mosha.tables import cltab
from mosha.tables.settings import AUTO, CGROUP, SESSION

LIMIT_S = 30.0
NO_ONE: Mapping[str, str] = {}
HIDES = "setsid env -i"
CLTAB = """\
{group}:daemon:start:once:{hides} sh -c 'echo $$ >{file}.new; mv {file}.new {file}; exec sleep 600' >/dev/null 2>&1 &
{group}:service:start:respawn:sleep 600
"""


def hierarchy() -> str | None:
    return sys.argv[3] if len(sys.argv) > 3 else None


def only(name: str) -> Callable[[list[Window], str], list[str]]:
    """What finds nothing but that hierarchy."""
    find = cgroups.candidates
    return lambda windows, own: find([w for w in windows if name in (w.kind, *w.system_options)], own)


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
    wardens = lone.machine._units.own() if lone.machine._units is not None else set()
    kept = {worker, lone.leashes["others"].pid, *wardens}
    lone.until(lambda: lone.children().keys() == kept, "the dead are collected, and nobody else")


def several(directory: Path) -> None:
    """Two leashes are killed at once: all that they held ends, whosever sweep it is."""
    lone = Lone(directory)
    pids = [*lone.start("mine"), *lone.start("others")]
    lone.kill_leash("mine")
    lone.kill_leash("others")
    until(lambda: lone.machine.sweep("mine"), "nothing of either is left")
    assert not any(map(lives, pids))
    until(lambda: lone.machine.sweep("others"), "nothing is left")
    until(lambda: lone.machine.sweep(None), "nothing is left")


def frozen(directory: Path) -> None:
    """A leash that stands still: what is below it ends, though it is not gone."""
    lone = Lone(directory)
    mine, others = lone.start("mine"), lone.start("others")
    os.kill(lone.leashes["mine"].pid, signal.SIGSTOP)
    until(lambda: lone.machine.sweep("mine"), "nothing is left")
    assert [lives(pid) for pid in (*mine, *others)] == [False, False, True, True]
    lone.leashes["mine"].kill_guardian()
    lone.until(lambda: lone.leashes["mine"].gone, "the leash is gone")
    until(lambda: lone.machine.sweep("mine"), "nothing is left")


def old_kernel(directory: Path) -> None:
    """Without a child subreaper what carries the mark is found, and nothing else is collected."""
    linux.set_subreaper = lambda: False
    lone = Lone(directory)
    mine, others = lone.start("mine", "setsid"), lone.start("others", "setsid")
    lone.kill_leash("mine")
    until(lambda: lone.machine.sweep("mine"), "nothing of the group is left")
    assert [lives(pid) for pid in (*mine, *others)] == [False, False, True, True]


def old_kernel_with_units(directory: Path) -> None:
    """Without a child subreaper control groups find what hides: in order, and after the leash was killed."""
    linux.set_subreaper = lambda: False
    lone = Lone(directory)
    mine, others = lone.start("mine"), lone.start("others")
    lone.kill_leash("mine")
    until(lambda: lone.machine.sweep("mine"), "nothing of the group is left")
    assert [lives(pid) for pid in (*mine, *others)] == [False, False, True, True]
    lone.leashes["others"].halt()
    lone.until(lambda: lone.leashes["others"].gone, "the other has ended in order")
    assert not any(map(lives, others))


def new_warden(directory: Path) -> None:
    """One that was killed is started anew, and nothing else ends; at the end of a life nothing is left."""
    lone = Lone(directory)
    mine = lone.start("mine")
    units = lone.machine._units
    assert units is not None
    (old,) = units.own()
    os.kill(old, signal.SIGKILL)
    lone.until(lambda: units.own() not in ({old}, {0}), "another warden")
    assert all(map(lives, mine))
    lone.leashes["mine"].halt()
    lone.until(lambda: lone.leashes["mine"].gone, "the leash is gone")
    units.close()
    until(lambda: not os.path.exists(tree_of(directory)), "the control groups are removed")


def tree_of(directory: Path) -> str:
    path = (directory / "run/units").read_text().strip()
    assert "/mosha." in path
    return path


def both_killed(directory: Path) -> None:
    """Leash and agent are killed at once, and there is no next life: the daemon that hides ends all the same."""
    assert _in_a_child(lambda: _kill_both(directory)) == -signal.SIGKILL
    pid = int((directory / "mine").read_text())
    until(lambda: not lives(pid), "the warden ends the daemon")
    until(lambda: not os.path.exists(tree_of(directory)), "the control groups are removed")


def all_killed(directory: Path) -> None:
    """And the warden as well: the next life ends the daemon, before it begins."""
    assert _in_a_child(lambda: _kill_both(directory, warden=True)) == -signal.SIGKILL
    pid = int((directory / "mine").read_text())
    assert lives(pid), "nobody is there who could end it"
    assert Life(str(directory / "run")).end_earlier(LIMIT_S)
    assert not lives(pid)
    assert not os.path.exists(tree_of(directory))


def _kill_both(directory: Path, warden: bool = False) -> None:
    lone = Lone(directory)
    lone.start("mine")
    units = lone.machine._units
    assert units is not None
    for pid in (*(units.own() if warden else ()), lone.leashes["mine"].pid, os.getpid()):
        os.kill(pid, signal.SIGKILL)


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


SOON_S, LONG_S = 5.0, 15.0       # until a leash's deadline; by the first a group is up, however busy the machine is
LATE_S = 1.5                     # a leash answers so late
OWNER = {custody.OWNER: "7-aa 3 1.1.bb"}


def _leave(directory: Path, deadline_s: float, *orders: Callable[[Leash], None]) -> Callable[[], None]:
    """The agent is killed, with a leash that might go on for ``deadline_s`` from its birth."""
    def live() -> None:
        lone = Lone(directory)
        lone.start("mine", owner=OWNER, deadline_s=deadline_s)
        for order in orders:
            order(lone.leashes["mine"])
        os.kill(os.getpid(), signal.SIGKILL)
    return live


def _stop(leash: Leash) -> None:
    os.kill(leash.pid, signal.SIGSTOP)


def _stop_for_a_while(leash: Leash) -> None:
    _stop(leash)
    subprocess.Popen(["sh", "-c", f"sleep {LATE_S}; kill -CONT {leash.pid}"])


def _deadline_s(directory: Path) -> float:
    return deadline.shown(str(directory / "run"), "mine")


def taken_over(directory: Path) -> None:
    """The next life has the same processes, which obey it, and the life after that as well."""
    assert _in_a_child(_leave(directory, LONG_S)) == -signal.SIGKILL
    pid = int((directory / "mine").read_text())
    assert _in_a_child(lambda: _take_over(directory, 60.0)) == -signal.SIGKILL
    assert lives(pid)
    assert _in_a_child(lambda: _take_over(directory, 0.0)) == 0
    assert not lives(pid)


def taken_over_late(directory: Path) -> None:
    """As long as there is time enough for a lease, a leash that says nothing is waited for."""
    assert _in_a_child(_leave(directory, LONG_S, _stop_for_a_while)) == -signal.SIGKILL
    assert _in_a_child(lambda: _take_over(directory, 0.0)) == 0


def _take_over(directory: Path, more_s: float) -> None:
    machine = Lone(directory, is_first=False)
    ((leash, legacy),) = machine.machine.legacies()
    assert isinstance(leash, Leash)
    assert (legacy.group, legacy.era, legacy.epoch, legacy.identity) == ("mine", "7-aa", 3, "1.1.bb")
    assert (legacy.level, legacy.deadline_s) == ("start", _deadline_s(directory))
    machine.leashes["mine"] = leash
    assert lives(int((directory / "mine").read_text()))
    if more_s:
        leash.extend(legacy.deadline_s + more_s)
        machine.until(lambda: _deadline_s(directory) == legacy.deadline_s + more_s, "it has obeyed")
        os.kill(os.getpid(), signal.SIGKILL)
    leash.halt()
    machine.until(lambda: leash.gone, "all was stopped in order")


FORKS = "mine:service:start:respawn:sh -c 'while :; do sleep 0.02 & wait $! || echo $? >>{file}; done'\n"
MONITORS = "mine:service:start:respawn:sleep 600\n" + "".join(
    f"mine:m{number}:start:monitor=0.02:true || echo $? >>{{file}}\n" for number in range(4)
)
PAUSE_S = 0.05                   # between two looks of a next life; what it takes over forks meanwhile


def taken_over_while_it_forks(directory: Path) -> None:
    """What is forked between the looks of the next life at what else is left is not taken for that."""
    found = procscan.marked

    def late(group: str | None, rundir: str) -> list[int]:
        time.sleep(PAUSE_S)
        return found(group, rundir)

    def prepare() -> None:
        procscan.marked = late

    _take_over_and_go_on(directory, FORKS, prepare)


def taken_over_while_it_starts(directory: Path) -> None:
    """A command that is not executed yet has the files of its leash open, and is not taken for another life's."""
    found = lives_of_agents._holders

    def late(lock_fd: int, name: str) -> list[int]:
        holders: list[int] = []

        def are_two() -> bool:
            holders[:] = found(lock_fd, name)
            return len(holders) > 1

        until(are_two, "a command is about to be executed")
        return holders

    def prepare() -> None:
        lives_of_agents._holders = late

    _take_over_and_go_on(directory, MONITORS, prepare)


def _take_over_and_go_on(directory: Path, entries: str, prepare: Callable[[], None]) -> None:
    """Three lives that are prepared so take the group over, and none of its commands comes to harm."""
    file = directory / "failed"

    def first() -> None:
        lone = Lone(directory)
        leash = lone.leashes["mine"] = lone.machine.start_leash("mine", OWNER, lone.machine.now() + 60.0)
        leash.tell("start", cltab.parse(entries.format(file=file)).entries)
        lone.until(lambda: "mine" in lone.services, "it runs")
        os.kill(os.getpid(), signal.SIGKILL)

    def later() -> None:
        prepare()
        lone = Lone(directory, is_first=False)
        ((_, legacy),) = lone.machine.legacies()
        assert legacy.state == "DONE"
        os.kill(os.getpid(), signal.SIGKILL)

    assert _in_a_child(first) == -signal.SIGKILL
    for _ in range(3):
        until(lambda: lives_of_agents.agent(str(directory / "run")) is None, "its lock is free: it had forked others")
        assert _in_a_child(later) == -signal.SIGKILL
        assert not file.exists(), file.read_text()


def taken_over_without_room(directory: Path) -> None:
    """What cannot have the control groups of the life before takes nothing over, and ends all."""
    assert _in_a_child(_leave(directory, 2 * LIMIT_S)) == -signal.SIGKILL
    pid = int((directory / "mine").read_text())

    def full(rundir: str, path: str) -> None:
        raise OSError(errno.ENOSPC, "no room")

    cgroups._note = full
    machine = Machine(Config(rundir=str(directory / "run"), root=str(directory), hpcbase=f"{directory}/hpc"))
    assert machine.begin(AUTO, 0.1, LIMIT_S)
    assert not machine.legacies()
    assert not lives(pid)


def warden_after_warden(directory: Path) -> None:
    """The warden of the life before ends when the next life has one, and not before."""
    assert _in_a_child(_leave(directory, LONG_S)) == -signal.SIGKILL
    settle = cgroups.settle

    def settled(rundir: str) -> None:
        assert len(_wardens()) == 2
        settle(rundir)

    cgroups.settle = settled
    machine = Lone(directory, is_first=False).machine
    units = machine._units
    assert units is not None
    until(lambda: {*_wardens()} == units.own(), "that of the life before has ended")


def _wardens() -> list[int]:
    """The processes that have a record of control groups open."""
    return [
        int(process.name) for process in Path("/proc").iterdir()
        if process.name.isdigit() and any("units" in os.path.basename(link) for link in _links(process / "fd"))
    ]


def _links(directory: Path) -> list[str]:
    try:
        return [os.readlink(file) for file in directory.iterdir()]
    except OSError:
        return []


def hidden(directory: Path) -> None:
    """Somebody removes the run directory while there is no agent: no next life would find it, so the leash ends it at
    once; there is no warden that does."""
    def leave() -> None:
        lone = Lone(directory)
        lone.start("mine", owner=OWNER, deadline_s=2 * LIMIT_S)
        for pid in (*_wardens(), os.getpid()):
            os.kill(pid, signal.SIGKILL)

    assert _in_a_child(leave) == -signal.SIGKILL
    (directory / "run").rename(directory / "aside")
    pid = int((directory / "mine").read_text())
    until(lambda: not lives(pid), "it has ended")
    (directory / "aside").rename(directory / "run")
    assert linux.boottime() < _deadline_s(directory)


class Failing:
    def __init__(self, config: Config, world: World) -> None:
        """As an agent."""

    def round(self) -> float:
        raise AssertionError("an error of its own")


def failed(directory: Path) -> None:
    """An agent that ends by an error of its own ends its groups at once."""
    def fail() -> None:
        lone = Lone(directory)
        lone.start("mine", owner=OWNER, deadline_s=2 * LIMIT_S)
        machine_of_agents.Agent = Failing  # type: ignore[attr-defined,assignment]
        lone.machine.live(Config(root=str(directory), hpcbase=f"{directory}/hpc"))

    assert _in_a_child(fail) == 1
    pid = int((directory / "mine").read_text())
    until(lambda: not lives(pid), "it has ended")
    assert linux.boottime() < _deadline_s(directory)


def asked_by_two(directory: Path) -> None:
    """While its agent lives a leash lets nobody in, and obeys that one alone."""
    lone = Lone(directory)
    lone.start("mine", owner=OWNER)
    ((guest, pid),) = door.knock(str(directory / "run")).values()
    leash, until_s = lone.leashes["mine"], _deadline_s(directory) + 60.0
    assert pid == leash.pid
    guest.sendall(json.dumps(custody.KILL).encode() + b"\n")
    leash.extend(until_s)
    lone.until(lambda: _deadline_s(directory) == until_s, "it has obeyed")
    try:
        raise AssertionError(f"it said {guest.recv(1)!r}")
    except BlockingIOError:
        assert not leash.gone


def left_alone(directory: Path) -> None:
    """There is no next life: it goes on up to its deadline, and ends then."""
    assert _in_a_child(_leave(directory, SOON_S)) == -signal.SIGKILL
    _end_at_deadline(directory)
    until(lambda: not os.path.exists(tree_of(directory)), "the control groups are removed")


def left_frozen(directory: Path) -> None:
    """The leash stands still: the warden ends what is below it at its deadline."""
    assert _in_a_child(_leave(directory, SOON_S, _stop)) == -signal.SIGKILL
    _end_at_deadline(directory)
    assert Life(str(directory / "run")).end_earlier(LIMIT_S)


def _end_at_deadline(directory: Path) -> None:
    pid = int((directory / "mine").read_text())
    until(lambda: not lives(pid), "it has ended")
    assert linux.boottime() >= _deadline_s(directory)


def stopped_and_left(directory: Path) -> None:
    """What was told to stop ends with its agent, at once."""
    assert _in_a_child(_leave(directory, 2 * LIMIT_S, Leash.finish)) == -signal.SIGKILL
    pid = int((directory / "mine").read_text())
    until(lambda: not lives(pid), "it has ended")


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


LONE = (killed, several, frozen, old_kernel, old_kernel_with_units, new_warden, asked_by_two)
SCENARIOS = {scenario.__name__: scenario for scenario in LONE}
OUTSIDE = {scenario.__name__: scenario for scenario in (
    next_life, both_killed, all_killed, taken_over, taken_over_late, taken_over_while_it_forks,
    taken_over_while_it_starts, taken_over_without_room, warden_after_warden, left_alone, left_frozen, hidden, failed,
    stopped_and_left,
)}

if __name__ == "__main__":
    name, where = sys.argv[1], Path(sys.argv[2])
    if hierarchy() is not None:
        cgroups.candidates = only(str(hierarchy()))  # type: ignore[assignment]
    if name in OUTSIDE:
        OUTSIDE[name](where)
    else:
        sys.exit(_in_a_child(lambda: SCENARIOS[name](where)))
