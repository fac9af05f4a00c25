"""A cluster of openMosix whose nodes run the agent of 2003, upgraded node by node while it serves: docs/upgrading.md.

The agent of 2003 is :mod:`tests.veteran`. Who ran the service when is read from what it writes itself.
"""

from __future__ import annotations

import json
import time
from importlib import resources
from typing import Any

import pytest

from moslab.cluster import Cluster
from moslab.layout import Options, archive
from moslab.node import run
from moslab.progress import Progress
from moslab.wait import eventually
from tests import ticks
from tests.container.conftest import Lab
from tests.ticks import GAP_S, OVERLAP_MAX_S, Life

NODES = (1, 2, 3)
LIMIT_S = 90.0
CLTAB = """\
web:web-test:test:test:test -d /san
web:web-run:start:respawn:exec /root/tick /san/ticks $(mosctl whois | tr -dc 0-9)
"""
VAR = "/var/mosix-ha"
VETERAN = "python3 -IS /root/veteran.py"


def begin(cluster: Cluster, node: int, command: str) -> None:
    """Run an agent there, in the background; its process is the one of that pid file."""
    line = f"setsid nohup {command} >>/root/log 2>&1 & echo $! >/root/pid"
    assert run(cluster.node(node), ["sh", "-c", line]).exit_code == 0


def end(cluster: Cluster, node: int) -> None:
    """TERM, and wait for the end in order."""
    container = cluster.node(node)
    assert run(container, ["sh", "-c", "kill $(cat /root/pid)"]).exit_code == 0
    eventually(lambda: run(container, ["sh", "-c", "kill -0 $(cat /root/pid)"]).exit_code, bool, within_s=LIMIT_S,
               what=f"the agent of node {node} has ended")


def page(cluster: Cluster, node: int) -> dict[str, Any]:
    said = run(cluster.node(node), ["mosha", "status", "--json"])
    return dict(json.loads(said.stdout)) if said.exit_code == 0 else {"groups": [], "quorum": False}


def lives(cluster: Cluster) -> list[Life]:
    return ticks.lives(run(cluster.node(1), ["sh", "-c", "cat /san/ticks 2>/dev/null; true"]).stdout)


def runs_on(cluster: Cluster) -> int | None:
    found = lives(cluster)
    return found[-1].node if found and found[-1].ended > time.time() - GAP_S else None


@pytest.fixture
def of_2003(lab: Lab) -> Cluster:
    """Three nodes that run the agent of 2003."""
    tables = {"cltab": CLTAB, "hactl": "web start\n"}
    lab.cluster.up(len(NODES), Progress(), options=Options(agents=False, stomith=False, tables=tables))
    script = resources.files("tests").joinpath("veteran.py").read_bytes()
    files = {"root/veteran.py": (script, 0o755), "root/tick": (ticks.SCRIPT.encode(), 0o755)}
    for node in NODES:
        container = lab.cluster.node(node)
        assert container.put_archive("/", archive(files))
        prepared = f"rm {VAR}/founded; sed -i 's/^voters.*/voters = 1/' /etc/mosha.conf"
        assert run(container, ["sh", "-c", prepared]).exit_code == 0
        begin(lab.cluster, node, f"{VETERAN} {node} /mfs /openmosix/proc/hpc var/mosix-ha")
    return lab.cluster


@pytest.mark.long
def test_a_cluster_is_upgraded_node_by_node_while_it_serves(of_2003: Cluster) -> None:
    cluster = of_2003
    eventually(lambda: runs_on(cluster), lambda node: node is not None, within_s=LIMIT_S, what="one of 2003 runs it")
    refused = run(cluster.node(1), ["mosha"])
    assert refused.exit_code == 1
    assert "OpenMosix::HA of 2003 runs on this node" in refused.stderr
    for node in NODES:
        end(cluster, node)
        begin(cluster, node, "mosha")
        left = [other for other in NODES if other > node]
        eventually(lambda: [one["id"] for one in page(cluster, node).get("elders", [])],  # noqa: B023 - at once
                   lambda found: found == left,  # noqa: B023
                   within_s=LIMIT_S, what=f"node {node} sees that these are of 2003: {left}")
        eventually(lambda: (runs_on(cluster), page(cluster, node)["groups"]),  # noqa: B023
                   lambda seen: seen[0] is not None and [one["owner"] for one in seen[1]] == [seen[0]],
                   within_s=LIMIT_S, what=f"it runs, and node {node} sees where")
    for node in NODES[1:]:
        eventually(lambda: run(cluster.node(1), ["mosha", "voters", "add", str(node)]),  # noqa: B023
                   lambda done: done.exit_code == 0, within_s=LIMIT_S, what=f"node {node} votes")
    eventually(lambda: page(cluster, 1)["electorate"]["voters"], lambda voters: voters == list(NODES),
               within_s=LIMIT_S, what="all vote")
    found = lives(cluster)
    print(*found, sep="\n")
    assert ticks.overlap_s(found) <= OVERLAP_MAX_S
