"""What a failed test leaves: a folder with the history, the faults, what the nodes said, and a plan if there is one."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from moslab.faults.record import lines
from moslab.history.stored import to_json
from moslab.scenario.cluster import Cluster

NAME_MAX = 120


def folder_of(root: Path, test: str) -> Path:
    """Of that test; of each of its clusters there is one below."""
    return root / re.sub(r"[^A-Za-z0-9_.-]+", "-", test).strip("-.")[-NAME_MAX:]


def write(folder: Path, cluster: Cluster) -> str:
    """Write it all, instead of what was there; the verdict in a line."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    seen = cluster.seen()
    said = {"verdict": seen.word, "problems": seen.problems, "world": cluster.world.name}
    (folder / "verdict.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    if seen.history is not None:
        (folder / "history.json").write_text(to_json(seen.history), encoding="utf-8")
    (folder / "faults.txt").write_text("".join(f"{line}\n" for line in lines(cluster.faults)), encoding="utf-8")
    for node, text in cluster.world.logs().items():
        (folder / f"{f'node{node}' if node else 'world'}.log").write_text(text, encoding="utf-8")
    for name, text in cluster.world.papers().items():
        (folder / name).write_text(text, encoding="utf-8")
    return f"the history is {seen.word}{''.join(f'; {problem}' for problem in seen.problems[:1])}"
