"""A Linux machine as the agent's world, with openMosix or a shared directory: one process, one loop.

Rules:

1. Nothing in the loop blocks: what may is given to workers (:mod:`mosha.platform.workers`). The exceptions are
   :meth:`Machine.sweep`, for at most twice ``orphans.SWEEP_LIMIT_S``, and ``var`` where it lies in a shared directory:
   while that hangs so does the agent, and its leashes end the groups at their deadlines.
2. One life at a time (:mod:`mosha.lives`): the agent begins when nothing of an earlier one is left, but leashes that
   it takes over (R9).
3. A leash inherits nothing of this process but the lock of its life.
4. Nor does it wait for whoever reads its log (:mod:`mosha.platform.logs`).
5. What a leash leaves when it is killed is :mod:`mosha.platform.orphans`.
"""

from __future__ import annotations

import logging
import os
import random
import selectors
import signal
import time
from collections.abc import Mapping
from typing import Any

from mosha import elders
from mosha.agent import Agent, Ended
from mosha.clinit.custody import Legacy
from mosha.clinit.leash import Leash
from mosha.config import Config
from mosha.lives import AlreadyRuns, Life
from mosha.platform import cgroups, linux, openmosix, plans, platforms
from mosha.platform.home import Home
from mosha.platform.logs import Logs
from mosha.platform.orphans import Orphans
from mosha.platform.store import LocalStore
from mosha.platform.units import Units
from mosha.platform.wake import Wakeup, fds_of
from mosha.platform.workers import Workers
from mosha.platform.world import Answer, Store
from mosha.resources.records import RUN_VARIABLE
from mosha.tables.settings import SESSION

log = logging.getLogger(__name__)

END_EARLIER_S = 10.0
NONCE_BYTES = 16
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Machine:
    """The world of one agent; :meth:`live` is the loop."""

    var: Store
    run: Store
    _agent: Agent

    def __init__(self, config: Config, logs: Logs | None = None, home: Home | None = None) -> None:
        """Raises AlreadyRuns, OSError."""
        self._logs, self._home = logs, home
        self._leashes: dict[str, Leash] = {}
        self._rundir = config.rundir
        self._orphans = Orphans(self._rundir, self._own_children, self._leash_pid, self._in_units)
        self._has_ended = True                       # a child may have, and is yet to be collected
        self._units: Units | None = None
        self._legacies: list[tuple[Leash, Legacy]] = []
        self.life = Life(self._rundir)
        self.var, self.run = LocalStore(config.var), LocalStore(config.rundir)
        self._lock_path = config.lock_path
        self._random = random.Random()
        self._selector = selectors.DefaultSelector()
        self._workers = Workers(platforms.of(config).by_name(), self._selector, self.now)
        self._catch_signals()

    def begin(self, units: str, second_s: float, limit_s: float) -> bool:
        """Take leashes of an earlier life over, if it can have their control groups as well, and end what else is left
        of it, then hold groups as the setting says; whether nothing else was left."""
        found = Leash.take_over(self._rundir, self._variables())
        claimed = cgroups.claim(self._rundir) if found and units != SESSION else None
        taken, spared = [], {}
        for leash, legacy in found:
            if claimed is not None and leash.stranger is not None and claimed.guards(leash.stranger):
                taken.append((leash, legacy))
                spared[legacy.group] = leash.stranger
            else:
                leash.kill()
                leash.close()
        if not self.life.end_earlier(limit_s, spared):
            return False
        self._workers.prepare()                      # and the two that come next: they share what is written to later
        if self._logs is not None:
            self._logs.start()
        self._units = Units(units, self._rundir, self._selector, log.info, second_s, claimed if taken else None)
        self._legacies = taken
        for leash, legacy in taken:
            log.info("%s: its leash lives on, until %.3f", legacy.group, legacy.deadline_s)
            self._hold(legacy.group, leash)
        return True

    # ---- the port ---------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Seconds since the boot."""
        return linux.boottime()

    def skew(self) -> float | None:
        """How far the steady clock is ahead of the other; None if no look at both was quick enough."""
        return linux.skew()

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def boot_id(self) -> str:
        """The identity of this boot; empty where the kernel has none."""
        return openmosix.boot_id()

    def nonce(self) -> str:
        """32 hexadecimal digits."""
        return os.urandom(NONCE_BYTES).hex()

    def uniform(self, low: float, high: float) -> float:
        """A random number."""
        return self._random.uniform(low, high)

    def submit(
        self, key: int, task: str, arguments: list[Any], limit_s: float, answer: Answer, patience_s: float = 0.0
    ) -> None:
        """Give the task to the worker of ``key``."""
        planned = [key] if task in plans.TASKS else []
        self._workers.submit(key, task, planned + arguments, limit_s, answer, patience_s)

    def start_leash(self, group: str, environment: Mapping[str, str], deadline: float, ahead: bool = False) -> Leash:
        """Fork a guardian; its commands get the environment of this process as well. Raises OSError."""
        leash = Leash.start(
            group, {**self._variables(), **environment}, deadline, log.info, self._own_fds(), self._lock_path,
            ahead=ahead, tree=self._units.ready() if self._units is not None else None,
        )
        self._hold(group, leash)
        return leash

    def legacies(self) -> list[tuple[Leash, Legacy]]:
        """The leashes of an earlier life that live on, and obey this one."""
        return self._legacies

    def sweep(self, group: str | None) -> bool:
        """Kill what outlived its leash, and take its addresses and mounts away; whether nothing is left."""
        return self._orphans.sweep(group)

    def remains(self, group: str) -> str:
        """What a sweep of that group cannot end, in words."""
        return self._orphans.shown(group)

    def _variables(self) -> dict[str, str]:
        return {**os.environ, RUN_VARIABLE: self._rundir}

    def _hold(self, group: str, leash: Leash) -> None:
        self._selector.register(leash.fileno(), selectors.EVENT_READ, lambda: self._leash_readable(group, leash))
        self._leashes[group] = leash

    def _leash_pid(self, group: str) -> int | None:
        return self._leashes[group].pid if group in self._leashes else None

    def _in_units(self, group: str | None) -> set[int]:
        return self._units.pids(group) if self._units is not None else set()

    def _own_children(self) -> set[int]:
        writer = self._logs.own() if self._logs is not None else set()
        wardens = self._units.own() if self._units is not None else set()
        return {*wardens, *writer, *self._workers.pids(), *(leash.pid for leash in self._leashes.values())}

    # ---- the loop ---------------------------------------------------------------------------------------------

    def live(self, config: Config) -> int:
        """Drive an agent to the end of its life; the exit code. Whatever of its own ends that, an error as well, ends
        the groups: only one that is killed leaves them to the next."""
        try:
            self._agent = Agent(config, self)
            while True:
                self._turn(self._agent.round())
        except Ended as end:
            return end.code
        finally:
            for leash in self._leashes.values():
                leash.kill()
            self._workers.close()
            if self._units is not None:
                self._units.close()

    def _turn(self, until: float) -> None:
        """Wait for events, at most until then, and deliver them."""
        due = self._workers.next_due()
        wake = until if due is None else min(until, due)
        for key, _ in self._selector.select(max(0.0, wake - self.now())):
            if key.fileobj in self._selector.get_map():      # an earlier callback may have unregistered it
                key.data()
        self._workers.tick()
        if self._units is not None:
            self._units.tick()
        if self._has_ended:
            self._has_ended = not self._orphans.collect()
        if self._logs is not None:
            self._logs.flush()
        away = self._home.look(self.now()) if self._home is not None else ""
        if away:
            log.warning("somebody moved this agent to node %s: it goes home", away)

    def _leash_readable(self, group: str, leash: Leash) -> None:
        fd = leash.fileno()
        self._agent.leash_ready(group)
        if leash.gone:
            self._selector.unregister(fd)
            del self._leashes[group]

    def _own_fds(self) -> list[int]:
        """What a leash must not inherit: all of this process but the lock of its life."""
        return sorted({*fds_of(self._selector), self.life.agent_fd, *self._wake.fds()})

    def _catch_signals(self) -> None:
        self._wake = Wakeup((*ENDING, signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR2))
        self._selector.register(self._wake, selectors.EVENT_READ, self._woken)

    def _woken(self) -> None:
        taken = self._wake.taken()
        self._has_ended = self._has_ended or signal.SIGCHLD in taken
        for signo in taken.intersection(ENDING):
            self._agent.leave(signal.Signals(signo).name)
        if signal.SIGHUP in taken:
            self._agent.drain()
        if signal.SIGUSR2 in taken:
            self._agent.clear()


def run(config: Config, logs: Logs | None = None, home: Home | None = None) -> int:
    """One life of the agent in this process; the exit code. Raises AlreadyRuns, OSError."""
    os.umask(0o022)
    machine = Machine(config, logs, home)
    if elders.are_here(machine.var):
        raise AlreadyRuns(f"OpenMosix::HA of 2003 runs on this node, or was killed: end it with TERM; then, if "
                          f"{config.var}/clstat is still there, end what it had started, and remove that file")
    if not machine.begin(config.units, config.timing.second_s, END_EARLIER_S):
        log.error("what is left of an earlier life does not end within %g s", END_EARLIER_S)
        return 1
    return machine.live(config)
