"""Serves the hpc tree, with its probe and with processes that go away and come in, until SIGTERM; no MFS.

``SILENCE_S`` in the environment is for how long another node may be silent, ``KEEPALIVE_S`` when keepalives begin,
``MOST`` how many may be away, or guests.
"""

from __future__ import annotations

import logging
import os
import signal
import sys

from emulator import guests, settings
from emulator.fuse.mount import mount, unmount
from emulator.fuse.session import Session
from emulator.fuse.tree import TreeFilesystem
from emulator.guests.home import Home
from emulator.guests.host import Host
from emulator.hpc.balance import Balance
from emulator.hpc.migration import Migration
from emulator.hpc.state import State
from emulator.hpc.tasks import Tasks
from emulator.hpc.tree import make_root
from emulator.membership import Membership
from emulator.mfs.pace import QUICK
from emulator.probe import Prober
from emulator.reactor import Reactor

logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
reactor = Reactor()
reactor.watch_signals([signal.SIGTERM], lambda _numbers: reactor.stop())
membership = Membership()
state = State(membership)
prober = Prober(reactor, membership, state.report)
migration = Migration(membership, prober)
keepalive_s = float(os.environ.get("KEEPALIVE_S", "0"))
pace = QUICK._replace(
    silence_s=float(os.environ.get("SILENCE_S", "3")), keepalives_s=(keepalive_s, 1.0) if keepalive_s else None
)
guests.home.AWAY_MAX = guests.host.GUESTS_MAX = int(os.environ.get("MOST", "256"))
tasks = Tasks()
balance = Balance(reactor, membership, prober, state)
home = Home(reactor, membership, migration, tasks, b"a key", lambda: pace, balance.choose)
host = Host(reactor, membership, migration, tasks, b"a key", lambda: pace, lambda: "block" in state.toggles)
home.listen()
root = make_root(reactor, membership, state, prober, tasks, migration)
session = Session(reactor, mount(settings.proc_root(), "hpc"), TreeFilesystem(root))
try:
    reactor.run()
finally:
    unmount(settings.proc_root())
    session.close()
    home.close()
    host.close()
    prober.close()
