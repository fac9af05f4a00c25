"""The whole tree of ``/openmosix/proc``, put together."""

from __future__ import annotations

from emulator.hpc.admin import Admin
from emulator.hpc.decay import decay_folder
from emulator.hpc.files import folder
from emulator.hpc.info import info_folder
from emulator.hpc.migration import Migration
from emulator.hpc.nodes import Nodes
from emulator.hpc.processes import Root
from emulator.hpc.remote import Remote
from emulator.hpc.state import State
from emulator.hpc.tasks import Tasks
from emulator.membership import Membership
from emulator.probe import Prober
from emulator.reactor import Reactor


def make_root(
    reactor: Reactor, membership: Membership, state: State, prober: Prober, tasks: Tasks, migration: Migration
) -> Root:
    """The root directory, for :class:`emulator.fuse.tree.TreeFilesystem`."""
    hpc = folder(
        [
            ("admin", Admin(membership, state, prober, migration).folder()),
            ("decay", decay_folder(tasks)),
            ("info", info_folder(membership, prober)),
            ("nodes", Nodes(membership, prober)),
            ("remote", Remote(migration)),
        ]
    )
    return Root(hpc, reactor, tasks, migration)
