"""A virtual IP address that is up while this program runs, and no longer than its lifetime after.

Rules:

1. Before the address is added, nobody else may answer for it: an ARP probe (RFC 5227) is asked until none answers, as
   the last owner may be just about to lose it; after ``CONFLICT_LIMIT_S`` this gives up.
2. The kernel itself drops the address when its lifetime ends (``valid_lft``). It is renewed well before that. A
   renewal that would come after the end is not made, as somebody else may have the address by then.
3. The address carries a label that names the group, so that the leash of the group can take away what a killed
   process left: :func:`remove_left`.
4. Other machines learn of the move by gratuitous ARP, as request and as reply, a few times at the start and rarely
   afterwards.
"""

from __future__ import annotations

import argparse
import array
import base64
import fcntl
import hashlib
import ipaddress
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

from mosha.platform import linux
from mosha.resources.arp import ArpSocket
from mosha.resources.errors import CommandError, ResourceError
from mosha.resources.signals import Signals

VALID_S = 3
EVERY_S = 1.0
RETRY_S = 0.1
ANSWER_LIMIT_S = 0.2
CONFLICT_LIMIT_S = 10.0
COMMAND_LIMIT_S = 2.0
ANNOUNCE_AT_START_S = (0.0, 0.1, 0.4, 1.0, 2.0)
ANNOUNCE_EVERY_S = 30.0
LABEL_CHARACTERS_MAX = 15        # IFNAMSIZ of the kernel less its NUL
HASH_CHARACTERS = 4
SIOCGIFCONF = 0x8912             # of Linux: the label of every address, and the address
LABELS_BYTES = 64 * 1024
IFREQ_BYTES = 16 + (24 if struct.calcsize("P") == 8 else 16)


class Address:
    """One address on one device, as ``ip`` from iproute2 sets it."""

    def __init__(self, interface: ipaddress.IPv4Interface, device: str, valid_s: int, label: str) -> None:
        self.ip = interface.ip
        self._prefix = str(interface)
        self._device = device
        self._valid_s = valid_s
        self._label = label
        self._ends_s = float("inf")

    def renew(self) -> None:
        """Add it, or begin its lifetime anew. Raises CommandError, and ResourceError when the lifetime is over."""
        now = linux.boottime()
        if now >= self._ends_s:
            raise ResourceError(f"{self.ip} was not renewed within its lifetime of {self._valid_s} s")
        lifetime = str(self._valid_s)
        label = ["label", self._label] if self._label else []
        lifetimes = ["valid_lft", lifetime, "preferred_lft", lifetime]
        _ip(["addr", "replace", self._prefix, "dev", self._device, *label, *lifetimes])
        self._ends_s = now + self._valid_s

    def remove(self) -> None:
        """Raises CommandError."""
        _ip(["addr", "del", self._prefix, "dev", self._device])


def main(argv: Sequence[str] | None = None) -> int:
    """``mosha ip ADDRESS/PREFIX``; the exit status: 0 after TERM or INT, 1 when the address cannot be held."""
    options = _options(argv)
    device: str = options.dev
    label = label_of(os.environ.get("MOSHA_GROUP", ""), device)
    address = Address(options.address, device, options.valid, label)
    signals = Signals()
    try:
        with ArpSocket(device) as arp:
            if not _wait_until_free(address, arp, signals):
                return 0
            try:
                _hold(address, arp, signals, options.every)
            except (ResourceError, OSError):
                with suppress(CommandError):
                    address.remove()
                raise
            address.remove()
    except (ResourceError, OSError) as error:
        print(f"mosha ip: {error}", file=sys.stderr)
        return 1
    return 0


def remove_left(group: str | None) -> None:
    """Take away what processes of ``group`` (``None``: of any) left when they were killed; that may be nothing."""
    mark = f":~{_hash(group)}" if group else ":~"
    if not any(mark in label for label in _labels(mark)):
        return
    try:
        _ip(["-4", "addr", "flush", "label", f"*:~{_hash(group) if group else '*'}"])
    except (ResourceError, OSError):
        pass                             # the lifetime ends it


def _labels(unknown: str) -> list[str]:
    """Those of all IPv4 addresses of this machine; ``unknown`` alone if they cannot be seen."""
    names = array.array("B", bytes(LABELS_BYTES))
    request = struct.pack("iP", LABELS_BYTES, names.buffer_info()[0])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            used, _ = struct.unpack("iP", fcntl.ioctl(asking.fileno(), SIOCGIFCONF, request))
    except OSError:
        return [unknown]
    found = names.tobytes()[:used]
    labels = [found[at : at + 16].partition(b"\0")[0].decode(errors="replace") for at in range(0, used, IFREQ_BYTES)]
    return [*labels, unknown] if used > LABELS_BYTES - IFREQ_BYTES else labels


def label_of(group: str, device: str) -> str:
    """The label of addresses of ``group``; none where the name of the device leaves no room."""
    label = f"{device}:~{_hash(group)}"
    return label if group and len(label) <= LABEL_CHARACTERS_MAX else ""


def _hash(group: str) -> str:
    return base64.b32encode(hashlib.sha256(group.encode()).digest())[:HASH_CHARACTERS].decode().lower()


def _wait_until_free(address: Address, arp: ArpSocket, signals: Signals) -> bool:
    """Rule 1. False if there was a signal first."""
    give_up_s = linux.boottime() + CONFLICT_LIMIT_S
    told = False
    while True:
        other = arp.probe(address.ip, ANSWER_LIMIT_S)
        if other is None:
            return not signals.wait(0.0)
        if not told:
            told = True
            print(f"mosha ip: {address.ip} is still held by {other}, waiting", file=sys.stderr)
        if linux.boottime() >= give_up_s:
            raise ResourceError(f"{address.ip} is held by {other}, for {CONFLICT_LIMIT_S:g} s now")
        if signals.wait(RETRY_S):
            return False


def _hold(address: Address, arp: ArpSocket, signals: Signals, every_s: float) -> None:
    """Keep the address until a signal comes."""
    address.renew()
    start_s = linux.boottime()
    renew_s = start_s + every_s
    announcements = [start_s + delay_s for delay_s in ANNOUNCE_AT_START_S]
    while True:
        now = linux.boottime()
        if now >= renew_s:
            renew_s = now + (every_s if _renewed(address) else RETRY_S)
        if now >= announcements[0]:
            arp.announce(address.ip)
            announcements = announcements[1:] or [now + ANNOUNCE_EVERY_S]
        if signals.wait(min(renew_s, announcements[0]) - linux.boottime()):
            return


def _renewed(address: Address) -> bool:
    """Whether a renewal was made; one that fails may be tried again while the address lives."""
    try:
        address.renew()
    except CommandError as error:
        print(f"mosha ip: {error}", file=sys.stderr)
        return False
    return True


def _ip(arguments: list[str]) -> None:
    """Raises CommandError with what ``ip`` said."""
    try:
        done = subprocess.run(
            ["ip", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
    except FileNotFoundError:
        raise CommandError("there is no program 'ip': install iproute2") from None
    except subprocess.TimeoutExpired:
        raise CommandError(f"'ip {' '.join(arguments)}' took more than {COMMAND_LIMIT_S:g} s") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
        raise CommandError(f"'ip {' '.join(arguments)}': {said}")


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mosha ip", description="Hold a virtual IP address while this runs; TERM or INT removes it."
    )
    parser.add_argument("address", type=ipaddress.IPv4Interface, metavar="ADDRESS/PREFIX")
    parser.add_argument("--dev", default="eth0", help="the network device (default: %(default)s)")
    parser.add_argument(
        "--valid", type=int, default=VALID_S, metavar="SECONDS", help="lifetime of the address (default: %(default)s)"
    )
    parser.add_argument(
        "--every", type=float, default=EVERY_S, metavar="SECONDS", help="time between renewals (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    if options.valid < 1:
        parser.error("--valid: at least 1 second")
    if not 0 < options.every <= options.valid / 2:
        parser.error("--every: more than 0 and at most half of --valid")
    return options
