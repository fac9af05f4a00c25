"""What an observer can read out of the voters' files; the one place of the simulator that knows the protocol."""

from __future__ import annotations

from collections.abc import Iterator

from mosha.ownership import identity, journal
from mosha.ownership.journal import Released

MARK = b'"released"'


def released(name: str, data: bytes) -> Iterator[tuple[str, str, int]]:
    """(group, token, node) of each release that is about to be appended to the file."""
    if MARK not in data:
        return
    era = name.partition(".")[0]
    for entry in journal.decode(data)[0]:
        if isinstance(entry, Released):
            yield entry.group, f"{era.partition('-')[0]}.{entry.epoch}", identity.node_of(entry.identity)
