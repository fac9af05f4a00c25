"""A tree of generated files on a real mount."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulator.fuse.mount import mounts, unmount

SERVE = Path(__file__).with_name("tree_server.py")
REPOSITORY = Path(__file__).parents[3]
ABORTED = ("ECONNABORTED", "ENOTCONN")


def start(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(SERVE), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that all users may enter; whatever is mounted there is gone afterwards."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        reason = f"/dev/fuse cannot be opened: {error.strerror}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="fuse-") as name:
        os.chmod(name, 0o755)
        try:
            yield Path(name)
        finally:
            while (name, "fuse.hpc") in mounts():
                unmount(name)


@pytest.fixture
def served(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = start(folder)
    try:
        yield process
    finally:
        end(process)


@pytest.fixture
def tree(folder: Path, served: subprocess.Popen[str]) -> Path:
    return folder


def failing(call: Callable[[], object]) -> str:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is looked at
        call()
    return errno.errorcode[caught.value.errno or 0]


def test_the_mount_has_its_type_and_is_for_all(tree: Path) -> None:
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    (found,) = [line for line in lines if line[1] == str(tree)]
    assert found[2] == "fuse.hpc"
    assert "allow_other" in found[3].split(",")
    assert "default_permissions" not in found[3]


def test_names_and_attributes(tree: Path) -> None:
    assert sorted(os.listdir(tree)) == ["big", "closed", "link", "never", "numbers", "root", "slow", "value"]
    state = os.stat(tree / "value")
    assert (state.st_mode, state.st_size, state.st_nlink) == (stat.S_IFREG | 0o644, 0, 1)
    assert os.stat(tree / "value").st_ino == state.st_ino
    assert {entry.name: entry.inode() for entry in os.scandir(tree)}["value"] == state.st_ino
    assert os.readlink(tree / "link") == "value"
    assert failing(lambda: os.stat(tree / "nothing")) == "ENOENT"
    assert sorted(os.listdir(tree / "numbers")) == sorted(map(str, range(10)))
    assert (tree / "numbers/4711").read_text() == "0\n"


def test_each_write_is_a_new_value_wherever_it_is(tree: Path) -> None:
    (tree / "value").write_text("5\n")
    assert (tree / "link").read_text() == "5\n"
    fd = os.open(tree / "value", os.O_RDWR)  # as mosctl does
    assert os.read(fd, 29) == b"5\n"
    assert os.write(fd, b"1\n") == 2
    assert os.pread(fd, 29, 0) == b"1\n"
    assert failing(lambda: os.write(fd, b"bad\n")) == "EINVAL"
    os.close(fd)
    os.truncate(tree / "value", 0)
    subprocess.run(["sh", "-c", "echo 7 >> value && echo 8 > value"], cwd=tree, check=True)
    assert (tree / "value").read_text() == "8\n"


def test_a_read_from_the_start_asks_anew_and_goes_on_where_it_was(tree: Path) -> None:
    content = bytes(range(256)) * 1000
    assert (tree / "big").read_bytes() == content
    with (tree / "big").open("rb", buffering=0) as opened:
        assert opened.read(1000) == content[:1000]
        (tree / "big").write_bytes(b"new")
        assert opened.read(1000) == content[1000:2000]
        opened.seek(0)
        assert opened.read(1000) == b"new"
        assert opened.read(1000) == b""


def test_slow_answers_come_in_any_order_and_hold_up_nobody(tree: Path) -> None:
    begin_s = time.monotonic()
    slow = [subprocess.Popen(["cat", tree / "slow"], stdout=subprocess.PIPE) for _ in range(5)]
    assert (tree / "value").read_text() == "0\n"
    said = [process.communicate()[0].split() for process in slow]
    assert said == [[b"0", b"%d" % process.pid] for process in slow]
    assert time.monotonic() - begin_s < 4.5  # not one after the other


def test_a_signal_ends_a_write_that_waits(tree: Path, served: subprocess.Popen[str]) -> None:
    writes = "import os, signal, sys\nsignal.signal(signal.SIGALRM, lambda *_: sys.exit(7))\n"
    writes += "signal.setitimer(signal.ITIMER_REAL, 0.1)\nos.write(os.open(sys.argv[1], os.O_WRONLY), b'1')"
    writer = subprocess.Popen([sys.executable, "-c", writes, tree / "never"])
    assert writer.wait(5) == 7
    assert served.stdout is not None
    assert served.stdout.readline() == "begun\n"
    writer = subprocess.Popen(["sh", "-c", "echo 1 > never"], cwd=tree)
    assert served.stdout.readline() == "begun\n"
    writer.kill()
    assert writer.wait(5) == -signal.SIGKILL
    assert (tree / "value").read_text() == "0\n"


def test_nothing_can_be_made_or_removed(tree: Path) -> None:
    assert failing(lambda: os.open(tree / "new", os.O_CREAT | os.O_WRONLY)) == "ENOENT"
    assert failing(lambda: os.mkdir(tree / "new")) == "ENOENT"
    assert failing(lambda: os.symlink("x", tree / "new")) == "ENOENT"
    assert failing(lambda: os.unlink(tree / "value")) == "EPERM"
    assert failing(lambda: os.rmdir(tree / "closed")) == "EPERM"
    assert failing(lambda: os.rename(tree / "value", tree / "new")) == "EPERM"
    assert failing(lambda: os.chmod(tree / "value", 0)) == "EPERM"
    assert failing(lambda: os.chown(tree / "value", 1, 1)) == "EPERM"


AS_100 = """import os, sys, errno
os.setgroups([]); os.setgid(100); os.setuid(100); os.chdir(sys.argv[1])
def said(call):
    try: call()
    except OSError as error: return errno.errorcode[error.errno]
    return "ok"
print(said(lambda: open("value").read()), said(lambda: open("value", "w")), said(lambda: open("root")),
      said(lambda: os.listdir("closed")), said(lambda: os.stat("closed/x")), said(lambda: os.stat("root")),
      said(lambda: os.truncate("value", 0)), os.access("value", os.R_OK), os.access("value", os.W_OK))
"""


def test_permission_bits_count(tree: Path) -> None:
    said = subprocess.check_output([sys.executable, "-c", AS_100, tree], text=True)
    assert said.split() == ["ok", "EACCES", "EACCES", "EACCES", "EACCES", "ok", "EACCES", "True", "False"]
    assert (tree / "root").read_text() == "0\n"


def test_term_unmounts_and_ends(tree: Path, served: subprocess.Popen[str]) -> None:
    opened = os.open(tree / "value", os.O_RDONLY)
    served.terminate()
    assert served.wait(5) == 0
    assert os.listdir(tree) == []
    assert failing(lambda: os.read(opened, 1)) in ABORTED
    assert failing(lambda: os.close(opened)) in ABORTED


def test_an_unmount_from_outside_ends_the_session(tree: Path, served: subprocess.Popen[str]) -> None:
    unmount(str(tree))
    assert served.wait(5) == 0
    assert served.stdout is not None
    assert served.stdout.read() == "ended\n"


def test_who_waits_when_the_server_dies_gets_an_error(tree: Path, served: subprocess.Popen[str]) -> None:
    result: list[str] = []
    reader = threading.Thread(target=lambda: result.append(failing((tree / "slow").read_text)))
    reader.start()
    time.sleep(0.1)
    served.kill()
    reader.join(5)
    assert result[0] in ABORTED


def test_the_mount_of_a_killed_server_is_replaced(folder: Path) -> None:
    end(start(folder))
    assert failing(lambda: os.listdir(folder)) == "ENOTCONN"
    process = start(folder)
    assert (folder / "value").read_text() == "0\n"
    end(process)
    assert [point for point, _ in mounts()].count(str(folder)) == 1


def test_what_is_not_mounted_cannot_be_unmounted(folder: Path) -> None:
    assert failing(lambda: unmount(str(folder))) == "EINVAL"
