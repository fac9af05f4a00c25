"""A virtual IPv4 address that is up while this program runs, and no longer than its lease.

Rules:

1. Before the address is added, nobody else may answer for it: an ARP probe (RFC 5227) is asked until none answers, as
   the last owner may be just about to lose it; after ``CONFLICT_LIMIT_S`` this gives up. Where it is on this machine
   already nothing is added, unless an earlier process of the same group has left it.
2. The kernel itself drops the address when its lifetime (``valid_lft``) ends: the whole seconds that are left of the
   leash's deadline, at least one, begun anew whenever that has moved. This program removes it at the deadline, too.
   Without a leash the lifetime is ``--valid``; it is renewed while it lasts, and never after it.
3. There is a record before the address is added, and as long as it may be there: :mod:`mosha.resources.records`. By it
   the leash of the group takes away what a killed process left.
4. Other machines learn of the move by gratuitous ARP, as request and as reply, a few times at the start and rarely
   afterwards.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Callable

from mosha.arguments import Parser
from mosha.platform import linux, netlink, plain, procscan
from mosha.resources import addresses, deadline, records
from mosha.resources.addresses import HeldAddress
from mosha.resources.arp import ArpSocket
from mosha.resources.errors import ResourceError
from mosha.resources.records import Busy, Record
from mosha.resources.signals import Signals

VALID_S = 3
RETRY_S = 0.1
ANSWER_LIMIT_S = 0.2
CONFLICT_LIMIT_S = 10.0
ANNOUNCE_AT_START_S = (0.0, 0.1, 0.4, 1.0, 2.0)
ANNOUNCE_EVERY_S = 30.0
LOOKS_PER_LIFE = 8               # at the deadline, in what is left up to it
LOOK_MIN_S = 0.02

Deadline = Callable[[float], float]
"""Until when the address may be here, as known at that time."""


def main(argv: Sequence[str] | None = None) -> int:
    """``mosha ip ADDRESS/PREFIX``; the exit status: 0 after TERM or INT, 1 when the address cannot be held."""
    options = _options(argv)
    signals = Signals()
    try:
        with ArpSocket(options.dev) as arp:
            record = _record(options.address, options.dev)
            try:
                if _wait_until_free(options.address.ip, arp, signals):
                    _hold(record.content, arp, signals, _deadline(options.valid))
            except (ResourceError, OSError, ValueError):
                with suppress(OSError):
                    addresses.remove(record)
                raise
            addresses.remove(record)
    except Busy:
        return _fail(f"another process holds {options.address.ip}")
    except (ResourceError, OSError, ValueError) as error:
        return _fail(plain.words(error))
    return 0


def _fail(reason: str) -> int:
    print(f"mosha ip: {reason}", file=sys.stderr)
    return 1


def _record(interface: ipaddress.IPv4Interface, device: str) -> Record[HeldAddress]:
    """Rules 1 and 3. Raises Busy, ResourceError, OSError."""
    rundir, group = records.run_directory(), os.environ.get(procscan.MARK, "")
    wanted = HeldAddress(group, str(interface.ip), interface.network.prefixlen, device, socket.if_nametoindex(device))
    earlier = records.lock(rundir, wanted)
    if earlier is not None:
        if earlier.content == wanted:
            return earlier
        addresses.remove(earlier)
    if any(here.interface.ip == interface.ip for here in netlink.addresses()):
        raise ResourceError(f"{interface.ip} is on this machine already")
    return records.write(rundir, wanted)


def _deadline(valid_s: int) -> Deadline:
    """Rule 2."""
    file = os.environ.get(deadline.VARIABLE)
    if file:
        return lambda _now: deadline.read(file)
    ends_s = float("inf")

    def renewed(now: float) -> float:
        nonlocal ends_s
        ends_s = now + valid_s if now < ends_s else ends_s
        return ends_s

    return renewed


def _wait_until_free(address: ipaddress.IPv4Address, arp: ArpSocket, signals: Signals) -> bool:
    """Rule 1. False if there was a signal first."""
    give_up_s = linux.boottime() + CONFLICT_LIMIT_S
    told = False
    while True:
        other = arp.probe(address, ANSWER_LIMIT_S)
        if other is None:
            return not signals.wait(0.0)
        if not told:
            told = True
            print(f"mosha ip: {address} is still held by {other}, waiting", file=sys.stderr)
        if linux.boottime() >= give_up_s:
            raise ResourceError(f"{address} is held by {other}, for {CONFLICT_LIMIT_S:g} s now")
        if signals.wait(RETRY_S):
            return False


def _hold(held: HeldAddress, arp: ArpSocket, signals: Signals, until: Deadline) -> None:
    """Keep the address until a signal comes. Raises ResourceError at the deadline, OSError, ValueError."""
    now = linux.boottime()
    announcements = [now + delay_s for delay_s in ANNOUNCE_AT_START_S]
    renewed_s = 0.0
    while True:
        end_s = until(now)
        if now >= end_s:
            raise ResourceError(f"{held.address} may not be here any more, {now - end_s:.3f} s after its deadline")
        if end_s != renewed_s:
            netlink.put(held.here, max(1, int(end_s - now)))
            renewed_s = end_s
        if now >= announcements[0]:
            arp.announce(held.here.interface.ip)
            announcements = announcements[1:] or [now + ANNOUNCE_EVERY_S]
        look_s = min(end_s, now + max(LOOK_MIN_S, (end_s - now) / LOOKS_PER_LIFE))
        if signals.wait(min(look_s, announcements[0]) - linux.boottime()):
            return
        now = linux.boottime()


def _interface(text: str) -> ipaddress.IPv4Interface:
    interface = ipaddress.ip_interface(text)
    if isinstance(interface, ipaddress.IPv6Interface):
        raise argparse.ArgumentTypeError(f"{text} is an IPv6 address: only IPv4 ones are held")
    return interface


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="mosha ip", description="Hold a virtual IP address while this runs; TERM or INT removes it."
    )
    parser.add_argument("address", type=_interface, metavar="ADDRESS/PREFIX")
    parser.add_argument("--dev", default="eth0", help="the network device (default: %(default)s)")
    parser.add_argument(
        "--valid", type=int, default=VALID_S, metavar="SECONDS",
        help="lifetime of the address where there is no lease, as by hand (default: %(default)s)",
    )
    options = parser.parse_args(argv)
    if options.valid < 1:
        parser.error("--valid: at least 1 second")
    return options
