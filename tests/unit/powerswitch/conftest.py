from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.powerswitch.fake_engine import FakeEngine


@pytest.fixture
def fake() -> Iterator[FakeEngine]:
    """A fake engine on a socket (whose path must be short, so not in tmp_path)."""
    with tempfile.TemporaryDirectory(prefix="pw") as directory:
        engine = FakeEngine(str(Path(directory, "sock")))
        yield engine
        engine.close()
