"""The log of the stand-alone daemon."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mosha.clinit import journal
from mosha.clinit.journal import LINE_BYTES_MAX, LINES_MAX, Journal
from tests.unit.clinit.leashed import wait_until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def one(file: Path) -> Iterator[Journal]:
    one = Journal(str(file), "clinit")
    yield one
    one.close(5)


def test_lines_have_a_time_and_nothing_that_moves_a_terminal(one: Journal, file: Path) -> None:
    one.line("web: w: \x1b[2Jhäuser\r\0")
    one.last_words("web: killed")
    wait_until(lambda: file.exists() and file.read_text().count("\n") == 2)
    assert [line[20:] for line in file.read_text().splitlines()] == ["web: w: ?[2Jhäuser??", "web: killed"]


def test_a_line_has_a_bound(one: Journal, file: Path) -> None:
    one.line("x" * 100_000)
    wait_until(lambda: file.exists() and file.read_text().endswith("\n"))
    assert len(file.read_text()) == LINE_BYTES_MAX


def test_what_does_not_fit_is_counted(one: Journal, file: Path) -> None:
    os.kill(one.pid, signal.SIGSTOP)
    for number in range(LINES_MAX + 500):
        one.line(f"{number} " + "x" * 1000)
    assert one.waits
    os.kill(one.pid, signal.SIGCONT)

    def all_taken() -> bool:
        one.flush()
        return not one.waits

    wait_until(all_taken)
    one.line("last")
    wait_until(lambda: "last" in file.read_text())
    told = [line for line in file.read_text().splitlines() if "lines lost" in line]
    lines = [line for line in file.read_text().splitlines() if "xxx" in line]
    assert len(told) == 1
    assert int(told[0].split()[2]) + len(lines) == LINES_MAX + 500


def test_a_writer_that_died_is_replaced(one: Journal, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = one.pid
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    one.line("lost, and there is no new writer at once")
    assert one.pid == first
    monkeypatch.setattr(journal, "RESTART_S", 0.0)
    one.line("lost as well")
    assert one.pid != first
    one.line("here")
    wait_until(lambda: file.exists() and "here" in file.read_text())
    assert "lost" not in file.read_text()


def test_a_new_writer_holds_nothing_of_its_parent(one: Journal, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are freed, and guardians hear of the parent's end, while a writer lives on for their last words."""
    monkeypatch.setattr(journal, "RESTART_S", 0.0)
    first = one.pid
    with (file.parent / "lock").open("w"):
        os.kill(first, signal.SIGKILL)

        def is_new() -> bool:
            one.line("lost, while the first is there")
            return one.pid != first

        wait_until(is_new)
        one.line("here")
        wait_until(lambda: file.exists() and "here" in file.read_text())
        held = [os.readlink(f"/proc/{one.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{one.pid}/fd") if int(fd) > 2]
    assert [name.partition(":")[0] for name in held] == ["pipe"]


def test_a_writer_that_hangs_is_killed_at_the_end(file: Path) -> None:
    one = Journal(str(file), "clinit")
    os.kill(one.pid, signal.SIGSTOP)
    one.close(0.05)
    with pytest.raises(ChildProcessError):
        os.waitpid(one.pid, 0)
