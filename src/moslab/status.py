"""How a cluster stands: its nodes as the engine shows them, its groups as a node's agent sees them.

The agents are asked by ``mosha status --json`` in a running node. The first answer with quorum is taken, else
the first of all; so few nodes are asked that it stays quick when many are cut off.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from docker.models.containers import Container

from moslab.cluster import Cluster
from moslab.errors import CannotError, LabError
from moslab.guard import State
from moslab.node import run

ASKED_MAX = 4
ASK_LIMIT_S = 10.0
STATES = {"running": "running", "paused": "paused"}
"""The engine's words for a container that has power; any other is "off"."""


WORDS = {
    State.COMMITTED: "running",
    State.DAMAGED: "running without its power switch: no STOMITH",
    State.STARTING: "starting",
    State.SWEEPING: "being removed",
    State.ABSENT: "absent",
}


def status(cluster: Cluster) -> dict[str, Any]:
    """{"cluster", "state", "quorum", "seen_by", "nodes": [{id, state, agent, address}], "groups": [{name,
    owner, …}]}.

    ``state`` of a node is running, paused or off. ``agent`` is what the agents say of it, or null;
    ``seen_by`` is the node that was asked, or null where none answered. CannotError if the cluster does not
    run.
    """
    state = cluster.state()
    if state in (State.ABSENT, State.SWEEPING):
        cluster.size()
    containers = cluster.nodes()
    view = _view({node: c for node, c in containers.items() if c.status == "running"})
    agents = {node["id"]: node["state"] for node in view.get("nodes", [])}
    return {
        "cluster": cluster.names.cluster,
        "state": WORDS[state],
        "quorum": bool(view.get("quorum")),
        "seen_by": view.get("node"),
        "nodes": [
            {
                "id": node,
                "state": STATES.get(container.status, "off"),
                "agent": agents.get(node),
                "address": _address(container),
            }
            for node, container in containers.items()
        ],
        "groups": view.get("groups", []),
    }


def owner_of(cluster: Cluster, group: str) -> int:
    """The node that owns a group now; CannotError if there is no such group, LabError if nobody owns it."""
    groups = {entry["name"]: entry for entry in status(cluster)["groups"]}
    if group not in groups:
        raise CannotError(f"there is no group {group!r}; there are: {', '.join(groups) or 'none'}")
    if groups[group]["owner"] is None:
        raise LabError(f"group {group} is nowhere at this moment")
    return int(groups[group]["owner"])


def render(state: dict[str, Any], now: datetime | None = None) -> str:
    """The status as a table for people."""
    nodes, groups = state["nodes"], state["groups"]
    running = sum(node["state"] == "running" for node in nodes)
    lines = [
        f'cluster "{state["cluster"]}" ({state["state"]}): {len(nodes)} nodes, {running} running, '
        f"{'quorum' if state['quorum'] else 'NO QUORUM'}",
        "",
        *_columns([
            ("node", "address", "power", "agent", "groups"),
            *(
                (str(node["id"]), node["address"], node["state"], node["agent"] or "-",
                 " ".join(group["name"] for group in groups if group["owner"] == node["id"]))
                for node in nodes
            ),
        ]),
        "",
    ]
    if state["seen_by"] is None:
        return "\n".join([*lines, "no agent answers"])
    return "\n".join(lines + _columns([
        ("group", "owner", "level", "state", "since"),
        *(
            (group["name"], "-" if group["owner"] is None else f"node {group['owner']}",
             group["level"] or "-", group["state"] or "-", _since(group["since"], now))
            for group in groups
        ),
    ]))


def _view(running: dict[int, Container]) -> dict[str, Any]:
    """The best view among those of a few running nodes; empty if no agent answers."""
    best: dict[str, Any] = {}
    for container in list(running.values())[:ASKED_MAX]:
        try:
            answer = run(container, ["mosha", "status", "--json"], ASK_LIMIT_S)
            view = json.loads(answer.stdout) if answer.exit_code == 0 else {}
        except (LabError, ValueError):
            view = {}
        if view.get("quorum"):
            return dict(view)
        best = best or view
    return best


def _address(container: Container) -> str:
    """The address that the node was given, which it keeps while it is off."""
    for endpoint in container.attrs["NetworkSettings"]["Networks"].values():
        given = (endpoint.get("IPAMConfig") or {}).get("IPv4Address")
        return str(given or endpoint.get("IPAddress") or "-")
    return "-"


def _since(text: str | None, now: datetime | None) -> str:
    """A time of the agent (ISO 8601), and how long ago that is."""
    if not text:
        return "-"
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return text
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    seconds = max(0, int(((now or datetime.now(timezone.utc)) - moment).total_seconds()))
    ago = f"{seconds} s" if seconds < 120 else f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC ({ago})"


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
