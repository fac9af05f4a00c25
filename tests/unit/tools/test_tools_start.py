"""What a tool costs before it does anything: its time is that of the modules which it imports."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SLOW = {"typing", "enum", "re", "contextlib", "functools", "socket", "curses", "logging", "subprocess", "argparse"}
TOOLS = ("mosctl", "setpe", "showmap", "migrate", "mosrun", "mps", "mtop", "mosmon", "omdiscd")
NEEDED = {"mosmon": {"curses"}, "omdiscd": SLOW - {"logging", "curses", "subprocess", "argparse"}}
IMPORT = "import sys; sys.path.insert(0, sys.argv[1]); import emulator.tools.{}; print(*sys.modules)"
TALK = """
import os, sys
sys.path.insert(0, sys.argv[1])
from emulator.tools.hpcfile import heed_signals
heed_signals()
while True:
    os.write(1, b"line" * 1024)
"""


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_imports_nothing_that_is_slow(tool: str) -> None:
    command = [sys.executable, "-IS", "-c", IMPORT.format(tool), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert not (SLOW - NEEDED.get(tool, set())) & set(done.stdout.split())


def test_a_tool_ends_in_silence_when_nobody_reads_on() -> None:
    command = [sys.executable, "-IS", "-c", TALK, str(ROOT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as talker:
        assert talker.stdout is not None
        assert talker.stderr is not None
        talker.stdout.read(4)
        talker.stdout.close()
        assert talker.stderr.read() == b""
        assert talker.wait(60) == -signal.SIGPIPE
