"""What lies in the place of a file and is none; in the agent's own directory, on a real disk."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from mosha.platform.store import STRANGE_MAX, LocalStore


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "something").touch()


def _link(target: str) -> Callable[[Path], Any]:
    return lambda path: path.symlink_to(target)


STRANGE: dict[str, Callable[[Path], Any]] = {
    "directory": _directory, "fifo": os.mkfifo, "dangling": _link("/nowhere/at/all"),
    "loop": _link("state"), "link to a directory": _link("/"), "link to a device": _link("/dev/zero"),
}
def _read(store: LocalStore) -> None:
    assert store.read("state", 10) is None
    store.replace("state", b"new")


def _rename(store: LocalStore) -> None:
    store.replace("other", b"new")
    store.rename("other", "state")


def _remove(store: LocalStore) -> None:
    store.remove("state")
    store.replace("state", b"new")


def _supplant(store: LocalStore) -> None:
    store.replace("cltab", b"new")
    store.supplant("cltab", b"newer", "state")


USES: dict[str, Callable[[LocalStore], None]] = {
    "read": _read, "replace": lambda store: store.replace("state", b"new"),
    "durably": lambda store: store.replace("state", b"new", durable=True),
    "write": lambda store: store.write("state", b"new"), "rename": _rename, "remove": _remove, "supplant": _supplant,
}


@pytest.fixture(autouse=True)
def _soon() -> Iterator[None]:
    """Nobody waits for the other end of a FIFO."""
    signal.alarm(20)
    yield
    signal.alarm(0)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_file_is_put_aside_and_the_file_is_there(kind: str, use: str, tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    STRANGE[kind](tmp_path / "state")
    USES[use](store)
    assert (tmp_path / "state").read_bytes() == b"new"
    assert not os.path.islink(tmp_path / "state")
    aside = tmp_path / ".state.strange-0"
    if kind == "directory":
        assert (aside / "something").exists()
    assert store.list() == ["cltab", "state"] if use == "supplant" else ["state"]


@pytest.mark.parametrize("kind", STRANGE)
def test_it_is_put_aside_where_a_new_content_is_made(kind: str, tmp_path: Path) -> None:
    STRANGE[kind](tmp_path / ".state.new")
    LocalStore(tmp_path).replace("state", b"new", durable=True)
    assert (tmp_path / "state").read_bytes() == b"new"
    assert not os.path.islink(tmp_path / "state")


def test_it_is_said_and_there_is_a_bound(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = LocalStore(tmp_path)
    for number in range(STRANGE_MAX):
        (tmp_path / "state").mkdir()
        assert store.read("state", 10) is None
        assert caplog.messages[-1] == f"{tmp_path}/state was no file: that is {tmp_path}/.state.strange-{number} now"
    (tmp_path / "state").mkdir()
    with pytest.raises(IsADirectoryError, match=f"{tmp_path}/state"):
        store.read("state", 10)


@pytest.mark.parametrize("table", ["cltab", "hactl"])
def test_a_table_is_left_as_people_have_it(table: str, tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    (tmp_path / table).mkdir()
    with pytest.raises(IsADirectoryError):
        store.read(table, 10)
    with pytest.raises(IsADirectoryError):
        store.replace(table, b"new")
    assert (tmp_path / table).is_dir()
    (tmp_path / "file").write_bytes(b"all")
    (tmp_path / "beat").symlink_to("file")
    assert store.read("beat", 10) == b"all", "a link to a file is one"
