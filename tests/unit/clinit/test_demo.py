"""The demonstration's tables and programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mosha.tables import cltab, hactl
from moslab import demo
from tests.unit.clinit.leashed import wait_until

PROGRAMS = demo.HERE / "programs"
SAYS = '#!/bin/sh\necho "$0" "$@"\n'
TICK_BYTES = 64


def test_the_tables_are_valid_and_each_group_has_a_test() -> None:
    texts = demo.tables(lambda number: f"10.0.0.{200 + number}/24")
    table = cltab.parse(texts["cltab"])
    assert hactl.levels(hactl.parse(texts["hactl"])) == {"kv": "start", "tick": "start"}
    assert table.groups() == ["kv", "tick"]
    for name in table.groups():
        assert [entry.mode for entry in table.group(name) if entry.at("test")] == ["test"]
        assert any(entry.mode == "respawn" for entry in table.group(name) if entry.at("start"))
    assert [entry.command for entry in table.entries if entry.tag == "kv-ip"] == ["mosha ip 10.0.0.200/24"]
    assert "@" not in texts["cltab"]


def test_the_programs_of_the_tables_exist() -> None:
    words = [word for entry in cltab.parse(demo.tables(str)["cltab"]).entries for word in entry.command.split()]
    named = [Path(word).name for word in words if word.startswith("/usr/lib/mosha/demo/")]
    assert sorted(named) == ["kv-serve", "kv-test", "tick"]
    assert all((PROGRAMS / name).read_bytes().startswith(b"#!") for name in named)


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT])
def test_tick_writes_down_when_it_lives(tmp_path: Path, signo: int) -> None:
    with _tick(tmp_path, MOSHA_NODE="3", MOSHA_ERA="7", MOSHA_EPOCH="12") as process:
        journal = wait_until(lambda: next(iter(tmp_path.glob("3-*.log")), None))
        wait_until(lambda: len(journal.read_text().splitlines()) >= 10)
        process.send_signal(signo)
        assert process.wait(10) == 0
    lines = [line.split() for line in journal.read_text().splitlines()]
    assert [line[0] for line in lines] == ["start", *["tick"] * (len(lines) - 2), "stop"]
    assert {tuple(line[2:]) for line in lines} == {("3", str(process.pid), "7.12")}
    times = [int(line[1]) for line in lines]
    assert times == sorted(times)
    assert min(later - earlier for earlier, later in zip(times[1:], times[2:-1])) < 20_000_000


def test_each_run_has_a_file_and_old_ones_are_forgotten(tmp_path: Path) -> None:
    for number in range(262):
        old = tmp_path / f"3-{number}-1.log"
        old.write_text(f"start 1 3 1 0\ntick {number + 5} 3 1 0\ntick 99")
        os.utime(old, (number, number))
    (tmp_path / "3-0-1.log.old").touch()
    (tmp_path / "33-1-1.log").touch()
    with _tick(tmp_path, MOSHA_NODE="3") as process:
        wait_until(lambda: any(f"3-{process.pid}-" in path.name for path in tmp_path.iterdir()))
        process.terminate()
    names = {path.name for path in tmp_path.iterdir()}
    assert {"3-7-1.log", "3-261-1.log", "33-1-1.log"} <= names
    assert not names & {"3-6-1.log", "3-0-1.log", "3-0-1.log.old"}
    assert len(names) == 256 + 2
    assert (tmp_path / "3.forgotten").read_text() == "11\n", "the last whole line of the last one that is gone"


def test_a_full_file_is_kept_once_and_the_start_is_repeated(tmp_path: Path) -> None:
    code = """if True:
        import runpy, sys, time
        journal = runpy.run_path(sys.argv[1])["Journal"](sys.argv[2], "3", "7", 200)
        for _ in range(30):
            journal.write("tick")
            now_ns = time.monotonic_ns()
            while time.monotonic_ns() == now_ns:                     # a clock of an old kernel moves by 10 ms
                pass
    """
    subprocess.run([sys.executable, "-c", code, str(PROGRAMS / "tick"), str(tmp_path)], check=True)
    (journal,) = tmp_path.glob("*.log")
    old = journal.with_name(journal.name + ".old")
    starts = {path.read_text().splitlines()[0] for path in (journal, old)}
    assert len(starts) == 1
    word, starts_ns, *_ = starts.pop().split()
    assert word == "start"
    assert all(path.stat().st_size < 200 + TICK_BYTES for path in (journal, old))
    (said,) = tmp_path.glob("*.forgotten")
    assert said.name == "3.forgotten"
    first_ns = int(old.read_text().splitlines()[1].split()[1])
    assert int(starts_ns) < int(said.read_text()) <= first_ns, "more than one file was full"


def test_tick_that_cannot_write_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with _tick(tmp_path / "file" / "under") as process:
        assert process.wait(10) == 1
        assert process.stderr is not None
        assert process.stderr.read().startswith(b"tick: ")


def test_kv_test_names_what_is_missing(tmp_path: Path) -> None:
    assert _kv_test(str(tmp_path)) == f"{tmp_path}: the shared disk is not mounted"
    assert _kv_test("/dev/shm") == ""


def test_kv_is_served_by_redis_or_where_there_is_none_by_the_register(tmp_path: Path) -> None:
    """By what is executed then, in a directory of its own."""
    for program in ("kv-serve", "register"):
        (tmp_path / program).write_text((PROGRAMS / program).read_text() if program == "kv-serve" else SAYS)
        (tmp_path / program).chmod(0o755)
    serve = ["/bin/sh", str(tmp_path / "kv-serve"), "/san/kv"]
    (nothing := tmp_path / "bin").mkdir()
    served = subprocess.run(serve, env={"PATH": str(nothing)}, capture_output=True, text=True, check=True)
    assert served.stdout == f"{tmp_path}/register /san/kv/register\n"
    (nothing / "redis-server").write_text(SAYS)
    (nothing / "redis-server").chmod(0o755)
    served = subprocess.run(serve, env={"PATH": str(nothing)}, capture_output=True, text=True, check=True)
    assert served.stdout.startswith(f"{nothing}/redis-server --dir /san/kv --appendonly yes --appendfsync always")


def _tick(directory: Path, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(PROGRAMS / "tick"), str(directory)]
    return subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE)


def _kv_test(directory: str) -> str:
    command = ["/bin/sh", str(PROGRAMS / "kv-test"), directory]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (done.stderr == "")
    return done.stderr.strip()


def test_tick_goes_on_after_it_was_stopped(tmp_path: Path) -> None:
    with _tick(tmp_path, MOSHA_NODE="3") as process:
        journal = wait_until(lambda: next(iter(tmp_path.glob("3-*.log")), None))
        for _ in range(3):
            process.send_signal(signal.SIGSTOP)
            wait_until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
            before = len(journal.read_text().splitlines())
            wait_until(lambda: time.time() > journal.stat().st_mtime + 0.05)
            process.send_signal(signal.SIGCONT)
            wait_until(lambda before=before: len(journal.read_text().splitlines()) > before + 2)  # type: ignore[misc]
        process.terminate()
        assert process.wait(10) == 0


def test_a_deaf_tick_ends_by_kill_only(tmp_path: Path) -> None:
    command = [sys.executable, "-IS", str(PROGRAMS / "tick"), str(tmp_path), "deaf"]
    with subprocess.Popen(command, env={**os.environ, "MOSHA_NODE": "3"}) as process:
        journal = wait_until(lambda: next(iter(tmp_path.glob("3-*.log")), None))
        for signo in (signal.SIGINT, signal.SIGTERM):
            process.send_signal(signo)
        before = len(journal.read_text().splitlines())
        wait_until(lambda: len(journal.read_text().splitlines()) > before + 20)
        process.kill()
    assert "stop" not in journal.read_text()
