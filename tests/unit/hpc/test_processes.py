"""What openMosix adds to the directory of a process, and the decay of who asks."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from emulator.fuse.tree import Context
from emulator.hpc.machine import OF_A_PROCESS
from emulator.hpc.processes import Cantmove
from emulator.hpc.procfs import KERNEL_THREAD, Stat
from emulator.hpc.state import NUMBERS, State
from emulator.hpc.tasks import DECAY, SETTINGS, Task, Tasks
from emulator.membership import Membership
from tests.unit.hpc.loopback import Node, mode, refused, wait_until

PID = {
    "where": (0o444, "0\n"),
    "migrate": (0o200, None),
    "goto": (0o222, None),
    "lock": (0o644, "0\n"),
    "nmigs": (0o444, "0\n"),
    "cantmove": (0o444, ""),
    "sigmig": (0o644, "0\n"),
    "disclosure": (0o644, "3\n"),
    "migfilter": (0o644, "0\n"),
    "migpolicy": (0o644, "0\n"),
    "mignodes": (0o644, "00000000\n"),
    "miggroup": (0o644, "0\n"),
    "selected": (0o644, "0\n"),
}
READ_LINE = "import sys; sys.stdin.readline()"


def own(node: Node, name: str) -> Path:
    return node.proc / str(os.getpid()) / name


def test_a_process_has_the_files_of_one_at_home(node: Node, sleeper: subprocess.Popen[bytes]) -> None:
    folder = node.proc / str(sleeper.pid)
    assert sorted(os.listdir(folder)) == sorted([*PID, *OF_A_PROCESS])
    for name, (bits, content) in PID.items():
        assert mode(folder / name) == bits, name
        if content is not None:
            assert (folder / name).read_text() == content, name
    assert os.readlink(node.proc / "self") == str(os.getpid())
    assert str(os.getpid()) in os.listdir(node.proc)
    assert refused((node.proc / "4194305").stat) == errno.ENOENT


def test_self_is_the_process_and_not_the_thread(node: Node) -> None:
    code = (
        "import os, threading\n"
        f"show = lambda: print(os.readlink({str(node.proc / 'self')!r}) == str(os.getpid()))\n"
        "thread = threading.Thread(target=show); thread.start(); thread.join()"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"True\n"


def test_settings_are_kept_and_checked(node: Node, sleeper: subprocess.Popen[bytes]) -> None:
    folder = node.proc / str(sleeper.pid)
    for name in SETTINGS:
        (folder / name).write_text("1\n")
        assert (folder / name).read_text() == ("00000001\n" if name == "mignodes" else "1\n")
        assert refused(lambda name=name: (folder / name).write_text("x")) == errno.EINVAL  # type: ignore[misc]
    (folder / "mignodes").write_text("8000000f")
    assert (folder / "mignodes").read_text() == "8000000f\n"
    assert refused(lambda: (folder / "lock").write_text("2")) == errno.EINVAL
    assert refused(lambda: (folder / "selected").write_text("65535")) == errno.EINVAL


def test_a_lock_belongs_to_one_process(node: Node, sleeper: subprocess.Popen[bytes]) -> None:
    lock = node.proc / str(sleeper.pid) / "lock"
    lock.write_text("1\n")
    assert lock.read_text() == "1\n"
    assert own(node, "lock").read_text() == "0\n"
    sleeper.kill()
    sleeper.wait()
    assert not lock.exists()


def test_a_child_has_the_settings_that_its_parent_had_at_the_fork(node: Node) -> None:
    """mosrun -h locks a daemon with all that it starts; what was there before is not locked."""
    code = (
        "import subprocess, sys\n"
        "def start(): return subprocess.Popen(['sleep', '60'])\n"
        "def lock(value): open(sys.argv[1], 'w').write(value)\n"
        "before = start(); lock('1'); inside = start(); lock('0'); after = start()\n"
        "print(before.pid, inside.pid, after.pid, flush=True)\n"
        "sys.stdin.readline()\n"
        "for child in (before, inside, after): child.kill()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(node.proc / "self/lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        pids = parent.stdout.readline().split()
        locks = [(node.proc / pid / "lock").read_text() for pid in pids]
        parent.communicate("\n")
    assert locks == ["0\n", "1\n", "0\n"]


def test_what_is_gone_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.hpc.tasks.TASKS_MIN", 4)
    tasks = Tasks()
    for _ in range(40):
        with subprocess.Popen([sys.executable, "-IS", "-c", READ_LINE], stdin=subprocess.PIPE) as process:
            assert tasks.of(process.pid) is not None
            process.communicate(b"\n")
        assert tasks.of(process.pid) is None
    assert tasks.of(0) is None


@pytest.mark.parametrize("nonsense", [[[1, 1, {"colour": 1}]], [[1, 1]], [1]])
def test_what_was_kept_and_is_no_setting_changes_nothing(nonsense: list[Any]) -> None:
    tasks = Tasks()
    with pytest.raises((ValueError, TypeError)):
        tasks.restore(nonsense)
    assert tasks.kept() == []


@pytest.mark.parametrize("time", ["genuine", None])
def test_a_time_is_kept_and_another_is_none(time: str | None) -> None:
    state = State(Membership())
    state.restore([], NUMBERS, time)
    with pytest.raises(ValueError, match="no settings"):
        state.restore([], NUMBERS, "slow")
    assert state.time == time


def test_cantmove_says_what_the_machine_tells(node: Node) -> None:
    assert (node.proc / "1/cantmove").read_text().startswith("system")
    threads = "import threading, sys; threading.Thread(target=sys.stdin.readline).start()"
    with subprocess.Popen([sys.executable, "-c", threads], stdin=subprocess.PIPE) as process:
        cantmove = node.proc / str(process.pid) / "cantmove"
        wait_until(lambda: cantmove.read_text() == "clone_vm\n")
        process.communicate(b"\n")


@pytest.mark.parametrize(
    ("stat", "kib", "reasons"),
    [
        (Stat(2, KERNEL_THREAD, 1, 7, 0), 0, "system, clone_vm\n"),
        (Stat(1, 0, 1, 7, 1), 0, "rt_sched\n"),
        (Stat(1, 0, 3, 7, 2), 64, "mem_lock, clone_vm, rt_sched\n"),
        (Stat(1, 0, 1, 7, 0), 0, ""),
    ],
)
def test_cantmove_has_the_order_of_the_kernel(
    monkeypatch: pytest.MonkeyPatch, stat: Stat, kib: int, reasons: str
) -> None:
    monkeypatch.setattr("emulator.hpc.processes.stat_of", lambda _pid: stat)
    monkeypatch.setattr("emulator.hpc.processes.locked_kib", lambda _pid: kib)
    answers: list[bytes | int] = []
    Cantmove(Task(99, 7, {})).read(Context(0, 0, 99), answers.append)
    assert answers == [reasons.encode()]


def test_goto_asks_and_migrate_insists(nodes: list[Node], table: str, sleeper: subprocess.Popen[bytes]) -> None:
    """Node 2 is up, node 3 is up and blocked, node 4 never was; 9 is not in the map."""
    first, _, third = nodes
    table = table.replace(" 3\n", " 4\n")
    for node in nodes:
        node.configure(table)
    third.write("admin/block", b"1\n")
    assert first.comes_to_read("nodes/2/status", "3\n")
    assert first.comes_to_read("nodes/3/status", "19\n")
    folder = first.proc / str(sleeper.pid)

    def answers(name: str, *nodes: str) -> list[int | None]:
        return [refused(lambda node=node: (folder / name).write_text(node)) for node in nodes]  # type: ignore[misc]

    assert answers("goto", "0", "1", "-1", "9", "x") == [None, None, None, errno.ENODEV, errno.EINVAL]
    assert answers("migrate", "0", "1", "-1", "9") == [None, None, None, errno.ENXIO]
    assert answers("goto", "3", "4") == [None, None]
    assert answers("migrate", "3", "4") == [errno.ENETUNREACH, errno.ENETUNREACH]
    wait_until(lambda: answers("goto", "2") == [errno.EOPNOTSUPP])
    wait_until(lambda: answers("migrate", "2") == [errno.EOPNOTSUPP])


def test_decay_is_of_the_process_that_asks(node: Node) -> None:
    show = f"cd {node.path('decay')}; echo $(cat {' '.join(DECAY)})"

    def shell(code: str) -> str:
        return subprocess.run(["sh", "-c", code], capture_output=True, text=True, check=True).stdout

    assert shell(show) == "0 0 1 0 0 0 0 0\n"
    assert shell(f"cd {node.path('decay')}; echo 1 >cpujob; echo 1 >fast; {show}") == "1 0 0 1 0 0 0 0\n"
    assert shell(f"cd {node.path('decay')}; echo 1 >cpujob; echo 1 >iojob; {show}") == "0 1 1 0 0 0 0 0\n"
    assert shell(show) == "0 0 1 0 0 0 0 0\n"
    node.write("decay/clear", b"1\n")
    for name in (*DECAY, "clear"):
        assert refused(lambda name=name: node.write(f"decay/{name}", b"x")) == errno.EINVAL  # type: ignore[misc]
