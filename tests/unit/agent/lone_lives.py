"""What the next life of an agent takes over, and what it does not; real processes. See ``lone_machine.py``."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Callable, NoReturn

from mosha import lives as lives_of_agents
from mosha.clinit import custody, door
from mosha.clinit.leash import Leash
from mosha.config import Config
from mosha.lives import Life
from mosha.platform import cgroups, linux, procscan
from mosha.platform import machine as machine_of_agents
from mosha.platform.machine import Machine
from mosha.platform.warden import Warden
from mosha.platform.world import World
from mosha.resources import deadline
from mosha.tables import cltab
from mosha.tables.settings import AUTO
from tests.unit.agent.lone import LIMIT_S, Lone, in_a_child, lives, tree_of, until

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
    assert in_a_child(_leave(directory, LONG_S)) == -signal.SIGKILL
    pid = int((directory / "mine").read_text())
    assert in_a_child(lambda: _take_over(directory, 60.0)) == -signal.SIGKILL
    assert lives(pid)
    until(lambda: lives_of_agents.agent(str(directory / "run")) is None, "its lock is free: it had forked others")
    assert in_a_child(lambda: _take_over(directory, 0.0)) == 0
    assert not lives(pid)


def taken_over_late(directory: Path) -> None:
    """As long as there is time enough for a lease, a leash that says nothing is waited for."""
    assert in_a_child(_leave(directory, LONG_S, _stop_for_a_while)) == -signal.SIGKILL
    assert in_a_child(lambda: _take_over(directory, 0.0)) == 0


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

    assert in_a_child(first) == -signal.SIGKILL
    for _ in range(3):
        until(lambda: lives_of_agents.agent(str(directory / "run")) is None, "its lock is free: it had forked others")
        assert in_a_child(later) == -signal.SIGKILL
        assert not file.exists(), file.read_text()


def taken_over_without_room(directory: Path) -> None:
    """What cannot have the control groups of the life before takes nothing over, and ends all: leashes that it meets
    do not start anew what it kills."""
    starts = directory / "starts"

    def leave() -> None:
        lone = Lone(directory)
        leash = lone.leashes["mine"] = lone.machine.start_leash("mine", OWNER, lone.machine.now() + 2 * LIMIT_S)
        leash.tell("start", cltab.parse(f"mine:service:start:respawn:echo $$ >>{starts}; exec sleep 600\n").entries)
        lone.until(lambda: "mine" in lone.services and starts.exists(), "it runs")
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_child(leave) == -signal.SIGKILL

    def full(rundir: str, path: str) -> None:
        raise OSError(errno.ENOSPC, "no room")

    cgroups._note = full
    machine = Machine(Config(rundir=str(directory / "run"), root=str(directory), hpcbase=f"{directory}/hpc"))
    assert machine.begin(AUTO, 0.1, LIMIT_S)
    assert not machine.legacies()
    assert not any(lives(int(pid)) for pid in starts.read_text().split())
    assert len(starts.read_text().split()) <= 2, "at most once, if it sees the death before the order"


def not_taken_over_from_elsewhere(directory: Path) -> None:
    """A leash that is not in the control groups of the record is not taken over: nobody would see what it holds."""
    assert in_a_child(_leave(directory, 2 * LIMIT_S)) == -signal.SIGKILL
    pid, tree = int((directory / "mine").read_text()), Path(tree_of(directory))
    (tree.parent / f"{tree.name}.other").mkdir()
    (directory / "run/units").write_text(f"{tree}.other\n")
    machine = Lone(directory, is_first=False).machine
    assert not machine.legacies()
    until(lambda: not lives(pid), "it has ended")
    assert cgroups.Tree(str(tree)).uproot(LIMIT_S), "nothing is in them"


def taken_over_and_dead(directory: Path) -> None:
    """What was taken over ends while there is only the warden of the life before, which removes the control groups:
    the next leash has some."""
    assert in_a_child(_leave(directory, LONG_S)) == -signal.SIGKILL
    tree, end_earlier = Path(tree_of(directory)), Life.end_earlier

    def ends(self: Life, limit_s: float, spared: Mapping[str, procscan.Process]) -> bool:
        for leash in spared.values():
            os.kill(leash.pid, signal.SIGKILL)
        until(lambda: not tree.exists(), "the warden has removed them")
        return end_earlier(self, limit_s, spared)

    Life.end_earlier = ends  # type: ignore[assignment,method-assign]
    lone = Lone(directory, is_first=False)
    ((lone.leashes["mine"], _),) = lone.machine.legacies()
    units = lone.machine._units
    assert units is not None
    lone.start("next")
    assert units.tree is not None
    assert units.tree.path != str(tree)
    assert [place.pid for place in units.tree.places()] == [lone.leashes["next"].pid]
    until(lambda: {*_wardens()} == units.own(), "they have a warden of this life, and no other")


def taken_over_without_a_warden(directory: Path) -> None:
    """One that cannot be had is tried for again, and that of the life before stays meanwhile."""
    assert in_a_child(_leave(directory, LONG_S)) == -signal.SIGKILL
    begin = Warden.__init__

    def refused(*_arguments: object) -> NoReturn:
        raise OSError(errno.EAGAIN, "no process")

    Warden.__init__ = refused  # type: ignore[assignment,method-assign]
    lone = Lone(directory, is_first=False)
    ((lone.leashes["mine"], _),) = lone.machine.legacies()       # it may say something while this life looks
    units = lone.machine._units
    assert units is not None
    assert not units.own()
    assert _wardens(), "that of before; one that is just being forked may have the file of another"
    Warden.__init__ = begin  # type: ignore[method-assign]
    lone.until(lambda: units.own() and {*_wardens()} == units.own(), "there is one, and that of before has ended")


def warden_after_warden(directory: Path) -> None:
    """The warden of the life before ends when the next life has one, and not before."""
    assert in_a_child(_leave(directory, LONG_S)) == -signal.SIGKILL
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

    assert in_a_child(leave) == -signal.SIGKILL
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

    assert in_a_child(fail) == 1
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
    assert in_a_child(_leave(directory, SOON_S)) == -signal.SIGKILL
    _end_at_deadline(directory)
    until(lambda: not os.path.exists(tree_of(directory)), "the control groups are removed")


def left_frozen(directory: Path) -> None:
    """The leash stands still: the warden ends what is below it at its deadline."""
    assert in_a_child(_leave(directory, SOON_S, _stop)) == -signal.SIGKILL
    _end_at_deadline(directory)
    assert Life(str(directory / "run")).end_earlier(LIMIT_S)


def _end_at_deadline(directory: Path) -> None:
    pid = int((directory / "mine").read_text())
    until(lambda: not lives(pid), "it has ended")
    assert linux.boottime() >= _deadline_s(directory)


def stopped_and_left(directory: Path) -> None:
    """What was told to stop ends with its agent, at once."""
    assert in_a_child(_leave(directory, 2 * LIMIT_S, Leash.finish)) == -signal.SIGKILL
    pid = int((directory / "mine").read_text())
    until(lambda: not lives(pid), "it has ended")


SCENARIOS = (
    taken_over, taken_over_late, taken_over_while_it_forks, taken_over_while_it_starts, taken_over_without_room,
    not_taken_over_from_elsewhere, taken_over_and_dead, taken_over_without_a_warden,
    warden_after_warden, left_alone, left_frozen, hidden, failed, stopped_and_left,
)
