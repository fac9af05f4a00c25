"""The log of calls: whole lines, bounded, never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosha.stomith import history
from mosha.stomith.history import Attempt


def attempt(number: int, words: str = "done") -> Attempt:
    return Attempt(1e9 + number, "agent", 3, 1, "fence_apc", "off", True, 0, 0.25, words)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    for number in range(5):
        history.append(tmp_path, attempt(number, "ü\n" * number))
    found = history.read(tmp_path, 2)
    assert [fields["time"] for fields in found] == [1e9 + 3, 1e9 + 4]
    assert found[0] == attempt(3, "ü\n" * 3)._asdict()
    assert (tmp_path / history.NAME).stat().st_mode & 0o77 == 0


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert history.read(tmp_path, 5) == []


def test_it_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "BYTES_MAX", 2000)
    for number in range(100):
        history.append(tmp_path, attempt(number, "x" * 5000))
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [history.NAME, f"{history.NAME}.previous"]
    assert all(path.stat().st_size <= 2000 for path in tmp_path.iterdir())
    times = [fields["time"] for fields in history.read(tmp_path, 100)]
    assert times == [1e9 + number for number in range(100 - len(times), 100)]


def test_a_line_that_is_not_whole_is_left_out(tmp_path: Path) -> None:
    history.append(tmp_path, attempt(1))
    with open(tmp_path / history.NAME, "ab") as stream:
        stream.write(b'{"time": 5, "by"\n[1]\n{"x": 1}\n\xff\xfe\n')
    history.append(tmp_path, attempt(2))
    assert [fields["time"] for fields in history.read(tmp_path, 9)] == [1e9 + 1, 1e9 + 2]


def test_a_log_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / history.NAME).mkdir()
    history.append(tmp_path, attempt(1))
    history.append(tmp_path / "nowhere", attempt(1))
