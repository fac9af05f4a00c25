"""``bench-mfs``: the speed of MFS beside file systems that nobody here wrote, in one run on one machine.

Rules:

1. All run at the same time, on machines made of network namespaces (:mod:`moslab.mfsbench`), of one core each, and are
   measured in turns. The best round counts, as what else the machine does only makes a round slower.
2. The own node's files are compared with libfuse's passthrough_ll, another node's with sshfs. Nobody caches names or
   attributes; sshfs reads ahead.
3. The files are in memory: a disk would add the same to both, and its noise.
4. A cut is measured once for each operation: its first call, the next one, and when it works again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from moslab import bench
from moslab.errors import CannotError, LabError
from moslab.mfsbench import load
from moslab.mfsbench.inside import OTHER, OWN, PASSTHROUGH, SSHFS
from moslab.mfsbench.machines import missing
from moslab.progress import Progress

ROUNDS, SECONDS = 5, 0.4
PEERS = Path(".bench")
MEMORY = "/dev/shm"
NEEDED = ("passthrough_ll", "openssh/usr/sbin/sshd")
RUN_LIMIT_S = 900.0
WORDS = {
    load.SMALL: "open, read, close", load.STAT: "stat", load.CREATE: "create, write, rename",
    load.FSYNC: "write, fsync", load.LIST: f"list {load.ENTRIES} names", load.READ: "read a large file",
    load.WRITE: "write a large file",
}
FACTORS = {
    (OWN, load.SMALL): 0.5, (OWN, load.READ): 2.0, (OWN, load.LIST): 0.35,
    (OTHER, load.SMALL): 1.0, (OTHER, load.CREATE): 1.0, (OTHER, load.FSYNC): 1.0, (OTHER, load.LIST): 1.5,
    (OTHER, load.READ): 1.5,
}
CUT_FIRST_S, CUT_NEXT_MS, CUT_HEALED_S = 1.1, 5.0, 1.0
Row = dict[str, Any]


def bench_mfs(rounds: int, seconds: float, progress: Progress) -> int:
    """Measure, print a table, write ``out/bench/mfs.json``; 0 if all targets are met, else 1."""
    if rounds < 1 or seconds <= 0:
        raise CannotError("bench-mfs: at least one round, and some seconds")
    lacking = missing() + [str(PEERS / name) for name in NEEDED if not (PEERS / name).exists()]
    if lacking or os.geteuid():
        raise CannotError(f"bench-mfs needs root and {', '.join(lacking) or 'nothing else'}: sudo make bench-mfs")
    with progress.stage(f"{len(WORDS)} measures of 4 file systems, {rounds} rounds, and cuts"):
        said = _measure(rounds, seconds)
    rows = [made for one in said if "measure" in one for made in rate_rows(one["measure"], one["rates"])]
    rows = sorted(rows, key=lambda row: row["metric"].startswith(OTHER))
    rows += cut_rows([one for one in said if "cut" in one])
    return bench.conclude("mfs", rows)


def _measure(rounds: int, seconds: float) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="bench-mfs-", dir=MEMORY) as folder:
        apart = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        words = (folder, str(PEERS.resolve()), str(rounds), str(seconds))
        inside = [sys.executable, "-m", "moslab.mfsbench.inside", *words]
        done = subprocess.run(apart + inside, capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False)
    if done.returncode:
        raise LabError(f"bench-mfs: {done.stderr.strip()[-1000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def rate_rows(measure: str, rates: dict[str, list[float]]) -> list[Row]:
    """Two: the own node beside passthrough_ll, another beside sshfs."""
    rows = []
    for ours, peer in ((OWN, PASSTHROUGH), (OTHER, SSHFS)):
        best, other = max(rates[ours]), max(rates[peer])
        factor = FACTORS.get((ours, measure))
        rows.append(bench.row(
            f"{ours}: {WORDS[measure]}", "MB/s" if measure in load.IN_MB else "/s", len(rates[ours]), best,
            None if factor is None else factor * other, at_least=True,
            peer=round(other, 3), peer_name=peer, ratio=round(best / other, 2),
        ))
    return rows


def cut_rows(cuts: list[Row]) -> list[Row]:
    """The slowest of all operations."""
    first_s, next_s, healed_s = (max(cut[name] for cut in cuts) for name in ("first_s", "next_s", "healed_s"))
    return [
        bench.row("cut off: slowest first operation", "s", len(cuts), first_s, CUT_FIRST_S),
        bench.row("cut off: slowest next operation", "ms", len(cuts), 1000 * next_s, CUT_NEXT_MS),
        bench.row("healed: until it works", "s", len(cuts), healed_s, CUT_HEALED_S),
    ]
