"""Addresses that a group holds, by their records: how they end with it, whatever the device is called."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from ipaddress import IPv4Interface
from typing import ClassVar

from mosha.platform import netlink
from mosha.platform.netlink import Here
from mosha.resources import records
from mosha.resources.records import Busy, Content, Record


class HeldAddress(Content):
    """What the record of an address says; ``index`` is the device's number, which it keeps when it is renamed."""

    KIND: ClassVar[str] = "addresses"

    def __init__(self, group: str, address: str, prefix: int, device: str, index: int) -> None:
        super().__init__(group)
        self.address, self.prefix, self.device, self.index = address, prefix, device, index

    @property
    def what(self) -> str:
        return self.address

    @property
    def here(self) -> Here:
        """As the kernel knows it."""
        return Here(IPv4Interface(f"{self.address}/{self.prefix}"), self.index)


def remove(record: Record[HeldAddress]) -> None:
    """The address, then the record. Raises OSError."""
    netlink.remove(record.content.here)
    record.remove()


def remove_left(group: str | None, rundir: str, spared: Collection[str] = ()) -> bool:
    """Take away what processes of ``group`` (``None``: of any but ``spared``) left when they were killed; whether
    nothing is left."""
    left = [one for one in records.contents(rundir, HeldAddress, group) if one.group not in spared]
    ended = [_end(rundir, content) for content in left]
    return all(ended)


def _end(rundir: str, content: HeldAddress) -> bool:
    try:
        record = records.lock(rundir, content)
    except (Busy, OSError):
        with suppress(OSError):
            netlink.remove(content.here)             # its holder is about to die, or cannot: it adds nothing any more
        return False
    if record is None:
        return True
    try:
        remove(record)
    except OSError:
        record.close()
        return False
    return True
