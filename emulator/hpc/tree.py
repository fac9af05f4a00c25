"""The whole tree of ``/openmosix/proc``, put together."""

from __future__ import annotations

from emulator.hpc.admin import Admin
from emulator.hpc.files import constant, folder
from emulator.hpc.info import info_folder
from emulator.hpc.nodes import Nodes
from emulator.hpc.processes import Root
from emulator.hpc.state import State
from emulator.membership import Membership
from emulator.probe import Prober

DECAY = (
    ("cpujob", 0o666, "0\n"),
    ("iojob", 0o666, "0\n"),
    ("slow", 0o666, "1\n"),
    ("fast", 0o666, "0\n"),
    ("own", 0o666, "0\n"),
    ("inherit", 0o666, "0\n"),
    ("exec", 0o666, "0\n"),
    ("execonce", 0o666, "0\n"),
    ("clear", 0o222, ""),
)


def make_root(membership: Membership, state: State, prober: Prober) -> Root:
    """The root directory, for :class:`emulator.fuse.tree.TreeFilesystem`."""
    hpc = folder(
        [
            ("admin", Admin(membership, state, prober).folder()),
            ("decay", folder((name, constant(mode, text)) for name, mode, text in DECAY)),
            ("info", info_folder(membership, prober)),
            ("nodes", Nodes(membership, prober)),
            ("remote", folder([])),
        ]
    )
    return Root(hpc, membership)
