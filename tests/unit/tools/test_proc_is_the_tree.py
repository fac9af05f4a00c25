"""Programs that know only the genuine paths, in a root whose ``/proc`` is the tree: all else there is the machine's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.hpc.loopback import NETWORK, Node, wait_until

ENTER = """\
root=$1 tree=$0; shift 1
mount --rbind / "$root" && mount --bind "$tree" "$root/proc" && exec chroot "$root" "$@"
"""
TOGGLE = """\
import os
stay = os.open("/proc/hpc/admin/stay", os.O_RDWR); os.read(stay, 29); os.write(stay, b"1\\n")
lock = os.open("/proc/self/lock", os.O_RDWR); os.write(lock, b"1\\n")
print(open(f"/proc/{os.getpid()}/lock").read())
"""


@pytest.fixture
def configured(node: Node) -> Node:
    node.configure(f"1 {NETWORK}.1 2\n")
    return node


def run(node: Node, *words: str) -> str:
    """What a command says there."""
    root = node.folder / "root"
    root.mkdir(exist_ok=True)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", ENTER, str(node.proc), str(root), *words],
        env={**node.environment, "OPENMOSIX_PROC": "/proc", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def tool(node: Node, name: str, *words: str) -> str:
    return run(node, sys.executable, "-m", f"emulator.tools.{name}", *words)


def test_a_toggle_on_one_descriptor_and_a_lock(configured: Node) -> None:
    assert run(configured, sys.executable, "-c", TOGGLE) == "1\n\n"
    assert tool(configured, "mosctl", "status") == "up,stay.\n"


def test_our_tools(configured: Node) -> None:
    assert tool(configured, "setpe", "-r").startswith("This is OpenMosix node #1\n")
    assert tool(configured, "showmap").startswith("My Node-Id: 0x0001\n")
    assert tool(configured, "mosrun", "-h", "cat", "/proc/self/lock") == "1\n"
    assert tool(configured, "migrate", str(os.getpid()), "home") == ""
    for lines in (tool(configured, "mps", "ax").splitlines(), tool(configured, "mtop", "-b").splitlines()):
        assert [words[2] for words in map(str.split, lines) if words[:1] == [str(os.getpid())]] == ["0"]


@pytest.mark.parametrize("command", ["ps -ef", "ps axo uid,pid,lstart,args", "top -b -n 1"])
def test_those_that_genuine_ones_were_made_of(configured: Node, command: str) -> None:
    """``mps`` and ``mtop`` were ``ps`` and ``top`` with a column more: what these need is there."""
    lines = [line.split() for line in run(configured, *command.split()).splitlines()]
    assert [words for words in lines if str(os.getpid()) in words[:2]], lines


def test_it_is_what_the_machine_says(node: Node) -> None:
    for name in ("version", "cpuinfo"):
        assert (node.proc / name).read_text().splitlines()[0] == Path("/proc", name).read_text().splitlines()[0]
    with subprocess.Popen(["sh", "-c", "read line", "x" * 100_000], stdin=subprocess.PIPE) as process:
        words = b"sh\0-c\0read line\0" + b"x" * 100_000 + b"\0"
        wait_until(lambda: (node.proc / f"{process.pid}/cmdline").read_bytes() == words)  # none amid an exec
        assert (node.proc / f"{process.pid}/status").read_text().startswith("Name:\tsh\n")
        process.kill()


def test_who_has_ended_says_nothing_more(node: Node) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        opened = (node.proc / f"{process.pid}/cmdline").open("rb", buffering=0)
        process.kill()
    with opened, pytest.raises(ProcessLookupError):
        opened.read()
