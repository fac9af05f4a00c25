from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.clinit.leashed import Agent
from tests.unit.clinit.standalone import Standalone


@pytest.fixture(params=["subreaper", "no subreaper"])
def any_agent(request: pytest.FixtureRequest) -> Iterator[Agent]:
    """With and without the kernel's help."""
    agent = Agent(**({"NO_SUBREAPER": "1"} if request.param == "no subreaper" else {}))
    yield agent
    agent.end()


@pytest.fixture
def agent() -> Iterator[Agent]:
    agent = Agent()
    yield agent
    agent.end()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Standalone]:
    """A stand-alone daemon, not started yet."""
    standalone = Standalone(tmp_path)
    yield standalone
    standalone.end()
