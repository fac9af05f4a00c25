from __future__ import annotations

import os
from pathlib import Path

import pytest

from mosha.clinit import process
from mosha.clinit.lines import LINE_BYTES_MAX, LineReader
from mosha.platform import linux

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("date", ["date"]),
        ("  ls  -l /tmp ", ["ls", "-l", "/tmp"]),
        ("dd if=/dev/null", ["dd", "if=/dev/null"]),
        ("date;true", ["/bin/sh", "-c", "date;true"]),
        ("X=1 date", ["/bin/sh", "-c", "X=1 date"]),
        ('echo "a  b"', ["/bin/sh", "-c", 'echo "a  b"']),
        ("echo $HOME", ["/bin/sh", "-c", "echo $HOME"]),
        ("a > b", ["/bin/sh", "-c", "a > b"]),
        ("exec serve -d", ["/bin/sh", "-c", "exec serve -d"]),
        (" . /etc/rc", ["/bin/sh", "-c", " . /etc/rc"]),
        ("execute ./a .", ["execute", "./a", "."]),
    ],
)
def test_a_shell_is_used_only_where_one_is_needed(command: str, words: list[str]) -> None:
    assert process.arguments(command) == words


def test_a_script_without_an_interpreter_is_the_shells(tmp_path: Path) -> None:
    script = tmp_path / "start"
    script.write_text("exit ${1}3\n")
    script.chmod(0o755)
    assert run(f"{script} 4", 60.0) == 43


@pytest.mark.parametrize(("lease_s", "status"), [(60.0, 0), (0.0, process.EXIT_TOO_LATE)])
def test_nothing_is_executed_after_the_deadline(lease_s: float, status: int) -> None:
    assert run("true", lease_s) == status


def run(command: str, lease_s: float) -> int:
    with open(os.devnull, "wb") as output:
        deadline = linux.boottime() + lease_s
        pid = process.spawn(command, {"PATH": os.environ["PATH"]}, output.fileno(), deadline, "", 0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_lines_are_cut_at_line_ends_and_at_their_limit() -> None:
    reader = LineReader()
    assert reader.feed(b"one\ntw") == ["one"]
    assert reader.feed(b"o\n\n") == ["two", ""]
    assert reader.feed(b"x" * (2 * LINE_BYTES_MAX + 5)) == ["x" * LINE_BYTES_MAX] * 2
    assert reader.feed(b"y\n\xff") == ["xxxxxy"]
    assert reader.feed(b"") == ["\ufffd"]
    assert reader.feed(b"") == []
    assert [reader.skip(b"on"), reader.skip(b"e\ntwo\nth")] == [0, 2]
    assert reader.feed(b"ree\n") == ["three"]
