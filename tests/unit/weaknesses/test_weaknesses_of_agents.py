"""Weaknesses of OpenMosix::HA 0.555 that only real processes show, by the numbers of docs/weaknesses.md."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mosha.lives import Life
from mosha.platform.store import LocalStore
from tests.unit.agent.test_agent import Cluster

LIMIT_S = 60.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three agents; leases end, and nobody shoots."""
    cluster = Cluster(tmp_path, 3, stomith=False)
    yield cluster
    cluster.end()
    cluster.check_never_twice()


def goes_on(cluster: Cluster, owner: int, ticks: int = 100) -> None:
    """The group runs on where it runs, in its epoch: none of its processes was started anew."""
    cluster.until(lambda: bool(cluster.ticks()), "the group has shown that it runs")
    before = cluster.ticks()
    cluster.until(lambda: len(cluster.ticks()) > len(before) + ticks, "the group goes on")
    assert set(cluster.ticks()[len(before) - 1:]) == {before[-1]}
    assert cluster.wait_running("web", asked=owner) == owner


def test_w02_f10_a_missing_program_in_a_new_group_harms_no_other(cluster: Cluster) -> None:
    """Also row 10 of the table of bad input: it is FAILED where it was tried, on one node after the other."""
    cluster.start()
    owner = cluster.wait_running("web", asked=1)
    with open(cluster.var(2) / "cltab", "a", encoding="ascii") as table:
        table.write("new:new-run:start:respawn:/no/such/program\n")
    with open(cluster.var(2) / "hactl", "a", encoding="ascii") as table:
        table.write("new start\n")
    cluster.until(lambda: sum(
        "new: start failed here" in (cluster.root / f"{node}/log").read_text() for node in (1, 2, 3)
    ) >= 2, "it fails, here and there")
    goes_on(cluster, owner)


def test_w09_f13_an_agent_whose_log_nobody_reads_goes_on(cluster: Cluster) -> None:
    """A pipe that is full, where a supervisor should read; and one that is closed."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    try:
        while True:
            os.write(write_end, b"x" * 65536)
    except BlockingIOError:
        os.set_blocking(write_end, True)
    cluster.start(log=write_end)
    owner = cluster.wait_running("web", asked=1)
    cluster.mosha(1, "voters", "forget")             # something to say
    goes_on(cluster, owner)
    os.close(read_end)
    os.close(write_end)
    for _ in range(3):
        cluster.mosha(1, "voters", "forget")
    goes_on(cluster, owner)


def test_w09_at_rest_nothing_is_logged(cluster: Cluster) -> None:
    cluster.start()
    owner = cluster.wait_running("web", asked=1)
    cluster.until(lambda: cluster.owner("job", 1) is not None, "both run")
    goes_on(cluster, owner)
    before = [(cluster.root / f"{node}/log").read_text() for node in (1, 2, 3)]
    goes_on(cluster, owner, 300)
    new = [(cluster.root / f"{n}/log").read_text()[len(text):] for n, text in zip((1, 2, 3), before)]
    assert [line for line in "".join(new).splitlines() if "late by" not in line] == []


def test_w24_f14_an_agent_whose_directory_is_removed_goes_on(cluster: Cluster) -> None:
    """Also row 14: on the owner, and once more with other files where its own should be."""
    cluster.start()
    owner = cluster.wait_running("web", asked=1)
    cluster.var(owner).rename(cluster.root / "removed")
    goes_on(cluster, owner)
    cluster.until((cluster.var(owner) / "hastat.json").exists, "the directory is there again")
    cluster.until((cluster.var(owner) / "voter").exists, "its voter recovers")
    for name in ("clstat", "hastat", "order", "beat", "cltab", "hactl"):
        path = cluster.var(owner) / name
        path.unlink(missing_ok=True)
        path.mkdir()
        (path / "file").touch()
    goes_on(cluster, owner)


@pytest.mark.parametrize("name", ["voter", "state", "counted", "order", "founded", "beat", "clstat", "hastat",
                                  "hastat.json", "cltab.version", "hactl.version", "hactl.good", "cltab", "hactl"])
def test_w24_garbage_in_any_file_of_the_owner_stops_nothing(garbled: Cluster, name: str) -> None:
    """One after the other, in one cluster: a disk may do so to one node at a time."""
    owner = garbled.wait_running("web", asked=1)
    for content in (b"", b"\0" * 5000, b"\xff\xfe[[[[{{", b"[1e999, null, {}]\n" * 300):
        (garbled.var(owner) / name).write_bytes(content)
        goes_on(garbled, owner, 15)


STRANGE: tuple[Callable[[Path], object], ...] = (Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/nowhere/at/all"))


def spoil(path: Path, strange: Callable[[Path], object] | None) -> None:
    """Something that is no file in its place; None: nothing is left of that."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    if strange is not None:
        strange(path)


@pytest.mark.parametrize("name", [
    "voter", "state", "counted", "order", "drained", "founded", "beat", "clstat", "hastat", "hastat.json", "history",
    "cltab.version", "hactl.good", "cltab.previous", ".hastat.json.new", ".voter.new", "slots", "journal",
])
def test_w24_what_is_no_file_in_the_place_of_any_of_the_owner_stops_nothing(garbled: Cluster, name: str) -> None:
    owner = garbled.wait_running("web", asked=1)
    like = {"slots": "[0-9]*.slots.0", "journal": f"[0-9]*.j.{owner}.*"}.get(name, name)
    for strange in STRANGE:
        path = max(garbled.var(owner).glob(like), default=garbled.var(owner) / name)
        spoil(path, strange)
        goes_on(garbled, owner, 15)
        spoil(path, None)


def left(cluster: Cluster) -> int:
    """The agent of node 1 ends in order once its group runs; how many ticks there were by then."""
    cluster.wait_running("web", asked=1)
    os.kill(cluster.agent_pid(1), signal.SIGTERM)
    assert cluster.processes.pop(1).wait(timeout=LIMIT_S) == 0
    return len(cluster.ticks())


@pytest.mark.parametrize("strange", STRANGE, ids=["directory", "fifo", "dangling"])
def test_w24_what_is_no_file_holds_up_no_start(strange: Callable[[Path], object], tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1, stomith=False, voters=(1,))
    cluster.start()
    try:
        before = left(cluster)
        for name in ("state", "counted", "drained", "history", "order", "beat", "clstat", "hastat.json", ".state.new"):
            spoil(cluster.var(1) / name, strange)
        spoil(tmp_path / "1/run/units", strange)
        cluster.start()
        cluster.until(lambda: len(cluster.ticks()) > before + 15, "the group runs again")
        assert (cluster.var(1) / "state").is_file()
    finally:
        cluster.end()


def _huge(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(100 << 20)


CONTENTS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""), "binary": lambda path: path.write_bytes(bytes(range(256)) * 300),
    "huge": _huge, "JSON": lambda path: path.write_bytes(b"[1e999, null, {}]\n" * 300),
    "brackets": lambda path: path.write_bytes(b"[" * 100_000), "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("content", [
    "binary", *(pytest.param(one, marks=pytest.mark.long) for one in CONTENTS if one != "binary"),
])
def test_w24_garbage_in_its_files_holds_up_no_start(content: str, tmp_path: Path) -> None:
    """All at once, but for the marker, without which a voter recovers, and the one good copy of each table."""
    cluster = Cluster(tmp_path, 1, stomith=False, voters=(1,))
    cluster.start()
    try:
        before = left(cluster)
        for name in (
            "state", "counted", "history", "order", "founded", "beat", "clstat", "hastat", "hastat.json", "agents",
            "cltab", "hactl", "cltab.version", "hactl.version", "cltab.previous", "hactl.edit", "cltab.aside",
            "stomith.log", ".state.new", ".commands",
        ):
            spoil(cluster.var(1) / name, CONTENTS[content])
        for name in ("run/units", "run/life.lock"):
            spoil(tmp_path / "1" / name, CONTENTS[content])
        cluster.start()
        cluster.until(lambda: len(cluster.ticks()) > before + 15, "the group runs again")
        assert cluster.mosha(1, "check") == (content != "empty"), "an empty one is none"
    finally:
        cluster.end()


@pytest.mark.parametrize("name", ["cltab", "hactl", "order"])
def test_w24_a_fifo_in_the_place_of_a_file_holds_up_nobody(garbled: Cluster, name: str) -> None:
    owner = garbled.wait_running("web", asked=1)
    path = garbled.var(owner) / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    goes_on(garbled, owner, 15)
    path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def garbled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("garbled"), 3, stomith=False)
    cluster.start()
    yield cluster
    cluster.end()
    cluster.check_never_twice()


def test_w29_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        LocalStore(tmp_path / "file/var")
    with pytest.raises(OSError, match="Not a directory"):
        Life(str(tmp_path / "file/run"))
    conf = tmp_path / "conf"
    conf.write_text(f"root={tmp_path}/file\nrundir={tmp_path}/run\nmynode=1\n")
    ended = subprocess.run([sys.executable, "-m", "mosha", "--config", conf], capture_output=True, text=True,
                           timeout=LIMIT_S, check=False)
    assert (ended.returncode, "Not a directory" in ended.stderr) == (1, True)


def test_w29_a_file_that_a_start_cannot_have_is_named(tmp_path: Path) -> None:
    (tmp_path / "run/agent.lock").mkdir(parents=True)
    conf = tmp_path / "conf"
    conf.write_text(f"root={tmp_path}\nrundir={tmp_path}/run\nmynode=1\n")
    ended = subprocess.run([sys.executable, "-m", "mosha", "--config", conf], capture_output=True, text=True,
                           timeout=LIMIT_S, check=False)
    assert ended.returncode == 1
    assert ended.stderr == f"mosha: {tmp_path}/run/agent.lock: Is a directory\n"


def test_w05_an_agent_that_is_killed_and_restarted_has_one_instance(cluster: Cluster) -> None:
    """The next life takes over what its leashes hold, or begins when nothing of that is left."""
    cluster.start()
    owner = cluster.wait_running("web", asked=1)
    os.kill(cluster.agent_pid(owner), signal.SIGKILL)
    cluster.processes.pop(owner).wait(timeout=LIMIT_S)
    cluster.start(owner)
    before = len(cluster.ticks())
    cluster.until(lambda: len(cluster.ticks()) > before + 100, "somebody runs it")
