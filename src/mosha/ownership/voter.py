"""The voter of this node: its marker, and how it comes to count (again).

Rules (R16 to R19):

1. A voter without a whole marker has forgotten: it is *recovering*. It accepts what is written and counts for nobody.
   It waits W from there on, and only then looks at the others' markers; so does one whose configuration has changed,
   with W of the longer lease, as the old one may still hang on what it counted (R20).
2. (a) Q others are full in one era: it copies everything that they hold, and is full. (b) A founding invites its life:
   it is full, and empty. (c) Fewer than Q are full anywhere, every other voter is there, and this is the lowest that
   recovers: it founds an era, and invites all lives. Else it looks again.
3. A full voter that sees another full in a later era recovers too: it was left out.
4. After a boot a full voter *rejoins*: it counts again once Q - 1 others were asked for its node's slot and none shows
   a later life than its own disk remembers (the disk was not rolled back, as far as that can tell).
5. An operator may say that some voters are gone for good: then a founding does not wait for these, if Q are there; and
   that this disk came from a backup: then its voter has forgotten.
6. ``founded``, a file that an installer left on a disk where no vote was ever given, makes it full at once in the era
   that the file names. It is used once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple

from mosha.ownership import identity as identities
from mosha.ownership import journal, marker, slot
from mosha.ownership.marker import FULL, RECOVERING, REJOINING, Marker
from mosha.platform.world import Store
from mosha.timing import Timing

FOUNDED = "founded"
ORDER = "order"                  # an operator's word: see mosha.voters
ORDER_BYTES_MAX = 4096
FOUNDED_BYTES_MAX = 64
COPY_BYTES_MAX = 65536


class Seen(NamedTuple):
    """A marker as it was read by a task issued at ``began``; None if there was none that is whole."""

    marker: Marker | None
    began: float


class Voter:
    """``number``: of the life before this one, by this disk. ``nonce`` and ``wall`` are asked when one is needed."""

    def __init__(
        self, me: int, voters: frozenset[int], configuration: str, timing: Timing, store: Store, boot: str,
        number: int, now: float, nonce: Callable[[], str], wall: Callable[[], float],
    ) -> None:
        self._me, self._voters, self._configuration, self._timing = me, voters, configuration, timing
        self._quorum = len(voters) // 2 + 1
        self._store, self._boot, self._number, self._nonce, self._wall = store, boot, number, nonce, wall
        self._peeked: dict[int, bool] = {}           # other voter -> whether its slot shows nothing later
        self._copied: dict[int, list[Any]] = {}      # voter -> its journals
        self._copied_era = ""
        self._gone: frozenset[int] = frozenset()     # voters that do not come back, by an operator's word
        self.mine: set[str] = set()                  # the identities that this agent has had
        self._log: list[str] = []
        self.marker = self._begin()
        self._ready_at = now + self._wait_s()

    def _wait_s(self) -> float:
        """W, of the longest lease that may still hang on what this voter forgets (R20)."""
        return self._timing.recovery_of(max(self._timing.lease_s, self.marker.lease_s))

    def _begin(self) -> Marker:
        found = marker.decode(self._store.read(marker.NAME, marker.BYTES_MAX) or b"")
        founded = (self._store.read(FOUNDED, FOUNDED_BYTES_MAX) or b"").decode("ascii", "replace").strip()
        lease_s = self._timing.lease_s
        new = Marker(FULL, founded, "", self._configuration, self._boot, (), lease_s)
        if found is None and marker.is_era(founded):
            found = self._mark(new._replace(life=self._nonce()))
        elif found is None or found.configuration != self._configuration:
            era, longest_s = (found.era, max(lease_s, found.lease_s)) if found else ("", lease_s)
            found = self._mark(new._replace(state=RECOVERING, era=era, life=self._nonce(), lease_s=longest_s))
            self._log.append(f"no marker of this configuration: this voter counts again in {self._wait_s():.1f} s")
        elif found.state == FULL and (found.boot != self._boot or not self._boot):
            found = self._mark(found._replace(state=REJOINING, boot=self._boot))
        if founded:
            self._store.remove(FOUNDED)
        return found

    # ---- what it wants to know --------------------------------------------------------------------------------

    def wants_peeks(self) -> list[int]:
        """The voters whose slot of this node it has yet to see, in :attr:`era`."""
        return [] if self.marker.state != REJOINING else [v for v in self._others() if v not in self._peeked]

    def wants_copies(self, now: float, seen: Mapping[int, Seen]) -> tuple[str, list[int]]:
        """The era, and the voters whose journals it has yet to copy."""
        era, full = self._majority(now, seen)
        if era != self._copied_era:
            self._copied, self._copied_era = {}, era
        return era, [voter for voter in full if voter not in self._copied]

    @property
    def era(self) -> str:
        return self.marker.era

    def take_log(self) -> list[str]:
        """What is to be logged, once."""
        lines, self._log = self._log, []
        return lines

    # ---- what it learns ---------------------------------------------------------------------------------------

    def peeked(self, voter: int, content: bytes) -> None:
        """Another voter's slot of this node."""
        found = slot.decode(content)
        known = found is None or found.identity in self.mine
        self._peeked[voter] = known or (found is not None and identities.number_of(found.identity) <= self._number)

    def copied(self, voter: int, era: str, journals: list[Any], said: Marker | None) -> None:
        """The journals of another voter, and its marker as read after them."""
        if era == self._copied_era and said is not None and said.state == FULL and said.era == era:
            self._copied[voter] = journals

    def step(self, now: float, seen: Mapping[int, Seen]) -> bool:
        """Go on as far as is known; whether the marker changed."""
        before = self.marker
        if self.marker.state == RECOVERING:
            self._recover(now, seen)
        else:
            self._check(now, seen)
        return self.marker is not before

    def next_due(self, now: float) -> float:
        """When :meth:`step` has something to do without news."""
        return self._ready_at if self.marker.state == RECOVERING and now < self._ready_at else float("inf")

    def obey(self, now: float) -> None:
        """Carry an operator's order out, if there is one (rule 5)."""
        content = self._store.read(ORDER, ORDER_BYTES_MAX)
        if content is None:
            return
        self._store.remove(ORDER)
        try:
            order = json.loads(content)
            if order["do"] == "forget":
                self._forget(now, "an operator said that this disk was restored", self._nonce())
            elif order["do"] == "found":
                self._set_gone(frozenset(map(int, order["without"])))
        except (ValueError, TypeError, KeyError):
            self._log.append(f"not an order: {content[:80]!r}")

    def _set_gone(self, gone: frozenset[int]) -> None:
        if self.marker.state != RECOVERING:
            self._log.append("refused to found an era: this voter counts")
        elif len(self._voters - gone) < self._quorum or self._me in gone or not gone <= self._voters:
            there = f"{self._quorum} of {sorted(self._voters)} must be there, this one among them"
            self._log.append(f"refused to found an era without {sorted(gone)}: {there}")
        else:
            self._gone = gone
            self._log.append(f"an operator said that voters {sorted(gone)} are gone")

    # ---- inside -----------------------------------------------------------------------------------------------

    def _others(self) -> list[int]:
        return sorted(self._voters - {self._me})

    def _check(self, now: float, seen: Mapping[int, Seen]) -> None:
        mine = marker.number_of(self.era)
        others = [one.marker for one in seen.values() if one.marker is not None and one.marker.state == FULL]
        if any(marker.number_of(other.era) > mine for other in others if other.configuration == self._configuration):
            self._forget(now, "another era was founded without this voter", self.marker.life)
        elif self.marker.state == REJOINING:
            if not all(self._peeked.values()):
                self._forget(now, "this disk is older than what others know of it", self._nonce())
            elif len(self._peeked) >= self._quorum - 1:
                self._mark(self.marker._replace(state=FULL))

    def _forget(self, now: float, why: str, life: str) -> None:
        self._log.append(f"{why}: this voter counts again in {self._wait_s():.1f} s at the earliest")
        self._ready_at = now + self._wait_s()
        self._mark(self.marker._replace(state=RECOVERING, life=life, invited=()))

    def _recover(self, now: float, seen: Mapping[int, Seen]) -> None:
        if now < self._ready_at:
            return
        others = {v: one for v, one in seen.items() if v != self._me and one.began >= self._ready_at}
        fresh = {v: one.marker for v, one in others.items() if one.marker is not None}
        inviting = [m for m in fresh.values() if m.state == FULL and self.marker.life in m.invited]
        latest = max(inviting, key=lambda m: marker.number_of(m.era), default=None)
        era, full = self._majority(now, seen)
        if latest is not None and marker.number_of(latest.era) > marker.number_of(self.era):
            self._become_full(latest.era, "invited")
        elif full:
            if len(self._copied) >= self._quorum and era == self._copied_era:
                self._take_copies()
        elif fresh.keys() >= set(self._others()) - self._gone and all(self._is_settled(m) for m in fresh.values()):
            recovering = [v for v, m in fresh.items() if m.state == RECOVERING]
            if self._me < min(recovering, default=self._me + 1):
                self._found([self.marker, *fresh.values()])

    def _is_settled(self, other: Marker) -> bool:
        """Not one that may be full at any moment, nor one that may still serve another configuration."""
        return other.state in (FULL, RECOVERING) and other.configuration == self._configuration

    def _majority(self, now: float, seen: Mapping[int, Seen]) -> tuple[str, list[int]]:
        """The era in which Q others are full, and who they are; ("", []) where there is none, or it is too early."""
        if self.marker.state != RECOVERING or now < self._ready_at:
            return "", []
        eras = {
            voter: one.marker.era for voter, one in seen.items()
            if voter != self._me and one.began >= self._ready_at and one.marker is not None
            and one.marker.state == FULL and one.marker.configuration == self._configuration
        }
        for era, count in Counter(eras.values()).items():
            if count >= self._quorum:
                return era, sorted(voter for voter in eras if eras[voter] == era)
        return "", []

    def _take_copies(self) -> None:
        """One copy for each writer: all that it has written anywhere."""
        lines: dict[str, dict[bytes, None]] = {}
        for _, journals in sorted(self._copied.items()):
            for name, data in journals:
                entries, _ = journal.decode(data)
                writer = journal.writer_of(name, self._copied_era)
                if writer is not None:
                    lines.setdefault(writer, {}).update(dict.fromkeys(map(journal.encode, entries)))
        for writer, found in lines.items():
            parts = [b""]
            for line in found:
                if len(parts[-1]) + len(line) > COPY_BYTES_MAX:
                    parts.append(b"")
                parts[-1] += line
            for number, part in enumerate(parts):
                name = journal.copy_name(journal.name(self._copied_era, writer, 0), number)
                self._store.replace(name, part, durable=True)
        self._become_full(self._copied_era, f"copied from voters {sorted(self._copied)}")

    def _found(self, all_markers: list[Marker]) -> None:
        highest = max(marker.number_of(one.era) for one in all_markers)
        era = marker.make_era(max(highest + 1, int(self._wall())), self._nonce())
        self._become_full(era, "founded", tuple(one.life for one in all_markers))

    def _become_full(self, era: str, how: str, invited: tuple[str, ...] = ()) -> None:
        for name in self._store.list():
            if (".j." in name or ".slots." in name) and not name.startswith(f"{era}."):
                self._store.remove(name)
        self._log.append(f"voter of era {era}: {how}")
        self._mark(self.marker._replace(
            state=FULL, era=era, boot=self._boot, invited=invited, lease_s=self._timing.lease_s
        ))

    def _mark(self, new: Marker) -> Marker:
        self._store.replace(marker.NAME, marker.encode(new), durable=True)
        self.marker = new
        return new
