"""The log of the stand-alone daemon."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Callable

import pytest

from mosha.clinit import journal
from mosha.clinit.journal import LINE_BYTES_MAX, LINES_MAX, Journal
from mosha.platform import procscan
from tests.unit.clinit.leashed import wait_until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def one(file: Path) -> Iterator[Journal]:
    one = Journal(str(file), "clinit")
    yield one
    one.close(5)


def killed(one: Journal) -> int:
    """The pid of the writer, which has died and is not collected."""
    writer = procscan.process(one.pid)
    assert writer is not None
    os.kill(one.pid, signal.SIGKILL)
    wait_until(lambda: not procscan.lives(writer))
    return one.pid


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
    first = killed(one)
    one.line("gone, and there is no new writer at once")
    assert one.pid == first
    one.line("gone as well")
    monkeypatch.setattr(journal, "RESTART_S", 0.0)
    one.line("and this")
    assert one.pid != first
    one.line("here")
    wait_until(lambda: file.exists() and "here" in file.read_text())
    assert [line[20:] for line in file.read_text().splitlines()] == [journal.LOST.format(3), "here"]


def test_a_machine_without_processes_or_descriptors_for_a_new_writer_ends_nobody(
    one: Journal, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = killed(one)
    before = sorted(os.listdir("/proc/self/fd"))

    def exhausted(*_: object) -> tuple[int, int]:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    for call in ("pipe", "fork"):
        with monkeypatch.context() as patch:
            patch.setattr(journal, "RESTART_S", 0.0)
            patch.setattr(os, call, exhausted)
            one.line("gone")
        assert (one.pid, sorted(os.listdir("/proc/self/fd"))) == (first, before)
    monkeypatch.setattr(journal, "RESTART_S", 0.0)
    one.line("gone")
    one.line("here")
    wait_until(lambda: file.exists() and "here" in file.read_text())
    assert [line[20:] for line in file.read_text().splitlines()] == [journal.LOST.format(3), "here"]


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


def loop(path: Path) -> None:
    path.symlink_to(path)


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


TROUBLES: dict[str, tuple[Callable[[Path], object], Callable[[Path], object], str]] = {
    "directory": (Path.mkdir, Path.rmdir, "Is a directory"),
    "FIFO that nobody reads": (os.mkfifo, Path.unlink, "No such device or address"),
    "socket": (socket_at, Path.unlink, "No such device or address"),
    "full disk": (lambda path: path.symlink_to("/dev/full"), Path.unlink, "No space left on device"),
    "rights": (lambda path: path.symlink_to("/sys/kernel/none"), Path.unlink, "Permission denied"),
    "loop": (loop, Path.unlink, "Too many levels of symbolic links"),
    "no directory": (lambda path: path.parent.rename(path.parent.with_name("away")),
                     lambda path: path.parent.with_name("away").rename(path.parent), "No such file or directory"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_file_that_cannot_be_written_is_said_once_and_written_again_when_it_can_be(
    trouble: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What was there is moved away, as whoever rotates logs does."""
    spoil, mend, why = TROUBLES[trouble]
    file, said = tmp_path / "logs/log", ""
    file.parent.mkdir()
    one = Journal(str(file), "clinit")
    one.line("before")
    wait_until(lambda: file.exists() and "before" in file.read_text())
    file.rename(file.with_name("log.1"))
    spoil(file)

    def is_said() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return bool(said)

    one.line("in vain")
    wait_until(is_said)
    one.line("in vain as well")
    one.close(5)
    one = Journal(str(file), "clinit")
    one.line("in vain")
    wait_until(lambda: is_said() and said.count("\n") == 2)
    mend(file)
    one.line("after")
    wait_until(lambda: file.exists() and "after" in file.read_text())
    one.close(5)
    assert said.splitlines() == [f"{file}: {why}: what is logged is lost until that is mended"] * 2, "once for each"
    assert [line[20:] for line in file.read_text().splitlines()] == [journal.LOST.format(1), "after"]
    assert file.with_name("log.1").read_text().endswith("before\n")


def test_a_line_that_was_torn_by_a_full_disk_is_ended_before_the_next(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine, taker = os.write, journal._Taker(str(file))

    def full(fd: int, text: bytes) -> int:
        if file.stat().st_size >= 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return genuine(fd, text[:5])

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        taker.take(b"torn line\nand another\n")
        taker.take(b"in vain\n")
    taker.take(b"after\n")
    first, lost, after = file.read_text().splitlines()
    assert (first, lost[20:], after) == ("torn ", journal.LOST.format(3), "after")


def test_a_fifo_whose_reader_stands_still_gets_lines_again_when_it_reads(file: Path) -> None:
    os.mkfifo(file)
    reader = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    one = Journal(str(file), "clinit")
    for number in range(3000):
        one.line(f"{number} " + "x" * 100)
    text = b""

    def comes() -> bool:
        nonlocal text
        one.flush()
        one.line("again")
        with suppress(BlockingIOError):
            text = text[-100:] + os.read(reader, 1 << 20)
        return b" again\n" in text

    wait_until(comes)
    one.close(5)
    os.close(reader)
