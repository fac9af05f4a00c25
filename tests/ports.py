"""Ports for servers of tests."""

from __future__ import annotations

import random
import socket
from itertools import islice
from pathlib import Path

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST, TRIES = 10_000, 1_000


def free_ports(count: int) -> list[int]:
    """So many on which nobody listens, below those that the kernel hands out of itself (ip(7), ip_local_port_range): no
    connection takes one before its server does.

    :raises LookupError: where TRIES have not found them
    """
    tried = random.sample(range(LOWEST, int(RANGE.read_text().split()[0])), TRIES)
    found = list(islice((port for port in tried if _is_free(port)), count))
    if len(found) < count:
        raise LookupError(f"{len(found)} of {count} ports found, {TRIES} tried")
    return found


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("", port)).close()
    except OSError:
        return False
    return True
