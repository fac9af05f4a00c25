"""Every time of the protocol, derived in one place from two numbers: the beat and the lease.

The letters are those of docs/ownership.md:

========= ================================================================ ==========================
letter    meaning                                                          derived
========= ================================================================ ==========================
H         beat: a node writes its slot on a majority this often            given
L         lease: a write that a majority of voters counted is worth this   given, at least 4 H
rho       rate error of one clock against real time                        1 %
F         factor between two such clocks                                   (1 + rho) / (1 - rho)
D         limit of one operation on a voter                                0.6 L, from 0.5 s to 1.5 s
B         limit of one ballot                                              L
K         time kept back from the lease for killing what runs              L / 10, at most 0.25 s
W         how long a voter that forgot counts for nobody                   F max(L, B) + D
S         a slot that stood still this long, with failed probes: suspect   1.8 H
T         turn: the next node waits this long for the one before it, and   H / 4, at least 0.04 s
          a beat for the voters that should answer, before it goes to all
begun     a ballot of another is left so long before this node tests       2 T
E         eager poll, while an owner is late                               H / 25, at least 0.02 s
C         close look at one voter, while the owner of a group is leaving   E / 5
A         a leaving owner says so this long before it stops its groups     H + 0.15 s
G         a guardian that can run looks at the clock, and has killed       0.05 s
P         openMosix finds a node down, in three tries of 20 ms             0.06 s
late      a slot that stood still this long: look closer, and probe        1.3 H
lost      a late owner is not looked at between beats any more             2 F L
probe     limit of one probe, whatever hangs                               2 L
look      a marker is looked at again, before there is an era              T, doubled to 2 T, or to 2 H
heir      the others leave the one that the owner named this long          1.5 H
wish      a wish for a group that is not repeated for so long is over      3 H
watch     a leaving owner is looked at closely for so long                 3 H
gap       two beats are this far apart at least, after a late one too      H / 2
extend    a leash is told of a deadline that is this much later            H / 4
patience  what a node that rests asks voters waits so long for a worker      H / 50
second    the agent kills a leash that has not killed so long after        K / 2
handover  what the lease must have left, for other voters to carry it      L / 2
back-off  a beaten ballot waits at random, at most                         T, doubled thrice at most
anew      after lapses in a row the next identity waits, at most   L, doubled, at most 4 L; half at least
calm      after a lapse the next identity contends for nothing for so long   2 L
pause     from a shot that failed to the next                              2 L, doubled, at most 60 s
unfit     a node that failed a group does not try it again for             L, doubled, at most 60 s
ahead     a test ahead is good for this long                               10 s
forget    failures of a group on a node are forgotten after the last       600 s
          one, and so is which nodes were stuck with it
stop      for the groups to stop in order, when the agent is to end, or   40 s
          others are to shoot this node
stuck     what lives so long after SIGKILL is said to be stuck; what       10 s
          follows from that comes at ``stuck`` of the configuration
elect     for an operator's wish for other voters                          20 s
move      for the target of a move to test the group ahead                 30 s
order     for the answers to an operator's order; a move has move + stop   10 s
map       the map is looked at, and all that no slot spoke of is read      every 8, every 16 beats
========= ================================================================ ==========================

On each of these depends who owns what, who is shot, or how long a group is away. What only tries again, cleans up or
is shown to people stays where it is used: limits of openMosix's own commands, the pause between two attempts to kill
one process, how often pages are written. What a group's own commands may take (stop, ahead, move; ``test_limit_s``,
``wait_limit_s``, ``stop_limit_s`` of cltab), and people (elect, order), does not follow from beat and lease.

What follows for those who wait for a service is in :meth:`Timing.bounds`.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

RHO = 0.01
F = (1 + RHO) / (1 - RHO)
LEASE_PER_BEAT_MIN = 4
BEAT_MIN_S = 0.05
OP_LIMIT_MIN_S, OP_LIMIT_MAX_S = 0.5, 1.5
TURN_MIN_S = 0.04
EAGER_MIN_S = 0.02
TEST_AHEAD_S = 0.15              # for the record to be read, the leash to be started, and the group's test
THAW_S = 0.05                    # G: a promise of ours, which tests hold real nodes and modelled ones to
PROBE_S = 0.06
FAILED_PROBES = 3
PAUSE_MAX_S = 60.0
BACK_OFF_DOUBLINGS = 3
CLOCKS_APART_S = 0.001           # a look at two clocks is not one instant
CLOCKS_SPAN_S = 1.0              # they are compared with what they were up to so long ago: that instant is a thousandth
SECONDS_MAX = 86400.0            # no time in a configuration is as long
AHEAD_S = 10.0
STOP_LIMIT_S = 40.0
STUCK_S = 10.0
ELECT_LIMIT_S = 20.0
MOVE_LIMIT_S = 30.0
FORGET_S = 600.0
ORDER_LIMIT_S = 10.0
MAP_BEATS = 8
ALL_BEATS = 16


class Bound(NamedTuple):
    """One time that is promised: what, by which formula, and how much."""

    name: str
    formula: str
    seconds: float
    meaning: str


class _Two(NamedTuple):
    beat_s: float
    lease_s: float


class Timing(_Two):
    """The times that follow from ``beat_s`` and ``lease_s``.

    Raises ValueError when the two do not fit each other.
    """

    def __new__(cls, beat_s: float = 0.5, lease_s: float = 2.5) -> Timing:
        if beat_s < BEAT_MIN_S:
            raise ValueError(f"beat {beat_s:g} s is under the minimum of {BEAT_MIN_S:g} s")
        if lease_s < LEASE_PER_BEAT_MIN * beat_s:
            raise ValueError(f"lease {lease_s:g} s is under {LEASE_PER_BEAT_MIN} beats of {beat_s:g} s")
        return super().__new__(cls, beat_s, lease_s)

    @cached_property
    def expiry_s(self) -> float:
        """An identity whose slot stood still this long on a majority of voters has expired (F L)."""
        return F * self.lease_s

    @cached_property
    def op_limit_s(self) -> float:
        """An operation on a voter that took longer does not count (D)."""
        return self._op_limit_of(self.lease_s)

    def looks_s(self, is_alone: bool) -> float:
        """A voter that has booted waits this long for what others say before it counts; ``is_alone``: it went on alone
        before. Then a look that was lost, which takes D, is followed by one that is waited for."""
        return (2 if is_alone else 1) * self.op_limit_s

    @staticmethod
    def _op_limit_of(lease_s: float) -> float:
        return min(OP_LIMIT_MAX_S, max(OP_LIMIT_MIN_S, 0.6 * lease_s))

    @cached_property
    def ballot_limit_s(self) -> float:
        """A ballot that took longer decides nothing (B)."""
        return self.lease_s

    @cached_property
    def recovery_s(self) -> float:
        """A voter that forgot waits this long before it counts again (W)."""
        return self.recovery_of(self.lease_s)

    def recovery_of(self, lease_s: float) -> float:
        """W, where leases of that length may still be in force."""
        return F * max(lease_s, self.ballot_limit_s) + self._op_limit_of(max(lease_s, self.lease_s))

    @cached_property
    def kill_margin_s(self) -> float:
        """The leash begins to kill this long before the lease ends (K)."""
        return min(0.25, self.lease_s / 10)

    @cached_property
    def late_s(self) -> float:
        """A slot that stood still this long is late: look closer, and probe."""
        return 1.3 * self.beat_s

    @cached_property
    def suspect_s(self) -> float:
        """A slot that stood still this long, with failed probes, makes its node suspect (S)."""
        return 1.8 * self.beat_s

    @cached_property
    def turn_s(self) -> float:
        """The next node in turn for a free group waits this long for the one before it, and a beat for the voters that
        should answer (T)."""
        return max(TURN_MIN_S, self.beat_s / 4)

    @cached_property
    def begun_s(self) -> float:
        """A ballot that another node has begun is left so long to end before this one tests for the group."""
        return 2 * self.turn_s

    @cached_property
    def eager_s(self) -> float:
        """How often the node whose turn it is looks at the voters while an owner is late (E)."""
        return max(EAGER_MIN_S, self.beat_s / 25)

    @cached_property
    def close_s(self) -> float:
        """How often the node that comes next looks at one voter, while the owner is leaving (C)."""
        return self.eager_s / 5

    @cached_property
    def announce_s(self) -> float:
        """A leaving owner says so this long before it stops its groups: others look once a beat, then test (A)."""
        return self.beat_s + TEST_AHEAD_S

    @cached_property
    def lost_s(self) -> float:
        """An owner that was late for so long is not looked at between beats any more."""
        return 2 * self.expiry_s

    @cached_property
    def probe_limit_s(self) -> float:
        """A probe that has not ended by then has failed."""
        return 2 * self.lease_s

    def look_s(self, looks: int, is_idle: bool) -> float:
        """A marker that showed nothing new so many times is looked at again after this; later where nothing new is to
        be expected. What all nodes ask of all voters at once is what keeps the machine busy while they start."""
        return min(self.turn_s * float(2 ** min(looks, 16)), 2 * (self.beat_s if is_idle else self.turn_s))

    @cached_property
    def heir_s(self) -> float:
        """The others leave a group this long to the node that its owner named."""
        return 1.5 * self.beat_s

    @cached_property
    def wish_s(self) -> float:
        """A wish for a group that is not repeated for so long is over."""
        return 3 * self.beat_s

    @cached_property
    def watch_s(self) -> float:
        """An owner that has not given up so long after it said that it would is not watched closely any more."""
        return 3 * self.beat_s

    @cached_property
    def beat_gap_s(self) -> float:
        """Two beats are at least this far apart, also after one that came late."""
        return self.beat_s / 2

    @cached_property
    def extend_s(self) -> float:
        """A leash is told of a deadline when it is this much later than the one before."""
        return self.beat_s / 4

    @cached_property
    def patience_s(self) -> float:
        """What a node that rests asks a voter may wait so long for one of a few workers; then it gets another."""
        return self.beat_s / 50

    @cached_property
    def second_s(self) -> float:
        """The agent kills a leash that has not killed everything so long after it should."""
        return self.kill_margin_s / 2

    @cached_property
    def handover_s(self) -> float:
        """What a lease must have left, as other voters count it, before it rests on these."""
        return self.lease_s / 2

    def beats(self, now_s: float) -> int:
        """How many beats the clock has counted: whatever is done in turn, a beat each, goes by it."""
        return int(now_s / self.beat_s)

    def back_off_s(self, tries: int) -> float:
        """A ballot that was beaten so many times waits for a random time, at most this."""
        return self.turn_s * float(2 ** min(tries - 1, BACK_OFF_DOUBLINGS))

    def anew_s(self, lapses: int) -> float:
        """So long at most, and half of it at least, waits the next identity after so many in a row that soon lapsed."""
        return min(4.0, 2.0 ** min(lapses - 2, 16)) * self.lease_s if lapses > 1 else 0.0

    def calm_s(self, lapses: int) -> float:
        """After so many in a row that soon lapsed an identity only beats for so long, and contends for nothing."""
        return 2 * self.lease_s if lapses else 0.0

    def shot_pause_s(self, failures: int) -> float:
        """From a shot that failed to the next, after so many in a row."""
        return min(PAUSE_MAX_S, self.lease_s * float(2 ** min(failures, 16)))

    def unfit_s(self, failures: int) -> float:
        """A node that failed a group so many times in a row does not try it again for so long."""
        return min(PAUSE_MAX_S, self.lease_s * float(2 ** min(failures - 1, 16)))

    @cached_property
    def detection_s(self) -> float:
        """A node that has died is suspect after this: others see its last slot up to a beat later."""
        return self.beat_s + max(self.suspect_s, self.late_s + FAILED_PROBES * PROBE_S) + self.eager_s

    def stopped_s(self, answer_s: float) -> float:
        """A machine whose clocks stood still with it runs its groups for so long at most where all voters answer within
        ``answer_s``: one exchange shows that there is news, the next reads it."""
        return 2 * (self.beat_s + answer_s) + THAW_S

    def bounds(
        self, shot_limit_s: float | None, pair_delay_s: float | None = None, is_alone: bool = False,
    ) -> list[Bound]:
        """What can be promised from these numbers; ``shot_limit_s``: None without STOMITH; ``pair_delay_s``: how long
        one of only two voters waits before it shoots, None if they are not two; ``is_alone``: of two this one goes on
        alone.

        While a majority of voters can reach each other and answers within E, the first node in turn is fit, and nothing
        else breaks; what a group's own test and start take comes on top. Seconds are those of a node's clock.
        """
        shot = [] if shot_limit_s is None else [
            Bound("shot", "X", shot_limit_s, "a shot has ended, all levels, devices and retries included"),
            Bound("failover, STOMITH", "detection + 2 T + 4 E",
                  self.detection_s + 2 * self.turn_s + 4 * self.eager_s,
                  "and what the shot takes, at most X: from a node's death to the start elsewhere"),
        ]
        if shot_limit_s is not None and pair_delay_s is not None:
            shot.append(Bound(
                "failover, two voters", "detection + delay + 2 H + 2 T + 4 E",
                self.detection_s + pair_delay_s + 2 * (self.beat_s + self.turn_s) + 4 * self.eager_s,
                "and what the shot takes: from the death of the voter that had the group to the start on the other",
            ))
        cold_s = 2 * (self.beat_s + self.turn_s) + 4 * self.eager_s
        alone = [
            Bound("cold start, one voter", "2 D + 2 H + 2 T + 4 E", self.looks_s(is_alone=True) + cold_s,
                  "the same of one of two voters that goes on alone: it looks first for the other one, which is off"),
        ] if is_alone or pair_delay_s is not None else []
        return [
            Bound("beat", "H", self.beat_s, "a node writes its slot this often"),
            Bound("lease", "L", self.lease_s, "what a majority's answer is worth"),
            Bound("operation", "D", self.op_limit_s, "what takes longer on a voter does not count"),
            Bound("kill margin", "K", self.kill_margin_s, "killing begins this long before a lease ends"),
            Bound("detection", "H + max(S, 1.3 H + 3 P) + E", self.detection_s, "a node that has died is suspect"),
            *shot,
            Bound("failover, no STOMITH", "H + F L + T + 4 E",
                  self.beat_s + self.expiry_s + self.turn_s + 4 * self.eager_s,
                  "from a node's death to the start elsewhere" if pair_delay_s is None else
                  "from the death of a node without a vote to the start elsewhere; never after a voter of two"),
            Bound("planned move", "C + 4 E", self.close_s + 4 * self.eager_s,
                  "from the end of the last process to the start on the next node, which tested ahead"),
            Bound("cold start", "2 H + 2 T + 4 E", cold_s,
                  "from the start of a majority and of the last owners to that of groups, disks kept"),
            *alone,
            Bound("recovery wait", "W = F max(L, B) + D", self.recovery_s, "a voter that forgot counts for nobody"),
            Bound("first start", "W + H + 2 T + 4 E",
                  self.recovery_s + self.beat_s + 2 * self.turn_s + 4 * self.eager_s,
                  "the same for a cluster that nobody founded; all voters must be there"),
            Bound("overlap", "0", 0.0, "two nodes run one group: no kill, hang or cut of any process, link or node"),
            Bound("overlap, thawed node", "G", THAW_S,
                  "a whole node frozen beyond its lease that thaws, without STOMITH"),
            Bound("overlap, stopped clock", "2 H + 2 E + G", self.stopped_s(self.eager_s),
                  "the same, if its clocks stood still as well (a paused virtual machine); voters answer it"),
        ]
