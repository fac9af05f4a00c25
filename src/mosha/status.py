"""What people see: clstat, hastat and its JSON twin as the agent writes them, and `mosha status` as it shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from mosha.monitor import PLAN, STOP, TEST
from mosha.ownership.disk_paxos import DISPUTED, DiskPaxos
from mosha.platform import plain
from mosha.tables import clstat, hactl, hastat
from mosha.tables.clstat import GroupStat
from mosha.tables.hactl import Hactl, Wanted

Record = Mapping[str, Any]
Page = Mapping[str, Any]
T = TypeVar("T")
TWIN = "hastat.json"
PAGE_BYTES_MAX = 16 * 1024 * 1024
STALE_BEATS = 4              # a page older than this many beats was not written by a living agent


def page(
    now: float, ownership: DiskPaxos, nodes: frozenset[int], suspects: list[int], records: Mapping[int, Record],
    table: Hactl,
) -> dict[str, Any]:
    """The whole view of one node: itself, nodes, groups."""
    wanted = hactl.levels(table)
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
        "tables": _of(records.get(ownership.node, {}), "tables", dict),
        "nodes": [
            {"id": node, "state": _node_state(now, ownership, node, suspects), **_said(records.get(node, {}))}
            for node in sorted(nodes)
        ],
        "groups": [
            {**_group(now, ownership, name, records, wanted), **_options(table.get(name))}
            for name in _names(now, ownership, records, wanted)
        ],
    }


def turns_on(now: float, ownership: DiskPaxos) -> tuple[Any, ...]:
    """On what of the ownership a page turns: who has what is known later than what its owner says of it, or before."""
    seen = [marker and (marker.state, marker.era) for marker in ownership.markers().values()]
    groups = [
        (name, register.owner_epoch, ownership.owner(now, name), ownership.contests.waits_for(now, name))
        for name, register in ownership.records.registers.items()
    ]
    return ownership.identity, ownership.era, ownership.quorate(now), len(ownership.records.dead), seen, groups


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
        "on_hold": bool(told.get("on_hold")),
        "why": str(told.get("why") or ""),
        "reason": str(told.get("reason") or ""),
        "stuck": _of(records.get(owner, {}), "stuck", dict).get(name, "") if owner is not None else "",
        "moving": _of(records.get(owner, {}), "moving", dict).get(name) if owner is not None else None,
        "epoch": ownership.records.register(name).owner_epoch or None,
        "waits_for": waits_for,
    }


def _said(record: Record) -> dict[str, Any]:
    """What a node's record says of what it may have."""
    flags = {name: bool(record.get(name)) for name in ("arbitrator", "leaving", "drained", "calm")}
    lists = {name: list(_of(record, name, list)) for name in ("unfit", "ready", "up", "kept", "lacks")}
    return {**flags, **lists, "stuck": _of(record, "stuck", dict), "failures": {
        group: {"count": one.get("count"), "why": one.get("why"), "until": one.get("until")}
        for group, one in _of(record, "failures", dict).items() if isinstance(one, dict)
    }}


def _of(record: Record, name: str, kind: type[T]) -> T:
    """What the record says there, if it is of that kind."""
    found = record.get(name)
    return found if isinstance(found, kind) else kind()


def _options(wanted: Wanted | None) -> dict[str, Any]:
    """What hactl says of the group besides its level."""
    found = wanted if wanted is not None else Wanted(STOP)
    return {"wanted": found.level, **{name: value for name, value in found._asdict().items() if name != "level"}}


def _groups(record: Record) -> dict[str, dict[str, Any]]:
    return _of(record, "groups", dict)


def why_not(said: Record, node: int, group: str, alive: bool) -> str:
    """Why the node, whose record this is, cannot have the group now; nothing if it can."""
    if not alive:
        return f"node {node} is not up"
    if said.get("arbitrator"):
        return f"node {node} is an arbitrator: it votes and runs nothing"
    if said.get("leaving"):
        return f"the agent of node {node} is about to end"
    if said.get("drained"):
        return f"node {node} is drained"
    if said.get("calm"):
        return f"the lease of node {node} has lapsed: it takes nothing before it has kept one for a while"
    if group in (said.get("unfit") or ()):
        return f"{group} has failed on node {node} a short while ago"
    if group in (said.get("stuck") or ()):
        return f"what node {node} ran of {group} cannot be ended there"
    return ""


def is_up(said: Record, group: str) -> bool:
    """Whether a group that others require is up on the node whose record this is."""
    return group in (said.get("up") or ())


def clstat_text(said: Record) -> str:
    """This node's clstat."""
    return clstat.render(
        [clstat.GroupStat(name, str(at["level"]), str(at["state"])) for name, at in sorted(_groups(said).items())]
    )


def hastat_text(
    now: float, ownership: DiskPaxos, records: Mapping[int, Record], elders: Mapping[int, Mapping[str, GroupStat]]
) -> str:
    """hastat: every living node's clstat in one."""
    groups: dict[str, dict[int, tuple[str, str]]] = {}
    for node, stats in elders.items():
        for stat in stats.values():
            groups.setdefault(stat.name, {})[node] = (stat.level, stat.state)
    for node, record in records.items():
        if ownership.peers.alive(now, node):
            for name, at in _groups(record).items():
                groups.setdefault(name, {})[node] = (str(at.get("level")), str(at.get("state")))
    return hastat.render(groups)


def stamped(page: str, boottime: float, boot: str) -> str:
    """A page in JSON, with the time at which it is written."""
    return f'{page[:-1]}, "boottime": {round(boottime, 3)!r}, "boot": {json.dumps(boot)}}}\n'


class NotRunning(Exception):
    """No agent on this node writes its page, or it waits for its place."""


def read(directory: Path, boottime: float, boot: str) -> dict[str, Any]:
    """The page that the agent on this node has written lately, in this boot; raises NotRunning."""
    file = directory / TWIN
    try:
        found = json.loads(plain.read(file, PAGE_BYTES_MAX))
    except FileNotFoundError:
        raise NotRunning(f"no agent has run on this node: there is no {file}") from None
    except OSError as error:
        raise NotRunning(f"{file}: {error.strerror}") from None
    except (ValueError, RecursionError):
        found = None
    if not _is_page(found):
        raise NotRunning(f"{file} is not a page of an agent")
    if found.pop("boot", "") != boot:
        raise NotRunning("the agent has not run since this node's boot")
    age_s = boottime - found.pop("boottime", 0.0)
    if not 0 <= age_s <= STALE_BEATS * found["beat"] + 1:
        raise NotRunning(f"the agent on this node does not run, or cannot write: {file} is {age_s:.1f} s old")
    if "waits" in found:
        raise NotRunning(f"the agent waits, and nothing runs here: {found['waits']}")
    return dict(found)


def _is_page(found: Any) -> bool:
    """Whether it has what is shown of a page; it may have more."""
    if not isinstance(found, dict):
        return False
    times = found.get("boottime", 0.0), found.get("beat")
    if not all(isinstance(time, (int, float)) for time in times):
        return False
    if "waits" in found:
        return True
    nodes, groups, conflicts = (found.get(name) for name in ("nodes", "groups", "conflicts"))
    return (
        isinstance(nodes, list) and isinstance(groups, list) and isinstance(conflicts, list)
        and {"node", "quorum"} <= found.keys()
        and all(isinstance(node, dict) and {"id", "state"} <= node.keys() for node in nodes)
        and all(isinstance(group, dict) and _is_row(group) for group in groups)
    )


def _is_row(group: dict[str, Any]) -> bool:
    texts = [group.get(name) for name in ("name", "level", "state")]
    return all(isinstance(text, str) for text in texts) and {"owner", "since", "epoch"} <= group.keys()


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
    foot += [f"{g['name']} {stuck(found, g)}" for g in found["groups"] if g.get("stuck")]
    foot += [f"NOTHING RUNS: {DISPUTED}"] * bool(_of(found, "electorate", dict).get("disputed"))
    foot += [f"TWO ERAS: {text}" for text in [_of(found, "electorate", dict).get("overtaken")] if text]
    foot += _elders(found)
    foot += [f"CONFLICT: {name} differs between nodes; edit it again on one of them" for name in found["conflicts"]]
    foot += [
        f"CONFLICT: an edit on node {n['id']} is not in force, and lies there as {name}; edit again what is wanted of "
        "it, and remove that file"
        for n in nodes for name in _of(n, "kept", list)
    ]
    foot += [
        f"node {n['id']} has more to say than its record holds; not shown of it: {', '.join(map(str, n['lacks']))}"
        for n in nodes if _of(n, "lacks", list)
    ]
    return "\n".join([*lines, "", *foot])


def stuck(found: Page, group: Page) -> str:
    """Of a group whose owner cannot end it: what lives on there, and who frees the group."""
    node, is_left = group["owner"], group.get("maintenance")
    lives = f"cannot be ended on node {node}: {group['stuck']} lives on after SIGKILL"
    if group.get("wanted") in (STOP, PLAN, TEST) or is_left:
        why = "in maintenance" if is_left else "to be stopped" if group["wanted"] == STOP else "not to run"
        return f"{lives}; it is {why}, so node {node} is not shot for it"
    spared = _of(found, "spared", dict).get(group["name"])
    if found.get("stomith") and spared:
        return f"{lives}; {spared}, so node {node} is not shot for it: only you can free the group"
    if found.get("stomith"):
        return (
            f"{lives}; when that has lasted for the time of `stuck`, and node {node} has given up what else it has, it "
            "is shot, and only that frees the group"
        )
    back = ", and confirm that by starting it again, as the group is fenced" if group.get("fenced") else ""
    return f"{lives}; without STOMITH nobody but you can free the group: switch node {node} off{back}"


def _elders(found: Page) -> list[str]:
    """What nodes with an agent of 2003 mean for those who look."""
    lines = [
        f"node {one['id']} runs OpenMosix::HA of 2003{'' if one['up'] else ', and is down'}: while it is on the map, "
        "only what that promises is promised (docs/upgrading.md)" for one in found.get("elders", ())
    ]
    lines += [
        f"CONFLICT: {name} of node {one['id']}, of 2003, is not what is in force: edit it on a node of today"
        for one in found.get("elders", ()) for name in one["differs"]
    ]
    lines += [f"not for nodes of 2003: {unknown}" for unknown in found.get("elders_unknown", ())]
    if found.get("elders_lost"):
        up, before = found["elders_lost"]
        lines.append(f"NO QUORUM of nodes, as 2003 counts it: {up} are up of {before}; nothing runs here")
    return lines


def _text(value: object | None) -> str:
    return "-" if value is None else str(value)
