"""What ``/mfs`` lists."""

from __future__ import annotations

from emulator.membership import Membership

SPECIALS = ("here", "home", "lastexec", "magic", "selected")
SPECIAL_BITS = 4
"""A special's node id is the node to which it leads, and in so many bits which special it is."""
ROOT_INO = 65538
ROOT_MODE = 0o555

OWNER_SHIFT = 48
"""The top 16 bits of a node id say whose file it is, the others are that node's own number for it."""
NUMBER_MASK = (1 << OWNER_SHIFT) - 1
ROOT_NUMBER = 1
"""Every node's own number for its root directory, in every incarnation."""


def listing(membership: Membership) -> list[str]:
    """The names in ``/mfs``: the specials and every configured node, dead or alive; nobody is asked."""
    return [*SPECIALS, *map(str, sorted(membership.table))]
