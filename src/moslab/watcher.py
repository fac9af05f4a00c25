"""Runs inside a node, as ``python3 -IS -c <this text> NODES LIMIT_S {nodes|openmosix|groups}``; the
laboratory reads its lines.

One process that looks at all nodes from within, so that waiting for a cluster costs no exec per node and
look. It prints a line whenever what it sees changes, and ends with 0 when all is there, or with 1 after
LIMIT_S.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_EVERY_S = 0.1
ASK_EVERY_S = 0.4
STATUS_LIMIT_S = 5.0
VIEW_BYTES_MAX = 1 << 20


def missing_of(node: int, mfs: str = "/mfs") -> str:
    """What a node lacks, as seen through MFS; empty if its agent runs and has itself seen a majority through MFS."""
    try:
        with open(f"{mfs}/{node}/var/mosix-ha/hastat.json", "rb") as view:
            seen = json.loads(view.read(VIEW_BYTES_MAX))
    except FileNotFoundError:
        return "has no agent" if os.path.isdir(f"{mfs}/{node}/etc") else "is not seen through MFS"
    except OSError as error:
        return f"is not seen through MFS ({error.strerror})"
    except ValueError:
        return "has an agent that just begins"
    if "waits" in seen:
        return f"waits: {seen['waits']}"
    return "" if seen.get("quorum") else "has no quorum"


def unserved(node: int, mfs: str = "/mfs") -> str:
    """Why a node without an agent is not ready; empty if it serves its files to this one."""
    return "" if os.path.isdir(f"{mfs}/{node}/etc") else "is not seen through MFS"


def idle_groups(hactl: str, status: str) -> dict[str, str]:
    """The groups that do not run at the level that hactl asks for, and how they stand instead."""
    groups = {group["name"]: group for group in json.loads(status)["groups"]}
    idle = {}
    for line in hactl.splitlines():
        words = line.partition("#")[0].split()
        if len(words) < 2 or words[1] == "stop":
            continue
        group = groups.get(words[0], {})
        shown = (group.get("owner"), group.get("level"), group.get("state"))
        if shown[0] is None or shown[1:] not in ((words[1], "DONE"), (words[1], "PASSED")):
            idle[words[0]] = "node {} {} {}".format(*shown) if shown[0] is not None else "is nowhere"
    return idle


def unheard(status: str) -> list[int]:
    """The nodes that the one that was asked does not see as up: it looks once a beat."""
    return [node["id"] for node in json.loads(status).get("nodes", []) if node["state"] != "up"]


def watch_nodes(count: int, deadline_s: float, lack_of: Callable[[int], str] | None = None) -> str:
    """Wait until no node lacks anything; returns what the last one lacked if that was not in time."""
    waiting, lack_of = list(range(1, count + 1)), lack_of or missing_of
    while True:
        lacks = [(node, lack_of(node)) for node in waiting]
        still = [(node, lack) for node, lack in lacks if lack]
        if len(still) < len(waiting):
            print(f"{count - len(still)} of {count} nodes", flush=True)
        if not still or time.monotonic() > deadline_s:
            return "; ".join(f"node {node} {lack}" for node, lack in still)
        waiting = [node for node, _lack in still]
        time.sleep(LOOK_EVERY_S)


def watch_groups(deadline_s: float) -> str:
    """Wait until all groups run and all nodes are heard; returns how the others stood if that was not in time."""
    with open("/var/mosix-ha/hactl", encoding="utf-8") as table:
        hactl = table.read(65536)
    shown = ""
    while True:
        state = _groups_state(hactl)
        if not state or time.monotonic() > deadline_s:
            return state
        if state != shown:
            print(state, flush=True)
            shown = state
        time.sleep(ASK_EVERY_S)


def _groups_state(hactl: str) -> str:
    try:
        done = subprocess.run(["mosha", "status", "--json"], capture_output=True, text=True,
                              timeout=STATUS_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"mosha status: not within {STATUS_LIMIT_S:g} s"
    if done.returncode:
        return f"mosha status: {done.stderr.strip()}"
    groups = [f"group {name} {how}" for name, how in idle_groups(hactl, done.stdout).items()]
    return "; ".join(groups + [f"node {node} has not been heard" for node in unheard(done.stdout)])


def main() -> int:
    count, deadline_s = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
    if sys.argv[3] == "groups":
        state = watch_groups(deadline_s)
    else:
        state = watch_nodes(count, deadline_s, unserved if sys.argv[3] == "openmosix" else None)
    print(state or "all", flush=True)
    return 1 if state else 0


if __name__ == "__main__":
    sys.exit(main())
