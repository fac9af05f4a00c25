"""The other nodes as their slots show them: who beats, who stands still, whose lease is over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mosha.ownership import identity as identities
from mosha.ownership.link import Link, has_expired
from mosha.ownership.records import Records
from mosha.ownership.slot import Slot
from mosha.timing import Timing

NEVER = float("inf")


class Peer:
    """What the slots say of another node: its identity, the revision of its record, and when that last changed."""

    __slots__ = ("beat_at", "changed_at", "identity", "revision", "was_late")

    def __init__(self) -> None:
        self.identity, self.revision, self.changed_at, self.was_late = "", -1, -NEVER, False
        self.beat_at = -NEVER                        # a voter showed that it goes on, and not only what it once wrote

    def said(self) -> tuple[str, int]:
        """Whose record it has, and which revision of it."""
        return self.identity, self.revision

    def is_before(self, found: Slot) -> bool:
        """Whether the slot is of a later life, or tells of a later record, than what was seen of it."""
        if not self.identity:
            return True
        number = identities.number_of
        return (number(found.identity), found.revision) > (number(self.identity), self.revision)


class Peers:
    """Of all nodes; ``links`` and ``records`` are those of the identity that looks."""

    def __init__(self, node: int, quorum: int, timing: Timing, links: Mapping[int, Link], records: Records) -> None:
        self.all: dict[int, Peer] = {}
        self.unread: dict[int, None] = {}            # nodes whose records may have changed since they were read
        self.unseen_s = 0.0                          # for so long a slot may not be looked at
        self._node, self.quorum, self._timing = node, quorum, timing
        self._links, self._records = links, records
        self._not_expired_before: dict[int, float] = {}      # node -> a time; slots stand still ever later

    def heard(self, now: float, node: int, found: Slot, is_of_now: bool = True) -> None:
        """Some voter showed this slot as news; ``is_of_now``: it was looked at a beat ago, too. What another one shows
        may be long over, unless it is of a later life or record than all others have shown."""
        if identities.node_of(found.identity) != node:
            return
        self._records.see(found.identity, now)
        peer = self.all.setdefault(node, Peer())
        if not is_of_now and not peer.is_before(found):
            return
        if found.identity not in self._records.dead:
            if node != self._node and found.revision > 0 and (found.identity, found.revision) != peer.said():
                self.unread[node] = None
            if found.identity != peer.identity:
                peer.beat_at = -NEVER
            peer.identity, peer.revision, peer.changed_at, peer.was_late = found.identity, found.revision, now, False

    def read_later(self, node: int) -> None:
        """Its record could not be read: the others first."""
        if node in self.unread:
            del self.unread[node]
            self.unread[node] = None

    def beat(self, now: float, nodes: Iterable[int]) -> None:
        """Some voter showed that the slots of these changed in nothing but their count of beats."""
        for node in nodes:
            peer = self.all.get(node)
            if peer is not None:
                peer.changed_at = peer.beat_at = now
                peer.was_late = False

    def alive(self, now: float, node: int) -> bool:
        peer = self.all.get(node)
        if peer is None or node == self._node:
            return node == self._node
        return now - peer.changed_at < self._timing.expiry_s + self.unseen_s and peer.identity not in self._records.dead

    def beats(self, now: float, node: int) -> bool:
        """Whether it lives, and was seen to beat: on a voter that comes back the slots of the dead are news once."""
        peer = self.all.get(node)
        lately = now - self._timing.expiry_s - self.unseen_s
        return peer is not None and peer.beat_at > lately and self.alive(now, node)

    def is_late(self, now: float, node: int) -> bool:
        """Whether the node's slot should have changed by now."""
        peer = self.all.get(node)
        return (peer is not None and now - peer.changed_at >= self._timing.late_s) or self.stood_still(
            now, node, self._timing.late_s
        )

    def note_late(self, now: float, nodes: set[int]) -> None:
        """Note which of these are late now: :meth:`late_at` is over for them."""
        for node in nodes:
            peer = self.all.get(node)
            if peer is not None:
                peer.was_late = now >= peer.changed_at + self._timing.late_s

    def late_at(self, node: int) -> float:
        """When the node's slot will be late, if it does not change before; never for one that is late already."""
        peer = self.all.get(node)
        return NEVER if peer is None or peer.was_late else peer.changed_at + self._timing.late_s

    def stood_still(self, now: float, node: int, still_s: float) -> bool:
        """Whether on Q voters the node's slot did not change for so long (R24), all of it one time, up to when they
        were read last: where nobody writes for a while, or did before it went over to other voters, nothing stands
        still."""
        if now < self._still_since(node) + still_s:
            return False
        windows = [window for window in (link.window(node) for link in self._links.values()) if window is not None]
        if len(windows) < self.quorum:
            return False
        read_at = sorted((read_at for _, read_at in windows), reverse=True)[self.quorum - 1]
        return has_expired(windows, self.quorum, still_s, read_at - self._timing.late_s - still_s)

    def expired(self, now: float, node: int, identity: str) -> bool:
        """R13, for an identity of that node."""
        if now < self._not_expired_before.get(node, -NEVER):
            return False
        still_since = self._still_since(node)
        if still_since < NEVER:
            self._not_expired_before[node] = still_since + self._timing.expiry_s
        seen = self._records.first_seen.get(identity)
        if seen is None:
            return False
        windows = [link.window(node) for link in self._links.values()]
        return has_expired(windows, self.quorum, self._timing.expiry_s, seen)

    def _still_since(self, node: int) -> float:
        """A time before which its slot did not stand still on Q voters: when it was last seen to change on most."""
        since = sorted(link.since(node) for link in self._links.values())
        return since[self.quorum - 1] if len(since) >= self.quorum else NEVER
