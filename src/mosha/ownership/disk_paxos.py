"""Ownership by one lease of each node on a majority of voters, and epochs of Disk Paxos for each group.

This is one identity of one agent; when it is void a new one begins with nothing (R4). Rules (docs/ownership.md has them
all, with the reasons):

1. Nothing is written in an era before Q voters show it as full (R17), and nothing of another era is known here.
2. Every beat writes the slot on every voter; the lease follows (:mod:`mosha.ownership.lease`).
3. A new epoch is proposed only with a valid own lease and a stable fact: the owner released, is dead, has expired, or
   was an earlier life of this node (R11). An epoch that was begun and is undecided is decided first (R10).
4. A group is held only if it was decided for this whole identity, with no later epoch known, and not released (R8).
5. The identity is void when its lease ends, when it is known to be dead, when a later epoch of what it holds is
   committed, and when Q voters are full in another era (R6).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple

from mosha.ownership import identity as identities
from mosha.ownership import marker, slot
from mosha.ownership.ballot import DECIDED, GOES_ON, OVER, Ballot
from mosha.ownership.journal import Commit, Dead, Fact, Released
from mosha.ownership.lease import Lease
from mosha.ownership.link import Due, Link, Reply, Request, Spread, has_expired
from mosha.ownership.marker import Marker
from mosha.ownership.records import Records, Register
from mosha.ownership.slot import Slot
from mosha.ownership.voter import Seen, Voter
from mosha.timing import Timing

PROTOCOL = 1
FENCE = "stomith/"               # with the node: the pseudo-group of the one that shoots it
ALL_BEATS = 16                   # how often everything is read that no slot spoke of
BACK_OFF_DOUBLINGS = 3
NEVER = float("inf")


Take = Callable[[float, Any], bool]


class Call(NamedTuple):
    """A task for a voter's worker; ``done(now, result)`` takes its end, None for a failure, and says if it was news."""

    voter: int
    task: str
    arguments: list[Any]
    limit_s: float
    done: Take


class Peer:
    """What the slots say of another node: its identity, the revision of its record, and when that last changed."""

    __slots__ = ("changed_at", "identity", "revision", "was_late")

    def __init__(self) -> None:
        self.identity, self.revision, self.changed_at, self.was_late = "", -1, -NEVER, False


class _Contest:
    """This node's wish for one group."""

    __slots__ = ("ballot", "free_since", "not_before", "rank", "round", "tries", "wanted_at")

    def __init__(self, rank: Callable[[], int]) -> None:
        self.rank = rank
        self.ballot: Ballot | None = None
        self.free_since: float | None = None
        self.not_before = self.wanted_at = -NEVER
        self.round = self.tries = 0


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
        self.peers: dict[int, Peer] = {}
        self.revision = 0                            # of this node's own record
        self.leaving: set[int] = set()               # nodes that have said that they are about to give all up
        self.watched = {self.node, *voters}          # nodes whose slots are read
        self._voter, self._uniform = voter, uniform
        self._lease = Lease(self.quorum, timing.lease_s)
        self._links: dict[int, Link] = {}
        self._seen: dict[int, Seen] = {} if voter is None else {self.node: Seen(voter.marker, now)}
        self._markers_changed = True
        self._asking: dict[tuple[str, int], float] = {}     # (task, voter) -> when it may be asked again
        self._contests: dict[str, _Contest] = {}
        self._releasing: dict[str, Spread] = {}
        self._spreads: dict[Fact, Spread] = {}
        self._repeated: set[Fact] = set()            # what the journal on the own voter is known to have
        self._seq = 0
        self._next_beat, self._next_poll, self._beats = now, NEVER, 0
        self._owners_seen: set[int] = set()
        self._not_expired_before: dict[int, float] = {}      # node -> a time; slots stand still ever later
        self._void = ""

    # ---- questions --------------------------------------------------------------------------------------------

    def void(self) -> str:
        """Why this identity has ended, as far as the last :meth:`step` knew; empty while it lives."""
        return self._void

    def quorate(self, now: float) -> bool:
        return not self._void and self._lease.is_valid(now)

    def claims(self, group: str) -> bool:
        if self._void:
            return False
        contest = self._contests.get(group)
        return (contest is not None and contest.ballot is not None) or group in self._releasing or self.held(group)

    def held(self, group: str) -> bool:
        register = self.records.registers.get(group)
        return register is not None and self._holds(register) and not self._void

    def held_groups(self) -> list[str]:
        """The groups that are held, pseudo-groups aside."""
        return sorted(group for group in self.records.registers if self.held(group) and not group.startswith(FENCE))

    def epoch(self, group: str) -> int:
        register = self.records.registers.get(group)
        return register.owner_epoch if register is not None and self._holds(register) else 0

    def lease_end(self, group: str) -> float | None:
        return self._lease.end if self.held(group) and not self._void else None

    def owner(self, now: float, group: str) -> int | None:
        register = self.records.registers.get(group)
        if register is None or not register.owner or register.undecided or self._is_free(now, register):
            return None
        return identities.node_of(register.owner)

    def owners(self, now: float) -> set[int]:
        """The other nodes that own a group."""
        found = {self.owner(now, group) for group in self.records.registers if not group.startswith(FENCE)}
        return {node for node in found if node is not None and node != self.node}

    def is_late(self, now: float, node: int) -> bool:
        """Whether the node's slot should have changed by now."""
        peer = self.peers.get(node)
        return (peer is not None and now - peer.changed_at >= self.timing.late_s) or self.stood_still(
            now, node, self.timing.late_s
        )

    def alive(self, now: float, node: int) -> bool:
        peer = self.peers.get(node)
        if peer is None or node == self.node:
            return node == self.node
        return now - peer.changed_at < self.timing.expiry_s and peer.identity not in self.records.dead

    def stood_still(self, now: float, node: int, still_s: float) -> bool:
        """Whether on Q voters the node's slot did not change for so long (R24)."""
        if now < self._still_since(node) + still_s:
            return False
        windows = [link.window(node) for link in self._links.values()]
        return sum(1 for window in windows if window is not None and window[1] - window[0] >= still_s) >= self.quorum

    def _still_since(self, node: int) -> float:
        """A time before which its slot did not stand still on Q voters: when it was last seen to change on most."""
        since = sorted(link.since(node) for link in self._links.values())
        return since[self.quorum - 1] if len(since) >= self.quorum else NEVER

    def expired(self, now: float, node: int, identity: str) -> bool:
        """R13, for an identity of that node."""
        if now < self._not_expired_before.get(node, -NEVER):
            return False
        still_since = self._still_since(node)
        if still_since < NEVER:
            self._not_expired_before[node] = still_since + self.timing.expiry_s
        seen = self.records.first_seen.get(identity)
        if seen is None:
            return False
        windows = [link.window(node) for link in self._links.values()]
        return has_expired(windows, self.quorum, self.timing.expiry_s, seen)

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
        contest = self._contests.get(group)
        if contest is None:
            contest = self._contests[group] = _Contest(rank)
        contest.wanted_at = now
        self._contend(now, group, contest)

    def renounce(self, now: float, group: str) -> None:
        """Give the group up; every process of it is gone. It takes until Q voters know (R14)."""
        contest = self._contests.pop(group, None)
        if contest is not None and contest.ballot is not None:
            contest.ballot.phase = OVER
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
        for group, contest in self._contests.items():
            if contest.ballot is not None:
                self._advance(now, group, contest, contest.ballot)
            elif contest.wanted_at >= now - 2 * self.timing.beat_s:
                self._contend(now, group, contest)
            else:
                contest.free_since = None
        self._owners_seen = self.owners(now)
        for peer in [self.peers[node] for node in self._owners_seen if node in self.peers]:
            peer.was_late = now >= peer.changed_at + self.timing.late_s
        self._next_poll = min(self._next_poll, self._poll_at(now))

    def next_due(self, now: float) -> float:
        """When :meth:`step` is to be called again, without news."""
        due = min(self._next_beat if self.era else NEVER, self._next_poll, *self._asking.values(), NEVER)
        if self._void:
            return NEVER
        if self._lease.end is not None:
            due = min(due, self._lease.end)
        for node in self._owners_seen:
            due = min(due, self._late_at(node))
        for group, contest in self._contests.items():
            if contest.ballot is not None:
                due = min(due, contest.ballot.ends)
            elif contest.free_since is not None:
                due = min(due, self._turn_at(contest, self.records.register(group)))
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
                link.put(self._due(pending.ballot))

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
            peer = self.peers.get(node)
            if peer is not None:
                peer.changed_at, peer.was_late = now, False
        for node, found in reply.slots:
            self._heard(now, node, found)
        for writer in sorted({writer for _, writer in reply.entries}):
            self._end_earlier_life(now, writer)
        for entry, writer in reply.entries:
            held = isinstance(entry, Commit) and self._holds(self.records.register(entry.group))
            if self.records.merge(entry, writer, now) and isinstance(entry, Commit):
                if held and entry.identity != self.identity:
                    self._void = self._void or f"{entry.group} has another owner"
                self._end_earlier_life(now, entry.identity)

    def _heard(self, now: float, node: int, found: Slot) -> None:
        if identities.node_of(found.identity) != node:
            return
        self.records.see(found.identity, now)
        peer = self.peers.get(node)
        if peer is None:
            peer = self.peers[node] = Peer()
        if found.identity not in self.records.dead:
            peer.identity, peer.revision, peer.changed_at, peer.was_late = found.identity, found.revision, now, False

    def _end_earlier_life(self, now: float, identity: str) -> None:
        """Before this identity wrote anything, everything of the earlier ones of its node had ended (R4, R14)."""
        is_earlier = identities.node_of(identity) == self.node and identity != self.identity
        if is_earlier and identity not in self.records.dead:
            self._spread(now, Dead(identity))

    def _spread(self, now: float, fact: Fact) -> Spread:
        """Know it, and write it on every voter, unless that is done already."""
        self.records.merge(fact, self.identity, now)
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
                self._links = {
                    voter: Link(voter, self.identity, era, self.configuration, self.timing.op_limit_s, self._is_useful)
                    for voter in sorted(self.voters)
                }

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

    def _poll_at(self, now: float) -> float:
        """When to look again between beats: soon while a move is pending that this node may make."""
        rank = min((c.rank() for g, c in self._contests.items() if self._is_pending(now, g, c)), default=None)
        return NEVER if rank is None else now + self.timing.eager_s * (1 + rank)

    def _late_at(self, node: int) -> float:
        """When the node's slot will be late, if it does not change before; never for one that is late already."""
        peer = self.peers.get(node)
        return NEVER if peer is None or peer.was_late else peer.changed_at + self.timing.late_s

    def _is_pending(self, now: float, group: str, contest: _Contest) -> bool:
        if contest.wanted_at < now - 2 * self.timing.beat_s or not self._lease.is_valid(now):
            return False
        register = self.records.registers.get(group)
        if contest.ballot is not None or register is None or register.undecided or self._is_free(now, register):
            return True
        owner = identities.node_of(register.owner)
        if owner in self.leaving and self.alive(now, owner):
            return True
        peer = self.peers.get(owner)
        still_s = NEVER if peer is None else now - peer.changed_at
        return self.timing.late_s <= still_s < 2 * self.timing.expiry_s

    def _chunks(self) -> list[int]:
        return sorted({slot.file_of(node) for node in self.watched})

    # ---- groups -----------------------------------------------------------------------------------------------

    def _holds(self, register: Register) -> bool:
        return register.owner == self.identity and register.epoch == register.owner_epoch and not register.released

    def _is_free(self, now: float, register: Register) -> bool:
        """Whether the next epoch may be proposed (R11)."""
        owner = register.owner
        if not owner or register.released or owner in self.records.dead:
            return True
        return owner != self.identity and self.expired(now, identities.node_of(owner), owner)

    def _contend(self, now: float, group: str, contest: _Contest) -> None:
        register = self.records.register(group)
        if contest.ballot is not None:
            return
        may = self.quorate(now) and group not in self._releasing and not self._holds(register)
        if not may or not (register.undecided or self._is_free(now, register)):
            contest.free_since = None
            return
        if contest.free_since is None:
            contest.free_since, contest.tries = now, 0
        if now >= self._turn_at(contest, register):
            self._begin(now, group, contest, register)

    def _turn_at(self, contest: _Contest, register: Register) -> float:
        """When it is this node's turn. A ballot of another that goes on is left to end: two that duel are slower."""
        assert contest.free_since is not None
        since = max(contest.free_since, register.changed_at) if register.undecided else contest.free_since
        begun = 1 if register.undecided and register.highest_promise()[1] != self.identity else 0
        return max(contest.not_before, since + (contest.rank() + begun) * self.timing.turn_s)

    def _begin(self, now: float, group: str, contest: _Contest, register: Register) -> None:
        epoch = register.epoch if register.undecided else register.epoch + 1
        contest.round = max(contest.round, register.highest_promise()[0] if register.undecided else 0) + 1
        if register.owner in self.records.dead:
            self._spread(now, Dead(register.owner))
        contest.ballot = Ballot(group, epoch, (contest.round, self.identity), now, now + self.timing.ballot_limit_s)
        self._put_block(now, contest.ballot)

    def _put_block(self, now: float, ballot: Ballot) -> None:
        for link in self._links.values():
            link.put(self._due(ballot))
        self.records.merge(self._due(ballot).block, self.identity, now)

    def _due(self, ballot: Ballot) -> Due:
        self._seq += 1
        return Due(ballot, ballot.phase, ballot.block(self.records.register(ballot.group), self._seq))

    def _advance(self, now: float, group: str, contest: _Contest, ballot: Ballot) -> None:
        register = self.records.register(group)
        phase = ballot.phase
        outcome = ballot.advance(now, register, self.quorum) if self._lease.is_valid(now) else "lapsed"
        if outcome == GOES_ON:
            if ballot.phase != phase:
                self._put_block(now, ballot)
            return
        ballot.phase, contest.ballot = OVER, None
        if outcome == DECIDED:
            contest.tries, contest.free_since = 0, None
            commit = Commit(group, ballot.epoch, ballot.value)
            self._spread(now, commit)
            self._end_earlier_life(now, commit.identity)
            return
        contest.round = max(contest.round, register.highest_promise()[0])
        contest.tries += 1
        wait_s = self._uniform(0, self.timing.turn_s * 2 ** min(contest.tries - 1, BACK_OFF_DOUBLINGS))
        contest.not_before = now + wait_s
