"""Remove a cluster, whole or in pieces: everything that carries its label."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
from docker.errors import DockerException

from emulator.powerswitch.engine import EngineError, query, with_labels
from emulator.powerswitch.sweep import Ask, sweep
from moslab.errors import LabError
from moslab.guard import State, state_of
from moslab.layout import CLUSTER, Names
from moslab.wait import eventually

REMOVE_LIMIT_S = 180.0
REQUESTS_MAX = 4
STUCK_S = 30.0
DEAD_ROUNDS = 2                  # containers that do not run go at once, and then what they were in
ALIVE = ("running", "paused", "restarting")
HINT = "Where that is a network without containers, the engine has lost count of them: restart the engine, then repeat."


def asker(client: docker.DockerClient) -> Ask:
    """The engine's API in the form that :func:`emulator.powerswitch.sweep.sweep` takes."""
    api = client.api

    def ask(method: str, path: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        try:
            response = api.request(method, f"{api.base_url}/v{api.api_version}{path}", json=body,
                                   timeout=api.timeout)
        except (DockerException, OSError) as error:
            raise EngineError(f"engine: {method} {path.partition('?')[0]}: {error}") from None
        return response.status_code, response.json() if response.content.strip() else None

    return ask


def remove(client: docker.DockerClient, cluster: str) -> list[str]:
    """Remove all of a cluster; returns what was found.

    LabError if something stays ``REMOVE_LIMIT_S``, or ``STUCK_S`` after its last container went.
    """
    ask = asker(client)
    found: list[str] = []
    containers_gone_s: list[float] = []
    with ThreadPoolExecutor(REQUESTS_MAX) as pool:

        def round_of_removal() -> list[str]:
            try:
                left = sweep(ask, cluster, each=pool.map)
            except EngineError as error:
                raise LabError(str(error)) from None
            found.extend(name for name in left if name not in found)
            if left and not any(name.startswith("container ") for name in left):
                containers_gone_s.append(time.monotonic())
                if containers_gone_s[-1] - containers_gone_s[0] > STUCK_S:
                    raise LabError(f"the engine does not remove {', '.join(left)}")
            return left

        gone = f'cluster "{cluster}" is gone'
        try:
            eventually(round_of_removal, lambda left: not left, within_s=REMOVE_LIMIT_S, what=gone, every_s=0.2)
        except LabError as error:
            raise LabError(f"{error}\n{HINT}") from None
    return found


def sweep_dead(client: docker.DockerClient, names: re.Pattern[str]) -> None:
    """Remove what is left of clusters with such names that were not to stay, and of which nothing runs: whoever began
    them died with their guard, as when the machine lost its power. What cannot be removed now, the next one may."""
    ask = asker(client)
    containers = client.api.containers(all=True)
    all_ = [*containers, *client.api.networks(), *(client.api.volumes()["Volumes"] or [])]
    found = {(one.get("Labels") or {}).get(CLUSTER, "") for one in all_}
    alive = {(one.get("Labels") or {}).get(CLUSTER) for one in containers if one["State"] in ALIVE}
    for name in filter(names.fullmatch, sorted(found - alive)):
        if state_of(client, Names(name)) is State.ABSENT:
            try:
                for _ in range(DEAD_ROUNDS):
                    sweep(ask, name)
            except EngineError:
                continue


def is_anything_left(client: docker.DockerClient, cluster: str) -> bool:
    """Whether the engine has any object of a cluster."""
    ask, chosen = asker(client), with_labels(f"{CLUSTER}={cluster}")
    return bool(
        ask("GET", query("/containers/json", all=1, filters=chosen), None)[1]
        or ask("GET", query("/networks", filters=chosen), None)[1]
        or ask("GET", query("/volumes", filters=chosen), None)[1]["Volumes"]
    )
