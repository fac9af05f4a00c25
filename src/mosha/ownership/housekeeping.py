"""Removing journals that nobody needs any more from this node's own voter.

Rules (R3):

1. Only journals of identities that are known to be dead. A slot that shows a later identity proves nothing: it may be
   a late write of an older one.
2. Only when every entry is obsolete: blocks of epochs up to the committed one, facts that a later commit makes
   irrelevant, or that this node's own journal on this voter repeats. What is repeated is written there first.
3. Files of earlier eras go when the voter becomes full in a new one: :mod:`mosha.ownership.voter`.
"""

from __future__ import annotations

from mosha.ownership import journal
from mosha.ownership.disk_paxos import DiskPaxos
from mosha.ownership.journal import Block, Commit, Dead, Entry, Fact, Released
from mosha.platform.world import Store

FILES_A_TIME = 64
JOURNAL_BYTES_MAX = 1024 * 1024


def clean(ownership: DiskPaxos, store: Store) -> list[str]:
    """Remove what can be removed now; the names. Facts that have to be repeated first are put on their way."""
    removed = []
    for name in store.list():
        writer = journal.writer_of(name, ownership.era)
        if writer is None or writer not in ownership.records.dead:
            continue
        entries, _ = journal.decode(store.read(name, JOURNAL_BYTES_MAX) or b"")
        if any(_is_open(ownership, entry) for entry in entries):
            continue
        needed = {fact for fact in (_needed(ownership, entry) for entry in entries) if fact is not None}
        missing = [fact for fact in sorted(needed, key=str) if not ownership.repeats(fact)]
        if not missing:
            store.remove(name)
            removed.append(name)
        if len(removed) >= FILES_A_TIME:
            break
    return removed


def _is_open(ownership: DiskPaxos, entry: Entry) -> bool:
    """Whether it is of an epoch that is not decided yet."""
    return isinstance(entry, Block) and entry.epoch > ownership.records.register(entry.group).owner_epoch


def _needed(ownership: DiskPaxos, entry: Entry) -> Fact | None:
    """The fact that must be in this node's own journal before the entry may go."""
    if isinstance(entry, Dead):
        owners = {register.owner for register in ownership.records.registers.values()}
        return entry if entry.identity in owners else None
    register = ownership.records.register(entry.group)
    if isinstance(entry, Released):
        return entry if entry.epoch >= register.owner_epoch else None
    return Commit(entry.group, register.owner_epoch, register.owner) if entry.epoch <= register.owner_epoch else None
