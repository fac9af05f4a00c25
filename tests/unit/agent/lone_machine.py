"""What ends of a machine's groups, and when; real processes.

Run as ``python lone_machine.py SCENARIO DIRECTORY [HIERARCHY]``. With a hierarchy (``cgroup2``, ``pids``, ``freezer``)
groups are control groups there, else sessions. It is PID 1 of a PID namespace.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Callable

from mosha.lives import Life
from mosha.platform import cgroups, linux
from mosha.platform.mountinfo import Window
from tests.unit.agent import lone_lives
from tests.unit.agent.lone import LIMIT_S, Lone, hierarchy, in_a_child, lives, tree_of, until


def only(name: str) -> Callable[[list[Window], str], list[str]]:
    """What finds nothing but that hierarchy."""
    find = cgroups.candidates
    return lambda windows, own: find([w for w in windows if name in (w.kind, *w.system_options)], own)



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
    kept = {*lone.machine._workers.pids(), lone.leashes["others"].pid, *wardens}
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



def both_killed(directory: Path) -> None:
    """Leash and agent are killed at once, and there is no next life: the daemon that hides ends all the same."""
    assert in_a_child(lambda: _kill_both(directory)) == -signal.SIGKILL
    pid = int((directory / "mine").read_text())
    until(lambda: not lives(pid), "the warden ends the daemon")
    until(lambda: not os.path.exists(tree_of(directory)), "the control groups are removed")



def all_killed(directory: Path) -> None:
    """And the warden as well: the next life ends the daemon, before it begins."""
    assert in_a_child(lambda: _kill_both(directory, warden=True)) == -signal.SIGKILL
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
    assert in_a_child(lambda: _stop_and_die(directory)) == -signal.SIGKILL
    pid = int((directory / "mine").read_text())
    assert lives(pid)
    assert Life(str(directory / "run")).end_earlier(LIMIT_S)
    assert not lives(pid)



def _stop_and_die(directory: Path) -> None:
    lone = Lone(directory)
    lone.start("mine")
    os.kill(lone.leashes["mine"].pid, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGKILL)


LONE = (killed, several, frozen, old_kernel, old_kernel_with_units, new_warden, lone_lives.asked_by_two)
SCENARIOS = {scenario.__name__: scenario for scenario in LONE}
OUTSIDE = {scenario.__name__: scenario for scenario in (next_life, both_killed, all_killed, *lone_lives.SCENARIOS)}

if __name__ == "__main__":
    name, where = sys.argv[1], Path(sys.argv[2])
    if hierarchy() is not None:
        cgroups.candidates = only(str(hierarchy()))  # type: ignore[assignment]
    if name in OUTSIDE:
        OUTSIDE[name](where)
    else:
        sys.exit(in_a_child(lambda: SCENARIOS[name](where)))
