"""The measuring itself, inside the namespaces: ``python -m moslab.mfsbench.inside FOLDER PEERS ROUNDS SECONDS``.

It prints lines of JSON: what was measured, of which file system, and the rates of all rounds; then the cuts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable

from moslab.mfsbench import load
from moslab.mfsbench.machines import CALL_S, FILES, Laboratory, python
from moslab.wait import eventually

OWN, PASSTHROUGH, OTHER, SSHFS = "own", "passthrough_ll", "other", "sshfs"
HEAL_S = 10.0
CUT_BYTES = 200
MUCH_BYTES = 1 << 20


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def rates(lab: Laboratory, rounds: int, seconds: float) -> None:
    """Each measure in turns on all file systems."""
    places = {OWN: lab.own, PASSTHROUGH: lab.passthrough, OTHER: lab.other, SSHFS: lab.sshfs}
    load.prepare(FILES)
    for measure in load.MEASURES:
        found: dict[str, list[float]] = {name: [] for name in places}
        for _ in range(rounds):
            for name, place in places.items():
                words = (python(), load.__file__, measure, str(place), str(seconds))
                done = subprocess.run(lab.user.inside(*words), capture_output=True, timeout=CALL_S, check=True)
                found[name].append(float(done.stdout))
        say(measure=measure, rates=found)


def cuts(lab: Laboratory) -> None:
    """Cut the owner off once for each operation: how long it takes, then how long the next, and how soon it heals."""
    for name, make in OPERATIONS.items():
        operation = make(lab.other)
        operation()
        lab.owner.unplug()
        first_s, next_s = failing_s(operation), failing_s(operation)
        began_s = time.monotonic()
        lab.owner.plug()
        eventually(partial(works, operation), within_s=HEAL_S, what=f"{name} after a cut", every_s=0.01)
        say(cut=name, first_s=first_s, next_s=next_s, healed_s=time.monotonic() - began_s)


def failing_s(operation: Callable[[], object]) -> float:
    """How long it takes to fail."""
    began_s = time.monotonic()
    if works(operation):
        raise SystemExit("an operation was carried out on a machine that is cut off")
    return time.monotonic() - began_s


def works(operation: Callable[[], object]) -> bool:
    try:
        operation()
    except OSError:
        return False
    return True


def stat(folder: Path) -> Callable[[], object]:
    return lambda: os.stat(folder / "small")


def names(folder: Path) -> Callable[[], object]:
    return lambda: os.listdir(folder / "list")


def opening(folder: Path) -> Callable[[], object]:
    return lambda: os.close(os.open(folder / "small", os.O_RDONLY))


def reading(folder: Path) -> Callable[[], object]:
    fd = os.open(folder / "small", os.O_RDONLY)
    return lambda: os.pread(fd, CUT_BYTES, 0)


def writing(folder: Path) -> Callable[[], object]:
    fd = os.open(folder / "log", os.O_WRONLY)
    return lambda: os.pwrite(fd, b"x" * CUT_BYTES, 0)


def writing_much(folder: Path) -> Callable[[], object]:
    fd = os.open(folder / "log", os.O_WRONLY)
    return lambda: os.pwrite(fd, bytes(MUCH_BYTES), 0)


def syncing(folder: Path) -> Callable[[], object]:
    fd = os.open(folder / "log", os.O_WRONLY)
    return lambda: os.fsync(fd)


def making(folder: Path) -> Callable[[], object]:
    return lambda: os.close(os.open(folder / "cut", os.O_WRONLY | os.O_CREAT, 0o644))


def renaming(folder: Path) -> Callable[[], object]:
    (folder / "renamed").touch()
    return lambda: os.rename(folder / "renamed", folder / "renamed")


OPERATIONS = {
    "stat": stat, "listdir": names, "open": opening, "read": reading, "write": writing, "write 1 MiB": writing_much,
    "fsync": syncing, "create": making, "rename": renaming,
}


def main() -> None:
    folder, peers, rounds, seconds = sys.argv[1:]
    lab = Laboratory(Path(folder), Path(peers))
    rates(lab, int(rounds), float(seconds))
    cuts(lab)
    sys.stdout.flush()
    os._exit(0)    # the first process of its namespace: all others end with it


if __name__ == "__main__":
    main()
