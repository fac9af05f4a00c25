from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.mfs.nodes import MfsNode, Nodes, need_fuse


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """Three nodes, none started yet; their mounts are gone afterwards, whatever happens."""
    need_fuse()
    with tempfile.TemporaryDirectory(prefix="mfs-") as folder:  # not tmp_path: other users must be let in
        os.chmod(folder, 0o755)
        cluster = Nodes(Path(folder))
        try:
            yield cluster
        finally:
            cluster.stop()
            left = close_dead()
    assert not left, f"the test left descriptors {left} open, in file systems that are gone"


def close_dead() -> list[int]:
    """Close what is open in a file system that is gone, which would surprise later tests; which descriptors."""
    dead = []
    for name in os.listdir("/proc/self/fd"):
        try:
            os.stat(int(name))
        except OSError as error:
            if error.errno in (errno.ENOTCONN, errno.ECONNABORTED):
                dead.append(int(name))
                os.close(int(name))
    return dead


@pytest.fixture
def patient_pair(nodes: Nodes) -> list[MfsNode]:
    """The same with ten seconds for one: where what files do is looked at, and not how long it takes."""
    for number in (1, 2):
        nodes.nodes[number].start(nodes.table, quick_s=10.0)
    return [nodes.nodes[1], nodes.nodes[2]]


@pytest.fixture
def pair(nodes: Nodes) -> list[MfsNode]:
    """Nodes 1 and 2, running."""
    return nodes.start(1, 2)
