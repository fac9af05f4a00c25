"""One ballot of Disk Paxos for one epoch of one group (E. Gafni, L. Lamport: Disk Paxos, 2003).

Rules (R12):

1. Phase 1 writes a block with the new number and what this processor accepted before, and then reads everything on that
   voter. With Q voters done, any later epoch, any commit of this epoch and any higher number ends the ballot.
2. The value is that of the highest ballot that anybody has accepted; if nobody has, it is the own proposal.
3. Phase 2 writes the block with number and value, and reads again, with the same tests. Then it is decided, if the
   whole ballot took less than B.
4. An owner that releases may name its heir. Of the next epoch the number ``[0, heir]`` is that identity's alone, and
   no other is as low, so there is nothing that phase 1 could find: the heir begins with phase 2. Where the epoch before
   turns out to have had two owners there may be two heirs, and this ballot ends.
"""

from __future__ import annotations

from mosha.ownership.journal import NOBODY, Block, Number
from mosha.ownership.records import Register

STOPPED, GOES_ON, DECIDED = "stopped", "goes on", "decided"
OVER = 3                         # the phase of a ballot that nothing more is to be written for


class Ballot:
    """``value`` is what it writes in phase 2; ``proposal`` what it would like to. A number of round 0 is an heir's."""

    def __init__(self, group: str, epoch: int, number: Number, proposal: str, began: float, ends: float) -> None:
        self.group, self.epoch, self.number, self.began, self.ends = group, epoch, number, began, ends
        self.proposal = proposal
        self.phase, self.value = (1, "") if number[0] else (2, proposal)
        self.done: set[int] = set()
        self.asked: set[int] = set()                 # voters, at first
        self.widens = ends                           # when the others are asked, too

    def block(self, register: Register, seq: int) -> Block:
        """What is to be written on every voter in the present phase."""
        if self.phase == 2:
            return Block(self.group, self.epoch, self.number, self.number, self.value, seq)
        mine = register.blocks.get(self.number[1]) if register.epoch == self.epoch else None
        bal, value = (mine.bal, mine.value) if mine is not None else (NOBODY, "")
        return Block(self.group, self.epoch, self.number, bal, value, seq)

    def is_beaten(self, register: Register) -> bool:
        return (
            register.epoch > self.epoch
            or register.owner_epoch >= self.epoch
            or register.highest_promise() > self.number
            or (not self.number[0] and 0 < register.disputed_epoch == self.epoch - 1)
        )

    def advance(self, now: float, register: Register, quorum: int) -> str:
        """Go on as far as what was written and read allows. GOES_ON with phase 2 just begun has ``done`` empty."""
        if self.is_beaten(register) or now >= self.ends:
            return STOPPED
        if len(self.done) < quorum:
            return GOES_ON
        if self.phase == 2:
            return DECIDED
        self.phase, self.done = 2, set()
        self.value = register.accepted() or self.proposal
        return GOES_ON
