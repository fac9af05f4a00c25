"""Faults that are injected into a node's MFS, as programs on another node, and on its own, meet them."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from emulator.mfs.fault import NAMES
from emulator.mfs.pace import QUICK
from tests.unit.mfs.nodes import MfsNode, Nodes, failing
from tests.unit.mfs.test_mfs_faults import AT_ONCE_S, BUSY_S, SLACK_S, descriptors_on, least, timed, wait_until

Call = Callable[[], object]
Opener = Callable[[Path, int], int]


def met(node: MfsNode) -> list[int]:
    """How often each fault of a node was met."""
    return [fault["met"] for fault in json.loads((node.control / "faults").read_text())]


def append(path: Path, data: bytes) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


def make(folder: Path) -> None:
    """What :func:`operations` needs."""
    (folder / "d").mkdir()
    (folder / "empty").mkdir()
    for name in ("f", "gone", "moved"):
        (folder / name).write_bytes(b"0123456789")
    (folder / "l").symlink_to("f")


@pytest.fixture
def opened(pair: list[MfsNode]) -> Iterator[Opener]:
    """open(2); what it opened is closed at the end."""
    with ExitStack() as stack:

        def open_(path: Path, flags: int) -> int:
            fd = os.open(path, flags)
            stack.callback(os.close, fd)
            return fd

        yield open_


def operations(seen: Path, opened: Opener) -> dict[str, Call]:
    """A call for each operation that a fault can name, all in one directory of a tree."""
    file, directory = opened(seen / "f", os.O_RDWR), opened(seen, os.O_RDONLY)
    return {
        "lookup": lambda: os.stat("f", dir_fd=directory),
        "getattr": lambda: os.fstat(file),
        "setattr": lambda: os.fchmod(file, 0o600),
        "readlink": lambda: os.readlink("l", dir_fd=directory),
        "symlink": lambda: os.symlink("f", "s", dir_fd=directory),
        "mknod": lambda: os.mknod("n", dir_fd=directory),
        "mkdir": lambda: os.mkdir("m", dir_fd=directory),
        "unlink": lambda: os.unlink("gone", dir_fd=directory),
        "rmdir": lambda: os.rmdir("empty", dir_fd=directory),
        "rename": lambda: os.rename("moved", "there", src_dir_fd=directory, dst_dir_fd=directory),
        "link": lambda: os.link("f", "h", src_dir_fd=directory, dst_dir_fd=directory),
        "open": lambda: os.close(os.open("f", os.O_RDONLY, dir_fd=directory)),
        "create": lambda: os.close(os.open("c", os.O_CREAT | os.O_WRONLY, dir_fd=directory)),
        "read": lambda: os.pread(file, 5, 0),
        "write": lambda: os.pwrite(file, b"x", 0),
        "fsync": lambda: os.fsync(file),
        "lseek": lambda: os.lseek(file, 0, os.SEEK_DATA),
        "opendir": lambda: os.close(os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)),
        "readdir": lambda: os.listdir(directory),
        "access": lambda: os.access("f", os.R_OK, dir_fd=directory) or refused(),
    }


def refused() -> NoReturn:
    raise OSError(errno.EACCES, "access says no")


@pytest.fixture(params=[1, 2], ids=["own", "other"])
def owner(request: pytest.FixtureRequest, pair: list[MfsNode]) -> MfsNode:
    """The node whose files node 1 uses."""
    number: int = request.param
    return pair[number - 1]


@pytest.fixture
def seen(owner: MfsNode, pair: list[MfsNode]) -> Path:
    """That node's tree as node 1 sees it."""
    make(owner.root)
    return pair[0].path(owner)


def test_each_operation_can_fail_alone(owner: MfsNode, seen: Path, opened: Opener) -> None:
    calls = operations(seen, opened)
    assert calls.keys() == NAMES
    for name, call in calls.items():
        owner.faults({"do": "error", "errno": "EDQUOT", "on": [name]})
        with pytest.raises(OSError):  # noqa: PT011 - access(2) says no more than no
            call()
        assert met(owner)[0] in (1, 2), name  # the kernel looks up twice
    owner.faults()
    for name, call in calls.items():
        assert timed(call)[0] == "ok", name


def own_places(root: Path, seen: Path, opened: Opener) -> dict[str, Call]:
    """The same, each in a directory of its own: the kernel lets one change of a directory wait for the one before."""
    calls = {}
    for name in sorted(NAMES - {"access"}):  # access(2) says no more than no
        (root / name).mkdir()
        make(root / name)
        calls[name] = operations(seen / name, opened)[name]
    return calls


def test_no_operation_outlives_its_bound_when_no_answer_comes(
    owner: MfsNode, pair: list[MfsNode], opened: Opener
) -> None:
    calls = own_places(owner.root, pair[0].path(owner), opened)
    owner.faults({"do": "hang", "on": sorted(calls.keys() - {"lookup", "getattr"})})
    at_once = {name: calls.pop(name) for name in ("lookup", "getattr")}
    assert_bounded(calls, slow=["fsync"])
    owner.faults({"do": "hang", "on": sorted(at_once)})
    assert_bounded(at_once)
    _, took_s = least(at_once["lookup"])
    assert took_s < QUICK.reply_s + SLACK_S, "once, though the kernel looks up twice"


def test_no_operation_outlives_its_bound_when_the_owner_is_silent(
    pair: list[MfsNode], opened: Opener
) -> None:
    calls = own_places(pair[1].root, pair[0].path(2), opened)
    large = opened(pair[0].path(2, "large"), os.O_WRONLY | os.O_CREAT)
    calls["write 8 MiB"] = lambda: os.pwrite(large, bytes(8 << 20), 0)
    pair[1].send_signal(signal.SIGSTOP)
    assert_bounded(calls, slow=["write 8 MiB"])


def test_a_large_write_alone_is_bounded(pair: list[MfsNode], opened: Opener) -> None:
    large = opened(pair[0].path(2, "large"), os.O_WRONLY | os.O_CREAT)
    pair[1].send_signal(signal.SIGSTOP)
    result, took_s = timed(lambda: os.pwrite(large, bytes(8 << 20), 0))
    assert (result, took_s < QUICK.slow_s + BUSY_S) == ("EAGAIN", True)


def assert_bounded(calls: dict[str, Call], slow: Sequence[str] = ()) -> None:
    """All at once, as after the first everything may fail at once."""
    with ThreadPoolExecutor(len(calls)) as pool:
        ended = dict(zip(calls, pool.map(timed, calls.values())))
    assert {result for result, _ in ended.values()} == {"EAGAIN"}
    bounds = {name: BUSY_S + (QUICK.slow_s if name in slow else QUICK.reply_s) for name in calls}
    assert {name: took_s for name, (_, took_s) in ended.items() if took_s > bounds[name]} == {}


def test_a_fault_is_for_a_reader_a_path_and_so_many_times(nodes: Nodes) -> None:
    one, two, three = nodes.start(1, 2, 3)
    (two.root / "var").mkdir()
    for name in ("f", "var/f", "var/g"):
        (two.root / name).write_text(name)
    two.faults({"do": "error", "errno": "EIO", "on": ["read"], "reader": 1, "path": "/var/*", "times": 2})
    assert three.path(2, "var/f").read_text() == two.path(2, "var/f").read_text() == "var/f"
    assert one.path(2, "f").read_text() == "f"
    assert failing(one.path(2, "var/f").read_text) == "EIO"
    assert failing(one.path(2, "var/g").read_text) == "EIO"
    assert one.path(2, "var/f").read_text() == "var/f"
    assert met(two) == [2]
    two.faults({"do": "error", "errno": "EIO", "reader": 2, "chance": 0})
    assert two.path(2, "f").read_text() == "f"
    two.faults({"do": "error", "errno": "EROFS", "on": ["rename"], "path": "/new"})
    assert failing(lambda: os.rename(one.path(2, "f"), one.path(2, "new"))) == "EROFS"
    assert failing(lambda: os.rename(one.path(1, "f"), one.path(1, "new"))) == "ENOENT"


def test_paths_of_a_node_whose_root_is_the_machines(nodes: Nodes) -> None:
    nodes.nodes[1].root = Path("/")
    (one,) = nodes.start(1)
    one.faults({"do": "error", "errno": "EIO", "on": ["lookup", "opendir"], "path": "/tmp"})
    assert failing(lambda: os.stat(one.path(1, "tmp"))) == "EIO"
    assert os.stat(one.path(1, "usr")).st_size == os.stat("/usr").st_size
    one.faults({"do": "error", "errno": "EIO", "on": ["opendir"], "path": "/"})
    assert failing(lambda: os.listdir(one.path(1))) == "EIO"
    assert os.listdir(one.path(1, "usr")) != []


def test_delay(owner: MfsNode, seen: Path) -> None:
    owner.faults({"do": "delay", "seconds": 0.3, "on": ["read"]})
    result, took_s = timed((seen / "f").read_bytes)
    assert result == "ok"
    assert took_s >= 0.3
    owner.faults({"do": "delay", "seconds": 0.1}, {"do": "delay", "seconds": 0.2, "on": ["unlink"]})
    result, took_s = timed(lambda: os.unlink(seen / "gone"))
    assert took_s >= 0.3
    assert failing(lambda: os.unlink(seen / "gone")) == "ENOENT"


def test_what_hangs_is_one_operation_and_not_its_node(owner: MfsNode, seen: Path) -> None:
    owner.faults({"do": "hang", "path": "/f", "on": ["read"]})
    with (seen / "f").open("rb") as file:
        assert timed(lambda: os.pread(file.fileno(), 1, 0))[0] == "EAGAIN"
    result, took_s = least((seen / "gone").read_bytes)
    assert (result, took_s < AT_ONCE_S) == ("ok", True)


def test_a_delay_beyond_the_bound_is_a_failure_that_happened(owner: MfsNode, seen: Path) -> None:
    owner.faults({"do": "delay", "seconds": QUICK.reply_s + 0.3, "on": ["write"]})
    assert timed(lambda: append(seen / "f", b"A"))[0] == "EAGAIN"
    owner.faults()
    assert (seen / "f").read_bytes() == b"0123456789A"
    assert append(seen / "f", b"B") == 1


def test_an_answer_that_comes_too_late_leaves_nothing_open(owner: MfsNode, seen: Path) -> None:
    made = owner.root / "made"
    owner.faults({"do": "delay", "seconds": QUICK.reply_s + 0.2, "on": ["create"]})
    assert failing((seen / "made").touch) == "EAGAIN"
    wait_until(lambda: descriptors_on(made, owner) <= 1)


@pytest.mark.parametrize(("fault", "expected"), [({"do": "error", "errno": "EIO"}, "EIO"), ({"do": "hang"}, "EAGAIN")])
def test_an_operation_that_failed_may_have_happened(
    owner: MfsNode, seen: Path, fault: dict[str, object], expected: str
) -> None:
    owner.faults({**fault, "on": ["write", "mkdir", "create"], "done": True})
    for call in (lambda: append(seen / "f", b"A"), lambda: os.mkdir(seen / "new"), (seen / "made").touch):
        assert failing(call) == expected
    owner.faults({**fault, "on": ["write", "mkdir"]})
    for call in (lambda: append(seen / "f", b"B"), lambda: os.mkdir(seen / "newer")):
        assert failing(call) == expected
    owner.faults()
    assert (seen / "f").read_bytes() == b"0123456789A"
    assert {"new", "made"} <= set(os.listdir(seen))
    assert not (seen / "newer").exists()
    assert descriptors_on(owner.root / "made", owner) <= 1, "the handle was taken back"


def test_short_reads_and_writes(owner: MfsNode, seen: Path, opened: Opener) -> None:
    owner.faults({"do": "short", "bytes": 4})
    file = opened(seen / "f", os.O_RDWR)
    assert os.read(file, 10) == b"0123"
    assert os.write(file, b"abcdef") == 4
    owner.faults()
    assert os.pread(file, 20, 0) == b"0123abcd89"
    owner.faults({"do": "short", "bytes": 1})
    assert (seen / "f").read_bytes() == b"0123abcd89", "who reads until the end gets all"


def test_torn_write(owner: MfsNode, seen: Path) -> None:
    owner.faults({"do": "torn", "bytes": 3})
    assert failing(lambda: (seen / "f").write_bytes(b"abcdef")) == "EIO"
    owner.faults({"do": "torn", "bytes": 0, "errno": "EREMOTEIO"})
    assert failing(lambda: append(seen / "f", b"abcdef")) == "EREMOTEIO"
    assert (seen / "f").read_bytes() == b"abc"


def test_full_disk(owner: MfsNode, seen: Path, opened: Opener) -> None:
    owner.faults({"do": "full", "bytes": 4})
    file = opened(seen / "f", os.O_RDWR)
    assert os.pwrite(file, b"abc", 0) == 3, "no room is needed where there is something"
    assert os.pwrite(file, b"ABCD", 8) == 4
    assert os.pwrite(file, b"XYZ", 12) == 2
    assert failing(lambda: os.pwrite(file, b"Z", 14)) == "ENOSPC"
    assert failing(lambda: os.mkdir(seen / "m")) == "ENOSPC"
    assert failing((seen / "c").touch) == "ENOSPC"
    assert os.pread(file, 20, 0) == b"abc34567ABCDXY"
    os.unlink(seen / "gone")
    owner.faults()
    (seen / "c").touch()


def test_stale_attributes(owner: MfsNode, seen: Path) -> None:
    owner.faults({"do": "stale", "seconds": 60, "path": "/f"})
    assert os.stat(seen / "f").st_size == 10
    with (owner.root / "f").open("ab") as file:
        file.write(b"more")
    assert os.stat(seen / "f").st_size == 10
    owner.faults({"do": "stale", "seconds": 0.05})
    assert os.stat(seen / "f").st_size == 14
    with (owner.root / "f").open("ab") as file:
        file.write(b"more")
    time.sleep(0.1)
    assert os.stat(seen / "f").st_size == 18


def test_what_was_not_synced_is_lost_with_the_power(pair: list[MfsNode], nodes: Nodes) -> None:
    one, two = pair
    make(two.root)
    two.faults({"do": "unsynced"})
    seen = one.path(2)
    with (seen / "f").open("r+b", buffering=0) as file:
        file.write(b"kept")
        os.fsync(file.fileno())
        file.write(b"LOST")
        file.truncate(6)
    for name, flag in (("sync", os.O_SYNC), ("dsync", os.O_DSYNC)):
        with open(os.open(seen / name, os.O_CREAT | os.O_WRONLY | flag), "wb", buffering=0) as file:
            file.write(b"kept")
    (seen / "gone").write_bytes(b"LOST")
    (seen / "new").write_bytes(b"LOST")
    os.rename(seen / "new", seen / "moved")
    assert (seen / "f").read_bytes() == b"keptLO"
    assert (seen / "moved").read_bytes() == b"LOST"
    two.stop(signal.SIGKILL)
    two.start(nodes.table, boot="second")
    assert (two.root / "f").read_bytes() == b"kept456789"
    assert (two.root / "sync").read_bytes() == (two.root / "dsync").read_bytes() == b"kept"
    assert (two.root / "gone").read_bytes() == b"0123456789"
    assert (two.root / "moved").read_bytes() == b"", "the name was made, its content was not synced"
    two.stop(signal.SIGKILL)
    two.start(nodes.table, boot="third")
    assert (two.root / "f").read_bytes() == b"kept456789"


def test_what_is_synced_after_a_restart_of_the_daemon_is_not_lost(pair: list[MfsNode], nodes: Nodes) -> None:
    """The machine goes on, the fault does not: nobody would note any more what is synced."""
    one, two = pair
    two.faults({"do": "unsynced"})
    seen = one.path(2, "f")
    seen.write_bytes(b"written")
    two.stop(signal.SIGKILL)
    two.start(nodes.table)
    assert seen.read_bytes() == b"written"
    with seen.open("r+b", buffering=0) as file:
        file.write(b"KEPT")
        os.fsync(file.fileno())
    two.stop(signal.SIGKILL)
    two.start(nodes.table, boot="second")
    assert seen.read_bytes() == b"KEPTten"


AS_100 = """import os, sys
os.setgroups([]); os.setgid(100); os.setuid(100); os.chdir(sys.argv[1])
with open("new", "w") as file:
    file.write("kept"); file.flush(); os.fsync(file.fileno()); file.write("LOST")
os.rename("new", "old"); os.unlink("old")
with open("mine", "w") as file:
    file.write("LOST")
"""


def test_who_is_not_root_can_lose_data_too(pair: list[MfsNode], nodes: Nodes) -> None:
    one, two = pair
    (two.root / "free").mkdir()
    (two.root / "free").chmod(0o777)
    two.faults({"do": "unsynced"})
    subprocess.run([sys.executable, "-c", AS_100, one.path(2, "free")], check=True)
    two.stop(signal.SIGKILL)
    two.start(nodes.table, boot="second")
    assert os.listdir(two.root / "free") == ["mine"]
    assert (two.root / "free/mine").read_bytes() == b""


def test_without_the_fault_everything_counts_as_synced(pair: list[MfsNode], nodes: Nodes) -> None:
    one, two = pair
    two.faults({"do": "unsynced"})
    one.path(2, "f").write_bytes(b"kept")
    two.faults()
    two.stop(signal.SIGKILL)
    two.start(nodes.table, boot="second")
    assert (two.root / "f").read_bytes() == b"kept"


def test_a_wrong_list_changes_nothing_and_says_why(pair: list[MfsNode]) -> None:
    two = pair[1]
    two.faults({"do": "error", "errno": "EIO", "on": ["read"], "path": "/none"})
    for wrong in ("{", '[{"do": "explode"}]', '[{"do": "delay"}]'):
        assert failing(partial((two.control / "faults").write_text, wrong)) == "EINVAL"
    assert met(two) == [0]
    log = two.log.read_text()
    assert "MFS: not JSON" in log
    assert "MFS: fault 1: do is one of delay, error" in log
    assert "MFS: fault 1: delay needs seconds" in log
