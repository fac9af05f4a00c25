"""The resource groups of this node: each has a view, the monitor decides, and this carries it out on leashes."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Callable

from mosha.clinit.leash import Leash
from mosha.monitor import PLAN, SETTLED, STOP, TEST, Action, View, decide
from mosha.ownership import Ownership
from mosha.platform import procscan
from mosha.resources import ip
from mosha.tables.cltab import Cltab, Entry
from mosha.timing import Timing

log = logging.getLogger(__name__)

UNFIT_MAX_S = 60.0
KILL_LIMIT_S = 0.1               # for processes that outlived their leash; tried again each round
EXTEND_PER_BEAT = 4              # a leash is told of a later deadline at most this often


@dataclass
class _Local:
    """What this node has of one group."""

    leash: Leash | None = None
    entries: tuple[Entry, ...] = ()
    told: str | None = None              # the level that the leash was told last
    level: str | None = None             # that it reports: the old one while it stops that
    state: str | None = None
    since: float = 0.0                   # wall clock, for people
    deadline: float = 0.0
    finishing: bool = False
    failures: int = 0                    # in a row, on this node
    unfit_until: float = 0.0
    orphaned: bool = False               # the leash is gone, its processes perhaps not


class Groups:
    """Carries decisions out. ``environment`` gives the variables of a group's commands, ``close_fds`` what a leash
    must not keep open."""

    def __init__(
        self, ownership: Ownership, timing: Timing, environment: dict[str, str], lock_path: str,
        close_fds: Callable[[], list[int]],
    ) -> None:
        self._ownership, self._timing = ownership, timing
        self._environment, self._lock_path, self._close_fds = environment, lock_path, close_fds
        self._local: dict[str, _Local] = {}

    def leashes(self) -> list[tuple[str, Leash]]:
        """The leashes that exist, for the loop to watch."""
        return [(name, local.leash) for name, local in self._local.items() if local.leash is not None]

    def idle(self) -> bool:
        """Whether nothing runs here and nothing is claimed."""
        return not any(local.leash or self._ownership.claims(name) for name, local in self._local.items())

    def unfit(self, now: float) -> frozenset[str]:
        """The groups that this node has failed a short while ago."""
        return frozenset(name for name, local in self._local.items() if now < local.unfit_until)

    def status(self) -> dict[str, dict[str, Any]]:
        """Level, state and since (ISO 8601) of every group that is active here."""
        found = {}
        for name, local in self._local.items():
            if local.leash is not None and local.level is not None:
                found[name] = {"level": local.level, "state": local.state, "since": _iso(local.since)}
            elif self._ownership.claims(name):
                found[name] = {"level": PLAN, "state": "DONE", "since": _iso(local.since)}
        return found

    def step(self, now: float, wanted: dict[str, str], cltab: Cltab) -> None:
        """One round: each group's view, decision and action; then the leases of what runs."""
        for name in sorted({*wanted, *self._local}):
            local = self._local.setdefault(name, _Local())
            self._act(now, name, local, decide(self._view(now, name, local, wanted, cltab)), wanted, cltab)
            self._extend(now, name, local)

    def kill_all(self) -> None:
        """Everything, at once."""
        for _, leash in self.leashes():
            leash.kill()

    def receive(self, name: str) -> None:
        """Take in what the group's leash reports."""
        local = self._local[name]
        if local.leash is None:
            return
        for report in local.leash.receive():
            if report.kind == "state":
                if report.state in SETTLED and report.level != local.told:
                    continue                         # it was on its way when another level was told
                if (local.level, local.state) != (report.level, report.state):
                    log.info("%s: %s %s", name, report.level, report.state)
                local.level, local.state, local.since = report.level, report.state, report.time
            elif report.kind == "log":
                log.info("%s: %s", name, report.text)
        if local.leash.gone:
            local.leash.close()
            local.leash, local.told, local.level, local.state = None, None, None, None
            local.orphaned = not local.finishing
            if local.orphaned:
                log.warning("%s: the leash has ended", name)

    # ---- inside -----------------------------------------------------------------------------------------------

    def _view(self, now: float, name: str, local: _Local, wanted: dict[str, str], cltab: Cltab) -> View:
        lease_end = self._ownership.lease_end(now, name)
        level = wanted.get(name)
        return View(
            wanted=None if level == STOP else level,
            claimed=self._ownership.claims(name),
            held=self._ownership.held(name),
            leased=lease_end is not None and now < lease_end - self._timing.kill_margin_s,
            leash=local.leash is not None,
            orphaned=local.orphaned,
            unfit=now < local.unfit_until,
            level=local.told,
            state=local.state,
            entries_changed=local.leash is not None and local.entries != cltab.group(name),
        )

    def _act(
        self, now: float, name: str, local: _Local, action: Action, wanted: dict[str, str], cltab: Cltab
    ) -> None:
        if action is Action.CLAIM:
            self._ownership.want(now, name)
            if self._ownership.claims(name):
                local.since = datetime.now(tz=timezone.utc).timestamp()
        elif action is Action.RENOUNCE:
            self._ownership.renounce(name)
            log.info("%s: given up", name)
        elif action is Action.KILL:
            self._kill(name, local)
        elif action is Action.FINISH:
            if not local.finishing and local.leash is not None:
                local.finishing = True
                local.leash.finish()
        elif action is Action.GIVE_UP:
            local.failures += 1
            pause_s = min(UNFIT_MAX_S, self._timing.lease_s * 2 ** (local.failures - 1))
            local.unfit_until = now + pause_s
            log.warning("%s: %s failed here, not tried again for %g s", name, local.told, pause_s)
            self._tell(local, STOP, local.entries)
        elif action is Action.RUN_STOP:
            self._tell(local, STOP, local.entries)
        elif action is Action.RUN_TEST:
            self._start(now, name, local)
            self._tell(local, TEST, cltab.group(name))
        elif action is Action.RUN:
            self._tell(local, wanted[name], cltab.group(name))
        elif local.state == "DONE" and local.told == wanted.get(name):
            local.failures = 0

    def _start(self, now: float, name: str, local: _Local) -> None:
        lease_end = self._ownership.lease_end(now, name)
        assert lease_end is not None, f"{name}: started without a claim"
        assert now < lease_end, f"{name}: started after the lease"
        epoch = self._ownership.epoch(name)
        local.deadline = lease_end - self._timing.kill_margin_s
        local.finishing = False
        log.info("%s: owned, epoch %d", name, epoch)
        local.leash = Leash.start(
            name, {**os.environ, **self._environment, "MOSHA_EPOCH": str(epoch)}, local.deadline,
            log.info, self._close_fds(), self._lock_path,
        )

    def _tell(self, local: _Local, level: str, entries: tuple[Entry, ...]) -> None:
        if local.leash is not None:
            local.told, local.entries = level, entries
            local.level, local.state = level, "STARTING"
            local.leash.tell(level, entries)

    def _kill(self, name: str, local: _Local) -> None:
        if local.leash is not None:
            log.error("%s: no lease, killing everything", name)
            local.leash.kill()
        elif procscan.kill_all(name, KILL_LIMIT_S):
            ip.remove_left(name)
            local.orphaned = False

    def _extend(self, now: float, name: str, local: _Local) -> None:
        lease_end = self._ownership.lease_end(now, name)
        if local.leash is None or lease_end is None or not self._ownership.held(name):
            return
        deadline = lease_end - self._timing.kill_margin_s
        if now < local.deadline and deadline >= local.deadline + self._timing.beat_s / EXTEND_PER_BEAT:
            local.deadline = deadline
            local.leash.extend(deadline)


def _iso(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, tz=timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
