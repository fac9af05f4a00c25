"""Who is where, without any process that moves."""

from __future__ import annotations

import os
from typing import cast

from emulator.hpc.migration import Guest, Migration
from emulator.membership import Membership
from emulator.probe import Prober
from emulator.table import Record

GUEST = Guest(1, "10.0.0.1", 77, 77, 77, 0, 0, "cat")


def test_a_guest_is_here_before_it_has_told_its_pid() -> None:
    """A body may look at itself before the daemon has heard that it runs: it is known by its warden."""
    membership = Membership()
    membership.configure(2, [Record(1, "10.0.0.1", 3)])
    migration = Migration(membership, cast("Prober", None))
    warden, body = os.getppid(), os.getpid()
    assert (migration.where(body), migration.home_of(body)) == (0, 0)
    migration.arrives(GUEST, warden)
    assert (migration.where(body), migration.home_of(body), migration.guests) == (2, 1, {})
    migration.arrived(body, warden)
    assert (migration.where(body), migration.guests) == (2, {body: GUEST})
    migration.gone(body, warden)
    assert (migration.where(body), migration.home_of(body), migration.guests) == (0, 0, {})
