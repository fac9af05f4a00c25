"""What a machine's first process does before it is that: network, mounts, root; then it becomes its program.

Rules:

1. It runs in a child of the engine, the first process of a PID namespace, and never returns.
2. What the engine's processes see under /proc is asked before the root changes: their numbers are those of the engine.
3. A machine's links end on a bridge in the engine's network namespace, which is nobody else's: the firewall of a
   container engine on the same machine cuts nothing there.
4. A machine has the same MAC address in each boot, as those that know it go on sending there.
5. ``/dev`` has the harmless devices and FUSE, by bind mounts: in a user namespace nobody can make a device. Their
   modes, and what is the whole machine's below /proc, cannot be changed from a node.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

import emulator
import emulator.daemon  # loaded once for all nodes, as their init is
from emulator import init
from emulator.boot import mac_of
from emulator.child import detach
from moslab.namespaces import linux
from moslab.namespaces.child import execute, limit

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "HOME": "/root"}
ENGINE_NET = "/proc/1/ns/net"
OWN_NET = "/proc/self/ns/net"
LOCAL = "127.0.0.1 localhost\n"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
KERNEL = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
"""What is the whole machine's: read-only in a node, as containers have it."""
LIBRARY = "/usr/lib/mosha"
"""Where a node has its programs (emulator/image/install)."""
FUSE = "MOSLAB_FUSE"
"""Names the device to be a node's /dev/fuse; for who may not open the machine's own."""
IP_LIMIT_S = 30.0


class Link(NamedTuple):
    """One end at a bridge of the engine, the other one the interface of a machine, which has an address."""

    bridge: str
    cable: str
    interface: str
    address: str

    @property
    def ip(self) -> str:
        return self.address.partition("/")[0]


@dataclass
class Boot:
    """What a machine begins with. ``mounts``: (what, where) of bind mounts; ``volatile``: tmpfs by options."""

    hostname: str
    root: str
    system: str
    links: Sequence[Link]
    mounts: Sequence[tuple[str, str]]
    volatile: Mapping[str, str]
    limits: Mapping[str, tuple[int, int]]
    command: Sequence[str] = field(default_factory=list)

    def run(self, stdin: int, stdout: int, stderr: int, begins: int) -> NoReturn:
        """Become that machine's first process (rule 1); ``begins`` is closed when the namespaces are there."""
        detach(stdin, stdout, stderr, [begins])
        try:
            self._begin()
            os.close(begins)
            become(self.command)
        except BaseException as error:  # noqa: BLE001 - nothing of the engine may go on in this process
            os.write(2, f"cannot boot: {type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(127)

    def _begin(self) -> None:
        linux.unshare(linux.NEWNET | linux.NEWNS | linux.NEWUTS | linux.NEWIPC)
        plug(self.links)
        ip(["link set lo up"])
        linux.name_host(self.hostname)
        linux.mount("", "/", flags=linux.PRIVATE | linux.RECURSIVE)
        self._mount()
        with open(f"{self.root}/etc/hosts", "w", encoding="ascii") as hosts:
            hosts.write("".join(f"{link.ip} {self.hostname}\n" for link in self.links) + LOCAL)
        linux.change_root(self.root)
        limit(self.limits)

    def _mount(self) -> None:
        root = self.root
        for name in os.listdir(self.system):
            bind(f"{self.system}/{name}", f"{root}/{name}")
        linux.mount("proc", f"{root}/proc", "proc", linux.NOSUID | linux.NODEV | linux.NOEXEC)
        linux.mount("dev", f"{root}/dev", "tmpfs", linux.NOSUID, "mode=755,size=64k")
        for path in KERNEL:
            if os.path.exists(f"{root}{path}"):
                protect(f"{root}{path}", f"{root}{path}")
        for name in DEVICES:
            protect(f"/dev/{name}", f"{root}/dev/{name}")
        protect(os.environ.get(FUSE, "/dev/fuse"), f"{root}/dev/fuse")
        os.symlink("/proc/self/fd", f"{root}/dev/fd")
        for place, options in self.volatile.items():
            os.makedirs(f"{root}{place}", exist_ok=True)
            linux.mount("tmpfs", f"{root}{place}", "tmpfs", linux.NOSUID | linux.NODEV, options)
        for source, place in self.mounts:
            bind(source, f"{root}{place}")


def bind(source: str, target: str) -> None:
    """Have a file or directory at ``target``, too."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    linux.mount(source, target, flags=linux.BIND)


def protect(source: str, target: str) -> None:
    """The same, read-only: what it is stays as it is, though a device can be used."""
    bind(source, target)
    kept = os.statvfs(target).f_flag & (linux.NOSUID | linux.NODEV | linux.NOEXEC)   # which a user may not take away
    linux.mount("", target, flags=linux.BIND | linux.REMOUNT | linux.READ_ONLY | kept)


def plug(links: Iterable[Link]) -> None:
    """Connect the network namespace of this process; it is in the engine's for a moment."""
    links = list(links)
    if not links:
        return
    own = os.open(OWN_NET, os.O_RDONLY | os.O_CLOEXEC)
    here = f"/proc/{os.readlink('/proc/self')}/fd/{own}"
    linux.enter(ENGINE_NET, linux.NEWNET)
    ip(line for link in links for line in (
        f"link add {link.cable} type veth peer name {link.interface} address {mac_of(link.ip)} netns {here}",
        f"link set {link.cable} master {link.bridge} up",
    ))
    linux.enter(here, linux.NEWNET)
    os.close(own)
    ip(line for link in links for line in (
        f"addr add {link.address} dev {link.interface}", f"link set {link.interface} up",
    ))


def ip(commands: Iterable[str], *options: str) -> None:
    """Commands of ip(8); OSError with what it says, but with ``-force``."""
    done = subprocess.run(["ip", *options, "-batch", "-"], input="\n".join([*commands, ""]), text=True,
                          capture_output=True, timeout=IP_LIMIT_S, check=False)
    if done.returncode and not options:
        raise OSError(f"ip: {done.stderr.strip()}")


def become(command: Sequence[str]) -> None:
    """The program, in this process; without one, the init of a node, which is loaded already."""
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    os.umask(0o022)
    if command:
        execute(command, ENVIRONMENT)
    for name, module in list(sys.modules.items()):           # what it loads late is where a node has it
        if name.partition(".")[0] == emulator.__name__ and hasattr(module, "__path__"):
            module.__path__ = [f"{LIBRARY}/{name.replace('.', '/')}"]
    logging.root.handlers.clear()                            # the engine's
    os._exit(init.main())
