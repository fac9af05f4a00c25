"""Calls of programs: nothing of one outlives its time, whatever it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mosha.platform import procscan
from mosha.stomith import process
from mosha.stomith.devices import Call
from moslab.wait import eventually

LIMIT_S = 20.0
MARK = "MOSHA_TEST_OF_CALLS"


def sh(script: str, limit_s: float = LIMIT_S, stdin: str = "") -> process.Ended:
    return process.run(Call(("sh", "-c", script), stdin), limit_s)


@pytest.fixture(autouse=True)
def _marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, str(os.getpid()))


def ours() -> list[int]:
    """Living processes of this test's calls."""
    table = procscan.processes()
    found = procscan.find(f"{MARK}={os.getpid()}".encode())
    return [pid for pid in found if pid in table and table[pid].state != procscan.ZOMBIE]


def test_exit_code_and_words() -> None:
    assert sh("echo one; echo two >&2; exit 3")[:2] == (3, "one\ntwo")
    assert sh("kill -9 $$").code == -9


def test_options_arrive_and_who_does_not_read_them_is_no_error() -> None:
    assert sh("cat", stdin="action=off\nplug=3\n").words == "action=off\nplug=3"
    assert sh("exec <&-; echo done", stdin="x=y\n" * 1000)[:2] == (0, "done")


@pytest.mark.parametrize("signo", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE])
def test_no_signal_is_ignored_as_the_agent_is_deaf_to_it(signo: signal.Signals) -> None:
    """A shell cannot trap one that was ignored when it began."""
    before = signal.signal(signo, signal.SIG_IGN)
    try:
        assert sh(f"trap 'echo it came' {signo.name[3:]}; kill -{signo.name[3:]} $$").words == "it came"
    finally:
        signal.signal(signo, before)


@pytest.mark.parametrize("program", ["/nowhere/device", "no-such-device", "/etc/passwd", "/"])
def test_what_cannot_be_run_says_so(program: str) -> None:
    ended = process.run(Call((program,)), LIMIT_S)
    assert ended.code is None
    assert ended.words.startswith(f"{program}: ")


def test_sbin_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    assert sh("echo $PATH").words == f"/bin:/usr/bin:{process.SBIN}"


def test_the_last_of_much_output_is_kept() -> None:
    ended = sh("seq 1 200000; echo last; exit 1")
    assert ended.code == 1
    assert ended.words.endswith("200000\nlast")
    assert len(ended.words) <= process.WORDS_BYTES_MAX
    assert all(line.isdigit() for line in ended.words.splitlines()[:-1])
    first = int(ended.words.splitlines()[0])
    assert int(ended.words.splitlines()[1]) == first + 1, "it begins with a whole line"


@pytest.mark.parametrize(
    "script",
    [
        "sleep 1000",
        "trap '' TERM INT HUP; while :; do sleep 1000; done",
        "sleep 1000 & sleep 1000 & wait",
        "setsid sleep 1000 & setsid sh -c 'setsid sleep 1000 & wait' & wait",
        "(setsid sh -c 'sleep 1000; :' &) ; sleep 1000",
        "env -i setsid sh -c 'sleep 1000 & wait' & wait",
        "exec >&- 2>&-; sleep 1000",
        "while :; do echo flood; done",
        "kill -STOP $$",
    ],
)
def test_at_the_limit_all_that_came_from_it_is_killed(script: str) -> None:
    before = {pid for pid, p in procscan.processes().items() if p.state != procscan.ZOMBIE}
    ended = sh(f"echo begun; {script}", 0.4)
    assert ended.code is None
    assert "no end within 0.4 s, killed" in ended.words
    assert ended.seconds >= 0.4
    assert ours() == []
    after = procscan.descendants(procscan.processes(), os.getpid())
    assert [p for p in after if p.pid not in before and p.state != procscan.ZOMBIE] == []


def test_a_daemon_without_a_mark_dies_too(tmp_path: Path) -> None:
    """Its parent has gone, it left the session, it has another environment: only the kernel knows whose it is."""
    pid_file = tmp_path / "pid"
    script = f"(env -i setsid sh -c 'echo $$ > {pid_file}; exec sleep 1000' &); sleep 1000"
    assert sh(script, 3.0).code is None
    found = procscan.process(int(pid_file.read_text()))
    assert found is None or found.state == procscan.ZOMBIE


def test_a_child_that_keeps_the_output_is_not_waited_for() -> None:
    began_s = time.monotonic()
    ended = sh("sleep 1000 & echo off")
    assert ended[:2] == (0, "off")
    assert time.monotonic() - began_s < LIMIT_S / 2
    assert eventually(lambda: not ours(), within_s=LIMIT_S, what="what was left in its process group is killed")


def test_it_ends_with_who_called_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 1000"
    code = (
        "from mosha.stomith import process\n"
        "from mosha.stomith.devices import Call\n"
        f"process.run(Call(('sh', '-c', {script!r})), 999)"
    )
    caller = subprocess.Popen([sys.executable, "-c", code])
    try:
        eventually(pid_file.exists, within_s=LIMIT_S, what="the call has begun")
        caller.send_signal(signal.SIGKILL)
    finally:
        caller.kill()
        caller.wait()
    pid = int(pid_file.read_text())
    eventually(lambda: procscan.process(pid), lambda p: p is None or p.state == procscan.ZOMBIE, within_s=LIMIT_S,
               what="the program has ended")
