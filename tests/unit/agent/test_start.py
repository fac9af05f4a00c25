"""An agent that begins, and one of its files cannot be had: it says which, and why, and ends with exit code 1."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mosha.ownership.voter import installation
from mosha.voters import new_era

LIMIT_S = 60.0
PROGRAM = """
import fcntl, os, sys

module, name, file, number, conf = sys.argv[1:]
module = {"os": os, "fcntl": fcntl}[module]
genuine = getattr(module, name)

def fails(target, *rest, **options):
    is_open = isinstance(target, int)
    if (os.readlink(f"/proc/self/fd/{target}") if is_open else os.fspath(target)) == file:
        raise OSError(int(number), os.strerror(int(number)), *([] if is_open else [file]))
    return genuine(target, *rest, **options)

setattr(module, name, fails)
from mosha.cli import main
sys.exit(main(["--config", conf]))
"""
VAR = "var/mosix-ha"
CANNOT = [
    ("os.mkdir", "run", errno.EACCES), ("os.mkdir", VAR, errno.EROFS),
    ("os.open", "run/agent.lock", errno.EACCES), ("os.open", "run/life.lock", errno.ENOSPC),
    ("fcntl.flock", "run/agent.lock", errno.ENOLCK), ("fcntl.flock", "run/life.lock", errno.EIO),
    *[("os.open", f"{VAR}/{name}", errno.EIO) for name in ("voter", "drained", "state", "counted", "founded")],
    ("os.open", f"{VAR}/.state.new", errno.EROFS), ("os.write", f"{VAR}/.state.new", errno.ENOSPC),
    ("os.fsync", f"{VAR}/.state.new", errno.EIO), ("os.fsync", VAR, errno.EIO),
]


def node(root: Path, settings: str = "") -> Path:
    """The configuration of a node that votes alone."""
    (root / "hpc/nodes/1").mkdir(parents=True)
    (root / "hpc/nodes/1/status").write_text("3\n")
    (root / "mfs").mkdir()
    (root / "mfs/1").symlink_to(root)
    conf = root / "mosha.conf"
    conf.write_text(f"root={root}\nrundir={root}/run\nhpcbase={root}/hpc\nmfsbase={root}/mfs\nmynode=1\n{settings}")
    return conf


def begin(conf: Path, call: str, file: str, number: int) -> subprocess.CompletedProcess[str]:
    """An agent for which that call fails with that file."""
    words = [*call.split("."), f"{conf.parent}/{file}", str(number), str(conf)]
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


@pytest.mark.parametrize(("call", "file", "number"), CANNOT)
def test_a_file_that_cannot_be_had_is_named_with_the_reason(call: str, file: str, number: int, tmp_path: Path) -> None:
    conf = node(tmp_path)
    if file not in ("run", VAR) or call == "os.fsync":
        (tmp_path / VAR).mkdir(parents=True)
        (tmp_path / VAR / "founded").write_text(installation(new_era(), frozenset({1})))
    ended = begin(conf, call, file, number)
    said = f"mosha: {tmp_path}/{file}: {os.strerror(number)}"
    assert (ended.returncode, ended.stderr.splitlines()[-1:]) == (1, [said])
    assert "Traceback" not in ended.stderr


def test_what_it_says_is_in_its_log_as_well(tmp_path: Path) -> None:
    ended = begin(node(tmp_path, f"log={tmp_path}/log\n"), "os.mkdir", VAR, errno.EROFS)
    said = f"{tmp_path}/{VAR}: Read-only file system"
    assert (ended.returncode, ended.stderr) == (1, f"mosha: {said}\n")
    assert (tmp_path / "log").read_text().endswith(f" ERROR {said}\n")


def test_a_log_that_cannot_be_written_is_said_and_stops_nothing(tmp_path: Path) -> None:
    ended = begin(node(tmp_path, f"log={tmp_path}/none/log\n"), "os.mkdir", VAR, errno.EROFS)
    assert ended.returncode == 1
    assert sorted(ended.stderr.splitlines()) == [
        f"{tmp_path}/none/log: No such file or directory: what is logged is lost until that is mended",
        f"mosha: {tmp_path}/{VAR}: Read-only file system",
    ]


def test_without_standard_descriptors_nothing_else_is_taken_for_them(tmp_path: Path) -> None:
    conf = node(tmp_path)
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "mosha", "--config", str(conf)]
    with subprocess.Popen(closed) as agent:
        try:
            deadline_s = time.monotonic() + LIMIT_S
            while not (tmp_path / VAR / "hastat.json").exists():
                assert agent.poll() is None
                assert time.monotonic() < deadline_s
                time.sleep(0.01)
            assert [os.readlink(f"/proc/{agent.pid}/fd/{fd}") for fd in (0, 1, 2)] == [os.devnull] * 3
            assert [path.read_bytes() for path in sorted((tmp_path / "run").glob("*.lock"))] == [b"", b""]
        finally:
            agent.terminate()
            assert agent.wait(LIMIT_S) == 0
