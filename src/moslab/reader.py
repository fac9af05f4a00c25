"""Runs inside a node, as ``python3 -IS -c <this text> {all|now} [DIRECTORY]``; the laboratory reads its line of JSON.

As ``… run DIRECTORY GROUP AFTER_S LIMIT_S`` it says "looks", and ends with 0 when just one run of the group goes on
that began after that time, or with 1 after LIMIT_S: one process that waits costs less than a command for each look.

It reads the journals that the demo's ``tick`` writes below DIRECTORY (/san), a directory for each group, and prints
{"now": s, "lives": [[group, node, pid, epoch, begin_s, end_s, stopped, [[from_s, to_s], ...]], ...],
"freezes": [[node, group, begin_s, end_s], ...], "forgotten": [[group, node, until_s], ...]}: a life is one run, and the
pauses are the gaps between two of its ticks that are longer than PAUSE_NS. ``now``: those that wrote lately, without
their pauses. The freezes are those that the laboratory wrote down (:mod:`moslab.faults.inside`); the group of a whole
node's is null, and so is the end of one that lasts. What a node wrote of a group until ``until_s`` is not all there
any more. Times are those of the engine's monotonic clock.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

PAUSE_NS = 50_000_000
ALIVE_S = 0.5
"""A ticker that wrote within this long before a look is running; a busy machine may keep it from its 10 ms."""
LOOK_EVERY_S = 0.05
LATELY_S = 5.0
FILE_BYTES_MAX = 64 << 20
TAIL_BYTES = 512
FREEZES = ".freezes"
FORGOTTEN = ".forgotten"


def life(group: str, texts: list[bytes]) -> list[Any] | None:
    """What one run wrote, whatever line is torn; None if that is nothing."""
    head: list[bytes] = []
    begin = last = 0
    stopped, pauses = False, []
    for text in texts:
        for line in text.split(b"\n")[:-1]:
            words = line.split()
            if len(words) != 5 or not words[1].isdigit():
                continue
            head = head or words
            at = int(words[1])
            if words[0] == b"start":
                begin = begin or at
            elif last and at - last > PAUSE_NS:
                pauses.append([last / 1e9, at / 1e9])
            last = max(last, at)
            stopped = words[0] == b"stop"
    if not head:
        return None
    node, pid, epoch = (word.decode() for word in head[2:])
    return [group, int(node), int(pid), epoch, (begin or last) / 1e9, last / 1e9, stopped, pauses]


def pieces(path: str, whole: bool) -> bytes:
    """A journal, or its first line and last lines."""
    try:
        with open(path, "rb") as file:
            if whole:
                return file.read(FILE_BYTES_MAX)
            head = file.readline(TAIL_BYTES)
            file.seek(max(len(head), os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return head + file.read(TAIL_BYTES)
    except FileNotFoundError:
        return b""


def lives(directory: str, whole: bool) -> list[list[Any]]:
    """All runs of all groups."""
    return [run for group in sorted(os.listdir(directory)) for run in lives_of(directory, group, whole)]


def lives_of(directory: str, group: str, whole: bool) -> list[list[Any]]:
    """All runs of a group."""
    found = []
    below = os.path.join(directory, group)
    names = sorted(os.listdir(below)) if os.path.isdir(below) else []
    for name in names:
        path = os.path.join(below, name)
        if not name.endswith(".log") or not (whole or is_fresh(path)):
            continue
        texts = [pieces(path + ".old", True), pieces(path, True)] if whole else [pieces(path, False)]
        run = life(group, texts)
        if run is not None:
            found.append(run)
    return found


def runs(directory: str, group: str, after_s: float, limit_s: float) -> bool:
    """Wait until just one run of the group goes on that began after ``after_s``; whether that was within the limit."""
    deadline_s = time.monotonic() + limit_s
    while (now_s := time.monotonic()) < deadline_s:
        begins_s = [begin_s for _, _, _, _, begin_s, end_s, stopped, _ in lives_of(directory, group, whole=False)
                    if not stopped and end_s > now_s - ALIVE_S]
        if len(begins_s) == 1 and begins_s[0] > after_s:
            return True
        time.sleep(LOOK_EVERY_S)
    return False


def is_fresh(path: str) -> bool:
    """Whether it was written lately."""
    try:
        return time.time() - os.stat(path).st_mtime < LATELY_S
    except FileNotFoundError:
        return False


def freezes(directory: str) -> list[list[Any]]:
    """What stood still, and when: a thaw ends every freeze of the same before it."""
    found: list[list[Any]] = []
    for line in pieces(os.path.join(directory, FREEZES), True).decode().splitlines():
        word, at, node, *group = line.split()
        whom = [int(node), group[0] if group else None]
        if word == "freeze":
            found.append([*whom, int(at) / 1e9, None])
        for freeze in found if word == "thaw" else []:
            if freeze[:2] == whom and freeze[3] is None:
                freeze[3] = int(at) / 1e9
    return found


def forgotten(directory: str) -> list[list[Any]]:
    """Of which groups and nodes not everything is kept, and until when."""
    found: list[list[Any]] = []
    for group in sorted(os.listdir(directory)):
        below = os.path.join(directory, group)
        names = sorted(os.listdir(below)) if os.path.isdir(below) else []
        found += [[group, name[:-len(FORGOTTEN)], int(pieces(os.path.join(below, name), True)) / 1e9]
                  for name in names if name.endswith(FORGOTTEN)]
    return found


def main() -> int:
    if sys.argv[1] == "run":
        print("looks", flush=True)
        return 0 if runs(sys.argv[2], sys.argv[3], float(sys.argv[4]), float(sys.argv[5])) else 1
    whole = sys.argv[1] == "all"
    directory = sys.argv[2] if len(sys.argv) > 2 else "/san"
    found = lives(directory, whole)
    print(json.dumps({"now": time.monotonic(), "lives": found, "freezes": freezes(directory),
                      "forgotten": forgotten(directory)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
