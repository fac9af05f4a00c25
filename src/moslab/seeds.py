"""Seeds as people write them: ``7``, and ``0..199``, of which both ends count."""

from __future__ import annotations

import secrets
from argparse import ArgumentTypeError

SEED_MAX = 2**63 - 1
SEED_NEW_MAX = 2**31         # short enough to be typed again


def seed_of(text: str) -> int:
    """One; ArgumentTypeError says what it is not."""
    if not text.isdecimal() or len(text) > len(str(SEED_MAX)) or int(text) > SEED_MAX:
        raise ArgumentTypeError(f"{text:.40} is not a whole number from 0 to {SEED_MAX}")
    return int(text)


def whole(text: str) -> int:
    """A number that is more than 0; ArgumentTypeError if it is none."""
    if not seed_of(text):
        raise ArgumentTypeError("0 is not more than 0")
    return int(text)


def new_seed() -> int:
    """One that nobody has chosen."""
    return secrets.randbelow(SEED_NEW_MAX)


def seeds_of(text: str) -> range:
    """All of ``A..B``, or of ``A`` alone."""
    first, dots, last = text.partition("..")
    if not (first.isdecimal() and (last.isdecimal() if dots else True)):
        raise ArgumentTypeError(f"{text!r} is not A..B")
    found = range(seed_of(first), seed_of(last if dots else first) + 1)
    if not found:
        raise ArgumentTypeError(f"{text!r} is not A..B")
    return found
