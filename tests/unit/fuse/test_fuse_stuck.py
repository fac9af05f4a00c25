"""A process in state D: it waits for a file system that never answers, and no signal ends it before that is gone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.clinit.leashed import Agent, lives
from tests.unit.fuse import test_fuse_tree as trees

folder = trees.folder


@pytest.fixture
def agent() -> Iterator[Agent]:
    agent = Agent(STUCK_S="0.5")
    yield agent
    agent.end()


def test_what_no_signal_ends_is_named_and_the_group_is_not_stopped_before_it_has_ended(
    folder: Path, agent: Agent
) -> None:
    server = trees.start(folder)
    agent.start()
    entry = f"waits:start:respawn:echo 1 >{folder}/never"
    try:
        agent.tell("start", entry)
        pid = agent.pid_of("waits")
        assert server.stdout is not None
        assert server.stdout.readline() == "begun\n"
        server.send_signal(signal.SIGSTOP)
        agent.tell("stop", entry)
        agent.do("finish")
        assert agent.wait("stuck")["text"] == f"waits: {pid} (sh, state D)"
        assert lives(pid)
        assert not [report for report in agent.reports if report["kind"] in ("exited", "empty")]
    finally:
        trees.end(server)                            # and with it the file system
    agent.wait("exited", tag="waits")
    agent.wait("stuck", text="")
    agent.wait("gone")
