"""Clusters for tests: each has a name of its own, and nothing of it is left afterwards, however the test ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from moslab import engine
from moslab.cluster import Cluster
from moslab.errors import CannotError
from moslab.image import ensure_image
from moslab.measure import collect
from moslab.progress import Progress
from moslab.removal import is_anything_left
from tests.container.arena import Arena

COMMAND_LIMIT_S = 400.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.container)


def _hear_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Lab:
    """A cluster name of a test, and the command as users call it, for that name."""

    def __init__(self, client: docker.DockerClient, name: str) -> None:
        self.client = client
        self.cluster = Cluster(client, name)
        self.name = name

    def popen(self, *arguments: str, code: str = "from moslab.cli import main") -> subprocess.Popen[str]:
        """The command at work; ``code`` may change it before it begins."""
        return subprocess.Popen(
            [sys.executable, "-c", f"import sys\n{code}\nsys.exit(main())", "--cluster", self.name, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            # the tests may run where a shell made Ctrl-C be ignored; the command is always one that hears it
            preexec_fn=_hear_ctrl_c,  # noqa: PLW1509 - no thread of the tests holds a lock that it needs
        )

    def moslab(self, *arguments: str, exit_code: int = 0) -> str:
        """Run ``moslab`` and return what it printed to both streams; fails the test on another exit code."""
        with self.popen(*arguments) as process:
            out, err = process.communicate(timeout=COMMAND_LIMIT_S)
        assert process.returncode == exit_code, f"moslab {' '.join(arguments)}: {process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err, err
        return out + err

    def status(self) -> dict[str, Any]:
        with self.popen("status", "--json") as process:
            out, err = process.communicate(timeout=COMMAND_LIMIT_S)
        assert process.returncode == 0, err
        return dict(json.loads(out))

    def is_gone(self) -> bool:
        return not is_anything_left(self.client, self.name)

    def end(self) -> None:
        """Remove the cluster; with MOSLAB_COVERAGE=1 its programs end in order first, and leave what they measured."""
        if os.environ.get("MOSLAB_COVERAGE") == "1":
            into = Path("out/coverage")
            into.mkdir(parents=True, exist_ok=True)
            for container in self.cluster.nodes().values():
                if container.status == "running":
                    container.stop(timeout=15)
                collect(container, into)
        self.cluster.down()


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    """The engine, with the node image; without one the tests are skipped by name, and fail in CI."""
    try:
        connected = engine.ensure(Progress())
    except CannotError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(f"container tests: {error}")
    ensure_image(connected, Progress())
    yield connected
    connected.close()


def _new(client: docker.DockerClient, request: pytest.FixtureRequest) -> Lab:
    stem = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:18].strip("-")
    return Lab(client, f"t-{stem}-{uuid.uuid4().hex[:6]}")


@pytest.fixture
def lab(client: docker.DockerClient, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A cluster name that nobody has; no cluster runs yet."""
    fresh = _new(client, request)
    yield fresh
    fresh.end()


@pytest.fixture
def other_lab(client: docker.DockerClient, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A second one."""
    fresh = _new(client, request)
    yield fresh
    fresh.end()


@pytest.fixture
def running(lab: Lab) -> Lab:
    """A cluster of three nodes that runs the demo groups."""
    lab.cluster.up(3, Progress())
    return lab


@pytest.fixture
def cluster(running: Lab) -> Cluster:
    """The same, without the command."""
    return running.cluster


@pytest.fixture
def arena(one_arena: Arena) -> Iterator[Arena]:
    """The module's ``one_arena``, whole and running: as the last judgement left it, or made so."""
    if not one_arena.is_whole:
        one_arena.settle()
    yield one_arena
    if not one_arena.is_whole:
        one_arena.faults.end()
