"""The network of a cluster in containers: cut links, and heal them (:mod:`moslab.faults.links` says what a cut is).

Rules:

1. The state is on the nodes: any command may heal what another has cut, and no file here remembers it.
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
from moslab.faults.links import FILE, HEAD, POWER, Cuts, Link, edited, mark, parse, receivers, rules
from moslab.layout import archive
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
{{ printf %s "$1"; grep '^add rule' {FILE} | grep -vF -- "$3" || :; printf %s "$2"; }} >{FILE}.new
mv {FILE}.new {FILE}
nft -f {FILE}
"""


class Fabric:
    """The links of one cluster's nodes."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        nodes = cluster.nodes()
        self.addresses = {node: address_of(container) for node, container in nodes.items()}
        try:
            self.addresses[POWER] = address_of(cluster.client.containers.get(cluster.names.power))
        except (NotFound, LabError):
            pass                                         # damaged: no link of it can be cut

    def cut(self, links: Iterable[Link], cut: str = "") -> str:
        """Cut these links; returns the cut's name. CannotError for what is not there or paused."""
        wanted = frozenset(links)
        unknown = {end for link in wanted for end in link} - set(self.addresses)
        unknown |= {end for _begin, end in wanted} & {POWER}     # nothing is dropped there
        if unknown:
            raise CannotError(f"there is no node {min(unknown)} in cluster {self._cluster.names.cluster!r}")
        cut = cut or f"cut-{secrets.token_hex(2)}"
        ends = receivers(wanted)
        self._edit({node: rules(cut, links, self.addresses) for node, links in ends.items()}, "")
        return cut

    def heal(self, cut: str | None = None) -> Cuts:
        """Heal one cut, or all; returns what was healed. CannotError if there is no such cut."""
        present = self.cuts()
        if cut is not None and cut not in present:
            raise CannotError(f"there is no cut {cut!r}; there are: {', '.join(present) or 'none'}")
        healed = present if cut is None else {cut: present[cut]}
        touched = {node for links in healed.values() for node in receivers(links)}
        self._edit(dict.fromkeys(sorted(touched), ""), mark(cut))
        return healed

    def cuts(self) -> Cuts:
        """All cuts, by name."""
        found: Cuts = {}
        with ThreadPoolExecutor(REQUESTS_MAX) as pool:
            for text in pool.map(read_file, self._cluster.nodes().values()):
                for cut, links in parse(text.decode()).items():
                    found[cut] = found.get(cut, frozenset()) | links
        return dict(sorted(found.items()))

    def _edit(self, added: Mapping[int, str], healed: str) -> None:
        nodes = self._cluster.nodes()
        paused = [node for node in added if nodes[node].status == "paused"]
        if paused:
            raise CannotError(f"node {paused[0]} is paused, and its links cannot be changed; moslab resume {paused[0]}")
        with ThreadPoolExecutor(REQUESTS_MAX) as pool:
            list(pool.map(lambda node: _change(nodes[node], added[node], healed), added))


def address_of(container: Container) -> str:
    """The address that a container was given in the cluster's network; LabError if none."""
    for endpoint in container.attrs["NetworkSettings"]["Networks"].values():
        given = (endpoint.get("IPAMConfig") or {}).get("IPv4Address")
        if given:
            return str(given)
    raise LabError(f"{container.name} has no address of its own")


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
