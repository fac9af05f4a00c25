"""What is done on one node's directory, as plans: generators that yield file steps and return a result.

A worker carries the steps out with system calls (:mod:`mosha.platform.files`), the simulator on its model of a disk, so
both run the same code. Contents are bytes.

==========================================  ===============================================================
step                                        result; OSError is thrown into the plan
==========================================  ===============================================================
``("pread", name, offset, length)``          what is there, short at the end of the file; ENOENT
``("tail", name, offset, length)``           the same of a journal, which may have been removed since it was opened
``("pwrite", name, offset, data)``           None; creates the file; in place
``("sync", name)``                           None; what was written is on the disk
``("list",)``                                the sorted names of the directory
==========================================  ===============================================================
"""

from __future__ import annotations

import errno
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
    Returns [marker, names, slot files, [[journal, data], …]].
    """
    if append is not None:
        yield ("pwrite", *append)
        yield ("sync", append[0])
    if slots is not None:
        yield ("pwrite", *slots)
    wanted = dict(tails)
    if known is not None:
        offsets = dict(known)
        listed = yield ("list",)
        wanted = {name: offsets.get(name, 0) for name in listed if journal.writer_of(name, era) is not None}
        wanted = {name: offset for name, offset in wanted.items() if offset != journal.SKIPPED}
    journals = []
    for name, offset in wanted.items():
        journals.append([name, (yield from _read(name, offset, journal.READ_MAX, "tail"))])
    chunks = []
    for name in names:
        chunks.append((yield from _read(name, 0, slot.FILE_BYTES)))
    seen = yield from _read(marker.NAME, 0, marker.BYTES_MAX)
    return [seen, names, chunks, journals]


def mark() -> Plan:
    """Only the marker."""
    return (yield from _read(marker.NAME, 0, marker.BYTES_MAX))


def peek(era: str, node: int) -> Plan:
    """The slot of one node, and after it the marker, which says what its absence is worth."""
    name = slot.file_name(era, slot.file_of(node))
    content = yield from _read(name, slot.offset_of(node), slot.BYTES)
    return [content, (yield from _read(marker.NAME, 0, marker.BYTES_MAX))]


def count(content: bytes) -> Plan:
    """On the own disk: how far the counters of the own slots may have come (R19)."""
    yield ("pwrite", slot.COUNTED, 0, content)
    yield ("sync", slot.COUNTED)
    return True


def copy(era: str) -> Plan:
    """All journals of an era, whole: [marker, [[journal, data], …]]."""
    journals = []
    for name in (yield ("list",)):
        if journal.writer_of(name, era) is not None:
            journals.append([name, (yield from _whole(name))])
    return [(yield from _read(marker.NAME, 0, marker.BYTES_MAX)), journals]


def _read(name: str, offset: int, length: int, kind: str = "pread") -> Plan:
    """A file that is not there reads as empty."""
    try:
        return (yield (kind, name, offset, length))
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
    return (yield from _read(record.NAME, 0, record.BYTES_MAX))


def fetch(name: str) -> Plan:
    """A file, whole."""
    return (yield from _whole(name))


TASKS: dict[str, Callable[..., Plan]] = {
    "exchange": exchange, "mark": mark, "peek": peek, "count": count, "copy": copy, "said": said, "fetch": fetch,
}
