"""What is done on one node's directory, as plans: generators that yield file steps and return a result.

A worker carries the steps out with system calls (:mod:`mosha.platform.files`), the simulator on its model of a disk, so
both run the same code. Contents are bytes. One plan brings at most ``journal.READ_MAX`` bytes of journals: a worker's
answer has a bound, and who asks goes on from there.

==========================================  ===============================================================
step                                        result; OSError is thrown into the plan
==========================================  ===============================================================
``("pread", name, offset, length)``          what is there, short at the end of the file; ENOENT
``("tail", name, offset, length)``           the same of a journal, which may have been removed since it was opened
``("whole", name, offset, length)``          the same of a file that is only ever replaced: nobody writes into it
``("pwrite", name, offset, data)``           None; creates the file; in place
``("append", name, offset, data)``           the same; does not make a file that begins with a gap: ENOENT
``("sync", name)``                           None; what was written is on the disk
``("list",)``                                the sorted names of the directory
==========================================  ===============================================================
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Generator
from typing import Any, Callable

from mosha.ownership import journal, marker, slot
from mosha.platform import record

FILE_BYTES_MAX = 1024 * 1024

Step = tuple[Any, ...]
Plan = Generator[Step, Any, Any]


def exchange(
    append: list[Any] | None, slots: list[Any] | None, names: list[str], known: list[tuple[str, int]] | None, era: str,
    tails: list[tuple[str, int]],
) -> Plan:
    """One exchange with a voter: see :mod:`mosha.ownership.link`. The order of the steps is what its proofs rest on.

    ``append``, ``slots``: [name, offset, data]; ``names``: slot files to read; ``known``: [journal, bytes known] if all
    journals of the era are to be read on, but those with SKIPPED bytes; ``tails``: the same for some.
    Returns [marker, names, slot files, [[journal, data], …], whether these journals were read to their ends]; the data
    of a journal that was known and is not there any more is None.
    """
    if append is not None:
        yield ("append", *append)
        yield ("sync", append[0])
    if slots is not None:
        yield ("pwrite", *slots)
    journals: list[list[Any]] = []
    is_whole = True
    if known is not None:
        journals, is_whole = yield from _all(era, dict(known))
    elif tails:
        journals, is_whole = yield from _read_on(dict(tails), is_listed=False)
    chunks = []
    for name in names:
        chunks.append((yield from _read(name, 0, slot.FILE_BYTES)))
    seen = yield from mark()
    return [seen, names, chunks, journals, is_whole]


def mark() -> Plan:
    """Only the marker."""
    return _read(marker.NAME, 0, marker.BYTES_MAX, "whole")


def peek(era: str, node: int) -> Plan:
    """The slot of one node, and after it the marker, which says what its absence is worth."""
    name = slot.file_name(era, slot.file_of(node))
    content = yield from _read(name, slot.offset_of(node), slot.BYTES)
    return [content, (yield from mark())]


def count(content: bytes) -> Plan:
    """On the own disk: how far the counters of the own slots may have come (R19)."""
    yield ("pwrite", slot.COUNTED, 0, content)
    yield ("sync", slot.COUNTED)
    return True


def copy(era: str, known: list[tuple[str, int]]) -> Plan:
    """Read all journals of an era on: [marker, [[journal, data], …], whether that was to their ends]."""
    journals, is_whole = yield from _all(era, dict(known))
    return [(yield from mark()), journals, is_whole]


def _all(era: str, known: dict[str, int]) -> Plan:
    """All journals of the era: what is new in them, as :func:`_read_on`."""
    listed = journal.of_era((yield ("list",)), era)
    wanted = {name: known.get(name, 0) for name in listed if known.get(name) != journal.SKIPPED}
    journals, is_whole = yield from _read_on(wanted, is_listed=True)
    return [*([name, None] for name in sorted(known.keys() - set(listed))), *journals], is_whole


def _read_on(wanted: dict[str, int], is_listed: bool) -> Plan:
    """What these journals have after so many bytes, and whether that is all of them.

    One that was listed, and is gone when it is read, may have been repeated in one that was read before.
    """
    journals: list[list[Any]] = []
    left, is_whole = journal.READ_MAX, True
    for name, offset in wanted.items():
        if left <= 0:
            break
        try:
            data = yield ("tail", name, offset, left)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            data, is_whole = None, is_whole and not is_listed
        if data or not is_listed:
            journals.append([name, data])
        left -= len(data or b"")
    return journals, is_whole and left > 0


def _read(name: str, offset: int, length: int, step: str = "pread") -> Plan:
    """A file that is not there reads as empty."""
    try:
        return (yield (step, name, offset, length))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return b""


def _whole(name: str) -> Plan:
    parts: list[bytes] = []
    size = 0
    while size <= FILE_BYTES_MAX:
        part = yield ("pread", name, size, journal.READ_MAX)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
    raise OSError(errno.EFBIG, f"{name} is over {FILE_BYTES_MAX} bytes")


def said() -> Plan:
    """The block of the node's record: :mod:`mosha.platform.record`."""
    return _read(record.NAME, 0, record.BYTES_MAX)


def fetch(name: str) -> Plan:
    """A file, whole."""
    return _whole(name)


def elder(ours: list[str]) -> Plan:
    """What an agent of 2003 has there: [clstat, checksum of cltab, of hactl]. None in the place of clstat where there
    is none, or one of these files, which lie where an agent of today was; empty for a table that is not there."""
    try:
        names = yield ("list",)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        names = []
    found = []
    for name in ("clstat", "cltab", "hactl") if not any(name in names for name in ours) else ():
        found.append((yield from _whole(name)) if name in names else None)
    text, *tables = found or [None]
    return [text, *(hashlib.sha256(table).hexdigest() if table is not None else "" for table in tables)]


TASKS: dict[str, Callable[..., Plan]] = {
    "exchange": exchange, "mark": mark, "peek": peek, "count": count, "copy": copy, "said": said, "fetch": fetch,
    "elder": elder,
}
LATER = frozenset({"said", "fetch", "elder"})     # these can wait: neither a lease nor an epoch needs them
