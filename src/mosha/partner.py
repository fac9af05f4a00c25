"""Two voters with STOMITH: how one of them goes on when the other is dead (R23).

Rules:

1. While two vote every operation needs both, so the death of either would stop every group. A voter that is *met* may
   take the other's vote away by shooting it: in this boot it has counted an operation on both, and nothing that was
   counted before is left to copy. So one that comes back after it was shot waits for the other, and shoots nobody.
2. Before it calls the STOMITH command its voter is *closed*: nothing counts any more, for anybody. A failure, a
   time-out and a new start of the agent open it again, and make the answer of that call void for ever.
3. Success while it is still closed: the electorate is this voter alone, and what runs here runs on. What was counted
   before needed both, so it is all on this disk.
4. The other is suspect when neither its voter nor its slot on this disk nor probes gave news of it for a while. A
   voter whose node owns a group shoots at once; else, and if both do the one with the higher number, it waits longer
   than the switch takes, so that not both are off after a mutual cut. If neither does, the higher waits twice as long.
   Who owned what is what this node last knew with a lease: the wait may be longer than that.
5. So it is with the identities that a confirmed shot ends: to those that are known when it is called belong those that
   an earlier identity of this node knew. Each of them began before the call.
6. When the other is alive again its vote is given back, as `mosha voters add` would.
"""

from __future__ import annotations

from mosha.fencing import Shot
from mosha.ownership.disk_paxos import DiskPaxos
from mosha.ownership.marker import CLOSED
from mosha.ownership.voter import Voter
from mosha.timing import FAILED_PROBES, Timing


class Partner:
    """The other of two voters, as this node sees it. It outlives identities; ``delay_s``: rule 4."""

    def __init__(self, voter: Voter, timing: Timing, delay_s: float, now: float) -> None:
        self._voter, self._timing, self._delay_s = voter, timing, delay_s
        self._failed_probes = self._attempts = 0
        self._probing = False
        self._next_probe = self._next_try = -float("inf")
        self._silent_since = now
        self._flying: Shot | None = None
        self._known: tuple[str, ...] = ()            # the other's identities, when this node had a lease last ...
        self._waits: int | None = None               # ... and for how many delays it is to wait before it shoots
        self._fenced: tuple[str, ...] = ()           # by the last shot that succeeded
        self._told: DiskPaxos | None = None          # who knows of them

    def late(self, now: float) -> None:
        """A round of this agent came late: the silence may be its own."""
        self._silent_since, self._failed_probes = max(now, self._silent_since), 0

    def step(self, now: float, ownership: DiskPaxos) -> int | None:
        """Look at the other; its node if it is to be probed now."""
        if self._fenced and self._told is not ownership and ownership.quorate(now):
            ownership.fenced(now, self._fenced)
            self._told = ownership
        other = self._voter.partner()
        if other is None:
            self._known, self._waits = (), None
            return None
        if ownership.quorate(now):
            self._known, self._waits = ownership.identities_of(other), self._turn(now, other, ownership)
        news_at = ownership.heard_at(other)
        if news_at > self._silent_since:
            self._silent_since, self._failed_probes = news_at, 0
        is_silent = now >= self._silent_since + self._timing.late_s
        if not is_silent or self._probing or self._failed_probes >= FAILED_PROBES or now < self._next_probe:
            return None
        self._probing, self._next_probe = True, now + self._timing.eager_s
        return other

    def probed(self, up: bool) -> None:
        """A probe of the other has ended."""
        self._probing = False
        self._failed_probes = 0 if up else self._failed_probes + 1

    def next_due(self, now: float) -> float:
        """When :meth:`step` or :meth:`due` has something to do, without news."""
        if self._voter.partner() is None:
            return float("inf")
        times = (self._silent_since + self._timing.late_s, self._next_probe, self._suspect_at(), self._next_try,
                 *(self._suspect_at() + waits * self._delay_s for waits in (1, 2)))
        return min((time for time in times if time > now), default=float("inf"))

    def due(self, now: float, ownership: DiskPaxos) -> Shot | None:
        """The shot to take now, if any; this voter is closed then, until :meth:`answered`."""
        other = self._voter.partner()
        if other is None or self._flying is not None or now < self._next_try or self._failed_probes < FAILED_PROBES:
            return None
        waits = self._turn(now, other, ownership) if self._waits is None else self._waits
        if now < self._suspect_at() + waits * self._delay_s or not self._voter.close():
            return None
        self._flying = Shot(other, tuple(dict.fromkeys((*self._known, *ownership.identities_of(other)))))
        return self._flying

    def answered(self, now: float, success: bool) -> bool:
        """The command has ended; whether this voter goes on alone."""
        shot, self._flying = self._flying, None
        assert shot is not None, "an answer without a shot"
        if success and self._voter.go_alone():
            self._attempts = 0
            self._fenced, self._told = shot.identities, None
            return True
        self._voter.reopen()
        self._attempts += 1
        self._next_try = now + self._timing.shot_pause_s(self._attempts)
        return False

    def returns(self, now: float, ownership: DiskPaxos) -> frozenset[int] | None:
        """Whom rule 6 wants to vote, if anything is to be done."""
        absent = self._voter.marker.absent
        back = [node for node in absent if ownership.peers.alive(now, node)]
        if not back or self._voter.marker.state == CLOSED or not ownership.quorate(now):
            return None
        return ownership.voters | frozenset(back[:1])

    @staticmethod
    def _turn(now: float, other: int, ownership: DiskPaxos) -> int:
        """How many delays this node waits, as far as that identity of it knows (rule 4)."""
        owns, others = bool(ownership.held_groups()), other in ownership.owners(now)
        yields = owns == others and ownership.node > other
        return (0 if owns else 1) + (1 if yields else 0)

    def _suspect_at(self) -> float:
        return self._silent_since + self._timing.suspect_s
