"""Remove everything of a cluster, found by its label alone: containers with their volumes, networks, volumes.

Rules:

1. One round asks for what there is and tries to remove all of it; what is gone already is no error.
2. What could not be removed now (a removal at work, an endpoint still attached) is left to the next round: a
   cluster is gone when a round finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable, Optional

from emulator.powerswitch.engine import EngineError, query, with_labels

LABEL = "org.mosha.cluster"
ROLE = "org.mosha.role"

Ask = Callable[[str, str, Optional[dict[str, Any]]], tuple[int, Any]]
"""(method, path, body) -> (HTTP status, decoded answer), as Engine.request."""
Each = Callable[[Callable[[Any], None], list[Any]], Iterable[None]]
"""``map``, or that of a thread pool."""


def sweep(ask: Ask, cluster: str, spare: str | None = None, each: Each = map) -> list[str]:
    """One round. Returns what it found, as ``kind name``; empty means that the cluster is gone.

    ``spare`` is the id (or its beginning) of a container to keep: the one that sweeps. Raises EngineError.
    """
    chosen = with_labels(f"{LABEL}={cluster}")

    def listed(path: str, key: str | None = None) -> list[dict[str, Any]]:
        status, answer = ask("GET", path, None)
        if status != 200:
            raise EngineError(f"engine: GET {path.partition('?')[0]}: {status} {answer}")
        return list((answer[key] if key else answer) or [])

    def remove(path: str) -> None:
        ask("DELETE", path, None)

    def end(container: dict[str, Any]) -> None:
        if container["State"] == "running" and container["Labels"].get(ROLE) == "power":
            # the engine removes it by itself when it ends; two removals at once confuse the engine's books
            ask("POST", f"/containers/{container['Id']}/kill", None)
        else:
            remove(query(f"/containers/{container['Id']}", force=1, v=1))

    containers = [
        c for c in listed(query("/containers/json", all=1, filters=chosen))
        if not (spare and c["Id"].startswith(spare))
    ]
    list(each(end, containers))
    networks = listed(query("/networks", filters=chosen))
    for network in networks if spare else []:
        ask("POST", f"/networks/{network['Id']}/disconnect", {"Container": spare, "Force": True})
    list(each(remove, [f"/networks/{n['Id']}" for n in networks]))
    volumes = listed(query("/volumes", filters=chosen), "Volumes")
    list(each(remove, [f"/volumes/{v['Name']}" for v in volumes]))
    return [
        *(f"container {c['Names'][0].lstrip('/') if c['Names'] else c['Id'][:12]}" for c in containers),
        *(f"network {n['Name']}" for n in networks),
        *(f"volume {v['Name']}" for v in volumes),
    ]
