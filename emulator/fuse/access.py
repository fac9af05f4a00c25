"""Permission bits, as the kernel reads them (path_resolution(7)). Supplementary groups are not known here."""

from __future__ import annotations

import stat

X_OK, W_OK, R_OK = 1, 2, 4


def permitted(mode: int, owner: int, group: int, uid: int, gid: int, mask: int) -> bool:
    """Whether ``uid``/``gid`` may do ``mask`` (R_OK | W_OK | X_OK) to a file of ``mode``, ``owner``, ``group``."""
    if uid == 0:
        return not mask & X_OK or stat.S_ISDIR(mode) or bool(mode & 0o111)
    if uid == owner:
        bits = mode >> 6
    elif gid == group:
        bits = mode >> 3
    else:
        bits = mode
    return not mask & ~bits


def wanted(flags: int) -> int:
    """The access mask that open(2) ``flags`` ask for."""
    return (R_OK, W_OK, R_OK | W_OK, R_OK | W_OK)[flags & 3]
