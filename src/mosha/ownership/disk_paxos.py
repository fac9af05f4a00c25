"""Ownership by one lease of each node on a majority of voters, and epochs of Disk Paxos for each group.

This is one identity of one agent; when it is void a new one begins with nothing (R4). Rules (docs/ownership.md has them
all, with the reasons):

1. Nothing is written in an era before Q voters show it as full (R17), and nothing of another era is known here.
2. Every beat writes the slot on Q voters that should answer, the first ones by number, the same for all nodes; on the
   others when these do not all answer, or when more than the lease is at stake, and in turn (R5). The lease follows
   (:mod:`mosha.ownership.lease`).
3. When the voters change, this identity goes on with those before until enough of the next ones count its writes
   (:mod:`mosha.ownership.electorate`).
4. A group is held only if it was decided for this whole identity, with no later epoch known, and not released (R8).
5. The identity is void when its lease ends, when it is known to be dead, when a later epoch of what it holds is
   committed, when Q voters are full in another era, when the voters changed more than once, and when two electorates
   are known that have one number (R6).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from math import ceil
from typing import Any, Callable, NamedTuple

from mosha.clinit.custody import Legacy
from mosha.ownership import electorate as electorates
from mosha.ownership import identity as identities
from mosha.ownership import marker, slot
from mosha.ownership.contests import Contests
from mosha.ownership.copies import Copy
from mosha.ownership.electorate import Electorate
from mosha.ownership.journal import Commit, Dead, Fact, Released
from mosha.ownership.lease import Lease
from mosha.ownership.link import Due, Link, Reply, Request, Spread, soonest
from mosha.ownership.marker import Marker
from mosha.ownership.peers import Peers
from mosha.ownership.records import Records
from mosha.ownership.voter import Seen, Voter
from mosha.timing import ALL_BEATS, Timing

FENCE = "stomith/"               # with the node: the pseudo-group of the one that shoots it
WITNESSES_MAX = 8
LAPSED = "its lease has ended"
DISPUTED = "two sets of voters have one number: the voters must be founded anew (docs/ownership.md)"
NEVER = float("inf")


Take = Callable[[float, Any], bool]


class Call(NamedTuple):
    """A task for a voter's worker; ``done(now, result)`` takes its end, None for a failure, and says if it was news.
    ``patience_s``: how long it may wait for those of other voters."""

    voter: int
    task: str
    arguments: list[Any]
    limit_s: float
    done: Take
    patience_s: float = 0.0


class DiskPaxos:
    """See the head of the module. ``uniform(low, high)`` is a random number; ``voter`` is this node's own."""

    def __init__(
        self, identity: str, timing: Timing, now: float, voter: Voter, uniform: Callable[[float, float], float],
    ) -> None:
        self.identity, self.node, self.timing = identity, identities.node_of(identity), timing
        self.electorate = voter.electorate._replace(before=())
        self.configuration = voter.configuration
        self.era = ""
        self.records = Records()
        self.revision = 0                            # of this node's own record
        self.inherited: Mapping[str, Legacy] = {}    # group -> what an earlier life of this node left of it
        self.is_longer = False                       # the lease, since :meth:`step`
        self._was_calm = False                       # at the latest beat: nothing but the lease needs the voters
        self._voter = voter
        self._lease = Lease(self.quorum, timing.lease_s)
        self._next: Electorate | None = None         # decided, and not yet what this identity counts with
        self._next_lease = Lease(0, timing.lease_s)
        self._next_links: dict[int, Link] = {}       # to voters that only the next electorate has
        self._settled_since: float | None = None     # Q voters were seen to be settled
        self._links: dict[int, Link] = {}
        self._generations: dict[int, int] = {}       # voters that were left -> the generation to begin with there
        self.peers = Peers(self.node, self.quorum, timing, self._links, self.records)
        self.contests = Contests(
            identity, self.quorum, timing, self._lease, self._links, self.records, self.peers, self._spread, uniform
        )
        self._seen: dict[int, Seen] = {self.node: Seen(voter.marker, now)} if self.node in self.voters else {}
        self._markers_changed = True
        self._asking: dict[tuple[str, int], float] = {}     # (task, voter) -> when it may be asked again
        self._looks: Counter[int] = Counter()        # node -> looks at its marker in a row that showed nothing new
        self._releasing: dict[str, Spread] = {}
        self._spreads: dict[Fact, Spread] = {}
        self._withheld: set[str] = set()             # of this node; something of these may live on
        self._earlier: set[str] = set()              # of this node; they own nothing, but wrote something
        self._later: deque[tuple[float, Spread, Collection[int]]] = deque()      # when, what, to all but these voters
        self._counted = 0                            # what the own disk remembers is not below any counter (R19) ...
        self._counted_life = ""                      # ... in that life
        self._begins_by = now                        # the first beat waits for that until then
        self._next_beat, self._beats = now, 0
        self._beat_at = self._widen_at = now         # the latest one, and when it is to go to all voters ...
        self._awaited: set[int] = set()              # ... as these, which should, have not counted it
        self._next_poll = self._next_look = NEVER    # at all voters, at one
        self.owners_seen: set[int] = set()          # as of the latest :meth:`step`
        self._heard: dict[int, int] = {}             # witness -> which inquiry of the voter it has answered
        self._void = ""
        self.watch(())

    # ---- questions --------------------------------------------------------------------------------------------

    @property
    def voters(self) -> frozenset[int]:
        return frozenset(self.electorate.voters)

    @property
    def quorum(self) -> int:
        return self.electorate.quorum

    def void(self) -> str:
        """Why this identity has ended, as far as the last :meth:`step` knew; empty while it lives."""
        return self._void

    def rests(self) -> bool:
        """Whether nothing but the lease needed the voters at the latest beat, and nothing is contended for since."""
        return self._was_calm and not self._void and not self.contests.is_busy()

    def quorate(self, now: float) -> bool:
        return not self._void and self._lease.is_valid(now)

    def claims(self, group: str) -> bool:
        return not self._void and (self.contests.has_ballot(group) or group in self._releasing or self.held(group))

    def held(self, group: str) -> bool:
        register = self.records.registers.get(group)
        return register is not None and register.is_held_by(self._holder(group)) and not self._void

    def _holder(self, group: str) -> str:
        """The identity whose ownership is this one's: its own, or that of the earlier life of its node from which it
        has the group, as long as that is not dead (R9)."""
        legacy = self.inherited.get(group)
        if legacy is None or legacy.era != self.era or legacy.identity in self.records.dead:
            return self.identity
        return legacy.identity if self.records.register(group).owner_epoch == legacy.epoch else self.identity

    def held_groups(self) -> list[str]:
        """The groups that are held, pseudo-groups aside."""
        return sorted(group for group in self.records.registers if self.held(group) and not group.startswith(FENCE))

    def epoch(self, group: str) -> int:
        register = self.records.registers.get(group)
        return register.owner_epoch if register is not None and register.is_held_by(self._holder(group)) else 0

    def lease_end(self, group: str) -> float | None:
        return self._lease.end if self.held(group) and not self._void else None

    def lease_of_all(self) -> float | None:
        """When the lease ends, whatever is held; None without one."""
        return None if self._void else self._lease.end

    def passes(self, legacy: Legacy) -> bool:
        """Whether what an earlier life of this node left may be this identity's, or is: its ownership is not over, as
        far as is known (R9). Before anything is known it may be."""
        if identities.node_of(legacy.identity) != self.node or self.era not in ("", legacy.era) or self._void:
            return False
        register = self.records.register(legacy.group)
        is_over = register.epoch > legacy.epoch or register.was_released(legacy.epoch, legacy.identity)
        is_anothers = register.owner_epoch == legacy.epoch and register.owner != legacy.identity
        return not is_over and not is_anothers and legacy.identity not in self.records.dead

    def owner(self, now: float, group: str) -> int | None:
        register = self.records.registers.get(group)
        if register is None or register.is_decree or not register.owner or register.undecided:
            return None
        if self.contests.is_free(now, group, register):
            return None
        return identities.node_of(register.owner)

    def groups_of(self, now: float, node: int) -> list[str]:
        """The groups that another node owns, pseudo-groups aside."""
        return [g for g in self.records.registers if not g.startswith(FENCE) and self.owner(now, g) == node]

    def owners(self, now: float) -> set[int]:
        """The other nodes that own a group."""
        found = {self.owner(now, group) for group in self.records.registers if not group.startswith(FENCE)}
        return {node for node in found if node is not None and node != self.node}

    def late_owner(self, now: float, group: str) -> int | None:
        """The other node that had the group last, free or not, if its slot is late."""
        register = self.records.registers.get(group)
        if register is None or register.is_decree or not register.owner:
            return None
        node = identities.node_of(register.owner)
        return node if node != self.node and self.peers.is_late(now, node) else None

    def heard_at(self, node: int) -> float:
        """When a voter's marker, or its slot on this node's own disk, was news last; long ago for never."""
        seen, link = self._seen.get(node), self._links.get(self.node)
        since = NEVER if link is None else link.since(node)
        return max(seen.began if seen else -NEVER, since if since < NEVER else -NEVER)

    def markers(self) -> dict[int, Marker | None]:
        """What every voter last said of itself; None for one that was not heard since it was asked last."""
        voters = self.voters.union(self._next.voters if self._next else ())
        seen = {voter: self._seen.get(voter) for voter in sorted(voters)}
        return {voter: one.marker if one is not None else None for voter, one in seen.items()}

    def identities_of(self, node: int) -> tuple[str, ...]:
        """All identities of the node that are known and not known to be dead (R15)."""
        known = [one for one in self.records.first_seen if identities.node_of(one) == node]
        return tuple(one for one in known if one not in self.records.dead)

    # ---- what the agent says ----------------------------------------------------------------------------------

    def want(self, now: float, group: str, rank: Callable[[], int], is_ready: bool = True) -> None:
        """Contend for the group if it is free. ``rank()``: how many living nodes should go first; ``is_ready``: whether
        this node need not be tested any more."""
        if not self._void and group not in self._releasing:
            self.contests.want(now, group, rank, is_ready=is_ready)

    def accepted_voters(self, now: float) -> frozenset[int] | None:
        """The next voters that somebody accepted a while ago, of which nobody is known to have decided: until that is
        done they may be in force, or not (R20)."""
        register = self.records.registers.get(self.electorate.group)
        if register is None or not register.undecided or now < register.changed_at + self.timing.ballot_limit_s:
            return None
        found = electorates.decided(self.electorate.group, register.accepted()) if register.accepted() else None
        return None if found is None else found[1]

    def elect(self, now: float, voters: frozenset[int]) -> str:
        """Contend for these to be the next voters; why that cannot be, or empty while it goes on."""
        if not self.quorate(now):
            return "this node has no quorum"
        next_at = self.next_change_at()
        if next_at is None or now < next_at:
            chosen = list((self._next or self.electorate).voters)
            when = "when `mosha voters` shows that" if next_at is None else f"in {ceil(next_at - now)} s"
            return f"the voters {chosen} are not settled yet: try again {when}"
        problem = self.electorate.problem_with(voters)
        if not problem:
            self.contests.want(now, self.electorate.group, lambda: 0, electorates.value_of(voters))
        return problem

    def next_change_at(self) -> float | None:
        """From when on the voters may change again (R20); None while they change, or no majority of them was seen to
        be settled."""
        if self._next is not None or self._settled_since is None:
            return None
        return self._settled_since + (self.timing.recovery_s if self.electorate.number else 0.0)

    def renounce(self, now: float, group: str, next_node: int | None = None) -> None:
        """Give the group up; every process of it is gone. It takes until Q voters know (R14). ``next_node``: which
        should have it next."""
        self.contests.drop(group)
        if self.held(group):
            heir = self.peers.all.get(next_node) if next_node is not None else None
            released = Released(group, self.epoch(group), self.identity, heir.identity if heir is not None else "")
            at_once = {next_node} if heir is not None and next_node in self._links else None
            self._releasing[group] = self._spread(now, released, at_once)

    def fenced(self, now: float, dead: Iterable[str]) -> None:
        """STOMITH of the node that had these identities before the call has succeeded (R15)."""
        for one in dead:
            self._spread(now, Dead(one))

    def watch(
        self, nodes: Iterable[int], files: Iterable[int] = (), unseen_s: float = 0.0, on_map: Iterable[int] = ()
    ) -> None:
        """Read the slots of voters and of these from now on, and these slot files; others are not seen for so long.
        ``on_map``: all nodes there are."""
        self._map = frozenset(on_map)
        self._slot_files = sorted({*files, *(slot.file_of(node) for node in {self.node, *self.voters, *nodes})})
        self.peers.unseen_s = unseen_s

    def new_revision(self, at_once: bool) -> None:
        """This node's own record has changed; the slots say so with the next beat, or at once."""
        self.revision += 1
        for link in self._links.values() if at_once else ():
            link.wants_beat = True

    def distrust(self, why: str) -> None:
        """This identity cannot go on."""
        self._void = self._void or why

    # ---- the machine ------------------------------------------------------------------------------------------

    def step(self, now: float) -> None:
        """Go on as far as what is known allows; to be called after news, and when :meth:`next_due` has come."""
        own, self.is_longer = self._voter, False
        if self._markers_changed or not own.is_at_rest:
            own.step(now, self._seen)
        mine = self._seen.get(self.node)
        if mine is not None and mine.marker is not own.marker:
            self._see(self.node, Seen(own.marker, now))
        self._follow(now)
        if not self.era:
            self._join(now)
        if not self._void:
            self._void = self._why_void(now)
        self._markers_changed = False
        if self._void:
            return
        if self.era and now >= self._next_beat and not self._is_held(now):
            self._beat(now)
        if now >= self._widens_at():
            self._widen()
        if self._withheld:
            self._end_withheld(now)
        self._spread_later(now)
        if now >= self._next_poll:
            self._next_poll = NEVER
            for link in soonest(self._links.values(), self.node, self.quorum):
                link.wants_poll = True
        if now >= self._next_look:
            self._next_look = NEVER
            for owner in self.contests.close_owners(now):
                self._nearest().look_closely(owner)
        self.contests.step(now)
        self.owners_seen = self.owners(now)
        self.peers.note_late(now, self.owners_seen)
        self._next_poll = min(self._next_poll, self.contests.poll_at(now))
        for link in self._links.values():
            link.is_eager = self._next_poll < NEVER
        if self.contests.close_owners(now):
            self._next_look = min(self._next_look, now + self.timing.close_s)

    def beats_at(self, now: float) -> float:
        """When the next beat is due; never without an era, or when this identity has ended."""
        if not self.era or self._void:
            return NEVER
        return self._begins_by if self._is_held(now) else self._next_beat

    def late_at(self) -> float:
        """When :meth:`step` is to be called as an owner is late then, unless it is seen to beat before, or as voters
        are, unless they answer before."""
        return NEVER if self._void else min([self._widens_at(), *map(self.peers.late_at, self.owners_seen)])

    def next_due(self, now: float) -> float:
        """When :meth:`step` is to be called again, without news, but for :meth:`beats_at` and :meth:`late_at`."""
        due = min(self._next_poll, self._next_look, *self._asking.values(), self._later[0][0] if self._later else NEVER)
        if self._void:
            return NEVER
        if self._lease.end is not None:
            due = min(due, self._lease.end)
        due = min(due, self.contests.next_due(now))
        return min(due, self._voter.next_due(now))

    def calls(self, now: float) -> list[Call]:
        """What is to be asked of the voters now; each is asked one thing at a time in each of its files."""
        found: list[Call] = []
        is_held = self._is_held(now)
        for voter, link in self._all_links().items():
            if link.wants() and not self._void and not is_held:
                request = link.request(now, self.revision, self._slot_files)
                if request.wrote_slot:
                    self._lease.writes(now)
                    self._next_lease.writes(now)
                call = self._call(voter, "exchange", request.arguments, self._exchanged(link, request))
                is_patient = not request.appended and self.rests()
                found.append(call._replace(patience_s=self.timing.patience_s) if is_patient else call)
        own = self._voter
        if not self.era or not own.is_at_rest:
            for voter in sorted(self.markers().keys() - {self.node}):
                self._ask(found, now, "mark", voter, [], self._marked(voter, now))
        for node in [one for one in own.departed if one not in self._seen or self._beats % ALL_BEATS == 0]:
            self._ask(found, now, "mark", node, [], self._marked(node, now))
        for node in self._witnesses(now) if own.marker.state == marker.RECOVERING else ():
            self._ask(found, now, "mark", node, [], self._witnessed(node, own.inquiry))
        for voter in own.wants_peeks():
            self._ask(found, now, "peek", voter, [own.era, self.node], self._peeked(own, voter))
        if self.node in self._all_links() and not (is_held and own.marker.state == marker.REJOINING):
            self._count_ahead(found, now)
        era, voters = own.wants_copies(now, self._seen)
        for voter in voters:
            copy = own.copy_of(voter)
            self._ask(found, now, "copy", voter, [era, copy.known()], self._copied(copy, era))
        for key in [key for key, due in self._asking.items() if due <= now]:
            del self._asking[key]                    # nobody wants to know any more
        return found

    # ---- calls ------------------------------------------------------------------------------------------------

    def _ask(self, found: list[Call], now: float, task: str, voter: int, arguments: list[Any], take: Take) -> None:
        """Unless it was asked a short while ago, or is not answered yet."""
        if now < self._asking.get((task, voter), now):
            return
        self._asking[task, voter] = NEVER

        def done(then: float, result: Any) -> bool:
            before = self._seen.get(voter)
            news = result is not None and take(then, result)
            if task == "count" and result is None:
                self._voter.look_at_counted()
            pause_s = self.timing.beat_s if result is None else self.timing.turn_s
            self._asking[task, voter] = self._look_at(then, voter, before) if task == "mark" else then + pause_s
            return news

        found.append(self._call(voter, task, arguments, done))

    def _look_at(self, then: float, node: int, before: Seen | None) -> float:
        """When to look at the node's marker again: ever later while it shows nothing new, above all where nothing new
        is to be expected. A voter that has waited wants to know, at once and then often."""
        seen, wait_ends = self._seen.get(node), self._voter.next_due(then)
        changed = seen is not None and (before is None or before.marker != seen.marker)
        recovers = self._voter.marker.state == marker.RECOVERING
        if changed or (recovers and wait_ends == NEVER):
            del self._looks[node]
        counts = seen is not None and seen.marker is not None and seen.marker.state == marker.FULL
        pause_s = self.timing.look_s(self._looks[node], counts or recovers)
        self._looks[node] += 1
        return min(then + pause_s, wait_ends)

    def _call(self, voter: int, task: str, arguments: list[Any], done: Take) -> Call:
        return Call(voter, task, arguments, self.timing.op_limit_s, done)

    def _marked(self, voter: int, began: float) -> Take:
        def take(_: float, result: bytes) -> bool:
            news = self._see(voter, Seen(marker.decode(result), began))
            return news or not self.era or not self._voter.is_at_rest

        return take

    def _witnesses(self, now: float) -> list[int]:
        """Nodes without a vote that have not said which era they know since that matters; some at a time, in turn."""
        answered = {node for node, inquiry in self._heard.items() if inquiry == self._voter.inquiry}
        silent = sorted(self._map - self.markers().keys() - answered - {self.node})
        first = self.timing.beats(now) * WITNESSES_MAX % len(silent) if len(silent) > WITNESSES_MAX else 0
        return [*silent[first:], *silent[:first]][:WITNESSES_MAX]

    def _witnessed(self, node: int, inquiry: int) -> Take:
        def take(_: float, result: bytes) -> bool:
            self._heard[node] = inquiry
            self._voter.witnessed(marker.decode(result))
            return False

        return take

    @staticmethod
    def _peeked(own: Voter, voter: int) -> Take:
        def take(_: float, result: list[bytes]) -> bool:
            return own.peeked(voter, *result)

        return take

    def _count_ahead(self, found: list[Call], now: float) -> None:
        """Have the own disk remember a counter that is not reached yet, before it is."""
        reached, life = max(link.counter for link in self._all_links().values()), self._voter.marker.life
        if reached + slot.COUNTED_AHEAD // 2 < self._counted and life == self._counted_life:
            return
        ahead = reached + slot.COUNTED_AHEAD

        def take(_: float, __: bool) -> bool:
            is_first, self._counted, self._counted_life = not self._counted, ahead, life
            return is_first

        content = slot.encode(slot.Slot(self.identity, ahead, 0, 0, 0))
        self._ask(found, now, "count", self.node, [content], take)

    @staticmethod
    def _copied(copy: Copy, era: str) -> Take:
        def take(_: float, result: list[Any]) -> bool:
            shown, journals, is_whole = result
            return copy.take(era, journals, marker.decode(shown), is_whole)

        return take

    def _exchanged(self, link: Link, request: Request) -> Take:
        def done(now: float, result: Any) -> bool:
            before, life, was_skipped = link.marker, link.life, link.is_skipped
            reply = link.answered(now, request, result)
            if link.life != life and life:
                self._write_again(link)
            if result is not None:
                self._see(link.voter, Seen(link.marker, request.began))
            if reply is None:
                self._put_again(link, link.lost(request))
                if link.voter in self._awaited:
                    self._widen_at = now
                return link.marker is not before or bool(request.appended) or now >= self._widens_at()
            end = self._lease.end
            is_counted = self._is_counted(link)
            if request.wrote_slot:
                self._count(now, link, request.began, is_counted)
                if request.began >= self._beat_at:
                    self._awaited.discard(link.voter)
            self._learn(now, reply, is_of_now=not was_skipped)
            for pending in request.appended:
                if isinstance(pending, Spread):
                    self._arrived(link.voter, pending)
            if is_counted:
                for due in reply.done:
                    self._arrived(link.voter, due)
            else:
                self._put_again(link, reply.done)
            self.is_longer = self.is_longer or self._lease.end != end
            is_awaited = self._lease.end != end and (end is None or self.contests.is_busy())
            return (
                is_awaited or bool(reply.slots or reply.entries or request.appended) or link.wants()
                or link.marker is not before or self._next is not None or link.is_eager
            )

        return done

    def _put_again(self, link: Link, dues: Iterable[Due]) -> None:
        for due in dues:
            if due.phase == due.ballot.phase:
                link.put(self.contests.due(due.ballot))

    def _arrived(self, voter: int, pending: Spread | Due) -> None:
        if isinstance(pending, Due):
            if pending.phase == pending.ballot.phase:
                pending.ballot.done.add(voter)
            return
        pending.done.add(voter)
        fact = pending.fact
        is_known = isinstance(fact, Released) and len(pending.done & self.voters) >= self.quorum
        if is_known and isinstance(fact, Released) and self._releasing.get(fact.group) is pending:
            del self._releasing[fact.group]
        if pending.done >= self.voters:
            self._spreads.pop(fact, None)

    def _see(self, voter: int, seen: Seen) -> bool:
        """Take a voter's marker in; whether it has changed."""
        before, self._seen[voter] = self._seen.get(voter), seen
        changed = before is None or (before.marker is not seen.marker and before.marker != seen.marker)
        self._markers_changed = self._markers_changed or changed
        return changed

    # ---- news -------------------------------------------------------------------------------------------------

    def _learn(self, now: float, reply: Reply, is_of_now: bool) -> None:
        """``is_of_now``: the voter was asked with the beat before, too: what changed there has changed since."""
        if is_of_now:
            self.peers.beat(now, reply.beating)
        for node, found in reply.slots:
            self.peers.heard(now, node, found, is_of_now)
        self._earlier.update(writer for _, writer in reply.entries if self._is_earlier(writer))
        for entry, writer in reply.entries:
            owner = self._holder(entry.group) if isinstance(entry, Commit) else ""
            owned = isinstance(entry, Commit) and self.records.register(entry.group).is_owned_by(owner)
            disputed = isinstance(entry, Commit) and self.records.register(entry.group).disputed_epoch
            if self.records.merge(entry, writer, now) and isinstance(entry, Commit):
                if owned and entry.identity != owner:
                    self._void = self._void or f"{entry.group} has another owner"
                self._committed(now, entry)
            if isinstance(entry, Commit) and self.records.register(entry.group).disputed_epoch != disputed:
                self._insist(now, entry.group)

    def _insist(self, now: float, group: str) -> None:
        """Somebody else was decided for that epoch as well: who has the group writes its commit again on all voters,
        as the other one ends when it reads that, and there it may be forgotten."""
        if self.held(group):
            commit = Commit(group, self.epoch(group), self._holder(group))
            self._spreads.pop(commit, None)
            self._spread(now, commit)

    def _committed(self, now: float, commit: Commit) -> None:
        found = electorates.decided(commit.group, commit.identity)
        if found is None:
            self._end_earlier_life(now, commit.identity)
        elif found[0] == self.electorate.number + 1:
            self._voter.learn(self.electorate.next(found[1]))
            self._markers_changed = True

    def _end_earlier_life(self, now: float, identity: str) -> None:
        """Before this identity wrote anything, everything of the earlier ones of its node had ended (R4, R14), but for
        what it has inherited of one of them: that is not dead before it has ended as well (R9)."""
        if not self._is_earlier(identity) or identity in self.records.dead:
            return
        if any(legacy.identity == identity for legacy in self.inherited.values()):
            self._withheld.add(identity)
            self._release_the_rest(now, identity)
        else:
            self._spread(now, Dead(identity))

    def _release_the_rest(self, now: float, identity: str) -> None:
        """What else that life had has ended: others need not wait for what goes on."""
        for group, register in self.records.registers.items():
            if register.is_owned_by(identity) and group not in self.inherited:
                self._spread(now, Released(group, register.owner_epoch, self.identity, ""))

    def _end_withheld(self, now: float) -> None:
        withheld, self._withheld = self._withheld, set()
        for identity in sorted(withheld):
            self._end_earlier_life(now, identity)

    def _is_earlier(self, identity: str) -> bool:
        return identities.node_of(identity) == self.node and identity != self.identity

    def _spread(self, now: float, fact: Fact, at_once: Collection[int] | None = None) -> Spread:
        """Know it, and write it on every voter, unless that is done already: at once, or there at once and on the
        others a turn later, when what is more urgent has been done."""
        self.records.merge(fact, self.identity, now)
        if isinstance(fact, Commit):
            self._committed(now, fact)
        spread = self._spreads.get(fact)
        if spread is None:
            spread = self._spreads[fact] = Spread(fact)
            if at_once is not None:
                self._later.append((now + self.timing.turn_s, spread, at_once))
            self._put(spread, self._all_links().keys() if at_once is None else at_once)
        return spread

    def _spread_later(self, now: float) -> None:
        while self._later and now >= self._later[0][0]:
            _, spread, told = self._later.popleft()
            self._put(spread, self._all_links().keys() - told)

    def _put(self, spread: Spread, voters: Collection[int]) -> None:
        for voter, link in self._all_links().items():
            if voter in voters:
                link.put(spread)

    def repeats(self, fact: Fact) -> bool:
        """Whether what this identity writes now on its own voter has the fact; if not, it is put on its way there."""
        link, own = self._links.get(self.node), self._voter.marker
        is_same = link is not None and own.state == marker.FULL and own.life == link.life
        return link is not None and is_same and link.repeats(fact)

    def writes_on_own(self) -> int:
        """The generation of this identity's journal that is written on its own voter; -1 for none."""
        link = self._links.get(self.node)
        return link.generation if link is not None else -1

    def _write_again(self, link: Link) -> None:
        """That voter lives another life: what this identity wrote there is gone, as long as others lack it too."""
        for spread in list(self._spreads.values()):      # to put one may show that others are of no use
            if link.voter in spread.done:
                spread.done.discard(link.voter)
                link.put(spread)

    def _is_useful(self, fact: Fact) -> bool:
        if isinstance(fact, Dead):
            return True
        register = self.records.register(fact.group)
        useful = fact.epoch >= register.owner_epoch
        if not useful:
            spread = self._spreads.pop(fact, None)
            if spread is not None and self._releasing.get(fact.group) is spread:
                del self._releasing[fact.group]      # the next owner has read it
        return useful

    def _is_needed(self, fact: Fact) -> bool:
        """The same where much waits: that somebody is dead who owns nothing is enough on Q voters. There it has to be,
        as an epoch may still be decided for him, and who is to know that then has read so many."""
        if not isinstance(fact, Dead) or self.records.needed([fact]):
            return self._is_useful(fact)
        spread = self._spreads.get(fact)
        if spread is not None and len(spread.done & self.voters) < self.quorum:
            return True
        self._spreads.pop(fact, None)
        return False

    # ---- life -------------------------------------------------------------------------------------------------

    def _join(self, now: float) -> None:
        for era, count in self._full().items():
            if count >= self.quorum:
                self.era, self._next_beat = era, now
                self._begins_by = now + self.timing.op_limit_s
                for voter in sorted(self.voters):
                    self._links[voter] = self._link(voter, self.electorate)

    def _link(self, voter: int, electorate: Electorate) -> Link:
        link = Link(
            voter, self.identity, self.era, self.configuration, electorate, self.timing.op_limit_s, self._is_useful,
            self.records.dead, self._generations.get(voter, 0), self.records.needed, self._is_needed,
        )
        link.is_near = link.wants_all = self._is_near(voter, electorate)
        return link

    def _is_near(self, voter: int, electorate: Electorate) -> bool:
        """Whether it is this node's own, where reading costs little. For who has none all are."""
        return voter == self.node or self.node not in electorate.voters

    def _why_void(self, now: float) -> str:
        if self.identity in self.records.dead:
            return "it was fenced"
        if self._lease.is_void(now):
            return LAPSED
        if self.records.disputed or (self.era and self._markers_changed and self._is_disputed()):
            self._voter.disputed = self.era
        if self.era and self._voter.disputed == self.era:
            return DISPUTED
        if self.era and self._markers_changed:
            eras = Counter(one.era for one in self._shown(self.voters) if one.state == marker.FULL)
            if any(era != self.era and count >= self.quorum for era, count in eras.items()):
                return "the voters are in another era"
        return ""

    def _is_disputed(self) -> bool:
        """Whether markers of this era show two electorates with one number: no majority of the one has to meet any of
        the other. Nobody decides the one with which an era is founded, and an installer may have named two."""
        known = {one.key: one.voters for one in (self.electorate, self._voter.electorate)}
        shown = [said.electorate for said in self._shown(self._seen) if said.era == self.era]
        return any(known.setdefault(one.key, one.voters) != one.voters for one in shown)

    def _full(self) -> Counter[str]:
        """How many voters were last seen to be full and to count this electorate, by era."""
        return Counter(
            one.era for one in self._shown(self.voters) if one.state == marker.FULL
            and one.configuration == self.configuration and one.electorate.counts(self.electorate)
        )

    # ---- electorates ------------------------------------------------------------------------------------------

    def _follow(self, now: float) -> None:
        """Count with the electorate that the own voter knows of, when enough of its voters are ready."""
        latest = self._voter.electorate
        if latest.before:
            latest = latest._replace(before=())
        if not self.era and latest.voters == self.electorate.voters:
            self.electorate = latest
        elif latest.key == (self.electorate.era, self.electorate.number + 1) and self.era:
            if self._next is None:
                self._prepare(now, latest)
            elif self._next_lease.is_void(now):
                self._next_lease = Lease(latest.quorum, self.timing.lease_s)
            elif self._is_ready(now, latest):
                self._change(latest)
        elif not self.era or (latest != self.electorate and (latest.era == self.electorate.era or self._is_sole())):
            self._void = self._void or f"the voters are {list(latest.voters)} now"
        if self._markers_changed and self._settled_since is None and self._count_settled() >= self.quorum:
            self._settled_since = now

    def _is_sole(self) -> bool:
        """Whether its own voter is the only one: where that has left the era nobody counts anything there any more."""
        return self.electorate.voters == (self.node,)

    def _prepare(self, now: float, latest: Electorate) -> None:
        self._next, self._next_lease = latest, Lease(latest.quorum, self.timing.lease_s)
        for link in self._links.values():
            link.next = latest
            link.wants_beat = True
        if self.node in latest.voters:
            self._seen[self.node] = Seen(self._voter.marker, now)
        for voter in set(latest.voters) - self.voters:
            self._next_links[voter] = link = self._link(voter, latest)
            link.wants_beat = True
            for spread in list(self._spreads.values()):
                link.put(spread)

    def _is_ready(self, now: float, latest: Electorate) -> bool:
        """Whether Q of these voters count operations under it, and the lease goes on without a gap."""
        end = self._next_lease.end
        if end is None or end < now + self.timing.handover_s or not self._next_lease.is_valid(now):
            return False
        if not self._lease.is_valid(now):
            return False                             # what has lapsed stays so
        ready = [one for one in self._shown(latest.voters) if one.state == marker.FULL and one.era == self.era]
        return sum(1 for one in ready if one.electorate.is_same(latest)) >= latest.quorum

    def _change(self, latest: Electorate) -> None:
        self.electorate, self._next, self._settled_since = latest, None, None
        self._lease.move(self._next_lease)
        self._links.update(self._next_links)
        self._next_links = {}
        for voter in [voter for voter in self._links if voter not in latest.voters]:
            self._generations[voter] = self._links.pop(voter).generation + 1
            for spread in self._spreads.values():
                spread.done.discard(voter)           # it may come back another one
        for link in self._links.values():
            link.electorate, link.next = latest, None
            link.is_near = self._is_near(link.voter, latest)
        self.peers.quorum = latest.quorum
        self.contests.restart(latest.quorum)
        for fact in [fact for fact, spread in self._spreads.items() if spread.done >= self.voters]:
            del self._spreads[fact]
        self._markers_changed = True

    def _count(self, now: float, link: Link, began: float, is_counted: bool) -> None:
        """A write of the slot was counted by this link's voter; ``is_counted``: for this electorate."""
        if is_counted:
            self._lease.counted(now, link.voter, began)
            if len(self.electorate.voters) == 2 and link.voter != self.node:
                self._voter.meet()
        if self._next is not None and link.voter in self._next.voters:
            self._next_lease.counted(now, link.voter, began)

    def _is_counted(self, link: Link) -> bool:
        """Whether the exchange that this link just had counts for the electorate that this identity counts with."""
        seen = link.marker if link.voter in self._links else None
        return seen is not None and link.counts_under(seen) == self.electorate

    def _count_settled(self) -> int:
        return sum(1 for one in self._shown(self.voters) if one.settled and one.electorate == self.electorate)

    def _is_held(self, now: float) -> bool:
        """Whether this identity has yet to write anything, as its own disk does not remember it, or may be an old one:
        what it writes first goes where others have seen what was written last (R19)."""
        return not (self._counted or self._beats or now >= self._begins_by or self.node not in self._links)


    def _beat(self, now: float) -> None:
        self._next_beat = max(self._next_beat + self.timing.beat_s, now + self.timing.beat_gap_s)
        self._beats += 1
        if self._beats % ALL_BEATS == 0:
            for identity in sorted(self._earlier):
                self._end_earlier_life(now, identity)
            self._earlier.clear()
        links, is_calm = self._all_links(), self._is_calm(now)
        asked = self._first_voters(now) if is_calm else sorted(links)
        self._beat_at, self._widen_at = now, now + self.timing.turn_s
        self._awaited = {voter for voter in asked if is_calm and self._is_likely(now, voter)}
        self._was_calm = is_calm
        reached = max(link.counter for link in links.values())
        in_turn = list(links)[self._beats % len(links)]
        for voter, link in links.items():
            link.wants_tails = voter in (in_turn, asked[self._beats % len(asked)])
            if voter == in_turn or voter in asked:
                link.wants_beat, link.counter = True, reached
            else:
                link.is_skipped = True
            link.wants_all = link.wants_all or (self._beats - voter) % ALL_BEATS == 0

    def _is_calm(self, now: float) -> bool:
        """Whether nothing but the lease needs the voters now: none changes, no group comes here, no owner is late. Nor
        is this node: the lease is as long as a beat ago leaves it."""
        end, left_s = self._lease.end, self.timing.lease_s - self.timing.beat_s - self.timing.beat_gap_s
        if self._next is not None or not self._voter.is_at_rest or end is None or end < now + left_s:
            return False
        return not self.contests.is_busy() and not any(self.peers.is_late(now, node) for node in self.owners_seen)

    def _first_voters(self, now: float) -> list[int]:
        """Those up to the Q-th that should answer, the own one, and those whose latest exchange failed. Of all nodes
        the sets have Q in common as long as these answer everybody: so what stands still is seen as soon as on all
        voters."""
        found, likely = [], 0
        for voter in sorted(self._links):
            link = self._links[voter]
            if likely < self.quorum or voter == self.node or link.is_doubtful:
                found.append(voter)
            likely += link.is_likely(now, self.timing.turn_s)
        return found

    def _is_likely(self, now: float, voter: int) -> bool:
        link = self._links.get(voter)
        return link is not None and link.is_likely(now, self.timing.turn_s)

    def _widens_at(self) -> float:
        """When the latest beat is to go to all voters; never once those that it went to have counted it."""
        return self._widen_at if self._awaited else NEVER

    def _widen(self) -> None:
        self._awaited.clear()
        for link in self._all_links().values():
            link.wants_beat = link.wants_beat or link.asked_at < self._beat_at

    def _all_links(self) -> dict[int, Link]:
        """To the voters, and to those that only the next electorate has."""
        return {**self._links, **self._next_links} if self._next_links else self._links

    def _shown(self, voters: Iterable[int]) -> list[Marker]:
        """What these voters last said of themselves."""
        seen = [self._seen[voter].marker for voter in voters if voter in self._seen]
        return [one for one in seen if one is not None]

    def _nearest(self) -> Link:
        """The voter that is looked at closely: this node's own, else the one that counted last."""
        own = self._links.get(self.node)
        return own or max(self._links.values(), key=lambda link: link.counted_at or 0.0)
