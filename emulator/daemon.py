"""``openmosixd``: openMosix of one node, in user space; what a genuine kernel does by itself.

Rules:

1. It starts off, as a kernel after boot: ``setpe`` tells it which node it is. Started again within one boot it knows
   that still, and its settings (:mod:`emulator.memory`).
2. Both file systems are mounted before either is served: who sees the tree can use ``/mfs``.
3. What a power cut took from the disk is gone before anything is served (:mod:`emulator.mfs.unsynced`).
4. Processes that are away, and guests, end with it.
5. ``/mfs`` that somebody has unmounted is mounted again by a write to ``mfs/mounted`` (``mount -t mfs``).
6. On SIGTERM and SIGINT, and on any failure, both mounts are taken away; what a killed daemon left mounted is
   replaced at the next start.
"""

from __future__ import annotations

import errno
import logging
import signal
import sys

from emulator import settings
from emulator.boot import BOOT_ID
from emulator.fuse.mount import mount, unmount
from emulator.fuse.session import Filesystem, Session
from emulator.fuse.tree import TreeFilesystem
from emulator.guests.home import Home
from emulator.guests.host import Host
from emulator.hpc.balance import Balance
from emulator.hpc.files import Generated, Refused, to_ints
from emulator.hpc.migration import Migration
from emulator.hpc.state import State
from emulator.hpc.tasks import Tasks
from emulator.hpc.tree import make_root
from emulator.membership import Membership
from emulator.memory import keep
from emulator.mfs.control import control_folder
from emulator.mfs.faults import Faults
from emulator.mfs.mount import MfsFilesystem
from emulator.mfs.pace import PACES, Pace
from emulator.mfs.server import Server
from emulator.mfs.unsynced import Unsynced
from emulator.probe import Prober
from emulator.reactor import Reactor

log = logging.getLogger(__name__)

KEY_BYTES_MAX = 4096


class Daemon:
    """All parts of openMosix on one node. OSError if one of them cannot be had."""

    def __init__(self, reactor: Reactor, key: bytes, pace: Pace) -> None:
        self._reactor = reactor
        self._sessions: list[tuple[str, Session]] = []
        self._membership = membership = Membership()
        self._state = state = State(membership)
        self._prober = Prober(reactor, membership, state.report)
        tasks = Tasks()
        migration = Migration(membership, self._prober)
        unsynced = Unsynced(settings.unsynced_path(), read_boot_id())
        unsynced.restore()
        faults = Faults(reactor, unsynced)
        self._server = Server(reactor, membership, key, faults)
        self._mfs = MfsFilesystem(
            reactor, membership, key, faults, selected=tasks.selected, home=migration.home_of
        )
        self._mfs.pace = pace
        balance = Balance(reactor, membership, self._prober, state)
        self._home = Home(reactor, membership, migration, tasks, key, lambda: self._mfs.pace, balance.choose)
        self._host = Host(
            reactor, membership, migration, tasks, key, lambda: self._mfs.pace, lambda: "block" in state.toggles
        )
        root = make_root(reactor, membership, state, self._prober, tasks, migration)
        control = control_folder(self._mfs, self._server, faults, state.set_time)
        control.add("mounted", Generated(0o644, lambda: f"{self._is_mounted():d}\n", self._mount_again))
        root.add("mfs", control)
        self._tree = TreeFilesystem(root)
        self._tasks = tasks

    def start(self) -> None:
        """Listen, and mount both file systems."""
        self._server.listen()
        self._home.listen()
        self._mount(settings.mfs_root(), "mfs", self._mfs)
        self._mount(settings.proc_root(), "hpc", self._tree)
        keep(self._membership, self._state, self._tasks, settings.state_path())  # now, when all parts hear of it
        if self._state.time is not None:
            self._mfs.pace = PACES[self._state.time]

    def close(self) -> None:
        """Unmount, and close all sockets. Whoever waits in a file system gets an error."""
        for mountpoint, session in reversed(self._sessions):
            try:
                unmount(mountpoint)
            except OSError as error:
                log.warning("cannot unmount %s: %s", mountpoint, error.strerror)
            session.close()
        self._home.close()
        self._host.close()
        self._server.close()
        self._prober.close()

    def _is_mounted(self) -> bool:
        return any(point == settings.mfs_root() for point, _ in self._sessions)

    def _mount_again(self, data: bytes) -> None:
        to_ints(data, 1, 1)
        if self._is_mounted():
            log.warning("MFS already mounted!")
            raise Refused(errno.EINVAL)
        if not self._membership.mospe:
            log.warning("WARNING: MFS mounting is ineffective until openMosix is configured.")
        self._mfs.begin_anew()
        try:
            self._mount(settings.mfs_root(), "mfs", self._mfs)
        except OSError as error:
            raise Refused(error.errno or errno.EIO) from None

    def _mount(self, mountpoint: str, subtype: str, filesystem: Filesystem) -> None:
        fd = mount(mountpoint, subtype)

        def ended() -> None:
            log.warning("%s was unmounted", mountpoint)
            self._sessions.remove((mountpoint, session))

        session = Session(self._reactor, fd, filesystem, ended)
        self._sessions.append((mountpoint, session))


def read_key(path: str) -> bytes:
    """The cluster's key; OSError, ValueError if it is empty or longer than ``KEY_BYTES_MAX``."""
    with open(path, "rb") as file:
        key = file.read(KEY_BYTES_MAX + 1)
    if not 0 < len(key) <= KEY_BYTES_MAX:
        raise ValueError(f"{path}: a key has 1 to {KEY_BYTES_MAX} bytes")
    return key


def read_pace(path: str) -> Pace:
    """How long MFS may take, as the file says: ``quick``, also without a file, or ``genuine``. OSError, ValueError."""
    try:
        with open(path, encoding="utf-8") as file:
            name = file.read().strip()
    except FileNotFoundError:
        name = "quick"
    if name not in PACES:
        raise ValueError(f"{path}: {name!r} is none of {', '.join(PACES)}")
    return PACES[name]


def read_boot_id() -> str:
    """What this boot of the node is called."""
    with open(BOOT_ID, encoding="ascii") as file:
        return file.read().strip()


def main() -> int:
    """Run until SIGTERM or SIGINT; the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    reactor = Reactor()
    reactor.watch_signals((signal.SIGTERM, signal.SIGINT), lambda _numbers: reactor.stop())
    try:
        daemon = Daemon(reactor, read_key(settings.key_path()), read_pace(settings.mfs_time_path()))
    except (OSError, ValueError) as error:
        print(f"openmosixd: {error}", file=sys.stderr)
        return 1
    try:
        daemon.start()
        reactor.run()
    except OSError as error:
        print(f"openmosixd: {error}", file=sys.stderr)
        return 1
    finally:
        daemon.close()
        reactor.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
