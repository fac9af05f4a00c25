"""The agent: one process, one loop. It observes, steps the state machines, acts, and publishes this node's record.

Rules:

1. Nothing in the loop blocks: what may is given to workers. Local files of the agent are small and on a local disk.
2. One life at a time (:mod:`mosha.lives`); the record of a life is written only when nothing of an earlier one is left.
3. The state machines are stepped after news and at every beat, with one time for the whole round.
4. Whatever cannot go on ends this life in order, and init begins the next: a changed map, a condemned identity.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import secrets
import selectors
import signal
import socket
from typing import Any, Callable

from mosha import status
from mosha.config import Config
from mosha.fencing import Fencing, Shot
from mosha.groups import Groups
from mosha.lives import Life
from mosha.monitor import STOP
from mosha.ownership import Record
from mosha.ownership.majority import Majority, well_formed
from mosha.platform import linux, openmosix
from mosha.platform.record import RecordFile
from mosha.platform.workers import Workers
from mosha.replication import Replica
from mosha.tables import cltab, hactl
from mosha.tables.cltab import Cltab
from mosha.timing import LOOK_LIMIT_S

log = logging.getLogger(__name__)

WORKERS = 4
ASK_LIMIT_S = 10.0           # for the own number and the map
ASK_AGAIN_S = 0.05           # while openMosix is not configured yet; doubled up to a second
MAP_CHECK_BEATS = 8
FETCH_LIMIT_S = 10.0
END_EARLIER_S = 10.0
STOP_LIMIT_S = 40.0          # for the groups to stop in order when the agent is told to end
REOPEN_BEATS = 2.5           # a record that stood still this long is opened anew
EAGER_LEASES = 2
FOUNDED = "founded"          # marker of an installer: no vote was ever given on this disk, no need to wait


class Ended(Exception):
    """This life is over; the argument is the exit code."""


class _Looks:
    """When each other node is looked at again."""

    def __init__(self, nodes: list[int], now: float) -> None:
        self.due = dict.fromkeys(nodes, now)
        self.flying: set[int] = set()
        self.reopened: dict[int, float] = {}

    def next_due(self) -> float:
        return min((due for node, due in self.due.items() if node not in self.flying), default=float("inf"))


class Agent:
    """One life. :meth:`run` returns the exit code."""

    def __init__(self, config: Config) -> None:
        self.config, self.timing = config, config.timing
        self._clock: Callable[[], float] = linux.boottime
        openmosix.stay_home(config.procbase)
        self._life = Life(config.rundir)
        self._selector = selectors.DefaultSelector()
        self._workers = Workers(WORKERS, openmosix.OpenMosix(config).tasks(), self._selector, self._clock)
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._leaving: str | None = None
        self._stop_by = float("inf")
        self._watched: dict[str, int] = {}           # group -> descriptor of its leash
        self._catch_signals()

    # ---- life -------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Live until told to end (0), or until this identity has to end (1)."""
        try:
            if not self._life.end_earlier(END_EARLIER_S):
                log.error("processes of an earlier life do not end within %g s", END_EARLIER_S)
                return 1
            me, nodes = self._find_place()
            self._begin(me, nodes)
            while True:
                self._round()
        except Ended as end:
            return int(end.args[0])
        finally:
            self._workers.close()

    def _find_place(self) -> tuple[int, frozenset[int]]:
        """Wait until openMosix knows this node's number and the map."""
        wait_s, reported = ASK_AGAIN_S, False
        while True:
            me, nodes = self._ask("whois"), self._ask("nodes")
            if isinstance(me, int) and isinstance(nodes, list) and me in nodes:
                return me, frozenset(nodes)
            if not reported and wait_s > 10 * ASK_AGAIN_S:
                log.info("openMosix is not configured yet (number %s, map %s)", me, nodes)
                reported = True
            self._turn(self._clock() + wait_s)
            if self._leaving:
                raise Ended(0)
            wait_s = min(1.0, 2 * wait_s)

    def _ask(self, task: str) -> Any:
        """The answer of a task, or the error's text; the loop goes on meanwhile."""
        answers: list[Any] = []
        self._workers.submit(
            0, task, [], ASK_LIMIT_S, lambda result, error: answers.append(str(error) if error else result)
        )
        while not answers:
            self._turn(self._clock() + ASK_LIMIT_S)
        return answers[0]

    def _begin(self, me: int, nodes: frozenset[int]) -> None:
        now = self._clock()
        self.me = me
        self.config.var.mkdir(parents=True, exist_ok=True)
        self._record = RecordFile(self.config.var)
        self._boot = openmosix.boot_id()
        earlier = self._record.read()
        if not (well_formed(earlier) and earlier):
            earlier = None
        self.ownership = Majority(
            me, secrets.token_hex(8), nodes, self.timing, now, earlier, self._may_vote_at(now, earlier)
        )
        self.fencing = Fencing(self.ownership, self.config.stomith_timeout_s + 1)
        environment = {"MOSHA_NODE": str(me)}
        self.groups = Groups(
            self.ownership, self.timing, environment, f"{self.config.procbase}/self/lock", self._agent_fds
        )
        self.cltab: Replica[Cltab] = Replica(self.config.var, "cltab", cltab.parse, Cltab((), {}))
        self.hactl: Replica[dict[str, str]] = Replica(self.config.var, "hactl", hactl.parse, {})
        self._looks = _Looks(sorted(nodes - {me}), now)
        self._records: dict[int, Record] = {}
        self._said: Record = {}
        self._next_beat, self._beats = now, 0
        self._news_at = now
        self._fetching: set[str] = set()
        self._page = ""
        log.info("node %d of %d, identity %s, quorum %d", me, len(nodes), self.ownership.nonce, self.ownership.quorum)

    def _may_vote_at(self, now: float, earlier: Record | None) -> float:
        """At once if no vote can have been forgotten: same boot and a whole record, or never any vote before."""
        founded = self.config.var / FOUNDED
        if founded.exists():
            founded.unlink()
            if earlier is None:
                return now
        if earlier is not None and earlier.get("boot") == self._boot != "":
            return now
        log.info("votes may have been forgotten: voting again in %.1f s", self.timing.recovery_s)
        return now + self.timing.recovery_s

    # ---- the loop ---------------------------------------------------------------------------------------------

    def _round(self) -> None:
        now = self._clock()
        if now > self._next_beat + self.timing.beat_s:
            log.warning("late by %.3f s", now - self._next_beat)
            self.fencing.late(now)
        self._watch_leashes()
        for node in [n for n, due in self._looks.due.items() if due <= now and n not in self._looks.flying]:
            self._look(now, node)
        beat_due = now >= self._next_beat
        if beat_due:
            self._next_beat = max(self._next_beat + self.timing.beat_s, now + self.timing.beat_s / 2)
            self._beats += 1
            self._look_at_tables(now)
            if self._beats % MAP_CHECK_BEATS == 0:
                self._workers.submit(0, "nodes", [], ASK_LIMIT_S, self._map_seen)
        self.ownership.unfit = self.groups.unfit(now)
        self.ownership.step(now)
        self.groups.step(now, {} if self._leaving else self.hactl.table, self.cltab.table)
        self._shoot(now)
        self._publish(now, beat_due)
        self._end_if_due(now)
        self._turn(min(self._next_beat, self._looks.next_due()))

    def _turn(self, until: float) -> None:
        """Wait for events, at most until then, and handle them."""
        due = self._workers.next_due()
        wake = until if due is None else min(until, due)
        for key, _ in self._selector.select(max(0.0, wake - self._clock())):
            if key.fileobj in self._selector.get_map():      # an earlier callback may have unregistered it
                key.data()
        self._workers.tick()

    def _watch_leashes(self) -> None:
        """Have the selector watch exactly the leashes that exist."""
        present = {name: leash.fileno() for name, leash in self.groups.leashes()}
        for name in [name for name, fd in self._watched.items() if present.get(name) != fd]:
            del self._watched[name]
        for name, fd in present.items():
            if name not in self._watched:
                self._watched[name] = fd
                self._selector.register(fd, selectors.EVENT_READ, lambda name=name: self._leash_readable(name))

    def _leash_readable(self, name: str) -> None:
        self.groups.receive(name)
        if name not in dict(self.groups.leashes()):
            self._selector.unregister(self._watched.pop(name))

    # ---- other nodes ------------------------------------------------------------------------------------------

    def _look(self, now: float, node: int) -> None:
        still_s = now - self.ownership.peers[node].changed_at
        reopen = still_s > REOPEN_BEATS * self.timing.beat_s < now - self._looks.reopened.get(node, 0.0)
        if reopen:
            self._looks.reopened[node] = now
        self._looks.flying.add(node)
        eager_s = self.timing.eager_poll_s(len(self.ownership.nodes))
        self._looks.due[node] = now + (eager_s if self._is_eager(now) else self.timing.beat_s)
        self._workers.submit(
            node, "look", [node, reopen], LOOK_LIMIT_S, lambda record, error: self._looked(node, record, error)
        )

    def _is_eager(self, now: float) -> bool:
        """Whether a move is pending, and not for long without news: then others are looked at more often."""
        if now > self._news_at + EAGER_LEASES * self.timing.lease_s:
            return False
        wanted = [group for group, level in self.hactl.table.items() if level != STOP]
        return bool(self._said.get("suspects")) or any(self.ownership.owner(now, group) is None for group in wanted)

    def _looked(self, node: int, record: Any, error: OSError | None) -> None:
        now = self._clock()
        self._looks.flying.discard(node)
        self.fencing.looked(node, error is None)
        if well_formed(record) and record.get("node") == node:
            self._records[node] = record
            self.ownership.saw(now, node, record)
            said = record.get("suspects")
            self.fencing.heard(node, said if isinstance(said, list) else [])
            tables = record.get("tables")
            for replica in (self.cltab, self.hactl):
                replica.heard(node, tables.get(replica.name) if isinstance(tables, dict) else None)

    def _map_seen(self, nodes: Any, error: OSError | None) -> None:
        if error is None and frozenset(nodes) != self.ownership.nodes and not self._leaving:
            self._leave("the map has changed")

    def _shoot(self, now: float) -> None:
        shot = self.fencing.due(now) if self.config.stomith else None
        if shot is not None:
            log.warning("STOMITH node %d", shot.node)
            limit_s = self.config.stomith_timeout_s + 1
            self._workers.submit(shot.node, "shoot", [shot.node], limit_s, lambda words, error: self._shot(shot, error))

    def _shot(self, shot: Shot, error: OSError | None) -> None:
        if error is None:
            log.warning("STOMITH node %d: done", shot.node)
        else:
            log.error("STOMITH node %d failed: %s", shot.node, error.strerror)
        self.fencing.answered(self._clock(), error is None)

    # ---- tables -----------------------------------------------------------------------------------------------

    def _look_at_tables(self, now: float) -> None:
        for replica in (self.cltab, self.hactl):
            source = replica.wanted_from()
            if source is not None and replica.name not in self._fetching:
                self._fetch(source, replica)
            for line in replica.look(self.ownership.quorate(now)):
                log.warning("%s", line)

    def _fetch(self, node: int, replica: Replica[Any]) -> None:
        self._fetching.add(replica.name)

        def taken(content: Any, error: OSError | None) -> None:
            self._fetching.discard(replica.name)
            if error is None:
                for line in replica.take(node, content):
                    log.info("%s", line)

        self._workers.submit(node, "fetch", [node, replica.name], FETCH_LIMIT_S, taken)

    # ---- what this node says ----------------------------------------------------------------------------------

    def _publish(self, now: float, beat_due: bool) -> None:
        said = {
            **self.ownership.says(),
            "node": self.me,
            "boot": self._boot,
            "suspects": self.fencing.suspects(now),
            "groups": self.groups.status(),
            "tables": {replica.name: replica.said() for replica in (self.cltab, self.hactl)},
        }
        news = {key: value for key, value in said.items() if key != "echo"}
        if news != self._said:
            self._said = news
            self._news_at = now
        elif not beat_due:
            return
        self._record.write({**said, "beat": self.ownership.beat(now)})
        self._show(now)

    def _show(self, now: float) -> None:
        """The files for people: clstat, hastat and its twin in JSON."""
        records = {**self._records, self.me: self._said}
        page = status.page(now, self.ownership, self.fencing.suspects(now), records, self.hactl.table)
        page["conflicts"] = [replica.name for replica in (self.cltab, self.hactl) if replica.conflict()]
        text = json.dumps(page)
        stamp = {"boottime": round(now, 3), "boot": self._boot}
        status.write(self.config.var, status.TWIN, json.dumps({**page, **stamp}) + "\n")
        if text != self._page:
            self._page = text
            status.write(self.config.var, "clstat", status.clstat_text(self._said))
            status.write(self.config.var, "hastat", status.hastat_text(now, self.ownership, records))

    # ---- the end ----------------------------------------------------------------------------------------------

    def _leave(self, reason: str) -> None:
        log.warning("leaving: %s", reason)
        self._leaving = reason
        self._stop_by = self._clock() + STOP_LIMIT_S

    def _end_if_due(self, now: float) -> None:
        if self.ownership.condemned() and not self._leaving:
            log.error("this identity was fenced")
            self.groups.kill_all()
            self._leave("fenced")
        if self._leaving and now >= self._stop_by:
            log.error("the groups have not stopped within %g s", STOP_LIMIT_S)
            self.groups.kill_all()
            self._stop_by = float("inf")
        if self._leaving and self.groups.idle():
            raise Ended(0)

    def _agent_fds(self) -> list[int]:
        """What a leash must not inherit: all of this agent but the lock of its life."""
        watched = [key.fd for key in self._selector.get_map().values()]
        leashes = [leash.fileno() for _, leash in self.groups.leashes()]
        poller = [self._selector.fileno()] if isinstance(self._selector, selectors.EpollSelector) else []
        own = [self._life.agent_fd, self._record.fileno(), self._wake.fileno()]
        return sorted({*watched, *leashes, *poller, *own})

    def _catch_signals(self) -> None:
        wake_r, self._wake = socket.socketpair()
        wake_r.setblocking(False)
        self._wake.setblocking(False)

        def woken() -> None:
            try:
                received = wake_r.recv(4096)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
                return
            for signo in set(received) & {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}:
                if not self._leaving:
                    self._leave(signal.Signals(signo).name)

        self._selector.register(wake_r, selectors.EVENT_READ, woken)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for signo in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD, signal.SIGHUP):
            signal.signal(signo, lambda *_: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def run(config: Config) -> int:
    """One life of the agent in this process; the exit code. Raises AlreadyRuns, OSError."""
    os.umask(0o022)
    return Agent(config).run()
