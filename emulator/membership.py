"""Which node this is and which nodes there are: the static map that the kernel holds.

Rules:

1. ``mospe`` 0 means off: the table is empty and nothing is served.
2. A table is taken only if this node is in it.
3. Who is leaving sees no nodes, answers no probe and takes no guests, but is the node that it was, and serves files.
4. A node with aliases has several addresses, in the order of the map. A node's k-th address is reached from this
   node's k-th, or from its first if it has fewer: two networks that each have an address of every node are two paths.
5. A change is complete before any listener hears of it; listeners are called in the order in which they came.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Callable, NamedTuple

from emulator.table import Record, addresses_of, nodes_of

log = logging.getLogger(__name__)


class Path(NamedTuple):
    """From which own address to which of another node: one of the links between the two."""

    own: str
    other: str


class Membership:
    """This node's id and the configured nodes; liveness is not known here, it is probed."""

    def __init__(self) -> None:
        self.mospe = 0
        self.table: dict[int, str] = {}
        self.records: tuple[Record, ...] = ()
        self.serves_files = True
        self.is_leaving = False
        self._owner_of: dict[str, int] = {}
        self._addresses: dict[int, list[str]] = {}
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback()`` after each change of ``mospe``, ``table``, ``serves_files`` or ``is_leaving``."""
        self._listeners.append(callback)

    @property
    def seen(self) -> dict[int, str]:
        """The table, for those to whom a node that is leaving is none."""
        return {} if self.is_leaving else self.table

    def leave(self, leaves: bool) -> None:
        """Begin to switch off, or stay after all."""
        self.is_leaving = leaves
        self._changed()

    def node_at(self, address: str) -> int | None:
        """The node whose address, or alias, this is; None if it is nobody's."""
        return self._owner_of.get(address)

    def addresses(self, node: int) -> list[str]:
        """All addresses of a node, the one that is no alias first; none of a node that is not in the map."""
        return self._addresses.get(node, [])

    def paths(self, node: int) -> tuple[Path, ...]:
        """The paths to a node, the preferred one first; none to a node that is not in the map."""
        own = self.addresses(self.mospe)
        return tuple(
            Path(own[place] if place < len(own) else own[0], other)
            for place, other in enumerate(self.addresses(node))
        )

    def configure(self, mospe: int, records: Sequence[Record]) -> None:
        """Be node ``mospe`` of a checked table; ValueError if the table has no such node."""
        table = nodes_of(records)
        if mospe not in table:
            raise ValueError(f"node {mospe} is not in the table")
        self.mospe, self.table, self.records = mospe, table, tuple(records)
        self._owner_of = addresses_of(records)
        self._addresses = {node: [] for node in table}
        for address, node in self._owner_of.items():
            self._addresses[node].append(address)
        log.info(
            "openMosix configuration changed: This is openMosix #%d (of %d configured)", mospe, len(table)
        )
        for record in records:
            _log_record(record)
        self._changed()

    def disable(self) -> None:
        """Switch openMosix off on this node; nothing happens if it is off."""
        if not self.mospe:
            return
        self.mospe, self.table, self.records, self._owner_of, self._addresses = 0, {}, (), {}, {}
        self.is_leaving = False
        log.info("openMosix configuration disabled")
        self._changed()

    def serve_files(self, serves: bool) -> None:
        """Let others use this node's files through MFS, or not (``mosctl nomfs``)."""
        if serves != self.serves_files:
            self.serves_files = serves
            self._changed()

    def _changed(self) -> None:
        for callback in self._listeners:
            callback()


def _log_record(record: Record) -> None:
    if record.size > 1:
        last = record.base + record.size - 1
        log.info("openMosix range: %d-%d begins at %s", record.base, last, record.address)
    elif record.size == 1:
        log.info("openMosix #%d is at IP address %s", record.base, record.address)
    else:
        log.info("openMosix #%d has an alias: %s", record.base, record.address)
