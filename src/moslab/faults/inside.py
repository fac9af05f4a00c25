"""Runs inside a node, as ``python3 -IS -c <this text> NODE ROLE [SIGNAL | DO WHAT]``; the laboratory reads its line.

It prints the process ids of a role, and sends them a signal if it is given a number. Roles: ``agent``; ``workers``,
which do for the agent what may block; ``shot``, what a call of a STOMITH device runs; ``leash GROUP``, the parent of
the group's first processes (not the agent, to which comes what a killed leash held); ``guardians GROUP``, both;
``log``, which writes what the agent says (one of its workers here, but without a socket); ``warden``, which ends
control groups; ``group GROUP``, all processes that carry the group's mark, and what descends
from these; ``stopped``, those of all these that stand still. Exit code 1 if there is none.

Before a group is stopped, and after it goes on, a line ``freeze|thaw MONOTONIC_NS NODE [GROUP]`` is added to the file
that :mod:`moslab.reader` reads beside the journals. ``node`` is the role of a whole node: just the line.

``exhaust memory|descriptors`` lowers what the processes of a role, and what these start from then on, may have to what
they have (and ``SPARE_BYTES``): soft limits, by prlimit(2). ``relieve`` raises them to the hard ones, of all processes.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MARK = "MOSHA_GROUP"
SHOT = b"\0MOSHA_SHOT="
LIFE, UNITS, ONLY = "/life.lock", "/units", "/agent.lock"
FREEZES = "/san/.freezes"
AGENT = re.compile(rb"/s?bin/mosha\0$")
READ_BYTES = 1 << 16
EXHAUST, RELIEVE = "exhaust", "relieve"
LIMITS = {"memory": resource.RLIMIT_AS, "descriptors": resource.RLIMIT_NOFILE}
SPARE_BYTES = 1 << 20


def read(path: str) -> bytes:
    """The beginning of a file; empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(READ_BYTES)
    except OSError:
        return b""


def parents() -> dict[int, int]:
    """The parent of every living process."""
    found = {}
    for name in os.listdir("/proc"):
        words = read(f"/proc/{name}/stat").rpartition(b")")[2].split() if name.isdigit() else []
        if len(words) > 1 and words[0] != b"Z":
            found[int(name)] = int(words[1])
    return found


def members(group: str, parent: dict[int, int]) -> list[int]:
    """The processes that carry the group's mark, or descend from one that does."""
    wanted = f"{MARK}={group}".encode()
    marked = {pid for pid in parent if wanted in read(f"/proc/{pid}/environ").split(b"\0")}
    grown = True
    while grown:
        more = {pid for pid, ppid in parent.items() if ppid in marked} - marked
        marked |= more
        grown = bool(more)
    return sorted(marked)


def find(role: str, group: str) -> list[int]:
    """The process ids of a role."""
    parent = parents()
    # workers and leashes are forks of the agent, with the same command line; leashes hold its life, wardens its units,
    # and what an earlier life left is a child of init as well
    all_forks = {pid for pid in parent if AGENT.search(read(f"/proc/{pid}/cmdline"))}
    wardens = {pid for pid in all_forks if has_open(pid, UNITS)}
    forks = all_forks - wardens
    agents = {pid for pid in forks if parent[pid] not in all_forks and has_open(pid, ONLY)}
    if role == "agent":
        return sorted(agents)
    if role == "warden":
        return sorted(wardens)
    if role in ("workers", "log"):
        wanted = {pid for pid in forks if parent[pid] in agents and not has_open(pid, LIFE)}
        return sorted(pid for pid in wanted if role == "workers" or not has_socket(pid))
    if role == "shot":
        return sorted(pid for pid in parent if SHOT in b"\0" + read(f"/proc/{pid}/environ"))
    found = members(group, parent)
    if role == "group":
        return found
    leashes = sorted({parent[pid] for pid in found} - set(found) - agents - {1})
    return leashes + sorted(agents) if role == "guardians" else leashes


def stopped() -> list[int]:
    """Of agents, their workers and leashes, of groups and shots: who stands still."""
    parent = parents()
    ours = {pid for pid in parent if AGENT.search(read(f"/proc/{pid}/cmdline"))} | set(find("shot", ""))
    for group in marks(parent):
        ours |= set(members(group, parent))
    return sorted(pid for pid in ours if read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[:1] == [b"T"])


def marks(pids: Iterable[int]) -> set[str]:
    """The groups whose mark these processes carry."""
    words = (word for pid in pids for word in read(f"/proc/{pid}/environ").split(b"\0"))
    return {word.partition(b"=")[2].decode() for word in words if word.startswith(f"{MARK}=".encode())}


def opened(pid: int) -> list[str]:
    """What a process has open; nothing if it has ended."""
    try:
        return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return []


def has_open(pid: int, name: str) -> bool:
    """Whether a process has a file open whose path ends so."""
    return any(one.endswith(name) for one in opened(pid))


def has_socket(pid: int) -> bool:
    """Whether a process has a socket."""
    return any(one.startswith("socket:") for one in opened(pid))


def note(word: str, *whom: str) -> None:
    """Write down that somebody stands still, or goes on."""
    fd = os.open(FREEZES, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(fd, f"{' '.join([word, str(time.monotonic_ns()), *whom])}\n".encode())
    os.close(fd)


def send(pids: list[int], signo: int) -> None:
    """A signal to all of them that are still there."""
    for pid in pids:
        try:
            os.kill(pid, signo)
        except ProcessLookupError:
            pass


def act(node: str, whom: str, signals: list[int]) -> list[int]:
    """Send these to a role, as ``leash web``; its process ids."""
    role, _, group = whom.partition(" ")
    pids = stopped() if role == "stopped" else [] if role == "node" else find(role, group)
    if role == "stopped":
        noted = [[node, one] for one in sorted(marks(pids))]
    else:
        noted = [[node, *filter(None, [group])]] if role == "node" or (role == "group" and pids) else []
    for signo in signals:
        for whom_of in noted if signo == signal.SIGSTOP else []:
            note("freeze", *whom_of)
        send(pids, signo)
        for whom_of in noted if signo == signal.SIGCONT else []:
            note("thaw", *whom_of)
    return pids


def used(pid: int, what: str) -> int:
    """How much memory it has; or its lowest descriptor that is free, as limits are of numbers."""
    if what == "memory":
        return int(read(f"/proc/{pid}/statm").split()[0]) * resource.getpagesize() + SPARE_BYTES
    taken = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
    return min(set(range(len(taken) + 1)) - taken)


def limit(pids: list[int], do: str, what: str) -> list[int]:
    """Whom it was done to: exhaust these, or relieve all processes of whom that is true."""
    done = []
    for pid in pids if do == EXHAUST else sorted(parents()):
        try:
            _soft, hard = resource.prlimit(pid, LIMITS[what])
            resource.prlimit(pid, LIMITS[what], (used(pid, what) if do == EXHAUST else hard, hard))
            done.append(pid)
        except (OSError, ValueError, IndexError):            # it has ended just now
            pass
    return done


def main() -> int:
    if len(sys.argv) > 3 and sys.argv[3] in (EXHAUST, RELIEVE):
        pids = limit([] if sys.argv[2] == "node" else find(sys.argv[2], ""), *sys.argv[3:5])
    else:
        pids = act(sys.argv[1], sys.argv[2], [*map(int, sys.argv[3:])])
    print(*pids)
    return 0 if pids or sys.argv[2] == "node" else 1


if __name__ == "__main__":
    sys.exit(main())
