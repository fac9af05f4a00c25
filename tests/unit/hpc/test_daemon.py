"""openmosixd as a whole: both mounts, from its start to its end, however it ends."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.settings import GUEST_PORT, PROBE_PORT
from tests.unit.hpc.loopback import NETWORK, READY_S, may_mount, wait_until

# in a network namespace of its own: the ports are the genuine ones
RUN = f"ip link set lo up && ip address add {NETWORK}.1/32 dev lo && exec \"$0\" -m emulator.daemon"


class Daemon:
    """The daemon, with its mount points and its files under one folder."""

    def __init__(self, folder: Path) -> None:
        self.mfs = folder / "mfs"
        self.proc = folder / "proc"
        self.key = folder / "key"
        self.log = folder / "log"
        self.mfs.mkdir()
        self.proc.mkdir()
        self.key.write_bytes(b"a key")
        self.environment = {
            **os.environ,
            "OPENMOSIX_MFS": str(self.mfs),
            "OPENMOSIX_PROC": str(self.proc),
            "OPENMOSIX_KEY": str(self.key),
            "OPENMOSIX_STATE": str(folder / "state"),
            "OPENMOSIX_MFS_TIME": str(folder / "mfs_time"),
            "OPENMOSIX_UNSYNCED": str(folder / "unsynced"),
            "OPENMOSIX_DEPUTIES": str(folder / "deputies"),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--net", "sh", "-c", RUN, sys.executable], env=self.environment, stderr=log
            )
        return self.process

    def ready(self) -> None:
        def there() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            return os.access(self.proc / "hpc", os.F_OK)  # false too on what a killed daemon left

        wait_until(there)

    def mounts(self) -> list[str]:
        found = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        return sorted(point for point in found if point in (str(self.mfs), str(self.proc)))

    def setpe(self) -> None:
        subprocess.run(
            [sys.executable, "-m", "emulator.tools.setpe", "-w", "-p", "1"],
            env=self.environment, input=f"1 {NETWORK}.1 2\n".encode(), check=True, timeout=READY_S,
        )  # fmt: skip

    def mount(self, where: Path, *options: str) -> tuple[int, str]:
        """``mount -t mfs any WHERE``: exit code, stderr."""
        done = subprocess.run(
            [sys.executable, "-m", "emulator.tools.mount_mfs", "any", str(where), *options],
            env=self.environment, capture_output=True, text=True, timeout=READY_S, check=False,
        )  # fmt: skip
        return done.returncode, done.stderr

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        for point in self.mounts():
            subprocess.run(["umount", "-l", point], check=False)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    may_mount()
    one = Daemon(tmp_path)
    yield one
    one.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_mounts_both_and_takes_both_away(daemon: Daemon, number: int) -> None:
    process = daemon.start()
    daemon.ready()
    assert daemon.mounts() == sorted([str(daemon.mfs), str(daemon.proc)])
    assert (daemon.proc / "hpc/admin/mospe").read_text() == "0\n"
    process.send_signal(number)
    assert process.wait(READY_S) == 0
    assert daemon.mounts() == []
    assert daemon.log.read_text() == ""


def test_setpe_makes_it_a_node(daemon: Daemon) -> None:
    daemon.start()
    daemon.ready()
    assert "1" not in os.listdir(daemon.mfs)
    daemon.setpe()
    assert (daemon.proc / "hpc/nodes/1/status").read_text() == "3\n"
    assert (daemon.proc / "hpc/nodes/2/status").read_text() == "1\n"
    assert {"1", "2"} <= set(os.listdir(daemon.mfs))
    assert Path(daemon.mfs, "1", str(daemon.key)[1:]).read_bytes() == b"a key"


def test_what_a_killed_daemon_left_is_replaced(daemon: Daemon) -> None:
    process = daemon.start()
    daemon.ready()
    process.kill()
    process.wait()
    with pytest.raises(OSError, match="not connected"):
        os.listdir(daemon.proc)
    process = daemon.start()
    daemon.ready()
    assert len(daemon.mounts()) == 2
    process.terminate()
    assert process.wait(READY_S) == 0
    assert daemon.mounts() == []


def test_a_killed_daemon_comes_back_as_the_node_that_it_was(daemon: Daemon) -> None:
    process = daemon.start()
    daemon.ready()
    daemon.setpe()
    process.kill()
    process.wait()
    process = daemon.start()
    daemon.ready()
    assert (daemon.proc / "hpc/admin/mospe").read_text() == "1\n"
    for protocol, port in (("udp", PROBE_PORT), ("tcp", GUEST_PORT)):
        sockets = Path(f"/proc/{process.pid}/net/{protocol}").read_text()
        assert f":{port:04X} 00000000:0000" in sockets, "it answers probes, and takes guests"
    assert (daemon.proc / "hpc/nodes/1/status").read_text() == "3\n"


SETTINGS = {
    "nomfs": "1\n", "block": "1\n", "stay": "0\n", "gateways": "2\n", "speed": "4711\n", "fastdecay": "900\n",
    "mfscosts": "1\t2\t3\t4\t5\t6\n",
}  # fmt: skip


@pytest.mark.parametrize("is_on", [True, False])
def test_a_killed_daemon_comes_back_with_its_settings(daemon: Daemon, is_on: bool) -> None:
    process = daemon.start()
    daemon.ready()
    admin = daemon.proc / "hpc/admin"
    if is_on:
        daemon.setpe()
    (admin / "expel").write_text("1\n")  # which blocks as well
    for name, value in SETTINGS.items():
        if name != "block":
            (admin / name).write_text(value)
    process.kill()
    process.wait()
    daemon.start()
    daemon.ready()
    assert {name: (admin / name).read_text() for name in SETTINGS} == SETTINGS
    if is_on:
        assert (daemon.proc / "hpc/nodes/1/status").read_text() == f"{1 + 2 + 16 + 64}\n"
        with pytest.raises(OSError, match=os.strerror(errno.EREMOTE)):
            os.listdir(daemon.mfs / "1")


def test_a_killed_daemon_comes_back_with_what_processes_have_set_and_with_the_time(daemon: Daemon) -> None:
    Path(daemon.environment["OPENMOSIX_MFS_TIME"]).write_text("quick\n")
    process = daemon.start()
    daemon.ready()
    with (
        subprocess.Popen(["sleep", "60"]) as other,
        subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE) as locked,
    ):
        assert locked.stdout is not None
        child = int(locked.stdout.readline())
        (daemon.proc / f"{locked.pid}/lock").write_text("1\n")
        (daemon.proc / f"{locked.pid}/selected").write_text("7\n")
        (daemon.proc / "mfs/time").write_text("genuine\n")
        process.kill()
        process.wait()
        daemon.start()
        daemon.ready()
        settings = [(daemon.proc / f"{pid}/{name}").read_text() for pid in (locked.pid, child, other.pid)
                    for name in ("lock", "selected", "disclosure")]
        other.kill()
        os.kill(child, signal.SIGKILL)
    assert settings == ["1\n", "7\n", "3\n", "0\n", "0\n", "3\n", "0\n", "0\n", "3\n"], "the child was there before"
    assert (daemon.proc / "mfs/time").read_text() == "genuine\n"


def test_what_cannot_be_remembered_is_done_all_the_same(daemon: Daemon) -> None:
    Path(daemon.environment["OPENMOSIX_STATE"] + ".new").symlink_to("/dev/full")
    daemon.start()
    daemon.ready()
    daemon.setpe()
    (daemon.proc / "hpc/admin/mospe").write_text("0\n")
    assert (daemon.proc / "hpc/admin/mospe").read_text() == "0\n"
    assert os.strerror(errno.ENOSPC) in daemon.log.read_text()


def test_one_that_was_switched_off_stays_off(daemon: Daemon) -> None:
    process = daemon.start()
    daemon.ready()
    daemon.setpe()
    (daemon.proc / "hpc/admin/mospe").write_text("0\n")
    process.kill()
    process.wait()
    daemon.start()
    daemon.ready()
    assert (daemon.proc / "hpc/admin/mospe").read_text() == "0\n"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"1\nnonsense", b"[]",
        b'{"mospe": 1, "config": "00", "tasks": [], "toggles": [], "numbers": {}, "time": null}',
    ],
)  # fmt: skip
def test_a_memory_that_is_no_configuration_is_as_good_as_none(daemon: Daemon, nonsense: bytes) -> None:
    Path(daemon.environment["OPENMOSIX_STATE"]).write_bytes(nonsense)
    daemon.start()
    daemon.ready()
    assert (daemon.proc / "hpc/admin/mospe").read_text() == "0\n"
    assert "state" in daemon.log.read_text()


def test_a_mount_in_use_is_taken_away_too(daemon: Daemon) -> None:
    process = daemon.start()
    daemon.ready()
    fd = os.open(daemon.proc / "hpc/admin/mospe", os.O_RDONLY)
    try:
        process.terminate()
        assert process.wait(READY_S) == 0
        assert daemon.mounts() == []
        with pytest.raises(OSError, match=r"not connected|connection abort"):
            os.read(fd, 10)
    finally:
        with pytest.raises(OSError, match="not connected"):  # closed nevertheless
            os.close(fd)


def test_mfs_can_be_mounted_again_and_not_twice(daemon: Daemon) -> None:
    daemon.start()
    daemon.ready()
    twice = (1, f"mount: Mounting any on {daemon.mfs} failed: Invalid argument\n")
    assert daemon.mount(daemon.mfs) == twice
    assert daemon.log.read_text() == "MFS already mounted!\n"
    assert (daemon.proc / "mfs/mounted").read_text() == "1\n"
    subprocess.run(["umount", daemon.mfs], check=True)
    wait_until(lambda: (daemon.proc / "mfs/mounted").read_text() == "0\n")
    assert daemon.mount(daemon.proc)[0] == 1, "elsewhere"
    assert daemon.mount(daemon.mfs, "-o", "rw,dfsa=1") == (0, "")
    assert daemon.mounts() == sorted([str(daemon.mfs), str(daemon.proc)])
    said = "WARNING: MFS mounting is ineffective until openMosix is configured."
    assert daemon.log.read_text().splitlines()[1:] == [f"{daemon.mfs} was unmounted", said]
    daemon.setpe()
    assert Path(daemon.mfs, "1", str(daemon.key)[1:]).read_bytes() == b"a key"
    assert daemon.mount(daemon.mfs) == twice


@pytest.mark.parametrize(("key", "message"), [(None, "No such file or directory"), (b"", "a key has 1 to")])
def test_without_a_key_it_says_so(daemon: Daemon, key: bytes | None, message: str) -> None:
    daemon.key.unlink()
    if key is not None:
        daemon.key.write_bytes(key)
    assert daemon.start().wait(READY_S) == 1
    assert daemon.log.read_text().count("\n") == 1
    assert str(daemon.key) in daemon.log.read_text()
    assert message in daemon.log.read_text()


def test_a_mount_point_that_is_not_there_leaves_no_mount(daemon: Daemon) -> None:
    daemon.proc.rmdir()
    assert daemon.start().wait(READY_S) == 1
    assert f"No such file or directory: '{daemon.proc}'" in daemon.log.read_text()
    assert "Traceback" not in daemon.log.read_text()
    assert daemon.mounts() == []


@pytest.mark.parametrize("time", ["", "quick", "genuine"])
def test_its_file_says_how_long_mfs_may_take(daemon: Daemon, tmp_path: Path, time: str) -> None:
    if time:
        (tmp_path / "mfs_time").write_text(time + "\n")
    daemon.start()
    daemon.ready()
    assert sorted(os.listdir(daemon.proc / "mfs")) == ["asked", "faults", "links", "mounted", "served", "time"]
    assert (daemon.proc / "mfs/time").read_text() == (time or "quick") + "\n"
    assert (daemon.proc / "mfs/faults").read_text() == "[]\n"


def test_a_time_that_there_is_not_is_an_error(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "mfs_time").write_text("slow")
    process = daemon.start()
    assert process.wait(READY_S) == 1
    assert "mfs_time: 'slow' is none of quick, genuine" in daemon.log.read_text()
    assert daemon.mounts() == []


def test_mfs_knows_what_a_process_has_selected(daemon: Daemon) -> None:
    daemon.start()
    daemon.ready()
    daemon.setpe()
    selected, here = f"{daemon.mfs}/selected", f"{daemon.mfs}/here"
    read = ["readlink", selected]
    assert subprocess.check_output(read) == b"1\n"
    selects = f'echo 2 >"{daemon.proc}/self/selected" && readlink "$0" && (readlink "$0") && readlink "$1"'
    command = ["bash", "-c", selects, selected, here]
    assert subprocess.check_output(command) == b"2\n2\n1\n", "its children too"
    assert subprocess.check_output(read) == b"1\n", "others not"
