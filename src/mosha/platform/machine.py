"""A Linux machine with openMosix as the agent's world: one process, one loop.

Rules:

1. Nothing in the loop blocks: what may is given to workers (:mod:`mosha.platform.workers`). The one exception is
   :meth:`Machine.sweep`, for at most twice ``SWEEP_LIMIT_S``.
2. One life at a time (:mod:`mosha.lives`): the agent begins when nothing of an earlier one is left.
3. A leash inherits nothing of this process but the lock of its life.
4. What a leash leaves when it is killed becomes a child of this process (Linux 3.4), whatever it did to hide: all that
   is below this process, and below no leash and no worker, is killed by every sweep, and collected when it has ended.
   On an older kernel only what carries the group's mark in its environment is found.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import secrets
import selectors
import signal
import socket
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from mosha.agent import Agent, Ended
from mosha.clinit.leash import Leash
from mosha.config import Config
from mosha.lives import Life
from mosha.platform import linux, openmosix, plans, procscan
from mosha.platform.store import LocalStore
from mosha.platform.workers import Workers
from mosha.platform.world import Answer, Store
from mosha.resources import remove_left
from mosha.resources.records import RUN_VARIABLE

log = logging.getLogger(__name__)

WORKERS = 8                      # so that each of up to seven voters has one, on the usual map
END_EARLIER_S = 10.0
SWEEP_LIMIT_S = 0.1              # for processes that outlived their leash, and for mounts; tried again each round
NONCE_BYTES = 16
LOOKS_AT_CLOCKS = 3
ONE_INSTANT_S = 0.0002
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Machine:
    """The world of one agent; :meth:`live` is the loop."""

    var: Store
    run: Store
    _agent: Agent

    def __init__(self, config: Config) -> None:
        """Raises AlreadyRuns, OSError."""
        openmosix.stay_home(config.procbase)
        self._adopts = linux.set_subreaper()
        self._leashes: dict[str, Leash] = {}
        self._rundir = config.rundir
        self.life = Life(self._rundir)
        self.var, self.run = LocalStore(config.var), LocalStore(config.rundir)
        self._lock_path = f"{config.procbase}/self/lock"
        self._random = random.Random()
        self._selector = selectors.DefaultSelector()
        self._workers = Workers(WORKERS, openmosix.OpenMosix(config).tasks(), self._selector, self.now)
        self._catch_signals()

    # ---- the port ---------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Seconds since the boot."""
        return linux.boottime()

    def skew(self) -> float | None:
        """How far the steady clock is ahead of the other; None if no look at both was quick enough."""
        for _ in range(LOOKS_AT_CLOCKS):
            before, steady, after = linux.boottime(), linux.steady(), linux.boottime()
            if after - before <= ONE_INSTANT_S:
                return steady - after
        return None

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def boot_id(self) -> str:
        """The identity of this boot; empty where the kernel has none."""
        return openmosix.boot_id()

    def nonce(self) -> str:
        """32 hexadecimal digits."""
        return secrets.token_hex(NONCE_BYTES)

    def uniform(self, low: float, high: float) -> float:
        """A random number."""
        return self._random.uniform(low, high)

    def submit(self, key: int, task: str, arguments: list[Any], limit_s: float, answer: Answer) -> None:
        """Give the task to the worker of ``key``."""
        planned = [key] if task in plans.TASKS else []
        self._workers.submit(key, task, planned + arguments, limit_s, answer)

    def start_leash(self, group: str, environment: Mapping[str, str], deadline: float, ahead: bool = False) -> Leash:
        """Fork a guardian; its commands get the environment of this process as well. Raises OSError."""
        variables = {**os.environ, **environment, RUN_VARIABLE: self._rundir}
        leash = Leash.start(group, variables, deadline, log.info, self._own_fds(), self._lock_path, ahead=ahead)
        self._selector.register(leash.fileno(), selectors.EVENT_READ, lambda: self._leash_readable(group, leash))
        self._leashes[group] = leash
        return leash

    def sweep(self, group: str | None) -> bool:
        """Kill what outlived its leash, and take its addresses and mounts away; whether nothing is left."""
        left = partial(self._left, group)
        return procscan.kill_all(left, SWEEP_LIMIT_S) and remove_left(group, self._rundir, SWEEP_LIMIT_S)

    def _left(self, group: str | None) -> set[int]:
        """What is below the leash of the group, which was killed; all orphans (rule 4); and what carries its mark."""
        table = procscan.processes()
        found = procscan.descendants(table, os.getpid(), self._own_children())
        if group in self._leashes:
            found += procscan.descendants(table, self._leashes[group].pid)
        return {*procscan.living(found), *procscan.marked(group)}

    def _own_children(self) -> set[int]:
        return {*self._workers.pids(), *(leash.pid for leash in self._leashes.values())}

    # ---- the loop ---------------------------------------------------------------------------------------------

    def live(self, agent: Agent) -> int:
        """Drive the agent to the end of its life; the exit code."""
        self._agent = agent
        try:
            while True:
                self._turn(agent.round())
        except Ended as end:
            return end.code
        finally:
            self._workers.close()

    def _turn(self, until: float) -> None:
        """Wait for events, at most until then, and deliver them."""
        due = self._workers.next_due()
        wake = until if due is None else min(until, due)
        for key, _ in self._selector.select(max(0.0, wake - self.now())):
            if key.fileobj in self._selector.get_map():      # an earlier callback may have unregistered it
                key.data()
        self._workers.tick()
        self._collect_orphans()

    def _collect_orphans(self) -> None:
        """Those that have ended. Leashes and workers are waited for by who has them."""
        try:
            while self._adopts:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None or ended.si_pid in self._own_children():
                    return
                os.waitpid(ended.si_pid, os.WNOHANG)
        except ChildProcessError:
            pass

    def _leash_readable(self, group: str, leash: Leash) -> None:
        fd = leash.fileno()
        self._agent.leash_ready(group)
        if leash.gone:
            self._selector.unregister(fd)
            del self._leashes[group]

    def _own_fds(self) -> list[int]:
        """What a leash must not inherit: all of this process but the lock of its life."""
        watched = [key.fd for key in self._selector.get_map().values()]
        poller = [self._selector.fileno()] if isinstance(self._selector, selectors.EpollSelector) else []
        return sorted({*watched, *poller, self.life.agent_fd, self._wake.fileno()})

    def _catch_signals(self) -> None:
        wake_r, self._wake = socket.socketpair()
        wake_r.setblocking(False)
        self._wake.setblocking(False)
        self._selector.register(wake_r, selectors.EVENT_READ, lambda: self._woken(wake_r))
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for signo in (*ENDING, signal.SIGCHLD, signal.SIGHUP):
            signal.signal(signo, lambda *_: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def _woken(self, wake_r: socket.socket) -> None:
        try:
            received = wake_r.recv(4096)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            return
        for signo in set(received).intersection(ENDING):
            self._agent.leave(signal.Signals(signo).name)


def run(config: Config) -> int:
    """One life of the agent in this process; the exit code. Raises AlreadyRuns, OSError."""
    os.umask(0o022)
    machine = Machine(config)
    if not machine.life.end_earlier(END_EARLIER_S):
        log.error("what is left of an earlier life does not end within %g s", END_EARLIER_S)
        return 1
    return machine.live(Agent(config, machine))
