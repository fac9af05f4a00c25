"""A cluster on paper: names, labels, addresses, times and the files of each node. No engine is asked here.

Rules:

1. A cluster is its label: every object of it carries ``org.mosha.cluster=<name>``, and no file remembers it.
2. From the subnet's base: the power switch at +2, clients from +10 on, node i at +100+i, virtual addresses from
   +200 on.
3. Where MFS goes through Toxiproxy (:mod:`moslab.router`) the router is at +3, and node j is for node i at +256i+100+j.
4. In a second network, if there is one, node i is at +100+i as well; in the map that address is an alias.
"""

from __future__ import annotations

import io
import ipaddress
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

from emulator.mfs.pace import QUICK
from emulator.powerswitch.protocol import PORT
from mosha.config import Config
from mosha.ownership.voter import FOUNDED, installation
from mosha.voters import new_era
from moslab.errors import CannotError

CLUSTER, ROLE, NODE, SIZE = "org.mosha.cluster", "org.mosha.role", "org.mosha.node", "org.mosha.size"
BASE = "debian:bookworm-slim"
"""What the node image is made on."""
ENGINE_SOCKET = "/var/run/docker.sock"
"""Where the power switch finds its engine."""
DEFAULT_NAME = "mosha"
NODES_MIN, NODES_MAX = 2, 64
NETWORKS_MAX = 2
STOMITH = "stomith = /usr/sbin/powerswitch %a %n"
"""The line of mosha.conf; without STOMITH it is there as a comment."""
ARBITRATOR = "arbitrator = yes\n"
AGENT = "mh:"
"""How the agent's line of a node's inittab begins."""
POWER_OFFSET, ROUTER_OFFSET, CLIENT_OFFSET, NODE_OFFSET, VIRTUAL_OFFSET = 2, 3, 10, 100, 200
ADDRESSES_MIN = 256
ADDRESSES_EACH = 256
"""By so many a node's address is further on for node i + 1 than for node i (rule 3)."""

PROFILES = {"default": 0.5, "fast": 0.1}
"""The beat, in seconds, by the name of the profile."""
BEATS_PER_LEASE = {"default": 5, "fast": 7.5}
"""With ``fast`` times a node that waits half a second for a processor, beside others that start, keeps its lease."""
CALM_NODES = 16
"""Up to so many nodes the beat is that of the profile: every node reads every other once a beat, so the work grows
with the square of their number. Beyond this the beat grows with it, so the idle load stays as it was."""


def checked_name(name: str) -> str:
    """The name, if it can be that of a cluster; else CannotError."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
        raise CannotError(f"{name!r} is no cluster name: a-z, 0-9 and -, at most 31 characters")
    return name


def called(name: str) -> str:
    """How this program is called for the cluster of that name."""
    return "moslab" if name == DEFAULT_NAME else f"moslab --cluster {name}"


def checked_size(text: str | int) -> int:
    """The number of nodes, if a cluster can have so many; else CannotError."""
    try:
        size = int(text)
    except ValueError:
        size = 0
    if not NODES_MIN <= size <= NODES_MAX:
        raise CannotError(f"a cluster has {NODES_MIN} to {NODES_MAX} nodes, not {text}")
    return size


def beat_s(size: int, profile: str = "default") -> float:
    """Seconds between two records of a node, see ``CALM_NODES``."""
    return round(PROFILES[profile] * max(1.0, size / CALM_NODES) ** 2, 2)


def lease_s(size: int, profile: str = "default") -> float:
    """Seconds for which a majority's answer lets a group run."""
    return round(BEATS_PER_LEASE[profile] * beat_s(size, profile), 2)


def as_seen_by(node: int, address: str) -> str:
    """A node's address in the map of another one, where MFS goes through Toxiproxy (rule 3)."""
    return str(ipaddress.IPv4Address(address) + ADDRESSES_EACH * node)


@dataclass(frozen=True)
class Options:
    """What a cluster can be told at its start: times, whether it has STOMITH, tables instead of the demo's, whether
    the last node is an arbitrator, whether there are agents at all (without, it is openMosix alone), whether MFS goes
    through Toxiproxy, and in how many networks all nodes are. CannotError for what does not go together."""

    profile: str = "default"
    stomith: bool = True
    tables: Mapping[str, str] | None = None
    arbitrator: bool = False
    mfs_time: str = QUICK.name
    agents: bool = True
    toxiproxy: bool = False
    networks: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.networks <= NETWORKS_MAX:
            raise CannotError(f"nodes have 1 to {NETWORKS_MAX} networks, not {self.networks}")
        if self.toxiproxy and self.networks > 1:
            raise CannotError("where MFS goes through Toxiproxy there is one network")


DEFAULTS = Options()


@dataclass(frozen=True)
class Names:
    """What the objects of a cluster are called, and their labels."""

    cluster: str

    @property
    def power(self) -> str:
        return f"mosha-{self.cluster}-power"

    @property
    def router(self) -> str:
        return f"mosha-{self.cluster}-router"

    @property
    def toxiproxy(self) -> str:
        return f"mosha-{self.cluster}-toxiproxy"

    @property
    def network(self) -> str:
        return f"mosha-{self.cluster}"

    @property
    def networks(self) -> tuple[str, ...]:
        """All networks that nodes may be in, the first one first."""
        return self.network, f"{self.network}-2"

    @property
    def san(self) -> str:
        return f"mosha-{self.cluster}-san"

    @property
    def complete(self) -> str:
        """The volume that says that the cluster was complete; labels of what exists cannot be changed."""
        return f"mosha-{self.cluster}-complete"

    def node(self, node: int) -> str:
        return f"mosha-{self.cluster}-node{node}"

    def labels(self, role: str, node: int | None = None, size: int | None = None) -> dict[str, str]:
        """``role``: node, power, router, toxiproxy, client, network, san, complete; of compose also founding, disk."""
        labels = {CLUSTER: self.cluster, ROLE: role}
        if node is not None:
            labels[NODE] = str(node)
        if size is not None:
            labels[SIZE] = str(size)
        return labels


@dataclass(frozen=True)
class Layout:
    """The addresses and files of a cluster of ``size`` nodes in ``subnet``."""

    size: int
    subnet: ipaddress.IPv4Network
    mfs_key: bytes
    power_key: bytes
    options: Options = DEFAULTS
    era: str = field(default_factory=new_era)
    second: ipaddress.IPv4Network | None = None

    def __post_init__(self) -> None:
        needed = ADDRESSES_MIN + (ADDRESSES_EACH * self.size if self.options.toxiproxy else 0)
        if self.subnet.num_addresses < needed:
            raise CannotError(f"the engine chose the subnet {self.subnet}, and this cluster needs {needed} addresses")

    def _address(self, offset: int) -> str:
        return str(self.subnet.network_address + offset)

    @property
    def power(self) -> str:
        return self._address(POWER_OFFSET)

    @property
    def router(self) -> str:
        return self._address(ROUTER_OFFSET)

    def node(self, node: int) -> str:
        return self._address(NODE_OFFSET + node)

    def addresses(self, node: int) -> list[str]:
        """Those of a node in each network."""
        subnets = [self.subnet, *filter(None, [self.second])]
        return [str(subnet.network_address + NODE_OFFSET + node) for subnet in subnets]

    def seen(self, by: int, node: int) -> str:
        """The address of a node in the map of node ``by``."""
        return as_seen_by(by, self.node(node)) if self.options.toxiproxy and by != node else self.node(node)

    def virtual(self, number: int) -> str:
        """The virtual address ``number`` (from 0 on), with the prefix length."""
        return f"{self._address(VIRTUAL_OFFSET + number)}/{self.subnet.prefixlen}"

    @property
    def serve(self) -> str:
        """What opens the power switch: the line on its standard input."""
        return f"serve {self._powerswitch}\n"

    @property
    def _powerswitch(self) -> str:
        return json.dumps({"address": self.power, "port": PORT, "key": self.power_key.hex()})

    @property
    def _voters(self) -> list[int]:
        """The first ones; the same on every node."""
        return sorted(Config().voters_of(frozenset(range(1, self.size + 1))))

    def _map(self, node: int) -> str:
        """One range and the aliases, or what is before the node, itself, and what is after it."""
        if not self.options.toxiproxy:
            named = [(number, alias) for number in range(1, self.size + 1) for alias in self.addresses(number)[1:]]
            aliases = "".join(f"{number} {alias} ALIAS\n" for number, alias in named)
            return f"1 {self.node(1)} {self.size}\n{aliases}"
        ranges = ((1, node - 1), (node, 1), (node + 1, self.size - node))
        return "".join(f"{first} {self.seen(node, first)} {count}\n" for first, count in ranges if count)

    def _mosha_conf(self, node: int) -> str:
        return (
            "mfsbase = /mfs\n"
            "hpcbase = /openmosix/proc/hpc\n"
            "mwhois = mosctl whois\n"
            "varpath = /var/mosix-ha\n"
            f"voters = {' '.join(map(str, self._voters))}\n"
            f"{'' if self.options.stomith else '#'}{STOMITH}\n"
            "stomith_verify = no\n"                  # the switch itself has looked before it says off
            f"beat = {beat_s(self.size, self.options.profile):g}\n"
            f"lease = {lease_s(self.size, self.options.profile):g}\n"
            f"{ARBITRATOR if self.options.arbitrator and node == self.size else ''}"
        )

    def node_files(self, node: int, tables: dict[str, str]) -> bytes:
        """A tar archive of :meth:`files`."""
        return archive(self.files(node, tables))

    def files(self, node: int, tables: dict[str, str]) -> dict[str, tuple[bytes, int]]:
        """What a node is given before its first start: content and mode by path, without a leading slash.

        ``tables``: the texts of cltab and hactl, by name.
        """
        secret, public = 0o600, 0o644
        files = {
            "etc/openmosix.map": (self._map(node).encode(), public),
            "etc/openmosix/key": (self.mfs_key, secret),
            "etc/openmosix/mfs_time": (f"{self.options.mfs_time}\n".encode(), public),
            "etc/mosha.conf": (self._mosha_conf(node).encode(), public),
            "etc/powerswitch.json": (self._powerswitch.encode() + b"\n", secret),
            f"var/mosix-ha/{FOUNDED}": (f"{installation(self.era, self._voters)}\n".encode(), public),
            **{f"var/mosix-ha/{name}": (text.encode(), public) for name, text in tables.items()},
        }
        if not self.options.agents:
            files["etc/inittab"] = (inittab_without_agent().encode(), public)
        return files


def inittab_without_agent() -> str:
    """The inittab of the node image, less the agent's line."""
    text = resources.files("emulator").joinpath("image/inittab").read_text(encoding="utf-8")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(AGENT))


def archive(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """A tar archive of files: content and mode by path, without a leading slash."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, (content, mode) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()
