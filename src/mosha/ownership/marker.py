"""Markers: what a voter says of itself, in one small file that is replaced as a whole.

An operation on a voter counts only if the marker that was read at its end says ``full``, and names the era and the
configuration of the one who asks. *Eras* are the lives of the voters as a body: a new one is founded when too many
have forgotten (first boot, a majority wiped). An era is ``NUMBER-NONCE``; its number is at least the second since 1970
in which it was founded, and only grows: with the epoch it is the fencing token. A *life* is a time in which a disk
was whole.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from functools import lru_cache
from typing import NamedTuple

from mosha.ownership import electorate as electorates
from mosha.ownership.electorate import Electorate
from mosha.timing import SECONDS_MAX, Timing

PROTOCOL = 2
"""What is written into files and what it means: agents of two numbers do not count each other's operations."""
NAME = "voter"
BYTES_MAX = 4096
FULL, RECOVERING, REJOINING = "full", "recovering", "rejoining"
NONE = "none"                    # this node has no vote
CLOSED = "closed"                # nothing counts while the other of two voters is shot: mosha.partner
_ERA = re.compile(r"[0-9]{1,12}-[0-9a-f]{8}")
ERA_FORM = "NUMBER-NONCE, a nonce is 8 of 0-9a-f"


class Marker(NamedTuple):
    """``invited``: the lives that a founding asks to begin its era with it, whole and empty. ``lease_s``: the
    longest lease that an operation on this voter may still carry. ``settled``: rule 3 of electorates. ``met``: the
    boot in which it counted an operation on both of two voters. ``absent``: a voter that was shot, or was
    said to be off, and gets its vote back."""

    state: str
    era: str
    life: str
    configuration: str
    boot: str
    invited: tuple[str, ...] = ()
    lease_s: float = 0.0
    electorate: Electorate = Electorate(0, 0, ())
    settled: bool = True
    met: str = ""
    absent: tuple[int, ...] = ()


def configuration(timing: Timing, protocol: int = PROTOCOL) -> str:
    """What two agents must agree on, besides the voters, to count each other's operations (R2, R20)."""
    return hashlib.sha256(f"{protocol} {timing!r}".encode()).hexdigest()[:16]


def encode(marker: Marker) -> bytes:
    body = json.dumps(marker, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


@lru_cache(maxsize=32)
def decode(data: bytes) -> Marker | None:
    """The marker; None if there is none that is whole."""
    line = data.partition(b"\n")[0]
    if line[:9] != b"%08x " % zlib.crc32(line[9:]):
        return None
    try:
        state, era, life, configuration, boot, invited, lease_s, chosen, settled, met, absent = json.loads(line[9:])
        found = Marker(
            state, era, life, configuration, boot, tuple(invited), float(lease_s), electorates.decode(chosen),
            bool(settled), met, tuple(absent),
        )
        return found if _is_sound(found) else None
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def _is_sound(found: Marker) -> bool:
    """Whether its fields are what everybody counts on."""
    texts = (found.state, found.era, found.life, found.configuration, found.boot, found.met, *found.invited)
    return (
        all(isinstance(one, str) for one in texts) and electorates.are_voters(found.absent)
        and found.state in (FULL, RECOVERING, REJOINING, NONE, CLOSED) and (not found.era or is_era(found.era))
        and 0 <= found.lease_s <= SECONDS_MAX
    )


def forgotten(marker: Marker, life: str) -> Marker:
    """That of a voter that counts for nobody until it has recovered (R16), and has met nobody since (R23)."""
    return marker._replace(state=RECOVERING, life=life, invited=(), met="")


def is_era(text: str) -> bool:
    return _ERA.fullmatch(text) is not None


def make_era(number: int, nonce: str) -> str:
    return f"{number}-{nonce[:8]}"


def number_of(era: str) -> int:
    """The number of an era, 0 for none."""
    return int(era.partition("-")[0] or 0)
