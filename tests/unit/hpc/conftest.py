from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.hpc.loopback import NETWORK, Node, may_mount


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    """Three nodes, all up and not configured."""
    may_mount()
    made = [Node(number, tmp_path) for number in (1, 2, 3)]
    try:
        for node in made:
            node.start()
        yield made
    finally:
        for node in made:
            node.stop()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """One node, up and not configured."""
    may_mount()
    one = Node(1, tmp_path)
    try:
        one.start()
        yield one
    finally:
        one.stop()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process of one thread that does nothing."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.fixture
def table() -> str:
    """The map of three nodes."""
    return f"1 {NETWORK}.1 3\n"
