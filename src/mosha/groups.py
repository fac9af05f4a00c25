"""The resource groups of this node: each has a view, the monitor decides, and this carries it out on leashes.

A group may be tested *ahead*, while its owner still runs it and is about to give it up, or while nobody has it, on all
nodes that may: by a leash that has no token, runs nothing but tests, and is killed when the group does not come, or
when its test fails. It is told the token when the epoch was won, and not before. A group that has anything but tests at
level test, or is ``exclusive-test``, is tested only when it was won.

A leash that an earlier life left is *inherited* (R9): it obeys this one, and with it goes the ownership of that life,
for as long as it lives. Nothing is told to it, nor is its deadline moved, before this life has a lease, and knows that
the register still names the earlier one.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from functools import lru_cache, partial
from typing import Any, Callable

from mosha.clinit.custody import OWNER
from mosha.local import LocalGroup
from mosha.monitor import PLAN, SETTLED, STOP, TEST, Action, View, decide
from mosha.ownership import marker
from mosha.ownership.disk_paxos import DiskPaxos
from mosha.platform.world import Leash, World
from mosha.tables.cltab import OFF, Cltab, Entry
from mosha.tables.settings import Policy
from mosha.timing import AHEAD_S, FORGET_S, STUCK_S, Timing

log = logging.getLogger(__name__)

STUCK_SHOWN = 16                 # groups: a record has a bound
RETRY_S = 0.01                   # between two attempts to kill what a leash has not
NO_LEASE = "no lease"


class Groups:
    """Carries decisions out. ``environment`` gives variables of a group's commands."""

    ownership: DiskPaxos                             # of the present identity, when there is one

    def __init__(
        self, timing: Timing, world: World, rank: Callable[[str], int], next_node: Callable[[str], int | None],
    ) -> None:
        """``rank(group)``: how many living nodes should go first; ``next_node(group)``: which does when this one
        gives it up."""
        self._timing, self._rank, self._next = timing, rank, next_node
        self._environment: dict[str, str] = {}
        self._world = world
        self.exclusive: Collection[str] = ()         # groups that only their owner may test
        self.restarts: Mapping[str, int] = {}        # how often a group that fails is started again where it is
        self.maintained: Collection[str] = ()        # groups that are to be left alone
        self.planned: Collection[str] = ()           # groups that go no further than plan: mosha.elders
        self.rests = False                           # nothing is to be done here unless there is news
        self._local = {legacy.group: LocalGroup.inherited(world, leash, legacy) for leash, legacy in world.legacies()}

    def begin(self, ownership: DiskPaxos, node: int) -> None:
        """This node knows who it is."""
        self.ownership, self._environment = ownership, {"MOSHA_NODE": str(node)}
        self._note_inherited()

    def guard(self, now: float) -> None:
        """Before that: inherited leashes end by their deadlines."""
        for name, local in self._local.items():
            if local.orphaned or (local.leash is not None and now >= local.deadline):
                self._kill(now, name, local)

    def idle(self) -> bool:
        """Whether nothing runs here and nothing is claimed."""
        return self.is_empty() and not any(self.ownership.claims(name) for name in self._local)

    def is_empty(self) -> bool:
        """Whether no process of any group can be left here."""
        return not any(local.leash or local.orphaned for local in self._local.values())

    def unfit(self, now: float) -> frozenset[str]:
        """The groups that this node has failed a short while ago."""
        return frozenset(name for name, local in self._local.items() if now < local.unfit_until)

    def ready(self) -> list[str]:
        """The groups that were tested ahead here, and that this node could take at once."""
        return sorted(name for name, local in self._local.items() if local.leash and local.ahead and local.passed_at)

    def failed(self) -> dict[str, dict[str, Any]]:
        """What is remembered of each group that failed here: how often, why, and until when it is not tried again, on
        people's clock."""
        return {
            name: {"count": local.failures, "why": local.failure, "until": local.until_wall}
            for name, local in sorted(self._local.items()) if local.failures
        }

    def stuck(self) -> dict[str, str]:
        """The groups of which something was killed here and lives on: what, in words; no more than some."""
        found = [(name, one.stuck) for name, one in self._local.items() if one.stuck]
        return dict(sorted(found)[:STUCK_SHOWN])

    def is_done(self, name: str, level: str) -> bool:
        """Whether the group has come to that level here."""
        local = self._local.get(name)
        if local is None or local.ahead or not self.owns(name):
            return False
        return local.told == level and local.state in ("DONE", "PASSED")

    def runs_at(self, name: str) -> str | None:
        """The level that it has here, beyond tests; None if nothing of it is to run."""
        local = self._local.get(name)
        return None if local is None or local.leash is None or local.told in (TEST, STOP) else local.told

    def is_begun(self, name: str) -> bool:
        """Whether it is, or was until it is stopped, beyond tests here."""
        local = self._local.get(name)
        return local is not None and local.leash is not None and not local.ahead and local.told != TEST

    def owns(self, name: str) -> bool:
        """Whether it was agreed that this node has it."""
        return self.ownership.held(name)

    def clear(self, group: str) -> None:
        """Forget its failures here; all if it is empty."""
        for name, local in self._local.items():
            if group in ("", name) and local.failures:
                log.warning("%s: %d failures are forgotten", name, local.failures)
                local.forget()

    def status(self) -> dict[str, dict[str, Any]]:
        """Level, state and since (ISO 8601) of every group that is active here, whoever has it: also of what an earlier
        life left, or one of 2003 would begin it elsewhere."""
        found: dict[str, dict[str, Any]] = {}
        for name, local in self._local.items():
            if local.leash is not None and local.level is not None and not local.ahead:
                found[name] = {"level": local.level, "state": local.state, "since": _iso(local.since)}
                found[name].update({key: value for key, value in (
                    ("on_hold", local.on_hold), ("why", local.why), ("reason", local.reason),
                ) if value})
            elif self.ownership.claims(name):
                found[name] = {"level": PLAN, "state": "DONE", "since": _iso(local.since)}
        return found

    def step(self, now: float, wanted: Mapping[str, str], cltab: Cltab) -> None:
        """One round: each group's view, decision and action; then the leases of what runs."""
        self._note_inherited()
        self.rests = True
        for name in sorted({*wanted, *self._local, *self.ownership.held_groups()}):
            local = self._local.setdefault(name, LocalGroup())
            if local.failures and now >= max(local.unfit_until, local.failed_at + FORGET_S):
                local.forget()
            if local.leash is None and not local.orphaned and not self.ownership.held(name):
                local.legacy = None                  # nothing is left of it
            action = decide(self._view(now, name, local, wanted, cltab))
            if action is Action.OWN:
                self._own(name, local)
                action = decide(self._view(now, name, local, wanted, cltab))
            elif action is Action.CLAIM:
                self._claim(now, name, local, cltab)
                action = decide(self._view(now, name, local, wanted, cltab))
            self._act(now, name, local, action, wanted, cltab)
            self._extend(now, name, local)
            self._look_for_stuck(now, name, local)
            self.rests = self.rests and action in (Action.NOTHING, Action.CLAIM) and local.rests

    def extend(self, now: float) -> None:
        """Tell what runs of a longer lease."""
        for name, local in self._local.items():
            self._extend(now, name, local)

    def kill_all(self, now: float) -> None:
        """Everything, at once."""
        for name, local in self._local.items():
            if local.leash is not None:
                self._kill(now, name, local)

    def next_due(self, now: float) -> float:
        """When :meth:`step` has something to do without news: a leash that should have killed by then."""
        dues = [self._kill_by(local) for local in self._local.values() if local.leash is not None]
        dues += [local.deadline for local in self._local.values() if local.legacy is not None and now < local.deadline]
        return min((max(due, now + RETRY_S) for due in dues), default=float("inf"))

    def receive(self, name: str) -> bool:
        """Take in what the group's leash reports; whether that is news."""
        local = self._local[name]
        if local.leash is None:
            return False
        is_news = self._hear(name, local, local.leash)
        if local.leash.gone:
            local.leash.close()
            local.leash, local.told, local.level, local.state = None, None, None, None
            local.ahead, local.passed_at, local.on_hold, local.restarting = False, None, False, False
            local.orphaned = local.is_populated or not local.finishing
            local.stuck = ""
            if local.orphaned:
                log.warning("%s: the leash has ended", name)
                local.killed_at = self._world.now() if local.killed_at is None else local.killed_at
        return is_news or local.leash is None

    # ---- inside -----------------------------------------------------------------------------------------------

    def _hear(self, name: str, local: LocalGroup, leash: Leash) -> bool:
        """What it has said; whether that is news."""
        reports = leash.receive()
        for report in reports:
            if report.kind == "extended":
                local.armed = report.deadline
            elif report.kind == "state":
                if report.state in SETTLED and report.level != local.told:
                    continue                         # it was on its way when another level was told
                if (local.level, local.state) != (report.level, report.state):
                    log.info("%s: %s %s%s", name, report.level, report.state, f": {report.text}" if report.text else "")
                local.level, local.state, local.since = report.level, report.state, report.time
                local.reason = report.text
                if report.level == STOP and report.state == "FAILED" and not local.restarting:
                    self._is_unfit(self._world.now(), name, local, local.failed_how)
                if local.ahead and report.state in ("PASSED", "DONE"):
                    local.passed_at = self._world.now()
            elif report.kind == "log":
                log.info("%s: %s", name, report.text)
            elif report.kind == "stuck":
                self._note_stuck(name, local, report.text)
            elif report.kind in ("started", "empty", "left"):
                local.is_populated = report.kind != "empty"
        return any(report.kind != "extended" for report in reports)

    @staticmethod
    def _note_stuck(name: str, local: LocalGroup, text: str) -> None:
        if text and not local.stuck:
            log.error("%s: cannot be ended here: %s", name, text)
        local.stuck = text

    def _look_for_stuck(self, now: float, name: str, local: LocalGroup) -> None:
        """What the leash could not end, or has left: nobody else tells of it."""
        is_there = local.orphaned or local.leash is not None
        if is_there and not local.stuck and local.killed_at is not None and now >= local.killed_at + STUCK_S:
            self._note_stuck(name, local, self._world.remains(name))

    def _note_inherited(self) -> None:
        self.ownership.inherited = {name: one.legacy for name, one in self._local.items() if one.legacy is not None}

    def _view(self, now: float, name: str, local: LocalGroup, wanted: Mapping[str, str], cltab: Cltab) -> View:
        level = wanted.get(name)
        return View(
            wanted=None if level == STOP else level,
            claimed=self.ownership.claims(name),
            held=self.ownership.held(name),
            leased=self._is_leased(now, name),
            leash=local.leash is not None,
            orphaned=local.orphaned,
            deaf=self._is_deaf(now, name, local),
            unfit=now < local.unfit_until,
            level=local.told,
            state=local.state,
            entries_changed=local.leash is not None and local.entries != cltab.group(name),
            awaited=self._is_awaited(now, name, cltab),
            free=self.may_test_ahead(name, cltab) and self.ownership.contests.is_free_here(now, name),
            may_restart=local.failures < self.restarts.get(name, 0),
            restarting=local.restarting,
            maintained=name in self.maintained and name in wanted,
            on_hold=local.on_hold,
            ahead=local.leash is not None and local.ahead,
            fresh=local.killed_at is None and (local.passed_at is None or now < local.passed_at + AHEAD_S),
            planned=name in self.planned,
            inherited=local.legacy is not None,
            passes=local.legacy is not None and now < local.deadline and self.ownership.passes(local.legacy),
        )

    def _is_leased(self, now: float, name: str) -> bool:
        lease_end = self.ownership.lease_end(name)
        return lease_end is not None and now < lease_end - self._timing.kill_margin_s

    def _is_awaited(self, now: float, name: str, cltab: Cltab) -> bool:
        contests = self.ownership.contests
        if contests.awaits(now, name) or contests.is_shot(now, name):
            return self.may_test_ahead(name, cltab)
        return contests.is_open(now, name) and self._is_tested_first(name, cltab)

    def _act(
        self, now: float, name: str, local: LocalGroup, action: Action, wanted: Mapping[str, str], cltab: Cltab
    ) -> None:
        if action is Action.RENOUNCE:
            if self.ownership.held(name):
                log.info("%s: given up", name)
            self.ownership.renounce(now, name, self._next(name))
            local.legacy = None
        elif action is Action.KILL:
            self._kill(now, name, local, "its leash stands still" if self._is_leased(now, name) else NO_LEASE)
        elif action is Action.RESTART:
            self._note_failure(now, local, local.failed_how)
            log.warning("%s: %s, tried here again", name, local.failure)
            self._tell(local, STOP, local.entries)
            local.restarting = True
        elif action is Action.GIVE_UP:
            self._is_unfit(now, name, local, local.failed_how)
            if not local.ahead:
                self._stop(local)
        elif action is Action.HOLD and local.leash is not None:
            log.warning("%s: in maintenance, left alone", name)
            local.leash.hold()
            local.on_hold = True
        elif action is Action.RUN_STOP:
            self._stop(local)
        elif action is Action.TEST_AHEAD:
            self._start_ahead(now, name, local)
            self._tell(local, TEST, cltab.group(name), cltab.policy)
        elif action is Action.RUN_TEST:
            self._start(now, name, local)
            self._tell(local, TEST, cltab.group(name), cltab.policy)
        elif action is Action.RUN:
            self._tell(local, wanted[name], cltab.group(name), cltab.policy)

    def _claim(self, now: float, name: str, local: LocalGroup, cltab: Cltab) -> None:
        """Where the group can be tested first it is contended for when that went well. Of what is inherited only that
        the earlier life has it may have to be decided."""
        if local.legacy is not None and not self.ownership.records.register(name).undecided:
            return
        is_ready = local.passed_at is not None or not self._is_tested_first(name, cltab)
        self.ownership.want(now, name, partial(self._rank, name), is_ready or local.legacy is not None)
        if self.ownership.claims(name):
            local.since = self._world.wall()

    def _is_tested_first(self, name: str, cltab: Cltab) -> bool:
        entries = cltab.group(name)
        return self.may_test_ahead(name, cltab) and any(entry.at(TEST) and entry.mode != OFF for entry in entries)

    def may_test_ahead(self, name: str, cltab: Cltab) -> bool:
        """Whether a node that does not own it may test it."""
        return _only_tests(cltab.group(name)) and name not in self.exclusive

    @staticmethod
    def _note_failure(now: float, local: LocalGroup, why: str) -> None:
        local.failures, local.failure, local.failed_at = local.failures + 1, why, now

    def _is_unfit(self, now: float, name: str, local: LocalGroup, why: str) -> None:
        self._note_failure(now, local, why)
        pause_s = self._timing.unfit_s(local.failures)
        local.unfit_until, local.until_wall = now + pause_s, round(self._world.wall() + pause_s)
        log.warning("%s: %s, not tried again for %g s", name, why, pause_s)

    def _start(self, now: float, name: str, local: LocalGroup) -> None:
        lease_end = self.ownership.lease_end(name)
        assert lease_end is not None, f"{name}: started without a claim"
        assert now < lease_end, f"{name}: started after the lease"
        self._fork(now, name, local, {**self._environment, **self._token(name, local)}, lease_end)

    def _start_ahead(self, now: float, name: str, local: LocalGroup) -> None:
        lease_end = self.ownership.lease_of_all()
        if lease_end is not None and now < lease_end - self._timing.kill_margin_s:
            log.info("%s: tested ahead", name)
            self._fork(now, name, local, self._environment, lease_end, ahead=True)

    def _fork(
        self, now: float, name: str, local: LocalGroup, environment: dict[str, str], lease_end: float,
        ahead: bool = False,
    ) -> None:
        local.deadline = local.armed = lease_end - self._timing.kill_margin_s
        local.ahead, local.passed_at = ahead, None
        local.finishing, local.is_populated, local.killed_at = False, False, None
        try:
            local.leash = self._world.start_leash(name, environment, local.deadline, ahead)
        except OSError as error:
            self._is_unfit(now, name, local, f"it cannot be started here ({error.strerror})")

    def _own(self, name: str, local: LocalGroup) -> None:
        assert local.leash is not None
        local.ahead = False
        local.leash.own({**self._environment, **self._token(name, local)})

    def _token(self, name: str, local: LocalGroup) -> dict[str, str]:
        own = self.ownership
        epoch = own.epoch(name)
        local.why = own.contests.grounds.get(name, "")
        log.info("%s: owned, epoch %d", name, epoch)
        return {
            "MOSHA_ERA": str(marker.number_of(own.era)), "MOSHA_EPOCH": str(epoch),
            OWNER: f"{own.era} {epoch} {own.identity}",
        }

    def _stop(self, local: LocalGroup) -> None:
        """Everything, in order; the leash ends when no process is left."""
        self._tell(local, STOP, local.entries)
        if local.leash is not None:
            local.finishing = True
            local.leash.finish()

    def _tell(self, local: LocalGroup, level: str, entries: tuple[Entry, ...], policy: Policy | None = None) -> None:
        if local.leash is not None:
            local.told, local.entries, local.on_hold, local.restarting = level, entries, False, False
            local.level, local.state = level, "STARTING"
            local.leash.tell(level, entries, policy=policy)

    def _kill(self, now: float, name: str, local: LocalGroup, why: str = NO_LEASE) -> None:
        if local.leash is not None:
            if local.killed_at is None:
                if local.legacy is not None and why == NO_LEASE:
                    log.error("%s: of an earlier life, and not to be taken over: killing everything", name)
                elif not local.ahead:
                    log.error("%s: %s, killing everything", name, why)
                else:
                    log.info("%s: tested ahead in vain", name)
                local.killed_at = now
                local.leash.kill()
            if now >= self._kill_by(local):
                local.leash.kill_guardian()          # frozen, or too slow: this process is the second guardian (R7)
                self._world.sweep(name)
        elif self._world.sweep(name):
            local.orphaned, local.stuck = False, ""

    def _kill_by(self, local: LocalGroup) -> float:
        """When the leash must have killed everything that it was told to kill, or has no lease for. An extension that
        it did not confirm is none."""
        asked = local.armed if local.killed_at is None else min(local.armed, local.killed_at)
        return asked + self._timing.second_s

    def _is_deaf(self, now: float, name: str, local: LocalGroup) -> bool:
        """Whether nobody will extend the leash any more. What it said in time counts, also if this process stood still
        since."""
        if local.leash is not None and now >= self._kill_by(local):
            self._hear(name, local, local.leash)
        return local.leash is not None and now >= self._kill_by(local)

    def _extend(self, now: float, name: str, local: LocalGroup) -> None:
        lease_end = self.ownership.lease_of_all() if local.ahead else self.ownership.lease_end(name)
        if local.leash is None or lease_end is None:
            return
        deadline = lease_end - self._timing.kill_margin_s
        if now < local.deadline and deadline >= local.deadline + self._timing.extend_s:
            if local.legacy is not None and local.deadline == local.legacy.deadline_s:
                log.info("%s: taken over from an earlier life of this node", name)
                local.why = "it had it before, and it ran on"
            local.deadline = deadline
            local.leash.extend(deadline)


def _only_tests(entries: tuple[Entry, ...]) -> bool:
    """Whether nothing but tests is started at level test: only then may that be done ahead."""
    return all(entry.mode == TEST for entry in entries if entry.at(TEST))


@lru_cache(maxsize=256)
def _iso(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, tz=timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
