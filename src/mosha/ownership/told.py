"""Which journals the slots on a disk tell of: while one does, its journal is there, or the disk is bad (R27)."""

from __future__ import annotations

from mosha.ownership import journal, slot
from mosha.platform.world import Store


def told(store: Store, era: str) -> set[str]:
    """The names of these journals; some are empty, and were never made."""
    return {
        journal.name(era, found.identity, found.generation)
        for name in slot_files(store, era) for found in slot.all_of(store.read(name, slot.FILE_BYTES) or b"")
    }


def slot_files(store: Store, era: str) -> list[str]:
    """The names of the slot files of that era."""
    return [name for name in store.list() if name.startswith(slot.file_name(era, 0)[:-1])]
