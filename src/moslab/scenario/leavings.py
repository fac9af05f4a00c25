"""What a test leaves on the nodes of a cluster: audited after each, in containers and namespaces.

Rules:

1. It is what differs from when the cluster had settled for the first time. No process or socket need still be there.
2. Where processes run and listen does not matter, as groups move; nor how many of them there are.
3. Whatever a test began gets ``GONE_LIMIT_S`` to end.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import resources

from docker.models.containers import Container

from moslab.cluster import REQUESTS_MAX, Cluster
from moslab.errors import LabError
from moslab.node import run
from moslab.wait import eventually

GONE_LIMIT_S = 10.0
LOOK_EVERY_S = 0.5
EVERYWHERE = ("process: ", "socket: ")


class Leavings:
    """Of one cluster, from now on."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._before = self._seen()

    def found(self) -> list[str]:
        """By now; rule 3."""
        try:
            eventually(self._changed, lambda changed: not changed, within_s=GONE_LIMIT_S, what="all is as it was",
                       every_s=LOOK_EVERY_S)
        except LabError:
            return self._changed()
        return []

    def _changed(self) -> list[str]:
        now = self._seen()
        return [*(f"left: {one}" for one in sorted(now - self._before)),
                *(f"gone: {one}" for one in sorted(self._before - now) if not one.startswith(EVERYWHERE))]

    def _seen(self) -> frozenset[str]:
        nodes = self._cluster.nodes()
        with ThreadPoolExecutor(REQUESTS_MAX) as pool:
            looks = pool.map(_look, nodes.values())
            return frozenset([
                *(f"container: {name}, {state}" for name, state in self._cluster.others().items()),
                *(line if line.startswith(EVERYWHERE) else f"node {node}: {line}"
                  for node, lines in zip(nodes, looks) for line in lines),
            ])


def _look(container: Container) -> list[str]:
    if container.status != "running":
        return [container.status]
    script = resources.files("moslab.scenario").joinpath("traces.py").read_text(encoding="utf-8")
    done = run(container, ["/usr/bin/python3", "-IS", "-c", script])
    if done.exit_code:
        raise LabError(f"{container.name}: {done.stderr.strip()}")
    own = "-IS -c"                                           # of whoever looks, also into this node at the same time
    return [container.status, *(line for line in done.stdout.splitlines() if own not in line)]
