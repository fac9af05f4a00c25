"""A process whose body runs elsewhere, as its parent, its user and ps see it."""

from __future__ import annotations

import errno
import os
import pty
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.guests.pair import LONG_S, MOSRUN, UNREACHABLE, Pair, children_of, is_there, wait_until
from tests.unit.hpc.loopback import NO_ONE, mode, refused

PIPE = subprocess.PIPE
STAYS = (
    1, "", "migrate: Operation not supported: the memory of a running process cannot be moved here;"
    " mosrun starts a command on another node\n",
)  # fmt: skip
NODE = ("OPENMOSIX_PROC", "OPENMOSIX_DEPUTIES")


def test_it_is_the_command_as_far_as_its_parent_can_tell(shared: Pair) -> None:
    assert shared.mosrun("-2", "echo", "hello") == (0, "hello\n", "")
    assert shared.mosrun("-j2", "sh", "-c", "cat; echo wrong >&2; exit 7", text="in\n") == (7, "in\n", "wrong\n")
    assert shared.mosrun("-2", "sh", "-c", "kill -TERM $$") == (-signal.SIGTERM, "", "")
    assert shared.mosrun("-2", "sh", "-c", "kill -KILL $$") == (-signal.SIGKILL, "", "")
    assert shared.mosrun("-2", "no-such-command") == (1, "", "no-such-command: No such file or directory\n")
    shared.no_guests()


def test_it_has_pid_name_and_surroundings_of_home(shared: Pair, tmp_path: Path) -> None:
    show = (
        "import os, resource, socket\n"
        "print(os.getpid(), socket.gethostname(), os.getcwd(), oct(os.umask(0)), os.environ['WORD'])\n"
        "print(os.nice(0), *(resource.getrlimit(getattr(resource, f'RLIMIT_{name}')) for name in ('NOFILE', 'CORE')))"
    )
    code = (
        "import os, resource, sys; os.umask(0o27); os.nice(5); resource.setrlimit(resource.RLIMIT_NOFILE, (99, 100))\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 4096))\n"
        f"os.execv(sys.executable, {[sys.executable]} + sys.argv[1:])"
    )
    environment = {**shared.environment, "WORD": "a word"}
    command = [sys.executable, "-c", code, "-m", "emulator.tools.mosrun", "-2", sys.executable, "-c", show]

    def is_as_at_home() -> bool:
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=PIPE, text=True) as process:
            out, _ = process.communicate(timeout=LONG_S)
        return out == f"{process.pid} {os.uname().nodename} {tmp_path} 0o27 a word\n5 (99, 100) (0, 4096)\n"

    wait_until(is_as_at_home)


def test_a_directory_that_is_not_there_is_the_root(shared: Pair, tmp_path: Path) -> None:
    code = (
        "import os, sys; os.rmdir(os.getcwd()); sys.argv[1:] = ['-2', 'pwd']\n"
        "from emulator.tools.mosrun import main; sys.exit(main())"
    )
    folder = tmp_path / "gone"

    def run() -> bytes:
        folder.mkdir()
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, cwd=folder, env=shared.environment, stdout=PIPE, timeout=LONG_S, check=False
        ).stdout

    wait_until(lambda: run() == b"/\n")


def test_both_nodes_tell_where_it_is(shared: Pair) -> None:
    with shared.away("sleep", "60") as process:
        folder = shared.home.proc / str(process.pid)
        assert [(folder / name).read_text() for name in ("where", "nmigs", "lock")] == ["2\n", "1\n", "1\n"]
        ps = subprocess.run(["ps", "-o", "ppid=,comm=,args=", "-p", str(process.pid)], stdout=PIPE, check=True)
        assert ps.stdout.split() == [str(os.getpid()).encode(), b"sleep", b"sleep", b"60"]
        body = shared.body_of(process)
        assert (shared.host.proc / str(body) / "where").read_text() == "2\n"
        assert (shared.host.proc / str(warden_of(shared, process)) / "where").read_text() == "2\n"
        remote = shared.host.path(f"remote/{body}")
        assert sorted(os.listdir(remote)) == ["from", "goto", "identity", "statm", "stats"]
        assert {mode(remote / name) for name in ("from", "identity", "statm", "stats")} == {0o444}
        assert mode(remote / "goto") == 0o222
        assert shared.host.read(f"remote/{body}/from") == f"1     {shared.home.address}\n"
        assert shared.host.read(f"remote/{body}/identity") == (
            f"pid={process.pid}\nuid=0\ngid=0\npgrp={os.getpgid(process.pid)}\nsession={os.getsid(process.pid)}\n"
            "nmigs=1\ncommand=sleep\n"
        )
        stats = shared.host.read(f"remote/{body}/stats")
        assert [line.split("=")[0] for line in stats.splitlines()[:-1]] == [
            "utime", "cutime", "nice", "state", "vsize", "rss", "nswap", "cnswap"
        ]  # fmt: skip
        assert stats.endswith("\n\0")
        assert len(shared.host.read(f"remote/{body}/statm").split()) == 7
    shared.no_guests()
    assert shared.home.tool("mosrun", "-h", "cat", str(shared.home.proc / "self/where")) == (0, "0\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP, signal.SIGRTMIN + 3])
def test_signals_go_to_the_body(shared: Pair, number: signal.Signals) -> None:
    code = (
        "import signal, sys\n"
        f"signal.signal({int(number)}, lambda n, _: (print('got', n, flush=True), sys.exit(5)))\n"
        "import time\nprint('ready', flush=True)\nwhile True: time.sleep(0.05)"
    )
    with shared.away(sys.executable, "-c", code, stdout=PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == b"got %d\n" % number
        assert process.wait(LONG_S) == 5


def test_one_that_it_does_not_catch_ends_it(shared: Pair) -> None:
    with shared.away("sleep", "60") as process:
        process.send_signal(signal.SIGUSR2)
        assert process.wait(LONG_S) == -signal.SIGUSR2
    shared.no_guests()


def test_an_ignored_signal_stays_ignored(shared: Pair) -> None:
    code = "import os, signal, sys; signal.signal(1, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", code, *MOSRUN, "-2", "sh", "-c", "kill -HUP $$; echo still here"]

    def run() -> bytes:
        return subprocess.run(command, env=shared.environment, stdout=PIPE, timeout=LONG_S, check=False).stdout

    wait_until(lambda: run() == b"still here\n")


def test_it_stops_and_goes_on(shared: Pair) -> None:
    with shared.away("sleep", "60") as process:
        body = shared.body_of(process)

        def state() -> str:
            return Path(f"/proc/{body}/stat").read_text().rpartition(")")[2].split()[0]

        wait_until(lambda: state() == "S")
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: state() == "T")
        process.send_signal(signal.SIGCONT)
        wait_until(lambda: state() == "S")
        assert process.poll() is None


def test_who_stops_itself_is_stopped_at_home(shared: Pair) -> None:
    with shared.away("sh", "-c", "kill -STOP $$; exit 3") as process:
        wait_until(lambda: os.WIFSTOPPED(os.waitpid(process.pid, os.WNOHANG | os.WUNTRACED)[1]))
        wait_until(lambda: "T" in Path(f"/proc/{shared.body_of(process)}/stat").read_text().rpartition(")")[2])
        process.send_signal(signal.SIGCONT)
        assert process.wait(LONG_S) == 3


def test_much_data_both_ways(shared: Pair) -> None:
    size = 5_000_000
    with shared.away("sh", "-c", "cat; echo done >&2", stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        out, err = process.communicate(os.urandom(size), timeout=LONG_S)
    assert (len(out), err, process.returncode) == (size, b"done\n", 0)


def test_files_as_standard_streams(shared: Pair, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(os.urandom(700_000))

    def run() -> int:
        with source.open("rb") as stdin, target.open("wb") as stdout:
            command = [*MOSRUN, "-2", "cat"]
            environment = shared.environment
            done = subprocess.run(command, stdin=stdin, stdout=stdout, env=environment, timeout=LONG_S, check=False)
        return done.returncode

    wait_until(lambda: run() == 0)
    assert target.read_bytes() == source.read_bytes()


def test_a_stream_that_nobody_reads_holds_up_no_other(shared: Pair) -> None:
    code = "head -c 10000000 /dev/zero & echo first >&2; wait"
    with shared.away("sh", "-c", code, stdout=PIPE, stderr=PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"first\n"
        assert process.poll() is None
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(LONG_S) == 0, "head has got SIGPIPE"


def test_who_writes_where_nobody_reads_gets_sigpipe(shared: Pair) -> None:
    with shared.away("yes", stdout=PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(4) == b"y\ny\n"
        process.stdout.close()
        assert process.wait(LONG_S) == -signal.SIGPIPE


def test_closed_standard_streams(shared: Pair) -> None:
    close = 'exec <&- >&- 2>&-; exec "$@"'
    command = [*MOSRUN, "-2", "sh", "-c", "cat; echo; exit 9"]

    def run() -> int:
        command_line = ["bash", "-c", close, "bash", *command]
        return subprocess.run(command_line, env=shared.environment, timeout=LONG_S, check=False).returncode

    wait_until(lambda: run() == 9)


def test_in_the_background_it_leaves_its_terminal_alone(shared: Pair) -> None:
    """A read from the background would stop it (SIGTTIN)."""
    mosrun = f"{sys.executable} -m emulator.tools.mosrun -2 sh -c 'sleep 1.5; echo it has run'"
    pid, terminal = pty.fork()
    if not pid:
        os.execvpe("bash", ["bash", "-mc", f"{mosrun} & wait $!"], shared.environment)
    os.write(terminal, b"typed for others\n")
    seen = b""
    try:
        while True:
            seen += os.read(terminal, 4096)
    except OSError:  # nobody has it any more
        pass
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert b"it has run" in seen
    assert os.waitstatus_to_exitcode(status) == 0


def test_what_the_body_leaves_behind_ends_with_it(shared: Pair) -> None:
    code = "sleep 600 & (setsid sleep 601 &) ; echo ready; read word; exit 4"
    with shared.away("sh", "-c", code, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        family = children_of(warden_of(shared, process))
        assert len(family) >= 4
        assert {(shared.host.proc / str(pid) / "where").read_text() for pid in family} == {"2\n"}
        process.stdin.write(b"go\n")
        process.stdin.close()
        process.stdin = None
        assert process.wait(LONG_S) == 4
        assert process.stdout.read() == b""
    wait_until(lambda: not any(is_there(pid) for pid in family))


def warden_of(pair: Pair, process: subprocess.Popen[bytes]) -> int:
    return int(Path(f"/proc/{pair.body_of(process)}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_killed_deputy_takes_its_body_along(shared: Pair) -> None:
    with shared.away("sh", "-c", "sleep 60 & sleep 61") as process:
        warden = warden_of(shared, process)
        wait_until(lambda: len(children_of(warden)) >= 3)
        family = children_of(warden)
        process.kill()
        assert process.wait(LONG_S) == -signal.SIGKILL
    wait_until(lambda: not any(is_there(pid) for pid in family))
    shared.no_guests()


def test_a_user_stays_that_user(shared: Pair) -> None:
    for node in shared.nodes:
        node.folder.chmod(0o755)
    told = "mosrun: not locked: Permission denied\n"
    groups = " ".join(map(str, [NO_ONE, *sorted(set(os.getgroups()) - {NO_ONE})]))

    def run() -> tuple[int, str, str]:
        return shared.home.tool_as_user("mosrun", "-2", "sh", "-c", "id -u; id -g; id -G")

    wait_until(lambda: run() == (0, f"{NO_ONE}\n{NO_ONE}\n{groups}\n", told))


def test_a_running_process_stays_where_it_is_and_that_is_said(shared: Pair) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            assert shared.home.tool("migrate", str(process.pid), "2") == STAYS
            assert refused(lambda: (shared.home.proc / f"{process.pid}/migrate").write_text("2")) == errno.EOPNOTSUPP
            assert (shared.home.proc / f"{process.pid}/where").read_text() == "0\n"
            assert process.poll() is None
        finally:
            process.kill()
    assert f"process {process.pid} stays where it is" in shared.home.log.read_text()


def test_nor_does_one_that_is_away_come_home(shared: Pair) -> None:
    with shared.away("sleep", "60") as process:
        pid = str(process.pid)
        assert shared.home.tool("migrate", pid, "2") == (0, "", "")
        assert shared.home.tool("migrate", pid, "balance") == (0, "", "")
        assert shared.home.tool("migrate", pid, "home") == STAYS
        assert shared.home.tool("migrate", pid, "1") == STAYS
        goto = shared.host.path(f"remote/{shared.body_of(process)}/goto")
        wait_until(lambda: refused(lambda: goto.write_text("0")) == errno.EOPNOTSUPP)    # a busy home may miss a probe
        assert shared.where(process) == 2


def test_a_guest_has_the_settings_that_it_had_at_home(shared: Pair) -> None:
    here = shared.host.proc / "self"
    for words, lock in ((["-2"], "1\n"), (["-2", "-l"], "0\n")):
        assert shared.mosrun(*words, "cat", str(here / "lock")) == (0, lock, "")
    (shared.home.proc / f"{os.getpid()}/selected").write_text("3")
    try:
        said = shared.mosrun("-2", "sh", "-c", f"(cat {here}/selected); echo 0 >{here}/selected; cat {here}/selected")
        assert said == (0, "3\n0\n", "")
    finally:
        (shared.home.proc / f"{os.getpid()}/selected").write_text("0")


def test_a_guest_is_not_taken_for_one_at_home(shared: Pair) -> None:
    """What is to be run at home must not be run where the guest is, without a word."""
    at_host = shlex.join(["env", *(f"{name}={shared.host.environment[name]}" for name in NODE), *MOSRUN])
    refused_there = (1, "", "Migration Failed: Operation not supported\n")
    assert shared.mosrun("-2", "sh", "-c", f"{at_host} -h echo there") == refused_there
    assert shared.mosrun("-2", "sh", "-c", f"{at_host} -h -F echo there") == (0, "there\n", "")
    assert shared.mosrun("-2", "sh", "-c", f"{at_host} echo there") == (0, "there\n", "")
    goes_home = f"echo 0 | tee {shared.host.proc}/self/goto"
    wait_until(lambda: shared.mosrun("-2", "sh", "-c", goes_home)[2].endswith("Operation not supported\n"))


def test_where_it_cannot_go(shared: Pair) -> None:
    assert shared.mosrun("-9", "true") == (1, "", "Migration Failed: No such device or address\n")
    assert shared.home.tool("mosrun", "-3", "true") == UNREACHABLE
    assert shared.mosrun("-3", "-F", "echo", "at home") == (0, "at home\n", "")
    shared.host.write("admin/block", b"1\n")
    try:
        assert shared.home.tool("mosrun", "-2", "true") == UNREACHABLE
    finally:
        shared.host.write("admin/block", b"0\n")
    words = ["x" * 100_000] * 11
    assert shared.mosrun("-2", "true", *words) == (1, "", "Migration Failed: Argument list too long\n")
