"""Every tool where the tree is not what it should be: a text and an exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.tools.mosctl import REQUESTS, TOGGLES, VERBS
from emulator.tools.mosmon import read_nodes
from tests.unit.tools.conftest import ADMIN, UP, Run

ROOT = Path(__file__).parents[3]
PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from emulator.tools.{} import main; sys.exit(main())"
LIMIT_S = 60.0

BROKEN = {
    "absent": None,
    "empty": b"",
    "garbage": b"\xff x\n",
    "too much": b"1 2\n" * 20000,
    "a directory": "/",
    "ELOOP": "loop",
    "ENOSPC": "/dev/full",
    "EIO": "/proc/self/mem",
}
"""What each file of the tree is: these bytes, or a link that leads there; ``loop`` leads to itself."""
FILES = (
    *(f"hpc/admin/{name}" for name in (*ADMIN, "config", "mfscosts", "version")),
    *(f"hpc/nodes/{node}/{name}" for node in (1, 2) for name in (*UP, "status")),
    *(f"hpc/decay/{name}" for name in ("slow", "fast", "own", "cpujob", "iojob", "inherit", "exec", "execonce")),
    *(f"self/{name}" for name in ("lock", "where", "goto", "migrate")),
    *(f"{os.getpid()}/{name}" for name in ("lock", "where", "goto", "migrate", "nmigs", "cantmove")),
    "hpc/info/infos",
    "mfs/mounted",
)
ARGUMENTS = {"setspeed": "7", "setdecay": "1 2 3", "setyard": "this"}
COMMANDS = (
    *(f"mosctl {verb} {ARGUMENTS.get(verb, '')}" for verb in (*TOGGLES, *REQUESTS, *VERBS)),
    *(f"mosctl {verb} 2" for verb in VERBS),
    "setpe -r", "setpe -off", "setpe -w -p 1 -g 1 -f {map}", "setpe -W -p 1 -f {map}", "setpe -c -p 1 -f {map}",
    "showmap", f"migrate {os.getpid()} 2", f"migrate {os.getpid()} home", "mosrun -h true", "mosrun -2 true",
    "mosrun -k true", "mosrun -l true", *(f"mosrun {kind} true" for kind in ("-c", "-i", "-n", "-s", "-f", "-e", "-r")),
    "mps ax", "mps ax --ominfo", "mtop -b", "omdiscd", "omdiscd -n", "mount_mfs any {mfs}",
)  # fmt: skip


@pytest.fixture(params=BROKEN)
def broken(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree whose files are all broken in one way."""
    content = BROKEN[request.param]
    for name in FILES:
        file = tmp_path / "proc" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        elif content == "loop":
            file.symlink_to(file)
        elif content is not None:
            file.symlink_to(content)
    (tmp_path / "map").write_text("1 10.0.0.1 3\n")
    monkeypatch.setenv("OPENMOSIX_PROC", str(tmp_path / "proc"))
    monkeypatch.setenv("OPENMOSIX_DEPUTIES", str(tmp_path / "deputies"))
    monkeypatch.setenv("OPENMOSIX_DISCOVERY_PID", str(tmp_path / "pid"))
    monkeypatch.setenv("OPENMOSIX_MFS", str(tmp_path))
    return tmp_path


def test_no_tool_breaks_on_a_broken_tree(broken: Path) -> None:
    for command in COMMANDS:
        tool, *words = command.format(map=broken / "map", mfs=broken).split()
        done = subprocess.run(
            [sys.executable, "-IS", "-c", PROGRAM.format(tool), str(ROOT), *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, command
        assert "None" not in done.stderr, command
        assert done.returncode in range(126), (command, done)


def test_mosmon_shows_no_node_of_a_broken_tree(broken: Path) -> None:
    assert all(info.status for info in read_nodes().values())


@pytest.mark.parametrize("tool", ["mosmon", "mtop"])
def test_a_terminal_that_is_none(tool: str, tree: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "no-such-terminal")
    assert run(tool) == (1, "", "Error opening terminal: no-such-terminal.\n")


def test_a_decay_that_is_not_taken_is_said_and_the_command_runs(tree: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-IS", "-c", PROGRAM.format("mosrun"), str(ROOT), "-s", "-e", "echo", "ran"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert done.stderr == "mosrun: no decay as asked: No such file or directory\n"
