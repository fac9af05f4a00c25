"""A third guardian, of all groups of a node, where there are control groups: it ends them when the agent is killed.

A leash ends its group at its deadline when the agent is gone, and the agent ends what a killed leash left. Where both
are killed at once, or the leash stands still, this process does it. Rules:

1. It is forked by the agent, waits for the agent's end, and needs nothing but the directory of this life
   (:mod:`mosha.platform.cgroups`), the deadlines that the leashes show there (:mod:`mosha.resources.deadline`) and the
   time. Then it kills all processes in each unit whose guardian is dead, at once, and in the others a while after their
   deadlines, but for guardians that live: these have mounts and addresses to end. It compares the clocks (R1) as
   leashes do, which may stand still: where these went apart no deadline is waited for. It ends when all units are gone,
   when somebody else has removed them, or when the next life has taken them over, and has a warden of its own.
2. The agent starts it anew when it has died, but not often.
3. All three killed at once leave the control groups to the next life of the agent.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from pathlib import Path
from typing import Callable

from mosha.clinit.custody import WATCH_S
from mosha.clinit.process import reset_signals
from mosha.clocks import Clocks
from mosha.platform import linux, plain, procscan
from mosha.platform.cgroups import RECORD, Tree
from mosha.resources import deadline

RESTART_S = 1.0
LOOK_S = 30.0                    # is the agent there still? it should hear of it by the socket, and by a signal
PAUSE_MIN_S, PAUSE_MAX_S = 0.01, 1.0
DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE)


class Orphaned(Exception):
    """The agent is gone."""


class Warden:
    """The agent's end. ``pid`` is that of the process, 0 while there is none."""

    pid: int
    _ours: socket.socket
    _started_s: float

    def __init__(self, tree: Tree, rundir: str, second_s: float = 0.0, record: str = RECORD) -> None:
        """``second_s``: so long after its deadline a leash has ended its group; ``record``: the file that is, or will
        soon be, that of the tree. Raises OSError."""
        self._tree, self._rundir, self._second_s = tree, rundir, second_s
        self._start(record)

    def fileno(self) -> int:
        """Readable when it has died: :meth:`renew`."""
        return self._ours.fileno()

    def is_due(self) -> bool:
        """Whether it may be started anew."""
        return time.monotonic() >= self._started_s + RESTART_S

    def renew(self, record: str = RECORD) -> bool:
        """Start it anew, with the file that is, or will soon be, the record; whether that could be done. The descriptor
        is another one then."""
        self.forget()
        try:
            self._start(record)
        except OSError:
            self._started_s = time.monotonic()
            return False
        return True

    def close(self) -> None:
        """Have it end what is there, if anything is, and itself."""
        self._ours.close()

    def forget(self) -> None:
        """One that has died, or stands still: it is none of the caller's any more."""
        self._ours.close()
        if self.pid:
            procscan.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, os.WNOHANG)
            self.pid = 0

    def _start(self, record: str) -> None:
        self.pid = 0
        self._started_s = time.monotonic()
        agent = os.getpid()
        path = Path(self._rundir, record)
        held = plain.checked(os.open(path, plain.READING), path)         # says which life's warden it is
        try:
            self._fork(agent, held)
        finally:
            os.close(held)

    def _fork(self, agent: int, held: int) -> None:
        self._ours, theirs = socket.socketpair()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.pid = os.fork()
            if self.pid == 0:
                try:
                    _serve(theirs, agent, self._tree, self._rundir, self._second_s, held)
                finally:
                    os._exit(0)
        except OSError:
            self._ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _serve(theirs: socket.socket, agent: int, tree: Tree, rundir: str, second_s: float, held: int) -> None:
    """The life of the process."""
    fd = theirs.fileno()
    linux.close_all_but(0, 1, 2, fd, held)
    reset_signals()
    for signo in DEAF_TO:
        signal.signal(signo, signal.SIG_IGN)
    os.setsid()
    os.chdir("/")
    linux.hurry()
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    try:
        _wait(fd, agent)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    except Orphaned:
        pass
    end_all(tree, rundir, second_s, lambda: _is_another(held, rundir))


def _wait(fd: int, agent: int) -> None:
    """Until the agent is gone. Raises Orphaned."""
    signal.signal(signal.SIGHUP, _tell)
    linux.set_pdeathsig(signal.SIGHUP)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while os.getppid() == agent and not poll.poll(LOOK_S * 1000):
        pass


def _tell(_signo: int, _frame: object) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise Orphaned


def end_all(tree: Tree, rundir: str, second_s: float = 0.0, is_over: Callable[[], bool] = lambda: False) -> None:
    """Rule 1. ``is_over``: whether the next life has what is there."""
    pause_s, clocks, are_apart = PAUSE_MIN_S, Clocks(), False
    while not is_over():
        before_s, skew_s = linux.boottime(), linux.skew()
        now_s, due_s, killed = linux.boottime(), float("inf"), False
        are_apart = are_apart or clocks.apart_s(before_s, skew_s, now_s) != 0.0
        for place in tree.places():
            ends_s = deadline.shown(rundir, place.group) + second_s if place.is_guarded() else now_s
            if are_apart and ends_s < float("inf"):
                ends_s = now_s
            if now_s < ends_s:
                due_s = min(due_s, ends_s)
                continue
            for pid in tree.inside(place):
                procscan.kill(pid, signal.SIGKILL)
                killed = True
        if not killed and due_s == float("inf") and tree.prune():
            try:
                os.rmdir(tree.path)
            except OSError:
                pass                                 # somebody else did it, or does
            return
        time.sleep(max(0.0, min(pause_s, due_s - now_s, WATCH_S if due_s < float("inf") else PAUSE_MAX_S)))
        pause_s = PAUSE_MIN_S if killed else min(2 * pause_s, PAUSE_MAX_S)


def _is_another(held: int, rundir: str) -> bool:
    """Whether the record is another file than the one that this process holds."""
    try:
        return not os.path.samestat(os.fstat(held), os.stat(Path(rundir, RECORD)))
    except OSError:
        return False
