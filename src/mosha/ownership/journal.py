"""Journals: what one identity has written on one voter, entry after entry; nothing in it is ever changed.

A journal is a file ``ERA.j.IDENTITY.GENERATION``. An entry is a line: the CRC-32 of the rest in hexadecimal, a blank,
and a JSON list. A writer appends at an offset that it knows. When it does not know whether an entry arrived it writes
no more into that file, but begins the next generation: so nothing is ever overwritten, however late an old write
comes. A reader stops at the first line that is not whole.

====================================================  ================================================================
entry                                                 says
====================================================  ================================================================
``["block", group, epoch, mbal, bal, value, seq]``    the writer's block of Disk Paxos; the highest seq counts
``["commit", group, epoch, identity]``                that identity was decided for the epoch
``["released", group, epoch, identity, heir]``        it has stopped, and nothing of the group is left there;
                                                      heir: the identity that should come next, or empty
``["dead", identity]``                                everything of that identity has ended, for ever
====================================================  ================================================================

A ballot number is ``[round, identity]``; ``[0, ""]`` is that of nobody. The last three are *stable facts*: true for
ever once true, so one copy on one voter is enough to act on, and whoever knows one may write it again anywhere.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple, Union

from mosha.ownership import identity as identities

ENTRY_BYTES_MAX = 4096
READ_MAX = 262144                # bytes of a journal that one read brings
SKIPPED = -1                     # instead of a number of bytes known: not to be read
GROUP_BYTES_MAX = 200
NOBODY: tuple[int, str] = (0, "")
Number = tuple[int, str]


class Block(NamedTuple):
    """A processor's block for one epoch of one group."""

    group: str
    epoch: int
    mbal: Number
    bal: Number
    value: str
    seq: int


@dataclass(frozen=True)
class Commit:
    group: str
    epoch: int
    identity: str


@dataclass(frozen=True)
class Released:
    group: str
    epoch: int
    identity: str
    heir: str = ""


@dataclass(frozen=True)
class Dead:
    identity: str


Fact = Union[Commit, Released, Dead]
Entry = Union[Block, Commit, Released, Dead]
_KINDS: dict[str, type[Any]] = {"block": Block, "commit": Commit, "released": Released, "dead": Dead}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def encode(entry: Entry) -> bytes:
    """The line of an entry; raises ValueError if it is too long."""
    fields = entry if isinstance(entry, Block) else astuple(entry)
    body = json.dumps([_NAMES[type(entry)], *fields], separators=(",", ":")).encode()
    line = b"%08x %s\n" % (zlib.crc32(body), body)
    if len(line) > ENTRY_BYTES_MAX:
        raise ValueError(f"entry of {len(line)} bytes is over the limit of {ENTRY_BYTES_MAX}")
    return line


def decode(data: bytes) -> tuple[list[Entry], int]:
    """The entries at the beginning of ``data`` that are whole, and how many bytes they are."""
    entries: list[Entry] = []
    used = 0
    while True:
        end = data.find(b"\n", used)
        if end < 0:
            return entries, used
        entry = _decode_line(data[used:end])
        if entry is None:
            return entries, used
        entries.append(entry)
        used = end + 1


def _decode_line(line: bytes) -> Entry | None:
    if len(line) < 10 or line[:9] != b"%08x " % zlib.crc32(line[9:]):
        return None
    try:
        name, *fields = json.loads(line[9:])
        if name == "block":
            group, epoch, mbal, bal, value, seq = fields
            return Block(group, epoch, (mbal[0], mbal[1]), (bal[0], bal[1]), value, seq)
        entry: Entry = _KINDS[name](*fields)
        return entry
    except (ValueError, TypeError, KeyError, IndexError):
        return None                                  # of a later version: an older reader goes no further


def name(era: str, identity: str, generation: int) -> str:
    """The file name of a journal."""
    return f"{era}.j.{identity}.{generation}"


def copy_name(journal: str, number: int) -> str:
    """The file name of a part of a recovering voter's copy of what the writer of that journal has on other voters."""
    return f"{journal}.copy.{number}"


def next_copy(names: Iterable[str]) -> int:
    """A number that no copy among these files has."""
    found = [_FORM.fullmatch(name) for name in names]
    return 1 + max((int(one[3]) for one in found if one is not None and one[3]), default=-1)


_FORM = re.compile(r"([0-9]+-[0-9a-f]+)\.j\.([0-9]+\.[0-9]+\.[0-9a-f]+)\.[0-9]+(?:\.copy\.([0-9]+))?")


def writer_of(file_name: str, era: str) -> str | None:
    """The identity that wrote the journal of that name in that era; None for any other file."""
    found = _FORM.fullmatch(file_name)
    return found[2] if found and found[1] == era and identities.well_formed(found[2]) else None
