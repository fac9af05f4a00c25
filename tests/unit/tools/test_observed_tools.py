"""What the genuine tools (2004) were seen to say on the genuine system: one test for each observation.

What is seen of a node's files is in tests/unit/hpc/test_observed_tree.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.hpc.loopback import NETWORK, Node, may_mount, wait_until

UNREACHABLE = (0, "", "Error: Network is unreachable\n")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Nodes 1 and 2 of a map with a node 3 that never was."""
    may_mount()
    first, second = Node(1, tmp_path), Node(2, tmp_path)
    try:
        for node in (first, second):
            node.start()
        for node in (first, second):
            node.configure(f"1 {NETWORK}.1 3\n")
        yield first, second
    finally:
        first.stop()
        second.stop()


def test_on_a_dead_node_every_exit_code_is_0(pair: tuple[Node, Node]) -> None:
    first, second = pair
    second.stop()
    assert first.tool("mosctl", "status", "2") == (0, "down.\n", "")
    assert first.tool("mosctl", "isup", "2") == (0, "no\n", "")
    for verb in ("getload", "getspeed", "getmem", "getfree", "getutil"):
        assert first.tool("mosctl", verb, "2") == UNREACHABLE
    assert first.tool("mosctl", "whois", "2") == (0, f"{NETWORK}.2\n", "")


def test_no_arg_getspeed(pair: tuple[Node, Node]) -> None:
    first, _ = pair
    first.write("admin/speed", b"39473\n")
    assert first.tool("mosctl", "getspeed") == (0, "speed=39473.\n", "")


def test_setpe_and_showmap_name_the_base_by_etc_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emulator.table import Record
    from emulator.tools import hosts, setpe

    table = tmp_path / "hosts"
    table.write_text("127.0.0.1 localhost\n10.0.0.1 node1 node1.lan  # the first\n")
    real = open
    monkeypatch.setattr(
        hosts, "open", lambda path, **how: real(table if path == "/etc/hosts" else path, **how), raising=False
    )
    assert setpe.describe(3, [Record(1, "10.0.0.1", 3)]).splitlines()[2:] == [
        "OpenMosix range     1-3     begins at node1", "Total configured: 3",
    ]  # fmt: skip
    assert hosts.name_of("10.0.0.2") == "10.0.0.2"


def test_getyard(pair: tuple[Node, Node]) -> None:
    text = "Yardstick speed currently set to 15000 (matching a PIV/1500 processor).\n"
    assert pair[0].tool("mosctl", "getyard") == (0, text, "")


def test_mosrun_to_a_blocked_or_dead_node(pair: tuple[Node, Node]) -> None:
    first, second = pair
    assert first.tool("mosrun", "-3", "true") == (1, "", "Migration Failed: Network is unreachable\n")
    assert first.tool("mosrun", "-4", "true") == (1, "", "Migration Failed: No such device or address\n")
    assert first.tool("mosrun", "-3", "-F", "echo", "at home") == (0, "at home\n", "")
    second.write("admin/block", b"1\n")
    assert first.comes_to_read("nodes/2/status", "19\n")
    wait_until(
        lambda: first.tool("mosrun", "-2", "true") == (1, "", "Migration Failed: Network is unreachable\n")
    )


def test_migrate_to_a_dead_node_does_nothing(pair: tuple[Node, Node]) -> None:
    first, _ = pair
    assert first.tool("migrate", str(os.getpid()), "3") == (0, "", "")
    assert (first.proc / str(os.getpid()) / "where").read_text() == "0\n"


def test_mosmon_shows_the_dead_with_d(pair: tuple[Node, Node]) -> None:
    """In a terminal: the id of each node, what is shown, DEAD from top to bottom, and totals."""
    first, _ = pair
    code = (
        "import os, pty, select, sys, time\n"
        "pid, fd = pty.fork()\n"
        "if not pid: os.execv(sys.executable, [sys.executable, '-m', 'emulator.tools.mosmon', '-d', '-t'])\n"
        "seen, end = b'', time.monotonic() + 30\n"
        "while b'[CPUs' not in seen and time.monotonic() < end and select.select([fd], [], [], 30)[0]:\n"
        "    seen += os.read(fd, 65536)\n"
        "os.write(fd, b'q')\n"
        "while select.select([fd], [], [], 30)[0]:\n"
        "    try: seen += os.read(fd, 65536)\n"
        "    except OSError: break\n"
        "print(os.waitpid(pid, 0)[1]); sys.stdout.buffer.write(seen)\n"
    )
    environment = {**first.environment, "TERM": "xterm", "LINES": "24", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=90, check=True
    )
    assert done.stdout.startswith("0\n")
    assert "Node #" in done.stdout
    assert "[Total 2] [CPUs " in done.stdout
    assert all(letter in done.stdout for letter in "DEAD")


def test_mps_without_a_terminal(node: Node) -> None:
    """A user's processes that have a terminal: in a session without one there is none."""
    head = "  PID TTY NODE STAT TIME COMMAND\n"
    assert node.tool_as_user("mps") == (1, head, "No processes available.\n")


def test_mps_ax(node: Node) -> None:
    code, out, err = node.tool("mps", "ax")
    assert (code, err) == (0, "")
    head, *rows = out.splitlines()
    assert head == "  PID TTY NODE STAT TIME COMMAND"
    [own] = [row for row in rows if row.split()[0] == str(os.getpid())]
    assert own[10:14] == "   0"
