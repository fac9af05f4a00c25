"""The clocks of a node's agent are as somebody wants them, in all its processes, and never jump but the wall clock."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from emulator import clocks

AT_ONCE_S = 0.5
"""What two looks at a clock may be apart on a machine that is busy."""
HOUR_S = 3600.0
PROGRAM = """
import sys, time
from emulator import clocks
clocks.install(sys.argv[1])
print(time.time(), time.time_ns(), time.clock_gettime(time.CLOCK_REALTIME), time.clock_gettime(clocks.BOOTTIME),
      time.clock_gettime(time.CLOCK_MONOTONIC), flush=True)
sys.stdin.readline()
print(time.time(), time.clock_gettime(clocks.BOOTTIME), flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "clocks"
    made.write_bytes(clocks.RIGHT)
    return made


def set_clock(path: Path, *words: str) -> int:
    return clocks.main(words, str(path))


def ahead_s(path: Path) -> float:
    return clocks.Clocks(str(path)).gettime(clocks.BOOTTIME) - time.clock_gettime(clocks.BOOTTIME)


def test_at_first_all_are_right(path: Path) -> None:
    seen = clocks.Clocks(str(path))
    assert abs(seen.time() - time.time()) < AT_ONCE_S
    assert ahead_s(path) < AT_ONCE_S
    assert path.read_bytes().startswith(clocks.GOOD)


@pytest.mark.parametrize("by_s", [-HOUR_S, HOUR_S])
def test_the_wall_clock_jumps_and_comes_back(path: Path, by_s: float) -> None:
    seen = clocks.Clocks(str(path))
    assert set_clock(path, "jump", str(by_s)) == 0
    assert abs(seen.time() - time.time() - by_s) < AT_ONCE_S
    assert abs(seen.time_ns() / clocks.NS - time.time() - by_s) < AT_ONCE_S
    assert abs(ahead_s(path)) < AT_ONCE_S
    assert path.read_bytes().startswith(clocks.WRONG)
    assert set_clock(path, "jump", "0") == 0
    assert abs(seen.time() - time.time()) < AT_ONCE_S
    assert path.read_bytes().startswith(clocks.GOOD)


def test_a_slewed_clock_never_jumps_and_goes_on_from_where_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr(clocks, "_gettime", lambda _clock: now_s)
    seen = clocks.Clocks(str(path))

    def after(more_s: float) -> float:
        nonlocal now_s
        now_s += more_s
        return seen.gettime(clocks.BOOTTIME)

    assert set_clock(path, "slew", "0.5") == 0
    assert [after(0.0), after(10.0)] == [1000.0, 1015.0]
    assert set_clock(path, "slew", "-0.5") == 0
    assert [after(0.0), after(10.0)] == [1015.0, 1020.0]
    assert path.read_bytes().startswith(clocks.WRONG)
    assert set_clock(path, "jump", "60") == 0
    assert set_clock(path, "slew", "0") == 0
    assert [after(0.0), after(10.0)] == [1020.0, 1030.0]
    assert path.read_bytes().startswith(clocks.WRONG), "the wall clock is still off"
    assert seen.gettime(time.CLOCK_MONOTONIC) == now_s


def test_a_program_that_runs_sees_it(path: Path) -> None:
    assert set_clock(path, "jump", str(HOUR_S)) == 0
    began_s, zero_s = time.time(), time.clock_gettime(clocks.BOOTTIME)
    command = [sys.executable, "-c", PROGRAM, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        first = [float(word) for word in program.stdout.readline().split()]
        set_clock(path, "jump", str(-HOUR_S))
        set_clock(path, "slew", "9")
        slewed_s = time.clock_gettime(clocks.BOOTTIME)
        time.sleep(0.01)
        program.stdin.write("\n")
        program.stdin.flush()
        second = [float(word) for word in program.stdout.readline().split()]
        ended_s, last_s = time.time(), time.clock_gettime(clocks.BOOTTIME)
        program.stdin.close()
        assert program.wait(10) == 0
    assert all(began_s <= told - HOUR_S <= ended_s for told in (first[0], first[1] / clocks.NS, first[2]))
    assert zero_s <= first[3] <= slewed_s
    assert began_s <= second[0] + HOUR_S <= ended_s
    assert slewed_s + 0.01 < second[1] <= slewed_s + 10 * (last_s - slewed_s)
    assert second[1] - slewed_s >= 10 * 0.01


def test_a_node_without_the_file_has_the_machines_clocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("clock_gettime", "time", "time_ns"):
        monkeypatch.setattr(time, name, getattr(time, name))
    before = time.clock_gettime, time.time, time.time_ns
    clocks.install(str(tmp_path / "none"))
    (tmp_path / "empty").touch()
    clocks.install(str(tmp_path / "empty"))
    assert (time.clock_gettime, time.time, time.time_ns) == before


@pytest.mark.parametrize(("words", "code"), [
    ("jump", 2), ("jump soon", 2), ("jump nan", 2), ("leap 1", 2), ("slew -1", 2), ("slew inf", 2), ("jump 1 2", 2),
])
def test_what_makes_no_sense_changes_nothing(path: Path, words: str, code: int) -> None:
    assert set_clock(path, *words.split()) == code
    assert path.read_bytes() == clocks.RIGHT


def test_without_a_file_there_is_nothing_to_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set_clock(tmp_path / "none", "jump", "1") == 1
    assert "none" in capsys.readouterr().err
