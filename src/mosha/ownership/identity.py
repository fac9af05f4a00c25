"""Identities: one life of one agent on one node.

An identity is a string ``NODE.NUMBER.NONCE``, compared for equality only. The number is for people (it also shows that
a disk was rolled back); what makes the identity unique is the nonce, 32 hexadecimal digits.
"""

from __future__ import annotations

import re

from mosha.remembered import Remembered

NUMBER_MAX = 999_999_999
_FORM = re.compile(r"([1-9][0-9]{0,4})\.([0-9]{1,9})\.([0-9a-f]{32})")


def make(node: int, number: int, nonce: str) -> str:
    """A new identity; raises ValueError unless it is well formed."""
    identity = f"{node}.{number}.{nonce}"
    if not well_formed(identity):
        raise ValueError(f"not an identity: {identity!r}")
    return identity


def well_formed(identity: str) -> bool:
    return _FORM.fullmatch(identity) is not None


def _node_of(identity: str) -> int:
    return int(identity.partition(".")[0])


node_of = Remembered(_node_of, 4096).__getitem__
"""The node of a well-formed identity."""


def number_of(identity: str) -> int:
    """How many lives its node counted, as far as its disk remembered."""
    return int(identity.split(".", 2)[1])
