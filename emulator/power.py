"""How a node loses its power: in silence, for all others.

Rules:

1. The kernel closes the connections of what it kills, and would tell the other ends at once; a machine that has lost
   its power tells nobody. So on ``SIGNAL`` PID 1 has its kernel drop all that the node sends, and ends at once: the
   kernel kills all that is left in the node. What drops it is of the node's own network namespace, which ends with the
   node: there is nothing to restore, and nothing can be left.
2. That is a message to nftables, as it waits for nobody: to take an interface down one waits for all others on the
   machine that change interfaces (0.5 s were seen where many nodes began and ended). A kernel without nftables
   closes the connections.
3. Whoever cuts the power sends ``SIGNAL``, and kills a node that has not ended ``WITHIN_S`` later, or is paused: that
   is not silent, but sure.
"""

from __future__ import annotations

import os
import signal
import socket
from struct import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

SIGNAL = signal.SIGPWR
WITHIN_S = 0.5
LOOK_EVERY_S = 0.005
EXIT_CODE = 128 + signal.SIGKILL
"""As of a container that was killed."""

# linux/netfilter/nfnetlink.h, nf_tables.h
_NETLINK_NETFILTER = 12
_NFTABLES = 10
_BATCH_BEGIN, _BATCH_END, _NEWTABLE, _NEWCHAIN = 0x10, 0x11, _NFTABLES << 8, _NFTABLES << 8 | 3
_REQUEST, _CREATE = 0x1, 0x400
_UNSPECIFIED, _INET = 0, 1
_TABLE_NAME = _CHAIN_TABLE = 1
_CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 3, 4, 5, 7
_HOOK_NUMBER, _HOOK_PRIORITY, _LOCAL_OUT, _NESTED = 1, 2, 3, 0x8000
_DROP, _FIRST = 0, -400
_NAME = b"power\0"


def lose(*_signal: object) -> NoReturn:
    """Rule 1: a handler for ``SIGNAL``."""
    try:
        cut_off()
    finally:
        os._exit(EXIT_CODE)


def cut_off() -> None:
    """Send nothing any more, from this network namespace; when this returns that is so."""
    hook = _attribute(_HOOK_NUMBER, pack("!I", _LOCAL_OUT)) + _attribute(_HOOK_PRIORITY, pack("!i", _FIRST))
    chain = _attribute(_CHAIN_TABLE, _NAME) + _attribute(_CHAIN_NAME, _NAME) + _attribute(_CHAIN_TYPE, b"filter\0")
    chain += _attribute(_CHAIN_HOOK | _NESTED, hook) + _attribute(_CHAIN_POLICY, pack("!I", _DROP))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as kernel:
        kernel.send(
            _message(_BATCH_BEGIN, _UNSPECIFIED, _NFTABLES)
            + _message(_NEWTABLE, _INET, 0, _attribute(_TABLE_NAME, _NAME)) + _message(_NEWCHAIN, _INET, 0, chain)
            + _message(_BATCH_END, _UNSPECIFIED, _NFTABLES)
        )


def _message(kind: int, family: int, resource: int, attributes: bytes = b"") -> bytes:
    body = pack("!BBH", family, 0, resource) + attributes
    return pack("=IHHII", 16 + len(body), kind, _REQUEST | _CREATE, 0, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
