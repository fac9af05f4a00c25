"""``bench-idle``: what openMosix costs that nobody uses, and what its tools add to the probes that they make.

Rules:

1. A cluster without agents. Processor time and memory are what the engine counts for the containers of the nodes, init
   included; memory is without what the kernel can take back from the files' cache.
2. A tool is run on a node, several times; its time is that of the quickest, as what else the machine does only adds to
   it: from its start to its end (to its first screen, of one that has a screen), less its probes.
3. A tool's probes are counted by the datagrams that the node sent; those to several nodes at a time are one. Each takes
   20 ms, as all nodes are up.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any

import docker
from docker.models.containers import Container

from moslab import bench
from moslab.cluster import REQUESTS_MAX, Cluster
from moslab.errors import LabError
from moslab.layout import Options
from moslab.node import run
from moslab.progress import Progress

NODES, SECONDS = 64, 20.0
CORES_MAX, BYTES_MAX, TOOL_MS_MAX = 0.10, 1.5e9, 40.0
CLUSTER = "bench-idle"
SETTLE_S = 5.0
ROUNDS = 15
RUN_LIMIT_S = 120.0
MIB = 1 << 20
Row = dict[str, Any]


def bench_idle(client: docker.DockerClient, nodes: int, seconds: float, progress: Progress) -> int:
    """Measure, print a table, write ``out/bench/idle.json``; 0 if all targets are met, else 1."""
    cluster = Cluster(client, CLUSTER)
    try:
        cluster.up(nodes, progress, options=Options(agents=False))
        rows = [*_idle(cluster, seconds, progress), *_tools(cluster, progress)]
    finally:
        cluster.down()
    return bench.conclude("idle", rows)


def _idle(cluster: Cluster, seconds: float, progress: Progress) -> list[Row]:
    containers = list(cluster.nodes().values())
    with progress.stage(f"{len(containers)} nodes at rest, {seconds:g} s"):
        time.sleep(SETTLE_S)    # what the start left to do
        began_s, before = time.monotonic(), _stats(containers)
        time.sleep(seconds)
        took_s, after = time.monotonic() - began_s, _stats(containers)
    used_s = (sum(map(processor_ns, after)) - sum(map(processor_ns, before))) / 1e9
    return idle_rows(len(containers), used_s / took_s, sum(map(memory_bytes, after)))


def idle_rows(nodes: int, cores: float, memory: float) -> list[Row]:
    """Processor and memory; the targets are for ``NODES`` nodes, others have their share."""
    share = nodes / NODES
    return [
        bench.row(f"{nodes} nodes at rest, processor", "ms/s", 1, 1000 * cores, 1000 * CORES_MAX * share),
        bench.row(f"{nodes} nodes at rest, memory", "MiB", 1, memory / MIB, BYTES_MAX * share / MIB),
    ]


def _stats(containers: list[Container]) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(REQUESTS_MAX) as pool:
        return list(pool.map(lambda container: container.stats(stream=False, one_shot=True), containers))


def processor_ns(stats: dict[str, Any]) -> int:
    """The processor time that a container has used."""
    return int(stats["cpu_stats"]["cpu_usage"]["total_usage"])


def memory_bytes(stats: dict[str, Any]) -> int:
    """What a container uses, as `docker stats` counts: version 1 of cgroups has a name of its own for the cache."""
    memory = stats["memory_stats"]
    detail = memory.get("stats", {})
    return int(memory["usage"]) - int(detail.get("total_inactive_file", detail.get("inactive_file", 0)))


def _tools(cluster: Cluster, progress: Progress) -> list[Row]:
    script = resources.files("moslab").joinpath("tooltime.py").read_text(encoding="utf-8")
    nodes = cluster.nodes()
    with progress.stage(f"the tools, {ROUNDS} times each"):
        command = ["/usr/bin/python3", "-IS", "-c", script, str(len(nodes)), str(ROUNDS)]
        done = run(nodes[1], command, RUN_LIMIT_S)
    if done.exit_code:
        raise LabError(f"the tools: {done.stderr.strip()[-500:]}")
    return [tool_row(**json.loads(line)) for line in done.stdout.splitlines()]


def tool_row(words: str, times: int, took_ms: float, probes: int, probe_ms: float) -> Row:
    """What one call of a tool takes beside its probes."""
    text = f"`{words}` beside {probes} probe{'s' * (probes != 1)}"
    return bench.row(text, "ms", times, took_ms - probes * probe_ms, TOOL_MS_MAX)
