"""What the genuine system (2.4.26, openMosix 1.8.1) was seen to do in ``/proc/hpc``: one test for each observation."""

from __future__ import annotations

import errno
import os
import signal
import stat
import struct
import subprocess
import time

import pytest

from tests.unit.hpc.loopback import NETWORK, Node, mode, refused

NUMBERS = ("cpus", "load", "mem", "rmem", "speed", "tmem", "util")
RECORD = struct.Struct("<IHHHHQQQ")


@pytest.fixture
def three(nodes: list[Node], table: str) -> list[Node]:
    """Three nodes of one map, all up."""
    for node in nodes:
        node.configure(table)
    return nodes


def milliseconds(node: Node, name: str, content: str, count: int = 9) -> list[float]:
    """How long each of these reads took that gave ``content``."""
    times = []
    for _ in range(count):
        start_s = time.perf_counter()
        if node.read(name) == content:
            times.append(1000 * (time.perf_counter() - start_s))
    assert times, f"never {content!r}"
    return times


def stata(node: Node) -> list[int]:
    return [number for (number,) in struct.iter_unpack("<q", node.read("info/stata").encode("latin-1"))]


def test_before_setpe(node: Node) -> None:
    assert os.listdir(node.path("nodes")) == []
    assert node.read("admin/mospe") == "0\n"
    assert refused(lambda: node.read("admin/config")) == errno.ENXIO
    for name in os.listdir(node.path("info")):
        assert node.read(f"info/{name}") == ""
    assert node.tool("setpe", "-r") == (3, "OpenMosix is currently disabled\n", "")
    unreadable = f"Unable to read {node.proc}/hpc/admin/config\n"
    assert node.tool("showmap") == (6, "My Node-Id: 0x0000\n\n", unreadable)
    assert node.tool("mosctl", "whois") == (0, "This is openMosix #0\n", "")
    assert node.tool("mosctl", "status") == node.tool("mosctl", "isup") == (0, "", "Error: Success\n")


def test_tree_three_up(three: list[Node]) -> None:
    node = three[0]
    for name in ("admin", "decay", "info", "nodes"):
        info = node.path(name).stat()
        assert (stat.S_IMODE(info.st_mode), info.st_nlink) == (0o555, 2)
    info = node.path("nodes/2").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_nlink) == (0o555, 1)
    assert node.path("nodes/2/status").stat().st_size == 0
    assert node.read("admin/mfscosts") == "36\t40\t14\t19\t88\t56\n"
    assert node.read("admin/overheads") == "81\t150\t39\t38\t0\t11\t0\t18\t0\t18\t0\t12\t8141\t351\n"
    numbers = {"decayinterval": "2", "slowdecay": "975", "fastdecay": "926", "sspeed": "15000", "gateways": "0"}
    assert {name: node.read(f"admin/{name}") for name in numbers} == {n: f"{v}\n" for n, v in numbers.items()}
    assert node.read("decay/slow") == "1\n"
    assert node.read("decay/fast") == "0\n"
    assert node.read("admin/dfsalinks") == ""
    version = node.read("admin/version")
    assert version == "openMosix Version 1.8.1\nDFSA is enabled\nSimple network topology\n"
    assert len(version) == 64
    address = bytes(map(int, f"{NETWORK}.1".split("."))).hex()
    config = node.read("admin/config").encode("latin-1")
    assert config == bytes.fromhex(f"01000000 0200 0000 {address} {'00' * 8} 03000000")


def test_node_up(three: list[Node]) -> None:
    node = three[0]
    for name in NUMBERS:
        content = node.read(f"nodes/1/{name}")
        assert content == f"{int(content)}\n", name
        assert mode(node.path(f"nodes/1/{name}")) == 0o444
    assert node.read("nodes/1/status") == "3\n"
    assert node.read("nodes/1/util") == "100\n"
    fd = os.open(node.path("nodes/1/tmem"), os.O_RDONLY)
    try:
        first = os.read(fd, 1)  # the rest is of the same answer
        assert int(first + os.read(fd, 100)) > 0
        assert os.read(fd, 100) == b""
    finally:
        os.close(fd)


def test_live_remote_read_takes_one_try(three: list[Node]) -> None:
    node = three[0]
    assert min(milliseconds(node, "nodes/2/status", "3\n")) >= 19
    assert min(milliseconds(node, "nodes/1/status", "3\n")) < 19  # its own, without the network
    node.write("admin/gateways", b"1\n")
    assert min(milliseconds(node, "nodes/2/status", "3\n", 3)) >= 39
    node.write("admin/gateways", b"2\n")
    assert min(milliseconds(node, "nodes/2/status", "3\n", 3)) >= 59


def test_dead_remote_read_takes_three_tries(three: list[Node]) -> None:
    first, second, _ = three
    second.stop()
    assert min(milliseconds(first, "nodes/2/status", "1\n", 3)) >= 59
    for name in NUMBERS:
        assert first.read(f"nodes/2/{name}") == "-101\n"
    assert mode(first.path("nodes/2")) == 0o555
    first.write("admin/gateways", b"1\n")
    assert min(milliseconds(first, "nodes/2/status", "1\n", 2)) >= 119
    first.write("admin/gateways", b"2\n")
    assert min(milliseconds(first, "nodes/2/status", "1\n", 2)) >= 179


def test_info_one_dead_of_three(three: list[Node]) -> None:
    first, second, _ = three
    second.stop()
    assert first.comes_to_read("nodes/3/status", "3\n")
    assert first.comes_to_read("info/stata", struct.pack("<3q", 3, 1, 3).decode("latin-1"))
    dead = bytes.fromhex("9bffffffffffffff")
    for name in ("utils", "mems", "rmems", "tmems", "cpus", "speeds"):
        assert first.read(f"info/{name}").encode("latin-1")[8:16] == dead, name
    assert first.read("info/loads").encode("latin-1")[8:16] == bytes.fromhex("9bffffff00000000")
    records = list(RECORD.iter_unpack(first.read("info/infos").encode("latin-1")))
    assert len(records) == 3
    assert records[1][4] == 1
    assert records[1][:4] == records[0][:4]
    assert records[1][5:] == records[0][5:]


def test_map_with_nodes_that_never_existed(node: Node) -> None:
    node.configure(f"1 {NETWORK}.1 4\n7 {NETWORK}.77 1\n")
    assert os.listdir(node.path("nodes")) == ["1", "2", "3", "4", "7"]
    for dead in ("4", "7"):
        assert node.read(f"nodes/{dead}/status") == "1\n"
        assert node.read(f"nodes/{dead}/load") == "-101\n"
        assert node.tool("mosctl", "status", dead) == (0, "down.\n", "")
        assert node.tool("mosctl", "isup", dead) == (0, "no\n", "")
    assert stata(node) == [3, 1, 1, 1, 0, 0, 1]


def test_unmapped(three: list[Node]) -> None:
    assert refused(three[0].path("nodes/4").stat) == errno.ENOENT
    assert refused(lambda: three[0].read("nodes/4/status")) == errno.ENOENT
    assert three[0].tool("mosctl", "status", "4") == (0, "", "Node #4 is not configured\n")


def test_bits_are_seen_at_once_from_others(three: list[Node]) -> None:
    first, second, _ = three
    for name in ("block", "stay", "lstay", "quiet"):
        assert second.tool("mosctl", name)[0] == 0
    assert first.comes_to_read("nodes/2/status", "63\n")
    assert second.tool("mosctl", "status") == (0, "up,stay,lstay,block,quiet.\n", "")
    assert second.tool("mosctl", "isup") == (0, "yes\n", "")
    for name in ("block", "stay", "lstay", "quiet"):
        second.write(f"admin/{name}", b"0\n")
    second.write("admin/nomfs", b"1\n")
    assert second.tool("mosctl", "status") == (0, "up,nomfs.\n", "")
    assert first.comes_to_read("nodes/2/status", "67\n")


def test_live_growth(three: list[Node]) -> None:
    third = three[2]
    before = len(third.log.read_text().splitlines())
    grown = f"1 {NETWORK}.1 4\n7 {NETWORK}.77 1\n"
    assert third.tool("setpe", "-w", "-p", "3", text=grown) == (0, "", "")
    assert third.log.read_text().splitlines()[before:] == [
        "openMosix configuration changed: This is openMosix #3 (of 5 configured)",
        f"openMosix range: 1-4 begins at {NETWORK}.1",
        f"openMosix #7 is at IP address {NETWORK}.77",
    ]
    assert os.listdir(third.path("nodes")) == ["1", "2", "3", "4", "7"]


def test_setpe_again_from_the_start(three: list[Node], table: str) -> None:
    node = three[0]
    before = len(node.log.read_text().splitlines())
    assert node.tool("setpe", "-W", "-p", "1", text=table) == (0, "", "")
    disabled, changed, _range = node.log.read_text().splitlines()[before:]
    assert disabled == "openMosix configuration disabled"
    assert changed == "openMosix configuration changed: This is openMosix #1 (of 3 configured)"


def test_setpe_off(three: list[Node]) -> None:
    first, second, _ = three
    assert second.tool("setpe", "-off") == (0, "", "")
    assert os.listdir(second.path("nodes")) == []
    assert refused(lambda: second.read("admin/config")) == errno.ENXIO
    assert first.read("nodes/2/status") == "1\n"
    assert os.listdir(first.path("nodes")) == ["1", "2", "3"]


def test_expel_and_bring_of_a_node_without_guests(three: list[Node]) -> None:
    node = three[0]
    done = "All remote processes were expelled and no further remote processes accepted.\n"
    assert node.tool("mosctl", "expel") == (0, done, "")
    assert node.tool("mosctl", "status") == (0, "up,block.\n", "")
    assert node.tool("mosctl", "noblock")[0] == 0
    assert node.log.read_text().splitlines()[-2:] == [
        "openMosix: All guest processes evacuated and no further guests allowed in",
        "openMosix: guest-processes now accepted again.",
    ]
    done = "All local processes were brought back and will stay here.\n"
    assert node.tool("mosctl", "bring") == (0, done, "")
    assert node.tool("mosctl", "status") == (0, "up,lstay.\n", "")


def test_cut_and_restore_flip_at_the_next_read(three: list[Node]) -> None:
    """No hysteresis: a node that is frozen cannot answer."""
    first, second, third = three
    second.signal(signal.SIGSTOP)
    assert first.read("nodes/2/status") == third.read("nodes/2/status") == "1\n"
    second.signal(signal.SIGCONT)
    assert first.comes_to_read("nodes/2/status", "3\n")
    assert third.comes_to_read("nodes/2/status", "3\n")


def test_one_sided_map(three: list[Node]) -> None:
    """Node 3 drops node 1: to node 1 it is down, to itself there is no node 1, to node 2 all are up."""
    first, second, third = three
    third.configure(f"2 {NETWORK}.2 2\n")
    assert first.read("nodes/3/status") == "1\n"
    assert not third.path("nodes/1").exists()
    for number in (1, 2, 3):
        assert second.comes_to_read(f"nodes/{number}/status", "3\n")
    complaint = f"Received an unauthorized information request from {first.address}"
    assert third.log.read_text().count(complaint) == 1  # three questions, one line


def test_process_before_any_migration(node: Node, sleeper: subprocess.Popen[bytes]) -> None:
    own = node.proc / str(sleeper.pid)
    names = ("where", "lock", "nmigs", "sigmig", "migfilter", "migpolicy", "miggroup", "selected")
    assert {name: (own / name).read_text() for name in names} == dict.fromkeys(names, "0\n")
    assert (own / "disclosure").read_text() == "3\n"
    assert (own / "mignodes").read_text() == "00000000\n"
    assert (own / "cantmove").read_text() == ""
