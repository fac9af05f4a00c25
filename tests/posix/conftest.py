"""For ``make posix``, which builds the tools and names their place; other runs of pytest do not collect these tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.mfs.conftest import nodes, patient_pair

__all__ = ["nodes", "patient_pair"]

TOOLS = os.environ.get("MOSHA_POSIX", "")
if not TOOLS:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def tools() -> Path:
    """Where pjdfstest and fsx are."""
    return Path(TOOLS).resolve()
