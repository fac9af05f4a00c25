"""What a tool costs before it does anything: its time is that of the modules which it imports; and how it is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.unit.hpc.loopback import wait_until

ROOT = Path(__file__).parents[3]
SLOW = {"typing", "enum", "re", "contextlib", "functools", "socket", "curses", "logging", "subprocess", "argparse"}
TOOLS = ("mosctl", "setpe", "showmap", "migrate", "mosrun", "mps", "mtop", "mosmon", "omdiscd")
NEEDED = {"mosmon": {"curses"}, "omdiscd": SLOW - {"logging", "curses", "subprocess", "argparse"}}
IMPORT = "import sys; sys.path.insert(0, sys.argv[1]); import emulator.tools.{}; print(*sys.modules)"
START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from emulator.tools import streams; streams.install();"
    " from emulator.tools.{} import main; sys.exit(main())"
)
READING = {
    "mosctl": ("hpc/admin/mospe", "whois"), "setpe": ("hpc/admin/mospe", "-r"), "showmap": ("hpc/admin/mospe",),
    "mosrun": ("self/where", "-h", "true"),
}  # fmt: skip
"""What a tool reads before it says anything, and the words with which it does."""


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_imports_nothing_that_is_slow(tool: str) -> None:
    command = [sys.executable, "-IS", "-c", IMPORT.format(tool), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert not (SLOW - NEEDED.get(tool, set())) & set(done.stdout.split())


def test_openmosixd_imports_no_paths_as_objects() -> None:
    """Nor what they import; each node starts one."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import emulator.daemon; print(*sys.modules)"
    command = [sys.executable, "-IS", "-c", code, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert not {"pathlib", "subprocess", "dataclasses", "urllib.parse"} & set(done.stdout.split())


@pytest.mark.parametrize("tool", READING)
def test_the_interrupt_key_ends_a_tool_in_silence(tool: str, tree: Path) -> None:
    name, *words = READING[tool]
    file = tree.parent / name
    (tree.parent / "self").mkdir()
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    (tree.parent / "self/lock").touch()
    with subprocess.Popen(command_of(tool, *words), stderr=subprocess.PIPE) as process:
        writers: list[int] = []

        def reads() -> bool:
            with suppress(OSError):  # ENXIO: not yet
                writers.append(os.open(file, os.O_WRONLY | os.O_NONBLOCK))
            return bool(writers)

        wait_until(reads)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT
        assert process.stderr is not None
        assert process.stderr.read() == b""
        os.close(writers[0])


@pytest.mark.parametrize("tool", ["mosctl", "setpe", "showmap"])
def test_a_tool_ends_in_silence_when_nobody_reads_on(tool: str, tree: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command_of(tool, *READING[tool][1:]), stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


SAID = {
    "mosctl whois": 0, "mosctl status 2": 0, "mosctl what": 1, "setpe -r": 0, "showmap": 0, "mps ax": 0, "mtop -b": 0,
    "omdiscd -h": 0, "mosrun": 1, "mosmon -x": 1, "migrate": 1,
}  # fmt: skip
"""What a tool is called with, and its exit code."""


@pytest.mark.parametrize("words", SAID)
def test_what_a_tool_cannot_write_is_lost_without_a_word(words: str, tree: Path) -> None:
    """As with the genuine ones: printf(3) is not looked at."""
    (tree.parent / "self").mkdir()
    command = command_of(*words.split())
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    for where in (">/dev/full", "2>/dev/full", ">&-", "2>&-", ">&- 2>&- <&-"):
        done = subprocess.run(
            ["sh", "-c", f'exec "$0" "$@" {where}', *command], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (SAID[words], "" if "2" in where else said.stderr), where
        assert bool(done.stdout) == (where[0] != ">" and bool(said.stdout)), where


def test_who_becomes_another_program_leaves_what_is_closed_closed(tree: Path) -> None:
    (tree.parent / "self").mkdir()
    (tree.parent / "self/where").write_text("0\n")
    (tree.parent / "self/lock").touch()
    command = ["sh", "-c", 'exec "$0" "$@" >&-', *command_of("mosrun", "-h", "readlink", "/proc/self/fd/1")]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1, "there is none"


def command_of(tool: str, *words: str) -> list[str]:
    return [sys.executable, "-IS", "-c", START.format(tool), str(ROOT), *words]
