"""Genuine time: how long operations on a silent, dead, refusing or rebooting node take, and how they end.

The tests have ``PART_S`` for the ten seconds of the genuine system.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from emulator.mfs.pace import GENUINE, QUICK
from tests.unit.mfs.nodes import MfsNode, Nodes, failing
from tests.unit.mfs.test_mfs_faults import AT_ONCE_S, BUSY_S, LIMIT_S, SLACK_S, least, timed

PART_S = 1.2


@pytest.fixture
def genuine(nodes: Nodes) -> Iterator[list[MfsNode]]:
    """Nodes 1 and 2; node 1 keeps genuine time."""
    one, two = nodes.nodes[1], nodes.nodes[2]
    one.start(nodes.table, genuine_s=PART_S)
    two.start(nodes.table)
    (two.root / "f").write_text("before")
    yield [one, two]
    two.send_signal(signal.SIGCONT)


def test_the_times_are_those_of_the_genuine_system() -> None:
    assert (GENUINE.reply_s, GENUINE.connect_s, GENUINE.cool_s, GENUINE.bound_s(GENUINE.reply_s)) == (10, 10, 0, 20)
    assert (QUICK.reply_s, QUICK.slow_s, QUICK.bound_s(QUICK.reply_s)) == (1, 5, 1)


def test_a_silent_node_costs_both_times_once_and_then_one_each_time(genuine: list[MfsNode]) -> None:
    one, two = genuine
    with one.path(2, "f").open("r+b", buffering=0) as opened, one.path(2, "f").open("rb", buffering=0) as idle:
        directory = os.open(one.path(2), os.O_RDONLY)
        two.send_signal(signal.SIGSTOP)
        result, took_s = timed(lambda: os.pwrite(opened.fileno(), b"x", 0))
        assert (result, 2 * PART_S - 0.1 < took_s < 2 * PART_S + BUSY_S) == ("EAGAIN", True)
        reads = partial(os.pread, opened.fileno(), 1, 0)  # read() takes EAGAIN for the end
        calls = (lambda: os.stat(one.path(2, "f")), lambda: os.listdir(one.path(2)), reads)
        ends = [timed(call) for call in calls]
        assert {result for result, _ in ends} == {"EAGAIN"}
        assert PART_S - 0.1 < min(ends)[1] < PART_S + SLACK_S
        two.send_signal(signal.SIGCONT)
        assert timed(reads)[0] == "ok"
        assert idle.read() == b"before"
        assert os.stat("f", dir_fd=directory).st_size == 6
        os.close(directory)


def test_a_cut_that_ends_in_time_is_only_a_delay(genuine: list[MfsNode]) -> None:
    one, two = genuine
    with one.path(2, "f").open("ab", buffering=0) as opened:
        for pause_s in (0.4 * PART_S, 1.4 * PART_S):  # before the answer is given up; while a connection is tried
            two.send_signal(signal.SIGSTOP)
            resume = threading.Timer(pause_s, two.send_signal, [signal.SIGCONT])
            resume.start()
            result, took_s = timed(lambda: os.write(opened.fileno(), b"x"))
            resume.join()
            assert (result, pause_s - 0.1 < took_s) == ("ok", True)
    assert (two.root / "f").read_text() == "beforexx", "once each, though the second was sent twice"


def test_a_closed_port_is_refused_at_once(genuine: list[MfsNode]) -> None:
    one, _ = genuine
    result, took_s = least(lambda: os.stat(one.path(3, "f")))
    assert (result, took_s < AT_ONCE_S) == ("ECONNREFUSED", True)


def test_a_node_that_reboots_under_an_operation(genuine: list[MfsNode], nodes: Nodes) -> None:
    one, two = genuine
    with one.path(2, "f").open("rb", buffering=0) as opened:
        reads = partial(os.pread, opened.fileno(), 1, 0)
        ended: list[tuple[str, float]] = []
        two.send_signal(signal.SIGSTOP)
        waiting = threading.Thread(target=lambda: ended.append(timed(reads)))
        waiting.start()
        two.stop(signal.SIGKILL)
        two.start({}, boot="second")  # up, and not configured yet
        waiting.join(LIMIT_S)
        assert ended
        assert ended[0][0] in ("EREMOTE", "ECONNREFUSED"), "nobody listens for a moment"
        result, took_s = least(reads)
        assert (result, took_s < AT_ONCE_S) == ("EREMOTE", True)
        two.stop()
        two.start(nodes.table, boot="second")
        assert failing(reads) == "ESTALE"
        assert one.path(2, "f").read_text() == "before"
        assert failing(reads) == "ESTALE"


def test_a_caller_cannot_be_killed_before_its_operation_ends(genuine: list[MfsNode]) -> None:
    one, two = genuine
    one.path(2, "f").read_text()
    reads = "import os, sys\nf = os.open(sys.argv[1], os.O_RDONLY)\nprint(flush=True)\nsys.stdin.read(1)\nos.read(f, 1)"
    with subprocess.Popen([sys.executable, "-c", reads, one.path(2, "f")], stdin=-1, stdout=-1) as waiting:
        assert waiting.stdin is not None
        assert waiting.stdout is not None
        waiting.stdout.readline()
        two.send_signal(signal.SIGSTOP)
        waiting.stdin.write(b"x")
        waiting.stdin.flush()
        begin_s = time.monotonic()
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.3)
        waiting.kill()
        waiting.wait(LIMIT_S)
        assert time.monotonic() - begin_s > PART_S
        two.send_signal(signal.SIGCONT)


def test_the_time_of_a_node_can_be_changed_while_it_runs(genuine: list[MfsNode]) -> None:
    one, two = genuine
    assert (one.control / "time").read_text() == "genuine\n"
    assert (two.control / "time").read_text() == "quick\n"
    one.path(2, "f").read_text()
    (one.control / "time").write_text("quick\n")
    assert failing(partial((one.control / "time").write_text, "slow")) == "EINVAL"
    two.send_signal(signal.SIGSTOP)
    assert timed(lambda: os.stat(one.path(2, "f")))[0] == "EAGAIN"
    result, took_s = least(lambda: os.stat(one.path(2, "f")))
    assert (result, took_s < AT_ONCE_S) == ("EAGAIN", True), "quick time cools"
