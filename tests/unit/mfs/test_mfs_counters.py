"""The tables of what nodes asked each other."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from emulator.fuse import protocol as fuse
from emulator.mfs.counters import HEAD, Tally, render
from tests.unit.mfs.nodes import MfsNode
from tests.unit.mfs.test_mfs_faults import LIMIT_S, timed


def table(path: Path) -> dict[tuple[int, str], tuple[int, int, float, float]]:
    """(node, operation) -> done, failed, seconds, slowest."""
    head, *lines = path.read_text().splitlines()
    assert head == HEAD
    found = {}
    for node, operation, done, failed, seconds, slowest in map(str.split, lines):
        found[int(node), operation] = (int(done), int(failed), float(seconds), float(slowest))
    return found


def test_both_ends_count_each_operation(pair: list[MfsNode]) -> None:
    one, two = pair
    (two.root / "f").write_text("x")
    fd = os.open(one.path(2, "f"), os.O_RDWR)
    for _ in range(3):
        os.pread(fd, 1, 0)
    os.close(fd)
    two.faults({"do": "error", "errno": "EIO", "on": ["mkdir"]})
    assert timed(lambda: os.mkdir(one.path(2, "d")))[0] == "EIO"
    asked, served = table(one.control / "asked"), table(two.control / "served")
    for seen, other in ((asked, 2), (served, 1)):
        assert seen[other, "read"][:2] == (3, 0)
        assert seen[other, "open"][:2] == (1, 0)
        assert seen[other, "mkdir"][:2] == (0, 1)
        assert 0 < seen[other, "read"][3] <= seen[other, "read"][2]
    assert table(two.control / "asked") == table(one.control / "served") == {}


def test_the_time_of_a_slow_operation_is_counted_at_both_ends(pair: list[MfsNode]) -> None:
    one, two = pair
    two.faults({"do": "delay", "seconds": 0.4, "on": ["mkdir"]})
    os.mkdir(one.path(2, "d"))
    for seen in (table(one.control / "asked")[2, "mkdir"], table(two.control / "served")[1, "mkdir"]):
        assert 0.4 <= seen[3] < LIMIT_S


def test_what_is_given_up_counts_as_failed_and_with_its_time(pair: list[MfsNode]) -> None:
    one, two = pair
    (two.root / "f").touch()
    fd = os.open(one.path(2, "f"), os.O_RDONLY)
    two.send_signal(signal.SIGSTOP)
    for _ in range(3):  # one waits, the others fail at once
        assert timed(lambda: os.pread(fd, 1, 0))[0] == "EAGAIN"
    done, failed, seconds, slowest = table(one.control / "asked")[2, "read"]
    assert (done, failed) == (0, 3)
    assert 0.9 < slowest <= seconds
    two.send_signal(signal.SIGCONT)
    os.close(fd)


def test_operations_of_one_name_are_one_line() -> None:
    tally = Tally()
    for opcode in (fuse.RENAME, fuse.RENAME2, fuse.FSYNCDIR):
        tally.add(opcode, 0, 0.25)
    tally.add(fuse.RENAME, -5, 0.5)
    assert render([(7, tally), (3, Tally())]) == (
        f"{HEAD}\n7 fsync 1 0 0.250000 0.250000\n7 rename 2 1 1.000000 0.500000\n"
    )
