"""Every time of the protocol, derived in one place from two numbers: the beat and the lease.

The letters are those of docs/ownership.md:

========= ================================================================ ==========================
letter    meaning                                                          derived
========= ================================================================ ==========================
H         beat: a node writes its slot on every voter this often           given
L         lease: a write that a majority of voters counted is worth this   given, at least 4 H
rho       rate error of one clock against real time                        1 %
F         factor between two such clocks                                   (1 + rho) / (1 - rho)
D         limit of one operation on a voter                                1.5 s
B         limit of one ballot                                              L
K         time kept back from the lease for killing what runs              L / 10, at most 0.25 s
W         how long a voter that forgot counts for nobody                   F max(L, B) + D
S         a slot that stood still this long, with failed probes: suspect   1.8 H
T         turn: the next node waits this long for the one before it        H / 4, at least 0.04 s
E         eager poll, while an owner is late                               H / 25, at least 0.02 s
C         close look at one voter, while the owner of a group is leaving   E / 5
A         a leaving owner says so this long before it stops its groups     H + 0.15 s
========= ================================================================ ==========================

What follows for those who wait for a service is in :meth:`Timing.bounds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

RHO = 0.01
F = (1 + RHO) / (1 - RHO)
OP_LIMIT_S = 1.5
LEASE_PER_BEAT_MIN = 4
BEAT_MIN_S = 0.05
TURN_MIN_S = 0.04
EAGER_MIN_S = 0.02
TEST_AHEAD_S = 0.15              # for the record to be read, the leash to be started, and the group's test


class Bound(NamedTuple):
    """One time that is promised: what, by which formula, and how much."""

    name: str
    formula: str
    seconds: float
    meaning: str


@dataclass(frozen=True)
class Timing:
    """The times that follow from ``beat_s`` and ``lease_s``.

    Raises ValueError when the two do not fit each other.
    """

    beat_s: float = 0.5
    lease_s: float = 2.5

    def __post_init__(self) -> None:
        if self.beat_s < BEAT_MIN_S:
            raise ValueError(f"beat {self.beat_s:g} s is under the minimum of {BEAT_MIN_S:g} s")
        if self.lease_s < LEASE_PER_BEAT_MIN * self.beat_s:
            raise ValueError(
                f"lease {self.lease_s:g} s is under {LEASE_PER_BEAT_MIN} beats of {self.beat_s:g} s"
            )

    @property
    def expiry_s(self) -> float:
        """An identity whose slot stood still this long on a majority of voters has expired (F L)."""
        return F * self.lease_s

    @property
    def op_limit_s(self) -> float:
        """An operation on a voter that took longer does not count (D)."""
        return OP_LIMIT_S

    @property
    def ballot_limit_s(self) -> float:
        """A ballot that took longer decides nothing (B)."""
        return self.lease_s

    @property
    def recovery_s(self) -> float:
        """A voter that forgot waits this long before it counts again (W)."""
        return self.recovery_of(self.lease_s)

    def recovery_of(self, lease_s: float) -> float:
        """W, where leases of that length may still be in force."""
        return F * max(lease_s, self.ballot_limit_s) + self.op_limit_s

    @property
    def kill_margin_s(self) -> float:
        """The leash begins to kill this long before the lease ends (K)."""
        return min(0.25, self.lease_s / 10)

    @property
    def late_s(self) -> float:
        """A slot that stood still this long is late: look closer, and probe."""
        return 1.3 * self.beat_s

    @property
    def suspect_s(self) -> float:
        """A slot that stood still this long, with failed probes, makes its node suspect (S)."""
        return 1.8 * self.beat_s

    @property
    def turn_s(self) -> float:
        """The next node in turn for a free group waits this long for the one before it (T)."""
        return max(TURN_MIN_S, self.beat_s / 4)

    @property
    def eager_s(self) -> float:
        """How often the node whose turn it is looks at the voters while an owner is late (E)."""
        return max(EAGER_MIN_S, self.beat_s / 25)

    @property
    def close_s(self) -> float:
        """How often the node that comes next looks at one voter, while the owner is leaving (C)."""
        return self.eager_s / 5

    @property
    def announce_s(self) -> float:
        """A leaving owner says so this long before it stops its groups: others look once a beat, then test (A)."""
        return self.beat_s + TEST_AHEAD_S

    @property
    def detection_s(self) -> float:
        """A node that has died is suspect after this: others see its last slot up to a beat later."""
        return self.beat_s + self.suspect_s + self.eager_s

    def bounds(self, shot_limit_s: float | None) -> list[Bound]:
        """What can be promised from these numbers; ``shot_limit_s``: None without STOMITH.

        While a majority of voters can reach each other and answers within E, and the first node in turn is fit; what a
        group's own test and start take comes on top.
        """
        shot = [] if shot_limit_s is None else [
            Bound("shot", "X", shot_limit_s, "a shot has ended, all levels, devices and retries included"),
            Bound("failover, STOMITH", "H + S + E + 2 T", self.detection_s + 2 * self.turn_s,
                  "and what the shot takes, at most X: from a node's death to the start elsewhere"),
        ]
        return [
            Bound("beat", "H", self.beat_s, "a node writes its slot this often"),
            Bound("lease", "L", self.lease_s, "what a majority's answer is worth"),
            Bound("operation", "D", self.op_limit_s, "what takes longer on a voter does not count"),
            Bound("kill margin", "K", self.kill_margin_s, "killing begins this long before a lease ends"),
            Bound("detection", "H + S + E", self.detection_s, "a node that has died is suspect"),
            *shot,
            Bound("failover, no STOMITH", "H + F L + T", self.beat_s + self.expiry_s + self.turn_s,
                  "from a node's death to the start elsewhere"),
            Bound("cold start", "H + 2 T", self.beat_s + 2 * self.turn_s,
                  "from a majority's start to the start of groups, disks kept"),
            Bound("recovery wait", "W = F max(L, B) + D", self.recovery_s, "a voter that forgot counts for nobody"),
            Bound("first start", "W + H + 2 T", self.recovery_s + self.beat_s + 2 * self.turn_s,
                  "the same for a cluster that nobody founded; all voters must be there"),
            Bound("overlap", "0", 0.0, "two nodes run one group: no kill, hang or cut of any process, link or node"),
            Bound("overlap, thawed node", "K", self.kill_margin_s,
                  "a whole node frozen beyond its lease that thaws, without STOMITH"),
            Bound("overlap, stopped clock", "L", self.lease_s, "the same, if its clock stood still as well"),
        ]
