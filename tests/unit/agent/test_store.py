"""The agent's directory on a real disk."""

from __future__ import annotations

import errno
import itertools
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from mosha.platform.mountinfo import Mount
from mosha.platform.store import LocalStore


def test_a_directory_is_made_and_a_missing_file_is_none(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "var/mosix-ha")
    assert store.list() == []
    assert store.read("beat", 10) is None
    store.remove("beat")


def test_a_read_is_bounded_and_shows_that_there_is_more(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.replace("cltab", b"0123456789")
    assert store.read("cltab", 10) == b"0123456789"
    assert store.read("cltab", 4) == b"01234"


@pytest.mark.parametrize("writes", [False, True])
def test_what_is_no_file_holds_nobody_up(tmp_path: Path, writes: bool) -> None:
    """In a process of its own, as it would be held up itself."""
    store = LocalStore(tmp_path)
    os.mkfifo(tmp_path / "hactl")
    (tmp_path / "cltab").mkdir()
    with pytest.raises(IsADirectoryError, match=f"{tmp_path}/cltab"):
        store.read("cltab", 10)
    writer = os.open(tmp_path / "hactl", os.O_RDWR) if writes else None
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        reason = ""
        try:
            store.read("hactl", 10)
        except OSError as error:
            reason = str(error.strerror)
        os._exit(0 if reason == "not a regular file" and not store.is_being_written("hactl") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    if writer is not None:
        os.close(writer)


@pytest.mark.parametrize("durable", [False, True])
def test_whoever_has_a_file_open_keeps_the_old_one_when_it_is_replaced(tmp_path: Path, durable: bool) -> None:
    store = LocalStore(tmp_path)
    store.replace("hactl", b"old", durable)
    with open(tmp_path / "hactl", "rb") as reader:
        store.replace("hactl", b"new", durable)
        assert reader.read() == b"old"
    assert store.read("hactl", 10) == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["hactl"]


def test_a_write_goes_over_the_beginning_of_the_same_file(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("beat", b"abcdef")
    with open(tmp_path / "beat", "rb") as reader:
        store.write("beat", b"XY")
        assert reader.read() == b"XYcdef"


def test_names_change_and_go(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.replace("hactl", b"1")
    store.replace("hactl.previous", b"0")
    store.rename("hactl", "hactl.previous")
    assert store.list() == ["hactl.previous"]
    assert store.read("hactl.previous", 10) == b"1"
    with pytest.raises(FileNotFoundError):
        store.rename("hactl", "hactl.previous")
    store.remove("hactl.previous")
    (tmp_path / ".hactl.new").touch()
    assert store.list() == []


@pytest.mark.parametrize("durable", [False, True])
def test_what_is_removed_for_good_is_so_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    store = LocalStore(tmp_path)
    store.write("order", b"{}")
    assert store.remove("order", durable)
    assert synced == [str(tmp_path)] * durable
    assert not store.remove("order", durable)


@pytest.mark.parametrize(("mode", "is_written"), [("a", True), ("r+", True), ("r", False)])
def test_who_has_a_file_open_to_write_is_seen(tmp_path: Path, mode: str, is_written: bool) -> None:
    store = LocalStore(tmp_path)
    store.replace("one", b"text")
    assert not store.is_being_written("one")
    with open(tmp_path / "one", mode):
        assert store.is_being_written("one") == is_written
    assert not store.is_being_written("one")
    with open(tmp_path / "one", "a") as stream:      # nobody is held up, and nothing is left
        stream.write(" and more")
    assert [file.name for file in tmp_path.iterdir()] == ["one"]
    assert not store.is_being_written("none"), "it may have been removed since it was read"


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EINVAL, errno.EACCES])
def test_where_leases_are_refused_whatever_is_open_nobody_is_said_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int,
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, "refused")

    store = LocalStore(tmp_path)
    store.replace("one", b"text")
    monkeypatch.setattr("mosha.platform.store.fcntl.fcntl", refuse)
    with open(tmp_path / "one", "a"):
        assert not store.is_being_written("one")


@pytest.mark.parametrize(("kind", "is_written"), [("nfs4", False), ("nfs", False), ("ext4", True), (None, True)])
def test_on_nfs_nobody_is_said_to_write_as_leases_hang_on_delegations_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str | None, is_written: bool,
) -> None:
    """The server may have delegated the file that was just made, and not the table."""
    def mounts() -> list[Mount]:
        if kind is None:
            raise FileNotFoundError(errno.ENOENT, "no /proc/self/mountinfo")
        device = os.stat(tmp_path).st_dev
        return [
            Mount(1, 0, "0:9999", "/other", "nfs4", "server:/other"),
            Mount(2, 1, f"{os.major(device)}:{os.minor(device)}", "/", kind, "server:/here"),
        ]

    monkeypatch.setattr("mosha.platform.mountinfo.read", mounts)
    store = LocalStore(tmp_path)
    store.replace("one", b"text")
    with open(tmp_path / "one", "a"):
        assert store.is_being_written("one") == is_written


@pytest.mark.parametrize("number", [None, errno.EPERM, errno.EOPNOTSUPP])
def test_what_is_supplanted_lies_aside_also_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    store = LocalStore(tmp_path)
    if number is not None:
        monkeypatch.setattr(os, "link", partial(_fails, number))
    assert store.supplant("cltab", b"1", "cltab.previous")
    assert store.supplant("cltab", b"2", "cltab.previous")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"cltab": b"2", "cltab.previous": b"1"}


@pytest.mark.parametrize("number", [None, errno.EPERM])
def test_what_is_saved_at_that_instant_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    store, genuine = LocalStore(tmp_path), os.link
    store.replace("cltab", b"1")

    def link(source: Path, target: Path) -> None:
        LocalStore(tmp_path, "another").replace(target.name, b"saved")
        if number is not None:
            _fails(number)
        genuine(source, target)

    monkeypatch.setattr(os, "link", link)
    assert not store.supplant("cltab", b"2", "cltab.previous")
    assert store.read("cltab", 10) == b"saved"
    assert store.read("cltab.previous", 10) == b"1"


def test_what_cannot_be_supplanted_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no links, and the disk takes nothing."""
    store = LocalStore(tmp_path)
    store.replace("cltab", b"1")
    genuine, calls = os.fsync, itertools.count()
    monkeypatch.setattr(os, "link", partial(_fails, errno.EPERM))
    monkeypatch.setattr(os, "fsync", lambda fd: _fails(errno.ENOSPC) if next(calls) == 1 else genuine(fd))
    with pytest.raises(OSError, match="No space left"):
        store.supplant("cltab", b"2", "cltab.previous")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"cltab": b"1"}


def _fails(number: int, *_arguments: object) -> None:
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("is_there", [True, False])
def test_a_table_that_is_a_link_stays_one(is_there: bool, tmp_path: Path) -> None:
    """Also where it leads to nothing yet."""
    store, target = LocalStore(tmp_path / "var"), tmp_path / "etc/hactl"
    target.parent.mkdir()
    (tmp_path / "var/hactl").symlink_to("../etc/hactl")
    if is_there:
        target.write_text("old")
    assert store.supplant("hactl", b"new", "hactl.previous")
    assert store.read("hactl.previous", 9) == (b"old" if is_there else None)
    assert target.read_text() == "new"
    store.replace("hactl", b"newer", durable=True)
    assert target.read_text() == "newer"
    store.replace("other", b"newest")
    store.rename("other", "hactl")
    assert target.read_text() == "newest"
    assert os.readlink(tmp_path / "var/hactl") == "../etc/hactl"
    assert sorted(path.name for path in target.parent.iterdir()) == ["hactl"]


def test_a_table_that_is_a_link_to_another_file_system_becomes_a_file_and_that_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    store = LocalStore(tmp_path, say=said.append)
    (tmp_path / "hactl").symlink_to("/proc/self/comm")
    before = Path("/proc/self/comm").read_bytes()
    assert store.supplant("hactl", b"new", "hactl.previous")
    assert (store.read("hactl", 9), Path("/proc/self/comm").read_bytes()) == (b"new", before)
    assert os.readlink(tmp_path / "hactl.previous") == "/proc/self/comm"
    link = f"{tmp_path}/hactl was a link that leaves this file system"
    assert said == [f"{link}: it is a file now, that link hactl.previous"]
    assert store.supplant("hactl", b"newer", "hactl.previous")
    assert len(said) == 1
