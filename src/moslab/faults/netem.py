"""Packets that are late, by netem of the kernel: for clusters whose MFS does not go through Toxiproxy.

Rules:

1. A fault is lines of the file of a node's links (:mod:`moslab.faults.links`), of the node that *sends*: a comment to
   nft, a command of tc(8) behind ``MARK``.
2. Each receiver has a class of its own at the sender's interface; what goes elsewhere passes beside. All packets to it
   are late, probes too. Of two faults of one link the later one holds.
3. When the lines change everything is made anew: what waits then is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from moslab.errors import CannotError
from moslab.faults.links import LATE, Link
from moslab.faults.toxics import DELAY, RATE, Toxic

CAN = ["unshare", "-n", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
"""Whether the kernel has it: in a network of its own, so nothing is changed."""
DEVICE = "eth0"
RENEW = "late"
"""The program of a node that has the file's lines hold (emulator/image/late)."""


def options(toxic: Toxic) -> str:
    """The toxic in netem's words; CannotError for what only connections can meet."""
    told = toxic.attributes
    if toxic.kind == DELAY:
        jitter = f" {told['jitter']}ms" if told["jitter"] else ""
        return f"delay {told['latency']}ms{jitter}"
    if toxic.kind == RATE:
        return f"rate {told['rate'] * 8}kbit"
    raise CannotError(
        f"{toxic.kind} is of connections, and netem knows packets: start the cluster with Toxiproxy (moslab up "
        "--toxiproxy; for a test the marker cluster(toxiproxy=True))"
    )


def lines(name: str, links: Iterable[Link], addresses: Mapping[int, str], toxic: Toxic) -> dict[int, str]:
    """What the fault of that name adds to the file of each sender."""
    found: dict[int, str] = {}
    said = options(toxic)
    for a, b in sorted(links):
        for command in (
            f"class replace dev {DEVICE} parent 1: classid 1:{b:x} htb rate 10gbit quantum 60000",
            f"qdisc replace dev {DEVICE} parent 1:{b:x} netem {said}",
            f"filter add dev {DEVICE} parent 1: protocol ip prio {b} u32 match ip dst {addresses[b]}/32 flowid 1:{b:x}",
        ):
            found[a] = found.get(a, "") + f'{LATE}{command} # comment "{name} {a}>{b}"\n'
    return found
