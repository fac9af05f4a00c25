"""Ownership by one lease of each node on a majority of voters, and epochs of Disk Paxos for each group.

This is one identity of one agent; when it is void a new one begins with nothing (R4). Rules (docs/ownership.md has them
all, with the reasons):

1. Nothing is written in an era before Q voters show it as full (R17), and nothing of another era is known here.
2. Every beat writes the slot on every voter; the lease follows (:mod:`mosha.ownership.lease`).
3. A group is held only if it was decided for this whole identity, with no later epoch known, and not released (R8).
4. The identity is void when its lease ends, when it is known to be dead, when a later epoch of what it holds is
   committed, and when Q voters are full in another era (R6).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple

from mosha.ownership import identity as identities
from mosha.ownership import marker, slot
from mosha.ownership.contests import Contests
from mosha.ownership.journal import Commit, Dead, Fact, Released
from mosha.ownership.lease import Lease
from mosha.ownership.link import Due, Link, Reply, Request, Spread
from mosha.ownership.marker import Marker
from mosha.ownership.peers import Peers
from mosha.ownership.records import Records
from mosha.ownership.voter import Seen, Voter
from mosha.timing import Timing

PROTOCOL = 1
FENCE = "stomith/"               # with the node: the pseudo-group of the one that shoots it
ALL_BEATS = 16                   # how often everything is read that no slot spoke of
NEVER = float("inf")


Take = Callable[[float, Any], bool]


class Call(NamedTuple):
    """A task for a voter's worker; ``done(now, result)`` takes its end, None for a failure, and says if it was news."""

    voter: int
    task: str
    arguments: list[Any]
    limit_s: float
    done: Take


def configuration(voters: Iterable[int], timing: Timing) -> str:
    """What two agents must agree on to count each other's operations (R2, R20)."""
    text = f"{PROTOCOL} {sorted(voters)} {timing!r}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class DiskPaxos:
    """See the head of the module. ``uniform(low, high)`` is a random number; ``voter`` is this node's own, if any."""

    def __init__(
        self, identity: str, voters: frozenset[int], timing: Timing, now: float, voter: Voter | None,
        uniform: Callable[[float, float], float],
    ) -> None:
        self.identity, self.node, self.voters, self.timing = identity, identities.node_of(identity), voters, timing
        self.quorum = len(voters) // 2 + 1
        self.configuration = configuration(voters, timing)
        self.era = ""
        self.records = Records()
        self.revision = 0                            # of this node's own record
        self.watched = {self.node, *voters}          # nodes whose slots are read
        self._voter = voter
        self._lease = Lease(self.quorum, timing.lease_s)
        self._links: dict[int, Link] = {}
        self.peers = Peers(self.node, self.quorum, timing, self._links, self.records)
        self.contests = Contests(
            identity, self.quorum, timing, self._lease, self._links, self.records, self.peers, self._spread, uniform
        )
        self._seen: dict[int, Seen] = {} if voter is None else {self.node: Seen(voter.marker, now)}
        self._markers_changed = True
        self._asking: dict[tuple[str, int], float] = {}     # (task, voter) -> when it may be asked again
        self._releasing: dict[str, Spread] = {}
        self._spreads: dict[Fact, Spread] = {}
        self._repeated: set[Fact] = set()            # what the journal on the own voter is known to have
        self._next_beat, self._beats = now, 0
        self._next_poll = self._next_look = NEVER    # at all voters, at one
        self._owners_seen: set[int] = set()
        self._void = ""

    # ---- questions --------------------------------------------------------------------------------------------

    def void(self) -> str:
        """Why this identity has ended, as far as the last :meth:`step` knew; empty while it lives."""
        return self._void

    def quorate(self, now: float) -> bool:
        return not self._void and self._lease.is_valid(now)

    def claims(self, group: str) -> bool:
        return not self._void and (self.contests.has_ballot(group) or group in self._releasing or self.held(group))

    def held(self, group: str) -> bool:
        register = self.records.registers.get(group)
        return register is not None and register.is_held_by(self.identity) and not self._void

    def held_groups(self) -> list[str]:
        """The groups that are held, pseudo-groups aside."""
        return sorted(group for group in self.records.registers if self.held(group) and not group.startswith(FENCE))

    def epoch(self, group: str) -> int:
        register = self.records.registers.get(group)
        return register.owner_epoch if register is not None and register.is_held_by(self.identity) else 0

    def lease_end(self, group: str) -> float | None:
        return self._lease.end if self.held(group) and not self._void else None

    def lease_of_all(self) -> float | None:
        """When the lease ends, whatever is held; None without one."""
        return None if self._void else self._lease.end

    def owner(self, now: float, group: str) -> int | None:
        register = self.records.registers.get(group)
        if register is None or not register.owner or register.undecided or self.contests.is_free(now, register):
            return None
        return identities.node_of(register.owner)

    def owners(self, now: float) -> set[int]:
        """The other nodes that own a group."""
        found = {self.owner(now, group) for group in self.records.registers if not group.startswith(FENCE)}
        return {node for node in found if node is not None and node != self.node}

    def markers(self) -> dict[int, Marker | None]:
        """What every voter last said of itself; None for one that was not heard since it was asked last."""
        seen = {voter: self._seen.get(voter) for voter in sorted(self.voters)}
        return {voter: one.marker if one is not None else None for voter, one in seen.items()}

    def identities_of(self, node: int) -> tuple[str, ...]:
        """All identities of the node that are known and not known to be dead (R15)."""
        known = [one for one in self.records.first_seen if identities.node_of(one) == node]
        return tuple(one for one in known if one not in self.records.dead)

    # ---- what the agent says ----------------------------------------------------------------------------------

    def want(self, now: float, group: str, rank: Callable[[], int]) -> None:
        """Contend for the group if it is free. ``rank()``: how many living nodes should go first."""
        if not self._void and group not in self._releasing:
            self.contests.want(now, group, rank)

    def renounce(self, now: float, group: str) -> None:
        """Give the group up; every process of it is gone. It takes until Q voters know (R14)."""
        self.contests.drop(group)
        if self.held(group):
            released = Released(group, self.epoch(group), self.identity)
            self._releasing[group] = self._spread(now, released)

    def fenced(self, now: float, dead: Iterable[str]) -> None:
        """STOMITH of the node that had these identities before the call has succeeded (R15)."""
        for one in dead:
            self._spread(now, Dead(one))

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
        own = self._voter
        if own is not None and (self._markers_changed or own.marker.state != marker.FULL) and own.step(now, self._seen):
            self._see(self.node, Seen(own.marker, now))
        if not self.era:
            self._join(now)
        if not self._void:
            self._void = self._why_void(now)
        self._markers_changed = False
        if self._void:
            return
        if self.era and now >= self._next_beat:
            self._beat(now)
        if now >= self._next_poll:
            self._next_poll = NEVER
            for link in self._links.values():
                link.wants_poll = True
        if now >= self._next_look:
            self._next_look = NEVER
            for owner in self.contests.close_owners(now):
                self._nearest().look_closely(owner)
        self.contests.step(now)
        self._owners_seen = self.owners(now)
        self.peers.note_late(now, self._owners_seen)
        self._next_poll = min(self._next_poll, self.contests.poll_at(now))
        if self.contests.close_owners(now):
            self._next_look = min(self._next_look, now + self.timing.close_s)

    def next_due(self, now: float) -> float:
        """When :meth:`step` is to be called again, without news."""
        due = min(self._next_beat if self.era else NEVER, self._next_poll, self._next_look)
        due = min(due, *self._asking.values(), NEVER)
        if self._void:
            return NEVER
        if self._lease.end is not None:
            due = min(due, self._lease.end)
        for node in self._owners_seen:
            due = min(due, self.peers.late_at(node))
        due = min(due, self.contests.next_due())
        return due if self._voter is None else min(due, self._voter.next_due(now))

    def calls(self, now: float) -> list[Call]:
        """What is to be asked of the voters now; each is asked one thing at a time in each of its files."""
        found = []
        for voter, link in self._links.items():
            if link.wants() and not self._void:
                request = link.request(now, self.revision, self._chunks())
                if request.wrote_slot:
                    self._lease.writes(now)
                found.append(self._call(voter, "exchange", request.arguments, self._exchanged(link, request)))
        own = self._voter
        if not self.era or (own is not None and own.marker.state != marker.FULL):
            for voter in sorted(self.voters - {self.node} if own is not None else self.voters):
                self._ask(found, now, "mark", voter, [], self._marked(voter, now))
        if own is not None:
            for voter in own.wants_peeks():
                self._ask(found, now, "peek", voter, [own.era, self.node], self._peeked(own, voter))
            era, voters = own.wants_copies(now, self._seen)
            for voter in voters:
                self._ask(found, now, "copy", voter, [era], self._copied(own, voter, era))
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
            self._asking[task, voter] = then + self.timing.turn_s
            return result is not None and take(then, result)

        found.append(self._call(voter, task, arguments, done))

    def _call(self, voter: int, task: str, arguments: list[Any], done: Take) -> Call:
        return Call(voter, task, arguments, self.timing.op_limit_s, done)

    def _marked(self, voter: int, began: float) -> Take:
        def take(_: float, result: bytes) -> bool:
            news = self._see(voter, Seen(marker.decode(result), began))
            return news or not self.era or self._voter is not None

        return take

    @staticmethod
    def _peeked(own: Voter, voter: int) -> Take:
        def take(_: float, result: bytes) -> bool:
            own.peeked(voter, result)
            return True

        return take

    @staticmethod
    def _copied(own: Voter, voter: int, era: str) -> Take:
        def take(_: float, result: list[Any]) -> bool:
            own.copied(voter, era, result[1], marker.decode(result[0]))
            return True

        return take

    def _exchanged(self, link: Link, request: Request) -> Take:
        def done(now: float, result: Any) -> bool:
            before = link.marker
            reply = link.answered(now, request, result)
            if result is not None:
                self._see(link.voter, Seen(link.marker, request.began))
            if reply is None:
                self._put_again(link, request)
                return link.marker is not before or bool(request.appended)
            end = self._lease.end
            if request.wrote_slot:
                self._lease.counted(now, link.voter, request.began)
            self._learn(now, reply)
            for pending in request.appended:
                if reply.is_whole or isinstance(pending, Spread):
                    self._arrived(link.voter, pending)
            if not reply.is_whole:
                self._put_again(link, request)
            return (
                self._lease.end != end or bool(reply.slots or reply.entries or request.appended) or link.wants()
                or link.marker is not before
            )

        return done

    def _put_again(self, link: Link, request: Request) -> None:
        for pending in request.appended:
            if isinstance(pending, Due) and pending.phase == pending.ballot.phase:
                link.put(self.contests.due(pending.ballot))

    def _arrived(self, voter: int, pending: Spread | Due) -> None:
        if isinstance(pending, Due):
            if pending.phase == pending.ballot.phase:
                pending.ballot.done.add(voter)
            return
        pending.done.add(voter)
        fact = pending.fact
        is_known = isinstance(fact, Released) and len(pending.done) >= self.quorum
        if is_known and isinstance(fact, Released) and self._releasing.get(fact.group) is pending:
            del self._releasing[fact.group]
        if pending.done >= self.voters:
            self._spreads.pop(fact, None)
            self._repeated.add(fact)

    def _see(self, voter: int, seen: Seen) -> bool:
        """Take a voter's marker in; whether it has changed."""
        before, self._seen[voter] = self._seen.get(voter), seen
        changed = before is None or (before.marker is not seen.marker and before.marker != seen.marker)
        self._markers_changed = self._markers_changed or changed
        return changed

    # ---- news -------------------------------------------------------------------------------------------------

    def _learn(self, now: float, reply: Reply) -> None:
        for node in reply.beating:
            self.peers.beats(now, node)
        for node, found in reply.slots:
            self.peers.heard(now, node, found)
        for writer in sorted({writer for _, writer in reply.entries}):
            self._end_earlier_life(now, writer)
        for entry, writer in reply.entries:
            held = isinstance(entry, Commit) and self.records.register(entry.group).is_held_by(self.identity)
            if self.records.merge(entry, writer, now) and isinstance(entry, Commit):
                if held and entry.identity != self.identity:
                    self._void = self._void or f"{entry.group} has another owner"
                self._end_earlier_life(now, entry.identity)

    def _end_earlier_life(self, now: float, identity: str) -> None:
        """Before this identity wrote anything, everything of the earlier ones of its node had ended (R4, R14)."""
        is_earlier = identities.node_of(identity) == self.node and identity != self.identity
        if is_earlier and identity not in self.records.dead:
            self._spread(now, Dead(identity))

    def _spread(self, now: float, fact: Fact) -> Spread:
        """Know it, and write it on every voter, unless that is done already."""
        self.records.merge(fact, self.identity, now)
        if isinstance(fact, Commit):
            self._end_earlier_life(now, fact.identity)
        spread = self._spreads.get(fact)
        if spread is None:
            spread = self._spreads[fact] = Spread(fact)
            for link in self._links.values():
                link.put(spread)
        return spread

    def repeats(self, fact: Fact) -> bool:
        """Whether this identity's journal on its own voter has the fact; if not, it is put on its way there."""
        if fact in self._repeated:
            return True
        link = self._links.get(self.node)
        spread = self._spreads.get(fact)
        if spread is not None and self.node in spread.done:
            self._repeated.add(fact)
        elif spread is None and link is not None:
            spread = self._spreads[fact] = Spread(fact, self.voters - {self.node})
            link.put(spread)
        return fact in self._repeated

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

    # ---- life -------------------------------------------------------------------------------------------------

    def _join(self, now: float) -> None:
        for era, count in self._full().items():
            if count >= self.quorum:
                self.era, self._next_beat = era, now
                for voter in sorted(self.voters):
                    self._links[voter] = Link(
                        voter, self.identity, era, self.configuration, self.timing.op_limit_s, self._is_useful,
                        self.records.dead,
                    )

    def _why_void(self, now: float) -> str:
        if self.identity in self.records.dead:
            return "it was fenced"
        if self._lease.is_void(now):
            return "its lease has ended"
        if self.era and self._markers_changed:
            full = self._full()
            if any(era != self.era and count >= self.quorum for era, count in full.items()):
                return "the voters are in another era"
        return ""

    def _full(self) -> Counter[str]:
        """How many voters were last seen to be full, by era."""
        return Counter(
            one.marker.era for one in self._seen.values()
            if one.marker and one.marker.state == marker.FULL and one.marker.configuration == self.configuration
        )

    def _beat(self, now: float) -> None:
        self._next_beat = max(self._next_beat + self.timing.beat_s, now + self.timing.beat_s / 2)
        self._beats += 1
        for link in self._links.values():
            link.wants_beat = True
            link.wants_all = link.wants_all or self._beats % ALL_BEATS == 0

    def _nearest(self) -> Link:
        """The voter that is looked at closely: this node's own, else the one that counted last."""
        own = self._links.get(self.node)
        return own or max(self._links.values(), key=lambda link: link.counted_at or 0.0)

    def _chunks(self) -> list[int]:
        return sorted({slot.file_of(node) for node in self.watched})
