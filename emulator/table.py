"""The table of nodes: ``openmosix.map`` as text, ``admin/config`` as 24-byte records.

Rules:

1. A record is a range (first id, first address, size) or, with size 0, an alias: another address of a node.
2. Node ids are 1 to 65534, no id and no address occurs twice, there are at most 256 records.
3. Both forms parse to the same records; whatever breaks rule 2 is refused as a whole.

Sources: setpe(8) and the layout written by the genuine ``setpe``. The tools import this at each start, hence no
``typing`` and no ``collections``: they cost more than all that it does.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Callable

NODE_MAX = 65534
RECORDS_MAX = 256

_AF_INET = 2
_CONFIG = struct.Struct("<i HH4s8x i")
RECORD_BYTES = _CONFIG.size


class TableError(ValueError):
    """A table that is refused. ``reason`` is one line; ``genuine`` is what the genuine ``setpe`` prints."""

    def __init__(self, reason: str, genuine: str, where: str = "") -> None:
        super().__init__(f"{where}: {reason}" if where else reason)
        self.reason = reason
        self.genuine = genuine


class Record:
    """``size`` nodes from ``base`` on, at addresses from ``address`` on; size 0: an alias of ``base``."""

    __slots__ = ("address", "base", "size")

    def __init__(self, base: int, address: str, size: int) -> None:
        self.base = base
        self.address = address
        self.size = size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"Record({self.base}, {self.address!r}, {self.size})"

    @property
    def is_alias(self) -> bool:
        return self.size == 0

    def nodes(self) -> Iterator[tuple[int, str]]:
        """(node id, IPv4 address) of each node of a range; nothing for an alias."""
        first = address_to_int(self.address)
        for step in range(self.size):
            yield self.base + step, int_to_address(first + step)


def address_to_int(address: str) -> int:
    """The IPv4 address ``a.b.c.d`` as a number; ValueError if it is not one."""
    parts = address.split(".")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
        raise ValueError(f"not an IPv4 address: {address}")
    return int.from_bytes(bytes(map(int, parts)), "big")  # bytes() refuses numbers above 255


def int_to_address(number: int) -> str:
    return ".".join(map(str, number.to_bytes(4, "big")))


def nodes_of(records: Iterable[Record]) -> dict[int, str]:
    """All nodes of a checked table: id -> primary address, in order of ids."""
    return dict(sorted(node for record in records for node in record.nodes()))


def addresses_of(records: Iterable[Record]) -> dict[str, int]:
    """All addresses of a checked table: address -> node id; then all aliases, in the order of the table."""
    checked = list(records)
    found = {address: node for record in checked for node, address in record.nodes()}
    for record in checked:
        if record.is_alias:
            found.setdefault(record.address, record.base)
    return found


def parse_map(text: str, path: str, resolve: Callable[[str], str]) -> list[Record]:
    """Parse ``openmosix.map``: lines ``FIRST-ID ADDRESS COUNT`` or ``ID ADDRESS ALIAS``, ``#`` comments.

    ``resolve(host)`` gives the address of a host name or raises OSError. :class:`TableError` names ``path``,
    the line and the reason.
    """
    records: list[Record] = []
    table = _Checked()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words:
            where = f"{path}:{number}"
            record = _parse_line(words, where, resolve)
            table.add(record, where)
            records.append(record)
    table.finish(path)
    return records


def _parse_line(words: list[str], where: str, resolve: Callable[[str], str]) -> Record:
    bad = f"Bad Table Input: <{' '.join(words)}>"
    if len(words) != 3:
        raise TableError(f"expected FIRST-ID ADDRESS COUNT (or ALIAS), found {len(words)} words", bad, where)
    first, host, count = words
    alias = count.upper() == "ALIAS"
    if not _is_number(first) or int(first) < 1:
        raise TableError(f"node id {first!r} is not a number from 1 on", bad, where)
    if not alias and (not _is_number(count) or int(count) < 1):
        raise TableError(f"count {count!r} is neither a number from 1 on nor ALIAS", bad, where)
    try:
        host = int_to_address(address_to_int(host))  # one of them may be written in more than one way
    except ValueError:
        try:
            host = resolve(host)
        except OSError as error:
            raise TableError(f"unknown host {host!r}", f"{host}: Unknown host", where) from error
    return Record(int(first), host, 0 if alias else int(count))


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 9


def parse_config(data: bytes) -> list[Record]:
    """Parse what is written to ``admin/config``; :class:`TableError` names the record and the reason."""
    if len(data) % RECORD_BYTES:
        raise TableError(f"{len(data)} bytes are not whole records of {RECORD_BYTES}", "")
    records: list[Record] = []
    table = _Checked()
    for number, (base, family, _port, raw, count) in enumerate(_CONFIG.iter_unpack(data), 1):
        where = f"config record {number}"
        if family != _AF_INET or base < 1 or count < 0:
            raise TableError(f"family {family}, base {base}, count {count}", "", where)
        record = Record(base, int_to_address(int.from_bytes(raw, "big")), count)
        table.add(record, where)
        records.append(record)
    table.finish("config")
    return records


def render_config(records: Iterable[Record]) -> bytes:
    """The bytes of ``admin/config``."""
    return b"".join(
        _CONFIG.pack(one.base, _AF_INET, 0, address_to_int(one.address).to_bytes(4, "big"), one.size)
        for one in records
    )


class _Checked:
    """Rule 2, held while records are added."""

    def __init__(self) -> None:
        self._records = 0
        self._addresses: dict[str, int] = {}
        self._nodes: set[int] = set()
        self._aliases: list[tuple[Record, str]] = []

    def add(self, record: Record, where: str) -> None:
        self._records += 1
        if self._records > RECORDS_MAX:
            reason = f"more than {RECORDS_MAX} entries"
            raise TableError(reason, f"setpe: {reason}", where)
        last = record.base + max(record.size, 1) - 1
        if last > NODE_MAX:
            reason = f"node {last} is above {NODE_MAX}"
            raise TableError(reason, f"setpe: Table contains node-#{last} (max={NODE_MAX})!", where)
        if address_to_int(record.address) + record.size > 1 << 32:
            reason = f"{record.size} addresses from {record.address} on do not exist"
            raise TableError(reason, f"setpe: {reason}", where)
        if record.is_alias:
            self._aliases.append((record, where))
            self._add_address(record.address, record.base, where)
        for node, address in record.nodes():
            if node in self._nodes:
                genuine = "setpe: Table contains conflicting OpenMosix addresses!"
                raise TableError(f"node {node} occurs twice", genuine, where)
            self._nodes.add(node)
            self._add_address(address, node, where)

    def _add_address(self, address: str, node: int, where: str) -> None:
        other = self._addresses.setdefault(address, node)
        if other != node:
            genuine = "setpe: Table contains conflicting IP addresses!"
            raise TableError(f"address {address} is node {other}'s and node {node}'s", genuine, where)

    def finish(self, where: str) -> None:
        if not self._nodes:
            raise TableError("the table is empty", "setpe: the table is empty.", where)
        for alias, line in self._aliases:
            if alias.base not in self._nodes:
                reason = f"alias of node {alias.base}, which is not in the table"
                raise TableError(reason, f"setpe: {reason}", line)
