"""What makes the start of a node's container a boot: an identity of its own, and addresses that do not run out.

Rules:

1. Each boot has a fresh boot_id, bound over the kernel's, which would be the host's.
2. A map of more than ``SHARED_NEIGHBOURS_MAX`` nodes would overflow the neighbour table that all network
   namespaces of a kernel share. Then every node has the MAC address 02:6d + its IPv4 address, and a permanent
   entry, which does not count, for each address in the map. Other addresses stay dynamic.
3. The node has its part of the host's control groups, version 2, at ``/run/cgroup``, and may change it;
   where the host has none, or does not let it, the node has none either: a machine of 2004 had none.
4. What else fails here ends the boot, with a message: a node with another identity is worse than none.
"""

from __future__ import annotations

import os

from emulator import settings

BOOT_ID = "/proc/sys/kernel/random/boot_id"
FRESH_UUID = "/proc/sys/kernel/random/uuid"
SHARED_NEIGHBOURS_MAX = 32
INTERFACE = "eth0"
IP_S = 10.0
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND = 2, 4, 8, 4096


class BootError(Exception):
    """The node cannot start; the text says why."""


def _mount(source: str, over: str, kind: bytes | None, flags: int) -> str:
    """mount(2); what stands in the way, empty if nothing does."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.mount(source.encode(), over.encode(), kind, flags, None)
    return os.strerror(ctypes.get_errno()) if failed else ""


def bind_boot_id(run: str = "/run", over: str = BOOT_ID) -> str:
    """Write a fresh boot_id to ``run``/boot_id and bind it over the kernel's; the id. BootError."""
    path = os.path.join(run, "boot_id")
    try:
        with open(FRESH_UUID, encoding="ascii") as file:
            fresh = file.read()
        with open(path, "w", encoding="ascii") as file:
            file.write(fresh)
    except OSError as error:
        raise BootError(f"cannot write {path}: {error.strerror}") from error
    reason = _mount(path, over, None, MS_BIND)
    if reason:
        raise BootError(f"cannot bind {path} over {over}: {reason} (needs CAP_SYS_ADMIN)")
    return fresh.strip()


def mount_control_groups(run: str = "/run") -> str:
    """Rule 3; what stands in the way, empty if nothing does."""
    path = os.path.join(run, "cgroup")
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        return f"cannot make {path}: {error.strerror}"
    reason = _mount("cgroup2", path, b"cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    return f"cannot mount cgroup2 on {path}: {reason}" if reason else ""


def not_fresh(mounts: str) -> list[str]:
    """Which of ``/run`` and ``/dev/shm`` are not a tmpfs, and so not empty at a boot (``/proc/self/mounts``)."""
    found = {fields[1]: fields[2] for fields in map(str.split, mounts.splitlines())}
    return [path for path in ("/run", "/dev/shm") if found.get(path) != "tmpfs"]


def fix_neighbours() -> None:
    """Rule 2, for this node's map and address; nothing happens with a small map. BootError, or a map's error."""
    from emulator.table import nodes_of, parse_map
    from emulator.tools.hosts import address_of, own_address

    path = settings.map_path()
    with open(path, encoding="utf-8") as file:
        addresses = list(nodes_of(parse_map(file.read(), path, address_of)).values())
    if len(addresses) > SHARED_NEIGHBOURS_MAX:
        own = own_address()
        if own in addresses:
            _run_ip(neighbour_commands(own, addresses))


def neighbour_commands(own: str, addresses: list[str]) -> str:
    """The commands for ``ip -batch``: own MAC address first, as it empties the interface's neighbour table."""
    lines = [f"link set dev {INTERFACE} address {mac_of(own)}"]
    for address in addresses:
        if address != own:
            lines.append(
                f"neighbour replace {address} lladdr {mac_of(address)} dev {INTERFACE} nud permanent"
            )
    return "\n".join(lines) + "\n"


def mac_of(address: str) -> str:
    """The locally administered MAC address that every node computes for an IPv4 address."""
    return "02:6d:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def _run_ip(commands: str) -> None:
    import subprocess  # few boots need it

    try:
        subprocess.run(
            ["ip", "-batch", "-"], input=commands, text=True, check=True, timeout=IP_S, stderr=subprocess.PIPE
        )
    except FileNotFoundError:
        raise BootError("cannot set neighbours: no ip command (package iproute2)") from None
    except subprocess.TimeoutExpired:
        raise BootError(f"cannot set neighbours: ip did not end within {IP_S:g} s") from None
    except subprocess.CalledProcessError as error:
        raise BootError(f"cannot set neighbours: {error.stderr.strip()}") from None
