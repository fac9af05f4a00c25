"""Host names and addresses, as ``setpe`` and ``mosctl`` take and show them; ``socket`` is imported only to ask."""

from __future__ import annotations

import os
from errno import EINVAL

from emulator.table import address_to_int


def address_of(host: str) -> str:
    """The IPv4 address of a name or of an address; OSError if it is unknown."""
    try:
        address_to_int(host)
    except ValueError:
        import socket

        try:
            return socket.gethostbyname(host)
        except UnicodeError as error:
            raise OSError(EINVAL, f"not a host name: {host}") from error
    return host


def own_address() -> str:
    """The address of this host's name, which must be the one in the map (setpe(1)); OSError."""
    return address_of(os.uname().nodename)


def name_of(address: str) -> str:
    """The first name of ``address`` in ``/etc/hosts``, or the address itself."""
    try:
        with open("/etc/hosts", encoding="utf-8", errors="replace") as hosts:
            for line in hosts:
                words = line.partition("#")[0].split()
                if len(words) > 1 and words[0] == address:
                    return words[1]
    except OSError:
        pass
    return address
