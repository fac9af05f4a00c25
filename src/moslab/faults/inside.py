"""Runs inside a node, as ``python3 -IS -c <this text> ROLE [SIGNAL]``; the laboratory reads its line.

It prints the process ids of a role, and sends them a signal if it is given a number. Roles: ``agent``; ``leash GROUP``,
the parent of the group's first processes (not the agent, to which comes what a killed leash held); ``group GROUP``, all
processes that carry the group's mark, and what descends from these. Exit code 1 if there is none.
"""

from __future__ import annotations

import os
import re
import sys

MARK = "MOSHA_GROUP"
AGENT = re.compile(rb"/usr/s?bin/mosha\0$")
READ_BYTES = 1 << 16


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
    # its workers and leashes are forks of it, with the same command line
    agents = {pid for pid in parent if parent[pid] == 1 and AGENT.search(read(f"/proc/{pid}/cmdline"))}
    if role == "agent":
        return sorted(agents)
    found = members(group, parent)
    if role == "group":
        return found
    return sorted({parent[pid] for pid in found} - set(found) - agents - {1})


def main() -> int:
    role, _, group = sys.argv[1].partition(" ")
    pids = find(role, group)
    for pid in pids:
        if len(sys.argv) > 2:
            try:
                os.kill(pid, int(sys.argv[2]))
            except ProcessLookupError:
                pass
    print(*pids)
    return 0 if pids else 1


if __name__ == "__main__":
    sys.exit(main())
