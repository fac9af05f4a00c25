"""When to shoot which node: suspicion, agreement, turn.

Rules:

1. Only a node that owns a group is worth a shot. It is suspect when its slot stood still on Q voters for
   ``Timing.suspect_s`` and the last probes of it failed, or when its identity has expired whatever the probes say (its
   agent hangs). One that is late and answers a probe is probed again a turn later. One that beats is suspect, too,
   where there is STOMITH, and it is to be shot for a group that it owns and cannot end (:mod:`mosha.snags`), as its
   newest record says: when it owns nothing else any more, or has had ``STOP_LIMIT_S`` to give that up.
2. A late observer suspects nobody: after a round of its own that came more than a beat late it starts anew.
3. One node at a time shoots: the one that owns the pseudo-group ``stomith/NODE``, for as long as the call takes. The
   turns are those of a group that the node owns. Who suspects it no more leaves it to others.
4. What is dead afterwards are the identities known *before* the call, and only if the command said that it succeeded.
   A failure, a time-out or silence frees nothing; it is tried again later, at growing intervals.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Callable, NamedTuple

from mosha.ownership.disk_paxos import FENCE, DiskPaxos
from mosha.timing import FAILED_PROBES, STOP_LIMIT_S


class Shot(NamedTuple):
    """One call of the STOMITH command: the node, and its identities known before the call."""

    node: int
    identities: tuple[str, ...]


class _Watch:
    """What is known of a node that owns a group."""

    __slots__ = ("attempts", "failed_probes", "next_probe", "next_try", "probing", "stuck_since", "suspect")

    def __init__(self) -> None:
        self.failed_probes = self.attempts = 0
        self.next_probe = self.next_try = -float("inf")
        self.stuck_since = float("inf")
        self.probing = self.suspect = False


class Fencing:
    """The state machine; it is told the end of every probe and of every shot."""

    def __init__(self, ownership: DiskPaxos, can_shoot: bool, rank: Callable[[int], int]) -> None:
        """``rank(victim)``: how many living nodes should go first."""
        self._ownership, self._can_shoot, self._rank = ownership, can_shoot, rank
        self._timing = ownership.timing
        self._watches: dict[int, _Watch] = {}
        self._sure_after = self._now = -float("inf")
        self._flying: Shot | None = None

    def late(self, now: float) -> None:
        """A round of this agent came more than a beat late: rule 2."""
        self._sure_after = now + self._timing.suspect_s
        for watch in self._watches.values():
            watch.failed_probes = 0

    def suspects(self) -> list[int]:
        """The nodes that were suspect at the last :meth:`step`."""
        return sorted(node for node, watch in self._watches.items() if watch.suspect)

    def step(self, now: float, stuck: Mapping[int, Collection[str]]) -> list[int]:
        """Look at all owners; the nodes that are to be probed now. ``stuck``: of each node the groups that it cannot
        end, and for which it is to be shot."""
        self._now = now
        owners = self._ownership.owners(now)
        for node in [node for node in self._watches if node not in owners]:
            self._end(now, node)
        probes = []
        for node in sorted(owners):
            watch = self._watches.setdefault(node, _Watch())
            is_late = self._ownership.peers.is_late(now, node)
            if not is_late:
                watch.failed_probes = 0
            elif not watch.probing and watch.failed_probes < FAILED_PROBES and now >= watch.next_probe:
                watch.probing, watch.next_probe = True, now + self._timing.eager_s
                probes.append(node)
            is_stuck = self._is_stuck(now, node, watch, stuck.get(node, ()))
            was_suspect = watch.suspect
            watch.suspect = is_stuck or (is_late and self._is_suspect(now, node, watch))
            if was_suspect and not watch.suspect:
                self._leave(now, node)
        return probes

    def probed(self, node: int, up: bool) -> None:
        """A probe of the node has ended."""
        watch = self._watches.get(node)
        if watch is not None:
            watch.probing = False
            watch.failed_probes = 0 if up else watch.failed_probes + 1
            if up:                                   # two nodes that beat at one instant see each other late
                watch.next_probe += self._timing.turn_s

    def next_due(self, now: float) -> float:
        """When :meth:`step` has a probe to ask for, without news."""
        dues = [
            watch.next_probe for watch in self._watches.values()
            if now < watch.next_probe and not watch.probing and watch.failed_probes < FAILED_PROBES
        ]
        return min(dues, default=float("inf"))

    def due(self, now: float) -> Shot | None:
        """The shot to take now, if any; its answer must be given to :meth:`answered`."""
        if self._flying is not None or not self._can_shoot or not self._ownership.quorate(now):
            return None
        for node in self.suspects():
            group = f"{FENCE}{node}"
            if self._ownership.held(group):
                self._flying = Shot(node, self._ownership.identities_of(node))
                return self._flying
            if now >= self._watches[node].next_try and not self._ownership.claims(group):
                self._ownership.want(now, group, partial(self._rank, node))
        return None

    def answered(self, now: float, success: bool) -> None:
        """The command has ended. Success marks the identities as dead; anything else only sets the next try."""
        shot, self._flying = self._flying, None
        assert shot is not None, "an answer without a shot"
        watch = self._watches.setdefault(shot.node, _Watch())
        watch.attempts = 0 if success else watch.attempts + 1
        if success:
            self._ownership.fenced(now, shot.identities)
        else:
            watch.next_try = now + self._timing.shot_pause_s(watch.attempts)
        self._ownership.renounce(now, f"{FENCE}{shot.node}")

    def _end(self, now: float, node: int) -> None:
        """The node owns nothing any more."""
        if self._leave(now, node):
            del self._watches[node]

    def _leave(self, now: float, node: int) -> bool:
        """Whoever wants to may shoot it; false while this node does."""
        if self._flying is not None and self._flying.node == node:
            return False
        self._ownership.renounce(now, f"{FENCE}{node}")
        return True

    def _is_stuck(self, now: float, node: int, watch: _Watch, groups: Collection[str]) -> bool:
        owned = self._ownership.groups_of(now, node) if groups and self._can_shoot else []
        if not set(groups).intersection(owned):
            watch.stuck_since = float("inf")
            return False
        watch.stuck_since = min(watch.stuck_since, now)
        if now < self._sure_after or node in self._ownership.peers.unread:
            return False                             # it may have ended meanwhile
        return set(owned) <= set(groups) or now >= watch.stuck_since + STOP_LIMIT_S

    def _is_suspect(self, now: float, node: int, watch: _Watch) -> bool:
        if now < self._sure_after:
            return False
        still = self._ownership.peers.stood_still(now, node, self._timing.suspect_s)
        silent = watch.failed_probes >= FAILED_PROBES
        return (still and silent) or self._ownership.peers.stood_still(now, node, self._timing.expiry_s)
