"""Whatever lies in the place of a file, each command ends, and says what is wrong with which."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from mosha import cli
from mosha.stomith import history
from mosha.stomith.history import Attempt

HUGE_BYTES = 100 << 20
LIMIT_S = 30


def _has(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


def _huge(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(HUGE_BYTES)


def _socket(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o600)


SPOILT: dict[str, Callable[[Path], Any]] = {
    "empty": _has(b""), "zeros": _has(bytes(5000)), "binary": _has(bytes(range(256)) * 300), "huge": _huge,
    "brackets": _has(b"[" * 100_000), "JSON": _has(b'[1e999, null, {}]\n{"groups": 3}\n' * 300),
    "object": _has(b'{"beat": "x", "boottime": NaN, "nodes": [[]], "groups": [null]}'),
    "carriage returns": _has(b"\r\n\r\r"),
    "directory": Path.mkdir, "fifo": os.mkfifo, "socket": _socket, "device": lambda path: path.symlink_to("/dev/zero"),
    "dangling": lambda path: path.symlink_to("/nowhere/at/all"), "loop": lambda path: path.symlink_to(path.name),
}
FILES = (
    "hastat.json", "history", "stomith.log", "stomith.log.previous", "cltab", "hactl", "cltab.good", "voter", "state",
    "order", "founded", ".commands",
)
COMMANDS = (
    "status", "status --json", "check", "check --json", "check --2003", "history", "history --json web", "why web",
    "voters", "voters --json", "voters forget", "voters add 2", "tell web stop", "move web 1", "drain",
    "maintenance on", "clear", "stomith history", "voters install 1-00000001 1",
)


@pytest.fixture(autouse=True)
def _soon() -> Iterator[None]:
    signal.alarm(LIMIT_S)
    yield
    signal.alarm(0)


class Node:
    def __init__(self, root: Path) -> None:
        self.root, self.var, self.conf = root, root / "var/mosix-ha", root / "mosha.conf"
        self.var.mkdir(parents=True)
        self.conf.write_text(f"root={root}\nrundir={root}/run\nhpcbase={root}/hpc\nmynode=1\n")
        (self.var / "cltab").write_text("web:run:start:respawn:sleep 9\n")
        (self.var / "hactl").write_text("web start\n")

    def says(self, command: str) -> int:
        return cli.main(["--config", str(self.conf), *command.split()])


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("name", FILES)
def test_each_command_ends(name: str, spoilt: str, tmp_path: Path) -> None:
    node = Node(tmp_path)
    for command in COMMANDS:
        path = node.var / name
        if not os.path.lexists(path) or path.is_file():
            path.unlink(missing_ok=True)
            SPOILT[spoilt](path)
        assert node.says(command) in (0, 1, 2), command


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_configuration_that_is_none_is_named(
    spoilt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    node = Node(tmp_path)
    node.conf.unlink()
    SPOILT[spoilt](node.conf)
    found = node.says("check")
    said = capsys.readouterr().err
    assert found == (1 if spoilt in ("empty", "carriage returns") else 2)
    assert found == 1 or (said and all(line.startswith(f"{node.conf}:") for line in said.splitlines()))


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_page_that_is_none_hides_nothing_else(
    spoilt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    node = Node(tmp_path)
    SPOILT[spoilt](node.var / "hastat.json")
    (node.var / "hactl").write_text("web\n")
    assert node.says("check") == 1
    assert f"{node.var}/hactl:1: " in capsys.readouterr().err
    assert node.says("status") == 1
    assert f"{node.var}/hastat.json" in capsys.readouterr().err


@pytest.mark.parametrize("spoilt", ["directory", "fifo", "socket", "device", "dangling", "loop", "huge"])
def test_a_table_that_is_none_is_named(spoilt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = Node(tmp_path)
    (node.var / "cltab").unlink()
    SPOILT[spoilt](node.var / "cltab")
    assert node.says("check") == 1
    assert capsys.readouterr().err.startswith(f"{node.var}/cltab:")


@pytest.mark.parametrize(("text", "said"), [
    ("", "empty: an agent that has a table keeps that"), (" \n\n", "empty: an agent that has a table keeps that"),
    ("# nothing yet\n", "it names no group: nothing would run"),
])
@pytest.mark.parametrize("name", ["cltab", "hactl"])
def test_a_table_that_names_no_group_is_warned_of(
    name: str, text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    node = Node(tmp_path)
    (node.var / name).write_text(text)
    assert node.says(f"check {node.var / name}") == 0
    assert capsys.readouterr().err.startswith(f"warning: {node.var / name}: {said}")
    assert node.says("check") == 0
    assert f"warning: {node.var / name}: {said}" in capsys.readouterr().err


def test_check_reads_line_ends_as_the_agent_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = Node(tmp_path)
    (node.var / "cltab").write_bytes(b"web:a:start:once:true\rweb:b:start:once:true\n")
    assert node.says("check") == 1
    assert capsys.readouterr().err.startswith(f"{node.var}/cltab:1: carriage return inside the line")
    (node.var / "cltab").write_bytes(b"web:a:start:once:true\r\nweb:b:start:once:true\r\n")
    assert node.says("check") == 0


def test_a_table_may_come_through_a_pipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"web:run:start:respwan:true\n")
    os.close(write_end)
    assert Node(tmp_path).says(f"check /dev/fd/{read_end}") == 1
    assert capsys.readouterr().err.startswith(f"/dev/fd/{read_end}:1: ")
    os.close(read_end)


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_map_that_is_none_is_named(spoilt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = Node(tmp_path)
    shared = tmp_path / "shared"
    shared.mkdir()
    SPOILT[spoilt](shared / "nodes")
    node.conf.write_text(f"platform=shared-directory\nshared={shared}\nmynode=1\nrundir={tmp_path}/run\n")
    assert node.says("check") == 1
    assert spoilt in ("empty", "carriage returns") or f"{shared}/nodes" in capsys.readouterr().err


@pytest.mark.parametrize("spoilt", ["directory", "fifo", "socket", "device", "dangling", "loop"])
def test_a_shot_waits_for_no_log(spoilt: str, tmp_path: Path) -> None:
    SPOILT[spoilt](tmp_path / history.NAME)
    history.append(tmp_path, Attempt(1.0, "agent", 2, 1, "sw", "off", True, 0, 0.1, ""))
