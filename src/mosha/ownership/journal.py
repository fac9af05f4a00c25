"""Journals: what one identity has written on one voter, entry after entry; nothing in it is ever changed.

A journal is a file ``ERA.j.IDENTITY.GENERATION``. An entry is a line: the CRC-32 of the rest in hexadecimal, a blank,
and a JSON list. A writer appends at an offset that it knows. When it does not know whether an entry arrived it writes
no more into that file, but begins the next generation: so nothing is ever overwritten, however late an old write
comes; nor does one make a file anew that was removed. A reader stops at the first line that is not whole. It is of an
entry that is still on its way, or else the journal is *bad*: :func:`is_bad`.

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
from typing import Any, NamedTuple, Union

from mosha.ownership import electorate as electorates
from mosha.ownership import identity as identities
from mosha.remembered import Remembered

ENTRY_BYTES_MAX = 4096
READ_MAX = 262144                # bytes of journals that one exchange, or page of a copy, brings
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


class Commit(NamedTuple):
    group: str
    epoch: int
    identity: str


class Released(NamedTuple):
    group: str
    epoch: int
    identity: str
    heir: str = ""


class Dead(NamedTuple):
    identity: str


Fact = Union[Commit, Released, Dead]
Entry = Union[Block, Commit, Released, Dead]
_KINDS: dict[str, type[Any]] = {"block": Block, "commit": Commit, "released": Released, "dead": Dead}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def encode(entry: Entry) -> bytes:
    """The line of an entry; raises ValueError if it is too long."""
    body = json.dumps([_NAMES[type(entry)], *entry], separators=(",", ":")).encode()
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


def is_bad(data: bytes, used: int = 0, promised: int = 0) -> bool:
    """Whether what is there from ``used`` on was never written so, or is less than ``promised``, the bytes that were on
    the disk before this was read."""
    size = whole(data, used)
    return size is None or size < promised


def whole(data: bytes, used: int = 0) -> int | None:
    """The bytes of the lines that are whole, of which ``used`` are known to be; None if a line fails its checksum, or
    has lost its end."""
    while True:
        end = data.find(b"\n", used)
        if end < 0:
            return None if _is_summed(data[used:-1]) else used
        if not _is_summed(data[used:end]):
            return None
        used = end + 1


def _is_summed(line: bytes) -> bool:
    return len(line) >= 10 and line[:9] == b"%08x " % zlib.crc32(line[9:])


def _decode_line(line: bytes) -> Entry | None:
    if not _is_summed(line):
        return None
    try:
        name, *fields = json.loads(line[9:])
        if name == "block":
            group, epoch, mbal, bal, value, seq = fields
            entry: Entry = Block(group, epoch, _number(*mbal), _number(*bal), value, seq)
        else:
            entry = _KINDS[name](*fields)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None                                  # of a later version: an older reader goes no further
    return entry if _is_sound(entry) else None


def _number(turn: int, who: str) -> Number:
    """A ballot number; TypeError if it is none."""
    if type(turn) is not int or not isinstance(who, str):
        raise TypeError("not a ballot number")
    return turn, who


def _is_sound(entry: Entry) -> bool:
    """Whether its fields are what everybody counts on: a checksum does not say who wrote it. Epochs begin with 1."""
    if isinstance(entry, Dead):
        return isinstance(entry.identity, str)
    if not isinstance(entry.group, str) or type(entry.epoch) is not int or entry.epoch < 1:
        return False
    if isinstance(entry, Block):
        is_value = entry.value == "" or _is_value(entry.group, entry.value)
        return is_value and type(entry.seq) is int
    return _is_value(entry.group, entry.identity) and isinstance(getattr(entry, "heir", ""), str)


def _is_value(group: str, text: Any) -> bool:
    """Whether a register of that name may have this value: an identity, or voters."""
    if not isinstance(text, str):
        return False
    if not group.startswith(electorates.PREFIX):
        return identities.well_formed(text)
    try:
        number, voters = group[len(electorates.PREFIX):], text.split(",")
        return number.isascii() and number.isdigit() and electorates.value_of(electorates.named(voters)) == text
    except ValueError:
        return False


def name(era: str, identity: str, generation: int) -> str:
    """The file name of a journal."""
    return f"{era}.j.{identity}.{generation}"


def copy_name(journal: str, number: int) -> str:
    """The file name of a part of a recovering voter's copy of what the writer of that journal has on other voters."""
    return f"{journal}.copy.{number}"


_FORM = re.compile(r"([0-9]+-[0-9a-f]+)\.j\.([0-9]+\.[0-9]+\.[0-9a-f]+)\.([0-9]+)(?:\.copy\.([0-9]+))?")


class Parts(NamedTuple):
    """What the name of a journal says; ``copy``: which one, if it is a copy."""

    writer: str
    generation: int
    copy: int | None


def _parse(file_name: str) -> tuple[str, Parts] | None:
    found = _FORM.fullmatch(file_name)
    if found is None or not identities.well_formed(found[2]):
        return None
    return found[1], Parts(found[2], int(found[3]), int(found[4]) if found[4] else None)


_parsed = Remembered(_parse, 4096).__getitem__
"""The era, and what else the name of a journal says; None for any other file."""


def parts_of(file_name: str, era: str) -> Parts | None:
    """What the name of a journal of that era says; None for any other file."""
    found = _parsed(file_name)
    return found[1] if found is not None and found[0] == era else None


def of_era(file_names: Iterable[str], era: str) -> list[str]:
    """Those of these names that are of journals of that era."""
    begin = f"{era}.j."
    return [name for name in file_names if name.startswith(begin) and _parsed(name) is not None]


def writer_of(file_name: str, era: str) -> str | None:
    """The identity that wrote the journal of that name in that era; None for any other file."""
    parts = parts_of(file_name, era)
    return parts.writer if parts is not None else None
