"""Partitions and loss as directed relations between nodes, and the packet filter's rules that make them.

Rules:

1. A *link* is a pair (from, to): packets of the one's address to the other's. A *cut* is a set of links that are cut at
   the same time, with a name; a link works when no cut has it. So cuts overlap, and each is healed by itself. *Loss*
   is a cut that drops a share of the packets, each by chance.
2. A link is cut where it ends: the receiver drops the packets, and the sender notices nothing but silence. ARP, virtual
   addresses and what is not between two nodes' own addresses passes.
3. The power switch is out of band: its links are cut only by :func:`from_power`, which is enough, as no call of a node
   gets an answer then.
4. The rules of a node are one file of its disk, applied as a whole and at once, and again when the node boots.
5. A cut of one network is of the addresses in that one; without a number it is of all networks.
6. Where MFS goes through Toxiproxy (:mod:`moslab.router`) the router drops what an asker sends to a proxy, and a node
   also what comes to it from where it has the sender in its map.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from moslab.layout import as_seen_by

Link = tuple[int, int]
Cuts = dict[str, frozenset[Link]]

POWER, ROUTER = 0, -1
FILE = "/etc/cuts.nft"
CHAIN = "inet cuts in"
LATE = "#tc "
"""How a line begins that is none of nft's (:mod:`moslab.faults.netem`)."""
CHANCES = 10_000
"""Loss is exact to one in so many packets."""
HEAD = f"""\
add table inet cuts
delete table inet cuts
add table inet cuts
add chain {CHAIN} {{ type filter hook input priority -300; }}
"""
_RULE = re.compile(rf'^(?:add rule|{LATE}).* comment "(?P<cut>[^ "]+) (?P<from>\d+)>(?P<to>\d+)"$', re.MULTILINE)


def between(some: Iterable[int], others: Iterable[int], one_way: bool = False) -> frozenset[Link]:
    """The links from ``some`` to ``others``, and back unless ``one_way``; none from a node to itself."""
    there = {(a, b) for a in set(some) for b in set(others) if a != b}
    return frozenset(there if one_way else there | {(b, a) for a, b in there})


def from_power(nodes: Iterable[int]) -> frozenset[Link]:
    """The links from the power switch to these nodes (rule 3)."""
    return frozenset((POWER, node) for node in nodes)


def apart(parts: Iterable[Iterable[int]]) -> frozenset[Link]:
    """All links between different parts of a cluster."""
    sides = [frozenset(part) for part in parts]
    return frozenset().union(*(between(a, b) for i, a in enumerate(sides) for b in sides[i + 1:]))


def majorities_ring(nodes: Iterable[int]) -> frozenset[Link]:
    """What is cut where each node hears a bare majority, itself counted, and no two nodes the same one: of nodes in a
    ring, each its nearest (Jepsen's *majorities ring*). Nothing is cut of fewer than four, or of an even number by
    halves: who hears one more is heard by it."""
    ring = sorted(nodes)
    near = (len(ring) // 2 + 1) // 2                         # on either side
    places = {node: place for place, node in enumerate(ring)}

    def apart_by(a: int, b: int) -> int:
        steps = abs(places[a] - places[b])
        return min(steps, len(ring) - steps)

    return frozenset((a, b) for a in ring for b in ring if apart_by(a, b) > near)


def shown(links: Iterable[Link], said: str = "") -> str:
    """Links for people, and for the report; with more that is to be said of them."""
    return " ".join([*[f"{said}:"] * bool(said), *(f"{a}>{b}" for a, b in sorted(links))])


def as_plan(links: Iterable[Link], do: str = "cut", **more: object) -> list[dict[str, Any]]:
    """These links as faults of a plan (:mod:`moslab.faults.plan`) that begin at once; of those from the power switch
    the answers are lost, so no shot is confirmed."""
    receivers: dict[int, set[int]] = {}
    for sender, receiver in links:
        receivers.setdefault(sender, set()).add(receiver)
    senders: dict[tuple[int, ...], list[int]] = {}
    for sender, found in sorted(receivers.items()):
        senders.setdefault(tuple(sorted(found)), []).append(sender)
    faults: list[dict[str, Any]] = []
    for to, whom in senders.items():
        if POWER in whom:
            faults.append({"do": "stomith", "whom": [*to], "how": "cut"})
        others = [sender for sender in whom if sender != POWER]
        if others:
            faults.append({"do": do, "whom": others, "to": [*to], **more})
    return faults


def kind_of(name: str) -> str:
    """The kind of what ails links, by its name."""
    return name.rpartition("-")[0]


def severed(cuts: Mapping[str, frozenset[Link]]) -> frozenset[Link]:
    """The links that any cut has."""
    return frozenset().union(*cuts.values())


def receivers(links: Iterable[Link], routed: bool = False) -> dict[int, frozenset[Link]]:
    """The links by the node at whose end they are cut; with a router also by that."""
    found: dict[int, set[Link]] = {}
    for link in links:
        found.setdefault(link[1], set()).add(link)
        if routed and link[0] != POWER:
            found.setdefault(ROUTER, set()).add(link)
    return {node: frozenset(ends) for node, ends in sorted(found.items())}


def rules(
    cut: str, links: Iterable[Link], addresses: Mapping[int, str], at: int | None = None, loss: float = 1.0,
) -> str:
    """The lines that a cut adds to the file of the node that receives ``links``.

    ``at``, where there is a router: whose file that is, a node's or ``ROUTER``. ``loss``: the share of packets, to 1.
    """
    chance = "" if loss == 1 else f"numgen random mod {CHANCES} < {round(loss * CHANCES)} "
    return "".join(
        f'add rule {CHAIN} ip saddr {source} ip daddr {end} {chance}drop comment "{cut} {a}>{b}"\n'
        for a, b in sorted(links) for source, end in _ends(addresses[a], addresses[b], a, b, at)
    )


def _ends(source: str, end: str, a: int, b: int, at: int | None) -> list[tuple[str, str]]:
    """From where to where the packets of a link are, as its receiver sees them (rule 5)."""
    if at == ROUTER:
        return [(source, as_seen_by(a, end))]
    if at is None or a == POWER:
        return [(source, end)]
    return [(source, end), (as_seen_by(b, source), end)]


def mark(cut: str | None) -> str:
    """What every line of a cut has in it, and no other line; of any cut for ``None``."""
    return 'comment "' if cut is None else f'comment "{cut} '


def edited(text: str, added: str = "", healed: str = "") -> str:
    """The file without the lines that have the mark ``healed``, and with ``added``."""
    old = [line for line in text.splitlines(keepends=True) if line.startswith(("add rule", LATE))]
    kept = [line for line in old if not (healed and healed in line)]
    return HEAD + "".join(kept) + added


def parse(text: str) -> Cuts:
    """The cuts that a node's file has."""
    found: dict[str, set[Link]] = {}
    for rule in _RULE.finditer(text):
        found.setdefault(rule["cut"], set()).add((int(rule["from"]), int(rule["to"])))
    return {cut: frozenset(links) for cut, links in found.items()}
