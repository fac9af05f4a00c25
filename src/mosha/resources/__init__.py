"""What a group holds besides processes, and how it lets go of it."""

from __future__ import annotations

from mosha.resources import ending, ip

RUN_VARIABLE = "MOSHA_RUN"
"""Tells a group's commands where the run directory of the agent is."""


def remove_left(group: str | None, rundir: str, limit_s: float, cut: bool = True) -> bool:
    """Take away what processes of ``group`` (``None``: of any) left, addresses and mounts; whether nothing is left.

    An address counts as gone: its lifetime ends it. Mounts, ``limit_s`` and ``cut``: :mod:`mosha.resources.ending`.
    """
    ip.remove_left(group)
    return ending.remove_left(group, rundir, limit_s, cut)
