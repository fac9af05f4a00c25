"""What a group holds besides processes, and how it lets go of it."""

from __future__ import annotations

from collections.abc import Collection

from mosha.resources import addresses, ending


def remove_left(
    group: str | None, rundir: str, limit_s: float, cut: bool = True, spared: Collection[str] = ()
) -> bool:
    """Take away what processes of ``group`` (``None``: of any but ``spared``) left, addresses and mounts; whether
    nothing is left.

    Mounts, ``limit_s`` and ``cut``: :mod:`mosha.resources.ending`.
    """
    is_free = addresses.remove_left(group, rundir, spared)
    return ending.remove_left(group, rundir, limit_s, cut, spared) and is_free
