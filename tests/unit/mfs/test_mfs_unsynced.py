"""The undo of writes that were not synced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emulator.mfs.unsynced import Unsynced


class Disk:
    """A file, written through an undo log as MFS does it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "undo"
        self.file = folder / "file"
        self.undo = Unsynced(str(self.folder), "first")

    def write(self, data: bytes, offset: int, name: str = "file") -> None:
        path = self.file.with_name(name)
        self.undo.note(os.fsencode(path), offset, len(data))
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def truncate(self, size: int) -> None:
        self.undo.note_size(os.fsencode(self.file), size)
        os.truncate(self.file, size)

    def power_cut(self) -> None:
        Unsynced(str(self.folder), "second").restore()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    disk = Disk(tmp_path)
    disk.file.write_bytes(b"0123456789")
    return disk


def test_overlapping_writes_truncations_and_growth_are_undone(disk: Disk) -> None:
    disk.write(b"abc", 2)
    disk.write(b"XY", 3)
    disk.truncate(4)
    disk.write(b"grown", 20)
    disk.truncate(2)
    disk.power_cut()
    assert disk.file.read_bytes() == b"0123456789"
    disk.file.write_bytes(b"later")
    disk.power_cut()
    assert disk.file.read_bytes() == b"later", "what was undone is forgotten"


def test_a_log_without_its_end_loses_only_that_write(disk: Disk) -> None:
    """The daemon was killed while it wrote the undo, before the write itself."""
    disk.write(b"abc", 2)
    [log] = [path for path in disk.folder.iterdir() if path.name != "boot"]
    first = len(log.read_bytes())
    disk.undo.note(os.fsencode(disk.file), 5, 3)
    whole = log.read_bytes()
    for end in range(len(whole)):
        disk.file.write_bytes(b"01abc56789")
        (disk.folder / "boot").write_text("first")
        log.write_bytes(whole[:end])
        disk.power_cut()
        assert disk.file.read_bytes() == (b"01abc56789" if end < first else b"0123456789"), end


def test_what_is_no_file_any_more_is_left_alone(disk: Disk) -> None:
    disk.write(b"abc", 2)
    disk.file.unlink()
    disk.file.mkdir()
    disk.power_cut()
    assert disk.file.is_dir()


def test_what_was_synced_stays(disk: Disk) -> None:
    disk.write(b"abc", 0)
    disk.undo.synced(os.fsencode(disk.file))
    disk.write(b"XYZ", 5)
    disk.power_cut()
    assert disk.file.read_bytes() == b"abc3456789"


def test_another_start_in_the_same_boot_undoes_nothing(disk: Disk) -> None:
    disk.write(b"abc", 0)
    again = Unsynced(str(disk.folder), "first")
    again.restore()
    assert disk.file.read_bytes() == b"abc3456789"
    disk.undo = again
    disk.write(b"X", 9)
    disk.power_cut()
    assert disk.file.read_bytes() == b"abc3456789", "what was there before counts as synced"


def test_a_renamed_file_is_found_and_what_it_replaced_is_gone(disk: Disk) -> None:
    other = disk.file.with_name("other")
    other.write_bytes(b"other")
    disk.write(b"LOST", 0, "other")
    disk.write(b"abc", 0)
    os.rename(disk.file, other)
    disk.undo.renamed(os.fsencode(disk.file), os.fsencode(other))
    disk.power_cut()
    assert other.read_bytes() == b"0123456789"


def test_a_file_that_is_gone_needs_no_undo(disk: Disk) -> None:
    disk.write(b"abc", 0)
    disk.file.unlink()
    disk.undo.note(os.fsencode(disk.file), 0, 3)
    disk.undo.note_size(os.fsencode(disk.file), 3)
    disk.power_cut()
    assert not disk.file.exists()
    assert os.listdir(disk.folder) == []


def test_without_a_log_there_is_nothing_to_do(disk: Disk) -> None:
    disk.undo.forget()
    disk.power_cut()
    assert not disk.folder.exists()
