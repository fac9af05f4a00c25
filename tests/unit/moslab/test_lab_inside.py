"""Which processes of a node have which role."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from signal import SIGCONT

import pytest

from mosha.stomith import process
from moslab.faults import inside

AGENT = b"/usr/bin/python3\0/usr/bin/mosha\0"
PARENT = {10: 1, 11: 10, 12: 10, 13: 10, 20: 10, 30: 20, 31: 30, 40: 10, 50: 1, 51: 50}
FILES = {
    **{f"/proc/{pid}/cmdline": AGENT for pid in (10, 11, 12, 13, 20, 50)},
    # the agent, a worker, the warden, who writes the log, a leash, and one of the life before
    **{f"/proc/{pid}/environ": b"A=b\0MOSHA_GROUP=kv\0" for pid in (30, 40)},
    "/proc/51/environ": b"MOSHA_GROUP=web\0",
}
OPEN = {(10, "/agent.lock"), (12, "/units"), (20, "/life.lock"), (50, "/life.lock")}


@pytest.fixture(autouse=True)
def _node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "parents", lambda: PARENT)
    monkeypatch.setattr(inside, "read", lambda path: FILES.get(path, b""))
    monkeypatch.setattr(inside, "has_open", lambda pid, name: (pid, name) in OPEN)
    monkeypatch.setattr(inside, "has_socket", lambda pid: pid == 11)


@pytest.mark.parametrize(("role", "group", "pids"), [
    ("agent", "", [10]),
    ("workers", "", [11, 13]),
    ("log", "", [13]),
    ("warden", "", [12]),
    ("guardians", "kv", [20, 10]),
    ("leash", "kv", [20]),           # not the agent, whose child is what another leash left
    ("group", "kv", [30, 31, 40]),
    ("leash", "web", [50]),
    ("group", "none", []),
    ("leash", "none", []),
])
def test_roles(role: str, group: str, pids: list[int]) -> None:
    assert inside.find(role, group) == pids


def test_whatever_of_ours_stands_still_goes_on_and_groups_are_said_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    stats = {**dict.fromkeys(PARENT, "S"), 20: "T", 31: "T", 40: "T", 60: "T"}
    files = {**FILES, **{f"/proc/{pid}/stat": f"{pid} (a) b) {state} 1".encode() for pid, state in stats.items()},
             "/proc/70/environ": b"MOSHA_SHOT=3", "/proc/70/stat": b"70 (shot) T 10"}
    sent = []
    monkeypatch.setattr(inside, "parents", lambda: {**PARENT, 60: 1, 70: 10})
    monkeypatch.setattr(inside, "read", lambda path: files.get(path, b""))
    monkeypatch.setattr(inside, "send", lambda pids, signo: sent.append((pids, signo)))
    monkeypatch.setattr(inside, "FREEZES", str(tmp_path / "freezes"))
    assert inside.act("3", "stopped", [SIGCONT]) == [20, 31, 40, 70], "a leash, two of a group, a shot; not a stranger"
    assert sent == [([20, 31, 40, 70], SIGCONT)]
    (line,) = (tmp_path / "freezes").read_text().splitlines()
    assert [*line.split()[:1], *line.split()[2:]] == ["thaw", "3", "kv"]


def test_a_shot_is_found_by_the_mark_that_the_agent_gives_it() -> None:
    assert f"\0{process.MARK}=".encode() == inside.SHOT


HUNGRY = """
import os, sys
for _ in sys.stdin:
    for take in (lambda: os.open("/dev/null", os.O_RDONLY), lambda: bytearray(64 << 20)):
        try:
            take()
            print("has it", flush=True)
        except (OSError, MemoryError) as error:
            print(type(error).__name__, flush=True)
"""


def test_an_exhausted_process_gets_no_more_until_it_is_relieved(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", HUNGRY], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        monkeypatch.undo()
        monkeypatch.setattr(inside, "parents", lambda: {child.pid: 1})
        monkeypatch.setattr(inside, "find", lambda role, group: [child.pid])

        def asked() -> list[str]:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write("\n")
            child.stdin.flush()
            return [child.stdout.readline().strip() for _ in range(2)]

        assert asked() == ["has it", "has it"]
        for what in inside.LIMITS:
            assert inside.limit([child.pid], inside.EXHAUST, what) == [child.pid]
            assert inside.limit([child.pid], inside.EXHAUST, what) == [child.pid], "again is no error"
        assert asked() == ["OSError", "MemoryError"]
        assert inside.limit([], inside.RELIEVE, "descriptors") == [child.pid]
        assert asked() == ["has it", "MemoryError"]
        inside.limit([], inside.RELIEVE, "memory")
        assert asked() == ["has it", "has it"]
        soft, hard = resource.prlimit(child.pid, resource.RLIMIT_NOFILE)
        assert soft == hard
        child.stdin.close()


def test_nobody_is_exhausted_where_nobody_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["inside", "1", "leash none", inside.EXHAUST, "memory"])
    assert inside.main() == 1
