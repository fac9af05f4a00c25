"""``mfs/``, beside ``hpc/``: what can be looked at and changed in this node's MFS while it runs; not a genuine thing.

``time``    ``quick`` or ``genuine``: how long operations on other nodes' files may take; a write is for this boot
``faults``  the faults that this node's files have for who uses them through MFS, as a JSON list; a write sets all anew
``asked``   how often this node asked each other node for what, and what came of it
``served``  how often each other node asked this one
``links``   over which path each other node is asked, and what went over each
"""

from __future__ import annotations

import errno
import logging
from typing import Callable

from emulator.fuse.tree import Directory
from emulator.hpc.files import Generated, Refused, folder
from emulator.mfs.counters import render, render_links
from emulator.mfs.fault import FaultError, parse
from emulator.mfs.fault import render as render_faults
from emulator.mfs.faults import Faults
from emulator.mfs.mount import MfsFilesystem
from emulator.mfs.pace import PACES
from emulator.mfs.server import Server

log = logging.getLogger(__name__)


def control_folder(
    filesystem: MfsFilesystem, server: Server, faults: Faults, keep_time: Callable[[str], None]
) -> Directory:
    """The directory. ``keep_time`` hears which time was written."""

    def set_pace(data: bytes) -> None:
        pace = PACES.get(data.strip().decode(errors="replace"))
        if pace is None:
            log.warning("MFS: time is one of %s", ", ".join(PACES))
            raise Refused(errno.EINVAL)
        filesystem.pace = pace
        keep_time(pace.name)

    def set_faults(data: bytes) -> None:
        try:
            faults.set(parse(data.decode()))
        except (FaultError, UnicodeDecodeError) as error:
            log.warning("MFS: %s", error)
            raise Refused(errno.EINVAL) from None

    return folder(
        [
            ("time", Generated(0o644, lambda: f"{filesystem.pace.name}\n", set_pace)),
            ("faults", Generated(0o600, lambda: render_faults(faults.present), set_faults)),
            ("asked", Generated(0o444, lambda: render(filesystem.tallies.items()))),
            ("served", Generated(0o444, lambda: render(server.tallies.items()))),
            ("links", Generated(0o444, lambda: render_links(filesystem.links))),
        ]
    )
