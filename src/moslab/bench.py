"""``bench-up``: how long 8 nodes take to be ready, against 8 bare containers of the same image.

Rules:

1. Both sides are measured in one run, in turns, on the same engine and image, each in a new network of its
   own.
2. The peer is as bare as it can be: ``sleep``, no capability, device, volume or file; created and started by
   the same number of requests at a time. It counts from the first container's request to the last one running.
3. Ours counts from the first request to MFS mounted and agents running on all nodes. Images are there before.
4. Both sides carry the label of one cluster, and the bare side has its guard too: a killed run leaves nothing.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import docker

from moslab.cluster import REQUESTS_MAX, Cluster
from moslab.guard import Guard
from moslab.image import ensure_image
from moslab.layout import Names
from moslab.network import create_network
from moslab.progress import Progress
from moslab.removal import remove

NODES = 8
ROUNDS = 5
FACTOR, EXTRA_S = 1.3, 1.0
CLUSTER = "bench"
OUT = Path("out/bench")
MET = {True: "met", False: "MISSED", None: "-"}
SLEEP_S = "600"


def bench_up(client: docker.DockerClient, rounds: int, progress: Progress) -> int:
    """Measure, print a table, write ``out/bench/up.json``; 0 if the target is met, else 1."""
    image = ensure_image(client, progress)
    Cluster(client, CLUSTER).refuse_second(progress)
    ours, peer = [], []
    for number in range(1, rounds + 1):
        progress.say(f"round {number} of {rounds}")
        peer.append(_bare(client, image, progress))
        ours.append(_nodes(client, progress))
    return conclude("up", [_row(ours, peer)])


def _row(ours: list[float], peer: list[float]) -> dict[str, Any]:
    mine, other = median(ours), median(peer)
    return row(
        f"start of {NODES} nodes to ready", "s", len(ours), mine, FACTOR * other + EXTRA_S,
        peer=round(other, 3), peer_name=f"{NODES} bare sleep containers", ratio=round(mine / other, 2),
    )


def row(
    metric: str, unit: str, n: int, ours: float, target: float | None, *, at_least: bool = False,
    peer: float | None = None, peer_name: str | None = None, ratio: float | None = None,
) -> dict[str, Any]:
    """What was measured, of one thing: ``met``, at most the target (or ``at_least``), is null where there is none."""
    ours, target = round(ours, 3), None if target is None else round(target, 3)
    met = None if target is None else ours >= target if at_least else ours <= target
    return {
        "metric": metric, "unit": unit, "n": n, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": ratio,
        "target": target, "met": met,
    }


def all_met(rows: list[dict[str, Any]]) -> bool:
    """Whether no target was missed."""
    return all(one["met"] is not False for one in rows)


def _bare(client: docker.DockerClient, image: str, progress: Progress) -> float:
    names = Names(CLUSTER)
    guard = Guard(client, names, image, NODES)

    def start(number: int) -> None:
        client.containers.create(
            image, name=f"{names.node(number)}-bare", entrypoint=["sleep"], command=[SLEEP_S],
            network=names.network, labels=names.labels("client"),
        ).start()

    try:
        guard.start()
        create_network(client, names)
        with progress.stage(f"{NODES} bare containers"), ThreadPoolExecutor(REQUESTS_MAX) as pool:
            began_s = time.monotonic()
            list(pool.map(start, range(1, NODES + 1)))
            return time.monotonic() - began_s
    finally:
        guard.abandon()
        remove(client, names.cluster)


def _nodes(client: docker.DockerClient, progress: Progress) -> float:
    cluster = Cluster(client, CLUSTER)
    try:
        began_s = time.monotonic()
        cluster.up(NODES, progress, groups=False)
        return time.monotonic() - began_s
    finally:
        cluster.down()


def conclude(name: str, rows: list[dict[str, Any]]) -> int:
    """Write them and print a table; the exit code: 0 if all targets are met, else 1."""
    write(name, rows)
    print(table(rows))
    return 0 if all_met(rows) else 1


def write(name: str, rows: list[dict[str, Any]]) -> None:
    """Write ``out/bench/NAME.json``."""
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for people."""
    lines = [f"{'metric':<40} {'n':>3} {'ours':>11} {'peer':>11} {'ratio':>6} {'target':>11} {'':<6}  peer"]
    for row in rows:
        ours, peer, target = (_cell(row[name], row["unit"]) for name in ("ours", "peer", "target"))
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
        lines.append(
            f"{row['metric']:<40} {row['n']:>3} {ours:>11} {peer:>11} {ratio:>6} {target:>11} "
            f"{MET[row['met']]:<6}  {row['peer_name'] or '-'}"
        )
    return "\n".join(lines)


def _cell(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.2f} {unit}"
