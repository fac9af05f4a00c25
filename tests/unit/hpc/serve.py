"""Serves the hpc tree alone, with its probe, at OPENMOSIX_PROC until SIGTERM; no MFS."""

from __future__ import annotations

import logging
import signal
import sys

from emulator import settings
from emulator.fuse.mount import mount, unmount
from emulator.fuse.session import Session
from emulator.fuse.tree import TreeFilesystem
from emulator.hpc.state import State
from emulator.hpc.tasks import Tasks
from emulator.hpc.tree import make_root
from emulator.membership import Membership
from emulator.probe import Prober
from emulator.reactor import Reactor

logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
reactor = Reactor()
signal.signal(signal.SIGTERM, lambda _number, _frame: reactor.stop())
membership = Membership()
state = State(membership)
prober = Prober(reactor, membership, state.report)
session = Session(
    reactor, mount(settings.proc_root(), "hpc"), TreeFilesystem(make_root(membership, state, prober, Tasks()))
)
try:
    reactor.run()
finally:
    unmount(settings.proc_root())
    session.close()
    prober.close()
