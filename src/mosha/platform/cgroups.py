"""Control groups as units: what has come from a leash is in its control group, whatever it did to hide.

Rules:

1. A life of the agent has a directory of its own, below the control group in which it is itself, in one hierarchy that
   it can change: of version 2, else, of version 1, one with a name, ``pids`` or ``freezer``. Nothing is limited in it.
2. There each leash has a unit, ``GROUP.PID.BORN``, named after its guardian, which is in it before it starts anything.
   A process leaves it only by root's own means, and is then found as without.
3. The directory is written down, in the run directory, before anything is in it. Who comes next ends all that is in it,
   or all but the units of guardians that it takes over: then the directory is its own from then on.
4. Nothing here fails its caller. Where a call fails, or a hierarchy goes, there are no units: processes are found by
   descent, session and mark (:mod:`mosha.platform.orphans`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from typing import NamedTuple

from mosha.platform import mountinfo, procscan
from mosha.platform.mountinfo import Window
from mosha.platform.procscan import Process
from mosha.platform.store import LocalStore

RECORD = "units"
NEW_RECORD = ".units.new"          # of a life that has no warden yet
OWN = "/proc/self/cgroup"
PREFIX = "mosha."
PROCS, KILL = "cgroup.procs", "cgroup.kill"
VERSION_2, VERSION_1 = "cgroup2", "cgroup"
CONTROLLERS = ("pids", "freezer")
"""Of version 1, in the order in which they are tried: a child of these has no limit, and takes any process."""
SYSTEMD = "name=systemd"
NAMED = "name="
READ_BYTES = 1 << 20
NONCE_BYTES = 4
RETRY_S = 0.01
PROBE = "probe"


class Place(NamedTuple):
    """A unit as its directory's name has it."""

    name: str
    group: str
    pid: int
    born: int

    def is_of(self, guardians: Collection[Process]) -> bool:
        """Whether one of these is its guardian, and not only has its pid."""
        return any((one.pid, one.born) == (self.pid, self.born) for one in guardians)

    def is_guarded(self) -> bool:
        """Whether its guardian lives."""
        guardian = procscan.process(self.pid)
        return guardian is not None and guardian.born == self.born and guardian.state != procscan.ZOMBIE


class Unit:
    """That of a guardian, as this itself has it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def pids(self) -> set[int]:
        """All processes in it but the caller."""
        return _pids(self._path) - {os.getpid()}


class Tree:
    """The directory of one life."""

    def __init__(self, path: str) -> None:
        self.path = path

    def enter(self, group: str) -> Unit | None:
        """Rule 2, of the caller, a guardian that has just been forked; None if that cannot be done."""
        me = procscan.process(os.getpid())
        path = f"{self.path}/{group}.{me.pid}.{me.born}" if me is not None else ""
        return Unit(path) if path and _enter(path) else None

    def pids(self, group: str | None = None) -> set[int]:
        """The processes in the units of a group (None: of every one), but for their guardians."""
        found: set[int] = set()
        for place in self.places():
            if group in (None, place.group):
                found |= self.inside(place)
        return found

    def held_by(self, guardians: Collection[Process]) -> set[int]:
        """The processes in the units of these guardians, but for themselves."""
        return {pid for place in self.places() if place.is_of(guardians) for pid in self.inside(place)}

    def guards(self, one: Process) -> bool:
        """Whether this guardian has its unit here."""
        return any(place.is_of([one]) for place in self.places())

    def is_there(self) -> bool:
        """Whether nobody has removed it."""
        return os.path.isdir(self.path)

    def places(self) -> list[Place]:
        """All units that there are."""
        return [_place(name) for name in self._units()]

    def inside(self, place: Place) -> set[int]:
        """The processes in a unit, but for its guardian."""
        found = _pids(f"{self.path}/{place.name}")
        return found - {place.pid} if place.pid in found and place.is_guarded() else found

    def prune(self) -> bool:
        """Remove the units in which nothing lives; whether none is left. The directory goes with :meth:`uproot`."""
        for unit in self._units():
            _remove(f"{self.path}/{unit}")
        return not self._units()

    def uproot(self, limit_s: float) -> bool:
        """End all that is in it, guardians too, and remove it; whether that was done within the limit."""
        deadline_s = time.monotonic() + limit_s
        while self.is_there():
            _write(f"{self.path}/{KILL}", b"1")                  # Linux 5.14, version 2: all at once
            procscan.kill_all(lambda: _pids(self.path) - {os.getpid()}, max(RETRY_S, deadline_s - time.monotonic()))
            if not _remove(self.path):
                if time.monotonic() >= deadline_s:
                    return False
                time.sleep(RETRY_S)
        return True

    def end_others(self, spared: Collection[Process], limit_s: float) -> bool:
        """End all that is in units of other guardians than these, guardians too; whether that was done."""
        def others() -> set[int]:
            return {
                pid for place in self.places() if not place.is_of(spared)
                for pid in _pids(f"{self.path}/{place.name}")
            }

        done = procscan.kill_all(others, limit_s)
        self.prune()
        return done

    def _units(self) -> list[str]:
        return _below(self.path)


def plant(rundir: str) -> Tree | None:
    """A directory for this life, where the machine has a hierarchy for it."""
    try:
        with open(OWN, encoding="ascii", errors="replace") as stream:
            own = stream.read(READ_BYTES)
        places = candidates(mountinfo.windows(), own)
    except OSError:
        return None
    for place in places:
        path = f"{place}/{PREFIX}{os.urandom(NONCE_BYTES).hex()}"
        try:
            _note(rundir, path)
            settle(rundir)
            os.mkdir(path, 0o755)
        except OSError:
            continue
        if _takes(path):
            return Tree(path)
        _remove(path)
    return None


def earlier(rundir: str) -> Tree | None:
    """The directory of the life before."""
    try:
        path = (LocalStore(rundir).read(RECORD, READ_BYTES) or b"").decode().strip()
    except (OSError, ValueError):
        return None
    return Tree(path) if os.path.basename(path).startswith(PREFIX) else None


def end_earlier(rundir: str, limit_s: float, spared: Collection[Process] = ()) -> bool:
    """End what is in the directory of an earlier life, but for the units of these guardians; whether nothing else is
    left of it."""
    tree = earlier(rundir)
    if tree is None:
        return True
    return tree.end_others(spared, limit_s) if spared else tree.uproot(limit_s)


def claim(rundir: str) -> Tree | None:
    """The directory of the life before, to be that of this one: a new record of it lies beside the old one. None if
    there is none, or that cannot be written."""
    tree = earlier(rundir)
    try:
        if tree is not None:
            _note(rundir, tree.path)
    except OSError:
        return None
    return tree


def settle(rundir: str) -> None:
    """The record is the new one from now on, which tells the warden of the life before that it may end. Raises
    OSError."""
    LocalStore(rundir).rename(NEW_RECORD, RECORD)


def candidates(mounts: list[Window], own: str) -> list[str]:
    """The directories of the control groups that the caller is in, the best first (rule 1).

    ``own`` is the text of /proc/self/cgroup.
    """
    at: dict[str, str] = {}
    for line in own.splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        for name in names.split(",") if names else [VERSION_2 if number == "0" else ""]:
            at[name] = path
    ranked = ((_rank(name), directory) for name, directory in _directories(mounts, at))
    return [directory for _, directory in sorted((rank, place) for rank, place in ranked if rank is not None)]


def _directories(mounts: list[Window], at: dict[str, str]) -> Iterator[tuple[str, str]]:
    """(hierarchy, directory of the caller's own control group) for each mount that shows it, and can be written."""
    for mount in mounts:
        if mount.kind not in (VERSION_1, VERSION_2) or "ro" in mount.options:
            continue
        names = (VERSION_2,) if mount.kind == VERSION_2 else mount.system_options
        for name in names:
            inside = _inside(at[name], mount.root) if name in at else None
            if inside is not None:
                yield name, mount.directory.rstrip("/") + inside


def _rank(name: str) -> int | None:
    """The lower the better; None: not one of ours."""
    if name == VERSION_2:
        return 0
    if name in CONTROLLERS:
        return 2 + CONTROLLERS.index(name)
    if name.startswith(NAMED):
        return 9 if name == SYSTEMD else 1                       # its manager clears up what it does not know
    return None


def _inside(path: str, root: str) -> str | None:
    """A path below a mount that shows only what is below ``root``; None if it does not show it."""
    if ".." in path.split("/"):                                  # outside of this control group namespace
        return None
    if root == "/":
        return path.rstrip("/")
    return path[len(root):] if path == root or path.startswith(f"{root}/") else None


def _takes(path: str) -> bool:
    """Whether a process can be in a unit there: tried by one that ends at once."""
    unit = f"{path}/{PROBE}.0.0"
    try:
        pid = os.fork()
    except OSError:
        return False
    if pid == 0:
        try:
            os._exit(0 if _enter(unit) and os.getpid() in _pids(unit) else 1)
        finally:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    return _remove(unit) and status == 0


def _enter(unit: str) -> bool:
    try:
        os.mkdir(unit, 0o755)
    except FileExistsError:
        pass
    except OSError:
        return False
    return _write(f"{unit}/{PROCS}", b"0")


def _note(rundir: str, path: str) -> None:
    """Rule 3, but for its name: a file of its own, as a warden may hold the one before."""
    LocalStore(rundir).replace(NEW_RECORD, f"{path}\n".encode())


def _place(unit: str) -> Place:
    rest, _, born = unit.rpartition(".")                          # a group's name may have points as well
    group, _, pid = rest.rpartition(".")
    return Place(unit, group, int(pid) if pid.isdigit() else 0, int(born) if born.isdigit() else 0)


def _pids(path: str) -> set[int]:
    """All processes in a control group and below it; those that this PID namespace does not show are left out."""
    found = {int(word) for word in _read(f"{path}/{PROCS}").split() if word.isdigit()} - {0}
    for name in _below(path):
        found |= _pids(f"{path}/{name}")
    return found


def _below(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _remove(path: str) -> bool:
    """A control group in which nothing lives, with all below it."""
    for name in _below(path):
        _remove(f"{path}/{name}")
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _read(path: str) -> bytes:
    """All of it; empty if it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return stream.read(READ_BYTES)
    except OSError:
        return b""


def _write(path: str, data: bytes) -> bool:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.write(fd, data) == len(data)
    except OSError:
        return False
    finally:
        os.close(fd)
