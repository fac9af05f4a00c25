"""When to shoot which node: suspicion, agreement, turn.

Rules:

1. A node is suspect here when its record has stood still for 2.2 beats and the last looks at it failed, or when it has
   stood still for a whole expiry whatever the looks say (its agent hangs).
2. A late observer suspects nobody: after a round of its own that came more than a beat late it starts anew.
3. A node is shot only if a majority suspects it, the shooter included, and its last record has an open claim.
4. The living node with the lowest number shoots; the others wait their turn, as long as a shot may take each.
5. What is dead afterwards are the identities known *before* the call, and only if the command said that it succeeded.
   A failure, a time-out or silence frees nothing; it is tried again later, at growing intervals.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from mosha.ownership.majority import Majority

FAILED_LOOKS = 2
RETRY_MAX_S = 60.0


@dataclass(frozen=True)
class Shot:
    """One call of the STOMITH command: the node, and its identities known before the call."""

    node: int
    identities: tuple[str, ...]


@dataclass
class _Watch:
    looks: deque[bool] = field(default_factory=lambda: deque(maxlen=FAILED_LOOKS))
    suspects: frozenset[int] = frozenset()       # whom that node suspects
    agreed_since: float | None = None
    attempts: int = 0
    next_try: float = 0.0


class Fencing:
    """The state machine; it is told every look and every answer of the command."""

    def __init__(self, ownership: Majority, shot_limit_s: float) -> None:
        self._ownership = ownership
        self._timing = ownership.timing
        self._shot_limit_s = shot_limit_s
        self._watches = {node: _Watch() for node in ownership.peers}
        self._sure_after = 0.0
        self._flying: Shot | None = None

    def looked(self, node: int, seen: bool) -> None:
        """A look at the node has ended: with its status up and its record read, or not."""
        self._watches[node].looks.append(seen)

    def heard(self, node: int, suspects: list[int]) -> None:
        """The node's record names these nodes as suspect."""
        self._watches[node].suspects = frozenset(suspects)

    def late(self, now: float) -> None:
        """This agent itself was late: what looks like silence of others may be its own."""
        self._sure_after = now + self._timing.suspect_s
        for watch in self._watches.values():
            watch.looks.clear()

    def suspects(self, now: float) -> list[int]:
        """The nodes that this node suspects."""
        return sorted(node for node in self._watches if self._suspect(now, node))

    def due(self, now: float) -> Shot | None:
        """The shot to take now, if any; its answer must be given to :meth:`answered`."""
        if self._flying is not None or not self._ownership.quorate(now):
            return None
        for node in self.suspects(now):
            watch, peer = self._watches[node], self._ownership.peers[node]
            if not peer.claims or peer.nonce in self._ownership.dead or not self._agreed(now, node):
                watch.agreed_since = None
                continue
            if watch.agreed_since is None:
                watch.agreed_since = now
            if now >= max(watch.next_try, watch.agreed_since + self._turn(now) * self._shot_limit_s):
                self._flying = Shot(node, (peer.nonce,))
                return self._flying
        return None

    def answered(self, now: float, success: bool) -> None:
        """The command has ended. Success marks the identities as dead; anything else only sets the next try."""
        shot, self._flying = self._flying, None
        assert shot is not None, "an answer without a shot"
        watch = self._watches[shot.node]
        if success:
            self._ownership.fenced(now, list(shot.identities))
            watch.attempts = 0
        else:
            watch.attempts += 1
            watch.next_try = now + min(RETRY_MAX_S, self._timing.lease_s * 2 ** min(watch.attempts, 8))

    def _suspect(self, now: float, node: int) -> bool:
        peer, looks = self._ownership.peers[node], self._watches[node].looks
        still_s = now - peer.changed_at
        if now < self._sure_after or peer.beat < 0:
            return False
        failed = len(looks) == FAILED_LOOKS and not any(looks)
        return still_s >= self._timing.expiry_s or (failed and still_s >= self._timing.suspect_s)

    def _agreed(self, now: float, node: int) -> bool:
        voices = [n for n, watch in self._watches.items() if node in watch.suspects and self._living(now, n)]
        return len(voices) + 1 >= self._ownership.quorum

    def _living(self, now: float, node: int) -> bool:
        return self._ownership.alive(now, node) and not self._suspect(now, node)

    def _turn(self, now: float) -> int:
        return sum(1 for node in self._watches if node < self._ownership.me and self._living(now, node))
