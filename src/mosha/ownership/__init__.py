"""Who may run a resource group: one interface, and what it promises.

The agent asks an :class:`Ownership` and obeys; it decides nothing of this kind itself. The first implementation is
:class:`mosha.ownership.majority.Majority`.

An implementation is a sans-IO state machine: it is told the time and what was read from other nodes, and it says what
to publish in this node's own record. It opens no file, reads no clock and draws no random number.

The promise: ``lease_end(now, g) > now`` on at most one node at any instant, for every group ``g``.
"""

from __future__ import annotations

from typing import Any, Protocol

Record = dict[str, Any]


class Ownership(Protocol):
    """The seat of every decision about ownership. Times are seconds of one local clock that never goes back."""

    def says(self) -> Record:
        """What this node says of itself, all but the number of the beat; it ends up in the node's own record."""

    def beat(self, now: float) -> int:
        """The number of a new beat, whose record is about to be written: the write begins at ``now`` or later."""

    def saw(self, now: float, node: int, record: Record) -> None:
        """``node``'s record was read, whole; the read was complete at ``now``."""

    def fenced(self, now: float, identities: list[str]) -> None:
        """STOMITH of the node that had these identities before the call has succeeded: they are dead for ever."""

    def want(self, now: float, group: str) -> None:
        """Contend for the group, if it is free and this node's turn has come."""

    def renounce(self, group: str) -> None:
        """Give the group up. Every process of it must be gone before."""

    def step(self, now: float) -> None:
        """Vote, revoke votes, withdraw claims; to be called after news and before :meth:`says`."""

    def claims(self, group: str) -> bool:
        """Whether this node contends for the group or owns it."""

    def epoch(self, group: str) -> int:
        """The number of this node's claim: the fencing token. 0 without a claim."""

    def held(self, group: str) -> bool:
        """Whether the present claim has had a majority: processes may have been started under it."""

    def lease_end(self, now: float, group: str) -> float | None:
        """Until when this node owns the group, as far as is known now; None if it never did under this claim."""

    def owner(self, now: float, group: str) -> int | None:
        """The node that a majority is known to have voted for, or None."""

    def alive(self, now: float, node: int) -> bool:
        """Whether the node's record changed within the last lease; always true of this node."""

    def condemned(self) -> bool:
        """Whether this very identity is known to be dead: everything must end here, and a new life begin."""

    def quorate(self, now: float) -> bool:
        """Whether a majority of the configured map has answered a beat of the last lease."""
