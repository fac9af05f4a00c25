"""Slots: 64 bytes of each node on each voter, changed in place at every beat.

The slots of the nodes ``32 k .. 32 k + 31`` lie in one file. A slot has one writer. It says which identity writes it, a
counter that grows with each write, how long the writer's journal on this voter is (so that a reader knows without
looking that there is news), the revision of the writer's own record, and with which life of this voter it last counted:
the disk of another life need not have that journal. A late older slot may lie over a newer one for a beat: nothing safe
depends on the order of slots, only on whether one *changed*.

A voter's own disk also has a slot in the file ``counted``, synced, with a counter that this identity has not reached
on any voter: one that shows more, or another identity of that number, shows that the disk was rolled back (R19).
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from mosha.ownership import identity as identities
from mosha.remembered import Remembered

PER_FILE = 32
BYTES = 64
COUNTED = "counted"
COUNTED_AHEAD = 128              # it is written anew when half of this is left
FILE_BYTES = PER_FILE * BYTES
_MAGIC = b"MS"
_WRITER = struct.Struct(">HI16s")           # after the magic: node, number, nonce
_FIELDS = struct.Struct(">QIHII")           # counter, size, generation, revision, life
_CRC = struct.Struct(">I")
_FIELDS_AT = len(_MAGIC) + _WRITER.size
_CRC_AT = _FIELDS_AT + _FIELDS.size
_PAD = bytes(BYTES - _CRC_AT - _CRC.size)


class Slot(NamedTuple):
    """The content of a slot; ``life``: that of the voter, as :func:`life_of` has it, or 0 if none is known."""

    identity: str
    counter: int
    journal_bytes: int
    generation: int
    revision: int
    life: int = 0


def _life_of(life: str) -> int:
    return zlib.crc32(life.encode())


life_of = Remembered(_life_of, 256).__getitem__
"""What a slot says of a voter's life: 0 if that is empty."""


def encode(slot: Slot) -> bytes:
    """The 64 bytes."""
    identity, *fields = slot
    head = _begin_of(identity) + _FIELDS.pack(*fields)
    return head + _CRC.pack(zlib.crc32(head)) + _PAD


def _begin(identity: str) -> bytes:
    node, number, nonce = identity.split(".")
    return _MAGIC + _WRITER.pack(int(node), int(number), bytes.fromhex(nonce))


_begin_of = Remembered(_begin, 256).__getitem__
"""With what a slot of that identity begins."""


def decode(data: bytes) -> Slot | None:
    """The slot, None if there is none, or it is torn, or it names nobody."""
    if len(data) < BYTES or data[:2] != _MAGIC:
        return None
    if _CRC.unpack_from(data, _CRC_AT)[0] != zlib.crc32(data[:_CRC_AT]):
        return None
    try:
        return Slot(_writer_of(data[:_FIELDS_AT]), *_FIELDS.unpack_from(data, _FIELDS_AT))
    except ValueError:
        return None


def _writer(begin: bytes) -> str:
    node, number, nonce = _WRITER.unpack_from(begin, len(_MAGIC))
    return identities.make(node, number, nonce.hex())


_writer_of = Remembered(_writer, 4096).__getitem__
"""The identity of a slot that begins so; raises ValueError if it names nobody."""


def all_of(data: bytes) -> list[Slot]:
    """The slots of a file that can be decoded."""
    found = [decode(data[at : at + BYTES]) for at in range(0, len(data), BYTES)]
    return [one for one in found if one is not None]


def file_of(node: int) -> int:
    """The index of the file that holds the node's slot."""
    return node // PER_FILE


def offset_of(node: int) -> int:
    """Where in that file it is, in bytes."""
    return node % PER_FILE * BYTES


def file_name(era: str, index: int) -> str:
    return f"{era}.slots.{index}"


def only_beats(before: bytes, after: bytes, at: int = 0) -> bool:
    """Whether the slots that begin there differ in the counter only. A torn one may look so: a sign of life."""
    rest, end = at + 32, at + 46                     # what follows the counter, up to the checksum
    return before[at : at + 24] == after[at : at + 24] and before[rest:end] == after[rest:end] and (
        before.startswith(_MAGIC, at)
    )
