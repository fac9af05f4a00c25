"""What this node writes on one voter, and what it last read there. One exchange at a time.

Rules:

1. An exchange appends what waits for this voter, writes the slot, and then reads: journals (all, or the tails that are
   known to be there), slots, and the marker last. It counts only if that marker is full, of this era and configuration,
   counts this electorate, and the whole exchange ended within its limit (R2).
2. Of an exchange that failed nobody knows what it did. Its facts are written again, in the next generation of the
   journal; a block is not: its ballot makes a new one (R3). Until one succeeds
   only beats are tried, and nothing is appended: they tell of the generation before until it was found there (8).
3. A window is the time over which a slot was bit-identical here: from the end of the first counted read that saw it so
   to the start of the latest (R13). A new marker of the voter begins all windows anew.
4. A voter that lives another life has forgotten this journal, whatever it copied: its first exchange does not count,
   and the next generation begins.
5. One exchange reads a bounded number of bytes, and the next goes on from there: a block counts as written and read
   when the exchange that wrote it, or one that came after it with none between that failed, has read all journals to
   their ends, and none that was listed was gone before it was read. It is not written again meanwhile: writers that
   cannot read on as fast as all of them write would never be done.
6. What others appended is read with each exchange on a voter that is near, and while that is urgent on all of them;
   on the others in turn: facts come to every voter, and who appends a block reads all.
7. A journal that was read whole by an exchange issued when its writer was known to be dead is not read again: what the
   writer counted on was there by then, and what came later it never counted on.
8. A journal that is bad says nothing about what it held: an exchange that meets one does not count, and the next one
   meets it again, until its voter has forgotten. So it is with one that is gone, or shorter than a slot said before in
   this life of the voter, and still says: no block counts as read before slots were.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable
from typing import Any, Callable, NamedTuple, Union

from mosha.ownership import identity as identities
from mosha.ownership import journal, marker, slot
from mosha.ownership.ballot import Ballot
from mosha.ownership.electorate import Electorate
from mosha.ownership.journal import Block, Entry, Fact
from mosha.ownership.marker import Marker
from mosha.ownership.slot import Slot

APPEND_BYTES_MAX = 32768
JOURNAL_BYTES_MAX = 65536        # then the next generation begins, if half of it is not needed any more
TAILS_MAX = 32
WAITING_MAX = 1024               # facts and blocks; then those that nobody needs any more wait no longer
NEVER = float("inf")


class Spread:
    """A fact on its way to all voters. ``done``: where it is known to be."""

    def __init__(self, fact: Fact, done: Iterable[int] = ()) -> None:
        self.fact = fact
        self.done = set(done)


class Due(NamedTuple):
    """A block that waits to be appended, for that phase of that ballot."""

    ballot: Ballot
    phase: int
    block: Block


Pending = Union[Spread, Due]


class Request(NamedTuple):
    """An exchange on its way."""

    began: float
    arguments: list[Any]
    appended: tuple[Pending, ...]
    append_bytes: int
    wrote_slot: bool
    reads_all: bool
    closing: frozenset[str]


class Reply(NamedTuple):
    """What a counted exchange brought: slots with news, nodes that beat without, entries with their writers.

    ``is_whole``: what was to be read was read to its end; ``done``: the blocks that are written and read.
    """

    slots: list[tuple[int, Slot]]
    beating: list[int]
    entries: list[tuple[Entry, str]]
    is_whole: bool
    done: list[Due]


class Link:
    """``is_useful``: whether a fact that waits is still worth writing; ``dead``: the identities known to be;
    ``needed``: which facts a voter must have; ``is_needed``: whether one that waits must wait on."""

    def __init__(
        self, voter: int, identity: str, era: str, configuration: str, electorate: Electorate, limit_s: float,
        is_useful: Callable[[Fact], bool], dead: Container[str] = (), generation: int = 0,
        needed: Callable[[Iterable[Fact]], Iterable[Fact]] = lambda _: (),
        is_needed: Callable[[Fact], bool] = lambda _: True,
    ) -> None:
        self.voter, self.era = voter, era
        self.electorate = electorate                 # under which its operations are to count
        self.next: Electorate | None = None          # under which they may count as well
        self.marker: Marker | None = None            # as last read, whether it counts or not
        self.wants_beat = self.wants_poll = False
        self.wants_all = self.wants_tails = False    # also read all journals, or what others have appended
        self.is_near = False                         # what others have appended is read with each exchange
        self.counted_at: float | None = None         # when the latest counted exchange was issued
        self.is_busy = False
        self.asked_at = -NEVER                       # when the latest exchange was issued
        self.is_doubtful = False                     # the latest exchange failed
        self.is_skipped = False                      # not asked with a beat since the latest counted exchange
        self.is_eager = False                        # the same, and at once
        self._identity, self._node = identity, identities.node_of(identity)
        self._configuration, self._limit_s = configuration, limit_s
        self._is_useful, self._dead, self._needed, self._is_needed = is_useful, dead, needed, is_needed
        self._waiting: deque[Pending] = deque()
        self._full_at = WAITING_MAX
        self.generation = generation                 # of the journal that is written here
        self._offset = self.counter = 0           # bytes of that journal; writes of the slot
        self._is_over = False                        # the next generation begins with what is appended next
        self._unread: list[Due] = []                 # written, but not all was read since
        self._facts: set[Fact] = set()               # that this generation is known to have
        self._known: dict[str, int] = {}             # journal -> bytes of it that were taken in
        self._tails: dict[str, None] = {}
        self._told: dict[int, Slot] = {}             # node -> its slot as last noticed, in this life of the voter
        self._is_told = False                        # the slots were read in this life of the voter
        self._closed: set[str] = set()               # journals that are not read again (7)
        self._marker_bytes = b""                     # as last read
        self.life = ""                               # of the voter, when it last counted
        self._chunks: dict[int, bytes] = {}
        self._torn: set[int] = set()                 # nodes whose slot, as it is, could not be decoded
        self._since: dict[int, float] = {}           # node -> first counted read that saw its slot as it is
        self._read_at: dict[int, float] = {}         # slot file -> start of the latest counted read

    # ---- to be written ----------------------------------------------------------------------------------------

    def put(self, pending: Pending) -> None:
        """Append it with the next exchange; of what waits as long as the voter is down, only what is needed."""
        if len(self._waiting) >= self._full_at:
            self._waiting = deque(one for one in self._waiting if self._is_wanted(one, self._is_needed))
            self._full_at = max(WAITING_MAX, 2 * len(self._waiting))
        self._waiting.append(pending)

    @staticmethod
    def _is_wanted(pending: Pending, is_useful: Callable[[Fact], bool]) -> bool:
        """Whether it is still of use."""
        return pending.phase == pending.ballot.phase if isinstance(pending, Due) else is_useful(pending.fact)

    def repeats(self, fact: Fact) -> bool:
        """Whether the present generation is known to have the fact; if not, it is put on its way there."""
        if fact in self._facts:
            return True
        if not self.is_busy and not any(isinstance(one, Spread) and one.fact == fact for one in self._waiting):
            self.put(Spread(fact))
        return False

    def look_closely(self, identity: str) -> None:
        """Read soon, and what that identity has appended in any case: its slot says so a moment later only."""
        self.wants_poll = True
        told = self._told.get(identities.node_of(identity))
        if told is not None and told.identity == identity:
            self._tails[journal.name(self.era, identity, told.generation)] = None

    def is_likely(self, now: float, limit_s: float) -> bool:
        """Whether it should answer: the latest exchange did not fail, and none is on its way for so long."""
        return not self.is_doubtful and not (self.is_busy and now >= self.asked_at + limit_s)

    def wants(self) -> bool:
        """Whether an exchange should be issued now."""
        if self.is_busy:
            return False
        if self.wants_beat:
            return True
        news = self.is_eager and self._tails
        return not self.is_doubtful and bool(self._waiting or news or self.wants_poll or self.wants_all)

    def request(self, now: float, revision: int, chunks: Iterable[int]) -> Request:
        """The next exchange; ``revision`` is of this node's own record."""
        appended, data = self._take() if self._waiting and not self.is_doubtful else ((), b"")
        writes = self.wants_beat or bool(appended)
        if appended and (self._is_over or self._is_long()):
            self._next_generation()
        append = slots = None
        if appended:
            append = [journal.name(self.era, self._identity, self.generation), self._offset, data]
        if writes:
            self.counter += 1
            size, life = self._offset + len(data), slot.life_of(self.life)
            content = slot.encode(Slot(self._identity, self.counter, size, self.generation, revision, life))
            slots = [slot.file_name(self.era, slot.file_of(self._node)), slot.offset_of(self._node), content]
        reads_all = self.wants_all or bool(appended and any(isinstance(pending, Due) for pending in appended))
        wants_tails = self.is_near or self.is_eager or self.wants_tails
        tails = list(self._tails)[:TAILS_MAX] if wants_tails else []
        names = [slot.file_name(self.era, index) for index in chunks]
        sizes = [[name, self._known.get(name, 0)] for name in tails]
        arguments = [append, slots, names, self._all_known() if reads_all else None, self.era, sizes]
        read = list(self._known) if reads_all else tails
        closing = frozenset([name for name in read if journal.writer_of(name, self.era) in self._dead])
        self.is_busy, self.asked_at, self.wants_beat, self.wants_poll = True, now, False, False
        self.wants_all = self.wants_tails = False
        return Request(now, arguments, appended, len(data), writes, reads_all, closing)

    def _is_long(self) -> bool:
        """Whether another generation would be shorter: what is needed is repeated there."""
        if self._offset <= JOURNAL_BYTES_MAX:
            return False
        return self._offset > 2 * sum(len(journal.encode(fact)) for fact in self._needed(self._facts))

    def _next_generation(self) -> None:
        self.generation, self._offset, self._is_over = self.generation + 1, 0, False
        self._facts.clear()

    def _all_known(self) -> list[tuple[str, int]]:
        return [(name, journal.SKIPPED if name in self._closed else size) for name, size in sorted(self._known.items())]

    def _take(self) -> tuple[tuple[Pending, ...], bytes]:
        """What waits, as far as it is still of use and fits: facts, then blocks."""
        taken: list[Pending] = []
        lines: list[bytes] = []
        size = 0
        waiting, self._waiting = self._waiting, deque()
        for pending in sorted(waiting, key=lambda one: isinstance(one, Due)):
            if not self._is_wanted(pending, self._is_useful):
                continue
            line = journal.encode(pending.fact if isinstance(pending, Spread) else pending.block)
            if size + len(line) > APPEND_BYTES_MAX:
                self._waiting.append(pending)
                continue
            taken.append(pending)
            lines.append(line)
            size += len(line)
        return tuple(taken), b"".join(lines)

    # ---- what came back ---------------------------------------------------------------------------------------

    def answered(self, now: float, request: Request, reply: list[Any] | None) -> Reply | None:
        """Take an exchange's end in; None if it does not count."""
        self.is_busy = False
        counts = reply is not None and self._counts(now, request, reply[0])
        forgot = counts and self._forgot()
        decoded = [journal.decode(data or b"") for _, data in reply[3]] if counts and reply is not None else []
        is_bad = counts and reply is not None and self._is_bad(request, reply, decoded)
        if not counts or forgot or is_bad or reply is None:
            if forgot:
                self._next_generation()
            if request.appended or forgot:
                self._is_over, self.wants_all = True, True
                self._waiting.extend(one for one in request.appended if isinstance(one, Spread))
            self.wants_all = self.wants_all or forgot or is_bad or request.reads_all
            self.is_doubtful = True
            return None
        self.is_doubtful = self.is_skipped = False
        if request.appended:
            self._offset += request.append_bytes
            self._facts.update(one.fact for one in request.appended if isinstance(one, Spread))
        self.counted_at = request.began
        _, names, chunks, journals, is_whole = reply
        entries = [
            one for (name, data), found in zip(journals, decoded) for one in self._entries(name, data is None, *found)
        ]
        found = Reply([], [], entries, is_whole, self._read_since(request, is_whole))
        if is_whole and (journals or request.reads_all):
            read = {name for name, data in journals if data is not None}
            if request.reads_all:
                read.update(self._known)
                self._tails = {}                     # what is not there now was removed
            self._closed |= request.closing & read
        if self._unread or (entries and not is_whole):     # what cannot be decoded would be read again and again
            self.wants_all = True
        for name, data in zip(names, chunks):
            self._slots(now, request.began, name, data, found)
        self._is_told = True
        return found

    def _read_since(self, request: Request, is_whole: bool) -> list[Due]:
        """Rules 5 and 8: the blocks that are written and read with this exchange."""
        if not (self._unread or request.appended):
            return []
        written = [*self._unread, *(one for one in request.appended if isinstance(one, Due))]
        is_read = is_whole and request.reads_all and self._is_told
        self._unread = [] if is_read else [due for due in written if due.phase == due.ballot.phase]
        return written if is_read else []

    def lost(self, request: Request) -> list[Due]:
        """The blocks that have to be written again, as that exchange failed."""
        lost = [*self._unread, *(one for one in request.appended if isinstance(one, Due))]
        self._unread = []
        return lost

    def _counts(self, now: float, request: Request, data: bytes) -> bool:
        if data != self._marker_bytes:
            self._marker_bytes = data
            self.marker = marker.decode(data)
            self._chunks, self._since, self._read_at = {}, {}, {}
        seen = self.marker
        return (
            seen is not None and seen.state == marker.FULL and seen.era == self.era
            and seen.configuration == self._configuration and self.counts_under(seen) is not None
            and now - request.began <= self._limit_s
        )

    def counts_under(self, seen: Marker) -> Electorate | None:
        """Under which of the two the voter counts what is done now."""
        if seen.electorate.counts(self.electorate):
            return self.electorate
        return self.next if self.next is not None and seen.electorate.counts(self.next) else None

    def _forgot(self) -> bool:
        """Whether the voter, which counts now, has lost its disk since it last did."""
        assert self.marker is not None
        before, self.life = self.life, self.marker.life
        if before in ("", self.life):
            return False
        self._known, self._tails, self._closed = {}, {}, set()   # its copies may have the names of other ones
        self._told, self._is_told = {}, False
        return True

    def _is_bad(self, request: Request, reply: list[Any], decoded: list[tuple[list[Entry], int]]) -> bool:
        """Rule 8, of an exchange that counts otherwise; ``decoded``: of each journal."""
        _, names, chunks, journals, is_whole = reply
        if not journals and not request.reads_all:
            return False                             # it has met none
        sizes = dict(self._known)
        for (name, data), (_, used) in zip(journals, decoded):
            size = 0 if data is None else journal.whole(data, used)
            if size is None:
                return True
            sizes[name] = 0 if data is None else sizes.get(name, 0) + size
        return request.reads_all and is_whole and any(
            self._is_short(told, sizes) and self._still_tells(told, dict(zip(names, chunks)))
            for told in self._told.values()
        )

    def _is_short(self, told: Slot, sizes: dict[str, int]) -> bool:
        """Whether less is there than the slot said; what is not read again (7) is not asked for."""
        name = journal.name(self.era, told.identity, told.generation)
        is_of_now = told.life == slot.life_of(self.life) and name not in self._closed
        return is_of_now and sizes.get(name, 0) < told.journal_bytes

    def _still_tells(self, told: Slot, chunks: dict[str, bytes]) -> bool:
        """Whether that journal was told of all the time: the voter removes one only when no slot does any more."""
        node = identities.node_of(told.identity)
        data = chunks.get(slot.file_name(self.era, slot.file_of(node)), b"")
        now = slot.decode(data[slot.offset_of(node) :][: slot.BYTES])
        if now is None:
            return False
        return (now.identity, now.generation, now.life) == (told.identity, told.generation, told.life)

    def _slots(self, now: float, began: float, name: str, data: bytes, into: Reply) -> None:
        index = int(name.rpartition(".")[2])
        before = self._chunks.get(index)
        self._read_at[index] = began
        if data == before:
            return
        self._chunks[index] = data
        places = slot.PER_FILE if before is None else -(-max(len(data), len(before)) // slot.BYTES)
        for place in range(places):
            at = place * slot.BYTES
            content = data[at : at + slot.BYTES]
            if before is not None and content == before[at : at + slot.BYTES]:
                continue
            node = index * slot.PER_FILE + place
            self._since[node] = now
            if before is not None and node not in self._torn and slot.only_beats(before, data, at):
                into.beating.append(node)
                continue
            found = slot.decode(content)
            if found is None:
                self._torn.add(node)
            else:
                self._torn.discard(node)
                into.slots.append((node, found))
                self._notice(found)

    def _notice(self, found: Slot) -> None:
        """A slot says how much its writer's journal holds here."""
        name = journal.name(self.era, found.identity, found.generation)
        self._told[identities.node_of(found.identity)] = found
        if found.journal_bytes > self._known.get(name, 0) and found.identity != self._identity:
            self._tails[name] = None

    def _entries(self, name: str, is_removed: bool, entries: list[Entry], used: int) -> list[tuple[Entry, str]]:
        self._tails.pop(name, None)
        if is_removed:
            self._known.pop(name, None)
            self._closed.discard(name)
            return []
        writer = journal.writer_of(name, self.era)
        assert writer is not None, f"{name} was never asked for"
        self._known[name] = self._known.get(name, 0) + used
        return [(entry, writer) for entry in entries]

    # ---- windows ----------------------------------------------------------------------------------------------

    def since(self, node: int) -> float:
        """When the node's slot was first seen here as it is; for ever in the future if it was not."""
        return self._since.get(node, NEVER)

    def window(self, node: int) -> tuple[float, float] | None:
        """(C, S) of the node's slot on this voter; None while there is none."""
        since, read_at = self._since.get(node), self._read_at.get(slot.file_of(node))
        return None if since is None or read_at is None or read_at < since else (since, read_at)


def soonest(links: Iterable[Link], me: int, count: int) -> list[Link]:
    """So many of them that are likely to answer before the others: the own voter, and those that count and are idle."""
    return sorted(links, key=lambda link: (link.is_busy, link.voter != me, -(link.counted_at or -NEVER)))[:count]


def has_expired(windows: Iterable[tuple[float, float] | None], quorum: int, expiry_s: float, seen: float) -> bool:
    """R13: on some Q voters a slot was bit-identical over one common time of ``expiry_s``, begun after ``seen``."""
    known = [window for window in windows if window is not None]
    return any(
        start >= seen and sum(1 for since, read in known if since <= start and read >= start + expiry_s) >= quorum
        for start in {max(since, seen) for since, _ in known}
    )
