"""MFS through Toxiproxy: what it does to reads of /mfs, in which direction, and what passes beside it."""

from __future__ import annotations

import errno
import json
import time
import uuid
from collections.abc import Iterator
from typing import NamedTuple

import docker
import pytest

from emulator.probe import TRIES, TRY_S
from moslab.errors import CannotError
from moslab.faults.docker import Faults
from moslab.faults.links import between
from moslab.faults.netem import CAN
from moslab.faults.record import UNENDED
from moslab.faults.toxics import delay, rate, reset, slow_close
from moslab.layout import Options
from moslab.node import run
from moslab.progress import Progress
from moslab.removal import is_anything_left
from moslab.scenario.cluster import Cluster
from moslab.scenario.docker import DockerWorld
from moslab.scenario.world import Spec
from moslab.toxiproxy import API_PORT
from moslab.wait import eventually
from tests.container.conftest import Lab

pytestmark = pytest.mark.xdist_group("toxiproxy")

DELAY_S = 0.3
LEASES_S = 6.0
KBYTES_S, BYTES = 100, 60_000
LOOKS = """
import json, os, sys, time
begin_s = time.monotonic()
try:
    with open(sys.argv[1], "rb", buffering=0) as file:
        got, error = len(file.read(1 << 20) or b""), 0
except OSError as failure:
    got, error = 0, failure.errno
print(json.dumps([time.monotonic() - begin_s, got, error]))
"""


class Look(NamedTuple):
    """What a read through /mfs was."""

    took_s: float
    bytes: int
    errno: int


@pytest.fixture(scope="module")
def one_lab(client: docker.DockerClient) -> Iterator[Lab]:
    lab = Lab(client, f"t-toxic-{uuid.uuid4().hex[:6]}")
    try:
        lab.moslab("up", "3", "--toxiproxy", "--no-agents")
        faults = Faults(lab.cluster)
        for node in lab.cluster.nodes().values():
            assert run(node, ["sh", "-c", f"head -c {BYTES} /dev/zero >/root/file"]).exit_code == 0
        for asker in (1, 2, 3):
            for owner in {1, 2, 3} - {asker}:
                assert look(faults, asker, owner).errno == 0
        yield lab
    finally:
        lab.end()
    assert lab.is_gone()


@pytest.fixture
def faults(one_lab: Lab) -> Iterator[Faults]:
    made = Faults(one_lab.cluster)
    yield made
    made.end()
    assert made.fabric.cuts() == {}
    assert made.record.lasting() == []


def look(faults: Faults, asker: int, owner: int, path: str = "root/file") -> Look:
    done = run(faults.cluster.node(asker), ["python3", "-IS", "-c", LOOKS, f"/mfs/{owner}/{path}"])
    return Look(*json.loads(done.stdout))


def probed(faults: Faults, asker: int, owner: int) -> bool:
    """Whether the asker's openMosix says that the owner is up: it asks by UDP, and an answer has 20 ms."""
    shown = run(faults.cluster.node(asker), ["cat", f"/openmosix/proc/hpc/nodes/{owner}/status"])
    return shown.stdout.strip() == "3"


def sees_up(faults: Faults, asker: int, owner: int) -> None:
    eventually(lambda: probed(faults, asker, owner), within_s=20, what=f"node {owner} is up for node {asker}")


def test_each_asker_has_a_proxy_of_its_own_for_each_owner(one_lab: Lab, faults: Faults) -> None:
    maps = {node: run(container, ["cat", "/etc/openmosix.map"]).stdout for node, container in
            one_lab.cluster.nodes().items()}
    assert len(set(maps.values())) == 3, "each node's own"
    peers = run(one_lab.cluster.node(1), ["ss", "-Htn", "state", "established", "sport", "=", ":723"]).stdout
    router = one_lab.client.containers.get(one_lab.cluster.names.router)
    address = next(
        network["IPAddress"] for name, network in router.attrs["NetworkSettings"]["Networks"].items()
        if name == one_lab.cluster.names.network
    )
    assert {line.split()[-1].rpartition(":")[0] for line in peers.splitlines()} == {address}, "all come by Toxiproxy"
    served = run(one_lab.cluster.node(1), ["cat", "/openmosix/proc/mfs/served"]).stdout
    assert {line.split()[0] for line in served.splitlines()[1:]} >= {"2", "3"}, "and are known by the hello"
    asked = run(one_lab.cluster.node(1), ["timeout", "2", "bash", "-c", f"</dev/tcp/{address}/{API_PORT}"])
    assert asked.exit_code == 124, "no node may ask Toxiproxy itself"
    sees_up(faults, 1, 2)
    assert run(one_lab.cluster.node(1), ["mosrun", "-2", "cat", "/etc/openmosix.map"]).stdout == maps[2], "beside it"


def test_a_delay_hits_its_links_alone_and_no_probe(one_lab: Lab, faults: Faults) -> None:
    name = one_lab.moslab("delay", "1", str(DELAY_S), "--from", "2").partition(":")[0]
    assert look(faults, 1, 2).took_s >= 2 * DELAY_S, "questions and answers"
    assert look(faults, 2, 1).took_s >= 2 * DELAY_S
    before = Faults(one_lab.cluster)
    with_others = [look(faults, 1, 3), look(faults, 3, 1), look(faults, 2, 3), look(faults, 3, 2)]
    assert all(one.errno == 0 and one.bytes == BYTES for one in with_others)
    assert min(one.took_s for one in with_others) < DELAY_S
    assert DELAY_S > TRIES * TRY_S, "so a probe that was delayed would find nobody"
    sees_up(faults, 1, 2)
    assert one_lab.moslab("heal", name) == f"{name} is healed\n"
    assert before.fabric.cuts() == {}
    eventually(lambda: look(faults, 1, 2).took_s, lambda took_s: took_s < 2 * DELAY_S, within_s=20, what="no delay")


def test_one_way_each_direction_counts_once(faults: Faults) -> None:
    faults.worsen(between([1], [2], one_way=True), delay(DELAY_S))
    whole = look(faults, 1, 2)
    assert whole.took_s >= DELAY_S, "the questions"
    assert look(faults, 2, 1).took_s >= DELAY_S, "the answers"
    faults.worsen(between([2], [1], one_way=True), delay(DELAY_S))
    assert look(faults, 1, 2).took_s >= 2 * DELAY_S, "they compose"
    assert [fault.kind for fault in faults.record.all] == ["delay", "delay"]
    assert faults.record.all[0].detail == f"{DELAY_S:g} s: 1>2"
    assert faults.record.all[0].end_s > faults.now_s(), "it lasts"


def test_jitter_is_around_the_delay(faults: Faults) -> None:
    faults.worsen(between([1], [2], one_way=True), delay(0.2, 0.1))
    assert look(faults, 1, 2).took_s >= 0.1


def test_a_rate_bounds_a_connection(faults: Faults) -> None:
    assert look(faults, 1, 2).bytes == BYTES
    faults.worsen(between([2], [1], one_way=True), rate(KBYTES_S))
    slow = look(faults, 1, 2)
    assert (slow.bytes, slow.errno) == (BYTES, 0)
    assert slow.took_s >= 0.8 * BYTES / (KBYTES_S * 1000)


def test_a_reset_is_what_a_peer_that_reboots_is(faults: Faults) -> None:
    """EAGAIN for what was under way, by a connection that broke, then EREMOTE at once (openmosix-observed)."""
    faults.worsen(between([1], [2]), reset())
    seen = [look(faults, 1, 2) for _ in range(4)]
    assert seen[0].errno in (errno.EAGAIN, errno.EREMOTE)
    assert {one.errno for one in seen[1:]} == {errno.EREMOTE}
    assert look(faults, 3, 2).bytes == BYTES
    assert look(faults, 1, 3).bytes == BYTES
    faults.end()
    assert look(faults, 1, 2) [1:] == (BYTES, 0)


def test_a_slow_close_is_told_later(faults: Faults) -> None:
    """Of a daemon that was killed the kernel tells; Toxiproxy keeps that for a while: silence."""
    killed = ["sh", "-c", "pkill -KILL -x openmosixd; sleep 0.05"]
    look(faults, 1, 2)
    faults.worsen(between([1], [2]), slow_close(5.0))
    run(faults.cluster.node(2), killed)
    begin_s = time.monotonic()
    assert look(faults, 1, 2).errno == errno.EAGAIN, "silence, where a close would be EAGAIN at once"
    assert time.monotonic() - begin_s >= 0.9
    faults.end()
    eventually(lambda: look(faults, 1, 2), lambda one: one.bytes == BYTES, within_s=30, what="node 2 serves again")
    sees_up(faults, 1, 2)
    sees_up(faults, 2, 1)


def test_a_cut_cuts_mfs_and_probes_too(faults: Faults) -> None:
    name = faults.cut(between([1], [2, 3]))
    assert look(faults, 1, 2).errno in (errno.EAGAIN, errno.EHOSTUNREACH)
    assert look(faults, 2, 1).errno in (errno.EAGAIN, errno.EHOSTUNREACH)
    assert not probed(faults, 1, 2)
    assert not probed(faults, 2, 1)
    assert look(faults, 2, 3).bytes == BYTES
    sees_up(faults, 2, 3)
    faults.heal(name)
    eventually(lambda: look(faults, 1, 2), lambda one: one.bytes == BYTES, within_s=20, what="node 2 is read again")
    sees_up(faults, 2, 1)


def test_one_way_cuts_are_of_packets(faults: Faults) -> None:
    faults.cut(between([1], [2], one_way=True))
    assert look(faults, 1, 2).errno == errno.EAGAIN
    assert look(faults, 2, 1).errno == errno.EAGAIN
    assert look(faults, 3, 1).bytes == BYTES
    assert look(faults, 3, 2).bytes == BYTES


def test_loss_is_a_share(faults: Faults) -> None:
    name = faults.cut(between([1], [2], one_way=True), loss=0.9)
    answers = [probed(faults, 1, 2) for _ in range(20)]
    assert answers.count(False) > 0, "each is three tries, and 0.73 of them find nobody"
    sees_up(faults, 1, 2)
    sees_up(faults, 1, 3)
    faults.heal(name)
    (fault,) = faults.record.all
    assert (fault.kind, fault.detail) == ("loss", "90.00%: 1>2")
    assert fault.begin_s < fault.end_s <= faults.now_s()
    with pytest.raises(CannotError, match="share"):
        faults.cut(between([1], [2]), loss=1.5)


def test_a_node_that_reboots_is_there_again(faults: Faults) -> None:
    faults.kill(2)
    assert look(faults, 1, 2).errno in (errno.EAGAIN, errno.EREMOTE, errno.EHOSTUNREACH)
    faults.start(2)
    eventually(lambda: look(faults, 1, 2), lambda one: one.bytes == BYTES, within_s=40, what="node 2 serves again")
    sees_up(faults, 1, 2)


@pytest.mark.long
@pytest.mark.long
def test_agents_keep_their_promise_when_all_that_they_say_is_late(client: docker.DockerClient) -> None:
    name = f"t-late-{uuid.uuid4().hex[:6]}"
    world = DockerWorld.begin(client, name, Spec(3, toxiproxy=True), Progress())
    try:
        cluster = Cluster(world, 7)
        cluster.heal()
        web = cluster.group("web")
        with cluster.delay("all", 0.02, "all", jitter_s=0.015):
            cluster.kill(web.owner)
            web.wait_running(elsewhere=True)
        cluster.heal()
        with cluster.delay("all", 0.5, "all"), cluster.rate("all", 50, "all"):
            cluster.sleep(LEASES_S)                          # too late for leases: it need not run, but never twice
            with cluster.reset("one"):
                cluster.sleep(LEASES_S)
        cluster.check()
        assert [fault.kind for fault in cluster.faults] == ["delay", "off", "delay", "rate", "reset"]
        assert all(fault.begin_s < fault.end_s < UNENDED for fault in cluster.faults)
    finally:
        world.close()
    assert not is_anything_left(client, name)


@pytest.mark.long
def test_without_toxiproxy_it_is_said_how_to_have_it(lab: Lab) -> None:
    lab.cluster.up(2, Progress(), options=Options(agents=False))
    assert "moslab up --toxiproxy" in lab.moslab("reset", "1", exit_code=2)
    if run(lab.cluster.node(1), CAN).exit_code:
        assert "modprobe sch_netem" in lab.moslab("delay", "1", "0.1", exit_code=2)
    else:
        name = lab.moslab("delay", "1", "0.1").partition(":")[0]
        assert lab.moslab("heal", name) == f"{name} is healed\n"
    name = lab.moslab("loss", "1", "0.5").partition(":")[0]
    assert name.startswith("loss-")
    assert lab.moslab("heal") == f"{name} is healed\n"
