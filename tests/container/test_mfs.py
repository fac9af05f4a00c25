"""MFS between real nodes: cut links, power cuts, and the genuine times."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from moslab import node
from moslab.faults.docker import Faults
from moslab.faults.links import between
from moslab.layout import Options
from moslab.progress import Progress
from moslab.wait import eventually
from tests.container.arena import tables
from tests.container.conftest import Lab

QUIET = Options(stomith=False, tables=tables("tick"))
LIMIT_S = 20.0
BUSY_S = 3.0    # what a busy machine may add to a bound
PATH = "/mfs/2/root/f"
OPERATION = """
import errno, os, sys, time
path, *written = sys.argv[1:]
begin = time.monotonic()
try:
    if written:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, written[0].encode())
        if "sync" in written:
            os.fsync(fd)
    else:
        os.stat(path)
    said = "ok"
except OSError as error:
    said = errno.errorcode[error.errno]
print(said, time.monotonic() - begin)
"""
KEPT = """
import errno, os, sys, time
path, *written = sys.argv[1:]
fd = os.open(path, os.O_WRONLY | os.O_APPEND)
for number, text in enumerate(written):
    open(f"/run/waits-{number}", "w").close()
    while not os.path.exists(f"/run/go-{number}"):
        time.sleep(0.01)
    begin = time.monotonic()
    try:
        os.write(fd, text.encode())
        said = "ok"
    except OSError as error:
        said = errno.errorcode[error.errno]
    print(said, time.monotonic() - begin, flush=True)
"""
"""Writes through one descriptor, each when it is told to."""


def operate(lab: Lab, number: int, *arguments: str) -> tuple[str, float]:
    """Append to a file (path, text), or only look at it (path), on a node: how that ends, and after which time."""
    done = node.run(lab.cluster.node(number), ["python3", "-IS", "-c", OPERATION, *arguments])
    assert done.exit_code == 0, done.stderr
    said, took_s = done.stdout.split()
    return said, float(took_s)


class Kept:
    """A process on node 1 that holds one descriptor of node 2's file."""

    def __init__(self, lab: Lab, *written: str) -> None:
        self._container = lab.cluster.node(1)
        self._pool = ThreadPoolExecutor(1)
        command = ["python3", "-IS", "-c", KEPT, PATH, *written]
        self._done = self._pool.submit(node.run, self._container, command, 120.0)
        self._number = 0

    def go(self) -> None:
        """Let it write once, and wait until that has ended."""
        self._until(f"/run/waits-{self._number}")
        node.run(self._container, ["touch", f"/run/go-{self._number}"])
        self._number += 1

    def waits(self) -> None:
        """Wait until it has done all that it was told to do."""
        self._until(f"/run/waits-{self._number}")

    def said(self) -> list[tuple[str, float]]:
        """How each write ended, and after which time."""
        lines = self._done.result(120).stdout.splitlines()
        self._pool.shutdown()
        return [(line.split()[0], float(line.split()[1])) for line in lines]

    def _until(self, path: str) -> None:
        eventually(lambda: node.run(self._container, ["test", "-e", path]).exit_code, lambda code: code == 0,
                   within_s=60, what=f"{path} is there", every_s=0.05)


def content(lab: Lab) -> str:
    return node.run(lab.cluster.node(2), ["cat", "/root/f"]).stdout


def healed(lab: Lab) -> None:
    eventually(lambda: operate(lab, 1, PATH)[0], lambda said: said == "ok", within_s=LIMIT_S,
               what="node 1 reaches node 2", every_s=0.1)


def started(lab: Lab, options: Options) -> Faults:
    """Three nodes; node 2 has a file with an A."""
    lab.cluster.up(3, Progress(), options=options)
    assert operate(lab, 1, PATH, "A", "sync")[0] == "ok"
    return Faults(lab.cluster)


def test_cuts_in_quick_time(lab: Lab) -> None:
    faults = started(lab, QUIET)
    kept = Kept(lab, "B", "C", "D")
    kept.waits()
    cut = faults.cut({(2, 1)})
    kept.go()
    eventually(lambda: content(lab), lambda text: text == "AB", within_s=10, what="the request came through")
    kept.waits()
    faults.heal(cut)
    healed(lab)
    cut = faults.cut(between([1], [2]))
    kept.go()
    kept.waits()
    for _ in range(3):
        said, took_s = operate(lab, 1, PATH)
        assert said in ("EAGAIN", "EHOSTUNREACH")
        assert took_s < 1 + BUSY_S
    faults.heal(cut)
    healed(lab)
    kept.go()
    (one_way, both_ways, after) = kept.said()
    assert (one_way[0], both_ways[0], after[0]) == ("EAGAIN", "EAGAIN", "ok")
    assert max(one_way[1], both_ways[1]) < 1 + BUSY_S
    assert content(lab) == "ABD", "B failed and yet happened; C failed, and did not happen later"


def test_a_dead_node_costs_its_bound_and_then_nothing(lab: Lab) -> None:
    faults = started(lab, QUIET)
    faults.kill(2)
    ends = [operate(lab, 1, PATH) for _ in range(5)]
    assert {said for said, _ in ends} <= {"EAGAIN", "EHOSTUNREACH"}
    assert max(took_s for _, took_s in ends) < 1 + BUSY_S
    eventually(lambda: operate(lab, 1, PATH)[1], lambda took_s: took_s < 0.5, within_s=LIMIT_S,
               what="most operations fail at once", every_s=0.1)
    faults.start(2)
    healed(lab)
    assert content(lab) == "A"


def test_what_was_not_synced_is_lost_with_the_power(lab: Lab) -> None:
    faults = started(lab, QUIET)
    faults.files(2, [{"do": "unsynced"}])
    assert operate(lab, 1, PATH, "B", "sync")[0] == "ok"
    assert operate(lab, 1, PATH, "C")[0] == "ok"
    assert content(lab) == "ABC"
    faults.kill(2)
    faults.start(2)
    healed(lab)
    assert content(lab) == "AB"
    assert "lost 1 writes" in lab.moslab("logs", "2")


def test_faults_and_counters_by_command(lab: Lab) -> None:
    started(lab, QUIET)
    fault = '[{"do": "error", "errno": "EROFS", "on": ["write"], "reader": 1, "path": "/root/*"}]'
    assert "1 faults" in lab.moslab("files", "2", fault)
    assert operate(lab, 1, PATH, "B")[0] == "EROFS"
    assert operate(lab, 3, PATH, "C")[0] == "ok"
    assert "do is one of" in lab.moslab("files", "2", '[{"do": "nonsense"}]', exit_code=2)
    assert "no faults" in lab.moslab("files", "2")
    assert operate(lab, 1, PATH, "D")[0] == "ok"
    for number, table, other in ((1, "asked", "2"), (2, "served", "1")):
        shown = node.run(lab.cluster.node(number), ["cat", f"/openmosix/proc/mfs/{table}"]).stdout
        [(done, failed)] = [row[2:4] for row in map(str.split, shown.splitlines()) if row[:2] == [other, "write"]]
        assert int(done) >= 2, "the agents write, too"
        assert int(failed) >= 1


@pytest.mark.long
def test_genuine_time(lab: Lab) -> None:
    """The figures themselves; the unit tests have the rest with shorter ones."""
    faults = started(lab, Options(stomith=False, tables=tables("tick"), mfs_time="genuine"))
    kept = Kept(lab, "B", "C")
    kept.waits()
    faults.pause(2)
    kept.go()
    kept.go()
    (first, second) = kept.said()
    assert (first[0], second[0]) == ("EAGAIN", "EAGAIN")
    assert 10 < first[1] < 20 + BUSY_S, "20 s, less the time for which the agent's own request had waited before"
    assert 9.5 < second[1] < 10 + BUSY_S
    faults.resume(2)
    healed(lab)
    faults.kill(2)
    said, took_s = operate(lab, 1, PATH)
    bounds_s = {"EHOSTUNREACH": 10 + 3, "EAGAIN": 10 + 10}  # for an answer, then for a connection
    assert 2 < took_s < bounds_s[said] + BUSY_S
