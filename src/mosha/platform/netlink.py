"""The IPv4 addresses of this machine's devices: see, put and remove them, by rtnetlink(7)."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface
from typing import NamedTuple

ANSWER_LIMIT_S = 2.0
ANSWER_BYTES = 64 * 1024
ERROR, DONE = 2, 3                                   # types of messages: linux/netlink.h, linux/rtnetlink.h
NEW_ADDRESS, DEL_ADDRESS, GET_ADDRESS = 20, 21, 22
IS_REQUEST, ACKNOWLEDGE, REPLACE, CREATE, DUMP = 0x1, 0x4, 0x100, 0x400, 0x300
ADDRESS, LOCAL, LIFETIMES = 1, 2, 6                  # attributes: linux/if_addr.h

_HEADER = struct.Struct("=IHHII")                    # length, type, flags, sequence, port
_ABOUT = struct.Struct("=BBBBI")                     # family, prefix length, flags, scope, index of the device
_ATTRIBUTE = struct.Struct("=HH")                    # length, type
_LIFETIMES = struct.Struct("=IIII")                  # preferred, valid, created, updated
_STATUS = struct.Struct("=i")


class Here(NamedTuple):
    """An address on the device with this number."""

    interface: IPv4Interface
    device: int


def addresses() -> list[Here]:
    """All of this machine. Raises OSError."""
    return [_parse(body) for kind, body in _ask(GET_ADDRESS, DUMP, _ABOUT.pack(socket.AF_INET, 0, 0, 0, 0))
            if kind == NEW_ADDRESS]


def put(here: Here, valid_s: int) -> None:
    """Add it, or begin its lifetime anew; the kernel takes it away at the end of that. Raises OSError."""
    lifetimes = _attribute(LIFETIMES, _LIFETIMES.pack(valid_s, valid_s, 0, 0))
    _ask(NEW_ADDRESS, ACKNOWLEDGE | CREATE | REPLACE, _body(here) + lifetimes)


def remove(here: Here) -> None:
    """Whether it was there or not. Raises OSError."""
    try:
        _ask(DEL_ADDRESS, ACKNOWLEDGE, _body(here))
    except OSError as error:
        if error.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):
            raise


def _body(here: Here) -> bytes:
    about = _ABOUT.pack(socket.AF_INET, here.interface.network.prefixlen, 0, 0, here.device)
    return about + _attribute(LOCAL, here.interface.ip.packed) + _attribute(ADDRESS, here.interface.ip.packed)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value      # all of four-byte values: nothing to fill


def _ask(kind: int, flags: int, body: bytes) -> list[tuple[int, bytes]]:
    """(type, body) of each message of the answer."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as asking:
        asking.settimeout(ANSWER_LIMIT_S)
        asking.send(_HEADER.pack(_HEADER.size + len(body), kind, flags | IS_REQUEST, 1, 0) + body)
        found: list[tuple[int, bytes]] = []
        while True:
            for said, content in _messages(asking.recv(ANSWER_BYTES)):
                if said == DONE:
                    return found
                if said == ERROR:
                    (status,) = _STATUS.unpack_from(content)
                    if status:
                        raise OSError(-status, os.strerror(-status))
                    return found
                found.append((said, content))


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind = _HEADER.unpack_from(data)[:2]
        yield kind, data[_HEADER.size : length]
        data = data[_aligned(length) :]


def _parse(body: bytes) -> Here:
    prefix, index = _ABOUT.unpack_from(body)[1], _ABOUT.unpack_from(body)[4]
    attributes: dict[int, bytes] = {}
    rest = body[_ABOUT.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        attributes[kind] = rest[_ATTRIBUTE.size : length]
        rest = rest[_aligned(length) :]
    local = attributes.get(LOCAL) or attributes[ADDRESS]
    return Here(IPv4Interface((IPv4Address(local), prefix)), index)


def _aligned(length: int) -> int:
    return max(4, (length + 3) & ~3)
