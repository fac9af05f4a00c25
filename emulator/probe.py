"""The membership probe: ask a node whether it is up, and answer others, over UDP.

Rules:

1. Liveness is asked for at each read; nothing is remembered.
2. A try lasts 20 ms for each hop, and counts only if its answer comes within it; the asker waits to its end
   even if the answer came at once. There are three tries: a dead node costs 60 ms with no gateways. One that could
   not be sent in time, as the processor was busy, lasts that much longer: a starved asker does not see all others dead.
3. A node answers only if the asker's address maps, in its own map, to the node id that the asker claims. Who is not
   answered is logged, at most once a second.
4. Each try goes over all paths to the node at once, and one answer is enough: a node is up while one of them is
   whole. An answer goes back the way on which its question came.
5. The own node is answered without the network.

Source: the genuine kernel (2.4.26, openMosix 1.8.1) observed running. A packet has 40 bytes, little-endian:
u32 0x42, u32 1 (question) or 2 (answer), u32 serial, u16 0, u16 id of the sender; then, in an answer, the
sender's :class:`Report`. What follows the serial of an answer is documented nowhere: its layout is ours.
"""

from __future__ import annotations

import itertools
import logging
import random
import select
import socket
import struct
from typing import Callable, NamedTuple, Optional

from emulator.membership import Membership
from emulator.reactor import Reactor
from emulator.settings import PROBE_PORT

log = logging.getLogger(__name__)

TRY_S = 0.020
TRIES = 3
LATE_S = 0.005              # how much of a try may have gone by when it is sent
COMPLAINT_S = 1.0

_PACKET = struct.Struct("<IIIHH IHHHH III")
_MAGIC, _QUESTION, _ANSWER = 0x42, 1, 2
_PAGE_BYTES = 4096
_BATCH = 64


class Report(NamedTuple):
    """What a node says of itself: status bits, load in 1/100 process, Yardstick speed, per cent, bytes."""

    status: int
    load: int
    cpus: int
    speed: int
    util: int
    mem: int
    rmem: int
    tmem: int


Then = Callable[[Optional[Report]], None]


class Prober:
    """Asks and answers for this node while openMosix is on. ``gateways`` (0 to 2) lengthens each try."""

    def __init__(
        self, reactor: Reactor, membership: Membership, report: Callable[[], Report], port: int = PROBE_PORT
    ) -> None:
        self.gateways = 0
        self._reactor = reactor
        self._membership = membership
        self._report = report
        self._port = port
        self._serials = itertools.count(random.getrandbits(31))
        self._pending: dict[int, _Try] = {}
        self._own: list[str] = []
        self._asking: dict[str, socket.socket] = {}  # by own address
        self._answering: dict[str, socket.socket] = {}
        self._quiet_until_s = 0.0
        membership.on_change(self._reopen)

    def probe(self, node: int, then: Then) -> None:
        """Call ``then(report)``, or ``then(None)`` if no answer came in time; always, and once."""
        if node == self._membership.mospe:
            then(self._report())
        else:
            self._ask(node, then, self._reactor.now(), TRIES)

    def close(self) -> None:
        """Stop asking and answering; probes under way end as unanswered."""
        for sock in (*self._asking.values(), *self._answering.values()):
            self._reactor.forget(sock.fileno())
            sock.close()
        self._asking, self._answering = {}, {}

    def _reopen(self) -> None:
        members = self._membership
        own = members.addresses(members.mospe) if members.seen else []
        if own == self._own:
            return
        self.close()
        self._own = own
        for address in own:
            try:
                self._asking[address] = self._open(address, 0, self._receive_answers)
                self._answering[address] = self._open(address, self._port, self._receive_questions)
            except OSError as error:
                log.error("cannot probe or answer at %s, UDP port %d: %s", address, self._port, error.strerror)

    def _open(self, address: str, port: int, callback: Callable[[socket.socket], None]) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.bind((address, port))
        except OSError:
            sock.close()
            raise
        self._reactor.watch(sock.fileno(), select.EPOLLIN, lambda _mask: callback(sock))
        return sock

    def _ask(self, node: int, then: Then, start_s: float, tries: int) -> None:
        serial = next(self._serials) & 0xFFFFFFFF
        paths = self._membership.paths(node)
        self._pending[serial] = one = _Try(frozenset(path.other for path in paths))
        end_s = start_s + TRY_S * (self.gateways + 1)

        def ended() -> None:
            del self._pending[serial]
            if one.report is not None or tries == 1:
                then(one.report)
            else:
                self._ask(node, then, max(end_s, self._reactor.now() - LATE_S), tries - 1)

        self._reactor.call_later(end_s - self._reactor.now(), ended)
        question = _PACKET.pack(_MAGIC, _QUESTION, serial, 0, self._membership.mospe, *[0] * 8)
        for own, other in paths:
            _send(self._asking.get(own), question, other, self._port)

    def _receive_answers(self, sock: socket.socket) -> None:
        for packet, address, _port in _receive(sock):
            _magic, kind, serial, _zero, _node, load, speed, cpus, util, status, mem, rmem, tmem = packet
            one = self._pending.get(serial)
            if kind == _ANSWER and one is not None and address in one.addresses:
                memory = (pages * _PAGE_BYTES for pages in (mem, rmem, tmem))
                one.report = Report(status, load, cpus, speed, util, *memory)

    def _receive_questions(self, sock: socket.socket) -> None:
        for packet, address, port in _receive(sock):
            _magic, kind, serial, _zero, node = packet[:5]
            if kind != _QUESTION:
                continue
            if self._membership.node_at(address) == node:
                _send(sock, self._answer(serial), address, port)
            elif node == self._membership.mospe:
                self._complain(
                    "WARNING: Another computer is masquerading as same openMosix node as this (%s)!", str(node)
                )
            else:
                self._complain("Received an unauthorized information request from %s", address)

    def _answer(self, serial: int) -> bytes:
        report = self._report()
        words = [_capped(value, 16) for value in (report.speed, report.cpus, report.util, report.status)]
        pages = [_capped(size // _PAGE_BYTES, 32) for size in (report.mem, report.rmem, report.tmem)]
        own = self._membership.mospe
        return _PACKET.pack(_MAGIC, _ANSWER, serial, 0, own, _capped(report.load, 32), *words, *pages)

    def _complain(self, line: str, of: str) -> None:
        now_s = self._reactor.now()
        if now_s >= self._quiet_until_s:
            self._quiet_until_s = now_s + COMPLAINT_S
            log.warning(line, of)


class _Try:
    """One question that may still be answered."""

    __slots__ = ("addresses", "report")

    def __init__(self, addresses: frozenset[str]) -> None:
        self.addresses = addresses
        self.report: Report | None = None


def _capped(value: int, bits: int) -> int:
    return min(value, (1 << bits) - 1)


def _send(sock: socket.socket | None, packet: bytes, address: str, port: int) -> None:
    """Send one datagram; what cannot be sent is lost, as on the wire."""
    if sock is not None:
        try:
            sock.sendto(packet, (address, port))
        except OSError as error:
            log.debug("datagram to %s lost: %s", address, error)


def _receive(sock: socket.socket) -> list[tuple[tuple[int, ...], str, int]]:
    """The well-formed packets that wait, at most ``_BATCH``: (fields, sender's address, sender's port)."""
    packets: list[tuple[tuple[int, ...], str, int]] = []
    for _ in range(_BATCH):
        try:
            data, (address, port) = sock.recvfrom(_PACKET.size + 1)
        except OSError:
            break
        if len(data) == _PACKET.size:
            packet = _PACKET.unpack(data)
            if packet[0] == _MAGIC:
                packets.append((packet, address, port))
    return packets
