"""Cuts on a real engine: in which direction, until when, and what they leave alone."""

from __future__ import annotations

import re
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import docker
import pytest

from moslab import journals
from moslab.errors import CannotError, LabError
from moslab.faults.docker import Faults
from moslab.faults.links import between, from_power
from moslab.layout import Options
from moslab.node import run
from moslab.progress import Progress
from moslab.wait import eventually
from tests.container.conftest import Lab

pytestmark = pytest.mark.xdist_group("faults")

MFS_PORT = 723
HEARS = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 9)); s.settimeout(float(sys.argv[1]))
try: s.recv(9)
except TimeoutError: sys.exit(1)
"""
SAYS = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until: s.sendto(b"x", (sys.argv[1], 9)); time.sleep(0.02)
"""
CONNECTS = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1.0)"
SAY_S = 1.0


@pytest.fixture(scope="module")
def one_lab(client: docker.DockerClient) -> Iterator[Lab]:
    lab = Lab(client, f"t-faults-{uuid.uuid4().hex[:6]}")
    try:
        lab.cluster.up(3, Progress(), options=Options(stomith=False))
        yield lab
    finally:
        lab.end()


@pytest.fixture
def faults(one_lab: Lab) -> Iterator[Faults]:
    made = Faults(one_lab.cluster)
    yield made
    made.end()


def connects(faults: Faults, one: int, other: int) -> bool:
    """Whether a TCP connection can be made."""
    address = faults.fabric.addresses[other]
    command = ["python3", "-IS", "-c", CONNECTS, address, str(MFS_PORT)]
    return run(faults.cluster.node(one), command).exit_code == 0


def hears(faults: Faults, one: int, other: int) -> bool:
    """Whether a packet of one arrives at the other."""
    with ThreadPoolExecutor() as pool:
        heard = pool.submit(run, faults.cluster.node(other), ["python3", "-IS", "-c", HEARS, str(2 * SAY_S)])
        said = ["python3", "-IS", "-c", SAYS, faults.fabric.addresses[other], str(SAY_S)]
        assert run(faults.cluster.node(one), said).exit_code == 0, "a cut is silence, no error"
        return heard.result().exit_code == 0


def test_cuts_overlap_and_are_healed_by_name(one_lab: Lab, faults: Faults) -> None:
    shown = one_lab.moslab("cut", "1", "--from", "2")
    first = shown.partition(":")[0]
    one_lab.moslab("cut", "1", "--from", "2+3")
    assert not connects(faults, 1, 2)
    assert not connects(faults, 3, 1)
    assert connects(faults, 2, 3)
    assert run(faults.cluster.node(1), ["powerswitch", "test"]).stdout == "ok\n", "the power switch is out of band"
    assert one_lab.moslab("heal", first) == f"{first} is healed\n"
    assert not connects(faults, 1, 2), "the other cut has this link, too"
    assert "no cut" in one_lab.moslab("heal", first, exit_code=2)
    one_lab.moslab("heal")
    assert connects(faults, 1, 2)
    assert connects(faults, 3, 1)
    assert one_lab.moslab("heal") == "nothing was broken\n"


@pytest.mark.long
def test_heal_ends_what_any_command_has_broken(one_lab: Lab, faults: Faults) -> None:
    """Each command is a process of its own: nobody remembers."""
    one_lab.moslab("signal", "1", "agent", "STOP")
    one_lab.moslab("signal", "2", "log", "STOP")
    one_lab.moslab("files", "2", '[{"do": "delay", "seconds": 0.001}]')
    one_lab.moslab("exec", "2", "--", "sh", "-c", "ulimit -S -n 99; sleep 60 >/dev/null 2>&1 &")
    one_lab.moslab("outlet", "3", "fails")
    one_lab.moslab("jump-clock", "1", "-3600")
    one_lab.moslab("slew-clock", "2", "0.002")
    one_lab.moslab("pause", "3")
    assert faults.record.lasting() == []
    said = one_lab.moslab("heal").splitlines()
    assert said == [
        "node 3 runs again", "node 1: its clocks are right", "node 1: what stood still goes on",
        "node 2: its clocks are right", "node 2: what stood still goes on", "node 2: no faults of its files",
        "node 2: nobody is exhausted", "outlet 3 works",
    ]
    one_lab.moslab("exec", "1", "--", "mosha", "drain", "2")
    eventually(lambda: one_lab.moslab("heal"), lambda said: said == "node 2 is drained no more\n", within_s=10.0,
               what="it is seen that it is drained")
    eventually(lambda: one_lab.moslab("heal"), lambda said: said == "nothing was broken\n", within_s=10.0,
               what="nobody is drained")


def test_one_way(faults: Faults) -> None:
    faults.cut(between([1], [2], one_way=True))
    assert hears(faults, 2, 1)
    assert not hears(faults, 1, 2)


def test_the_power_switch_is_cut_off_when_asked_for(faults: Faults) -> None:
    cut = faults.cut(from_power([1]))
    assert connects(faults, 1, 2)
    assert run(faults.cluster.node(1), ["powerswitch", "test"]).exit_code == 1
    faults.heal(cut)
    assert run(faults.cluster.node(1), ["powerswitch", "test"]).exit_code == 0


def test_a_node_that_was_off_is_cut_off_when_it_boots(faults: Faults) -> None:
    faults.kill(2)
    cut = faults.cut(between([2], [1, 3]))
    faults.start(2)
    eventually(lambda: faults.pids(2, "agent"), within_s=30, what="node 2 has booted")
    assert not hears(faults, 1, 2)
    faults.kill(2)
    faults.heal(cut)
    faults.start(2)
    eventually(lambda: connects(faults, 1, 2), within_s=30, what="node 2 is reached")


def test_a_paused_node_is_refused_and_what_is_not_there(one_lab: Lab, faults: Faults) -> None:
    faults.pause(3)
    with pytest.raises(CannotError, match="node 3 is paused"):
        faults.cut(between([3], [1]))
    with pytest.raises(CannotError, match="no node 7"):
        faults.cut(between([7], [1]))
    faults.end()
    assert faults.fabric.cuts() == {}
    assert "all nodes are on one side" in one_lab.moslab("cut", "all", exit_code=2)
    assert [fault.kind for fault in faults.record.all] == ["pause"]
    assert faults.record.all[0].end_s > faults.record.all[0].begin_s


def test_signals_find_the_agent_the_leash_and_the_group(one_lab: Lab, faults: Faults) -> None:
    owner = eventually(lambda: next(group["owner"] for group in one_lab.status()["groups"] if group["name"] == "tick"),
                       within_s=60, what="tick runs")
    node = faults.cluster.node(owner)
    (agent,), (leash,) = faults.pids(owner, "agent"), faults.pids(owner, "leash tick")
    group = faults.pids(owner, "group tick")
    parents = run(node, ["ps", "-o", "ppid=", "-p", f"{agent},{leash},{group[0]}"]).stdout.split()
    assert sorted(map(int, parents)) == sorted([1, agent, leash])
    assert f"{owner}: {agent}" in one_lab.moslab("signal", str(owner), "agent", "STOP")
    assert run(node, ["ps", "-o", "state=", "-p", str(agent)]).stdout.strip() == "T"
    one_lab.moslab("signal", str(owner), "agent", "sigcont")
    with pytest.raises(LabError, match="no leash nonesuch"):
        faults.signal(owner, "leash nonesuch", signal.SIGKILL)
    assert "\nnever twice\n" in one_lab.moslab("history")


def test_the_history_knows_of_a_pause_by_the_command(one_lab: Lab) -> None:
    def owner() -> int | None:
        return journals.read(one_lab.cluster).owner("tick")

    before = eventually(owner, within_s=60, what="tick runs")
    assert before is not None
    one_lab.moslab("pause", str(before))
    eventually(owner, lambda node: node not in (None, before), within_s=60, what="tick runs elsewhere")
    one_lab.moslab("resume", str(before))
    said = one_lab.moslab("history")
    assert "never twice" in said
    assert re.search(rf"(?m)^ +-[\d.]+ to -[\d.]+: pause node {before}$", said), "and what other commands have broken"
    whole = journals.read(one_lab.cluster, whole=True)
    *_, (node, group, begin_s, end_s) = whole.freezes
    assert (node, group) == (before, None)
    assert begin_s < end_s < whole.now_s
