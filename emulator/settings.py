"""Where things are on a node, and the numbers of the genuine system that programs must agree on.

Paths come from the environment when they are asked for, so that a test or a second tree can move them.
"""

from __future__ import annotations

import os

PROBE_PORT = 5428
"""UDP port of the membership probe."""
MFS_PORT = 723
"""TCP port of the MFS server."""
GUEST_PORT = 4660
"""TCP port where processes of other nodes come in."""


def proc_root() -> str:
    """Mount point of the tree that holds ``hpc/`` and ``<pid>/``: the genuine ``/proc``."""
    return os.environ.get("OPENMOSIX_PROC", "/openmosix/proc")


def mfs_root() -> str:
    """Mount point of MFS."""
    return os.environ.get("OPENMOSIX_MFS", "/mfs")


def map_path() -> str:
    """The cluster's map, read by ``setpe``."""
    return os.environ.get("OPENMOSIX_MAP", "/etc/openmosix.map")


def key_path() -> str:
    """The cluster's key (any bytes), which an MFS peer must know."""
    return os.environ.get("OPENMOSIX_KEY", "/etc/openmosix/key")


def inittab_path() -> str:
    """What PID 1 of a node runs."""
    return os.environ.get("OPENMOSIX_INITTAB", "/etc/inittab")


def state_path() -> str:
    """What the daemon remembers over its own restart, in a place that a boot empties."""
    return os.environ.get("OPENMOSIX_STATE", "/run/openmosix.state")


def deputies_path() -> str:
    """The socket where a process asks this node's daemon to run it elsewhere (at most 107 bytes)."""
    return os.environ.get("OPENMOSIX_DEPUTIES", "/run/openmosix.deputies")


def mfs_time_path() -> str:
    """How long MFS may take, ``quick`` or ``genuine``; without the file it is quick."""
    return os.environ.get("OPENMOSIX_MFS_TIME", "/etc/openmosix/mfs_time")


def unsynced_path() -> str:
    """Where the undo of writes that are to be lost with the power is kept; it must outlive a boot."""
    return os.environ.get("OPENMOSIX_UNSYNCED", "/var/lib/openmosix/unsynced")


def system_name() -> str:
    """What ``mosctl whois`` calls the system: the tools before 2004 said ``MOSIX``."""
    return os.environ.get("OPENMOSIX_NAME", "openMosix")


def discovery_pid_path() -> str:
    """Where ``omdiscd`` says which process it is."""
    return os.environ.get("OPENMOSIX_DISCOVERY_PID", "/run/omdiscd.pid")
