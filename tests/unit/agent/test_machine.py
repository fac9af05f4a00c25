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
