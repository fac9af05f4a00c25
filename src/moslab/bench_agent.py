"""``bench-agent``: what the agent costs while nothing happens, and how quick its init is.

Rules:

1. A cluster of the demo groups, with the profile ``default``, at rest; nobody asks it anything. A node's processor time
   and memory are those of all processes of its agent, as its kernel counts them: the daemons of openMosix and what the
   groups run are not the agent's. The verdict is about the node that takes most.
2. Level changes, in turns with a shell that runs the same commands, and crashes are on one node of that cluster, while
   the agents run on. What a level change takes beyond its commands is what it takes beyond the shell.
3. A crash counts from the kill to what the next process says of the time, so a shell and ``date`` are in it.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from statistics import median
from typing import Any

import docker
from docker.models.containers import Container

from moslab import bench
from moslab.cluster import REQUESTS_MAX, Cluster
from moslab.errors import LabError
from moslab.node import run
from moslab.progress import Progress

NODES, SECONDS, ROUNDS = 8, 120.0, 20
SETTLE_S = 20.0
COMMANDS, LONG_S = 20, 0.05
PROCESSOR_S_MAX, MIB_MAX = 18.0, 40.0        # in an hour, and of PSS; on each node
RESPAWN_MS_MAX, NOTHING_MS_MAX = 20.0, 20.0
LONG_RATIO_MAX = 1.25
CLUSTER = "bench-agent"
RUN_LIMIT_S = 300.0
HOUR_S = 3600.0
MIB = 1 << 20
Row = dict[str, Any]


def bench_agent(client: docker.DockerClient, nodes: int, seconds: float, rounds: int, progress: Progress) -> int:
    """Measure, print a table, write ``out/bench/agent.json``; 0 if all targets are met, else 1."""
    cluster = Cluster(client, CLUSTER)
    try:
        cluster.up(nodes, progress)
        rows = [*_rest(cluster, seconds, progress), *_clinit(cluster, rounds, progress)]
    finally:
        cluster.down()
    return bench.conclude("agent", rows)


def _rest(cluster: Cluster, seconds: float, progress: Progress) -> list[Row]:
    containers = list(cluster.nodes().values())
    with progress.stage(f"{len(containers)} nodes at rest, {seconds:g} s"), ThreadPoolExecutor(REQUESTS_MAX) as pool:

        def look() -> list[dict[str, float]]:
            return list(pool.map(lambda container: _inside(container, "rest"), containers))

        time.sleep(SETTLE_S)                 # what the start left to do
        began_s, before = time.monotonic(), look()
        time.sleep(seconds)
        took_s, after = time.monotonic() - began_s, look()
    return rest_rows(took_s, before, after)


def rest_rows(took_s: float, before: list[dict[str, float]], after: list[dict[str, float]]) -> list[Row]:
    """Of each node's processes at the begin and at the end."""
    used_s = [(end["processor_s"] - begin["processor_s"]) * HOUR_S / took_s for begin, end in zip(before, after)]
    memory = [end["pss_bytes"] / MIB for end in after]
    rows = []
    for name, unit, found, most in (
        ("processor", "s/h", used_s, PROCESSOR_S_MAX), ("memory", "MiB", memory, MIB_MAX),
    ):
        rows.append(bench.row(f"agent at rest, {name}, most of a node", unit, len(found), max(found), most))
        rows.append(bench.row(f"agent at rest, {name}, median node", unit, len(found), median(found), None))
    return rows


def _clinit(cluster: Cluster, rounds: int, progress: Progress) -> list[Row]:
    container = next(iter(cluster.nodes().values()))
    with progress.stage(f"level changes, {rounds} times each"):
        levels = _inside(container, "levels", str(COMMANDS), str(LONG_S), str(rounds))
    with progress.stage(f"{rounds} crashes"):
        crashes = _inside(container, "respawn", str(rounds))
    return [*level_rows(levels), *crash_rows(crashes)]


def level_rows(took_s: dict[str, list[float]]) -> list[Row]:
    """Of level changes; those of a shell beside them."""
    ms = {name: 1000 * median(all_s) for name, all_s in took_s.items()}
    times = len(took_s["nothing"])
    rows = [bench.row("level change with nothing to run", "ms", times, ms["nothing"], NOTHING_MS_MAX)]
    for level, words, most in (
        ("trivial", "that do nothing", None), ("long", f"of {1000 * LONG_S:g} ms", LONG_RATIO_MAX),
    ):
        peer = ms[f"{level} shell"]
        rows.append(bench.row(
            f"level change, {COMMANDS} commands {words}", "ms", times, ms[level], None if most is None else most * peer,
            peer=round(peer, 3), peer_name="the same commands in a shell", ratio=round(ms[level] / peer, 2),
        ))
    return rows


def crash_rows(took_s: list[float]) -> list[Row]:
    """Of the respawns after crashes."""
    ms = [1000 * one for one in took_s]
    return [
        bench.row("crash of a daemon to its respawn", "ms", len(ms), median(ms), RESPAWN_MS_MAX),
        bench.row("crash of a daemon to its respawn, slowest", "ms", len(ms), max(ms), None),
    ]


def _inside(container: Container, *words: str) -> Any:
    script = resources.files("moslab").joinpath("agentcost.py").read_text(encoding="utf-8")
    done = run(container, ["/usr/bin/python3", "-IS", "-c", script, *words], RUN_LIMIT_S)
    if done.exit_code:
        raise LabError(f"{' '.join(words)} on {container.name}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)
