"""The mutants: each takes one rule away, or bends it, by replacing text of the sources in a copy of them.

Rules:

1. A replacement applies exactly once, or the mutant has rotted, and that is a failure.
2. A mutant changes what is shipped (``src/mosha``), never the laboratory that judges.
3. ``plan`` changes what is drawn from each seed (objects are merged, and None takes a name away; all else is replaced)
   to a plan that is directed against the mutant: :mod:`moslab.simulator.directed`. The protocol as it is must pass.
4. ``equivalent`` is the reason why nothing that promises anything can tell the mutant from the original. It is not
   run, and is shown in the table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from moslab.simulator import directed as plans

OWNERSHIP = "mosha/ownership"
CUSTODY = "mosha/clinit/custody.py"
WITH_ELDER = {                       # drawn by seeds in ways of their own: moslab.simulator.draw.mixed
    "nodes": 3, "founded": True, "installed": [{"node": 3, "elder": True}], "arbitrators": [], "heal": [1, 2, 3],
    "conf": {"voters": "1", "stomith": None, "beat": "0.5", "lease": "2.5"}, "safety_s": 80.0,
    "cltab": "g1:g1-fit:test:test:run 0.02\ng1:g1-run:start:respawn:live\n", "hactl": "g1 start\n",
    "faults": [{"at": 1.0, "do": "crash", "whom": [1], "for": 40.0}],
}


@dataclass(frozen=True)
class Change:
    """A replacement in one file below src."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """``rule`` is that of the design which it breaks."""

    name: str
    rule: str
    changes: tuple[Change, ...]
    plan: dict[str, Any] = field(default_factory=dict)
    equivalent: str = ""


def _one(name: str, rule: str, file: str, old: str, new: str, **more: Any) -> Mutant:
    return Mutant(name, rule, (Change(file, old, new),), **more)


MUTANTS: tuple[Mutant, ...] = (
    # ---- lease ----------------------------------------------------------------------------------------------------
    _one(
        "lease-quorum", "R5: the Q-th write makes the lease", f"{OWNERSHIP}/lease.py",
        "if len(self._began) >= self._quorum:\n"
        "            end = sorted(self._began.values(), reverse=True)[self._quorum - 1] + self._lease_s",
        "if self._began:\n"
        "            end = sorted(self._began.values(), reverse=True)[max(0, self._quorum - 2)] + self._lease_s",
        plan=plans.ONE_VOTER_LEFT,
    ),
    _one(
        "lease-from-completion", "R5: a write is worth L from its issue", f"{OWNERSHIP}/disk_paxos.py",
        "self._count(now, link, request.began, is_counted)", "self._count(now, link, now, is_counted)",
        plan=plans.CUT_SLOW_OWNER,
    ),
    _one(
        "read-renews", "R5: only writing the slot renews", f"{OWNERSHIP}/disk_paxos.py",
        "            if request.wrote_slot:\n                self._count",
        "            if True:\n                self._count",
        plan=plans.EAGER_OWNER,
    ),
    _one(
        "late-completion", "R5: nothing counts once the lease has ended", f"{OWNERSHIP}/lease.py",
        "        if self.is_void(now):\n            return\n", "        self._lapsed = False\n",
        plan=plans.LATE_ANSWER,
    ),
    _one(
        "first-lease", "R5: the first lease must come within L of the first write", f"{OWNERSHIP}/lease.py",
        "limit = self._end if self._end is not None else None if self._first is None else self._first + self._lease_s",
        "limit = self._end",
        plan=plans.FIRST_UNSEEN,
    ),
    _one(
        "asked-counts", "R5: a voter that was only asked has counted nothing", f"{OWNERSHIP}/disk_paxos.py",
        "                    self._lease.writes(now)\n",
        "                    self._lease.writes(now)\n                    self._lease.counted(now, voter, now)\n",
        plan=plans.CUT_OWNER,
    ),
    _one(
        "ends-for-nothing", "R6: an identity that keeps its lease goes on (here it ends 5 s after its first write)",
        f"{OWNERSHIP}/disk_paxos.py", "        if self._lease.is_void(now):\n            return LAPSED\n",
        "        if self._lease.is_void(now) or now > (self._lease._first or now) + 5.0:\n            return LAPSED\n",
        plan=plans.ONE_VOTER_LEFT,
    ),
    # ---- identity -------------------------------------------------------------------------------------------------
    _one(
        "same-identity", "R4: a new identity after a lapse", "mosha/agent.py",
        "identity = identities.make(self.me, number, self._world.nonce())",
        'identity = self.__dict__.setdefault("_kept", identities.make(self.me, number, self._world.nonce()))',
        plan=plans.ONE_VOTER_LEFT,
    ),
    _one(
        "new-before-empty", "R4: everything is killed and gone before the next identity", "mosha/agent.py",
        "if void and self.groups.is_empty() and self._world.sweep(None):", "if void:",
        plan=plans.STUCK,
    ),
    _one(
        "owner-by-node", "R8: held only by the whole identity", f"{OWNERSHIP}/records.py",
        "return self.owner == identity and",
        'return self.owner.partition(".")[0] == identity.partition(".")[0] and',
        plan=plans.LATE_ANSWER,
    ),
    _one(
        "dead-unread", "R6: who reads that it is dead ends", f"{OWNERSHIP}/disk_paxos.py",
        "if self.identity in self.records.dead:", "if False:",
        plan=plans.SPARED,
    ),
    _one(
        "later-epoch-unread", "R6: an owner that reads of a later epoch ends", f"{OWNERSHIP}/disk_paxos.py",
        "            if self.records.merge(entry, writer, now) and isinstance(entry, Commit):\n",
        "            about = None if isinstance(entry, Dead) else self.records.register(entry.group)\n"
        "            if about is not None and about.is_owned_by(self.identity) and writer != self.identity:\n"
        "                continue\n"
        "            if self.records.merge(entry, writer, now) and isinstance(entry, Commit):\n",
        plan=plans.CLOCK_STOPPED,
    ),
    # ---- expiry ---------------------------------------------------------------------------------------------------
    _one(
        "expiry-quorum", "R13: a slot stood still on Q voters", f"{OWNERSHIP}/link.py",
        "read >= start + expiry_s) >= quorum", "read >= start + expiry_s) >= quorum - 1",
        plan=plans.ONE_VOTER_LEFT,
    ),
    _one(
        "expiry-one-read", "R13: two reads, F L apart", f"{OWNERSHIP}/link.py",
        "read >= start + expiry_s) >= quorum", "read >= start) >= quorum",
        plan=plans.HALF_SEEN,
    ),
    _one(
        "expiry-unseen", "R13: the window begins after the identity was first seen", f"{OWNERSHIP}/link.py",
        "start >= seen and sum(1 for since, read in known if since <= start and read >= start + expiry_s) >= quorum\n"
        "        for start in {max(since, seen) for since, _ in known}",
        "sum(1 for since, read in known if since <= start and read >= start + expiry_s) >= quorum\n"
        "        for start in {since for since, _ in known}",
        plan=plans.RETURN_UNSEEN,
    ),
    _one(
        "window-from-issue", "R13: the window begins when the first read has ended", f"{OWNERSHIP}/link.py",
        "            self._since[node] = now\n", "            self._since[node] = began\n",
        plan=plans.SLOW_WATCHER,
    ),
    Mutant(
        "no-drift", "R13: F bears the error of both clocks (K, which hides it in short leases, is taken away too)",
        (
            Change("mosha/timing.py", "return F * self.lease_s\n", "return self.lease_s\n"),
            Change("mosha/timing.py", "return min(0.25, self.lease_s / 10)", "return 0.0"),
        ),
        plan=plans.CUT_OWNER,
    ),
    Mutant(
        "one-plus-rho", "R13: F is the ratio of two clocks, and not the error of one (K is taken away too)",
        (
            Change("mosha/timing.py", "return F * self.lease_s\n", "return (1 + RHO) * self.lease_s\n"),
            Change("mosha/timing.py", "return min(0.25, self.lease_s / 10)", "return 0.0"),
        ),
        plan=plans.CUT_OWNER,
    ),
    _one(
        "clocks-unwatched", "R1: an identity whose machine's clocks go apart is void", "mosha/agent.py",
        "        if apart_s:\n", "        if False:\n",
        plan=plans.SLEWED,
    ),
    # ---- register -------------------------------------------------------------------------------------------------
    _one(
        "ballot-quorum", "R12: each phase on Q voters", f"{OWNERSHIP}/ballot.py",
        "if len(self.done) < quorum:", "if len(self.done) < max(1, quorum - 1):",
        plan=plans.DUELS,
    ),
    _one(
        "ballot-not-unique", "R12: ballot numbers are unique", f"{OWNERSHIP}/ballot.py",
        "register.highest_promise() > self.number", "register.highest_promise()[0] > self.number[0]",
        plan=plans.DUELS,
    ),
    _one(
        "heir-by-anyone", "R12: only whom the owner named begins with phase 2", f"{OWNERSHIP}/contests.py",
        "is_heir = not contest.tries and register.is_left_to(self._identity)",
        "is_heir = not contest.tries and not register.undecided",
        plan=plans.DUELS,
    ),
    _one(
        "phase-2-unread", "R12: what phase 2 reads may end the ballot", f"{OWNERSHIP}/ballot.py",
        "if self.is_beaten(register) or now >= self.ends:",
        "if (self.phase == 1 and self.is_beaten(register)) or now >= self.ends:",
        plan=plans.DUELS,
    ),
    _one(
        "value-ignored", "R12: the value of the highest accepted ballot is kept", f"{OWNERSHIP}/ballot.py",
        "self.value = register.accepted() or self.proposal", "self.value = self.number[1]",
        plan=plans.DUELS,
    ),
    _one(
        "own-accepted-forgotten", "R12: phase 1 keeps what this processor accepted", f"{OWNERSHIP}/ballot.py",
        "mine = register.blocks.get(self.number[1]) if register.epoch == self.epoch else None",
        "mine = None if True else register.blocks.get(self.number[1])",
        equivalent="who decides an epoch begins no other ballot in it, so its accepted block stays where it was, "
        "and every later ballot reads it on one voter at least: what others accepted need not be remembered",
    ),
    _one(
        "accepted-is-decided", "R10: an accepted value is not a decided one", f"{OWNERSHIP}/records.py",
        "        register.blocks[writer] = block\n",
        "        register.blocks[writer] = block\n"
        "        if block.bal > NOBODY:\n"
        "            register.owner, register.owner_epoch = block.value, block.epoch\n",
        plan=plans.CUT_SLOW_OWNER,
    ),
    _one(
        "undecided-skipped", "R10: an epoch that was begun is decided first", f"{OWNERSHIP}/contests.py",
        "epoch = register.epoch if register.undecided else register.epoch + 1", "epoch = register.epoch + 1",
        plan=plans.CUT_SLOW_OWNER,
    ),
    # ---- voters ---------------------------------------------------------------------------------------------------
    _one(
        "marker-unread", "R2: a recovering voter counts for nobody", f"{OWNERSHIP}/link.py",
        "seen is not None and seen.state == marker.FULL and seen.era == self.era",
        "seen is not None and seen.era == self.era",
        plan=plans.STILL_EMPTY,
    ),
    _one(
        "configuration-uncounted", "R2, R20: a voter with another beat or lease does not count", f"{OWNERSHIP}/link.py",
        "            and seen.configuration == self._configuration and", "            and",
        equivalent="who writes in an era has seen Q voters that are full in it with its own beat and lease. A voter "
        "with others keeps what was counted there, and when it forgets it is not full again in that era, since no Q "
        "others have its beat and lease: all that its own times decide is when it may be",
    ),
    Mutant(
        "era-unread", "R2, R6: a voter of another era does not count, and Q of them end the identity",
        (
            Change(
                f"{OWNERSHIP}/link.py", "seen is not None and seen.state == marker.FULL and seen.era == self.era",
                "seen is not None and seen.state == marker.FULL",
            ),
            Change(
                f"{OWNERSHIP}/link.py", "seen.electorate.counts(self.electorate)",
                "seen.electorate.voters == self.electorate.voters",
            ),
            Change(
                f"{OWNERSHIP}/disk_paxos.py",
                "if any(era != self.era and count >= self.quorum for era, count in eras.items()):", "if False:",
            ),
        ),
        plan=plans.OLD_ERA,
    ),
    _one(
        "no-recovery-wait", "R16: a voter that forgot waits W", "mosha/timing.py",
        "return F * max(lease_s, self.ballot_limit_s) + self._op_limit_of(max(lease_s, self.lease_s))", "return 0.0",
        plan=plans.NEW_ERA,
    ),
    _one(
        "wait-before-durable", "R16: W begins when it stands on the disk that a voter has forgotten",
        f"{OWNERSHIP}/voter.py",
        "        if self._mark(marker.forgotten(known or self.marker, life)):\n            self._wait_anew(why)\n",
        "        self._wait_anew(why)\n        self._mark(marker.forgotten(known or self.marker, life))\n",
        plan=plans.SLOW_TO_FORGET,
    ),
    _one(
        "copy-from-one", "R16a: copies of Q others", f"{OWNERSHIP}/voter.py",
        "if len(self._whole_copies()) >= self._copies_needed() and", "if self._whole_copies() and",
        plan=plans.COPIES,
    ),
    _one(
        "founded-by-some", "R16c: an era is founded only when all voters are there", f"{OWNERSHIP}/voter.py",
        "return fresh.keys() >= set(self._others()) - self._gone and all(", "return all(", plan={"founded": False},
    ),
    _one(
        "rolled-back", "R19: a later life that others saw shows that a disk is older", f"{OWNERSHIP}/voter.py",
        "        if not all(self._peeked.values()):", "        if False:",
        plan=plans.ROLLED_BACK,
    ),
    _one(
        "rolled-back-within", "R19: so do more writes of one life than the disk remembers", f"{OWNERSHIP}/voter.py",
        "found.identity != mine.identity or found.counter > mine.counter", "found.identity != mine.identity",
        plan=plans.ROLLED_BACK_WITHIN,
    ),
    _one(
        "counters-apart", "R5, R19: wherever a node writes, it shows how far it has come", f"{OWNERSHIP}/disk_paxos.py",
        "link.wants_beat, link.counter = True, reached", "link.wants_beat = True",
        plan=plans.ROLLED_BACK_WITHIN,
    ),
    _one(
        "witness-that-forgot", "R19: one that has forgotten is no witness", f"{OWNERSHIP}/voter.py",
        "if theirs is None or theirs.state in (RECOVERING, NONE) or theirs.era != self.era:", "if theirs is None:",
        plan=plans.NO_WITNESS,
    ),
    Mutant(
        "witness-without-vote", "R19: nor is one that has no vote", (
            Change(
                f"{OWNERSHIP}/voter.py", "theirs.state in (RECOVERING, NONE) or theirs.era",
                "theirs.state == RECOVERING or theirs.era",
            ),
            Change(
                f"{OWNERSHIP}/voter.py", "        self._peeked, self._blank, self._heard_at = {}, set(), NEVER\n", "",
            ),
        ),
        plan=plans.ROLLED_BACK_UNELECTED,
    ),
    _one(
        "rejoin-unread", "R19: a voter that boots counts for nobody until its disk was compared",
        f"{OWNERSHIP}/voter.py",
        "    if found is None or found.state not in (FULL, CLOSED):\n        return found\n    is_same",
        "    if found is None or found.state != CLOSED:\n        return found\n    is_same",
        plan=plans.ROLLED_BACK,
    ),
    _one(
        "rejoin-later", "R19: first of all, before it knows whether it is on the map", "mosha/agent.py",
        "        rejoin(world.var, world.boot_id())\n", "",
        plan=plans.ROLLED_BACK_UNPLACED,
    ),
    _one(
        "map-founds", "R18: voters that only a map names found nothing", "mosha/agent.py",
        "is_named=bool(self.config.voters)", "is_named=True",
        plan=plans.MADE_ANEW,
    ),
    _one(
        "any-era-followed", "R17: a full voter follows no era of other voters while a majority is left here",
        f"{OWNERSHIP}/voter.py",
        "        return moved > len(mine.voters) - mine.quorum\n", "        return moved >= 0\n",
        plan=plans.BY_ITSELF,
    ),
    _one(
        "bad-marker-kept", "R27: a voter whose marker is not what it wrote forgets", f"{OWNERSHIP}/voter.py",
        'return marker.decode(content or b"") == self.marker', "return content is not None",
        plan=plans.MARKERS_ROT,
    ),
    Mutant(
        "bad-line-ends-journal", "R27: a journal with a line that is bad counts for nothing, nor one that is cut short",
        (
            Change(
                f"{OWNERSHIP}/journal.py",
                "        if not _is_summed(data[used:end]):\n            return None\n",
                "        if not _is_summed(data[used:end]):\n            return used\n",
            ),
            Change(
                f"{OWNERSHIP}/link.py",
                "sizes.get(name, 0) < told.journal_bytes", "name not in sizes and told.journal_bytes > 0",
            ),
        ),
        plan=plans.JOURNAL_ROTS,
    ),
    _one(
        "empty-journal-whole", "R27: a journal that is empty while a slot tells of it is bad", f"{OWNERSHIP}/link.py",
        "sizes.get(name, 0) < told.journal_bytes", "0 < sizes.get(name, 0) < told.journal_bytes",
        plan=plans.JOURNAL_EMPTIED,
    ),
    _one(
        "gone-journal-removed", "R27: nor is one that is gone taken for removed", f"{OWNERSHIP}/link.py",
        "return is_of_now and sizes", "return is_of_now and name in sizes and sizes",
        plan=plans.JOURNAL_GONE,
    ),
    _one(
        "marker-written-blindly", "R27: before it writes another marker a voter looks at the one that is there",
        f"{OWNERSHIP}/voter.py", "self._write(new) if before.state == NONE or self._is_as_written() else self._lose()",
        "self._write(new)",
        plan=plans.PAIR_EMPTIED,
    ),
    _one(
        "voters-in-a-leap", "R20: the voters change one at a time", f"{OWNERSHIP}/electorate.py",
        "if len(wanted ^ mine) != 1:", "if wanted == mine:",
        plan=plans.LEAP,
    ),
    _one(
        "joint-unwaited", "electorates 2: W passes before the voters before are closed", f"{OWNERSHIP}/voter.py",
        "elif now >= self._joint_since + self._wait_s():", "else:",
        plan=plans.LATE_AND_GONE,
    ),
    _one(
        "closed-by-few", "electorates 2: a majority is joint before W begins", f"{OWNERSHIP}/voter.py",
        "self._joint_since = now if joint + votes >= chosen.quorum else None", "self._joint_since = now",
        plan=plans.NEVER_JOINT,
    ),
    _one(
        "settled-uncopied", "electorates 3: a voter settles with copies of a majority", f"{OWNERSHIP}/voter.py",
        "if is_copied or chosen.quorum == 1:", "if True:",
        plan=plans.UNCOPIED,
    ),
    _one(
        "next-unsettled", "electorates 3: the next but one waits until a majority is settled",
        f"{OWNERSHIP}/disk_paxos.py",
        "        if next_at is None or now < next_at:\n", "        if self._next is not None:\n",
        plan=plans.UNSETTLED,
    ),
    # ---- files ----------------------------------------------------------------------------------------------------
    _one(
        "held-unchecked", "R2: a held file that has no name any more is not read", "mosha/platform/files.py",
        'if kind == "tail" or self._system.is_linked(held.handle):', "if True:",
        plan=plans.EMPTIED,
    ),
    _one(
        "written-unlinked", "R2: what was written into a file without a name does not count",
        "mosha/platform/files.py",
        "        if self._has_written:\n", "        if False:\n",
        plan=plans.EMPTIED,
        equivalent="a voter that was emptied shows another life, so what wrote there does not count (link 4); who knew "
        "no earlier life opens a new journal, and a slot that is missing on a voter is in no Q that shows an expiry",
    ),
    # ---- two voters -----------------------------------------------------------------------------------------------
    _one(
        "unmet-shoots", "R23: who has not met the other in this boot shoots nobody", f"{OWNERSHIP}/voter.py",
        "is_met = self.is_at_rest and self.marker.state == FULL and bool(self._boot) and self.marker.met == self._boot",
        "is_met = self.marker.state == FULL", plan=plans.PAIR_UNMET,
    ),
    _one(
        "alone-without-answer", "R23: only a confirmed shot lets one go on alone", "mosha/partner.py",
        "if success and self._voter.go_alone():", "if self._voter.go_alone():", plan=plans.PAIR_CUT,
    ),
    _one(
        "both-wait-alike", "R23: if neither of two owns anything the higher waits twice as long", "mosha/partner.py",
        "yields = owns == others and ownership.node > other", "yields = owns and others and ownership.node > other",
        plan=plans.PAIR_IDLE,
    ),
    Mutant(
        "open-while-shooting", "R23: nothing counts on a voter whose shot is under way", (
            Change(
                f"{OWNERSHIP}/voter.py", "return self._mark(self.marker._replace(state=CLOSED))", "return True",
            ),
            Change(
                f"{OWNERSHIP}/voter.py", "if self.marker.state != CLOSED or other is None or", "if other is None or"
            ),
        ),
        plan=plans.PAIR_LATE,
        equivalent="as far as simulation goes, where going alone is one instant: only identities known before the call "
        "are freed, and who is back by then has another, whose lease is waited for. On a real disk the closed marker "
        "keeps what arrives between the reading of the journals and the new marker from counting (docs/adr/0012)",
    ),
    # ---- an operator's word that one of two is off ------------------------------------------------------------------
    _one(
        "word-unwaited", "R18: W passes after the word", f"{OWNERSHIP}/voter.py",
        "        self._is_ordered, self._off_since = True, now\n",
        "        self._is_ordered, self._off_since, self._ready_at = True, now, now\n", plan=plans.WORD,
    ),
    _one(
        "word-keeps-both", "R18: who founds by the word is the only voter", f"{OWNERSHIP}/voter.py",
        "voters = tuple(voter for voter in self.electorate.voters if voter not in self._off)",
        "voters = self.electorate.voters", plan=plans.WORD,
    ),
    _one(
        "word-without-vote", "R18: it is for a voter", f"{OWNERSHIP}/voter.py",
        "            return NO_VOTE\n        if len(chosen.voters) != 2 or",
        "            pass\n        if len(chosen.voters) != 2 or",
        plan=plans.WORD,
    ),
    _one(
        "word-for-three", "R18: it is for the other one of two voters", f"{OWNERSHIP}/voter.py",
        "if len(chosen.voters) != 2 or off != frozenset(self._others()):", "if off != frozenset(self._others()):",
        plan=plans.WORD_REFUSED,
    ),
    _one(
        "word-over-later-voters", "R18: it is void where a node without a vote shows later voters",
        f"{OWNERSHIP}/voter.py", "MOVED_ON.format(list(known.voters)) if is_later else", '"" if is_later else',
        plan=plans.WORD_OVERTAKEN,
    ),
    _one(
        "word-unasked", "R18: what nodes without a vote said before the word does not count", f"{OWNERSHIP}/voter.py",
        "        self.inquiry += 1 ", "        self.inquiry += 0 ", plan=plans.WORD_OVERTAKEN,
    ),
    _one(
        "inquiry-unheeded", "R18: who has answered an earlier inquiry is asked again", f"{OWNERSHIP}/disk_paxos.py",
        "if inquiry == self._voter.inquiry}", "if inquiry <= self._voter.inquiry}", plan=plans.WORD_OVERTAKEN,
    ),
    _one(
        "word-over-an-answer", "R18: it is void where the files of who is off were read", f"{OWNERSHIP}/voter.py",
        "heard = [voter for voter in sorted(off) if self._shown_at(voter) >= since]", "heard: list[int] = []",
        equivalent="it keeps an operator from an error, and no promise rests on it: whose marker shows that it went on "
        "alone, that is learned from, and founds nothing; of two that are voters still neither has a lease or a ballot "
        "without the one that has forgotten for W",
    ),
    _one(
        "eras-apart", "R18: who goes on alone takes an era for its own that a word about it has founded",
        f"{OWNERSHIP}/voter.py", "return bool(self.departed) and is_full and self._me in other.absent", "return False",
        plan=plans.WORD_WRONG,
    ),
    _one(
        "boot-unlooked", "R18: who goes on alone looks for a later era after a boot before it counts",
        f"{OWNERSHIP}/voter.py", " and all(self._shown_at(one) > -NEVER for one in self.departed)", "",
        plan=plans.WORD_BEFORE_A_BOOT,
    ),
    # ---- journals -------------------------------------------------------------------------------------------------
    _one(
        "journal-overwritten", "R3: after a failed append the next generation begins", f"{OWNERSHIP}/link.py",
        "                self._is_over, self.wants_all = True, True\n", "                self.wants_all = True\n",
        plan=plans.ERRORS,
    ),
    _one(
        "readded-from-zero", "R3: a voter that comes back gets another generation of a journal",
        f"{OWNERSHIP}/disk_paxos.py", "self.records.dead, self._generations.get(voter, 0),", "self.records.dead, 0,",
        plan=plans.READDED,
    ),
    _one(
        "hole-after-wipe", "link 4: a voter that was wiped gets the next generation", f"{OWNERSHIP}/link.py",
        "            if forgot:\n                self._next_generation()\n            if request.appended or forgot:\n",
        "            if request.appended:\n",
        plan=plans.HOLES,
        equivalent="what is appended next leaves a hole, so that journal is bad. A block never counts there, as its "
        "writer reads all journals with it, its own too (link 8). A fact may, and the voter forgets again "
        "(voter 8): then it copies from Q others, of which one has the fact, as Q - 1 of the V - 1 others do, and "
        "Q - 1 + Q is more than V - 1. It costs that voter one more W",
    ),
    _one(
        "invited-for-ever", "R16: an invitation is good until the voters change", f"{OWNERSHIP}/voter.py",
        "absent=absent, invited=())", "absent=absent)",
        plan=plans.INVITED_LATE,
    ),
    _one(
        "closed-alive", "link 6: only journals of the dead are closed", f"{OWNERSHIP}/link.py",
        "closing = frozenset([name for name in read if journal.writer_of(name, self.era) in self._dead])",
        "closing = frozenset(read)",
        plan=plans.FLIPS,
    ),
    _one(
        "closed-unread", "link 6: a journal is read once more when its writer is known to be dead",
        f"{OWNERSHIP}/link.py", "journal.SKIPPED if name in self._closed else size",
        "journal.SKIPPED if journal.writer_of(name, self.era) in self._dead else size",
        plan=plans.UNREAD,
    ),
    _one(
        "read-cut-short", "link 5: a block counts only if all journals were read to their ends",
        "mosha/platform/plans.py", "return journals, is_whole and left > 0", "return journals, is_whole",
        plan=plans.FLIPS_CUT_SHORT,
    ),
    _one(
        "read-unbounded", "link 5: what one exchange reads has a bound", "mosha/platform/plans.py",
        'left -= len(data or b"")', "left -= 0", plan=plans.FLIPS_CUT_SHORT,
    ),
    _one(
        "copy-cut-short", "copies 1: a copy has as many pages as it needs", f"{OWNERSHIP}/copies.py",
        "self.is_whole = is_whole", "self.is_whole = True", plan=plans.COPIES_IN_PAGES,
    ),
    _one(
        "living-removed", "R3: what a living identity writes now is not removed", f"{OWNERSHIP}/housekeeping.py",
        "or parts.generation < latest[parts.writer]", "or parts.generation <= latest[parts.writer]",
        equivalent="since R27 nothing is removed that a slot tells of, nor ever what is open: an append that comes "
        "later fails, and its writer goes on in the next generation, with all that may be lost; where the slot was on "
        "its way, it tells of a journal that is gone, and that voter forgets and recovers without need, which breaks "
        "no promise",
    ),
    _one(
        "removed-undecided", "R3: a block of an epoch that is not decided stays", f"{OWNERSHIP}/housekeeping.py",
        "return isinstance(entry, (Block, Commit)) and entry.epoch",
        "return isinstance(entry, Commit) and entry.epoch",
        plan=plans.UNDECIDED,
    ),
    _one(
        "removed-unrepeated", "R3: what is needed is repeated before it is removed", f"{OWNERSHIP}/housekeeping.py",
        "        if not missing:\n", "        if True:\n",
        plan=plans.UNREPEATED,
    ),
    _one(
        "repeated-before", "R3: what is needed is repeated in the generation that stays", f"{OWNERSHIP}/link.py",
        "        self._facts.clear()\n", "",
        plan=plans.REPEATED_EARLY,
    ),
    _one(
        "repeated-over-a-wipe", "R3: what was repeated on a disk that was emptied since has to be repeated again",
        f"{OWNERSHIP}/link.py",
        "            if forgot:\n                self._next_generation()\n",
        "            if forgot:\n"
        "                kept = set(self._facts)\n"
        "                self._next_generation()\n"
        "                self._facts = kept\n",
        plan=plans.FORGOTTEN,
    ),
    # ---- release and STOMITH --------------------------------------------------------------------------------------
    _one(
        "released-before-dead", "R14: released only when nothing of the group is left", "mosha/groups.py",
        "        elif action is Action.RUN_STOP:\n",
        "        elif action is Action.RUN_STOP:\n            self.ownership.renounce(now, name)\n",
        plan=plans.LEAVES,
    ),
    _one(
        "fenced-expires", "R25: that its owner has expired does not free a fenced group", f"{OWNERSHIP}/contests.py",
        "return group not in self.unexpiring and self._has_expired(now, register)",
        "return self._has_expired(now, register)",
        plan=plans.FENCED,
    ),
    _one(
        "failed-shot-frees", "R15: a failed STOMITH frees nothing", "mosha/fencing.py",
        "        if success:\n            self._ownership.fenced",
        "        if True:\n            self._ownership.fenced",
        plan=plans.SHOTS_FAIL,
    ),
    _one(
        "shot-kills-the-next", "R15: dead are the identities known before the call", "mosha/fencing.py",
        "self._ownership.fenced(now, shot.identities)",
        "self._ownership.fenced(now, self._ownership.identities_of(shot.node))",
        plan=plans.SHOTS_SLOW,
    ),
    _one(
        "shot-not-awaited", "R15: dead only after the answer", "mosha/fencing.py",
        "                return self._flying\n",
        "                self._ownership.fenced(now, self._flying.identities)\n                return self._flying\n",
        plan=plans.SHOTS_FAIL,
    ),
    _one(
        "ahead-without-token", "R8: what was tested ahead gets the token when it was won", "mosha/groups.py",
        "local.leash.own({**self._environment, **self._token(name, local)})", "local.leash.own(self._environment)",
        plan=plans.LEAVES,
    ),
    Mutant(
        "ahead-with-services", "R26: only entries of mode test are started ahead", (
            Change("mosha/groups.py", "_only_tests(cltab.group(name)) and ", ""),
            Change(CUSTODY, "not start.level == start.entry.mode == TEST", "start.level != TEST"),
        ),
        plan=plans.LEAVES_AT_TWO_LEVELS,
    ),
    # ---- tables ---------------------------------------------------------------------------------------------------
    _one(
        "take-unchecked", "tables 3: nothing is taken that is not newer", "mosha/replication.py",
        "        version = self._wanted()\n        if version is None or self._others.get(node) != version:\n"
        "            return []\n",
        "        version = self._others[node]\n",
        plan=plans.EDIT_OVERTAKEN,
    ),
    _one(
        "take-unkept", "tables 3: an edit that yields is kept", "mosha/replication.py",
        "[one for one in (lies, self._bytes) if self._is_apart(version, one)]", "[]",
        plan=plans.EDITS_APART,
    ),
    _one(
        "opened-before", "tables 5: what was opened before another version came yields", "mosha/replication.py",
        "            if is_older:\n                return self._yield()\n            if undoes:\n",
        "            if False:\n",
        plan=plans.EDIT_OPENED,
    ),
    _one(
        "aside-unseen", "tables 7: what is written into what was put aside is kept", "mosha/aside.py",
        "if not is_edit or (", "if True or (",
        plan=plans.EDIT_IN_PLACE,
    ),
    _one(
        "number-unheard", "tables 1: numbered only once a majority's numbers are known", "mosha/replicas.py",
        "return knows and ownership.quorate", "return ownership.quorate",
        plan=plans.EDITS_APART,
    ),
    _one(
        "number-late", "tables 1: the lease is valid just before the number is written", "mosha/replication.py",
        "and is_newest and still()", "and is_newest",
        plan=plans.EDIT_OVERTAKEN,
    ),
    _one(
        "number-outdated", "tables 1: an edit of what is not the newest version yields", "mosha/replication.py",
        "is_newest = self.version in self._newest()", "is_newest = True",
        plan=plans.EDITS_APART,
    ),
    # ---- guardians ------------------------------------------------------------------------------------------------
    _one(
        "leash-unarmed", "R7: the leash kills at its deadline", CUSTODY,
        "        self.deadline_s = deadline_s\n", "        self.deadline_s = deadline_s + 3600.0\n",
        plan=plans.AGENT_STOPPED,
    ),
    _one(
        "extended-too-far", "R7: an extension is the lease's end, and no more", CUSTODY,
        "max(self.deadline_s, order[\"deadline\"])", "max(self.deadline_s, order[\"deadline\"] + 1.0)",
        plan=plans.AGENT_STOPPED,
    ),
    _one(
        "late-order-obeyed", "R7: what a leash is told after its deadline is not even read", CUSTODY,
        "        if not self._holds(now_s):\n            return []\n        self.is_left = False\n",
        "        self.is_left = False\n",
        equivalent="an extension names the end of a lease that was counted, which is true whenever it is read; after "
        "that end the next look kills, and nothing is started before",
    ),
    _one(
        "deadline-goes-back", "R7: the deadline only moves forward", CUSTODY,
        "max(self.deadline_s, order[\"deadline\"])", "order[\"deadline\"]",
        equivalent="the agent sends later ones only, and in order; an earlier one would kill earlier",
    ),
    _one(
        "late-start", "R7: a leash looks at its deadline before every start", CUSTODY,
        "        if not self._holds(now_s):\n            return False\n        if self._is_ahead",
        "        if self._is_ahead",
        equivalent="what leads to a start has just looked, and the new process looks once more before it is executed",
    ),
    Mutant(
        "ahead-unheld", "R26: a leash without a token starts nothing but tests (here the agent tells it more)",
        (
            Change(CUSTODY, "            self.kill(NO_TOKEN)\n", "            pass\n"),
            Change(
                "mosha/groups.py",
                "self._start_ahead(now, name, local)\n            self._tell(local, TEST,",
                "self._start_ahead(now, name, local)\n            self._tell(local, wanted[name],",
            ),
        ),
        plan=plans.LEAVES,
    ),
    Mutant(
        "ended-with-processes", "R7, R14: a leash ends after the last process (here the agent takes its word for it)",
        (
            Change(
                CUSTODY, "is_empty and (bool(self.reason) or (self._finishing and self._group.rests))",
                "self._finishing or (is_empty and bool(self.reason))",
            ),
            Change(
                "mosha/groups.py", "local.orphaned = local.is_populated or not local.finishing",
                "local.orphaned = not local.finishing",
            ),
        ),
        plan=plans.LEAVES,
    ),
    _one(
        "leash-from-now", "R7: the leash's deadline is the lease's end", "mosha/groups.py",
        "        deadline = lease_end - self._timing.kill_margin_s\n        if now",
        "        deadline = now + self._timing.lease_s - self._timing.kill_margin_s\n        if now",
        plan=plans.AGENT_STOPPED,
    ),
    _one(
        "no-second-guardian", "R7: the agent kills a leash that does not", "mosha/groups.py",
        "            if now >= self._kill_by(local):\n", "            if now >= self._kill_by(local) + 3600:\n",
        plan=plans.LEASH_STOPPED,
    ),
    _one(
        "stuck-spared", "R24: who beats and cannot end a group that is missed is shot", "mosha/fencing.py",
        "watch.suspect = is_stuck or (", "watch.suspect = (", plan=plans.STUCK_FOR_EVER,
    ),
    _one(
        "stuck-shot-in-turn", "R24: nobody is shot for a group with which two nodes were stuck", "mosha/snags.py",
        "        if len(nodes) > 1:\n", "        if False:\n", plan=plans.STUCK_AGAIN,
    ),
    _one(
        "most-shot", "R24: nobody is shot while most nodes were stuck with something", "mosha/snags.py",
        "if len(every) > 1 and self._are_most(every)", "if False", plan=plans.STUCK_ELSEWHERE,
    ),
    _one(
        "stuck-unheard", "clinit 10: what lives on after SIGKILL is told of", "mosha/clinit/group.py",
        "tuple(lasting) if is_leaving else ()", "()", plan=plans.STUCK_FOR_EVER,
    ),
    _one(
        "deaf-unseen", "R7: an extension that a leash does not confirm is none", "mosha/monitor.py",
        "lambda v: v.leash and v.deaf,", "lambda v: False,",
        plan=plans.LEASH_DEAF,
    ),
    # ---- what an earlier life left --------------------------------------------------------------------------------
    _one(
        "dead-before-ended", "R9: of an earlier life nothing is said to be dead while a leash of it lives",
        f"{OWNERSHIP}/disk_paxos.py",
        "        if any(legacy.identity == identity for legacy in self.inherited.values()):", "        if False:",
        plan=plans.ADOPTED,
    ),
    _one(
        "legacy-ignored", "R9: what an earlier life left running is taken over, or ends", "mosha/groups.py",
        "for leash, legacy in world.legacies()}", "for leash, legacy in ()}",
        plan=plans.ADOPTED,
    ),
    _one(
        "left-unarmed", "R9: a leash without an agent keeps its deadline", CUSTODY,
        "        if self.legacy() is None:\n", "        self.deadline_s += 3600.0\n        if self.legacy() is None:\n",
        plan=plans.ADOPTED_TOO_LATE,
    ),
    _one(
        "left-unwatched", "R1: a leash without an agent compares the clocks", CUSTODY,
        "        if self._clocks.apart_s(before_s, skew_s, after_s):\n",
        "        if self._clocks.apart_s(before_s, skew_s, after_s) and not self.is_left:\n",
        plan=plans.ADOPTED_SLEWED,
    ),
    _one(
        "old-lease-forgotten", "R20: a voter that lost its disk waits for the longest lease that anybody knows",
        f"{OWNERSHIP}/voter.py", "                self._ready_at += self._wait_s() - waited_s\n", "",
        plan=plans.FORGOTTEN_LEASE,
    ),
    _one(
        "hung-unwatched", "R1, R7: a leash whose agent hangs compares the clocks", CUSTODY,
        "        if self._clocks.apart_s(before_s, skew_s, after_s):\n",
        "        if self._clocks.apart_s(before_s, skew_s, after_s) and self.is_left:\n",
        plan=plans.HUNG_AND_SLEWED,
    ),
    _one(
        "extended-unbacked", "R9: what was left is extended by a lease of this life", "mosha/groups.py",
        "        if local.leash is None or lease_end is None:\n            return\n",
        "        if local.legacy is not None:\n            lease_end = now + self._timing.lease_s\n"
        "        if local.leash is None or lease_end is None:\n            return\n",
        plan=plans.ADOPTED_TOO_LATE,
    ),
    _one(
        "stopping-left", "R9: what was told to stop ends with its agent", CUSTODY,
        "self._is_ahead or self._finishing or self._told in (\"\", STOP) or bool(self.reason)",
        "self._is_ahead or bool(self.reason)",
        plan=plans.ADOPTED_STOPPING,
    ),
    Mutant(
        "dead-taken-over", "R9: what a life left that is known to be dead is nobody's",
        (
            Change(
                f"{OWNERSHIP}/disk_paxos.py", "not is_anothers and legacy.identity not in self.records.dead",
                "not is_anothers",
            ),
            Change(
                f"{OWNERSHIP}/disk_paxos.py",
                "legacy.era != self.era or legacy.identity in self.records.dead", "legacy.era != self.era",
            ),
        ),
        plan=plans.ADOPTED_DEAD,
    ),
    _one(
        "left-unread", "R9: nothing is extended before the register was read", "mosha/groups.py",
        "lease_end = self.ownership.lease_of_all() if local.ahead else self.ownership.lease_end(name)",
        "lease_end = self.ownership.lease_of_all() if local.ahead or local.legacy else self.ownership.lease_end(name)",
        equivalent="a slot is its node's: who finds the earlier life expired finds that no later one had a lease "
        "either, and by then the deadline has passed, after which nothing is obeyed. What is read next ends the group "
        "if it is another's",
    ),
    # ---- nodes of 2003 --------------------------------------------------------------------------------------------
    Mutant(
        "elder-unheeded", "elders 2, 3: what one of 2003 has is not begun while its node is up", (
            Change("mosha/elders.py", "        if not any(had):\n", "        if True:\n"),
            Change("mosha/elders.py", "        return frozenset(\n            group for group, since in self._since",
                   "        return frozenset(\n            group for group, since in dict[str, float]()"),
        ),
        plan=WITH_ELDER,
    ),
    _one(
        "elder-awaited", "elders 3: what is won begins when those of 2003 have it not (here never)", "mosha/elders.py",
        "if now < since + PLAN_S or", "if True or", plan=WITH_ELDER,
    ),
    # ---- workers --------------------------------------------------------------------------------------------------
    _one(
        "shared-lanes", "lanes 1: whoever hangs holds up nobody else", "mosha/platform/lanes.py",
        "        lane = self._lanes.pop(key, None) or",
        "        key = key % 8 if key >= 0 else key\n        lane = self._lanes.pop(key, None) or",
        plan=plans.LIKE_NUMBERS,
    ),
)
