"""mps, mosmon and mtop: what they show of given processes and nodes."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from emulator.tools import mps
from emulator.tools.mosmon import DEAD_AFTER, MIB, Info, Monitor, set_yardstick
from emulator.tools.mtop import HEAD, Top
from emulator.tools.processlist import Process, clock, processes, terminal_of
from emulator.tools.screen import REVERSE
from tests.unit.hpc.loopback import Node
from tests.unit.tools.conftest import Run


def info(load: int = 100, status: int = 3) -> Info:
    return Info(load, 15000, 2, 100, status, 60 * MIB, 30 * MIB, 80 * MIB)


UP = info()
IDLE = info(load=0)
GONE = info(status=1)
STAT = b"42 (a (b) c) S 1 42 42 %d 42 4194304 1 0 0 0 150 50 0 0 20 %d 1 0 99 4096 %d 0"


def process(terminal: int = 0, nice: int = 0, pages: int = 3, command: str = "a b", uid: int = 0) -> Process:
    return Process(42, uid, STAT % (terminal, nice, pages), command)


def test_a_line_of_mps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENMOSIX_PROC", str(tmp_path))
    assert mps.line(process(), ominfo=False) == "   42   ?   -1 S    0:02 a b"  # no openMosix
    for name, content in {"where": "2\n", "nmigs": "1\n", "lock": "1\n", "cantmove": "mem_lock, clone_vm\n"}.items():
        (tmp_path / "42").mkdir(exist_ok=True)
        (tmp_path / "42" / name).write_text(content)
    assert mps.line(process(0x8803, 5), ominfo=False) == "   42  p3    2 SN   0:02 a b"
    assert mps.line(process(0, -5, 0, ""), ominfo=True) == (
        "   42   ?    2     1    1 mem_lock,clone_vm SW<  0:02 (a (b) c)"
    )


def test_terminals_and_clocks() -> None:
    assert [terminal_of(device) for device in (0, 0x401, 0x440, 0x8800, 0x8905)] == ["?", "1", "S0", "p0", "p261"]
    assert [clock(seconds) for seconds in (0, 61.9, 6000)] == [" 0:00", " 1:01", "100:00"]


def test_which_processes_mps_shows() -> None:
    mine, others = os.geteuid(), os.geteuid() + 1
    with_terminal, without, other = process(0x8800, uid=mine), process(uid=mine), process(0x8800, uid=others)
    table = {"": [True, False, False], "a": [True, False, True], "x": [True, True, False], "ax": [True, True, True]}
    for letters, expected in table.items():
        assert [mps.wanted(one, set(letters)) for one in (with_terminal, without, other)] == expected


def test_options_of_mps(node: Node, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENMOSIX_PROC", str(node.proc))
    assert run("mps", "-q") == (1, "", "Usage: mps [-][axwh] [--ominfo]\n")
    _, out, _ = run("mps", "ax", "--ominfo")
    assert out.startswith("  PID TTY NODE NMIGS LOCK CANTMOVE STAT TIME COMMAND\n")
    _, bare, _ = run("mps", "-axwh")
    assert "PID TTY" not in bare.splitlines()[0]


def test_a_process_that_ends_meanwhile_is_left_out() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        assert child.pid in [one.pid for one in processes()]
        child.kill()
    assert child.pid not in [one.pid for one in processes()]


def test_bars_of_mosmon() -> None:
    chart = Monitor(["-w"]).chart({1: UP, 2: info(load=50), 10: IDLE}, 40, 10)
    assert chart[0] == "   1 |  #      "
    assert chart[-2] == "        1  2 10"
    assert chart[-1] == "Node #"
    assert "".join(line[4] for line in chart[:8]).split() == ["LOAD"]
    assert [sum(line[column] == "#" for line in chart[:8]) for column in (8, 11, 14)] == [8, 4, 0]


def test_memory_has_its_whole() -> None:
    chart = Monitor(["-m"]).chart({1: UP}, 40, 10)
    assert "".join(line[7] for line in chart[:8]) == "++++++##"
    assert "".join(line[7] for line in Monitor(["-r"]).chart({1: UP}, 40, 10)[:8]) == "+++#####"


def test_idle_is_in_reverse() -> None:
    text = "\n".join(Monitor([]).chart({1: IDLE, 2: IDLE}, 40, 10))
    assert f"{REVERSE}IDLE{REVERSE}" in text
    assert "IDLE" not in "\n".join(Monitor([]).chart({1: UP, 2: IDLE}, 40, 10))


def test_a_node_is_dead_after_three_readings() -> None:
    monitor = Monitor(["-d", "-t"])
    assert monitor.chart({1: UP, 2: UP}, 40, 10)[-1] == "Node #  [Total 2] [CPUs 4]"
    for reading in range(1, DEAD_AFTER + 1):
        chart = monitor.chart({1: UP, 2: GONE}, 40, 10)
        assert ("D" in {line[9] for line in chart[:8]}) == (reading == DEAD_AFTER)
    assert "".join(line[9] for line in chart[:8]) == "    DEAD"
    assert chart[-1] == "Node #  [Total 1] [CPUs 2]"
    monitor.key("d")
    assert chart[-2] == "       1 2"
    assert monitor.chart({1: UP, 2: GONE}, 40, 10)[-2] == "       1"
    assert monitor.chart({1: UP, 2: UP}, 40, 10)[-2] == "       1 2"


def test_a_node_that_was_never_up_is_dead_at_once() -> None:
    assert Monitor([]).chart({1: UP, 2: GONE}, 40, 10)[-2] == "       1"


def test_mosmon_begins_with_a_node_and_ends_at_the_margin() -> None:
    nodes = dict.fromkeys(range(1, 100), UP)
    assert Monitor(["+40"]).chart(nodes, 15, 11)[-2] == "       40 41 42"


def test_ways_to_number() -> None:
    nodes = {1: UP, 10: UP, 123: UP}
    assert Monitor(["-w"]).chart(nodes, 40, 11)[-2:-1] == ["         1  10 123"]
    assert Monitor(["-v"]).chart(nodes, 40, 11)[-4:-1] == ["       1 1 1", "         0 2", "           3"]
    assert Monitor(["-V"]).chart(nodes, 40, 11)[-4:-1] == ["      111", "       02", "        3"]
    assert Monitor([]).chart(nodes, 12, 11) == Monitor(["-v"]).chart(nodes, 12, 11)
    assert Monitor([]).chart(nodes, 11, 11) == Monitor(["-w"]).chart(nodes, 11, 11)
    assert [len(Monitor([way]).chart(nodes, 40, 11)) for way in ("-w", "-v", "-V")] == [11, 11, 11]


def test_the_yardstick(tree: Path) -> None:
    set_yardstick(lambda _question: "12345")
    assert (tree / "admin/sspeed").read_text() == "12345\n"
    set_yardstick(lambda _question: "fast")
    assert (tree / "admin/sspeed").read_text() == "12345\n"


def test_mosmon_when_off() -> None:
    assert Monitor([]).chart({}, 40, 10) == ["[openMosix Not Configured]"]


def test_mosmon_needs_openmosix_and_good_words(
    node: Node, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENMOSIX_PROC", str(node.proc))
    code, out, err = run("mosmon", "-x")
    assert (code, out) == (1, "")
    assert err.startswith("Usage: mosmon")
    monkeypatch.setenv("OPENMOSIX_PROC", str(tmp_path))
    assert run("mosmon") == (1, "", "mosmon: This is NOT a openMosix system!\n")


def test_mtop_in_a_batch(node: Node, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENMOSIX_PROC", str(node.proc))
    code, out, err = run("mtop", "-b", "-n", "2", "-d", "0.1")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines.count(HEAD) == 2
    own = [line.split() for line in lines if line.split()[:1] == [str(os.getpid())]]
    assert [(words[1], words[2]) for words in own] == [(str(os.getuid()), "0")] * 2
    for words in (["-x"], ["-n"], ["-b", "-d", "x"], ["-d", "nan"], ["-b", "-n", "0"]):
        code, out, err = run("mtop", *words)
        assert (code, out) == (1, "")
        assert err.startswith("Usage: mtop")


def test_mtop_counts_what_was_used_since_it_looked() -> None:
    top = Top()
    top.lines(200, 1000)
    end_s = time.process_time() + 0.1
    while time.process_time() < end_s:
        pass
    [own] = [line for line in top.lines(200, 1000) if line.split()[:1] == [str(os.getpid())]]
    assert float(own.split()[5]) > 0


def test_keys_of_mtop(node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    goto = tmp_path / "42/goto"
    goto.parent.mkdir()
    goto.write_text("")
    monkeypatch.setenv("OPENMOSIX_PROC", str(tmp_path))
    top = Top()
    top.key("g", lambda question: "42" if "PID" in question else "3")
    assert goto.read_text() == "3\n"
    top.key("a", lambda _question: "42")
    assert goto.read_text() == "-1\n"
    top.key("a", lambda _question: "no number")
    top.key("g", lambda _question: "4194305")  # gone
    monkeypatch.setenv("OPENMOSIX_PROC", str(node.proc))
    top.key("#", lambda _question: "7")
    assert top.lines(200, 1000)[3:] == []
    top.key("#", lambda _question: "")
    top.key("N", lambda _question: "")
    assert top.by_node
    assert len(top.lines(200, 5)) == 5
