"""``mosha why GROUP``: why a group runs where it runs, or why nowhere, node by node, in plain words."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from mosha.elders import AGE
from mosha.monitor import PLAN, STOP
from mosha.placement import rank
from mosha.status import is_up, stuck, why_not

Page = Mapping[str, Any]


def explain(page: Page, name: str) -> list[str]:
    """The lines; a group that is not there is said to be unknown."""
    group = next((one for one in page["groups"] if one["name"] == name), None)
    if group is None:
        return [f"{name}: hactl does not name it, and nobody runs it"]
    return [*_where(page, group), *_wanted(group), *(_node(page, group, node) for node in page["nodes"])]


def _where(page: Page, group: Page) -> list[str]:
    name, owner = group["name"], group["owner"]
    if group.get("elder"):
        runs = f"{name} is on node {owner}: {group['level']} {group['state']}"
        return [f"{runs}; that node runs OpenMosix::HA of 2003, which decides for itself"]
    if owner is not None:
        lines = [f"{name} is on node {owner}: {group['level']} {group['state']}, since {group['since'] or 'now'}"]
        if group["why"]:
            lines.append(f"  it came there as {group['why']} (epoch {group['epoch']})")
        if group["maintenance"]:
            lines.append(f"  it is in maintenance, so it is left alone, drained or not (mosha maintenance off {name})")
        if group["level"] == PLAN and page.get("elders"):
            lines.append("  it stays at plan until each node of 2003 has seen that, and does not have it")
        if group["reason"]:
            lines.append(f"  its last failure: {group['reason']}")
        if group.get("stuck"):
            lines.append(f"  it {stuck(page, group)}")
        if group["moving"] is not None:
            lines.append(f"  it is to move to node {group['moving']}, as soon as that has tested it")
        return lines
    reasons = list(_nowhere(page, group))
    return [f"{name} runs nowhere: {reasons[0]}", *(f"  and {reason}" for reason in reasons[1:])]


def _nowhere(page: Page, group: Page) -> list[str]:
    if group["wanted"] == STOP:
        return ["hactl wants it to be stopped, or does not name it"]
    found = []
    if not page["quorum"]:
        found.append(f"node {page['node']} has no quorum: too few voters answer (mosha voters)")
    if group["maintenance"]:
        found.append(f"it is in maintenance, so nobody starts it (mosha maintenance off {group['name']})")
    if group["waits_for"] is not None:
        found.append(f"it is fenced, and that node {group['waits_for']}, which had it, is dead is not confirmed")
    found += [
        f"it waits for {other}, which it requires and which is not up (mosha why {other})"
        for other in group["requires"] if not _is_up(page, other)
    ]
    found += [f"{table} differs between nodes: edit it again on one of them" for table in page["conflicts"]]
    if not any(not _why_not(page, group, node) for node in page["nodes"]):
        found.append("no node may have it")
    return found or ["the nodes below test it, or are about to take it"]


def _wanted(group: Page) -> list[str]:
    said = [f"level {group['wanted']}"]
    if group["prefer"]:
        said.append(f"best on node {', then '.join(map(str, group['prefer']))}")
        said.append("it goes back there" if group["failback"] else "it stays where it is")
    else:
        said.append("on the node with the fewest groups, and it stays there")
    if group["requires"]:
        said.append(f"it starts only while {' and '.join(group['requires'])} {_are(group['requires'])} up")
    return [f"hactl: {'; '.join(said)}"]


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _is_up(page: Page, name: str) -> bool:
    owners = [group["owner"] for group in page["groups"] if group["name"] == name]
    return any(is_up(node, name) for node in page["nodes"] if node["id"] in owners)


def _node(page: Page, group: Page, node: Page) -> str:
    number = node["id"]
    if number == group["owner"]:
        return f"node {number}: has it"
    problem = _why_not(page, group, node)
    if problem:
        return f"node {number}: no: {problem}"
    able = [one["id"] for one in page["nodes"] if one["id"] != group["owner"] and not _why_not(page, group, one)]
    load = {one: _load(page, one) for one in able}
    place = 1 + rank(group["name"], number, able, load, group["prefer"])
    ready = "has tested it, and " if group["name"] in node["ready"] else ""
    return f"node {number}: {ready}could have it: place {place} in the order, {load[number]} groups"


def _load(page: Page, node: int) -> int:
    return sum(group["owner"] == node for group in page["groups"])


def _why_not(page: Page, group: Page, node: Page) -> str:
    failed = node["failures"].get(group["name"])
    if failed and group["name"] in node["unfit"]:
        again = time.strftime("%H:%M:%S", time.localtime(failed["until"]))
        return f"ERRORED: it failed {failed['count']} times there ({failed['why']}), and is tried again at {again}"
    if node["state"] == AGE:
        return "it runs OpenMosix::HA of 2003, which decides for itself"
    problem = why_not(node, node["id"], group["name"], node["state"] in ("up", "suspect"))
    return problem if problem or node["state"] != "suspect" else "it does not answer"
