"""``omdiscd``: configures this node and finds the others by multicast, instead of a map (omdiscd(1)).

Rules:

1. openMosix must be off when it starts. It configures this node at once, and again whenever a node joins.
2. It never takes a node away, and when it ends the maps stay as they are.
3. ``-i`` names the interfaces; with ``-m`` (a time to live) only the first one speaks and hears. Without it, the
   interface of the route to the group. ``-n`` stays in the foreground; else the system's log has its messages, and
   a file its id.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import struct
import sys

from emulator import settings
from emulator.discovery import ACK, GROUP, JOIN, PACKET_MAX, PORT, Discovery, warn
from emulator.reactor import Reactor
from emulator.table import TableError, render_config
from emulator.tools import hpcfile
from emulator.tools.hpcfile import complain

JOINS = 4
JOIN_EVERY_S = 0.7
INTERFACES_MAX = 6
BATCH = 64
SIOCGIFADDR = 0x8915
USAGE = "Usage: omdiscd [-i interface[,interface...]] [-m ttl] [-n] [-h]"
LONG = {"--interface": "-i", "--multicast-ttl": "-m", "--nodaemon": "-n", "--help": "-h"}
NO_ROUTE = (
    "Unable to determine address of default interface.  This may happen because there is no default route "
    "configured.  Without a default route, an interface must be: {}"
)


class UsageError(Exception):
    """Words that are no options."""


class Options:
    """The options; UsageError if they are none."""

    def __init__(self, words: list[str]) -> None:
        self.interfaces: list[str] = []
        self.ttl: int | None = None
        self.foreground = self.help = False
        rest = iter(words)
        for word in rest:
            option = LONG.get(word, word)
            if option == "-n":
                self.foreground = True
            elif option == "-h":
                self.help = True
            elif option == "-i":
                self.interfaces = [name for name in next(rest, "").split(",") if name]
                if not 0 < len(self.interfaces) <= INTERFACES_MAX:
                    raise UsageError
            elif option == "-m":
                ttl = next(rest, "")
                if not hpcfile.is_number(ttl) or not 0 < int(ttl) < 256:
                    raise UsageError
                self.ttl = int(ttl)
            else:
                raise UsageError


class Daemon:
    """Speaks and hears at the node's addresses, and configures openMosix."""

    def __init__(self, discovery: Discovery, speaking: list[str], ttl: int) -> None:
        self._reactor = Reactor()
        self._discovery = discovery
        self._speaking = speaking
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.bind((GROUP, PORT))
        self._sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
        for address in speaking:
            member = socket.inet_aton(GROUP) + socket.inet_aton(address)
            self._sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)

    def run(self) -> None:
        """Configure this node alone, and ask who else is there; until SIGTERM or SIGINT. OSError."""
        self._reactor.watch_signals((signal.SIGTERM, signal.SIGINT), lambda _numbers: self._reactor.stop())
        self._configure()
        hpcfile.write("admin/mospe", b"%d\0" % self._discovery.node)
        self._reactor.watch(self._sock.fileno(), select.EPOLLIN, self._receive)
        self._join(JOINS)
        self._reactor.run()

    def _join(self, times: int) -> None:
        self._say(JOIN)
        if times > 1:
            self._reactor.call_later(JOIN_EVERY_S, lambda: self._join(times - 1))

    def _say(self, kind: int) -> None:
        for address in self._speaking:
            self._sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
            try:
                self._sock.sendto(self._discovery.packet(kind), (GROUP, PORT))
            except OSError as error:
                warn(f"nothing said at {address}: {error.strerror}")

    def _receive(self, _mask: int) -> None:
        asked = changed = False
        for _ in range(BATCH):
            try:
                packet = self._sock.recv(PACKET_MAX + 1)
            except BlockingIOError:
                break
            wants, new = self._discovery.heard(packet)
            asked, changed = asked or wants, changed or new
        if changed:
            try:
                self._configure()
            except (OSError, TableError) as error:
                warn(f"the map is not taken: {error}")
        if asked:
            self._say(ACK)

    def _configure(self) -> None:
        hpcfile.write("admin/config", render_config(self._discovery.records()))


def log_to(foreground: bool) -> None:
    """From now on what is logged comes out at stderr, or is in the system's log."""
    import logging
    import syslog

    class SystemLog(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            syslog.syslog(syslog.LOG_INFO, self.format(record))

    handler = logging.StreamHandler(sys.stderr) if foreground else SystemLog()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])


def addresses_of(interfaces: list[str]) -> list[str]:
    """The addresses of these interfaces, or that of the route to the group; OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if not interfaces:
            try:
                sock.connect((GROUP, PORT))
            except OSError as error:
                raise OSError(error.errno, NO_ROUTE.format(error.strerror)) from None
            return [str(sock.getsockname()[0])]
        found = []
        for name in interfaces:
            try:
                answer = fcntl.ioctl(sock, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError as error:
                raise OSError(error.errno, f"{name}: {error.strerror}") from None
            found.append(socket.inet_ntoa(answer[20:24]))
        return found


def main() -> int:
    """Run ``omdiscd`` with the arguments of this process; the exit code."""
    try:
        options = Options(sys.argv[1:])
    except UsageError:
        complain(USAGE)
        return 1
    if options.help:
        print(USAGE)
        return 0
    if not hpcfile.exists():
        complain("This is NOT a OpenMosix system!")
        return 1
    try:
        is_on = hpcfile.read_int("admin/mospe") != 0
    except OSError as error:
        complain(f"{hpcfile.path('admin/mospe')}: {error.strerror}")
        return 1
    if is_on:
        complain("OpenMosix should be deactivated before starting this daemon. (setpe -off)")
        return 1
    try:
        addresses = addresses_of(options.interfaces)
        speaking = addresses if options.ttl is None else addresses[:1]
        daemon = Daemon(Discovery(addresses), speaking, options.ttl or 1)
    except (OSError, ValueError) as error:
        complain(error.strerror if isinstance(error, OSError) and error.strerror else str(error))
        complain("Unable to initialize network.  Exiting.")
        return 1
    try:
        if not options.foreground and not detach():
            return 0
    except OSError as error:
        complain(f"{settings.discovery_pid_path()}: {error.strerror}")
        return 1
    log_to(options.foreground)
    try:
        daemon.run()
    except OSError as error:
        warn(f"openMosix cannot be configured: {error.strerror}")
        return 1
    return 0


def detach() -> bool:
    """Whether this is the daemon, which has no terminal any more, and not the process that started it. OSError."""
    with open(settings.discovery_pid_path(), "w", encoding="ascii") as file:
        if os.fork():
            return False
        os.setsid()
        file.write(f"{os.getpid()}\n")
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    return True


if __name__ == "__main__":
    sys.exit(main())
