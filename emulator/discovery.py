"""Auto-discovery: how nodes find each other by multicast, and the table that comes of it.

Rules:

1. A node's id is the low 16 bits of its first address; further addresses are aliases.
2. A node that starts says JOIN some times; whoever hears it answers ACK. Both tell who is there. There is no
   heartbeat, and nobody ever leaves: a node that dies stays in the map.
3. Ids that follow each other at addresses that follow each other are one range of the table.
4. A node whose id is another one's is not taken: two networks with equal low halves cannot be one cluster.
5. The kernel takes all of a table or nothing. So an alias that is another node's address, or alias, is left out; so is
   what is more than a table holds: a node, and before that an alias.

A packet is ``OMDS``, one byte of kind (1 JOIN, 2 ACK), and 4 bytes for each address. The group and the port are the
genuine ones; the layout is ours.
"""

from __future__ import annotations

from emulator.table import NODE_MAX, RECORDS_MAX, Record, address_to_int, int_to_address

GROUP = "239.192.0.1"
PORT = 1334
JOIN, ACK = 1, 2
ADDRESSES_MAX = 6

_MAGIC = b"OMDS"
PACKET_MAX = len(_MAGIC) + 1 + 4 * ADDRESSES_MAX


class Discovery:
    """What one node has heard. ``addresses`` are its own; ValueError if they make no node."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses
        self.node = node_of(addresses[0])
        if not 1 <= self.node <= NODE_MAX or len(addresses) > ADDRESSES_MAX:
            raise ValueError(f"{addresses[0]} makes node {self.node} with {len(addresses)} addresses")
        self._known = {self.node: tuple(addresses)}

    def packet(self, kind: int) -> bytes:
        """What this node says of itself."""
        return _MAGIC + bytes([kind]) + b"".join(address_to_int(a).to_bytes(4, "big") for a in self.addresses)

    def heard(self, packet: bytes) -> tuple[bool, bool]:
        """Take a packet in: (whether it asks for an answer, whether the table has changed)."""
        body = packet[len(_MAGIC) + 1 :]
        if not packet.startswith(_MAGIC) or not body or len(body) % 4 or len(packet) > PACKET_MAX:
            return False, False
        addresses = tuple(int_to_address(int.from_bytes(body[i : i + 4], "big")) for i in range(0, len(body), 4))
        node = node_of(addresses[0])
        if node == self.node or not 1 <= node <= NODE_MAX:
            if addresses[0] != self.addresses[0]:
                warn(f"{addresses[0]} would be node {node} as well: not taken")
            return False, False
        known = self._known.get(node)
        if known and known[0] != addresses[0]:
            warn(f"{addresses[0]} would be node {node}, which is {known[0]}: not taken")
            return False, False
        self._known[node] = addresses
        if len(self._ranges()) > RECORDS_MAX:
            warn(f"{addresses[0]} would be one node too many: not taken")
            del self._known[node]
            return False, False
        return packet[len(_MAGIC)] == JOIN, known != addresses

    def records(self) -> list[Record]:
        """The table: ranges first, then aliases."""
        ranges, taken = self._ranges(), {first for first, *_ in self._known.values()}
        aliases = []
        for node, (_, *others) in sorted(self._known.items()):
            aliases += [Record(node, alias, 0) for alias in others if alias not in taken]
            taken.update(others)
        return [*ranges, *aliases][:RECORDS_MAX]

    def _ranges(self) -> list[Record]:
        ranges: list[Record] = []
        for node, (address, *_) in sorted(self._known.items()):
            last = ranges[-1] if ranges else None
            if last and (node, address) == (last.base + last.size, following(last)):
                ranges[-1] = Record(last.base, last.address, last.size + 1)
            else:
                ranges.append(Record(node, address, 1))
        return ranges


def node_of(address: str) -> int:
    """Rule 1."""
    return address_to_int(address) & 0xFFFF


def warn(text: str) -> None:
    """Log it."""
    import logging  # which costs more than all that omdiscd does before it is in the background

    logging.getLogger(__name__).warning(text)


def following(record: Record) -> str:
    """The address after the last one of a range."""
    return int_to_address((address_to_int(record.address) + record.size) & 0xFFFFFFFF)
