"""This node's wishes: for which groups it contends, when it is its turn, and its ballots.

Rules:

1. A new epoch is proposed only with a valid own lease and a stable fact: the owner released, is dead, has expired, or
   was an earlier life of this node (R11). That it has expired is not enough for a group that is fenced (R25). An epoch
   that was begun and is undecided is decided first (R10).
2. A phase asks Q voters, those that are likely to answer soon, and the others only when that takes longer than a turn.
3. Those that come first by rank begin first; a ballot of another that goes on is left to end, as two that duel are
   slower; one that failed waits for a random time (R21).
4. While the owner of a group is leaving and this node comes first, or it moves the group to this node, it looks
   closely, for a bounded time (R21).
5. Who shoots the owner of a group, and comes first, tests meanwhile.
6. Who is not *ready* (it has yet to test whether this node is fit) begins no ballot, but for a group that was left to
   it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Callable

from mosha.ownership import identity as identities
from mosha.ownership.ballot import DECIDED, GOES_ON, OVER, Ballot
from mosha.ownership.journal import Commit, Dead
from mosha.ownership.lease import Lease
from mosha.ownership.link import Due, Link, soonest
from mosha.ownership.peers import Peers
from mosha.ownership.records import Records, Register
from mosha.timing import Timing

NEVER = float("inf")


class _Contest:
    """This node's wish for one group."""

    __slots__ = (
        "awaited_since", "ballot", "free_since", "not_before", "proposal", "rank", "ready_at", "round", "tries",
        "wanted_at",
    )

    def __init__(self, rank: Callable[[], int]) -> None:
        self.rank, self.proposal = rank, ""
        self.ballot: Ballot | None = None
        self.free_since: float | None = None
        self.awaited_since: float | None = None
        self.not_before = self.wanted_at = -NEVER
        self.ready_at = NEVER
        self.round = self.tries = 0


class Contests:
    """Of one identity. ``spread(now, fact, at_once)`` makes a fact known; ``uniform(low, high)`` is a random number."""

    def __init__(
        self, identity: str, quorum: int, timing: Timing, lease: Lease, links: Mapping[int, Link], records: Records,
        peers: Peers, spread: Callable[..., object], uniform: Callable[[float, float], float],
    ) -> None:
        self.leaving: Collection[int] = ()           # nodes that have said that they are about to give all up
        self.coming: Mapping[str, int] = {}          # groups that their owner moves here, and that owner
        self.shot: int | None = None                 # the node that this one shoots now
        self.unexpiring: Collection[str] = ()        # groups that are fenced
        self.quorum = quorum
        self._identity, self._timing, self._lease = identity, timing, lease
        self._links, self._records, self._peers = links, records, peers
        self._spread, self._uniform = spread, uniform
        self.grounds: dict[str, str] = {}            # of the latest epoch that this node proposed, for people
        self._all: dict[str, _Contest] = {}
        self._seq = 0

    def want(
        self, now: float, group: str, rank: Callable[[], int], proposal: str = "", is_ready: bool = True
    ) -> None:
        """Contend for the group if it is free. ``rank()``: how many living nodes should go first; ``proposal``: what
        is to be decided, where that is not the owner; ``is_ready``: rule 6."""
        contest = self._all.get(group)
        if contest is None:
            contest = self._all[group] = _Contest(rank)
        contest.proposal = proposal or self._identity        # of the next ballot
        contest.wanted_at = now
        contest.ready_at = min(contest.ready_at, now) if is_ready else NEVER
        self._contend(now, group, contest)

    def drop(self, group: str) -> None:
        """The group is not wanted any more: what its ballot has on the way is not written again."""
        contest = self._all.pop(group, None)
        if contest is not None and contest.ballot is not None:
            contest.ballot.phase = OVER

    def restart(self, quorum: int) -> None:
        """The voters are others now: what was counted by those before is no ballot of these."""
        self.quorum = quorum
        for contest in self._all.values():
            if contest.ballot is not None:
                contest.ballot.phase, contest.ballot = OVER, None

    def has_ballot(self, group: str) -> bool:
        contest = self._all.get(group)
        return contest is not None and contest.ballot is not None

    def step(self, now: float) -> None:
        """Go on with all ballots, and begin those whose turn has come."""
        for group, contest in self._all.items():
            if not self.awaits(now, group):
                contest.awaited_since = None
            elif contest.awaited_since is None:
                contest.awaited_since = now
            if contest.ballot is not None:
                self._advance(now, group, contest, contest.ballot)
            elif self._is_wanted(now, contest):
                self._contend(now, group, contest)
            else:
                contest.free_since = None

    def next_due(self, now: float) -> float:
        """When :meth:`step` has something to do without news, or a test may begin."""
        due = NEVER
        for group, contest in self._all.items():
            if contest.ballot is not None:
                due = min(due, contest.ballot.ends, contest.ballot.widens)
            elif contest.free_since is not None:
                register = self._records.register(group)
                open_at = self._open_at(contest, register)
                due = min(due, self._turn_at(contest, register), open_at if open_at > now else NEVER)
        return due

    def poll_at(self, now: float) -> float:
        """When to look again between beats: soon while an owner is late whose group may come here."""
        dues = [now + self._pause_s(now, group, contest) for group, contest in self._all.items()]
        return min(dues, default=NEVER)

    def close_owners(self, now: float) -> list[str]:
        """The identities that are about to give up what comes here then: their journals are to be watched closely."""
        return [
            self._records.register(group).owner for group, contest in self._all.items()
            if contest.awaited_since is not None and now < contest.awaited_since + self._timing.watch_s
        ]

    def is_busy(self) -> bool:
        """Whether a group is free that this node contends for, or is about to come here."""
        return any(
            contest.ballot is not None or contest.free_since is not None or contest.awaited_since is not None
            for contest in self._all.values()
        )

    def hurries(self, now: float) -> bool:
        """Whether a group is about to come here, so that everything else should wait."""
        return bool(self.close_owners(now)) or any(contest.ballot is not None for contest in self._all.values())

    def awaits(self, now: float, group: str) -> bool:
        """Whether its owner has said that it is about to give the group up, and this node comes first then."""
        contest, register = self._all.get(group), self._records.registers.get(group)
        if contest is None or register is None or not self._is_leaving(now, group, register):
            return False
        if not self._is_wanted(now, contest) or not self._lease.is_valid(now) or self.is_free(now, group, register):
            return False
        return group in self.coming or contest.rank() == 0

    def is_shot(self, now: float, group: str) -> bool:
        """Whether this node shoots its owner, and comes first then: rule 5."""
        contest, register = self._all.get(group), self._records.registers.get(group)
        if self.shot is None or contest is None or register is None or not register.owner or register.is_decree:
            return False
        if identities.node_of(register.owner) != self.shot or not self._is_wanted(now, contest):
            return False
        return self._lease.is_valid(now) and contest.rank() == 0

    def is_open(self, now: float, group: str) -> bool:
        """Whether nobody has the group, and nobody else was named who comes next: it is time to test here."""
        if not self.is_free_here(now, group):
            return False
        contest = self._all[group]
        return self._is_wanted(now, contest) and now >= self._open_at(contest, self._records.register(group))

    def is_free_here(self, now: float, group: str) -> bool:
        """Whether nobody has the group, and this node wants it: what it has tested may still be of use, even while a
        ballot of another goes on."""
        contest = self._all.get(group)
        return contest is not None and contest.free_since is not None and self._lease.is_valid(now)

    def is_free(self, now: float, group: str, register: Register) -> bool:
        """Whether the next epoch may be proposed (R11)."""
        if self._is_over(register):
            return True
        return group not in self.unexpiring and self._has_expired(now, register)

    def waits_for(self, now: float, group: str) -> int | None:
        """The node whose death must be confirmed before this group, which is fenced, is free; None if there is none."""
        register = self._records.registers.get(group)
        if group not in self.unexpiring or register is None or register.undecided or self._is_over(register):
            return None
        return identities.node_of(register.owner) if self._has_expired(now, register) else None

    def due(self, ballot: Ballot) -> Due:
        """The block that this ballot's present phase writes, with a number of its own."""
        self._seq += 1
        return Due(ballot, ballot.phase, ballot.block(self._records.register(ballot.group), self._seq))

    # ---- inside -----------------------------------------------------------------------------------------------

    def _is_over(self, register: Register) -> bool:
        """Whether nobody has it, by what is known for ever."""
        return not register.owner or bool(register.released) or register.owner in self._records.dead

    def _has_expired(self, now: float, register: Register) -> bool:
        """R13, for the owner of a group."""
        if register.owner == self._identity or register.is_decree:
            return False
        return self._peers.expired(now, identities.node_of(register.owner), register.owner)

    def _is_wanted(self, now: float, contest: _Contest) -> bool:
        return contest.wanted_at >= now - self._timing.wish_s

    def _pause_s(self, now: float, group: str, contest: _Contest) -> float:
        """For how long not to look for the sake of this group: for ever, unless it is about to move."""
        if not self._is_wanted(now, contest) or not self._lease.is_valid(now):
            return NEVER
        if contest.ballot is not None:
            return self._timing.turn_s               # its own exchanges say how it goes
        register = self._records.registers.get(group)
        if register is not None and not register.undecided:
            if self.is_free(now, group, register):
                # the heir knows, and the others hear of it with their beats; who tests is not ready
                is_quiet = self._is_left(register) or contest.ready_at == NEVER
            else:
                is_quiet = register.is_decree or not self._stands_still(now, register)
            if is_quiet:
                return NEVER
        return NEVER if contest.rank() else self._timing.eager_s     # beats are enough for who is not the first

    def _stands_still(self, now: float, register: Register) -> bool:
        """Whether its owner is late, and has not been for so long that nothing is to be seen any more."""
        peer = self._peers.all.get(identities.node_of(register.owner))
        return peer is not None and self._timing.late_s <= now - peer.changed_at < self._timing.lost_s

    @staticmethod
    def _is_left(register: Register) -> bool:
        """Whether the owner has named who comes next, and nothing more is known."""
        return bool(register.heir) and register.is_left_to(register.heir)

    def _is_leaving(self, now: float, group: str, register: Register) -> bool:
        if not (self.leaving or self.coming) or not register.owner or register.is_decree:
            return False
        owner = identities.node_of(register.owner)
        return (owner in self.leaving or self.coming.get(group) == owner) and self._peers.alive(now, owner)

    def _contend(self, now: float, group: str, contest: _Contest) -> None:
        register = self._records.register(group)
        if contest.ballot is not None:
            return
        may = self._lease.is_valid(now) and not register.is_held_by(self._identity)
        if not may or not (register.undecided or self.is_free(now, group, register)):
            contest.free_since = None
            return
        if contest.free_since is None:
            contest.free_since, contest.tries = now, 0
        if now >= self._turn_at(contest, register):
            self._begin(now, group, contest, register)

    def _turn_at(self, contest: _Contest, register: Register) -> float:
        assert contest.free_since is not None
        since = max(contest.free_since, register.changed_at) if register.undecided else contest.free_since
        begun = 1 if register.undecided and register.highest_promise()[1] != self._identity else 0
        if register.is_left_to(self._identity):
            return max(contest.not_before, since)
        heir_s = self._timing.heir_s if self._is_left(register) else 0.0
        turn_at = max(since, contest.ready_at) + heir_s + (contest.rank() + begun) * self._timing.turn_s
        return max(contest.not_before, turn_at)

    def _open_at(self, contest: _Contest, register: Register) -> float:
        """When it is time to test here: the heir goes first, and so does a ballot that another has begun."""
        assert contest.free_since is not None
        if register.is_left_to(self._identity):
            return contest.free_since
        if self._is_left(register):
            return contest.free_since + self._timing.heir_s
        if register.undecided and register.highest_promise()[1] != self._identity:
            return max(contest.free_since, register.changed_at + self._timing.begun_s)
        return contest.free_since

    def _begin(self, now: float, group: str, contest: _Contest, register: Register) -> None:
        epoch = register.epoch if register.undecided else register.epoch + 1
        if not register.undecided:
            self.grounds[group] = self._ground(register)
        is_heir = not contest.tries and register.is_left_to(self._identity)
        if not is_heir:
            contest.round = max(contest.round, register.highest_promise()[0] if register.undecided else 0) + 1
        if register.owner in self._records.dead:
            self._spread(now, Dead(register.owner))
        number, ends = (0 if is_heir else contest.round, self._identity), now + self._timing.ballot_limit_s
        contest.ballot = Ballot(group, epoch, number, contest.proposal, now, ends)
        self._put_block(now, contest.ballot)

    def _ground(self, register: Register) -> str:
        """Why the next epoch may begin (rule 1), in words."""
        if not register.owner:
            return "nobody had it before"
        node = identities.node_of(register.owner)
        if register.released:
            return f"node {node} gave it up{' in favour of this one' if register.heir == self._identity else ''}"
        if register.owner in self._records.dead:
            is_own = node == identities.node_of(self._identity)
            return "it had it before" if is_own else f"node {node}, which had it, was known to be dead"
        return f"the lease of node {node}, which had it, was over"

    def _put_block(self, now: float, ballot: Ballot) -> None:
        """Rule 2."""
        chosen = soonest(self._links.values(), identities.node_of(self._identity), self.quorum)
        ballot.asked = {link.voter for link in chosen}
        ballot.widens = now + self._timing.turn_s
        for link in chosen:
            link.put(self.due(ballot))
        self._records.merge(self.due(ballot).block, self._identity, now)

    def _widen(self, ballot: Ballot) -> None:
        """Ask those voters that were not asked at first."""
        ballot.widens = NEVER
        for voter, link in self._links.items():
            if voter not in ballot.asked:
                link.put(self.due(ballot))

    def _advance(self, now: float, group: str, contest: _Contest, ballot: Ballot) -> None:
        register = self._records.register(group)
        phase = ballot.phase
        outcome = ballot.advance(now, register, self.quorum) if self._lease.is_valid(now) else "lapsed"
        if outcome == GOES_ON:
            if ballot.phase != phase:
                self._put_block(now, ballot)
            elif now >= ballot.widens:
                self._widen(ballot)
            return
        ballot.phase, contest.ballot = OVER, None
        if outcome == DECIDED:
            contest.tries, contest.free_since = 0, None
            at_once = None if ballot.number[0] else ()       # an heir has it started first
            self._spread(now, Commit(group, ballot.epoch, ballot.value), at_once)
            return
        contest.round = max(contest.round, register.highest_promise()[0])
        contest.tries += 1
        contest.not_before = now + self._uniform(0, self._timing.back_off_s(contest.tries))
