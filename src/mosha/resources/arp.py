"""ARP over Ethernet for IPv4: RFC 826, and RFC 5227 for probes and announcements."""

from __future__ import annotations

import select
import socket
import struct
import time
from ipaddress import IPv4Address

ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV4 = 0x0800
ARPHRD_ETHER = 1
REQUEST, REPLY = 1, 2
BROADCAST = b"\xff" * 6
NOBODY = b"\0" * 6
ANY_ADDRESS = IPv4Address(0)
FRAME_BYTES_MAX = 1518

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")


def packet(
    operation: int, sender_mac: bytes, sender_ip: IPv4Address, target_mac: bytes, target_ip: IPv4Address
) -> bytes:
    """An Ethernet frame to everybody with one ARP packet in it."""
    return _ETHERNET.pack(BROADCAST, sender_mac, ETHERTYPE_ARP) + _ARP.pack(
        ARPHRD_ETHER, ETHERTYPE_IPV4, 6, 4, operation, sender_mac, sender_ip.packed, target_mac, target_ip.packed
    )


def sender(frame: bytes) -> tuple[bytes, IPv4Address] | None:
    """Who sent this frame, and the address it claims; ``None`` if it is no ARP packet for IPv4."""
    if len(frame) < _ETHERNET.size + _ARP.size:
        return None
    kind, protocol, mac_size, ip_size, _operation, mac, address, _, _ = _ARP.unpack_from(frame, _ETHERNET.size)
    if (kind, protocol, mac_size, ip_size) != (ARPHRD_ETHER, ETHERTYPE_IPV4, 6, 4):
        return None
    return mac, IPv4Address(address)


class ArpSocket:
    """A raw socket on one device; raises OSError (no such device, no permission)."""

    def __init__(self, device: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE_ARP))
        try:
            self._socket.bind((device, ETHERTYPE_ARP))
        except OSError as error:
            self._socket.close()
            raise OSError(error.errno, f"{device}: {error.strerror}") from None
        self._socket.setblocking(False)
        self._mac: bytes = self._socket.getsockname()[4]

    def __enter__(self) -> ArpSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def announce(self, address: IPv4Address) -> None:
        """Say that ``address`` is here now, in both forms: some hosts heed only one of them."""
        for operation, target in ((REQUEST, NOBODY), (REPLY, BROADCAST)):
            self._socket.send(packet(operation, self._mac, address, target, address))

    def probe(self, address: IPv4Address, limit_s: float) -> str | None:
        """Ask who has ``address``: the MAC address of the first other machine that says so within the limit."""
        self._socket.send(packet(REQUEST, self._mac, ANY_ADDRESS, NOBODY, address))
        deadline = time.monotonic() + limit_s
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([self._socket], [], [], left_s)[0]:
                return None
            found = sender(self._socket.recv(FRAME_BYTES_MAX))
            if found is not None and found[1] == address and found[0] != self._mac:
                return ":".join(f"{byte:02x}" for byte in found[0])
