"""What a test leaves on the nodes of a cluster: audited after each, in containers and namespaces.

Rules:

1. It is what differs from when the cluster had settled for the first time. No process or socket need still be there.
2. Where processes run and listen does not matter, as groups move; nor how many of them there are.
3. Whatever a test began gets ``GONE_LIMIT_S`` to end.
4. Of a loop, as ``while :; do sleep 1; done``, the first look may see just the shell, and each later one another
   ``sleep 1``. So a process is not left that the look before has not seen, where that saw its words in another one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import NamedTuple

from docker.models.containers import Container

from moslab.cluster import REQUESTS_MAX, Cluster
from moslab.errors import LabError
from moslab.node import run
from moslab.wait import eventually

GONE_LIMIT_S = 10.0
LOOK_EVERY_S = 0.5
PROCESS = "process: "
EVERYWHERE = (PROCESS, "socket: ")


class Process(NamedTuple):
    """One of a node; ``key``: its pid there, and when it began."""

    node: int
    words: str
    key: str


class Seen(NamedTuple):
    """One look at all nodes."""

    lines: frozenset[str]
    processes: frozenset[Process]


class Leavings:
    """Of one cluster, from now on."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._before = self._seen()
        self._last: frozenset[Process] = frozenset()         # of the look before, where that is of the same audit

    def found(self) -> list[str]:
        """By now; rule 3."""
        self._last = frozenset()
        try:
            eventually(self._changed, lambda changed: not changed, within_s=GONE_LIMIT_S, what="all is as it was",
                       every_s=LOOK_EVERY_S)
        except LabError:
            return self._changed()
        return []

    def _changed(self) -> list[str]:
        last, now, before = self._last, self._seen(), self._before
        self._last = now.processes
        turning = {(process.node, process.words) for process in last}
        there = {process.words for process in before.processes}
        stay = {process.words for process in now.processes
                if process in last or (process.node, process.words) not in turning}
        left = now.lines - before.lines | {f"{PROCESS}{words}" for words in stay - there}
        gone = (one for one in before.lines - now.lines if not one.startswith(EVERYWHERE))
        return [*(f"left: {one}" for one in sorted(left)), *(f"gone: {one}" for one in sorted(gone))]

    def _seen(self) -> Seen:
        nodes = self._cluster.nodes()
        with ThreadPoolExecutor(REQUESTS_MAX) as pool:
            looks = dict(zip(nodes, pool.map(_look, nodes.values())))
        said = [(node, line) for node, lines in looks.items() for line in lines]
        return Seen(
            frozenset([
                *(f"container: {name}, {state}" for name, state in self._cluster.others().items()),
                *(line if line.startswith(EVERYWHERE) else f"node {node}: {line}"
                  for node, line in said if not line.startswith(PROCESS)),
            ]),
            frozenset(_process(node, line) for node, line in said if line.startswith(PROCESS)),
        )


def _process(node: int, line: str) -> Process:
    key, _, words = line.removeprefix(PROCESS).partition(" ")
    return Process(node, words, key)


def _look(container: Container) -> list[str]:
    if container.status != "running":
        return [container.status]
    script = resources.files("moslab.scenario").joinpath("traces.py").read_text(encoding="utf-8")
    done = run(container, ["/usr/bin/python3", "-IS", "-c", script])
    if done.exit_code:
        raise LabError(f"{container.name}: {done.stderr.strip()}")
    own = "-IS -c"                                           # of whoever looks, also into this node at the same time
    return [container.status, *(line for line in done.stdout.splitlines() if own not in line)]
