"""Removing journals that nobody needs any more from this node's own voter.

Rules (R3):

1. Only what nobody appends to any more: journals of identities that are known to be dead, copies, and of an identity
   that lives those before its latest here, as a writer never comes back to an earlier one. A slot that shows a later
   identity proves nothing: it may be a late write of an older one. And only what no slot here tells of, as it is on
   the disk: whoever finds less than a slot tells of counts on nothing here (R27).
2. Only when every entry is obsolete: blocks of epochs up to the committed one, facts that a later commit makes
   irrelevant, or that the journal which this identity writes here now repeats. What is repeated is written there first.
   What is of an epoch that was begun, or decided without this identity knowing it, stays; so does what is bad.
3. Files of earlier eras go when the voter becomes full in a new one: :mod:`mosha.ownership.voter`.
"""

from __future__ import annotations

from collections.abc import Iterable

from mosha.ownership import journal
from mosha.ownership.disk_paxos import DiskPaxos
from mosha.ownership.journal import Block, Commit, Entry, Fact
from mosha.ownership.told import slot_files, told
from mosha.platform.world import Store

FILES_A_TIME = 64
JOURNAL_BYTES_MAX = 1024 * 1024


def clean(ownership: DiskPaxos, store: Store) -> list[str]:
    """Remove what can be removed now; the names. Facts that have to be repeated first are put on their way."""
    removed: list[str] = []
    finished = _finished(ownership, store.list())
    for name in sorted(finished - told(store, ownership.era)) if finished else ():
        content = store.read(name, JOURNAL_BYTES_MAX) or b""
        entries, _ = journal.decode(content)
        if len(content) > JOURNAL_BYTES_MAX or journal.is_bad(content):
            continue
        if any(_is_open(ownership, entry) for entry in entries):
            continue
        missing = [fact for fact in _needed(ownership, entries) if not ownership.repeats(fact)]
        if not missing:
            for slots in slot_files(store, ownership.era) if not removed else ():
                store.sync(slots)
            store.remove(name)
            removed.append(name)
        if len(removed) >= FILES_A_TIME:
            break
    return removed


def _finished(ownership: DiskPaxos, names: Iterable[str]) -> set[str]:
    """Rule 1, without what slots tell of."""
    found = {name: journal.parts_of(name, ownership.era) for name in names}
    latest: dict[str, int] = {ownership.identity: ownership.writes_on_own()}
    for parts in found.values():
        if parts is not None and parts.copy is None:
            latest[parts.writer] = max(parts.generation, latest.get(parts.writer, 0))
    return {
        name for name, parts in found.items()
        if parts is not None and (
            parts.writer in ownership.records.dead or parts.copy is not None
            or parts.generation < latest[parts.writer]
        )
    }


def _is_open(ownership: DiskPaxos, entry: Entry) -> bool:
    """Whether it is of an epoch of which this identity knows no decision."""
    return isinstance(entry, (Block, Commit)) and entry.epoch > ownership.records.register(entry.group).owner_epoch


def _needed(ownership: DiskPaxos, entries: Iterable[Entry]) -> list[Fact]:
    """The facts that must be in this identity's own journal before these entries may go, none of which is open."""
    records = ownership.records
    facts = {entry for entry in entries if not isinstance(entry, (Block, Commit))}
    needed: set[Fact] = set(records.needed(facts))
    for group in {entry.group for entry in entries if isinstance(entry, (Block, Commit))}:
        register = records.register(group)
        needed.add(Commit(group, register.owner_epoch, register.owner))
    return sorted(needed, key=str)
