"""What people see: clstat, hastat and its JSON twin as the agent writes them, and `mosha status` as it shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosha.monitor import STOP
from mosha.ownership.disk_paxos import DiskPaxos
from mosha.tables import clstat, hastat

Record = Mapping[str, Any]
TWIN = "hastat.json"
STALE_BEATS = 4              # a page older than this many beats was not written by a living agent


def page(
    now: float, ownership: DiskPaxos, nodes: frozenset[int], suspects: list[int], records: Mapping[int, Record],
    wanted: Mapping[str, str],
) -> dict[str, Any]:
    """The whole view of one node: itself, nodes, groups."""
    return {
        "node": ownership.node,
        "identity": ownership.identity,
        "era": ownership.era,
        "voters": [
            {"id": voter, "state": seen.state if seen else "unknown", "era": seen.era if seen else None}
            for voter, seen in ownership.markers().items()
        ],
        "quorum": ownership.quorate(now),
        "beat": ownership.timing.beat_s,
        "nodes": [
            {"id": node, "state": _node_state(now, ownership, node, suspects)} for node in sorted(nodes)
        ],
        "groups": [_group(now, ownership, name, records, wanted) for name in _names(now, ownership, records, wanted)],
    }


def _node_state(now: float, ownership: DiskPaxos, node: int, suspects: list[int]) -> str:
    if node == ownership.node:
        return "up"
    if node in ownership.peers.all and ownership.peers.all[node].identity in ownership.records.dead:
        return "fenced"
    if not ownership.peers.alive(now, node):
        return "down"
    return "suspect" if node in suspects else "up"


def _names(now: float, ownership: DiskPaxos, records: Mapping[int, Record], wanted: Mapping[str, str]) -> list[str]:
    active = [name for node, record in records.items() if ownership.peers.alive(now, node) for name in _groups(record)]
    return sorted({*wanted, *active})


def _group(
    now: float, ownership: DiskPaxos, name: str, records: Mapping[int, Record], wanted: Mapping[str, str]
) -> dict[str, Any]:
    waits_for = ownership.contests.waits_for(now, name)
    owner = ownership.owner(now, name) if waits_for is None else None
    told = _groups(records.get(owner, {})).get(name, {}) if owner is not None else {}
    return {
        "name": name,
        "owner": owner,
        "level": told.get("level") or (wanted.get(name) if owner is None else None) or STOP,
        "state": told.get("state") or ("STOPPED" if wanted.get(name, STOP) == STOP else "WAITING"),
        "since": told.get("since"),
        "epoch": ownership.records.register(name).owner_epoch or None,
        "waits_for": waits_for,
    }


def _groups(record: Record) -> dict[str, dict[str, Any]]:
    groups = record.get("groups")
    return groups if isinstance(groups, dict) else {}


def clstat_text(said: Record) -> str:
    """This node's clstat."""
    return clstat.render(
        [clstat.GroupStat(name, str(at["level"]), str(at["state"])) for name, at in sorted(_groups(said).items())]
    )


def hastat_text(now: float, ownership: DiskPaxos, records: Mapping[int, Record]) -> str:
    """hastat: every living node's clstat in one."""
    groups: dict[str, dict[int, tuple[str, str]]] = {}
    for node, record in records.items():
        if ownership.peers.alive(now, node):
            for name, at in _groups(record).items():
                groups.setdefault(name, {})[node] = (str(at.get("level")), str(at.get("state")))
    return hastat.render(groups)


def stamped(page: str, boottime: float, boot: str) -> str:
    """A page in JSON, with the time at which it is written."""
    stamp = json.dumps({"boottime": round(boottime, 3), "boot": boot})
    return f"{page[:-1]}, {stamp[1:]}\n"


class NotRunning(Exception):
    """No agent on this node writes its page, or it waits for its place."""


def read(directory: Path, boottime: float, boot: str) -> dict[str, Any]:
    """The page that the agent on this node has written lately, in this boot; raises NotRunning."""
    file = directory / TWIN
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotRunning(f"no agent has run on this node: there is no {file}") from None
    except ValueError:
        raise NotRunning(f"{file} is not a page of an agent") from None
    if found.pop("boot", "") != boot:
        raise NotRunning("the agent has not run since this node's boot")
    age_s = boottime - found.pop("boottime", 0.0)
    if not 0 <= age_s <= STALE_BEATS * found["beat"] + 1:
        raise NotRunning(f"the agent on this node does not run: {file} is {age_s:.1f} s old")
    if "waits" in found:
        raise NotRunning(f"the agent waits, and nothing runs here: {found['waits']}")
    assert isinstance(found, dict)
    return found


def table(found: dict[str, Any]) -> str:
    """The page as `mosha status` shows it: groups in rows, one column for each node that is marked where it runs."""
    nodes = found["nodes"]
    head = ["GROUP", "OWNER", "LEVEL", "STATE", "SINCE", "EPOCH"]
    rows = [
        [g["name"], _text(g["owner"]), g["level"], g["state"], _text(g["since"]), _text(g["epoch"])]
        for g in found["groups"]
    ]
    marks = ["".join("*" if g["owner"] == n["id"] else "." for n in nodes) for g in found["groups"]]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in [head, *rows]]
    if len(nodes) <= 64:
        lines = [f"{line.ljust(sum(widths) + 2 * len(widths))}{m}" for line, m in zip(lines, ["NODES", *marks])]
    states = [f"{n['id']} {n['state']}" for n in nodes]
    quorum = "quorum" if found["quorum"] else "NO QUORUM"
    foot = [f"seen from node {found['node']} ({quorum}): " + ", ".join(states)]
    foot += [
        f"{g['name']} waits: it is fenced, and that node {g['waits_for']}, which had it, is dead must be confirmed, by "
        "STOMITH or by itself when it is back"
        for g in found["groups"] if g.get("waits_for") is not None
    ]
    foot += [f"CONFLICT: {name} differs between nodes; edit it again on one of them" for name in found["conflicts"]]
    return "\n".join([*lines, "", *foot])


def _text(value: object | None) -> str:
    return "-" if value is None else str(value)
