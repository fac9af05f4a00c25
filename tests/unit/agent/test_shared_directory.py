"""A directory that machines share in the place of openMosix: what it must be, and whole agents on it as processes."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mosha import check, config
from mosha.config import Config
from mosha.platform.mountinfo import Window, parse_windows
from mosha.platform.shared_directory import SharedDirectory, judged, read_map
from mosha.tables.errors import TableErrors
from tests.unit.agent.pidspace import ENDS_WITH_US, OF_ITS_OWN
from tests.unit.agent.test_agent import Cluster

HERE = socket.gethostname()


def shared(directory: Path, mynode: int = 1) -> Config:
    return config.parse(f"platform = shared-directory\nshared = {directory}/\nmynode = {mynode}\n")


def test_a_node_has_its_directory_there_and_nothing_of_openmosix(tmp_path: Path) -> None:
    found = shared(tmp_path, 3)
    assert (str(found.var), found.directory(2)) == (f"{tmp_path}/3", f"{tmp_path}/2")
    assert found.lock_path == "", "no process is pinned"


@pytest.mark.parametrize(("text", "problem"), [
    ("platform = nfs", "x:1: platform must be openmosix or shared-directory, got 'nfs'"),
    ("platform = shared-directory\nmynode = 1", "x:1: platform = shared-directory needs shared = DIRECTORY"),
    ("shared = /d\nplatform = shared-directory", "x:2: platform = shared-directory needs shared = DIRECTORY and my"),
    ("mynode = 1\nshared = /d", "x:2: shared is for platform = shared-directory"),
    ("platform = shared-directory\nmynode = 1\nshared = d", "x:3: shared must be an absolute path, got 'd'"),
])
def test_settings_that_do_not_fit(text: str, problem: str) -> None:
    with pytest.raises(TableErrors) as raised:
        config.parse(text, "x")
    assert problem in str(raised.value)


def test_the_map_gives_each_number_to_one_host(tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text(f"# ours\n2 {HERE}  # here\n\n1 beta\n")
    assert read_map(str(tmp_path)) == {1: "beta", 2: HERE}
    assert SharedDirectory(shared(tmp_path, 2)).nodes() == [1, 2]
    assert SharedDirectory(shared(tmp_path, 2)).whois() == 2
    with pytest.raises(OSError, match=f"node 1 is the host beta, and this is {HERE}"):
        SharedDirectory(shared(tmp_path, 1)).whois()


def test_where_nothing_is_mounted_there_is_no_map(tmp_path: Path) -> None:
    for task in (SharedDirectory(shared(tmp_path)).whois, SharedDirectory(shared(tmp_path)).nodes):
        with pytest.raises(FileNotFoundError):
            task()


@pytest.mark.parametrize(("text", "problem"), [
    ("1 a\n1 b\n", "nodes:2: node 1 or host b is there twice"), ("1 a\n2 a\n", "nodes:2: node 2 or host a"),
    ("1\n", "nodes:1: expected `NUMBER HOSTNAME`"), ("a 1\n", "nodes:1: expected"), ("0 a\n", "nodes:1: expected"),
    ("#" * 70000, "nodes is over 65536 bytes"),
])
def test_a_map_with_a_mistake_is_none(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "nodes").write_text(text)
    with pytest.raises(OSError, match=problem):
        read_map(str(tmp_path))


def mounts(options: str, kind: str = "nfs4") -> list[Window]:
    return parse_windows(
        b"20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        b"30 20 0:40 / /srv rw - tmpfs none rw\n"
        b"40 30 0:41 /export /srv/ha rw,relatime - %s server:/export %s\n" % (kind.encode(), options.encode())
    )


GOOD = "rw,sync,vers=4.2,acregmin=0,acregmax=0,noac,lookupcache=none,hard"


@pytest.mark.parametrize(("kind", "options", "problem"), [
    ("nfs4", GOOD, ""), ("ceph", "rw", ""), ("gfs2", "rw", ""),
    ("nfs4", "rw,vers=4.2,hard", "on NFS without noac, lookupcache=none: what is read may be old"),
    ("nfs4", "rw,noac,lookupcache=pos", "on NFS without lookupcache=none:"),
    ("nfs", GOOD, "on nfs: nothing is known of what its clients cache. Good are ceph"),
    ("cifs", "rw", "on cifs: nothing is known"), ("fuse.sshfs", "rw", "on fuse.sshfs: nothing"),
    ("9p", "rw", "on 9p: nothing"),
])
def test_what_a_group_would_run_twice_on_is_refused(kind: str, options: str, problem: str) -> None:
    found = judged(mounts(options, kind), "/srv/ha/mosha")
    assert (problem in found.refused) if problem else found == ("", "")


def test_the_nearest_mount_counts_and_of_two_at_one_place_the_last() -> None:
    table = mounts(GOOD)
    assert judged(table, "/srv/halt").warning == "/srv/halt is on tmpfs: only processes of this machine share it"
    assert "on ext4" in judged(table, "/home").warning
    assert "on 9p" in judged([*table, *mounts("rw", "9p")[2:]], "/srv/ha").refused
    assert "on nothing" in judged([], "/srv/ha").refused


def test_an_agent_on_a_refused_file_system_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nodes").write_text(f"1 {HERE}\n")
    told = check.Found([], [])
    check.platform(shared(tmp_path), told)
    assert (len(told.problems), len(told.warnings)) == (0, 1), "tests are on one machine"
    (tmp_path / "nodes").unlink()
    check.platform(shared(tmp_path), told)
    assert told.problems.pop() == f"{tmp_path}/nodes: No such file or directory"
    (tmp_path / "nodes").write_text(f"1 {HERE}\n")
    where = b"20 1 8:1 / / rw - cifs //server/share rw\n"
    monkeypatch.setattr("mosha.platform.mountinfo.windows", lambda: parse_windows(where))
    with pytest.raises(OSError, match="on cifs") as raised:
        SharedDirectory(shared(tmp_path)).whois()
    assert raised.value.errno == errno.EINVAL
    check.platform(shared(tmp_path), told)
    assert "on cifs" in told.problems[0]


def test_what_is_written_is_written_through_whatever_was_read(tmp_path: Path) -> None:
    """Rule 4: the flag is what keeps a client of NFS from writing a whole page."""
    (tmp_path / "1").mkdir()
    handle = SharedDirectory(shared(tmp_path))._files._system.open(1, "slots", True, True)
    try:
        flags = int(Path(f"/proc/self/fdinfo/{handle}").read_text().split("flags:")[1].split()[0], 8)
        assert flags & os.O_DSYNC
    finally:
        os.close(handle)


class Nodes(Cluster):
    """Three hosts, each a PID and a UTS namespace with an own run directory; all that they share is one directory."""

    def __init__(self, root: Path) -> None:
        self.shared = root / "shared"
        super().__init__(root, 3, stomith=False)
        (self.shared / "nodes").write_text("".join(f"{node} host{node}\n" for node in range(1, 4)))

    def settings(self, node: int) -> str:
        return f"platform=shared-directory\nshared={self.shared}\nmynode={node}\n"

    def var(self, node: int) -> Path:
        return self.shared / str(node)

    def launcher(self, node: int) -> list[str]:
        inside = f"hostname host{node} && exec {' '.join(OF_ITS_OWN)} \"$@\""
        return [*ENDS_WITH_US, "unshare", "--uts", "sh", "-c", inside, "sh"]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path)
    nodes.start()
    yield nodes
    nodes.end()
    nodes.check_never_twice()


def test_a_group_moves_when_its_node_is_killed_and_once_only(nodes: Nodes) -> None:
    owner = nodes.wait_running("web", asked=1)
    others = [node for node in (1, 2, 3) if node != owner]
    nodes.power_off(owner)
    second = nodes.wait_running("web", asked=others[0], other_than=owner)
    third = next(node for node in others if node != second)
    nodes.power_off(second)
    nodes.until(lambda: nodes.owner("web", third) == third, "one is enough: its majority is of directories")
    nodes.until(lambda: nodes.ticks()[-1].startswith(f"{third} "), "the last one left runs it")
    nodes.start(owner)
    nodes.until(lambda: nodes.page(owner).get("quorum") is True, "a node is back")
    nodes.until(lambda: nodes.owner("web", owner) == third, "it sees that the group has not moved")


def test_an_agent_that_cannot_reach_the_directory_ends_its_group_by_its_lease(nodes: Nodes) -> None:
    """Stopped: as one that hangs in a call to the file server. Its leash ends the group."""
    owner = nodes.wait_running("web", asked=1)
    os.kill(nodes.agent_pid(owner), signal.SIGSTOP)
    asked = 1 + owner % 3
    other = nodes.wait_running("web", asked=asked, other_than=owner)
    os.kill(nodes.agent_pid(owner), signal.SIGCONT)
    nodes.until(lambda: nodes.page(owner).get("quorum") is True, "it has a lease again")
    nodes.until(lambda: nodes.owner("web", owner) == other, "and leaves the group where it is")


def test_a_host_with_the_number_of_another_waits_and_says_so(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path)
    (nodes.shared / "nodes").write_text("1 alpha\n2 host2\n3 host3\n")
    nodes.start(1)
    try:
        said, log = "node 1 is the host alpha, and this is host1", tmp_path / "1/log"
        nodes.until(lambda: said in log.read_text(), "it says so")
        shown = subprocess.run(
            [sys.executable, *nodes.agent(1), "status"], capture_output=True, text=True, check=False,
        )
        assert "node 1 is the host alpha" in shown.stdout + shown.stderr
        assert not (nodes.var(1) / "voter").exists(), "nothing was begun"
    finally:
        nodes.end()
