"""What was wrong with Cluster::Init, by the numbers of docs/clinit.md, and how it is here."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mosha.clinit import cli
from mosha.clinit.group import Group
from mosha.tables import cltab
from mosha.tables.errors import TableErrors
from tests.unit.clinit.leashed import lives, wait_until, written_pid
from tests.unit.clinit.standalone import QUICK, Standalone
from tests.unit.clinit.test_group import short

DOCS = Path(__file__).parents[3] / "docs/clinit.md"
WEB = "web:w:start:respawn:sleep 600\n"
DB = "db:d:start:respawn:sleep 601\n"
DEAF = "trap '' INT TERM HUP; echo deaf; while :; do sleep 0.05; done"


def still(alone: Standalone, pid: int) -> None:
    """The group of that process was not touched, and its daemon obeys."""
    assert lives(pid)
    assert alone.client.runs()
    assert alone.pids("web", "w") == [pid]


def up(alone: Standalone, more: str = "") -> int:
    alone.start(WEB + more)
    alone.run("web", "start")
    return alone.pid("web", "w")


def test_fault_01_a_bad_mode_ends_nothing(alone: Standalone) -> None:
    pid = up(alone, DB)
    alone.write(f"{WEB}{DB}new:n:start:respwan:sleep 1\n")
    refused = alone.client.read()
    assert not refused.ok
    assert f"{alone.cltab}:7: unknown mode 'respwan'" in refused.text
    alone.run("db", "start")
    assert alone.client.tell("new", "start").text.startswith("no such group: new; the last good cltab stays in use")
    still(alone, pid)


def test_fault_02_a_missing_program_harms_no_other_group(alone: Standalone) -> None:
    pid = up(alone, "new:n:start:respawn:/no/such/program\n")
    alone.run("new", "start", "FAILED")
    assert alone.logged("new: n: cannot execute /no/such/program: No such file or directory")
    still(alone, pid)


@pytest.mark.parametrize("line", ["a(:x:start:once:true", "new:t[ag:start:once:true", "new:*:start:once:true"])
def test_fault_03_a_pattern_in_a_name_is_a_bad_line(alone: Standalone, line: str) -> None:
    pid = up(alone)
    alone.write(f"{WEB}{line}\n")
    assert "bad " in alone.client.read().text
    assert alone.speak(b'{"do": "tell", "group": "we(b", "level": "start"}\n').startswith(b'{"ok": false')
    still(alone, pid)


@pytest.mark.parametrize("content", [b"", b"# nothing", b"web:", b"\0\xff" * 99, b"x" * 5_000_000])
def test_fault_04_an_empty_or_cut_table_stops_no_group(alone: Standalone, content: bytes) -> None:
    pid = up(alone)
    client = alone.client
    alone.cltab.write_bytes(content)
    client.read()
    client.tell("db", "start")
    assert client.runs()
    still(alone, pid)


def test_fault_05_processes_do_not_outlive_a_killed_daemon(alone: Standalone, tmp_path: Path) -> None:
    hidden = f"setsid env -i sh -c 'echo $$ >{tmp_path}/pid; {DEAF}' >/dev/null 2>&1 &"
    pid = up(alone, f"web:h:start:once:{hidden}\n")
    pids = [pid, written_pid(tmp_path / "pid")]
    assert alone.process is not None
    alone.process.kill()
    alone.wait()
    alone.serve()
    assert not any(map(lives, pids)), "the next daemon begins when nothing of the one before is left"
    alone.run("web", "start")
    assert alone.pids("web", "w") != [pid]


def test_fault_06_one_daemon_at_a_time(alone: Standalone) -> None:
    pid = up(alone)
    second = subprocess.run([sys.executable, "-m", "mosha.clinit", "-d", "-c", alone.cltab], capture_output=True,
                            text=True, timeout=60, check=False)
    assert (second.returncode, "another clinit runs" in second.stderr) == (1, True)
    still(alone, pid)


def test_fault_07_a_dead_guardian_is_noticed(alone: Standalone) -> None:
    pid = up(alone)
    os.kill(alone.guardians()[0], signal.SIGKILL)
    assert alone.logged("its guardian died")
    wait_until(lambda: not lives(pid))
    wait_until(lambda: alone.state("web") == "start FAILED")


@pytest.mark.parametrize("log", ["/dev/full", "/no/such/directory/log", "{directory}", "{directory}/fifo"])
def test_fault_09_no_log_is_no_trouble(alone: Standalone, log: str) -> None:
    """Full, absent, not a file, and one that takes nothing."""
    os.mkfifo(alone.directory / "fifo")
    alone.log = Path(log.format(directory=alone.directory))
    noisy = "web:n:start:once:head -c 300000 /dev/zero | tr '\\0' '\\n'\n"
    pid = up(alone, noisy)
    alone.run("web", "start")
    still(alone, pid)


def test_fault_09_standard_error_that_nobody_reads_is_no_trouble(alone: Standalone) -> None:
    read_end, write_end = os.pipe()
    alone.cltab.write_text(f":::socket:{alone.socket}\n:::clstat:{alone.clstat}\n{WEB}"
                           "web:n:start:once:head -c 300000 /dev/zero | tr '\\0' '\\n'\n")
    try:
        alone.serve(stderr=write_end)
        alone.run("web", "start")
        wait_until(lambda: not alone.pids("web", "n"))
        alone.run("web", "stop")
    finally:
        os.close(read_end)
        os.close(write_end)


def test_fault_14_a_clock_that_is_set_back_stops_nothing(alone: Standalone) -> None:
    """Half a second after its start it is an hour earlier for this daemon; stops and the heartbeat go on."""
    (alone.directory / "sitecustomize.py").write_text(
        "import time\nreal, begin = time.time, time.monotonic()\n"
        "time.time = lambda: real() - (3600 if time.monotonic() > begin + 0.5 else 0)\n"
        f"open('{alone.directory}/set-back', 'w').close()\n"
    )
    alone.environment["PYTHONPATH"] = f"{alone.directory}:{os.environ.get('PYTHONPATH', '')}"
    alone.start(f"{WEB}web:deaf:start:respawn:{DEAF}\n", ":::heartbeat_s:0.1\n:::stop:INT 0 TERM 0.1 KILL 0.2\n")
    alone.run("web", "start")
    assert alone.logged("web: deaf: deaf")
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() > begun + 0.5)
    before = alone.clstat.stat().st_ino
    wait_until(lambda: alone.clstat.stat().st_ino != before)
    alone.run("web", "stop")
    assert (alone.directory / "set-back").exists()


def test_fault_15_what_a_shell_left_is_stopped_with_it(alone: Standalone, tmp_path: Path) -> None:
    alone.start(f"web:c:start:respawn:sh -c 'echo $$ >{tmp_path}/pid; {DEAF}'; echo\n")
    alone.run("web", "start")
    pid = written_pid(tmp_path / "pid")
    alone.run("web", "stop")
    assert not lives(pid)


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ("web:a:start:wait:exit 3;", "a: exit status 3"),
        ("web:a:start:once:exit 4;", "a: exit status 4"),
        ("web:a:start:test:exit 5;", "a: exit status 5"),
        ("web:a:start:respawn:echo; false", "a: exited 6 times within 1 s of its start"),
    ],
)
def test_fault_16_a_failed_start_is_a_failed_group(alone: Standalone, entries: str, reason: str) -> None:
    alone.start(f"{entries}\n")
    alone.run("web", "start", "FAILED")
    assert alone.logged(f"web: start FAILED: {reason}")


def test_fault_18_a_changed_entry_is_stopped_in_order_and_no_other_group(alone: Standalone) -> None:
    polite = "trap 'echo told politely; exit 0' INT; echo ready; while :; do sleep 0.05; done"
    pid = up(alone, f"web:s:start:respawn:{polite}\n{DB}")
    assert alone.logged("web: s: ready")
    alone.run("db", "start")
    other = alone.pid("db", "d")
    alone.write(WEB)
    alone.run("web", "start")
    assert alone.logged("web: s: told politely")
    assert lives(other)
    still(alone, pid)


def test_fault_19_edits_are_taken_up_and_a_bad_one_does_not_end_control(alone: Standalone) -> None:
    pid = up(alone)
    alone.write(WEB.replace("600", "700"))
    alone.client.read()
    wait_until(lambda: not lives(pid) and alone.pids("web", "w"))
    alone.write(f"{WEB}{WEB}")
    assert alone.tell("web", "stop").endswith("tag w is already used in line 5")
    alone.until("web", "stop DONE")


def test_fault_20_a_process_that_has_been_collected_is_never_signalled() -> None:
    group = Group("g")
    entries = cltab.parse("g:a:start:respawn:x\n").entries
    group.tell(0, "start", entries)
    for number in range(6):
        group.exited(0.1 * number, "a", 1)
    assert group.state == "FAILED"
    assert short(group.tell(9, "stop", entries)) == [
        "start/STOPPING", "start/DUMPING", "stop/STARTING", "stop/CHECKING", "stop/DONE",
    ]


def test_fault_21_a_shutdown_gives_the_grace_of_a_stop_and_holds_nothing_up(alone: Standalone) -> None:
    slow = "trap 'sleep 0.5; echo in peace; exit 0' INT; echo ready; while :; do sleep 0.05; done"
    alone.start(f"web:w:start:respawn:{slow}\n", ":::stop:INT 0 KILL 3600\n:::heartbeat_s:0.05\n")
    alone.run("web", "start")
    assert alone.logged("web: w: ready")
    client = alone.client
    client.shutdown()
    wait_until(lambda: alone.state("web") == "start HALTING")
    assert client.runs()
    assert alone.wait() == 0
    assert alone.logged("web: w: in peace")


def test_fault_22_garbage_and_silence_are_nobody_elses_trouble(alone: Standalone) -> None:
    """More of that: test_clinit_control.py."""
    pid = up(alone)
    assert alone.speak(b"00000005hello") != b""
    still(alone, pid)


def test_fault_22_the_socket_is_for_its_user_alone(alone: Standalone) -> None:
    up(alone)
    assert stat.S_IMODE(alone.socket.stat().st_mode) == 0o600


def test_fault_22_one_silent_client_blocks_neither_others_nor_the_heartbeat(alone: Standalone) -> None:
    """Those of them who said the half of something, too."""
    alone.start(WEB, f"{QUICK}:::heartbeat_s:0.1\n")
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as half:
        for connection in (silent, half):
            connection.connect(str(alone.socket))
        half.send(b'{"do": "re')
        alone.run("web", "start")
        before = alone.clstat.stat().st_ino
        wait_until(lambda: alone.clstat.stat().st_ino != before)
        still(alone, alone.pid("web", "w"))


def test_fault_23_what_the_starter_ignored_is_not_ignored(alone: Standalone) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    alone.start(WEB, ":::stop:INT 0 KILL 3600\n", preexec_fn=ignore)
    alone.run("web", "start")
    alone.run("web", "stop")


@pytest.mark.parametrize("bad", ["nonsense\n", None, "directory"])
def test_fault_24_a_daemon_without_a_good_table_serves_and_waits_for_one(alone: Standalone, bad: str | None) -> None:
    arguments = ["-s", str(alone.socket)]
    if bad == "directory":
        alone.cltab.mkdir()
    elif bad is not None:
        alone.write(bad)
    alone.spawn(*arguments, stderr=subprocess.DEVNULL)
    wait_until(alone.client.runs)
    assert "stays in use" in alone.client.tell("web", "start").text
    if bad == "directory":
        shutil.rmtree(alone.cltab)
    alone.cltab.write_text(WEB)
    assert alone.tell("web", "start")
    assert lives(alone.pid("web", "w"))


def test_fault_25_an_off_entry_is_passed_over(alone: Standalone) -> None:
    alone.start(f"web:o:start:off:sleep 600\n{WEB}")
    alone.run("web", "start")
    assert alone.pids("web", "o") == []


def test_fault_26_two_edits_within_one_second_are_both_seen(alone: Standalone) -> None:
    alone.start(WEB)
    stamp = time.time()
    for number in range(3):
        alone.write(f"{WEB}g{number}:t{number}:start:wait:true\n")
        os.utime(alone.cltab, (stamp, stamp))
        alone.run(f"g{number}", "start")


def test_fault_27_the_heartbeat_is_quick_enough_to_be_missed_twice(alone: Standalone) -> None:
    alone.start(WEB)
    limit_s = 60.0                   # what OpenMosix::HA took for stale
    assert alone.client.places.heartbeat_s * 3 < limit_s
    assert alone.client.places.clstat == str(alone.clstat)


def test_fault_28_a_clstat_that_was_cut_is_noticed(alone: Standalone) -> None:
    up(alone)
    text = alone.clstat.read_text()
    assert alone.process is not None
    alone.process.send_signal(signal.SIGSTOP)
    for length in range(1, len(text)):
        alone.clstat.write_text(text[:length])
        with pytest.raises(TableErrors):
            alone.client.status()
    alone.process.send_signal(signal.SIGCONT)


def test_fault_31_zero_is_a_name_and_a_letter_is_no_level(alone: Standalone) -> None:
    alone.start("0:z:0:respawn:sleep 600\nweb:w:start:respawn:sleep 600\n")
    alone.run("0", "0")
    assert lives(alone.pid("0", "z"))
    alone.run("web", "s")
    assert alone.pids("web", "w") == []


def test_fault_33_what_a_tell_says_is_an_exit_code(alone: Standalone) -> None:
    alone.start(WEB)
    assert [cli.main(["-c", str(alone.cltab), group, "start"]) for group in ("web", "no")] == [0, 1]


def test_fault_34_the_log_setting_works(alone: Standalone) -> None:
    up(alone, "web:s:start:once:echo out; echo err >&2\n")
    assert alone.logged("web: s: err")
    for line in ("web: start STARTING", "web: s: out", "web: start DONE"):
        assert re.search(rf"^\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d {line}$", alone.log.read_text(), re.M)
    alone.log.rename(alone.log.with_suffix(".1"))
    alone.run("web", "stop")
    assert alone.logged("web: stop DONE")


def test_every_fault_of_the_list_has_a_test_and_every_test_a_fault() -> None:
    listed = set(re.findall(r"^\| (\d+) \|", DOCS.read_text(encoding="utf-8"), re.M))
    tested = {str(int(name[11:13])) for name in globals() if re.match(r"test_fault_\d\d_", name)}
    assert listed == tested


def test_a_daemon_without_standard_descriptors_takes_none_of_its_files_for_them(alone: Standalone) -> None:
    """Its log is standard error, which somebody has closed: nothing is written into the lock of its life."""
    alone.cltab.write_text(f":::socket:{alone.socket}\n:::clstat:{alone.clstat}\n{QUICK}{WEB}")
    command = [sys.executable, "-m", "mosha.clinit", "-d", "-c", str(alone.cltab)]
    alone.process = subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command], env=alone.environment)
    wait_until(alone.client.runs)
    alone.run("web", "start")
    found = [os.readlink(f"/proc/{alone.process.pid}/fd/{fd}") for fd in (0, 1, 2)]
    assert found == [os.devnull] * 3
    rundir = Path(alone.client.places.rundir)
    assert [(rundir / name).read_bytes() for name in ("agent.lock", "life.lock")] == [b"", b""]
    still(alone, alone.pid("web", "w"))
