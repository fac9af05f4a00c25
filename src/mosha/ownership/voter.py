"""The voter of this node: its marker, and how it comes to count (again).

Rules (R16 to R19, R27):

1. A voter without a whole marker has forgotten: it is *recovering*. It accepts what is written and counts for nobody.
   It waits W from when that is on the disk, and only then looks at the others' markers; so does one whose
   configuration has changed, with W of the longer lease, as the old one may still hang on what it counted (R20). One
   that has no marker does not know the old one, and waits W of the longest that any marker shows meanwhile.
2. (a) Q others are full in one era: it copies everything that they hold, and is full. (b) A founding invites its life,
   and the voters have not changed since: it is full, and empty. (c) Fewer than Q are full anywhere, every other voter
   is there, and this is the lowest that
   recovers: it founds an era, and invites all lives. Else it looks again. Voters that are only the lowest numbers of a
   map found nothing unless an operator says so, since maps may differ, or be half made.
3. A full voter that sees another full in a later era recovers too: it was left out. But only if that era has the same
   voters, or so many of its own are there that no majority is left. So does one without a vote.
4. After a boot a full voter *rejoins*: it counts again once Q - 1 others that have forgotten nothing were asked for its
   node's slot and none shows a later life than its own disk remembers, or more writes of one life than that disk has
   counted ahead (the disk was not rolled back, as far as that can tell). All are asked, and who answers within D is
   heard. One that has forgotten, or has no vote, is no witness, but when all others are asked there is none to wait
   for. It counts before the first write of a life.
5. An operator may say that some voters are gone for good: then a founding does not wait for these, if Q are there; and
   that this disk came from a backup: then its voter has forgotten. Of two voters Q are both; but an operator may
   confirm that the other one is off, and stays so: then this one forgets, and founds an era as its only voter. That is
   over when the other one is heard of, or voters that are neither. One that goes on alone looks now and then whether
   the other one has founded an era by such a word: then it was not off, or is on again, and takes that era for its own.
   After a boot it looks first, and counts when it has, or 2 D later: a look that is lost takes D, and one follows it.
6. ``founded``, a file that an installer left on a disk where no vote was ever given, makes it full at once in the era
   that the file names, with the voters that it names: no node's own idea of them counts. It is used once; one that
   names no era is refused, and kept for who wrote it.
7. A node without a vote has a marker too, which says so: it remembers the electorate. How one electorate follows
   another is in :mod:`mosha.ownership.electorate`.
8. A marker that is not as its agent wrote it shows that the disk is not to be trusted: the voter forgets, and lives
   another life. So its agent looks at each beat, and before it writes another one: else a disk that was emptied since
   the last look would count on with nothing on it. A marker that cannot be read counts for nobody meanwhile. So does
   a journal that is bad, or is not there while a slot tells of it, whoever wrote it: some are looked at in
   turn, with each beat, at rest with every other one. It is removed when the voter is full again, in another life, in
   which nothing is told of it.
9. Where Q others are full in one earlier era its founder's clock went back, and nobody who knew better was there: no
   majority is left for the later one, so it gives way.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Callable, NamedTuple

from mosha.ownership import copies, journal, marker, slot
from mosha.ownership import electorate as electorates
from mosha.ownership import identity as identities
from mosha.ownership.copies import Copy
from mosha.ownership.electorate import Electorate
from mosha.ownership.journal import NOBODY, Block, Commit, Entry
from mosha.ownership.marker import CLOSED, FULL, NONE, RECOVERING, REJOINING, Marker
from mosha.ownership.slot import Slot
from mosha.ownership.told import told
from mosha.platform.world import Store
from mosha.timing import ELECT_LIMIT_S, Timing

FOUNDED = "founded"
FOUNDED_REFUSED = "founded.refused"
ORDER = "order"                  # an operator's word: see mosha.voters
ORDER_BYTES_MAX = 4096
FOUNDED_BYTES_MAX = 128
NOT_FIRST = "voter {0} recovers too, and its number is lower: say it on node {0}"
NO_VOTE = "this node has no vote"
ANSWERED = "voter {} has answered: it is not off"
MOVED_ON = "the voters may be {} by now, and those count"
OVERTAKEN = (
    "an operator said on node {0} that this node is off, and it was not, or is on again: its own era ends here, and "
    "that of voter {0} counts. What ran here after that word may have run twice: compare what it wrote"
)
ACCEPTED = "this disk shows that other voters were accepted: they may be in force by now, and those count"
INVITED, COPIED, FOUNDS = "invited", "copied from others", "founded"
NEVER = float("inf")
JOURNAL_BYTES_MAX = 1024 * 1024
LOOKED_AT = 4                    # journals, each time


def _key(one: Electorate) -> tuple[int, int]:
    return one.key


class Wish(NamedTuple):
    """What an operator wants the voters to be; ``name``: of the order, for its answer. ``is_begun``: a ballot may have
    been."""

    voters: frozenset[int]
    name: str
    until: float
    is_begun: bool = False


class Seen(NamedTuple):
    """A marker as it was read by a task issued at ``began``; None if there was none that is whole."""

    marker: Marker | None
    began: float


def installation(era: str, voters: Iterable[int]) -> str:
    """What ``founded`` says of them, as :func:`installed` reads it."""
    return " ".join([era, *map(str, sorted(voters))])


def installed(text: str) -> tuple[str, frozenset[int]]:
    """Era and voters that ``founded`` names; ValueError says what is wrong with it."""
    era, *words = text.split() or [""]
    if not marker.is_era(era):
        raise ValueError(f"{era!r} is no era ({marker.ERA_FORM})")
    try:
        return era, electorates.named(words)
    except ValueError as error:
        raise ValueError(f"after the era: {error}") from None


def rejoin(store: Store, boot: str) -> Marker | None:
    """The marker of this disk, if there is one: after a boot it counts for nobody until the disk was compared (R19).

    For who begins, before anything else: a disk that is older than others know would count until then.
    """
    found = marker.decode(store.read(marker.NAME, marker.BYTES_MAX) or b"")
    if found is None or found.state not in (FULL, CLOSED):
        return found
    is_same_boot = found.boot == boot and bool(boot)
    # one that was closed is open again: the answer of that call is void
    new = found._replace(state=FULL if is_same_boot else REJOINING, boot=boot)
    if new != found:
        store.replace(marker.NAME, marker.encode(new), durable=True)
    return new


class Voter:
    """``guess``: the voters by configuration and map; ``is_named``: by configuration. ``number``: of the life before
    this one, by this disk. ``nonce`` and ``wall`` are asked when one is needed, and ``clock``, that of all times, after
    what was written is on the disk."""

    def __init__(
        self, me: int, guess: frozenset[int], configuration: str, timing: Timing, store: Store, boot: str,
        number: int, clock: Callable[[], float], nonce: Callable[[], str], wall: Callable[[], float],
        is_named: bool = True,
    ) -> None:
        self._me, self.configuration, self._timing = me, configuration, timing
        self._store, self._boot, self._number = store, boot, number
        self._clock, self._nonce, self._wall = clock, nonce, wall
        self._peeked: dict[int, bool] = {}           # other voter -> whether its slot shows nothing later
        self._blank: set[int] = set()                # those that have forgotten it, if they ever knew it
        self._heard_at = NEVER                       # when enough had shown it
        self._copied: dict[int, Copy] = {}           # voter -> its journals
        self._copied_for: tuple[Any, ...] = ()       # era, electorate, state
        self._joint_since: float | None = None       # a majority was seen to be joint
        self._is_ordered = False                     # an operator has said that there shall be an era
        self._gone: frozenset[int] = frozenset()     # voters that do not come back, by an operator's word ...
        self._off: frozenset[int] = frozenset()      # ... and those of them that are off, by the same word, ...
        self._off_since = NEVER                      # ... at the latest since then
        self.inquiry = 0                             # counts up when nodes without a vote are to be asked anew
        self.mine: set[str] = set()                  # the identities that this agent has had
        self.losses = 0                              # how often the disk turned out to be another one, or empty
        self._is_named = is_named
        self.wish: Wish | None = None                # to be carried out by the agent
        self.answer: list[str] = []                  # name and outcome of the last order; an empty outcome: accepted
        self.disputed = ""                           # the era in which two electorates have one number
        self.overtaken = ""                          # rule 5: what people are told of that
        self._known_era = 0                          # the latest that nodes without a vote know ...
        self._known_voters = electorates.first(())   # ... and the latest voters
        self._counted = slot.decode(store.read(slot.COUNTED, slot.BYTES) or b"")
        self._shown: Mapping[int, Seen] = {}         # what the last step was told of the other voters ...
        self._shown_before: dict[int, float] = {}    # ... and when earlier identities heard of them last
        self._log: list[str] = []
        self._trouble = ""                           # of the disk, as it was said
        self._unseen: list[str] = []                 # journals that are yet to be looked at: rule 8
        self._guess = electorates.first(guess)
        self.marker = self._begin(self._guess)
        self._ready_at = clock() + self._wait_s()    # when W is over

    def _wait_s(self) -> float:
        """W, of the longest lease that may still hang on what this voter forgets (R20)."""
        return self._timing.recovery_of(max(self._timing.lease_s, self.marker.lease_s))

    def _wait_for(self, lease_s: float) -> None:
        """Somebody knows of that lease: one whose disk was lost with it may have counted it, and waits as long."""
        if self.marker.state == RECOVERING and lease_s > max(self._timing.lease_s, self.marker.lease_s):
            waited_s = self._wait_s()
            if self._mark(self.marker._replace(lease_s=lease_s)):
                self._ready_at += self._wait_s() - waited_s
                self._log.append(f"leases may have been {lease_s:g} s: this voter waits for these as well")

    def _begin(self, guess: Electorate) -> Marker:
        found = rejoin(self._store, self._boot)
        founded = self._founded()
        lease_s = self._timing.lease_s
        if found is None and founded:
            era, chosen = founded
            state = FULL if self._me in chosen.voters else NONE
            found = self._write(Marker(state, era, self._nonce(), self.configuration, self._boot, (), lease_s, chosen))
        elif found is None:
            found = self._write(self._anew(guess))
        elif found.configuration != self.configuration or (found.electorate.era == 0 and found.electorate != guess):
            known = found.electorate if found.electorate.era else guess
            longest_s = max(lease_s, found.lease_s)
            found = self._write(self._anew(known)._replace(era=found.era, lease_s=longest_s, settled=found.settled))
        if founded:
            self._store.remove(FOUNDED)
        return found

    def _founded(self) -> tuple[str, Electorate] | None:
        """Era and voters of the file ``founded``. What names none is kept under another name."""
        content = self._store.read(FOUNDED, FOUNDED_BYTES_MAX)
        if content is None:
            return None
        try:
            if len(content) > FOUNDED_BYTES_MAX:
                raise ValueError(f"it has more than {FOUNDED_BYTES_MAX} bytes")
            era, voters = installed(content.decode("ascii", "replace"))
            return era, electorates.first(voters, marker.number_of(era))
        except ValueError as error:
            self._store.rename(FOUNDED, FOUNDED_REFUSED)
            self._log.append(
                f"{FOUNDED} is refused, and is now {FOUNDED_REFUSED}: {content[:64]!r}: {error}; "
                "`mosha voters install` writes one"
            )
        return None

    def _anew(self, chosen: Electorate) -> Marker:
        """That of one that remembers nothing."""
        state = RECOVERING if self._me in chosen.voters else NONE
        if state == RECOVERING:
            wait_s = self._timing.recovery_s
            self._log.append(f"no marker of this configuration: this voter counts again in {wait_s:.1f} s or more")
            if not self._is_named and not chosen.era:
                self._log.append("nobody has named the voters, so it founds no era by itself: see `mosha voters found`")
        return Marker(
            state, "", self._nonce(), self.configuration, self._boot, (), self._timing.lease_s, chosen
        )

    # ---- what it wants to know --------------------------------------------------------------------------------

    def wants_peeks(self) -> list[int]:
        """The voters whose slot of this node it has yet to see, in :attr:`era`."""
        return [] if self.marker.state != REJOINING else [v for v in self._others() if v not in self._peeked]

    def wants_copies(self, now: float, seen: Mapping[int, Seen]) -> tuple[str, list[int]]:
        """The era, and the voters whose journals it has yet to copy."""
        is_recovering = self.marker.state == RECOVERING
        era, sources = self._majority(now, seen) if is_recovering else (self.era, self._closed(seen))
        purpose = era, self.electorate, self.marker.state
        if purpose != self._copied_for:
            self._copied, self._copied_for = {}, purpose
        return era, [voter for voter in sources if not self.copy_of(voter).is_whole]

    def copy_of(self, voter: int) -> Copy:
        """What was copied of that voter, for what copies are wanted now."""
        return self._copied.setdefault(voter, Copy())

    def _whole_copies(self) -> list[Copy]:
        return [copy for _, copy in sorted(self._copied.items()) if copy.is_whole]

    @property
    def era(self) -> str:
        return self.marker.era

    @property
    def electorate(self) -> Electorate:
        return self.marker.electorate

    @property
    def is_at_rest(self) -> bool:
        """Whether it has nothing to do as long as the other markers stay as they are."""
        state, chosen = self.marker.state, self.electorate
        return state == NONE or (state == FULL and not chosen.before and self.marker.settled)

    def take_log(self) -> list[str]:
        """What is to be logged, once."""
        lines, self._log = self._log, []
        return lines

    # ---- what it learns ---------------------------------------------------------------------------------------

    def peeked(self, voter: int, content: bytes, shown: bytes) -> bool:
        """Another voter's slot of this node, and its marker; whether that is any news."""
        theirs, found = marker.decode(shown), slot.decode(content)
        if theirs is None or theirs.state in (RECOVERING, NONE) or theirs.era != self.era:
            is_news = voter not in self._blank
            self._blank.add(voter)
            return is_news
        self._peeked[voter] = found is None or found.identity in self.mine or not self._is_unknown(found)
        return True

    def _is_unknown(self, found: Slot) -> bool:
        """Whether this disk has forgotten that it wrote this."""
        mine, number = self._counted, identities.number_of(found.identity)
        if mine is not None and number == identities.number_of(mine.identity):
            return found.identity != mine.identity or found.counter > mine.counter
        return number >= self._number                # of the latest one this disk should have counted something

    def witnessed(self, said: Marker | None) -> None:
        """The marker of a node without a vote: an era that is founded is a later one, and it may know longer leases."""
        if said is not None:
            self._wait_for(said.lease_s)
            self._known_era = max(self._known_era, marker.number_of(said.era), said.electorate.era)
            self._known_voters = max(self._known_voters, said.electorate, key=_key)

    def step(self, now: float, seen: Mapping[int, Seen]) -> None:
        """Go on as far as is known, and as the disk takes: what was not written is not so (rule 8)."""
        if seen is not self._shown:                  # that of another identity, which begins with nothing
            self._shown_before.update((voter, one.began) for voter, one in self._shown.items())
            self._shown = seen
        self._try(lambda: self._step(now, seen))

    def _step(self, now: float, seen: Mapping[int, Seen]) -> None:
        problem = self._contradiction(self._off, self._off_since) if self._off else ""
        if problem:
            self._log.append(f"this voter founds no era alone: {problem}")
            self._withdraw()
        others = [one.marker for one in seen.values() if one.marker is not None]
        known = [one.electorate for one in others if self._teaches(one, seen)]
        departed, era = self.departed, self.electorate.era
        self.learn(max(known, key=_key, default=self.electorate))
        if departed and self.electorate.era > era:
            self.overtaken = OVERTAKEN.format(departed[0])
            self._log.append(self.overtaken)
        self._wait_for(max((one.lease_s for one in others), default=0.0))
        self._yield(seen)
        if self.marker.state == RECOVERING:
            self._recover(now, seen)
        elif self.marker.state != NONE:
            self._check(now, seen)
        if self.marker.state == FULL and not self.is_at_rest:
            self._follow(now, seen)

    def _yield(self, seen: Mapping[int, Seen]) -> None:
        """Rule 9: take over an earlier era in which a majority of the others is."""
        shown = [seen[voter].marker for voter in self._others() if voter in seen]
        full = Counter(
            one.electorate._replace(before=()) for one in shown
            if one is not None and one.state == FULL and one.configuration == self.configuration
        )
        for chosen, count in full.items():
            if chosen.era < self.electorate.era and count >= self.electorate.quorum:
                votes = self._me in chosen.voters
                if votes:
                    self._forget("most voters are in an earlier era", self._nonce())
                self._mark(self.marker._replace(
                    state=RECOVERING if votes else NONE, electorate=chosen, settled=False, met="", absent=(),
                ))

    def _teaches(self, other: Marker, seen: Mapping[int, Seen]) -> bool:
        """Whether to believe its electorate. What a voter that counts has to learn of other eras is for _check()."""
        if other.electorate.era == self.electorate.era or self._overtakes(other):
            return True
        return self.marker.state in (RECOVERING, NONE) and self._is_ours(other.electorate, seen)

    def _overtakes(self, other: Marker) -> bool:
        """Rule 5: whether the other one of two took this one for off, too."""
        is_full = other.state == FULL and other.configuration == self.configuration
        return bool(self.departed) and is_full and self._me in other.absent

    def _is_ours(self, other: Electorate, seen: Mapping[int, Seen]) -> bool:
        """Rule 3: whether this electorate of another era follows the own one, if that is more than a guess."""
        mine = self.electorate
        if not mine.era or other.voters == mine.voters:
            return True
        shown = [seen[voter].marker for voter in self._others() if voter in seen]
        moved = sum(1 for one in shown if one is not None and one.electorate.era == other.era)
        return moved > len(mine.voters) - mine.quorum

    def learn(self, latest: Electorate) -> None:
        """Somebody has this electorate, or it was decided."""
        mine, counts = self.electorate, self.marker.state in (FULL, REJOINING)
        if latest.key <= mine.key:
            return
        self._joint_since = None
        self._peeked, self._blank, self._heard_at = {}, set(), NEVER
        absent = tuple(node for node in self.marker.absent if node not in latest.voters)
        known = self.marker._replace(electorate=latest, settled=False, met="", absent=absent, invited=())
        if counts and latest.key == (mine.era, mine.number + 1):
            self._log.append(f"the voters are to be {list(latest.voters)}")
            self._mark(known._replace(electorate=latest._replace(before=mine.voters)))
            return
        if self._me not in latest.voters:
            self._mark(known._replace(state=NONE, electorate=latest._replace(before=())))
        elif counts:
            self._forget("the voters have changed without this one", known.life, known)
        elif self.marker.state == NONE:
            self._forget("this node has a vote now", self._nonce(), known)
        else:
            self._mark(known)

    def next_due(self, now: float) -> float:
        """When :meth:`step` has something to do without news."""
        due = NEVER
        if self.marker.state == RECOVERING:
            due = self._ready_at
        elif self.marker.state == REJOINING:
            due = self._heard_at + self._timing.op_limit_s
        elif self._joint_since is not None and self.electorate.before:
            due = self._joint_since + self._wait_s()
        return due if now < due else NEVER

    def look(self) -> None:
        """Rule 8: is the marker on the disk still what was written? (R27)"""
        try:
            is_as_written = self._is_as_written()
        except OSError:
            return                                   # who reads it for an exchange cannot either: it does not count
        if not is_as_written:
            self._try(self._lose)

    def look_at_journals(self) -> None:
        """Rule 8: is none of the next few bad?"""
        if self.marker.state in (RECOVERING, NONE):
            return
        try:
            bad = self._bad_journal()
        except OSError:
            return                                   # as above
        if bad:
            self._try(lambda: self._lose(f"{bad} on this disk is bad"))

    def look_at_counted(self) -> None:
        """The disk did not take it: what lies in its place and is no file is put aside."""
        self._try(lambda: self._store.read(slot.COUNTED, slot.BYTES))

    def _try(self, action: Callable[[], object]) -> None:
        """What the disk does not bear is tried again with the next look or step; it is said once."""
        try:
            action()
        except OSError as error:
            trouble = f"this voter waits for its disk: {error.filename or ''}: {error.strerror}"
            if trouble != self._trouble:
                self._log.append(trouble)
            self._trouble = trouble

    def _is_as_written(self) -> bool:
        """Whether this is still the disk on which the marker was written."""
        content = self._store.read(marker.NAME, marker.BYTES_MAX)
        return marker.decode(content or b"") == self.marker

    def _bad_journal(self) -> str:
        """One of the next few, or nothing."""
        if not self._unseen:
            self._unseen = sorted({*journal.of_era(self._store.list(), self.era), *told(self._store, self.era)})
        few, self._unseen = self._unseen[:LOOKED_AT], self._unseen[LOOKED_AT:]
        slots: dict[int, bytes] = {}
        return next((name for name in few if self._is_bad(self.era, name, slots)), "")

    def _is_bad(self, era: str, name: str, slots: dict[int, bytes]) -> bool:
        """Whether it is a journal of that era, and bad; what its writer's slot promises is read before it, if ``slots``
        has not that file from before."""
        parts = journal.parts_of(name, era)
        if parts is None:
            return False
        node = identities.node_of(parts.writer)
        file = slot.file_of(node)
        if file not in slots:
            slots[file] = self._store.read(slot.file_name(era, file), slot.FILE_BYTES) or b""
        content = self._store.read(name, JOURNAL_BYTES_MAX) or b""
        found = slot.decode(slots[file][slot.offset_of(node) :][: slot.BYTES])
        promised = 0
        is_told = found is not None and name == journal.name(era, found.identity, found.generation)
        if found is not None and is_told and found.life == slot.life_of(self.marker.life):
            promised = min(found.journal_bytes, JOURNAL_BYTES_MAX - journal.ENTRY_BYTES_MAX)     # of what is read here
        return journal.is_bad(content, 0, promised)

    def _lose(self, why: str = "the marker on this disk is not what was written") -> None:
        """Nothing that this voter has counted is known to be on the disk that it has now. Who has no vote counts
        nothing, and remembers again what it knows of the others."""
        if self.marker.state == NONE:
            self._write(self.marker)
            self.losses += 1
            return
        self._write(marker.forgotten(self.marker, self._nonce()))
        self.losses += 1
        self._wait_anew(why)

    def obey(self, now: float) -> Mapping[str, Any] | None:
        """Carry an operator's order out, if there is one that was not withdrawn (rule 5). What comes back is none for
        voters."""
        try:
            content = self._store.read(ORDER, ORDER_BYTES_MAX)
            if content is None or not self._store.remove(ORDER, durable=True):
                return None
        except OSError:
            return None                              # not a file: whoever gave it gets no answer
        try:
            order = json.loads(content)
            name = str(order["name"])
            if order["do"] == "forget":
                self._reply(name, "forget", self._let_forget())
            elif order["do"] == "found":
                gone = frozenset(map(int, order["without"]))
                are_off = order.get("are_off") is True
                self._reply(name, "found an era", self._set_off(now, gone) if are_off else self._set_gone(gone))
            elif order["do"] == "elect":
                self.wish = Wish(frozenset(map(int, order["voters"])), name, now + ELECT_LIMIT_S)
            else:
                return dict(order)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            self._log.append(f"not an order: {content[:80]!r}")
        return None

    def _reply(self, name: str, what: str, problem: str) -> None:
        self.answer = [name, problem]
        if problem:
            self._log.append(f"refused to {what}: {problem}")

    def _let_forget(self) -> str:
        """Why not, or nothing."""
        if self.marker.state == NONE:
            return NO_VOTE
        self._forget("an operator said that this disk was restored", self._nonce())
        return "" if self.marker.state == RECOVERING else "this disk does not take that"

    def _set_gone(self, gone: frozenset[int]) -> str:
        """Why not, or nothing."""
        chosen = self.electorate
        voters = set(chosen.voters)
        if self._me not in voters:
            return NO_VOTE
        if not gone <= voters:
            return f"not voters: {sorted(gone - voters)}; the voters are {list(chosen.voters)}"
        if self._me in gone:
            return "this node is one of those that are gone"
        if len(voters - gone) < chosen.quorum:
            way = "; if the other one is switched off, and stays so, --confirm-off says it" if len(voters) == 2 else ""
            return f"{chosen.quorum} of {list(chosen.voters)} must be there, this one among them{way}"
        if self.marker.state != RECOVERING:
            return f"only a voter that recovers founds an era, and this one's state is {self.marker.state}"
        shown = {voter: one.marker for voter, one in self._shown.items() if voter not in gone}
        first = self._first({voter: one for voter, one in shown.items() if one is not None})
        if first != self._me:
            return NOT_FIRST.format(first)
        self._gone, self._is_ordered = gone, True
        self._log.append(f"an operator said that voters {sorted(gone)} are gone" if gone else
                         "an operator said that this voter may found an era")
        return ""

    def _set_off(self, now: float, off: frozenset[int]) -> str:
        """Why not, or nothing: the other one of two voters is off (rule 5)."""
        chosen = self.electorate
        if self._me not in chosen.voters:
            return NO_VOTE
        if len(chosen.voters) != 2 or off != frozenset(self._others()):
            return f"that is for the other one of two voters, and the voters are {list(chosen.voters)}"
        problem = self._contradiction(off, now - self._wait_s())
        if not problem and self._may_be_decided():
            problem = ACCEPTED
        if problem:
            return problem
        self._forget(f"an operator confirmed that voters {sorted(off)} are off", self._nonce())
        if self.marker.state != RECOVERING:
            return "this disk does not take that"
        self._gone = self._off = off
        self._is_ordered, self._off_since = True, now
        self.inquiry += 1                            # whom they voted for since they were asked last is what matters
        return ""

    def _shown_at(self, voter: int) -> float:
        """When that voter's files were read last, by whichever identity of this agent."""
        seen = self._shown.get(voter)
        return max(seen.began if seen is not None else -NEVER, self._shown_before.get(voter, -NEVER))

    def _contradiction(self, off: frozenset[int], since: float) -> str:
        """What speaks against that these voters are off since then, and that no others count; or nothing."""
        heard = [voter for voter in sorted(off) if self._shown_at(voter) >= since]
        if heard:
            return ANSWERED.format(heard[0])
        known = self._known_voters
        is_later = known.key > self.electorate.key and not off.union([self._me]).issuperset(known.voters)
        return MOVED_ON.format(list(known.voters)) if is_later else ""

    # ---- two voters -------------------------------------------------------------------------------------------

    def partner(self) -> int | None:
        """The other one, where two vote and this is one of them."""
        chosen = self.electorate
        if len(chosen.voters) != 2 or chosen.before or self._me not in chosen.voters:
            return None
        return self._others()[0]

    @property
    def departed(self) -> tuple[int, ...]:
        """The other one of two voters, while this one goes on alone, or is about to after a boot."""
        is_alone = self.marker.state in (FULL, REJOINING) and self.electorate.voters == (self._me,)
        return self.marker.absent if is_alone else ()

    def is_settled(self) -> bool:
        """Whether nothing is left of the electorate before, and, if two vote with this one, they have met."""
        is_met = self.partner() is None or self.marker.met == self._boot
        return is_met and self.is_at_rest

    def meet(self) -> None:
        """An operation was counted on both of two voters."""
        if self.partner() is not None and self.is_at_rest and self._boot and self.marker.met != self._boot:
            self._mark(self.marker._replace(met=self._boot))

    def close(self) -> bool:
        """Count nothing any more, for a shot; whether this voter is one that may shoot."""
        is_met = self.is_at_rest and self.marker.state == FULL and bool(self._boot) and self.marker.met == self._boot
        if self.partner() is None or not is_met:
            return False
        return self._mark(self.marker._replace(state=CLOSED))

    def reopen(self) -> None:
        """The shot failed."""
        if self.marker.state == CLOSED:
            self._mark(self.marker._replace(state=FULL))

    def go_alone(self) -> bool:
        """The other is off: this is the only voter from here on. False where other voters may have been decided, and
        on a disk that does not have all that was counted."""
        other = self.partner()
        if self.marker.state != CLOSED or other is None or self._may_be_decided():
            return False
        chosen = self.electorate
        alone = Electorate(chosen.era, chosen.number + 1, (self._me,))
        if not self._mark(self.marker._replace(state=FULL, electorate=alone, met="", absent=(other,))):
            return False
        self._log.append(f"voter {other} was shot: this voter goes on alone")
        return True

    def _may_be_decided(self) -> bool:
        """Whether anybody accepted a next electorate: then it may be in force, and all of it is on this disk. What
        cannot be read may have said so."""
        try:
            for name in journal.of_era(self._store.list(), self.era):
                content = self._store.read(name, JOURNAL_BYTES_MAX) or b""
                entries, _ = journal.decode(content)
                if journal.is_bad(content) or any(self._is_accepted(entry) for entry in entries):
                    return True
        except OSError:
            return True
        return False

    def _is_accepted(self, entry: Entry) -> bool:
        if not isinstance(entry, (Block, Commit)) or entry.group != self.electorate.group:
            return False
        return isinstance(entry, Commit) or entry.bal > NOBODY

    # ---- inside -----------------------------------------------------------------------------------------------

    def _others(self) -> list[int]:
        return [voter for voter in self.electorate.voters if voter != self._me]

    def _check(self, now: float, seen: Mapping[int, Seen]) -> None:
        mine = marker.number_of(self.era)
        others = [one.marker for one in seen.values() if one.marker is not None and one.marker.state == FULL]
        later = {other.electorate for other in others
                 if marker.number_of(other.era) > mine and other.configuration == self.configuration}
        if any(self._is_ours(one, seen) for one in later):
            self._forget("another era was founded without this voter", self.marker.life)
        elif self.marker.state == REJOINING:
            self._compare(now)

    def _compare(self, now: float) -> None:
        """Rule 4: whether this is the disk that the others know."""
        is_enough = len(self._peeked) >= self.electorate.quorum - 1
        self._heard_at = min(self._heard_at, now) if is_enough else NEVER
        if not all(self._peeked.values()):
            self._forget("this disk is older than what others know of it", self._nonce())
        elif self._are_all_heard() or now >= self._heard_at + self._timing.looks_s(bool(self.departed)):
            self._mark(self.marker._replace(state=FULL))

    def _are_all_heard(self) -> bool:
        """Rules 4 and 5: those too that may have founded an era while this one was off."""
        return self._blank.issuperset(self.wants_peeks()) and all(self._shown_at(one) > -NEVER for one in self.departed)

    def _forget(self, why: str, life: str, known: Marker | None = None) -> None:
        """``known``: the own marker, with what is written down at the same time: in two steps it would be one between
        them that counts and has not recovered."""
        if self._mark(marker.forgotten(known or self.marker, life)):
            self._wait_anew(why)

    def _wait_anew(self, why: str) -> None:
        """From when that it has forgotten is on the disk: until then it counted, however long writing that took."""
        self._log.append(f"{why}: this voter counts again in {self._wait_s():.1f} s at the earliest")
        self._ready_at = self._clock() + self._wait_s()
        self._copied, self._copied_for = {}, ()
        self._withdraw()                             # what an operator has said of another recovery

    def _withdraw(self) -> None:
        """An operator's word counts no more."""
        self._is_ordered, self._gone, self._off = False, frozenset(), frozenset()

    def _recover(self, now: float, seen: Mapping[int, Seen]) -> None:
        if now < self._ready_at:
            return
        others = {v: seen[v] for v in self._others() if v in seen and seen[v].began >= self._ready_at}
        fresh = {v: one.marker for v, one in others.items() if one.marker is not None}
        inviting = [m for m in fresh.values() if m.state == FULL and self.marker.life in m.invited]
        latest = max(inviting, key=lambda m: marker.number_of(m.era), default=None)
        era, full = self._majority(now, seen)
        if latest is not None and marker.number_of(latest.era) > marker.number_of(self.era):
            self._become_full(latest.era, INVITED, latest.electorate)
        elif full:
            if len(self._whole_copies()) >= self._copies_needed() and self._copied_for[:1] == (era,):
                self._keep_copies()
                chosen = min((fresh[voter].electorate for voter in full), key=lambda one: len(one.before))
                self._become_full(era, COPIED, chosen)
        elif self._may_found() and self._is_complete(fresh):
            first = self._first(fresh)
            if first == self._me:
                self._found([self.marker, *fresh.values()])
            elif self._is_ordered:
                self._log.append(f"no era is founded: {NOT_FIRST.format(first)}")
                self._withdraw()

    def _first(self, others: Mapping[int, Marker]) -> int:
        """The voter that founds (rule 2): the lowest that recovers."""
        voters = self._others()
        return min([self._me, *(v for v, m in others.items() if m.state == RECOVERING and v in voters)])

    def _may_found(self) -> bool:
        """Rule 2: whether anybody has said who votes."""
        return self._is_named or self.electorate.era != 0 or self._is_ordered

    def _is_complete(self, fresh: Mapping[int, Marker]) -> bool:
        """Rule 2: every other voter is there, less those that are gone for good, and none is about to count."""
        return fresh.keys() >= set(self._others()) - self._gone and all(self._agrees(m) for m in fresh.values())

    def _agrees(self, other: Marker) -> bool:
        """Not one that may be full at any moment, nor one that may still serve others."""
        is_mine = other.configuration == self.configuration and other.electorate.is_same(self.electorate)
        return is_mine and other.state in (FULL, RECOVERING)

    def _copies_needed(self) -> int:
        """Of Q others; but what was counted before a new voter is on a majority of the voters before it."""
        before = self.electorate.before
        is_new = bool(before) and self._me not in before
        return len(before) // 2 + 1 if is_new else self.electorate.quorum

    def _majority(self, now: float, seen: Mapping[int, Seen]) -> tuple[str, list[int]]:
        """The era in which enough others are full, and who they are; ("", []) if there is none, or it is too early."""
        if now < self._ready_at:
            return "", []
        full = self._full(seen, self._ready_at)
        for era, count in Counter(one.era for one in full.values()).items():
            if count >= self._copies_needed():
                return era, sorted(voter for voter, one in full.items() if one.era == era)
        return "", []

    def _full(self, seen: Mapping[int, Seen], since: float) -> dict[int, Marker]:
        """The markers, read since then, of the others that are full in this electorate and configuration."""
        fresh = {voter: seen[voter].marker for voter in self._others() if voter in seen and seen[voter].began >= since}
        return {voter: one for voter, one in fresh.items() if one and one.state == FULL and self._agrees(one)}

    def _keep_copies(self) -> None:
        copies.keep(self._store, self._copied_for[0], self._whole_copies(), self._nonce())

    # ---- electorates ------------------------------------------------------------------------------------------

    def _follow(self, now: float, seen: Mapping[int, Seen]) -> None:
        """Close the electorate before, and settle: rules 2 and 3 of electorates."""
        chosen, votes = self.electorate, self._me in self.electorate.voters
        if not chosen.before:
            has_all = self._copied_for[:2] == (self.era, chosen) and len(self._whole_copies()) + 1 >= chosen.quorum
            is_copied = has_all and bool(self._closed(seen))
            if is_copied:
                self._keep_copies()
            if is_copied or chosen.quorum == 1:
                self._mark(self.marker._replace(settled=True))
        elif self._joint_since is None:
            joint = sum(1 for one in self._full(seen, -NEVER).values() if one.era == self.era)
            self._joint_since = now if joint + votes >= chosen.quorum else None
        elif now >= self._joint_since + self._wait_s():
            self._log.append(f"the voters are {list(chosen.voters)}; those before count no more")
            state = FULL if votes else NONE
            self._mark(self.marker._replace(state=state, electorate=chosen._replace(before=())))

    def _closed(self, seen: Mapping[int, Seen]) -> list[int]:
        """The others that have closed the electorate before, once they and this voter are a majority."""
        if self.marker.state != FULL or self.marker.settled or self.electorate.before:
            return []
        found = self._full(seen, -NEVER)
        closed = [voter for voter, one in found.items() if one.era == self.era and not one.electorate.before]
        return closed if len(closed) + 1 >= self.electorate.quorum else []

    def _found(self, all_markers: list[Marker]) -> None:
        highest = max(self._known_era, *(max(marker.number_of(one.era), one.electorate.era) for one in all_markers))
        era = marker.make_era(max(highest + 1, int(self._wall())), self._nonce())
        voters = tuple(voter for voter in self.electorate.voters if voter not in self._off)
        chosen = self.electorate._replace(era=marker.number_of(era), voters=voters, before=())
        self._become_full(era, FOUNDS, chosen, tuple(one.life for one in all_markers))

    def _become_full(
        self, era: str, how: str, chosen: Electorate, invited: tuple[str, ...] = (),
    ) -> None:
        slots: dict[int, bytes] = {}
        for name in self._store.list():
            is_other = (".j." in name or ".slots." in name) and not name.startswith(f"{era}.")
            if is_other or self._is_bad(era, name, slots):
                self._store.remove(name)
        was_pair = how == FOUNDS and len(chosen.voters) == 1 and len(self._guess.voters) == 2
        left_out = set(self._guess.voters) - set(chosen.voters) if was_pair else set()
        absent = tuple(sorted(left_out | self._off))
        is_full = self._mark(self.marker._replace(
            state=FULL, era=era, boot=self._boot, invited=invited, lease_s=self._timing.lease_s, electorate=chosen,
            settled=how != COPIED or not chosen.number, absent=absent,
        ))
        if is_full:
            self._withdraw()
            self._log.append(f"voter of era {era}: {how}")

    def _mark(self, new: Marker) -> bool:
        """Rule 8: write it, unless this is not the disk any more where the last one was written; whether it was."""
        before = self.marker
        self._try(lambda: self._write(new) if before.state == NONE or self._is_as_written() else self._lose())
        return self.marker is new

    def _write(self, new: Marker) -> Marker:
        self._store.replace(marker.NAME, marker.encode(new), durable=True)
        self.marker, self._trouble = new, ""
        return new
