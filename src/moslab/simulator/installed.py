"""Clusters that are not installed alike everywhere: what may go wrong there is drawn, and what is promised then.

Rules ([adr/0022](docs/adr/0022-who-names-the-voters.md) has the reasons):

1. *maps*: an installer that has reached only some nodes has left maps that name only some of them, or only the node
   itself, for a while or for good; later a node is taken from the maps, and comes back, at other times on each node. A
   voter loses its disk and boots with such a map.
2. *names*: the configurations name other voters from node to node. All these sets have one node in common, which knows
   one of them and keeps its disk: two that have none in common are two clusters, and nobody could know better.
3. *order*: nobody has founded, or named voters. An operator says `mosha voters found` on one node, again and again: no
   disk is lost, as an operator who says it of a node that has forgotten makes two clusters.
4. Where there is an agent of 2003 each group is to run on either kind of agent, once all nodes are healed and are
   installed alike otherwise: one of 2003 begins what it sees nowhere, and shows it while it has it.
5. Safety is promised always; that groups run only where the healed nodes agree on who votes, by what they were
   installed with and keep. It is read off the plan, not off what the agents made of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from moslab.faults.plan import Fault, FaultPlan
from moslab.faults.record import UNENDED
from moslab.simulator.kernel import Stream

SHARE = 0.1
MAPS, NAMES, ORDER = "maps", "names", "order"
KINDS = ((4, MAPS), (4, NAMES), (2, ORDER))
LATE_S = 8.0                     # the last node gets its whole map, at the latest
GONE_S = 4.0                     # a change of the map is everywhere after this
AFTER_HEAL_S = 1.0
UNEVEN = (
    "maps are half made at boot", "configurations name other voters", "founded on some nodes only",
    "found an era: said on one node",
)
_UNFIT = re.compile(r"unfit=([\d,]+)")
_FORGETS = ("voter", "state", "founded", "journal", "written")


def is_uneven(plan: FaultPlan) -> bool:
    """Whether not all nodes know the same nodes and voters from the beginning."""
    nameless = not plan.founded and "voters" not in plan.conf
    return bool(plan.installed) or nameless or any(fault["do"] == "map" for fault in plan.faults)


def uneven(plan: FaultPlan) -> dict[str, int]:
    """Which kinds of :data:`UNEVEN` a plan has."""
    named = {tuple(one["voters"]) for one in plan.installed if "voters" in one}
    founded = {plan.founded_on(number) for number in range(1, plan.nodes + 1)}
    found = any(fault.get("order", {}).get("do") == "found" and len(fault["whom"]) == 1 for fault in plan.faults)
    is_true = (any("map" in one for one in plan.installed), bool(named), len(founded) > 1, found)
    return {name: int(one) for name, one in zip(UNEVEN, is_true)}


def is_promised(plan: FaultPlan) -> bool:
    """Rules 4 and 5."""
    if not is_uneven(plan):
        return True
    everybody = set(range(1, plan.nodes + 1))
    voters, heal = set(plan.voters()), set(plan.heal or everybody)
    if plan.elders():
        has_maps = any(fault["do"] == "map" for fault in plan.faults)
        return heal == everybody and not has_maps and all(one.keys() == {"node", "elder"} for one in plan.installed)
    maps = {number: plan.map_of(number) for number in everybody}
    for fault in sorted(plan.faults, key=lambda fault: float(fault["at"])):
        if fault["do"] == "map" and fault["at"] + fault.get("for", UNENDED) >= plan.safety_s:
            for number in everybody if _anybody(fault) else fault["whom"]:
                maps[number] = fault["nodes"]
    reached = {number for number in heal if set(maps[number]) == everybody}
    sure = {number for number in reached if plan.founded_on(number)} - set(_forgetful(plan))
    unfit = {int(one) for found in _UNFIT.findall(plan.cltab) for one in found.split(",")}
    runners = sure - unfit - set(plan.arbitrators)
    if any(map(plan.founded_on, everybody)):
        return len(sure & voters) > len(voters) // 2 and bool(runners)
    strange = {one["node"] for one in plan.installed} | {n for f in plan.faults if f["do"] == "map" for n in f["whom"]}
    told = any(
        fault["do"] == "order" and fault["order"].get("do") == "found" and min(voters) in fault["whom"]
        and fault["at"] > plan.safety_s for fault in plan.faults
    )
    return heal == everybody and not voters & strange and ("voters" in plan.conf or told)


def _anybody(fault: Fault) -> bool:
    return any(isinstance(one, str) for one in fault["whom"])


def _forgetful(plan: FaultPlan) -> Iterator[int]:
    """The nodes whose disk may not be what it was, sooner or later."""
    for fault in plan.faults:
        forgets = (
            fault.get("wipe") or fault.get("restore") or fault["do"] in ("config", "wipe")
            or fault.get("file") in _FORGETS or fault.get("order", {}).get("do") == "forget"
        )
        if forgets:
            yield from range(1, plan.nodes + 1) if _anybody(fault) else fault["whom"]


# ---- drawn --------------------------------------------------------------------------------------------------------


def draw_installed(plan: FaultPlan) -> set[int]:
    """Make a share of the drawn plans uneven, with the faults that belong to it; the nodes that cannot be relied on
    then."""
    draw = Stream(plan.seed, "installed")
    if plan.nodes < 2 or not draw.chance(SHARE):
        return set()
    kind = draw.weighted(KINDS)
    plan.profile += f" {kind}"
    if kind == MAPS:
        return _draw_maps(draw, plan)
    (_draw_names if kind == NAMES else _draw_order)(draw, plan)
    return set()


def _others(plan: FaultPlan, number: int) -> list[int]:
    return [other for other in range(1, plan.nodes + 1) if other != number]


def _half(draw: Stream, plan: FaultPlan, number: int) -> list[int]:
    """A map of the node itself, or of some others as well."""
    others = _others(plan, number)
    return sorted([number, *draw.some(others, draw.integer(0, len(others) - 1))])


def _map(at_s: float, whom: int, nodes: list[int]) -> Fault:
    return {"at": round(at_s, 3), "do": "map", "whom": [whom], "nodes": nodes}


def _draw_maps(draw: Stream, plan: FaultPlan) -> set[int]:
    """Rule 1."""
    plan.founded = True
    everybody, voters = list(range(1, plan.nodes + 1)), plan.voters()
    spare = len(voters) - (len(voters) // 2 + 1)     # so many voters may count for nobody
    weak: set[int] = set()
    faults: list[Fault] = []
    for number in draw.some(everybody, draw.integer(1, max(1, plan.nodes // 2))):
        entry: dict[str, Any] = {"node": number, "map": _half(draw, plan, number)}
        may_be_weak = len(weak) < spare if number in voters else len(weak) < plan.nodes // 2
        if may_be_weak and draw.chance(0.3):
            weak.add(number)
            entry["founded"] = draw.chance(0.5)
        if number not in weak or draw.chance(0.5):
            faults.append(_map(draw.uniform(0.3, LATE_S), number, everybody))
        plan.installed.append(entry)
    if draw.chance(0.5):
        faults += _taken_and_back(draw, plan, draw.pick(everybody))
    lost = [voter for voter in voters if voter not in weak]
    if len(weak & set(voters)) < spare and draw.chance(0.6):
        number = draw.pick(lost)
        weak.add(number)
        faults += _wiped(draw, plan, number)
    plan.faults = [{**fault, "at": min(fault["at"], plan.safety_s)} for fault in faults]
    return weak


def _taken_and_back(draw: Stream, plan: FaultPlan, gone: int) -> list[Fault]:
    """A node is taken from the maps and comes back; each node hears of it at its own time."""
    everybody, begin_s = list(range(1, plan.nodes + 1)), draw.uniform(LATE_S, max(LATE_S, plan.safety_s - 3 * GONE_S))
    faults = []
    for number in everybody:
        nodes = _others(plan, gone) if number != gone or draw.chance(0.5) else [gone]
        faults.append(_map(begin_s + draw.uniform(0.0, GONE_S), number, nodes))
        faults.append(_map(begin_s + GONE_S + draw.uniform(0.0, GONE_S), number, everybody))
    return faults


def _wiped(draw: Stream, plan: FaultPlan, number: int) -> list[Fault]:
    """A voter loses its disk, and boots with a map that is half made."""
    at_s, off_s = draw.uniform(2.0, max(2.0, plan.safety_s - LATE_S)), draw.uniform(0.2, 2.0)
    return [
        _map(at_s, number, [number] if draw.chance(0.6) else _half(draw, plan, number)),
        {"at": round(at_s, 3), "do": "crash", "whom": [number], "wipe": True, "for": round(off_s, 3)},
        _map(at_s + off_s + draw.uniform(2.0, 2 * LATE_S), number, list(range(1, plan.nodes + 1))),
    ]


def _draw_names(draw: Stream, plan: FaultPlan) -> None:
    """Rule 2."""
    everybody, voters = list(range(1, plan.nodes + 1)), plan.voters()
    common = draw.pick(voters)
    plan.conf["voters"] = " ".join(map(str, voters))
    for number in draw.some(everybody, draw.integer(1, plan.nodes)):
        others = _others(plan, common)
        named = [common, *draw.some(others, draw.integer(0, min(4, len(others))))]
        plan.installed.append({"node": number, "voters": sorted(named)})
    plan.founded = draw.chance(0.7)
    if not plan.founded:
        plan.heal = everybody                        # all voters must be there
    elif draw.chance(0.4):
        for number in draw.some(_others(plan, common), draw.integer(1, plan.nodes - 1)):
            entry = plan.installed_on(number)
            if not entry:
                entry = {"node": number}
                plan.installed.append(entry)
            entry["founded"] = False


def _draw_order(draw: Stream, plan: FaultPlan) -> None:
    """Rule 3."""
    everybody = list(range(1, plan.nodes + 1))
    plan.founded, plan.heal = False, everybody
    plan.conf.pop("voters", None)
    voters = plan.voters()
    plan.arbitrators = [number for number in plan.arbitrators if number in voters]
    faults: list[Fault] = []
    for number in draw.some(everybody, draw.integer(1, plan.nodes)) if draw.chance(0.4) else []:
        plan.installed.append({"node": number, "map": _half(draw, plan, number)})
        if draw.chance(0.8):
            faults.append(_map(draw.uniform(0.3, LATE_S), number, everybody))
    told = voters[0] if draw.chance(0.7) else draw.pick(everybody)
    times = [draw.uniform(0.5, LATE_S), draw.uniform(LATE_S, plan.safety_s), plan.safety_s + AFTER_HEAL_S]
    plan.faults = faults + [
        {"at": round(at_s, 3), "do": "order", "whom": [told], "order": {"do": "found", "without": []}} for at_s in times
    ]
