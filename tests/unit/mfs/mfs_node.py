"""One MFS node as a process: ``python node.py '{"node": 1, "nodes": {"1": "127.0.0.11", ...}, ...}'``.

Mounts, serves, prints ``ready``; then takes lines from stdin: a JSON table of nodes to be configured anew with (its
first entry being this node's own id), ``nomfs``/``mfs``, ``leave`` (half off), ``off``, ``selected PID NODE``, ``home
PID NODE`` (a guest's), or ``mount`` (again, after somebody's umount). The tree of :mod:`emulator.mfs.control` is
mounted on ``control``. With ``genuine_s`` its time is genuine, but so many seconds for ten; with ``quick_s`` quick,
but so many seconds for one. With ``ahead_s`` its clock is so far ahead of the machine's, and its disks'. Ends at TERM
or the end of stdin, without its mounts.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import time
from typing import Any

from emulator.fuse.mount import mount, unmount
from emulator.fuse.session import Filesystem, Session
from emulator.fuse.tree import TreeFilesystem
from emulator.membership import Membership
from emulator.mfs.control import control_folder
from emulator.mfs.faults import Faults
from emulator.mfs.mount import MfsFilesystem
from emulator.mfs.pace import GENUINE, QUICK
from emulator.mfs.server import Server
from emulator.mfs.unsynced import Unsynced
from emulator.reactor import Reactor
from emulator.table import Record


def configure(membership: Membership, node: int, nodes: dict[str, str]) -> None:
    """A node's addresses have blanks between them; all but the first are aliases."""
    addresses = {int(number): given.split() for number, given in nodes.items()}
    records = [Record(number, given[0], 1) for number, given in addresses.items()]
    aliases = [Record(number, alias, 0) for number, given in addresses.items() for alias in given[1:]]
    membership.configure(node, records + aliases)


class Ahead:
    """What stat(2) says where the clock is ``ahead`` nanoseconds ahead."""

    def __init__(self, state: os.stat_result, ahead: int) -> None:
        self._state = state
        self._ahead = ahead

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name) + (self._ahead if name.endswith("time_ns") else 0)


def set_clock(ahead: int) -> None:
    """Let all that this process hears of the time, and says of it, be of another clock; ``ahead`` in nanoseconds."""
    stat, fstat, utime, time_ns = os.stat, os.fstat, os.utime, time.time_ns

    def set_times(path: Any, ns: tuple[int, int] | None = None) -> None:
        if ns is None:
            utime(path)
        else:
            utime(path, ns=(ns[0] - ahead, ns[1] - ahead))

    changed: Any = os
    changed.stat = lambda *where, **how: Ahead(stat(*where, **how), ahead)
    changed.fstat = lambda fd: Ahead(fstat(fd), ahead)
    changed.utime = set_times
    changed = time
    changed.time_ns = lambda: time_ns() + ahead


def main() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    options: dict[str, Any] = json.loads(sys.argv[1])
    if options["ahead_s"]:
        set_clock(options["ahead_s"] * 10**9)
    reactor, membership = Reactor(), Membership()
    key, root, port = options["key"].encode(), options["root"], options["port"]
    leads: dict[str, dict[int, int]] = {"selected": {}, "home": {}}
    mounted = {options["mountpoint"]: mount(options["mountpoint"], "mfs")}
    try:
        mounted[options["control"]] = mount(options["control"], "hpc")
        unsynced = Unsynced(options["unsynced"], options["boot"])
        unsynced.restore()
        faults = Faults(reactor, unsynced)
        server = Server(reactor, membership, key, faults, root=root, address=options["address"], port=port)
        server.listen()
        filesystem = MfsFilesystem(
            reactor, membership, key, faults, root=root, mountpoint=options["mountpoint"], port=port,
            selected=lambda pid: leads["selected"].get(pid, 0), home=lambda pid: leads["home"].get(pid, 0),
        )  # fmt: skip
        if options["quick_s"]:
            filesystem.pace = QUICK._replace(reply_s=options["quick_s"], connect_s=options["quick_s"])
        if options["genuine_s"]:
            part_s = options["genuine_s"]
            filesystem.pace = GENUINE._replace(reply_s=part_s, slow_s=part_s, connect_s=part_s)
        control = TreeFilesystem(control_folder(filesystem, server, faults, lambda _name: None))
        served: tuple[Filesystem, ...] = (filesystem, control)
        sessions = [Session(reactor, fd, tree) for fd, tree in zip(mounted.values(), served)]
        if options["nodes"]:
            configure(membership, options["node"], options["nodes"])

        def command(_mask: int) -> None:
            line = sys.stdin.readline().strip()
            if line in ("mfs", "nomfs"):
                membership.serve_files(line == "mfs")
            elif line == "leave":
                membership.leave(True)
            elif line == "off":
                membership.disable()
            elif line == "mount":
                filesystem.begin_anew()
                sessions[0] = Session(reactor, mount(options["mountpoint"], "mfs"), filesystem)
            elif line.startswith(("selected ", "home ")):
                name, pid, node = line.split()
                leads[name][int(pid)] = int(node)
            elif line:
                configure(membership, options["node"], json.loads(line))
            else:
                reactor.stop()
            print("ready", flush=True)

        signal.signal(signal.SIGTERM, lambda *_: reactor.stop())
        reactor.watch(0, select.EPOLLIN, command)
        reactor.call_later(0, lambda: print("ready", flush=True))
        reactor.run()
    finally:
        for mountpoint in mounted:
            unmount(mountpoint)
    for session in sessions:
        session.close()
    filesystem.close()
    server.close()
    reactor.close()


if __name__ == "__main__":
    main()
