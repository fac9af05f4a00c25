"""Ownership by votes that a majority of the configured map holds for as long as it sees the owner's beat.

Every node writes one record, its own; every node reads the others'. A record carries a beat counter, an *echo* of the
last beat that its writer saw of every other node, the *claims* that it makes and the *votes* that it gives.

Rules (docs/ownership.md has the argument):

1. An identity is one life of one agent: a node and a nonce, compared for equality only. A new life publishes only when
   no process of an earlier life is left on its node.
2. A claim is (group, identity, epoch). It is opened once, with an epoch above every epoch that was seen, and never
   opened again after it was withdrawn. A claim that has had a majority is withdrawn only when no process of the group
   is left here; one that has not had it yields to the claim of a node that comes first for this group.
3. A voter has one vote per group. It votes for a claim only if it has no vote, and the epoch is above all that it ever
   voted for, or it is the very claim that it voted for last, or the one that a majority is seen to vote for (a voter
   that took its vote back, or forgot it, supports the owner again; the claims it passes over have never had a
   majority). Of several claims it takes the one whose node comes first for this group.
4. A voter takes its vote back only if it saw the claimant's record without the claim, or a later identity of that
   node, or knows the identity to be dead (fenced), or has not seen the claimant's record change for F L.
5. A voter that may have forgotten votes does not vote before W has passed since its start.
6. The lease of a claim ends L after the Q-th latest of the times at which this node began to write the beats that are
   echoed in records that hold a vote for the claim. The own vote counts as of now. A lease once earned is not lost
   before its end: the votes that earned it outlive it.
7. Records of another configuration (map or times) do not count.

Why never two: the votes that make an owner's lease last until t0 + L were each seen with an echo of a beat that was
begun at t0 or later, so each of those voters keeps its vote beyond t0 + L (rule 4, one clock against the other: F).
Another claim needs a majority, hence one of them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from mosha.ownership import Record
from mosha.timing import Timing

DEAD_MAX = 256              # identities of fenced nodes that are passed on, newest kept
BEATS_MAX = 4096            # own beats whose start is remembered


Vote = tuple[int, str, int]     # for a claim: node, nonce, epoch


@dataclass
class Peer:
    """What was last read of another node, and since when it stands still."""

    nonce: str = ""
    beat: int = -1
    changed_at: float = 0.0
    counts: bool = False                                     # same configuration
    claims: dict[str, int] = field(default_factory=dict)     # group -> epoch
    votes: dict[str, list[Any]] = field(default_factory=dict)        # group -> [node, nonce, epoch]
    last: dict[str, list[Any]] = field(default_factory=dict)         # the same, of the last vote ever given
    echo_nonce: str = ""
    echo_beat: int = -1
    unfit: frozenset[str] = frozenset()


def preference(group: str, node: int) -> bytes:
    """A fixed order of the nodes for a group, another one for each group; the smallest comes first."""
    return hashlib.sha256(f"{group}/{node}".encode()).digest()


class Majority:
    """See the rules at the head of the module. ``nodes`` is the configured map, this node included."""

    def __init__(
        self,
        me: int,
        nonce: str,
        nodes: frozenset[int],
        timing: Timing,
        now: float,
        earlier: Record | None = None,
        may_vote_at: float = 0.0,
    ) -> None:
        """``earlier``: this node's last record; the votes in it are kept only where ``may_vote_at`` <= now."""
        assert me in nodes
        self.me, self.nonce, self.nodes, self.timing = me, nonce, nodes, timing
        self.quorum = len(nodes) // 2 + 1
        self.configuration = _configuration(nodes, timing)
        self.peers = {node: Peer(changed_at=now) for node in nodes if node != me}
        self.dead: dict[str, None] = {}
        self.unfit: frozenset[str] = frozenset()
        self._may_vote_at = may_vote_at
        self._beat = 0
        self._began: dict[int, float] = {}
        self._claims: dict[str, int] = {}
        self._earned: dict[str, float] = {}          # the end of the longest lease that a claim has had
        self._votes: dict[str, Vote] = {}
        self._last: dict[str, Vote] = {}
        self._free_since: dict[str, float] = {}
        self._closed_until: dict[str, float] = {}
        if earlier:
            self._remember(earlier, now)

    # ---- what is seen -----------------------------------------------------------------------------------------

    def beat(self, now: float) -> int:
        self._beat += 1
        self._began[self._beat] = now
        if len(self._began) > BEATS_MAX:
            del self._began[next(iter(self._began))]
        return self._beat

    def saw(self, now: float, node: int, record: Record) -> None:
        peer = self.peers.get(node)
        if peer is None or record["nonce"] in self.dead:
            return
        if (record["nonce"], record["beat"]) != (peer.nonce, peer.beat):
            peer.nonce, peer.beat, peer.changed_at = record["nonce"], record["beat"], now
        peer.counts = record["configuration"] == self.configuration
        peer.claims, peer.votes, peer.last = record["claims"], record["votes"], record["last"]
        peer.echo_nonce, peer.echo_beat = record["echo"].get(str(self.me), ["", -1])
        peer.unfit = frozenset(record["unfit"])
        for nonce in record["dead"]:
            self._dies(nonce)

    def fenced(self, now: float, identities: list[str]) -> None:
        for nonce in identities:
            self._dies(nonce)

    def _dies(self, nonce: str) -> None:
        self.dead[nonce] = None
        if len(self.dead) > DEAD_MAX:
            del self.dead[next(iter(self.dead))]

    # ---- what follows -----------------------------------------------------------------------------------------

    def step(self, now: float) -> None:
        for group in [g for g in self._votes if self._void(now, g)]:
            del self._votes[group]
        for group in [g for g in self._claims if g not in self._earned]:
            if self._must_yield(now, group):
                self._close(now, group)
            elif self._refused(group):
                self._claims[group] = 1 + self._epoch_seen(group)
        if now >= self._may_vote_at:
            for group in sorted({g for peer in self.peers.values() for g in peer.claims} | set(self._claims)):
                self._vote(now, group)
        for group in self._claims:
            end = self.lease_end(now, group)
            if end is not None:
                self._earned[group] = end

    def want(self, now: float, group: str) -> None:
        if group in self._claims or group in self.unfit or not self.quorate(now):
            return
        claimed = any(group in peer.claims and self.alive(now, node) for node, peer in self.peers.items())
        if claimed or self.owner(now, group) is not None:
            self._free_since.pop(group, None)
            return
        free_since = self._free_since.setdefault(group, now)
        if now < self._closed_until.get(group, 0.0):
            return
        if now - free_since >= self._turn(now, group) * 2 * self.timing.beat_s:
            self._claims[group] = 1 + self._epoch_seen(group)

    def renounce(self, group: str) -> None:
        self._claims.pop(group, None)
        self._earned.pop(group, None)
        self._free_since.pop(group, None)
        if self._votes.get(group, (0,))[0] == self.me:
            del self._votes[group]

    def says(self) -> Record:
        return {
            "nonce": self.nonce,
            "configuration": self.configuration,
            "echo": {str(n): [p.nonce, p.beat] for n, p in self.peers.items() if p.beat >= 0},
            "claims": dict(self._claims),
            "votes": {group: list(vote) for group, vote in self._votes.items()},
            "last": {group: list(vote) for group, vote in self._last.items()},
            "dead": list(self.dead),
            "unfit": sorted(self.unfit),
        }

    # ---- questions --------------------------------------------------------------------------------------------

    def claims(self, group: str) -> bool:
        return group in self._claims

    def epoch(self, group: str) -> int:
        return self._claims.get(group, 0)

    def lease_end(self, now: float, group: str) -> float | None:
        epoch = self._claims.get(group)
        if epoch is None or self.nonce in self.dead:
            return None
        claim = (self.me, self.nonce, epoch)
        voters = [peer for peer in self.peers.values() if group in peer.votes and _vote(peer.votes[group]) == claim]
        starts = [self._echoed_at(peer) for peer in voters]
        if self._votes.get(group) == claim:
            starts.append(now)
        ends = [end for end in (self._lease(starts), self._earned.get(group)) if end is not None]
        return max(ends, default=None)

    def held(self, group: str) -> bool:
        return group in self._earned

    def owner(self, now: float, group: str) -> int | None:
        elected = self._elected(now, group)
        return elected[0] if elected else None

    def _elected(self, now: float, group: str) -> Vote | None:
        """The claim that a majority is known to have voted for."""
        living = [peer for node, peer in self.peers.items() if self.alive(now, node)]
        votes = [_vote(peer.votes[group]) for peer in living if group in peer.votes]
        if group in self._votes:
            votes.append(self._votes[group])
        for vote, count in Counter(votes).items():
            if count >= self.quorum and vote[1] not in self.dead:
                return vote
        return None

    def condemned(self) -> bool:
        return self.nonce in self.dead

    def quorate(self, now: float) -> bool:
        end = self._lease([self._echoed_at(peer) for peer in self.peers.values()] + [now])
        return end is not None and now < end

    def alive(self, now: float, node: int) -> bool:
        peer = self.peers.get(node)
        if peer is None:
            return node == self.me
        return peer.beat >= 0 and peer.nonce not in self.dead and now - peer.changed_at < self.timing.expiry_s

    # ---- inside -----------------------------------------------------------------------------------------------

    def _echoed_at(self, peer: Peer) -> float | None:
        if not peer.counts or peer.nonce in self.dead or peer.echo_nonce != self.nonce:
            return None
        return self._began.get(peer.echo_beat)

    def _lease(self, starts: list[float | None]) -> float | None:
        known = sorted((start for start in starts if start is not None), reverse=True)
        return known[self.quorum - 1] + self.timing.lease_s if len(known) >= self.quorum else None

    def _open(self, now: float, node: int, group: str) -> int | None:
        """The epoch of the node's claim if it may still be in force."""
        peer = self.peers[node]
        return peer.claims.get(group) if peer.counts and self.alive(now, node) else None

    def _void(self, now: float, group: str) -> bool:
        node, nonce, epoch = self._votes[group]
        if node == self.me:
            return nonce != self.nonce or self._claims.get(group) != epoch
        peer = self.peers[node]
        if nonce in self.dead or now - peer.changed_at >= self.timing.expiry_s:
            return True
        if peer.beat < 0:                    # kept from an earlier life of this agent: nothing was read since
            return False
        return peer.nonce != nonce or peer.claims.get(group) != epoch

    def _vote(self, now: float, group: str) -> None:
        if group in self._votes:
            return
        candidates = {n: epoch for n in self.peers for epoch in [self._open(now, n, group)] if epoch is not None}
        if group in self._claims:
            candidates[self.me] = self._claims[group]
        last = self._last.get(group)
        votes = [(n, self.nonce if n == self.me else self.peers[n].nonce, e) for n, e in candidates.items()]
        owned = self._elected(now, group)
        votes = [vote for vote in votes if last is None or vote[2] > last[2] or vote in (last, owned)]
        if votes:
            vote = self._votes[group] = min(votes, key=lambda vote: preference(group, vote[0]))
            self._last[group] = vote if last is None or vote[2] > last[2] else last

    def _must_yield(self, now: float, group: str) -> bool:
        """A claim that never had a majority yields to one that has it, and to one whose node comes first."""
        owner = self.owner(now, group)
        if owner not in (None, self.me):
            return True
        mine = preference(group, self.me)
        return any(self._open(now, n, group) and preference(group, n) < mine for n in self.peers)

    def _refused(self, group: str) -> bool:
        """A voter has voted for another claim of this epoch or a later one, and so cannot vote for this one."""
        claim = (self.me, self.nonce, self._claims[group])
        last = [_vote(peer.last[group]) for peer in self.peers.values() if group in peer.last]
        if group in self._last:
            last.append(self._last[group])
        return any(vote[2] >= claim[2] and vote != claim for vote in last)

    def _close(self, now: float, group: str) -> None:
        self.renounce(group)
        self._closed_until[group] = now + 2 * self.timing.beat_s

    def _epoch_seen(self, group: str) -> int:
        seen = [peer.claims.get(group, 0) for peer in self.peers.values()]
        seen += [peer.last[group][2] for peer in self.peers.values() if group in peer.last]
        seen += [self._last[group][2]] if group in self._last else []
        return max([0, self._claims.get(group, 0), *seen])

    def _turn(self, now: float, group: str) -> int:
        """How many fit nodes come before this one: those with fewer claims first, then by preference."""
        def key(node: int, claims: int) -> tuple[int, bytes]:
            return claims, preference(group, node)

        mine = key(self.me, len(self._claims))
        return sum(
            1
            for node, peer in self.peers.items()
            if peer.counts and self.alive(now, node) and group not in peer.unfit and key(node, len(peer.claims)) < mine
        )

    def _remember(self, earlier: Record, now: float) -> None:
        self._last = {group: _vote(vote) for group, vote in earlier["last"].items()}
        for nonce in earlier["dead"]:
            self._dies(nonce)
        if self._may_vote_at <= now and earlier["configuration"] == self.configuration:
            self._votes = {group: _vote(vote) for group, vote in earlier["votes"].items() if vote[0] in self.nodes}


def _vote(written: list[Any]) -> Vote:
    node, nonce, epoch = written
    return node, nonce, epoch


def well_formed(record: object) -> bool:
    """Whether a record that was read has the shape that :meth:`Majority.saw` relies on."""
    shape: dict[str, type] = {
        "nonce": str, "beat": int, "configuration": str, "echo": dict, "claims": dict, "votes": dict,
        "last": dict, "dead": list, "unfit": list,
    }
    if not isinstance(record, dict) or any(not isinstance(record.get(key), kind) for key, kind in shape.items()):
        return False
    pairs = [*record["echo"].values()]
    return (
        all(isinstance(epoch, int) for epoch in record["claims"].values())
        and all(isinstance(p, list) and len(p) == 2 and isinstance(p[0], str) and isinstance(p[1], int) for p in pairs)
        and all(
            isinstance(v, list) and len(v) == 3 and isinstance(v[0], int) and isinstance(v[1], str)
            and isinstance(v[2], int) for v in [*record["votes"].values(), *record["last"].values()]
        )
        and all(isinstance(name, str) for name in [*record["dead"], *record["unfit"]])
    )


def _configuration(nodes: frozenset[int], timing: Timing) -> str:
    text = f"1 {sorted(nodes)} {timing.beat_s:g} {timing.lease_s:g}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
