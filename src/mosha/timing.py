"""Every time of the protocol, derived in one place from two numbers: the beat and the lease.

The letters are those of docs/ownership.md:

========= ================================================================ ==========================
letter    meaning                                                          derived
========= ================================================================ ==========================
H         beat: a node writes its record this often                        given
L         lease: how long a majority's answer to one beat is worth          given, at least 4 H
rho       rate error of one clock against real time                        1 %
F         factor between two such clocks                                   (1 + rho) / (1 - rho)
D         limit of one look at another node                                1.5 s
K         time kept back from the lease for killing what runs              L / 10, at most 0.25 s
W         how long a voter that forgot its votes does not vote             F L + D
========= ================================================================ ==========================
"""

from __future__ import annotations

from dataclasses import dataclass

RHO = 0.01
F = (1 + RHO) / (1 - RHO)
LOOK_LIMIT_S = 1.5
LEASE_PER_BEAT_MIN = 4
LOOK_COST_S = 0.001              # of processor time, on both sides together
BEAT_MIN_S = 0.05


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
        """A voter keeps its vote this long after it last saw the owner's record change (F L)."""
        return F * self.lease_s

    @property
    def recovery_s(self) -> float:
        """A voter that forgot its votes waits this long before it votes (W)."""
        return self.expiry_s + LOOK_LIMIT_S

    @property
    def kill_margin_s(self) -> float:
        """The leash begins to kill this long before the lease ends (K)."""
        return min(0.25, self.lease_s / 10)

    @property
    def suspect_s(self) -> float:
        """A record that stood still this long, with failed probes, makes its node suspect."""
        return 2.2 * self.beat_s

    def eager_poll_s(self, nodes: int) -> float:
        """How often other nodes are looked at while a move is pending.

        All looks of a cluster grow with the square of its nodes; where these share a machine they must not fill it.
        """
        return min(self.beat_s, max(BEAT_MIN_S, self.beat_s / 4, nodes**2 * LOOK_COST_S))
