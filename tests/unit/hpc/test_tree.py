"""The tree as programs see it through the kernel: names, modes, values, errors (observed on 2.4.26)."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from functools import partial

from tests.unit.hpc.loopback import NETWORK, Node, mode, reachable, refused

ADMIN = {
    "config": (0o644, None),
    "stay": (0o644, "0\n"),
    "lstay": (0o644, "0\n"),
    "block": (0o644, "0\n"),
    "quiet": (0o644, "0\n"),
    "nomfs": (0o644, "0\n"),
    "expel": (0o200, None),
    "bring": (0o200, None),
    "speed": (0o644, "15000\n"),
    "sspeed": (0o644, "15000\n"),
    "overheads": (0o644, "81\t150\t39\t38\t0\t11\t0\t18\t0\t18\t0\t12\t8141\t351\n"),
    "slowdecay": (0o644, "975\n"),
    "fastdecay": (0o644, "926\n"),
    "decayinterval": (0o644, "2\n"),
    "gateways": (0o644, "0\n"),
    "mospe": (0o644, "0\n"),
    "version": (0o444, "openMosix Version 1.8.1\nDFSA is enabled\nSimple network topology\n"),
    "dfsalinks": (0o644, ""),
    "mfscosts": (0o644, "36\t40\t14\t19\t88\t56\n"),
    "mfskill": (0o200, None),
}
DECAY = ["cpujob", "iojob", "slow", "fast", "own", "inherit", "exec", "execonce", "clear"]
INFO = ["loads", "speeds", "cpus", "mems", "rmems", "tmems", "utils", "stata", "infos"]
NODE_FILES = ["cpus", "load", "mem", "rmem", "speed", "tmem", "status", "util"]
NOBODY = 65534


def as_nobody(code: str, node: Node) -> str:
    """What this code, with ``read`` and ``write`` of a path under the tree, prints when a user runs it."""
    head = (
        "import os\n"
        f"os.setgid({NOBODY}); os.setuid({NOBODY}); os.chdir({str(node.proc)!r})\n"
        "def write(path, data):\n"
        "    try: os.write(os.open(path, os.O_WRONLY), data); return 0\n"
        "    except OSError as error: return error.errno\n"
        "def read(path): return open(path).read()\n"
    )
    done = subprocess.run(
        [sys.executable, "-IS", "-c", head + code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_admin_has_the_genuine_names_modes_and_values(node: Node) -> None:
    assert os.listdir(node.path("admin")) == list(ADMIN)
    for name, (bits, content) in ADMIN.items():
        file = node.path(f"admin/{name}")
        assert mode(file) == bits, name
        assert file.stat().st_size == 0
        assert file.stat().st_nlink == 1
        if content is not None:
            assert node.read(f"admin/{name}") == content, name
    assert refused(lambda: node.read("admin/expel")) == errno.EINVAL


def test_directories_are_the_genuine_ones(node: Node, table: str) -> None:
    node.configure(table)
    assert os.listdir(node.path("")) == ["admin", "decay", "info", "nodes", "remote"]
    for name in ("", "admin", "decay", "info", "nodes", "remote"):
        info = node.path(name).stat()
        assert (stat.S_IMODE(info.st_mode), info.st_nlink) == (0o555, 2)
    assert os.listdir(node.path("remote")) == []
    assert os.listdir(node.path("info")) == INFO
    assert {mode(node.path(f"info/{name}")) for name in INFO} == {0o444}
    assert os.listdir(node.path("decay")) == DECAY
    values = {name: node.read(f"decay/{name}") for name in DECAY[:-1]}
    assert values == {name: "1\n" if name == "slow" else "0\n" for name in values}
    assert [mode(node.path(f"decay/{name}")) for name in ("slow", "clear")] == [0o666, 0o222]


def test_nodes_are_all_of_the_map_and_no_others(node: Node) -> None:
    assert os.listdir(node.path("nodes")) == []
    node.configure(f"1 {NETWORK}.1 2\n7 {NETWORK}.77 1\n1 {NETWORK}.99 ALIAS\n")
    assert os.listdir(node.path("nodes")) == ["1", "2", "7"]
    assert os.listdir(node.path("nodes/7")) == NODE_FILES
    info = node.path("nodes/7").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_nlink) == (0o555, 1)
    assert {mode(node.path(f"nodes/7/{name}")) for name in NODE_FILES} == {0o444}
    for name in ("3", "0", "07", "x", "65535"):
        assert refused(node.path(f"nodes/{name}").stat) == errno.ENOENT


def test_configuration_that_makes_no_sense_is_refused(node: Node, table: str) -> None:
    assert refused(lambda: node.write("admin/mospe", b"1\0")) == errno.EINVAL  # no table yet
    assert refused(lambda: node.write("admin/config", b"x" * 24)) == errno.EINVAL
    node.configure(table)
    config = node.read("admin/config")
    assert refused(lambda: node.write("admin/mospe", b"2\0")) == errno.EBUSY
    others = bytes.fromhex("05000000 0200 0000 0a000001 0000000000000000 03000000")
    assert refused(lambda: node.write("admin/config", others)) == errno.EINVAL
    for bad in (b"one", b"-1", b"65535", b"1 2", b"9" * 30):
        assert refused(partial(node.write, "admin/mospe", bad)) == errno.EINVAL
    assert (node.read("admin/mospe"), node.read("admin/config")) == ("1\n", config)


def test_nomfs_and_noblock_are_logged_as_the_kernel_does(node: Node) -> None:
    for name, value in (("nomfs", b"1"), ("nomfs", b"1"), ("nomfs", b"0"), ("block", b"1"), ("block", b"0")):
        node.write(f"admin/{name}", value)
    assert node.log.read_text().splitlines() == [
        "openMosix: This node will stop providing MFS services.",
        "openMosix: This node  may now provide oMFS services.",
        "openMosix: guest-processes now accepted again.",
    ]


def test_each_write_is_a_whole_new_value_at_any_offset(node: Node) -> None:
    """mosctl reads, then writes to the same descriptor without a seek."""
    fd = os.open(node.path("admin/stay"), os.O_RDWR)
    try:
        assert os.read(fd, 29) == b"0\n"
        os.write(fd, b"1\n")
        assert node.read("admin/stay") == "1\n"
        os.write(fd, b"0\n")
        assert node.read("admin/stay") == "0\n"
    finally:
        os.close(fd)
    with open(node.path("admin/stay"), "w", encoding="ascii") as file:  # truncates
        file.write("1")
    assert node.read("admin/stay") == "1\n"


def test_numbers_are_kept_and_checked(node: Node) -> None:
    node.write("admin/overheads", b" ".join([b"7"] * 14) + b"\n")
    assert node.read("admin/overheads") == "\t".join(["7"] * 14) + "\n"
    assert refused(lambda: node.write("admin/overheads", b"7\n")) == errno.EINVAL
    assert refused(lambda: node.write("admin/slowdecay", b"1001\n")) == errno.EINVAL
    assert refused(lambda: node.write("admin/gateways", b"3\n")) == errno.EINVAL
    assert refused(lambda: node.write("admin/speed", b"0\n")) == errno.EINVAL
    assert refused(lambda: node.write("admin/version", b"2\n")) == errno.EINVAL


def test_a_user_may_do_what_a_user_may(node: Node) -> None:
    reachable(node)
    files = ("self/lock", "self/migrate", "self/goto", "1/goto", "1/lock", "hpc/admin/stay", "hpc/admin/mospe")
    code = f"print([write(path, b'0') for path in {files!r}])"
    expected = [
        errno.EACCES, errno.EACCES, 0, errno.EPERM, errno.EACCES, errno.EACCES, errno.EACCES,
    ]  # fmt: skip
    assert as_nobody(code, node) == f"{expected}\n"
    code = "print(read('self/lock'), read('hpc/admin/stay'), os.stat('self/lock').st_uid)"
    assert as_nobody(code, node) == f"0\n 0\n {NOBODY}\n"
