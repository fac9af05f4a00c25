"""The agent: it observes, steps the state machines, acts, and publishes this node's record.

Rules:

1. It has nothing of its machine but the port, :mod:`mosha.platform.world`: what may block is a task, whose answer comes
   later; its own files are small and on a local disk.
2. :meth:`Agent.round` never blocks. The state machines are stepped after news, when one of them is due, and with the
   beats, with one time for the whole round; a round without any of these costs a look at the clock.
3. One life at a time: an agent begins only when nothing of an earlier life is left on its node (the world sees to it),
   but for leashes that obey it (R9), so nothing is published before.
4. An identity that is void (its lease ended, it was fenced) ends with everything that runs under it; a new one begins
   when nothing of it is left. What else cannot go on, as a map without this node, ends this life in order, and init
   begins the next.
5. A disk that takes nothing ends no group, and a life only where a new identity is to begin, which needs its number
   there. Its voter goes no step that is not written; what people read, this node's record and its copies of the tables
   wait until it does.
6. While this node *rests*, nothing goes on that time alone would move but leases: then every other beat only asks the
   voters, as a longer lease only is told to leashes, and nothing is decided. So what is looked at once a beat is then
   looked at every other one, and what nothing says the due time of is seen so much later. Own marker and orders, the
   clocks and the lease are looked at with each beat in any case.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Callable

from mosha import events, novelties, status
from mosha.clocks import Clocks
from mosha.config import Config
from mosha.elders import Elders
from mosha.fencing import Fencing, Shot
from mosha.groups import Groups
from mosha.monitor import PLAN, STOP, TEST
from mosha.operations import Drained, Operations
from mosha.others import URGENT, Others, Record
from mosha.ownership import identity as identities
from mosha.ownership.disk_paxos import DISPUTED, FENCE, LAPSED, Call, DiskPaxos
from mosha.ownership.housekeeping import clean
from mosha.ownership.marker import FULL, configuration
from mosha.ownership.slot import file_of
from mosha.ownership.voter import Voter, rejoin
from mosha.partner import Partner
from mosha.place import Place
from mosha.placement import first, rank
from mosha.platform import plain, record
from mosha.platform.world import PROBES, SHOTS, World
from mosha.replicas import Replicas
from mosha.requirements import Requirements
from mosha.snags import Snags
from mosha.tables import hactl
from mosha.tables.hactl import Hactl
from mosha.timing import CLOCKS_SPAN_S, MAP_BEATS, STOP_LIMIT_S

log = logging.getLogger(__name__)

MAP_LIMIT_S = 10.0
CLEAN_BEATS = 20
SHOW_BEATS = 2               # the page is written anew this often without news; status.STALE_BEATS is longer
REWRITE_BEATS = 20           # and what only changes with news this often: somebody may have removed or spoilt it
SHOW_AFTER_S = 0.1           # and this long after news
SHOW_LATE_BEATS = 1.0        # while a group is about to come here there is no time for it, but for so long at most
CLOCKS = "the clocks of this machine"
STATE = "state"              # the number of the latest life on this disk
STATE_BYTES_MAX = 64
WATCH_ALL_MAX = 64           # nodes; on a larger map the slots of most are looked at in turn


class Ended(Exception):
    """This life is over."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Agent:
    """One life. The world calls :meth:`round`, :meth:`leash_ready` and :meth:`leave`, and the answers of tasks."""

    def __init__(self, config: Config, world: World) -> None:
        self.config, self.timing = config, config.timing
        self._world = world
        self._place: Place | None = Place(config, world)
        rejoin(world.var, world.boot_id())
        self._drained = Drained(world.var)
        self._news = True                            # something was delivered since the last round
        self._due = world.now()                      # the next whole round
        self._rests = False                          # rule 6, as of the latest one
        self._failing: dict[str, str] = {}           # files that could not be written, and why
        self._leaving: str | None = None
        self._stop_from = self._stop_by = float("inf")
        self._void_said = ""
        self._lapses, self._anew_at = 0, self._due   # in a row, each soon; when the next identity may begin
        self._calm_until = self._due                 # so long it contends for nothing
        self.groups = Groups(self.timing, world, self._rank, self._next)

    def round(self) -> float:
        """Do all that is to be done now; the absolute time at which it wants to be called again at the latest.

        Raises Ended when this life is over, OSError when its own disk fails.
        """
        now = self._world.now()
        if self._place is not None:
            if self._leaving:
                self.groups.kill_all(now)
                raise Ended(0)
            self.groups.guard(now)
            if self._place.found is None:
                return min(self._place.step(now), self.groups.next_due(now))
            self._begin(now, *self._place.found)
            self._place = None
        late_at = self.ownership.late_at()
        if self._news or now >= min(self._due, late_at):
            self._step(now)
            late_at = self.ownership.late_at()
        elif now >= min(self._next_beat, self._clocks_by):
            self._go_on(now)
            late_at = self.ownership.late_at()
        elif self.ownership.is_longer:
            self._extend(now)
            late_at = self.ownership.late_at()
        return min(self._due, self._next_beat, self._clocks_by, late_at)

    def leave(self, reason: str) -> None:
        """Begin an orderly end of this life; no more than once."""
        if not self._leaving:
            log.warning("leaving: %s", reason)
            now = self._world.now()
            self._leaving, self._news = reason, True
            self._stop_from = now + (self.timing.announce_s if self.has_heirs() else 0.0)
            self._stop_by = self._stop_from + STOP_LIMIT_S
            if self._place is None:
                self.operations.abandon(now)

    def has_heirs(self) -> bool:
        """Whether groups that this node gives up can go to another one, so that it is worth announcing that before they
        are stopped."""
        if self._place is not None or not self.ownership.held_groups():
            return False
        return self.ownership.quorate(self._world.now()) and any(map(self.alive, self.nodes - {self.me}))

    def drain(self) -> None:
        """Somebody on this node wants nothing to run here (SIGHUP): also if it has no place yet."""
        if self._place is None:
            self.operations.drain(self._world.now(), True)
            self._news = True
        else:
            self._drained.want(True)

    def clear(self) -> None:
        """Somebody on this node wants its failures to be forgotten (SIGUSR2); who has no place yet has none."""
        log.info("failures are forgotten")
        self.groups.clear("")
        self._news = True

    def leash_ready(self, group: str) -> None:
        """The group's leash has something to report, or is gone."""
        self._news = self.groups.receive(group) or self._news

    # ---- life -------------------------------------------------------------------------------------------------

    def _begin(self, now: float, me: int, nodes: frozenset[int]) -> None:
        self.me = me
        self._take_map(nodes)
        self._boot = self._world.boot_id()
        guess = self.config.voters_of(nodes)
        self.voter = Voter(
            me, guess, configuration(self.timing, self.config.protocol), self.timing, self._world.var, self._boot,
            self._number(), self._world.now, self._world.nonce, self._world.wall, is_named=bool(self.config.voters),
        )
        self.partner = Partner(self.voter, self.timing, self.config.stomith_delay_s, now)
        self.others = Others(me, self._world, self.timing.op_limit_s, self._heard)
        self.tables = Replicas(
            me, self._world, self.config.var, self.others, self._keep, self.alive, self._note_news
        )
        self.elders = Elders(me, self._world, self._known, self.alive, self.tables.checksum)
        self._hactl_read: Hactl | None = None        # the table from which these were taken
        self._levels: dict[str, str] = {}
        self._fenced: frozenset[str] = frozenset()
        self._said: Record = {}
        self._next_beat, self._beats, self._looked = now, 0, 0       # the latest beat, and the latest with a look
        self._clocks_by = now
        self._clocks = Clocks()
        self._made: dict[str, Any] = {}              # the page, of which nothing changes once it is made, and its text
        self._page, self._show_at = "", now
        self.events = events.Events(self._world.var, self._world.wall)
        self._shown: tuple[Any, ...] = ()                    # from what the page was made ...
        self._is_stale = False                               # ... longer ago than REWRITE_BEATS
        self._life = 0
        self._new_identity(now)
        self.groups.begin(self.ownership, me)
        self.requirements = Requirements(
            self.groups, self.owner, lambda node: self.others.said_by(self._world.now(), node)
        )
        self.operations = Operations(me, self._drained, self.timing, now, self, self.groups.clear)
        self.snags = Snags(me, self.config.stuck_s, self._has_heir, self._are_most)

    def _number(self) -> int:
        """Of the latest life that this disk remembers, 0 for none."""
        text = (self._world.var.read(STATE, STATE_BYTES_MAX) or b"").decode("ascii", "replace").strip()
        return int(text) if text.isdigit() and int(text) < identities.NUMBER_MAX else 0

    def _remember(self, number: int) -> None:
        self._life, self._losses = number, self.voter.losses
        self._world.var.replace(STATE, f"{number}\n".encode(), durable=True)

    def _new_identity(self, now: float) -> None:
        """Nothing of an earlier one is left; its number is durable before it is used (R4)."""
        number = max(self._number(), self._life) + 1     # whatever has become of the file meanwhile
        self._remember(number)
        identity = identities.make(self.me, number, self._world.nonce())
        self._identity_since, self._calm_until = now, now + self.timing.calm_s(self._lapses)
        self.voter.mine.add(identity)
        self.ownership = DiskPaxos(identity, self.timing, now, self.voter, self._world.uniform)
        self.ownership.contests.leaving, self.ownership.contests.coming = self.others.givers, self.others.coming
        self.others.peers = self.ownership.peers
        self.fencing = Fencing(self.ownership, bool(self.config.stomith), self._shooter_rank)
        voters, configured = sorted(self.ownership.voters), sorted(self.config.voters)
        log.info("identity %s, voters %s", identity, voters)
        if configured not in ([], voters):
            log.warning("the configuration begins with voters %s; only `mosha voters` changes them now", configured)

    def _go_on(self, now: float) -> None:
        """Only the clock says that something is due: rule 6, or else a whole round."""
        self._tick(now)
        if self._beats > self._looked:
            self._due = min(self._due, self._next_beat)      # the next one is whole again
            self.ownership.step(now)
        if self._news or not self._rests or not self.ownership.rests():
            self._step(now)
            return
        self.groups.extend(now)
        self._ask(now)
        self._due = min(self._due, self.ownership.next_due(now))

    def _extend(self, now: float) -> None:
        """The only news is a longer lease. Who does not rest may have waited for one."""
        self.ownership.is_longer = False
        self._compare_clocks(now)
        if self._rests and self.ownership.rests():
            self.groups.extend(now)
        else:
            self._step(now)

    def _tick(self, now: float) -> None:
        """What comes first in each round that is no look at the clock only."""
        if now > self._next_beat + self.timing.beat_s:
            log.warning("late by %.3f s", now - self._next_beat)
            self.fencing.late(now)
            self.partner.late(now)
        self._compare_clocks(now)
        if now < self._next_beat:
            return
        self._next_beat = self._beat_after(now)
        self._beats += 1
        self.others.beat()
        self._watch()                                # each time: with many nodes it is others' turn with each beat
        self.voter.look()
        self._note_losses()
        order = self.voter.obey(now)
        if order is not None:
            self.operations.take(now, order)
        self._news = self._news or order is not None or self.voter.wish is not None

    def _look(self, now: float) -> None:
        """With the beats, but for some of those at rest."""
        self.elders.beat(now, self.nodes)
        self.tables.look(now, self.ownership)
        self.voter.look_at_journals()
        self._note_losses()
        self._elect(now)
        if record.NAME in self._failing:
            self._said = {}
        if STATE in self._failing:
            self._keep(STATE, partial(self._remember, self._life))
        if self._is_turn(CLEAN_BEATS) and self.voter.marker.state == FULL and self.ownership.quorate(now):
            self._keep("what is removed of journals", partial(clean, self.ownership, self._world.var))
        if self._is_turn(MAP_BEATS):
            self._world.submit(0, "nodes", [], MAP_LIMIT_S, self._map_seen, self.timing.patience_s)
        if self._is_turn(SHOW_BEATS):
            self._show_at = min(self._show_at, now)
        self._is_stale = self._is_stale or self._is_turn(max(REWRITE_BEATS, self._turn_beats))
        self._looked = self._beats

    def _note_losses(self) -> None:
        if self.voter.losses != self._losses:
            self._losses = self.voter.losses
            self._keep(STATE, partial(self._remember, self._life))       # all that this life wrote is gone
            self._said, self._made, self._news = {}, {}, True

    def _is_turn(self, beats: int) -> bool:
        """Of what is done at the first look after so many."""
        return self._beats // beats > self._looked // beats

    def _step(self, now: float) -> None:
        """A whole round."""
        self._tick(now)
        if self._beats > self._looked:
            self._look(now)
        self._news = False
        self._read_hactl()
        self.ownership.step(now)
        self._operate(now)
        stuck_elsewhere = self._stuck_elsewhere(now)
        self._give_way(now, stuck_elsewhere)
        wanted = self.elders.allow(self._wanted(now), self.groups.owns, self.groups.is_begun)
        wanted = self.requirements.order(now, wanted, self._gives_up)
        self.groups.planned = self._planned(now) if self.elders.present else ()
        self.groups.step(now, wanted, self.tables.cltab.table)
        self._fence(now, self._condemned(now, stuck_elsewhere))
        self._publish(now)
        self._ask(now)
        self._end_if_due(now)
        hurry_s = SHOW_LATE_BEATS * self.timing.beat_s if self.ownership.contests.hurries(now) else 0.0
        if now >= self._show_at + hurry_s:
            self._show(now)
            hurry_s = 0.0
        stop_from = self._stop_from if now < self._stop_from else float("inf")
        dues = [
            self.ownership.next_due(now), self.fencing.next_due(now), self.groups.next_due(now),
            self.operations.next_due(now),
        ]
        if self.config.stomith:
            dues.append(self.partner.next_due(now))
        self._rests = self._is_at_rest()
        if not self._rests:
            dues += [self._next_beat, self.ownership.beats_at(now)]
        self._due = min(stop_from, self._show_at + hurry_s, *dues)

    def _is_at_rest(self) -> bool:
        """Rule 6."""
        parts = (self.ownership.rests(), self.groups.rests, self.operations.rests, self.tables.rests, self.elders.rests)
        goes_on = self._leaving or self._failing or self.fencing.suspects() or self.voter.wish
        return all(parts) and not goes_on

    def _ask(self, now: float) -> None:
        for call in self.ownership.calls(now):
            self._submit(call)
        self.others.read()

    def _beat_after(self, now: float) -> float:
        """When the next beat is due: with that of the identity, so that both take one round."""
        theirs = self.ownership.beats_at(now)
        if now < theirs <= now + self.timing.beat_s:
            return theirs
        return max(self._next_beat + self.timing.beat_s, now + self.timing.beat_gap_s)

    def _wanted(self, now: float) -> dict[str, str]:
        """The levels of the groups that may run here. One that is leaving gets nothing new, nor does one whose lease
        has just lapsed: it shows first that it can keep one."""
        if self.config.arbitrator or self._is_calm(now):
            return {}
        if self._leaving or self.operations.is_drained:
            ends = now >= min(self._stop_from, self.operations.drain_from)
            held = {name: level for name, level in self._levels.items() if self.ownership.held(name)}
            return {name: level for name, level in held.items() if not (ends and self._gives_up(name))}
        leaves = self.operations.moves.stopping()
        return {name: level for name, level in self._levels.items() if name not in leaves} if leaves else self._levels

    def _is_calm(self, now: float) -> bool:
        """Whether the lease of the identity before has lapsed so short a while ago that this one takes nothing yet."""
        return now < self._calm_until

    def _gives_up(self, group: str) -> bool:
        """Whether this node ends what it may have of the group, soon or now. That it is drained does not mean what is
        in maintenance: nobody else would start that."""
        if self._leaving or self.operations.gives_way:
            return True
        return self.operations.is_drained and group not in self.groups.maintained

    def _planned(self, now: float) -> Collection[str]:
        """The groups that those of 2003 are to see at plan here, before anything is started."""
        held = self.ownership.held_groups()
        return held if "clstat" in self._failing else self.elders.planned(now, held)

    def _known(self) -> set[int]:
        """The nodes on which an agent of today was ever seen, as far as is known here."""
        own = self.ownership
        return own.peers.all.keys() | {voter for voter, shown in own.markers().items() if shown is not None}

    def _watch(self) -> None:
        """Whose slots are read."""
        turn = self._turn_beats
        files = [file for file in self._files if file % turn == self._beats % turn]
        self.ownership.watch(self.ownership.owners_seen, files, (turn - 1) * self.timing.beat_s, self.nodes)

    def _compare_clocks(self, now: float) -> None:
        """Whether those of this machine still agree (R1): before anything is decided by one of them."""
        self._clocks_by = now + CLOCKS_SPAN_S
        apart_s = self._clocks.apart_s(now, self._world.skew(), self._world.now())
        if apart_s:
            self.ownership.distrust(f"{CLOCKS} went apart by {apart_s:.3f} s")

    def _submit(self, call: Call) -> None:
        def answered(result: Any, error: OSError | None) -> None:
            if call.done(self._world.now(), None if error else result):
                self._news = True

        self._world.submit(call.voter, call.task, call.arguments, call.limit_s, answered, call.patience_s)

    def _elect(self, now: float) -> None:
        """Carry an operator's wish for other voters out, or say why not. Without one: give a vote back, or decide on
        what was begun, whoever began it."""
        wish = self.voter.wish
        if wish is None:
            voters = self.partner.returns(now, self.ownership) or self.ownership.accepted_voters(now)
            if voters is not None:
                self.ownership.elect(now, voters)
            return
        problem = ""
        if frozenset(self.voter.electorate.voters) != wish.voters:
            strangers = sorted(wish.voters - self.nodes - self.ownership.voters)
            problem = f"not on the map: {strangers}" if strangers else self.ownership.elect(now, wish.voters)
            if not problem and now < wish.until:
                self.voter.wish = wish._replace(is_begun=True)
                return
            problem = problem or "it was not decided in time"
            if wish.is_begun:
                problem += "; it was begun, and may still be decided"
        log.warning("voters %s: %s", sorted(wish.voters), problem or "decided")
        self.voter.wish, self.voter.answer = None, [wish.name, problem]

    # ---- other nodes ------------------------------------------------------------------------------------------

    def _rank(self, group: str) -> int:
        """How many living nodes should have it before this one. Its owner counts while it beats: nobody waits for
        one that is late, and for as long as it looks alive somebody must be the first, who looks closely."""
        fit, load = self._others_for(group)
        late = self.ownership.late_owner(self._world.now(), group)
        return rank(group, self.me, [node for node in fit if node != late], load, self._prefer(group))

    def _shooter_rank(self, victim: int) -> int:
        """How many living nodes should shoot it before this one. The first is the one that should have its group: it
        watches the owner most closely, and knows first what the shot has freed."""
        now = self._world.now()
        group = min(self.ownership.groups_of(now, victim), default="")
        fit, load = self._others_for(group)
        others = [node for node in fit if node != victim]
        return rank(group, self.me, others, load, self._prefer(group)) if self._may_run(now, group) else len(others)

    def _may_run(self, now: float, group: str) -> bool:
        """Whether this node could have the group."""
        takes_nothing = self._leaving or self.operations.is_drained or self._is_calm(now)
        return not (self.config.arbitrator or takes_nothing or group in self.groups.unfit(now))

    def _has_heir(self, node: int, group: str) -> bool:
        """Whether a living node besides that one may have the group, and can end what it has itself."""
        if node != self.me and not self.groups.stuck() and self._may_run(self._world.now(), group):
            return True
        fit, _ = self._others_for(group)
        return any(one != node and not self.others.of(one).get("stuck") for one in fit)

    def _are_most(self, nodes: Collection[int]) -> bool:
        """Whether they are more than half of the nodes, or of the voters."""
        return any(2 * len(all_.intersection(nodes)) > len(all_) for all_ in (self.nodes, self.ownership.voters))

    def _next(self, group: str) -> int | None:
        """The living node that should have it when this one gives it up."""
        target = self.operations.moves.target(group)
        return target if target is not None else first(group, *self._others_for(group), self._prefer(group))

    def _prefer(self, group: str) -> tuple[int, ...]:
        wanted = self.tables.hactl.table.get(group)
        return wanted.prefer if wanted is not None else ()

    def _others_for(self, group: str) -> tuple[list[int], dict[int, int]]:
        """The other living nodes that may have it, and how many groups each node has; to shoot is none."""
        now, alive, of = self._world.now(), self.ownership.peers.alive, self.others.of
        fit = [
            node for node in self.nodes - {self.me}
            if not status.why_not(of(node), node, group, alive(now, node))
        ]
        load: dict[int, int] = {}
        for name in self.ownership.records.registers:
            owner = None if name.startswith(FENCE) else self.ownership.owner(now, name)
            if owner is not None:
                load[owner] = load.get(owner, 0) + 1
        return fit, load

    def _heard(self, node: int, said: Record, is_news: bool) -> None:
        """Another node's record."""
        self._news = self._news or is_news
        self.operations.orders.heard(node, said)
        self.tables.heard(node, said)

    def _note_news(self) -> None:
        self._news = True

    def _map_seen(self, nodes: Any, error: OSError | None) -> None:
        if error is None and frozenset(nodes) != self.nodes:
            if self.me not in nodes:
                self.leave(f"node {self.me} is not on the map {sorted(nodes)} any more")
            elif self._guesses_others(frozenset(nodes)):
                self.leave("who votes was a guess from a map that has changed")
            self._take_map(frozenset(nodes))
            self._news = True

    def _guesses_others(self, nodes: frozenset[int]) -> bool:
        """Whether this life began with voters that are only the lowest numbers of a map, and not of this one (R18)."""
        known = self.voter.electorate
        return not known.era and self.config.voters_of(nodes) != frozenset(known.voters)

    def _take_map(self, nodes: frozenset[int]) -> None:
        self.nodes, self._files = nodes, sorted({file_of(node) for node in nodes})
        self._turn_beats = 1 if len(nodes) <= WATCH_ALL_MAX else len(self._files)    # each slot is looked at once in it

    def _fence(self, now: float, condemned: Mapping[int, Collection[str]]) -> None:
        for node in self.fencing.step(now, condemned):
            self._world.submit(PROBES, "probe", [node], self.timing.probe_limit_s, partial(self._probed, node))
        shot = self.fencing.due(now)
        if shot is not None:
            log.warning("STOMITH node %d", shot.node)
            limit_s = self.config.shot_limit_s
            self._world.submit(SHOTS, "shoot", [shot.node], limit_s, partial(self._shot, self.fencing, shot))
            self.ownership.contests.shot = shot.node
        if self.config.stomith:
            self._shoot_partner(now)

    def _shoot_partner(self, now: float) -> None:
        node = self.partner.step(now, self.ownership)
        if node is not None:
            self._world.submit(PROBES, "probe", [node], self.timing.probe_limit_s, self._partner_probed)
        shot = self.partner.due(now, self.ownership)
        if shot is not None:
            log.warning("STOMITH node %d, the other one of two voters", shot.node)
            limit_s = self.config.shot_limit_s
            self._world.submit(SHOTS, "shoot", [shot.node], limit_s, partial(self._partner_shot, shot))

    def _partner_probed(self, up: Any, error: OSError | None) -> None:
        self.partner.probed(error is None and bool(up))
        self._news = True

    def _partner_shot(self, shot: Shot, _: Any, error: OSError | None) -> None:
        alone = self.partner.answered(self._world.now(), error is None)
        if error is None:
            log.warning("STOMITH node %d: done%s", shot.node, "" if alone else ", but other voters may be in force")
        else:
            log.error("STOMITH node %d failed: %s", shot.node, error.strerror)
        self._news = True

    def _probed(self, node: int, up: Any, error: OSError | None) -> None:
        self.fencing.probed(node, error is None and bool(up))
        self._news = True

    def _shot(self, fencing: Fencing, shot: Shot, _: Any, error: OSError | None) -> None:
        if error is None:
            log.warning("STOMITH node %d: done", shot.node)
        else:
            log.error("STOMITH node %d failed: %s", shot.node, error.strerror)
        fencing.answered(self._world.now(), error is None)
        if fencing is self.fencing:
            self.ownership.contests.shot = None
        self._news = True

    def _read_hactl(self) -> None:
        """What the table in force says, taken out of it once."""
        if self.tables.hactl.table is not self._hactl_read:
            self._hactl_read = self.tables.hactl.table
            self._levels = hactl.levels(self._hactl_read)
            self._fenced = hactl.with_flag(self._hactl_read, "fenced")
            self.groups.exclusive = hactl.with_flag(self._hactl_read, "exclusive_test")
            self.groups.restarts = {group: wanted.restarts for group, wanted in self._hactl_read.items()}
            self.groups.maintained = hactl.with_flag(self._hactl_read, "maintenance")
            self.requirements.take(self._hactl_read)
        self.ownership.contests.unexpiring = self._fenced

    # ---- what cannot be ended ---------------------------------------------------------------------------------

    def _give_way(self, now: float, stuck_elsewhere: Mapping[int, Record]) -> None:
        """If a shot is to free a group that cannot be ended here (R24), what else this node has goes before."""
        stuck = self.groups.stuck()
        self.snags.step(now, stuck, stuck_elsewhere)
        wants = bool(self.config.stomith) and any(map(self.ownership.held, self._to_shoot_for(now, self.me, stuck)))
        self.operations.give_way(now, wants, STOP_LIMIT_S + self.config.shot_limit_s)

    def _stuck_elsewhere(self, now: float) -> dict[int, Record]:
        """The records of other nodes that say something of what cannot be ended."""
        return {
            node: self.others.said_by(now, node) for node, said in self.others.records.items()
            if said.get("stuck") or said.get("stuck_on")
        }

    def _condemned(self, now: float, stuck_elsewhere: Mapping[int, Record]) -> dict[int, list[str]]:
        """The nodes that give way, and for which groups each is to be shot. Who is stuck itself leaves it to others."""
        if not stuck_elsewhere or self.groups.stuck():
            return {}
        giving_way = {node: said for node, said in stuck_elsewhere.items() if said.get("drained")}
        return {node: self._to_shoot_for(now, node, said.get("stuck", ())) for node, said in giving_way.items()}

    def _to_shoot_for(self, now: float, node: int, groups: Collection[str]) -> list[str]:
        """Those that hactl wants to run, and wants to be cared for, and for which the node is to be shot."""
        wanted = [name for name in groups if self._levels.get(name, STOP) not in (STOP, PLAN, TEST)]
        return self.snags.due(now, node, [name for name in wanted if name not in self.groups.maintained])

    # ---- what people want -------------------------------------------------------------------------------------

    def _operate(self, now: float) -> None:
        cltab = self.tables.cltab.table
        self.operations.step(now, self.ownership.held, lambda name: self.groups.may_test_ahead(name, cltab))
        if self._leaving or not self.nodes - {self.me}:
            return
        for group, wanted in self.tables.hactl.table.items():
            if wanted.failback and self.groups.is_done(group, wanted.level):
                self.operations.fail_back(now, group, wanted.prefer)

    def owner(self, group: str) -> int | None:
        """Who has it, as far as is known here."""
        return self.ownership.owner(self._world.now(), group)

    def alive(self, node: int) -> bool:
        """Whether it is on the map and lives; this one does."""
        return node in self.nodes and self.ownership.peers.alive(self._world.now(), node)

    def living(self) -> list[int]:
        """All nodes of the map that live, this one too."""
        return [node for node in sorted(self.nodes) if self.alive(node)]

    def unfit(self, node: int, group: str) -> str:
        """Why another node cannot have the group now, or nothing."""
        if group in self.groups.maintained:
            return f"{group} is in maintenance"
        return status.why_not(self.others.of(node), node, group, self.alive(node))

    def missing(self, group: str) -> str:
        """What it requires and is not up, in words, or nothing: it would be started nowhere."""
        return self.requirements.missing(group)

    def lives_since(self, node: int) -> float:
        """When the other node's identity was first seen."""
        peer = self.ownership.peers.all.get(node)
        first_seen = self.ownership.records.first_seen
        return first_seen.get(peer.identity, float("inf")) if peer is not None else float("inf")

    def is_ready(self, node: int, group: str) -> bool:
        """Whether the other node has tested the group ahead."""
        return group in (self.others.of(node).get("ready") or ())

    # ---- what this node says ----------------------------------------------------------------------------------

    def _publish(self, now: float) -> None:
        said = {
            "node": self.me,
            "boot": self._boot,
            "identity": self.ownership.identity,
            "era": self.ownership.era,
            "arbitrator": self.config.arbitrator,
            "leaving": bool(self._leaving),
            "calm": self._is_calm(now),
            "suspects": self.fencing.suspects(),
            "unfit": sorted(self.groups.unfit(now)),
            "stuck": self.groups.stuck(),
            "stuck_on": self.snags.said(),
            "failures": self.groups.failed(),
            "ready": self.groups.ready(),
            "up": self.requirements.up,
            **self.operations.said(),
            "groups": self.groups.status(),
            **self.tables.said(),
        }
        if said != self._said:
            before, self._said = self._said, said
            urgent = any((said[name] or None) != (before.get(name) or None) for name in URGENT)
            self.ownership.new_revision(at_once=urgent)
            block = record.encode({**said, "revision": self.ownership.revision})
            self._keep(record.NAME, partial(self._world.var.write, record.NAME, block))
            self._show_at = min(self._show_at, now + SHOW_AFTER_S)

    def _show(self, now: float) -> None:
        """The files for people, made anew if something changed."""
        self._show_at = float("inf")
        own = self.ownership
        shown = (
            own.revision, self.others.count, status.turns_on(now, own), self.voter.marker, self.voter.answer,
            own.next_change_at(), self.fencing.suspects(), self.living(), self.elders.news,
        )
        if shown != self._shown or self._is_stale:
            self._shown = shown
            self._look_around(now)
            self._is_stale = False
        self._write(status.TWIN, status.stamped(self._page, now, self._boot))

    def _look_around(self, now: float) -> None:
        """The page of the files for people: clstat, hastat and its twin in JSON."""
        records = {**self.others.records, self.me: self._said}
        page = status.page(now, self.ownership, self.nodes, self.fencing.suspects(), records, self.tables.hactl.table)
        page["stomith"] = bool(self.config.stomith)
        page["spared"] = {
            one["name"]: self.snags.spared(one["owner"], one["name"]) for one in page["groups"] if one["stuck"]
        }
        page["electorate"] = self._electorate()
        page["orders"] = self.operations.orders.page()
        page["conflicts"] = self.tables.conflicts()
        self.elders.show(page, lambda: [*self.tables.novelties(), *novelties.of_settings(self.config)])
        is_new = page != self._made
        if is_new:
            self._made, self._page = page, json.dumps(page)
        if is_new or self._is_stale:
            self._keep(events.FILE, partial(self.events.note, page))
            self._write("clstat", status.clstat_text(self._said))
            self._write("hastat", status.hastat_text(now, self.ownership, records, self.elders.groups()))

    def _electorate(self) -> dict[str, Any]:
        chosen = self.voter.electorate
        return {
            "number": chosen.number, "voters": list(chosen.voters), "before": list(chosen.before),
            "settled": self.voter.is_settled(), "next_at": self.ownership.next_change_at(), "answer": self.voter.answer,
            "disputed": bool(self.voter.disputed) and self.ownership.era in ("", self.voter.disputed),
            "overtaken": self.voter.overtaken,
        }

    def _write(self, name: str, text: str) -> None:
        self._keep(name, partial(self._world.var.replace, name, text.encode()))

    def _keep(self, name: str, action: Callable[[], object]) -> None:
        """Write what nothing safe depends on (rule 5); that it fails is said, each reason once; it is tried again."""
        try:
            action()
            self._failing.pop(name, None)
        except OSError as error:
            why = plain.words(error)
            if self._failing.get(name) != why:
                log.error("%s cannot be written: %s", name, why)
            self._failing[name] = why

    # ---- the end ----------------------------------------------------------------------------------------------

    def _end_if_due(self, now: float) -> None:
        for line in (*self.voter.take_log(), *self.ownership.records.take_log()):
            log.warning("%s", line)
        void = self.ownership.void()
        if void and void != self._void_said:
            log.error("%s is void: %s", self.ownership.identity, void)
            self._void_said = void
            self.groups.kill_all(now)
            self.operations.abandon(now)
            self._put_off(now, void)
        if self._leaving and now >= self._stop_by:
            log.error("the groups have not stopped within %g s", STOP_LIMIT_S)
            self.groups.kill_all(now)
            self._stop_by = float("inf")
        if self._leaving and self.groups.idle():
            self._keep("clstat", partial(self._world.var.remove, "clstat"))      # those of 2003 count it as it stands
            raise Ended(0)
        if now < self._anew_at:
            return
        if void and self.groups.is_empty() and self._world.sweep(None):
            self._void_said = ""
            self._new_identity(now)
            self.groups.ownership = self.ownership
            self._said, self._news = {}, True

    def _put_off(self, now: float, void: str) -> None:
        """Identities that lapse soon, one after the other, show that voters or machines have more to do than they can,
        and each new one has them do more: it reads all that they hold. So this node gives the others a pause."""
        soon = now < self._identity_since + self.timing.lost_s
        self._lapses = self._lapses + 1 if soon and void.startswith((LAPSED, CLOCKS, DISPUTED)) else 0
        most_s = self.timing.anew_s(self._lapses)
        self._anew_at = now + self._world.uniform(most_s / 2, most_s)
