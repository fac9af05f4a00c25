from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mosha.platform import linux, procscan
from tests.unit.clinit.leashed import lives, wait_until


@pytest.fixture
def group() -> str:
    return "t" + uuid.uuid4().hex


@pytest.fixture
def crowd(group: str) -> Iterator[subprocess.Popen[bytes]]:
    """A marked shell with a marked child of another session, both deaf."""
    command = "trap '' INT TERM; setsid sleep 600 & while :; do sleep 0.05; done"
    with subprocess.Popen(["sh", "-c", command], env={**os.environ, "MOSHA_GROUP": group}) as shell:
        wait_until(lambda: len(procscan.find(f"MOSHA_GROUP={group}".encode())) >= 2)
        yield shell
        procscan.kill_all(partial(procscan.marked, group, ""), 5)


def test_marked_processes_are_found_and_no_others(group: str, crowd: subprocess.Popen[bytes]) -> None:
    assert crowd.pid in procscan.find(f"MOSHA_GROUP={group}".encode())
    assert procscan.find(f"MOSHA_GROUP={group[:-1]}".encode()) == []
    assert crowd.pid in procscan.find(b"MOSHA_GROUP=")
    assert procscan.variable(crowd.pid, "MOSHA_GROUP") == group
    assert procscan.variable(crowd.pid, "MOSHA_NOTHING") is None


def test_a_process_that_executes_one_program_after_the_other_is_found_by_every_look(group: str, tmp_path: Path) -> None:
    """In between it has no environment, a few percent of this one's time."""
    script = tmp_path / "again"
    script.write_text(f"exec sh {script}\n")
    with subprocess.Popen(["sh", str(script)], env={**os.environ, "MOSHA_GROUP": group}) as again:
        try:
            wait_until(lambda: procscan.marked(group, "/nowhere"))
            assert [procscan.marked(group, "/nowhere") for _ in range(300)] == [[again.pid]] * 300
            assert {procscan.variable(again.pid, "MOSHA_GROUP") for _ in range(3000)} == {group}
        finally:
            again.kill()


def test_nobody_waits_for_what_has_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of these none will ever come: a kernel thread, a zombie, a process that was given none, one that is gone."""
    monkeypatch.setattr(procscan, "EXECUTING_S", 600.0)
    with subprocess.Popen(["true"]) as zombie, subprocess.Popen(["sleep", "600"], env={}) as bare:
        try:
            wait_until(lambda: not lives(zombie.pid) and Path(f"/proc/{bare.pid}/comm").read_text() == "sleep\n")
            assert [procscan.variable(pid, "X") for pid in (2, zombie.pid, bare.pid, 2**22 + 1)] == [None] * 4
        finally:
            bare.kill()


def test_nobody_waits_for_ever_for_what_hangs_while_it_is_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procscan, "_is_to_come", lambda _pid: True)
    monkeypatch.setattr(procscan, "EXECUTING_S", 0.05)
    assert procscan.find(b"MOSHA_GROUP=none of them") == []


def test_kill_all_leaves_none(group: str, crowd: subprocess.Popen[bytes]) -> None:
    pids = procscan.find(f"MOSHA_GROUP={group}".encode())
    assert procscan.kill_all(partial(procscan.marked, group, ""), 5)
    assert not any(lives(pid) for pid in pids)


def test_descendants_are_killed_without_a_look_at_all_processes(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In other sessions, of other threads than the first, and deep ones; but nothing beside the caller."""
    thread = "import subprocess as s, threading as t; t.Thread(target=s.call, args=[['sleep', '601']]).start()"
    command = ["sh", "-c", f'(setsid sh -c "sleep 602 & wait" &); {sys.executable} -c "{thread}"']
    with subprocess.Popen(["sleep", "600"]) as sibling:
        pid = os.fork()
        if pid == 0:
            try:
                linux.set_subreaper()
                subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, procscan.MARK: group})
                wait_until(lambda: len(sleepers(os.getpid())) == 2)
                monkeypatch.setattr(procscan, "_pids", list)
                procscan.kill_descendants()
                monkeypatch.undo()
                wait_until(lambda: not procscan.living(procscan.descendants(procscan.processes(), os.getpid())))
                os._exit(0)
            finally:
                os._exit(1)
        try:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert sibling.poll() is None
        finally:
            sibling.kill()
            procscan.kill_all(partial(procscan.marked, group, ""), 5)


def sleepers(root: int) -> list[int]:
    below = procscan.descendants(procscan.processes(), root)
    return [p.pid for p in below if Path(f"/proc/{p.pid}/comm").read_text().strip() == "sleep"]


def test_kill_all_gives_up_at_its_limit() -> None:
    begin = time.monotonic()
    assert not procscan.kill_all(lambda: [2**30], 0.05)
    assert 0.05 <= round(time.monotonic() - begin, 6) < 2


def test_one_empty_look_proves_nothing() -> None:
    looks: list[list[int]] = [[], [2**30], [], []]
    assert procscan.kill_all(lambda: looks.pop(0), 5)
    assert looks == []


def test_descendants_are_found_through_any_depth() -> None:
    with subprocess.Popen(["sh", "-c", "(sleep 600 & wait) & wait"], start_new_session=True) as shell:
        try:
            wait_until(lambda: len(procscan.descendants(procscan.processes(), shell.pid)) == 2)
            table = procscan.processes()
            assert shell.pid in {process.pid for process in procscan.descendants(table, os.getpid())}
            assert table[shell.pid].session == shell.pid
            assert procscan.process(shell.pid) == table[shell.pid]
        finally:
            os.killpg(shell.pid, signal.SIGKILL)


def test_a_process_with_an_odd_name_is_read(tmp_path: os.PathLike[str]) -> None:
    odd = os.path.join(tmp_path, "a) R 1 (b")
    os.symlink("/bin/sleep", odd)
    with subprocess.Popen([odd, "600"]) as process:
        try:
            found = wait_until(lambda: procscan.process(process.pid))
            assert found.parent == os.getpid()
        finally:
            process.kill()
    assert procscan.process(process.pid) is None


def test_what_belongs_to_another_run_directory_is_not_found(group: str) -> None:
    """Two daemons on one machine may have groups of one name; what names no directory may be anybody's."""
    places = {"/run/one": "/run/one", "/run/two": "/run/two", "": None}
    started = {}
    for place, rundir in places.items():
        own = {"MOSHA_RUN": rundir} if rundir else {}
        started[place] = subprocess.Popen(["sleep", "600"], env={"MOSHA_GROUP": group, **own})
    try:
        wait_until(lambda: len(procscan.find(f"MOSHA_GROUP={group}".encode())) == 3)
        found = {started[place].pid for place in ("/run/one", "")}
        assert set(procscan.marked(group, "/run/one")) == found
        assert found <= set(procscan.marked(None, "/run/one"))
        assert started["/run/two"].pid not in procscan.marked(None, "/run/one")
    finally:
        for process in started.values():
            process.kill()
            process.wait()
