"""Plans on real directories: descriptors are held, and never trusted for longer than their file is there."""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from mosha.ownership import journal, marker
from mosha.platform import files, plans
from mosha.platform.files import Files, Posix
from mosha.platform.store import LocalStore

ERA = "1-00000001"
NODE = 3
IDENTITY = "1.1." + "a" * 32


STRANGE: dict[str, Callable[[Path], Any]] = {
    "fifo": os.mkfifo, "directory": Path.mkdir, "device": lambda path: path.symlink_to("/dev/zero"),
    "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
}


class Scene:
    def __init__(self, base: Path) -> None:
        self.directory = base / str(NODE)
        self.directory.mkdir()
        self.files = Files(Posix(lambda node: str(base / str(node))))

    def exchange(self, append: list[Any] | None = None, slots: list[Any] | None = None) -> Any:
        return self.files.carry_out(NODE, plans.exchange(append, slots, ["s"], None, ERA, []))

    def mark(self) -> Any:
        return self.files.carry_out(NODE, plans.mark())

    def replace(self, name: str, content: str) -> None:
        (self.directory / "new").write_text(content)
        (self.directory / "new").rename(self.directory / name)

    def wipe(self) -> None:
        for file in self.directory.iterdir():
            file.unlink()

    def held(self) -> list[str]:
        """The files of the node that this process has open."""
        links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists() or link.is_symlink()]
        return sorted(link for link in links if link.startswith(f"{self.directory}/"))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.files.drop_all(NODE)
    assert not scene.held()


def test_an_exchange_writes_and_reads(scene: Scene) -> None:
    (scene.directory / marker.NAME).write_text("full")
    assert scene.exchange(["j", 0, b"one"], ["s", 2, b"\xff"]) == [b"full", ["s"], [b"\0\0\xff"], [], True]
    assert scene.exchange(["j", 3, b"two"]) == [b"full", ["s"], [b"\0\0\xff"], [], True]
    assert (scene.directory / "j").read_bytes() == b"onetwo"


def test_an_append_makes_no_file_that_begins_with_a_gap(scene: Scene) -> None:
    with pytest.raises(FileNotFoundError):
        scene.exchange(["j", 3, b"two"])
    assert not (scene.directory / "j").exists()


def test_what_is_not_there_reads_as_empty_and_is_found_when_it_comes(scene: Scene) -> None:
    assert scene.mark() == b""
    assert scene.exchange() == [b"", ["s"], [b""], [], True]
    (scene.directory / marker.NAME).write_text("full")
    assert scene.mark() == b"full"


def test_journals_are_read_on_from_what_is_known(scene: Scene) -> None:
    names = [f"{ERA}.j.{IDENTITY}.0", f"{ERA}.j.{IDENTITY}.1.copy.2"]
    for name in names:
        (scene.directory / name).write_text("0123456789")
    (scene.directory / f"2-00000001.j.{IDENTITY}.0").write_text("another era")
    known = [(names[0], 4)]
    assert scene.files.carry_out(NODE, plans.exchange(None, None, [], known, ERA, []))[3] == [
        [names[0], b"456789"], [names[1], b"0123456789"]
    ]
    assert scene.files.carry_out(NODE, plans.exchange(None, None, [], None, ERA, known))[3] == [[names[0], b"456789"]]
    all_of_it = [[name, b"0123456789"] for name in names]
    assert scene.files.carry_out(NODE, plans.copy(ERA, [])) == [b"", all_of_it, True]
    assert scene.files.carry_out(NODE, plans.copy(ERA, known)) == [b"", [[names[0], b"456789"], all_of_it[1]], True]


def test_what_is_read_of_journals_at_once_has_a_bound(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "READ_MAX", 25)
    names = [journal.name(ERA, IDENTITY, generation) for generation in range(5)]
    for name in names:
        (scene.directory / name).write_text("0123456789")
    for is_copy in (False, True):
        known: dict[str, int] = {}
        sizes: list[int] = []
        is_whole = False
        while not is_whole:
            asked = sorted(known.items())
            plan = plans.copy(ERA, asked) if is_copy else plans.exchange(None, None, [], asked, ERA, [])
            *_, journals, is_whole = scene.files.carry_out(NODE, plan)
            sizes.append(sum(len(data) for _, data in journals))
            for name, data in journals:
                known[name] = known.get(name, 0) + len(data)
            assert len(sizes) < 5
        assert known == dict.fromkeys(names, 10)
        assert sizes == [25, 25, 0], "one that ends with the bound may have been cut short"


def test_a_journal_that_is_gone_is_told_and_one_that_goes_meanwhile_makes_the_rest_no_whole(scene: Scene) -> None:
    gone, going, there = (journal.name(ERA, IDENTITY, generation) for generation in range(3))
    (scene.directory / there).write_text("0123456789")
    known = [(gone, 4), (there, 9)]
    asked = plans.exchange(None, None, [], known, ERA, [])
    assert scene.files.carry_out(NODE, asked)[3:] == [[[gone, None], [there, b"9"]], True]
    (scene.directory / going).write_text("x")
    plan = plans.exchange(None, None, [], known, ERA, [])
    assert next(plan) == ("list",)
    names = sorted(os.listdir(scene.directory))
    (scene.directory / going).unlink()
    result: object = names
    try:
        while True:
            step = plan.send(result)
            try:
                result = scene.files.step(NODE, step)
            except OSError as error:
                step = plan.throw(error)
                result = scene.files.step(NODE, step)
    except StopIteration as end:
        answer = end.value
    assert answer[3:] == [[[gone, None], [there, b"9"]], False]


@pytest.mark.parametrize("name", ["j", "s", journal.name(ERA, IDENTITY, 0), marker.NAME])
@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_file_is_waited_for_by_nobody(scene: Scene, kind: str, name: str) -> None:
    """Of another node, or of the own: an exchange with that voter fails at once. Who is held up ends by a signal."""
    (scene.directory / marker.NAME).write_text("full")
    (scene.directory / name).unlink(missing_ok=True)
    STRANGE[kind](scene.directory / name)
    signal.alarm(20)
    try:
        for append, slots in ((None, None), (["j", 0, b"one"], ["s", 0, b"s"])):
            known = [(journal.name(ERA, IDENTITY, 0), 0)]
            if append is None and name == "j":
                continue                             # who only reads has nothing to do with that one
            with pytest.raises(OSError, match=r"not a regular file|Is a directory|No such device"):
                scene.files.carry_out(NODE, plans.exchange(append, slots, ["s"], known, ERA, []))
            assert scene.held() == []
    finally:
        signal.alarm(0)


def test_one_slot_is_looked_at_alone(scene: Scene) -> None:
    (scene.directory / f"{ERA}.slots.1").write_bytes(bytes(64) + b"x" * 64 + b"y" * 64)
    (scene.directory / marker.NAME).write_text("full")
    assert scene.files.carry_out(NODE, plans.peek(ERA, 33)) == [b"x" * 64, b"full"]


def test_a_file_is_opened_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    (scene.directory / marker.NAME).write_text("full")
    scene.exchange(["j", 0, b"one"], ["s", 0, b"s"])
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", lambda *_: pytest.fail("opened again"))
        assert scene.exchange(["j", 3, b"two"], ["s", 0, b"t"]) == [b"full", ["s"], [b"t"], [], True]


def test_what_is_only_read_is_open_to_read_only(scene: Scene) -> None:
    """An agent asks the kernel whether somebody writes its tables; others read them."""
    store = LocalStore(scene.directory)
    (scene.directory / "s").write_text("lines\n")
    (scene.directory / marker.NAME).write_text("full")
    scene.exchange()
    assert [Path(file).name for file in scene.held()] == ["s", marker.NAME]
    assert not store.is_being_written("s")
    scene.exchange(None, ["s", 0, b"L"])
    assert [Path(file).name for file in scene.held()] == ["s", marker.NAME], "opened anew, and once"
    assert store.is_being_written("s"), "it is held to be written"
    assert scene.exchange()[2] == [b"Lines\n"]


def test_a_file_that_was_replaced_is_opened_anew(scene: Scene) -> None:
    scene.replace(marker.NAME, "full")
    assert scene.mark() == b"full"
    scene.replace(marker.NAME, "recovering")
    assert scene.mark() == b"recovering"


def test_a_file_that_was_removed_is_not_there(scene: Scene) -> None:
    scene.replace(marker.NAME, "full")
    assert scene.mark() == b"full"
    (scene.directory / marker.NAME).unlink()
    assert scene.mark() == b""


def test_what_was_written_into_removed_files_is_an_error(scene: Scene) -> None:
    scene.replace(marker.NAME, "full")
    scene.exchange(["j", 0, b"one"], ["s", 0, b"s"])
    scene.wipe()
    scene.replace(marker.NAME, "full again")
    with pytest.raises(OSError, match="was replaced") as raised:
        scene.exchange(["j", 3, b"two"], ["s", 0, b"t"])
    assert raised.value.errno == errno.ESTALE
    assert scene.exchange(["k", 0, b"two"], ["s", 0, b"t"]) == [b"full again", ["s"], [b"t"], [], True]
    assert sorted(file.name for file in scene.directory.iterdir()) == ["k", "s", marker.NAME]


def test_a_look_at_a_replaced_marker_forgets_all_files_of_the_node(scene: Scene) -> None:
    scene.replace(marker.NAME, "full")
    scene.exchange(["j", 0, b"one"], ["s", 0, b"s"])
    scene.wipe()
    scene.replace(marker.NAME, "full again")
    assert scene.mark() == b"full again"
    assert scene.held() == [f"{scene.directory}/{marker.NAME}"]
    scene.exchange(None, ["s", 0, b"t"])
    assert (scene.directory / "s").read_text() == "t"


def test_descriptors_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "HELD_MAX", 4)
    for number in range(20):
        (scene.directory / f"f{number}").write_text(str(number))
        assert scene.files.carry_out(NODE, plans.fetch(f"f{number}")) == str(number).encode()
        scene.files.carry_out(NODE, plans.fetch("f0"))
    assert len(scene.held()) <= 4
    assert f"{scene.directory}/f0" in scene.held(), "the one that was used last is kept"


def test_an_error_ends_the_plan_and_drops_the_node(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.replace(marker.NAME, "full")
    scene.exchange(["j", 0, b"one"], ["s", 0, b"s"])
    assert scene.held()

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        with pytest.raises(OSError, match="broken"):
            scene.exchange(["j", 3, b"two"])
    assert not scene.held()
    assert scene.exchange(["j", 3, b"two"])[0] == b"full"


def test_a_short_write_is_an_error(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda *_: 1)
    with pytest.raises(OSError, match="short write of j"):
        scene.exchange(["j", 0, b"one"])


def test_a_marker_is_read_once_and_then_only_asked_for_its_link(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.replace(marker.NAME, "full")
    assert scene.mark() == b"full"
    pread, calls = os.pread, []

    def counted(fd: int, length: int, offset: int) -> bytes:
        calls.append(fd)
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    assert scene.mark() == b"full"
    assert not calls
    scene.replace(marker.NAME, "recovering")
    assert scene.mark() == b"recovering"
    (scene.directory / marker.NAME).unlink()
    assert scene.mark() == b""
    scene.replace(marker.NAME, "full")
    assert scene.mark() == b"full"
    assert len(calls) == 2


@pytest.mark.parametrize("call", ["pread", "fstat"])
def test_a_rebooted_owner_is_opened_anew(scene: Scene, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    scene.replace(marker.NAME, "full")
    (scene.directory / "s").write_text("slots")
    scene.exchange()
    real, calls = getattr(os, call), []

    def stale_once(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError(errno.ESTALE, "Stale file handle")
        return real(*arguments)

    monkeypatch.setattr(os, call, stale_once)
    scene.replace(marker.NAME, "rejoining")
    assert scene.exchange()[:3] == [b"rejoining", ["s"], [b"slots"]]
    assert calls


def test_a_file_beyond_the_limit_is_an_error(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "FILE_BYTES_MAX", 10)
    (scene.directory / "cltab").write_text("x" * 11)
    with pytest.raises(OSError, match="cltab is over 10 bytes"):
        scene.files.carry_out(NODE, plans.fetch("cltab"))
