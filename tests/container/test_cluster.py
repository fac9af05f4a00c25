"""The laboratory on a real engine: start, look, break, remove; and nothing is ever left."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from moslab import node
from moslab.guard import State
from moslab.progress import Progress
from moslab.wait import eventually
from tests.container.conftest import COMMAND_LIMIT_S, Lab
from tests.engines import hears_nothing_of

GONE_LIMIT_S = 60.0


def in_node(lab: Lab, number: int, *command: str) -> node.Result:
    return node.run(lab.cluster.node(number), command)


def test_a_cluster_from_start_to_end(lab: Lab) -> None:
    """What a newcomer does."""
    shown = lab.moslab("up", "3")
    assert "What next" in shown
    state = lab.status()
    assert [(entry["id"], entry["state"], entry["agent"]) for entry in state["nodes"]] == [
        (number, "running", "up") for number in (1, 2, 3)
    ]
    assert state["quorum"]
    groups = {group["name"]: group for group in state["groups"]}
    assert set(groups) == {"kv", "tick"}
    assert all(group["owner"] in (1, 2, 3) and group["state"] == "DONE" for group in groups.values())
    assert "already running: 3 nodes" in lab.moslab("up", "3")
    assert "already running: 3 nodes" in lab.moslab("up", "5")
    assert lab.moslab("exec", "2", "--", "hostname") == "node2\n"
    lab.moslab("exec", "2", "sh", "-c", "exit 7", exit_code=7)
    assert "is gone" in lab.moslab("down")
    assert lab.is_gone()
    assert "there was no cluster" in lab.moslab("down")
    assert "does not run" in lab.moslab("status", exit_code=2)


@pytest.mark.long
def test_a_node_dies_comes_back_freezes_and_thaws(running: Lab) -> None:
    assert "node 9" in running.moslab("kill", "9", exit_code=2)
    boot = in_node(running, 3, "cat", "/proc/sys/kernel/random/boot_id").stdout
    in_node(running, 3, "sh", "-c", "touch /root/disk /run/memory /dev/shm/memory")
    assert "runs already" in running.moslab("start", "3", exit_code=1)
    assert "not paused" in running.moslab("resume", "3", exit_code=1)
    hears_nothing_of(running.cluster, 3, lambda: running.moslab("kill", "3"), seconds=5)
    assert "off already" in running.moslab("kill", "3", exit_code=1)
    assert running.status()["nodes"][2]["state"] == "off"
    assert "openmosixd" in running.moslab("logs", "3")
    eventually(lambda: running.status()["nodes"][2]["agent"], lambda agent: agent not in ("up", "suspect"), within_s=30,
               what="the others see node 3 down", every_s=0.5)

    running.moslab("start", "3")
    eventually(lambda: running.status()["nodes"][2]["agent"], lambda agent: agent == "up", within_s=60,
               what="node 3 is up again", every_s=0.5)
    assert in_node(running, 3, "ls", "/root/disk").exit_code == 0, "the disk stays"
    assert in_node(running, 3, "ls", "/run/memory", "/dev/shm/memory").stdout == "", "memory does not"
    assert in_node(running, 3, "cat", "/proc/sys/kernel/random/boot_id").stdout != boot

    running.moslab("pause", "3")
    assert running.status()["nodes"][2]["state"] == "paused"
    assert "is paused" in running.moslab("start", "3", exit_code=1)
    running.moslab("resume", "3")
    assert running.status()["nodes"][2]["state"] == "running"


def test_kill_finds_the_owner_of_a_group(running: Lab) -> None:
    owner = {group["name"]: group["owner"] for group in running.status()["groups"]}["kv"]
    assert running.moslab("kill", "--group", "kv") == f"node {owner} is off\n"
    assert running.cluster.node(owner).status == "exited"
    assert "no group" in running.moslab("kill", "--group", "nonesuch", exit_code=2)


def test_the_power_switch_obeys_nodes_of_its_cluster_only(running: Lab) -> None:
    assert in_node(running, 1, "powerswitch", "test") == (0, "ok\n", "")
    assert in_node(running, 1, "powerswitch", "list").stdout == "1 on\n2 on\n3 on\n"
    assert in_node(running, 1, "powerswitch", "off", "2") == (0, "off\n", "")
    assert running.cluster.node(2).status == "exited"
    assert in_node(running, 1, "powerswitch", "status", "2").stdout == "off\n"
    running.cluster.pause(3)  # node 1 is alone now and without quorum, so its agent switches nobody off
    assert in_node(running, 1, "powerswitch", "status", "3").stdout == "on\n", "a frozen node has power"
    assert in_node(running, 1, "powerswitch", "off", "3") == (0, "off\n", "")
    assert running.cluster.node(3).status == "exited"
    assert in_node(running, 1, "powerswitch", "list").stdout == "1 on\n2 off\n3 off\n"
    assert in_node(running, 1, "powerswitch", "on", "2") == (0, "on\n", "")
    assert "no node 9" in in_node(running, 1, "powerswitch", "off", "9").stderr


def test_the_power_switch_wants_the_key(running: Lab) -> None:
    wrong = "import json; p='/etc/powerswitch.json'; c=json.load(open(p)); c['key']='00'*32; json.dump(c, open(p,'w'))"
    assert in_node(running, 1, "python3", "-c", wrong).exit_code == 0
    refused = in_node(running, 1, "powerswitch", "off", "2")
    assert refused.exit_code == 1
    assert "wrong key" in refused.stderr
    assert running.cluster.node(2).status == "running"


def test_no_node_holds_the_engine(running: Lab) -> None:
    for number in (1, 2, 3):
        assert in_node(running, number, "sh", "-c", "ls /run/docker.sock /var/run/docker.sock").stdout == ""
        mounts = running.cluster.node(number).attrs["Mounts"]
        assert [mount["Destination"] for mount in mounts] == ["/san"]


@pytest.mark.long
def test_two_clusters_side_by_side(running: Lab, other_lab: Lab) -> None:
    other_lab.moslab("up", "2")
    addresses = [{entry["address"] for entry in lab.status()["nodes"]} for lab in (running, other_lab)]
    assert not addresses[0] & addresses[1]
    assert len(addresses[1]) == 2
    other_lab.moslab("kill", "1")
    other_lab.moslab("down")
    assert other_lab.is_gone()
    assert [entry["state"] for entry in running.status()["nodes"]] == ["running"] * 3
    assert in_node(running, 1, "powerswitch", "list").stdout == "1 on\n2 on\n3 on\n"


HELD = """
import time
from moslab.cli import main
from moslab.cluster import Cluster
Cluster._await_nodes = lambda *_: time.sleep(600)
"""


def started(lab: Lab, least: int) -> subprocess.Popen[str]:
    """A start of 8 nodes that has made ``least`` of them, goes on to make all, and then waits for ever."""
    process = lab.popen("up", "8", code=HELD)
    eventually(lambda: (len(lab.cluster.nodes()), lab.cluster.state()),
               lambda seen: seen[0] >= least and seen[1] is State.STARTING,
               within_s=60, what=f"{least} nodes are there", every_s=0.02)
    return process


@pytest.mark.parametrize("least", [0, 3, 8])
def test_a_crash_of_the_start_leaves_nothing(lab: Lab, least: int) -> None:
    with started(lab, least) as process:
        # what guards must run: before that, leftovers are for the next command (the next test)
        eventually(lambda: lab.client.containers.get(lab.cluster.names.power).status,
                   lambda status: status == "running", within_s=30, what="the guard runs", every_s=0.02)
        process.kill()
        process.communicate(timeout=COMMAND_LIMIT_S)
    eventually(lab.is_gone, within_s=GONE_LIMIT_S, what="everything is gone", every_s=0.5)


def test_leftovers_are_removed_by_the_next_command(lab: Lab) -> None:
    """Those of a crash before there was a guard, or of a guard that was killed."""
    labels = lab.cluster.names.labels("san")
    lab.client.volumes.create(lab.cluster.names.san, labels=labels)
    lab.client.networks.create(lab.cluster.names.network, labels=labels)
    assert "remove leftovers" in lab.moslab("status", exit_code=2)
    assert lab.is_gone()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
@pytest.mark.parametrize("least", [0, pytest.param(2, marks=pytest.mark.long), 8])
def test_an_interrupted_start_leaves_nothing(lab: Lab, least: int, number: signal.Signals) -> None:
    with started(lab, least) as process:
        process.send_signal(number)
        _out, err = process.communicate(timeout=COMMAND_LIMIT_S)
    assert process.returncode == 130
    assert "removing what was started" in err
    assert "Traceback" not in err
    assert lab.is_gone()


@pytest.mark.long
def test_a_second_interrupt_leaves_the_rest_to_the_guard(lab: Lab) -> None:
    with started(lab, 8) as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "removing" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=COMMAND_LIMIT_S)
    assert process.returncode == 130
    eventually(lab.is_gone, within_s=GONE_LIMIT_S, what="everything is gone", every_s=0.5)


def test_a_start_beside_a_start_is_refused(lab: Lab) -> None:
    with started(lab, 0) as process:
        assert "being started by another command" in lab.moslab("up", "3", exit_code=2)
        assert process.poll() is None, "and does not disturb it"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=COMMAND_LIMIT_S)
    assert lab.is_gone()


def test_a_start_that_fails_says_why_and_leaves_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOSLAB_ENGINE_SOCKET", "/nowhere/docker.sock")
    assert "MOSLAB_ENGINE_SOCKET" in lab.moslab("up", "2", exit_code=2)
    assert lab.is_gone()


def test_logs_end_with_what_the_node_said_last(running: Lab) -> None:
    running.cluster.kill(2)
    began_s = time.monotonic()
    assert "openmosixd" in running.moslab("logs", "2")
    assert time.monotonic() - began_s < 20


def test_the_state_of_a_start_can_be_seen(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(lab.cluster, "_await_groups", lambda *_: seen.append(lab.status()))
    lab.cluster.up(2, Progress())
    assert [(state["state"], len(state["nodes"])) for state in seen] == [("starting", 2)]
    assert lab.status()["state"] == "running"


@pytest.mark.long
def test_a_complete_cluster_is_no_leftover_when_its_power_switch_dies(running: Lab) -> None:
    """Looking must not destroy: only `down` removes it, or a new start once no node of it runs."""
    running.client.containers.get(running.cluster.names.power).kill()
    eventually(running.cluster.state, lambda state: state is State.DAMAGED, within_s=GONE_LIMIT_S, what="it is damaged")
    assert "without its power switch" in running.moslab("status")
    assert len(running.status()["nodes"]) == 3
    assert "power switch has died" in running.moslab("up", "3", exit_code=2)
    for number in (1, 2, 3):
        running.moslab("kill", str(number))
    assert "none of whose nodes runs" in running.moslab("up", "3")
    assert "3 running, quorum" in running.moslab("status")
