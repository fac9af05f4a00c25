"""Clusters in which some nodes run the agent of 2003 (:mod:`tests.veteran`): whole agents as real processes.

Both kinds see the files of the others as plain directories. Who ran when is read from what the service itself writes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ticks, veteran
from tests.ticks import GAP_S, OVERLAP_MAX_S, Life
from tests.unit.agent.pidspace import MACHINE
from tests.unit.agent.test_agent import Cluster

CLTAB = """\
web:web-test:test:test:test -d {disk}
web:web-run:start:respawn:{tick} {disk}/ticks $VETERAN$MOSHA_NODE
"""


class Mixed(Cluster):
    """Three nodes; node 1 is the only voter."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, 3, stomith=False, voters=(1,))
        (root / "tick").write_text(ticks.SCRIPT)
        for node in (1, 2, 3):
            with open(root / f"{node}/mosha.conf", "a") as conf:
                conf.write("voters=1\n")
            (self.var(node) / "cltab").write_text(CLTAB.format(disk=self.disk, tick=root / "tick"))
            (self.var(node) / "hactl").write_text("web start\n")
            (self.var(node) / "founded").rename(root / f"{node}/founded")      # nobody of 2003 has it

    def start_of_2003(self, *nodes: int) -> None:
        for node in nodes:
            (self.root / f"hpc/nodes/{node}/status").write_text("3\n")
            with open(self.root / f"{node}/log", "ab") as log:
                self.processes[node] = subprocess.Popen(
                    [*MACHINE, sys.executable, veteran.__file__, str(node), f"{self.root}/mfs", f"{self.root}/hpc",
                     "var/mosix-ha"],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                    env={**os.environ, "VETERAN": str(node)},
                )  # fmt: skip

    def upgrade(self, node: int) -> None:
        """As the manual says: end the agent of 2003, then start that of today."""
        self.end_in_order(node)
        assert not (self.var(node) / "clstat").exists()
        (self.root / f"{node}/founded").rename(self.var(node) / "founded")
        self.start(node)

    def end_in_order(self, node: int) -> None:
        os.kill(self.agent_pid(node), signal.SIGTERM)
        assert self.processes.pop(node).wait(timeout=60) == 0

    def runs_on(self) -> int | None:
        """The node that ticked within the last second."""
        lives = self.lives()
        return lives[-1].node if lives and lives[-1].ended > time.time() - GAP_S else None

    def lives(self) -> list[Life]:
        file = self.disk / "ticks"
        return ticks.lives(file.read_text()) if file.exists() else []

    def overlap_s(self) -> float:
        return ticks.overlap_s(self.lives())

    def says(self, node: int) -> str:
        """What `mosha status` prints there."""
        return subprocess.run(
            [sys.executable, "-m", "mosha", "--config", f"{self.root}/{node}/mosha.conf", "status"],
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip


@pytest.fixture
def mixed(tmp_path: Path) -> Iterator[Mixed]:
    cluster = Mixed(tmp_path)
    yield cluster
    cluster.end()


@pytest.mark.long
def test_peers_of_2003_alone_run_a_group_once(mixed: Mixed) -> None:
    """The script is what it should be: 12 to 21 s from the start to a group that runs, once."""
    mixed.start_of_2003(1, 2, 3)
    mixed.until(lambda: mixed.runs_on() is not None, "one of them runs it")
    assert len({life.node for life in mixed.lives()}) == 1


@pytest.mark.long
def test_a_cluster_of_2003_is_upgraded_node_by_node(mixed: Mixed) -> None:
    mixed.start_of_2003(1, 2, 3)
    mixed.until(lambda: mixed.runs_on() is not None, "one of 2003 runs it")
    for node in (1, 2, 3):
        mixed.upgrade(node)
        runs_again(mixed, node, [other for other in (1, 2, 3) if other > node])
    assert "2003" not in mixed.says(3)
    assert mixed.overlap_s() <= OVERLAP_MAX_S


def runs_again(mixed: Mixed, node: int, of_2003: list[int]) -> None:
    """Until a node that was just upgraded sees what is so: who is of 2003 still, and who runs the group."""
    mixed.until(lambda: mixed.page(node).get("quorum") is True, f"node {node} has quorum")
    mixed.until(lambda: [one["id"] for one in mixed.page(node).get("elders", [])] == of_2003, "who is of 2003")
    mixed.until(lambda: mixed.runs_on() is not None and mixed.runs_on() == mixed.owner("web", node), "it runs")
    for other in of_2003:
        said = f"node {other} runs OpenMosix::HA of 2003: while it is on the map, only what that promises"
        assert said in mixed.says(node)


@pytest.mark.long
def test_what_either_kind_had_goes_to_the_other_when_it_ends(mixed: Mixed) -> None:
    mixed.start_of_2003(2, 3)
    mixed.until(lambda: mixed.runs_on() is not None, "one of 2003 runs it")
    first = mixed.runs_on()
    assert first is not None
    (mixed.root / "1/founded").rename(mixed.var(1) / "founded")
    mixed.start(1)
    mixed.until(lambda: mixed.owner("web", 1) == first, "node 1 sees it there, and leaves it there")
    mixed.end_in_order(5 - first)
    mixed.power_off(first)
    mixed.until(lambda: mixed.runs_on() == 1, "what a node of 2003 had is taken over here")
    mixed.start_of_2003(first)
    mixed.until(lambda: mixed.page(1).get("elders") == [{"id": first, "up": True, "differs": []}], "it is back")
    mixed.end_in_order(1)
    assert not (mixed.var(1) / "clstat").exists(), "those of 2003 would count it for ever"
    mixed.until(lambda: mixed.runs_on() == first, "and one of 2003 takes over what was given up here")
    assert mixed.overlap_s() <= OVERLAP_MAX_S
