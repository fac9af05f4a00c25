"""Whether a fault finds anything that it can change: only then it counts as one that has happened."""

from __future__ import annotations

from typing import Any

from moslab.faults.plan import BOTH, Fault
from moslab.simulator.node import Node


def has_effect(node: Node, fault: Fault) -> bool:
    """Of one that is about to begin; ``to`` has numbers."""
    kind = fault["do"]
    if kind == "crash":
        return node.up or bool(fault.get("wipe") or fault.get("restore"))
    if kind in ("freeze", "edit", "slew", "jump"):
        return node.up and not node.frozen
    if kind in ("pause", "kill"):
        found = processes(node, fault["what"], fault.get("group"))
        return any(one.alive and not (kind == "pause" and one.frozen) for one in found)
    if kind in ("leave", "stall", "order", "vote", "config"):
        return node.world is not None
    if kind == "stuck":
        return bool(node.members)
    if kind == "wipe":
        return bool(node.disk.files)
    if kind in ("cut", "worsen"):
        return {*fault["to"]} != {node.number}
    return kind != "map" or node.map != sorted(fault["nodes"])


def processes(node: Node, what: str, group: str | None = None) -> list[Any]:
    """The processes of a node that are agent, leash or group; of one group, if it is named."""
    agent = [node.world] if node.world is not None else []
    if what in ("agent", BOTH):
        return [*agent, *node.guardians] if what == BOTH else agent
    found = [*node.guardians] if what == "leash" else [*node.members.values()]
    return [process for process in found if group in (None, process.group)]
