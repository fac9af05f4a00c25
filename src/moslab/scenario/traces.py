"""Runs inside a node, as ``python3 -IS -c <this text>``: prints what a test can leave there, a line for each.

Tables, map, mounts, rules of cuts, core dumps, files where anybody may put some, disk, sockets that listen, processes,
and those of them that stand still, or get no more of something.
"""

from __future__ import annotations

import os
import resource
import zlib
from collections.abc import Iterator
from itertools import islice

TABLES = "/var/mosix-ha"
CUTS = "/etc/cuts.nft"
MAP = "/etc/openmosix.map"
FREE = ("/tmp", "/var/tmp", "/root", "/dev/shm")             # for whatever anybody likes
BOUNDED = (*FREE, "/run", "/var/log", TABLES)
BYTES_MAX = 32 << 20
FILES_MAX = 10_000
READ_BYTES_MAX = 16 << 20
EPHEMERAL = 32768
LISTENS, UNCONNECTED, ACCEPTS = "0A", "07", 0x10000


def read(path: str) -> bytes:
    """A file; empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(READ_BYTES_MAX)
    except OSError:
        return b""


def names(path: str) -> list[str]:
    """What is in a directory; nothing if it cannot be read."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def bytes_of(path: str) -> int:
    """How much is below it, by its first files."""
    found = (os.path.join(folder, name) for folder, _, files in os.walk(path) for name in files)
    sizes = 0
    for name in islice(found, FILES_MAX):
        try:
            sizes += os.lstat(name).st_blocks * 512
        except OSError:                                      # it has gone
            pass
    return sizes


def files() -> Iterator[str]:
    """Of tables, the map, mounts, cuts and disk."""
    for table in ("cltab", "hactl"):
        yield f"{table}: {zlib.crc32(read(f'{TABLES}/{table}')):08x}"
    yield f"map: {zlib.crc32(read(MAP)):08x}"
    for line in read("/proc/mounts").decode(errors="replace").splitlines():
        yield f"mount: {line.split()[1]}"
    for line in read(CUTS).decode(errors="replace").splitlines():
        if line.startswith("add rule"):
            yield f"cut: {line}"
    for place in FREE:
        for name in names(place):
            yield f"file: {place}/{name}"
    for place in BOUNDED:
        if bytes_of(place) > BYTES_MAX:
            yield f"disk: more than {BYTES_MAX >> 20} MiB in {place}"


def sockets() -> Iterator[str]:
    """Who listens, by port or path."""
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in read(f"/proc/net/{kind}").decode().splitlines()[1:]:
            words = line.split()
            port = int(words[1].rpartition(":")[2], 16)
            if words[3] in (LISTENS, UNCONNECTED) and 0 < port < EPHEMERAL:
                yield f"socket: {kind} {port}"
    for line in read("/proc/net/unix").decode(errors="replace").splitlines()[1:]:
        words = line.split()
        if int(words[3], 16) & ACCEPTS and len(words) > 7:
            yield f"socket: {words[7]}"


def processes() -> Iterator[str]:
    """All but this one, each with its pid and when it began; where they are is where core dumps come to."""
    places = {"/", *FREE, TABLES}
    for pid in filter(str.isdigit, names("/proc")):
        words = read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
        state, *numbers = read(f"/proc/{pid}/stat").rpartition(b")")[2].decode().split() or ["X"]
        if int(pid) == os.getpid() or not words or state in ("Z", "X"):
            continue
        yield f"process: {pid}@{numbers[18]} {words}"
        if state in ("T", "t"):
            yield f"stands still: {words}"
        try:
            places.add(os.readlink(f"/proc/{pid}/cwd"))
            for what, kind in (("memory", resource.RLIMIT_AS), ("descriptors", resource.RLIMIT_NOFILE)):
                soft, hard = resource.prlimit(int(pid), kind)
                if soft != hard:
                    yield f"gets no more {what}: {words}"
        except OSError:                                      # it has ended
            pass
    for place in sorted(places):
        yield from (f"core dump: {os.path.join(place, name)}" for name in names(place)
                    if name == "core" or name.startswith("core."))


def main() -> None:
    for line in (*files(), *sockets(), *processes()):
        print(line)


if __name__ == "__main__":
    main()
