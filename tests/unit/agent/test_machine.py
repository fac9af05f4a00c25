"""The second guardian: what is left when a leash is killed, with real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.agent.pidspace import MACHINE

SCRIPT = Path(__file__).with_name("lone_machine.py")


@pytest.mark.parametrize("scenario", ["killed", "several", "frozen", "old_kernel", "next_life"])
def test_what_a_leash_held_ends(scenario: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*MACHINE, sys.executable, str(SCRIPT), scenario, tmp_path],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


BEGINS = """
import sys
from mosha.config import Config
from mosha.platform import logs, machine, workers
handler = logs.begin("stderr")
agent = machine.Machine(Config(rundir=sys.argv[1] + "/run", root=sys.argv[1]), handler)
assert not handler.own(), "what is forked before the rest of it shares less with that"
assert agent.begin("session", 0.1, 10.0)
assert len(handler.own()) == 1
assert len(agent._workers.pids()) == workers.AT_ONCE
agent._workers.close()
handler.end()
"""


def test_the_writer_of_the_log_and_the_first_workers_are_forked_together(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEGINS, tmp_path], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
