"""For ``make compose-test``, which brings compose and names its place; else these tests are not collected."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from moslab import compose, engine
from moslab.cluster import Cluster
from moslab.removal import is_anything_left
from moslab.wait import eventually
from tests.ports import free_ports

COMPOSE = os.environ.get("MOSHA_COMPOSE", "")
if not COMPOSE:
    collect_ignore_glob = ["test_*.py"]

ROOT = Path(__file__).parents[2]
COMMAND_LIMIT_S = 600.0
ANSWER_LIMIT_S = 5.0


class Project:
    """compose/compose.yaml, on ports and in a subnet that nobody else uses."""

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client
        self.cluster = Cluster(client, "compose")
        self.ports = dict(zip(compose.PORTS, free_ports(len(compose.PORTS))))
        net = f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(256)}"
        self._environment = {**os.environ, "MOSHA_NET": net, **{name: str(port) for name, port in self.ports.items()}}

    def __call__(self, *arguments: str) -> str:
        """Run ``docker compose``; what it printed. It must end well."""
        done = subprocess.run(
            [Path(COMPOSE).resolve(), "-f", ROOT / "compose/compose.yaml", *arguments], env=self._environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False,
        )
        assert done.returncode == 0, f"compose {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def up(self) -> None:
        """As README says, and wait until all groups run."""
        self("up", "-d", "--build")
        self.await_groups()

    def await_groups(self) -> None:
        eventually(self.lacks, lambda lacks: lacks == "", within_s=60.0, what="all nodes and groups", every_s=0.2)

    def lacks(self) -> str:
        """What the dashboard shows that is not up; empty if all is."""
        try:
            seen = self.status()
        except (OSError, ValueError) as error:
            return f"no dashboard: {error}"
        nodes = [f"node {node['id']} {node['state']}" for node in seen["nodes"] if node["state"] != "up"]
        groups = [f"{group['name']} {group['state']}" for group in seen["groups"] if group["state"] != "DONE"]
        names = [group["name"] for group in seen["groups"]]
        return "; ".join(nodes + groups) or ("" if names == ["dashboard", "kv", "tick"] else f"groups {names}")

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.get("DASHBOARD_PORT", "/status.json")))

    def owner(self, group: str) -> int:
        """By the dashboard; 0 if it says none."""
        owners = {one["name"]: one["owner"] for one in self.status()["groups"]}
        return int(owners[group] or 0)

    def get(self, port: str, path: str) -> bytes:
        with urllib.request.urlopen(self._url(port, path), timeout=ANSWER_LIMIT_S) as answer:
            return bytes(answer.read())

    def toxic(self, method: str, path: str, body: object = None) -> None:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url("TOXIPROXY_PORT", path), data=data, method=method)
        urllib.request.urlopen(request, timeout=ANSWER_LIMIT_S).close()

    def kv(self, *words: str) -> str:
        """What Redis answers through its port, up to the end of the line."""
        with socket.create_connection(("127.0.0.1", self.ports["KV_PORT"]), timeout=ANSWER_LIMIT_S) as sock:
            sock.sendall((" ".join(words) + "\r\n").encode())
            with sock.makefile() as answer:
                return answer.readline().strip()

    def _url(self, port: str, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}{path}"


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    connected = engine.connect()
    yield connected
    connected.close()


@pytest.fixture(scope="session")
def project(client: docker.DockerClient) -> Iterator[Project]:
    """It runs, and its groups do."""
    if is_anything_left(client, "compose"):
        pytest.fail("the project runs already: docker compose -f compose/compose.yaml down -v")
    it = Project(client)
    try:
        it.up()
        yield it
    finally:
        it("down", "-v", "-t", "5")
