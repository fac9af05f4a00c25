"""The network of a cluster in containers: cut links, worsen and heal them (:mod:`moslab.faults.links` says what a cut
is, :mod:`moslab.faults.toxics` what else ails them).

Rules:

1. The state is on the nodes, and in Toxiproxy: any command may heal what another has cut; no file here remembers it.
2. A cut of many links is not one instant: it begins at some time between the call and its return, and ends so too.
3. A node that is off gets its file changed and cuts when it boots. A paused one can do nothing: CannotError.
"""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from docker.errors import NotFound
from docker.models.containers import Container

from moslab.cluster import REQUESTS_MAX, Cluster
from moslab.errors import CannotError, LabError
from moslab.faults import netem
from moslab.faults.links import (
    CHANCES,
    FILE,
    HEAD,
    LATE,
    POWER,
    ROUTER,
    Cuts,
    Link,
    edited,
    kind_of,
    mark,
    parse,
    receivers,
    rules,
)
from moslab.faults.record import CUT, LOSS
from moslab.faults.toxics import Toxic
from moslab.faults.toxiproxy import Toxiproxy
from moslab.layout import NETWORKS_MAX, archive
from moslab.node import run
from moslab.wait import eventually

FILE_BYTES_MAX = 4 << 20
EDIT_LIMIT_S = 10.0
"""A node that is being shot takes no commands for as long as the engine needs to end it."""
NO_MARK = "\x01"
EDIT = f"""
set -e
exec 9>>/run/cuts.lock; flock 9
touch {FILE}
was=$(grep '^{LATE}' {FILE} || :)
{{ printf %s "$1"; grep -e '^add rule' -e '^{LATE}' {FILE} | grep -vF -- "$3" || :; printf %s "$2"; }} >{FILE}.new
mv {FILE}.new {FILE}
nft -f {FILE}
[ "$was" = "$(grep '^{LATE}' {FILE})" ] || {netem.RENEW}
"""
CAN_LOSE = "add table inet try; add chain inet try in; add rule inet try in numgen random mod 2 < 1 drop"
"""For nft -c: nothing is changed by it."""


class Fabric:
    """The links of one cluster's nodes."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        nodes = cluster.nodes()
        self.networks: list[dict[int, str]] = [{} for _ in range(NETWORKS_MAX)]
        for node, container in nodes.items():
            for network, address in zip(self.networks, addresses_of(container)):
                network[node] = address
        self.addresses = self.networks[0]
        try:
            self.addresses[POWER] = addresses_of(cluster.client.containers.get(cluster.names.power))[0]
        except (NotFound, LabError):
            pass                                         # damaged: no link of it can be cut
        self._router: Container | None = None            # MFS goes straight on
        try:
            self._router = cluster.client.containers.get(cluster.names.router)
        except NotFound:
            pass

    @property
    def is_routed(self) -> bool:
        """Whether MFS goes through Toxiproxy."""
        return self._router is not None

    @property
    def present(self) -> int:
        """In how many networks the nodes are."""
        return sum(map(bool, self.networks))

    def cut(self, links: Iterable[Link], loss: float = 1.0, network: int | None = None) -> str:
        """Cut these links, in one network or in all, or lose a share of their packets; returns the name.

        CannotError for what is not there or paused.
        """
        wanted = self._chosen(network)
        ends = receivers(self._known(links), self.is_routed)
        if loss != 1:
            self._check_loss(loss)
        name = f"{CUT if loss == 1 else LOSS}-{secrets.token_hex(2)}"
        self._edit({
            node: "".join(
                rules(name, _within(links, addresses), addresses, node if self.is_routed else None, loss)
                for addresses in wanted
            )
            for node, links in ends.items()
        }, "")
        return name

    def worsen(self, links: Iterable[Link], toxic: Toxic) -> str:
        """MFS meets it on these links, or all packets where MFS does not go through Toxiproxy; returns the name.

        CannotError if there is neither Toxiproxy nor netem for it.
        """
        wanted = self._known(links)
        if any(POWER in link for link in wanted):
            raise CannotError(f"{toxic.kind}: the power switch has no files")
        if self._router is not None:
            return Toxiproxy(self._router).add(wanted, toxic)
        name = f"{toxic.kind}-{secrets.token_hex(2)}"
        late = netem.lines(name, wanted, self.addresses, toxic)
        self._check_netem()
        self._edit(late, "")
        return name

    def heal(self, name: str | None = None) -> Cuts:
        """Heal what has that name, or all; returns what was healed. CannotError if nothing has it."""
        cuts = self._cut_now()
        healed = {one: links for one, links in cuts.items() if name in (None, one)}
        touched = {node for one, links in healed.items() for node in self._holders(one, links)}
        self._edit(dict.fromkeys(sorted(touched), ""), mark(name))
        if name is not None and healed:
            return healed                                    # Toxiproxy, which may not answer, has nothing of it
        worse = self._worse_now()
        if name is not None and name not in worse:
            raise CannotError(f"there is no cut {name!r}; there are: {', '.join([*cuts, *worse]) or 'none'}")
        for one, links in worse.items():
            if name in (None, one) and self._router is not None:
                Toxiproxy(self._router).remove(one, links)
                healed[one] = links
        return healed

    def cuts(self) -> Cuts:
        """All that ails links, by name."""
        return {**self._cut_now(), **self._worse_now()}

    def _cut_now(self) -> Cuts:
        found: Cuts = {}
        with ThreadPoolExecutor(REQUESTS_MAX) as pool:
            for text in pool.map(read_file, self._cluster.nodes().values()):
                for cut, links in parse(text.decode()).items():
                    found[cut] = found.get(cut, frozenset()) | links
        return dict(sorted(found.items()))

    def _worse_now(self) -> Cuts:
        return Toxiproxy(self._router).present() if self._router is not None else {}

    def _chosen(self, network: int | None) -> list[dict[int, str]]:
        """The addresses in that network, or in each; CannotError if the nodes are not in it."""
        if network is None:
            return self.networks
        if not 1 <= network <= self.present:
            name = self._cluster.names.cluster
            raise CannotError(
                f"there is no network {network}: the nodes of cluster {name!r} have {self.present}.\n"
                f"Start it with more: moslab up --networks {NETWORKS_MAX}; for a test: cluster(networks={NETWORKS_MAX})"
            )
        return [self.networks[network - 1]]

    def _known(self, links: Iterable[Link]) -> frozenset[Link]:
        wanted = frozenset(links)
        unknown = {end for link in wanted for end in link} - set(self.addresses)
        unknown |= {end for _begin, end in wanted} & {POWER}     # nothing is dropped there
        if unknown:
            raise CannotError(f"there is no node {min(unknown)} in cluster {self._cluster.names.cluster!r}")
        return wanted

    def _check_loss(self, loss: float) -> None:
        """CannotError for what is no share, or where the kernel of the nodes cannot lose one."""
        if not 1 / CHANCES <= loss < 1:
            raise CannotError(f"loss is a share from {1 / CHANCES:g} to 1, not {loss:g}")
        node = next((node for node in self._cluster.nodes().values() if node.status == "running"), None)
        done = run(node, ["nft", "-c", CAN_LOSE]) if node is not None else None
        if done is not None and done.exit_code:
            raise CannotError(f"the nodes' kernel has no numgen for nftables (NFT_NUMGEN): {done.stderr.strip()}")

    def _check_netem(self) -> None:
        """CannotError where packets cannot be late: with what is missing."""
        name = self._cluster.names.cluster
        node = next((node for node in self._cluster.nodes().values() if node.status == "running"), None)
        done = run(node, netem.CAN) if node is not None else None
        if done is not None and done.exit_code:
            raise CannotError(
                f"MFS of cluster {name!r} does not go through Toxiproxy, and the nodes' kernel has no netem "
                f"(NET_SCH_NETEM): {done.stderr.strip()}\n"
                "Start it with the one: moslab up --toxiproxy, for a test the marker cluster(toxiproxy=True); "
                "or load the other: modprobe sch_netem"
            )
        if self.networks[1]:
            raise CannotError(f"the nodes of cluster {name!r} are in two networks, and netem is for one")

    def _holders(self, name: str, links: Iterable[Link]) -> set[int]:
        """The nodes in whose files that fault of links is."""
        if kind_of(name) in (CUT, LOSS):
            return {*receivers(links, self.is_routed)}
        return {sender for sender, _end in links}

    def _edit(self, added: Mapping[int, str], healed: str) -> None:
        nodes = self._cluster.nodes()
        if self._router is not None:
            nodes[ROUTER] = self._router
        paused = [node for node in added if nodes[node].status == "paused"]
        if paused:
            raise CannotError(f"node {paused[0]} is paused, and its links cannot be changed; moslab resume {paused[0]}")
        with ThreadPoolExecutor(REQUESTS_MAX) as pool:
            list(pool.map(lambda node: _change(nodes[node], added[node], healed), added))


def addresses_of(container: Container) -> list[str]:
    """The addresses that a container was given in the cluster's networks, the first one first; LabError if none."""
    given = [
        str((endpoint.get("IPAMConfig") or {}).get("IPv4Address") or "")
        for _name, endpoint in sorted(container.attrs["NetworkSettings"]["Networks"].items())
    ]
    if not any(given):
        raise LabError(f"{container.name} has no address of its own")
    return [address for address in given if address]


def _within(links: Iterable[Link], addresses: Mapping[int, str]) -> list[Link]:
    """Those of the links whose ends are in a network."""
    return [(a, b) for a, b in links if a in addresses and b in addresses]


def read_file(container: Container, path: str = FILE) -> bytes:
    """A file of a node's disk, also when the node is off; empty if there is none."""
    try:
        pieces, _stat = container.get_archive(path)
    except NotFound:
        return b""
    stream = io.BytesIO()
    for piece in pieces:
        stream.write(piece)
        if stream.tell() > FILE_BYTES_MAX:
            raise LabError(f"{path} of {container.name} is longer than {FILE_BYTES_MAX} bytes")
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        file = tar.extractfile(tar.getmembers()[0])
        return file.read() if file is not None else b""


def _change(container: Container, added: str, healed: str) -> None:
    """On the node itself, or on its disk while it is off: it may be shot, or come back, meanwhile."""

    def problem() -> str:
        container.reload()
        if container.status != "running":
            text = edited(read_file(container).decode(), added, healed)
            if not container.put_archive("/", archive({FILE.lstrip("/"): (text.encode(), 0o644)})):
                raise LabError(f"the engine does not take {FILE} of {container.name}")
            container.reload()
            return "it came back meanwhile" if container.status == "running" else ""
        try:
            done = run(container, ["sh", "-c", EDIT, "cuts", HEAD, added, healed or NO_MARK])
        except LabError as error:
            return str(error)
        return done.stderr.strip() or f"exit code {done.exit_code}" if done.exit_code else ""

    eventually(problem, lambda seen: not seen, within_s=EDIT_LIMIT_S, what=f"{container.name} has its links changed")
