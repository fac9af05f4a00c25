from __future__ import annotations

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


@pytest.fixture
def pair(nodes: Nodes) -> list[MfsNode]:
    """Nodes 1 and 2, running."""
    return nodes.start(1, 2)
