"""The engine of namespaces: power, disks, commands, freezes and links of machines, and that nothing of it is left."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import docker
import pytest
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from moslab.cluster import Cluster
from moslab.errors import CannotError, LabError, NotBegunError
from moslab.faults.fabric import CAN_LOSE, addresses_of
from moslab.faults.links import HEAD, rules
from moslab.image import ensure_image
from moslab.layout import CLUSTER, Options, archive
from moslab.namespaces import linux, own
from moslab.namespaces.boot import FUSE, KERNEL
from moslab.namespaces.command import Command
from moslab.namespaces.image import INSTALLS, instructions
from moslab.namespaces.names import READY, SOCKET
from moslab.namespaces.own import PREFIX, OwnEngine, command, sweep
from moslab.network import create_network
from moslab.node import create_node, run
from moslab.progress import Progress
from moslab.removal import is_anything_left, sweep_dead
from moslab.scenario.docker import DockerWorld
from moslab.scenario.pool import OURS
from moslab.scenario.world import Spec
from moslab.wait import eventually
from tests.engines import hears_nothing_of, processes_of
from tests.unit.hpc.loopback import may_mount

if TYPE_CHECKING:
    from moslab.namespaces.machine import Machine

IMAGE = "t-empty:1"
RECIPE = f"""\
FROM x
# nothing
RUN {INSTALLS} install x \\
 && y
RUN mkdir /made \\
 && echo built >/made/file
COPY a /b
"""
SLEEPS = ["sh", "-c", "echo begins; echo wrong >&2; exec sleep infinity"]
LIMIT_S = 20.0
NOBODY = 65534
SLEEPER = b"s:2345:respawn:sleep infinity\n"
HOLDS = """
import os, sys
from moslab.namespaces.own import OwnEngine
engine = OwnEngine()
print(engine.directory, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    may_mount()
    engine = OwnEngine()
    connected = engine.client()
    build(connected)
    yield connected
    connected.close()
    engine.close()
    assert not Path(engine.directory).exists()
    assert not processes_of(engine.directory)


def build(client: docker.DockerClient) -> None:
    context = io.BytesIO(archive({"Dockerfile": (RECIPE.encode(), 0o644), "a/c": (b"copied", 0o755)}))
    said = list(client.api.build(fileobj=context, custom_context=True, dockerfile="Dockerfile", tag=IMAGE, decode=True))
    assert said == [{"stream": "built"}]


@pytest.fixture
def machine(client: docker.DockerClient) -> Iterator[Container]:
    made = client.containers.create(IMAGE, SLEEPS, name=f"t-{uuid.uuid4().hex[:8]}", hostname="one",
                                    tmpfs={"/run": "mode=755"})
    made.start()
    yield made
    made.remove(force=True)
    eventually(lambda: gone(client, made), within_s=LIMIT_S, what="it is gone", every_s=0.02)


def gone(client: docker.DockerClient, container: Container) -> bool:
    try:
        client.containers.get(str(container.id))
    except NotFound:
        return True
    return False


def status(container: Container) -> str:
    container.reload()
    return container.status


def sh(container: Container, script: str) -> str:
    done = run(container, ["sh", "-c", script])
    assert done.exit_code == 0, done.stderr
    return done.stdout.strip()


def test_a_dockerfile_is_read_as_it_is_written() -> None:
    assert list(instructions(RECIPE)) == [
        ("FROM", "x"), ("RUN", f"{INSTALLS} install x   && y"), ("RUN", "mkdir /made   && echo built >/made/file"),
        ("COPY", "a /b"),
    ]


def test_who_asks_gets_an_answer_whatever_it_is(client: docker.DockerClient) -> None:
    said = client.api.post(
        f"{client.api.base_url}/v1.41/containers/create", data="[1]", headers={"Content-Type": "application/json"},
    )
    assert said.status_code == 500
    assert said.json()["message"]


def test_what_is_the_whole_machines_is_not_a_nodes_to_change(machine: Container) -> None:
    for path in KERNEL:
        if os.path.exists(path):
            assert run(machine, ["sh", "-c", f"touch {path}"]).exit_code, path
    assert "Read-only" in run(machine, ["chmod", "000", "/dev/null"]).stderr
    assert sh(machine, "echo gone >/dev/null && head -c 3 /dev/zero | wc -c") == "3"


def test_a_command_has_all_signals_as_usual() -> None:
    """Whatever the session ignores, as what a shell has in its background does."""
    may_mount()
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    try:
        engine = OwnEngine()
    finally:
        signal.signal(signal.SIGQUIT, before)
    client = engine.client()
    build(client)
    machine = client.containers.create(IMAGE, SLEEPS, name="t-one")
    machine.start()
    of_the_c_library = 1 << 31 | 1 << 32
    assert int(sh(machine, "grep SigIgn /proc/self/status").split()[1], 16) & ~of_the_c_library == 0
    client.close()
    engine.close()


def test_a_command_in_a_machine_whose_first_process_is_dead_gets_an_answer() -> None:
    """It has lost its power, and the engine has not heard of that yet."""
    may_mount()
    says, hears = os.pipe()
    outside = os.fork()
    if not outside:
        linux.unshare(linux.NEWPID)
        first = os.fork()
        if not first:
            os._exit(0)
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
        os.write(hears, b"%d" % first)
        signal.pause()
    try:
        machine = SimpleNamespace(pid=int(os.read(says, 16)), name="it", await_begun=lambda: None, limits={})
        ours, theirs = socket.socketpair()
        started = Command(cast("Machine", machine), ["true"])
        started.start(theirs)
        ours.settimeout(LIMIT_S)
        assert ours.recv(4096).startswith(b"HTTP/1.1 409 ")
        assert os.read(started.result, 1) == b""
        started.close()
        ours.close()
    finally:
        os.kill(outside, signal.SIGKILL)
        os.waitpid(outside, 0)
        os.close(says)
        os.close(hears)


def test_a_machine_is_alone_in_its_namespaces(machine: Container) -> None:
    assert sh(machine, "hostname") == "one"
    assert sh(machine, "cat /made/file /b/c; stat -c %a /b/c") == "built\ncopied755"
    assert sh(machine, "ls -A /root /tmp; ls -d /home /work /srv 2>/dev/null; true") == "/root:\n\n/tmp:"
    assert len(sh(machine, "ps -e -o pid=").split()) <= 4
    assert sh(machine, "ls /sys/class/net 2>/dev/null; ip -br link | wc -l") == "1", "lo alone"
    assert run(machine, ["touch", "/usr/bin/x"]).exit_code == 1, "the machine's programs are everybody's"


def test_a_command_says_what_it_says_and_how_it_ends(machine: Container) -> None:
    assert run(machine, ["sh", "-c", "echo out; echo err >&2; exit 7"]) == (7, "out\n", "err\n")
    assert run(machine, ["sh", "-c", "kill -9 $$"]).exit_code == 128 + signal.SIGKILL
    assert run(machine, ["no-such-program"]).exit_code == 127
    big = run(machine, ["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"])
    assert (big.exit_code, len(big.stdout)) == (0, 3_000_000)
    many = [run(machine, ["true"]).exit_code for _ in range(20)]
    assert many == [0] * 20, "who hears the end knows the code"


def test_its_disk_stays_and_what_is_volatile_goes_with_the_power(machine: Container) -> None:
    sh(machine, "echo 1 >/etc/mine; rm -r /made; echo 2 >/run/lost; sleep 100 >/dev/null 2>&1 &")
    machine.kill()
    eventually(lambda: status(machine), lambda seen: seen == "exited", within_s=LIMIT_S, what="it is off", every_s=0.02)
    with pytest.raises(LabError, match="no command runs"):
        run(machine, ["true"])
    assert machine.put_archive("/", archive({"etc/given": (b"off\n", 0o600)})), "its disk is there without power"
    machine.start()
    assert sh(machine, "cat /etc/mine /etc/given; ls /run; test ! -e /made && echo gone") == "1\noff\ngone"
    assert len(sh(machine, "ps -e -o pid=").split()) <= 4, "nothing of the last life"
    pieces, _stat = machine.get_archive("/etc/mine")
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        file = tar.extractfile("mine")
        assert file is not None
        assert file.read() == b"1\n"
    with pytest.raises(NotFound):
        machine.get_archive("/etc/none")


def test_what_it_says_is_kept_with_the_time(machine: Container) -> None:
    eventually(machine.logs, lambda said: said.count(b"\n") == 2, within_s=LIMIT_S, what="it has spoken")
    assert machine.logs(stderr=False) == b"begins\n"
    assert machine.logs(stdout=False) == b"wrong\n"
    assert machine.logs(tail=1) in (b"begins\n", b"wrong\n")
    stamp = machine.logs(timestamps=True, stderr=False).split()[0].decode()
    assert stamp.startswith(time.strftime("%Y-%m-", time.gmtime()))
    assert stamp.endswith("Z")
    assert machine.logs(since=time.time() + 100) == b""


def test_a_paused_machine_stands_still_and_its_clock_goes_on(machine: Container) -> None:
    sh(machine, """
        (while :; do date +%s.%N >>/etc/ticks; sleep 0.01; done) >/dev/null 2>&1 &
        unshare --fork --pid sh -c 'while :; do date +%s.%N >>/etc/deep; sleep 0.01; done' >/dev/null 2>&1 &
        setsid sleep 1000 >/dev/null 2>&1 &
        while [ "$(ps -o comm= -p $!)" != sleep ]; do sleep 0.01; done
        kill -STOP $!; echo $! >/etc/stopped
    """)
    eventually(lambda: sh(machine, "wc -l </etc/deep; wc -l </etc/ticks").split(),
               lambda lines: all(int(one) > 3 for one in lines), within_s=LIMIT_S, what="both tick")
    machine.pause()
    assert status(machine) == "paused"
    with pytest.raises(LabError, match="no command runs"):
        run(machine, ["true"])
    before = sizes(machine)
    time.sleep(0.3)                                          # what shall not happen meanwhile
    assert sizes(machine) == before
    machine.unpause()
    assert status(machine) == "running"
    eventually(lambda: sizes(machine), lambda now: all(a > b for a, b in zip(now, before)), within_s=LIMIT_S,
               what="both tick again")
    gaps = sh(machine, "awk 'NR>1 && $1-last>0.25 {n++} {last=$1} END {print n+0}' /etc/ticks")
    assert int(gaps) >= 1, "the clock went on"
    assert sh(machine, "ps -o stat= -p $(cat /etc/stopped)").startswith("T"), "what stood still before, still does"


def sizes(machine: Container) -> list[int]:
    found = []
    for path in ("/etc/ticks", "/etc/deep"):
        pieces, _stat = machine.get_archive(path)
        found.append(len(b"".join(pieces).rstrip(b"\0")))
    return found


def test_paused_it_can_be_killed(machine: Container) -> None:
    machine.pause()
    machine.kill()
    eventually(lambda: status(machine), lambda seen: seen == "exited", within_s=LIMIT_S, what="it is off", every_s=0.02)
    with pytest.raises(APIError, match="not paused"):
        machine.unpause()


def test_links_of_nodes_are_cut_at_the_receiver(client: docker.DockerClient) -> None:
    """By nft, or what stands for it: with the very commands of the nodes' inittab and of a cut."""
    cluster = Cluster(client, f"t-{uuid.uuid4().hex[:8]}")
    names, image = cluster.names, ensure_image(client, Progress())
    subnet, second = create_network(client, names), create_network(client, names, 2)
    client.volumes.create(names.san, labels=names.labels("san"))
    addresses = [str(subnet.network_address + 100 + node) for node in (1, 2)]
    others = [str(second.network_address + 100 + node) for node in (1, 2)]
    one, two = (create_node(client, names, image, both, node, archive({"etc/inittab": (SLEEPER, 0o644)}))
                for node, both in enumerate(zip(addresses, others), 1))
    try:
        for machine in (one, two):
            machine.start()
        assert f"{addresses[0]}/24" in sh(one, "ip -br addr show eth0")
        assert talks(one, two, addresses[1])
        rule = rules("c", [(1, 2)], dict(enumerate(addresses, 1)))
        sh(two, f"echo '{HEAD}{rule}' >/etc/cuts.nft; nft -f /etc/cuts.nft")
        assert not talks(one, two, addresses[1])
        assert talks(one, two, others[1]), "the other network is not cut"
        machines = [client.containers.get(str(machine.id)) for machine in (one, two)]
        assert [addresses_of(machine) for machine in machines] == [list(both) for both in zip(addresses, others)]
        if run(two, ["nft", "-c", CAN_LOSE]).exit_code == 0:             # else the kernel has not what that needs
            most = rules("l", [(1, 2)], dict(enumerate(addresses, 1)), loss=0.9999)
            sh(two, f"echo '{HEAD}{most}' >/etc/cuts.nft; nft -f /etc/cuts.nft")
            assert not talks(one, two, addresses[1])
            few = rules("l", [(1, 2)], dict(enumerate(addresses, 1)), loss=0.0001)
            sh(two, f"echo '{HEAD}{few}' >/etc/cuts.nft; nft -f /etc/cuts.nft")
            assert talks(one, two, addresses[1])
        sh(two, f"echo '{HEAD}' >/etc/cuts.nft; nft -f /etc/cuts.nft")
        assert talks(one, two, addresses[1])
        sh(one, "echo shared >/san/file")
        assert sh(two, "cat /san/file") == "shared"
    finally:
        assert cluster.down()
    assert not client.networks.list(filters={"label": f"{CLUSTER}={names.cluster}"})


HEARS = "from socket import *; s=socket(AF_INET, SOCK_DGRAM); s.bind(('', 9)); s.settimeout({}); s.recv(9)"
SPEAKS = "from socket import *; s=socket(AF_INET, SOCK_DGRAM); s.sendto(b'x', ('{}', 9))"


def talks(one: Container, two: Container, address: str) -> bool:
    """Whether a datagram of the first one arrives at the second one."""
    limit_s = 1.0
    sh(two, f"rm -f /run/heard; (python3 -c \"{HEARS.format(limit_s)}\" 2>/dev/null; echo $? >/run/heard) "
            ">/dev/null 2>&1 & while ! ss -lnu | grep -q :9; do sleep 0.01; done")
    sh(one, f'python3 -c "{SPEAKS.format(address)}"')
    return sh(two, "while [ ! -s /run/heard ]; do sleep 0.01; done; cat /run/heard") == "0"


def test_a_user_has_nodes_too(tmp_path: Path) -> None:
    """With a FUSE device that everybody may open, as most machines have it: openMosix and agents of two nodes."""
    may_mount()
    directory = Path(tempfile.mkdtemp(prefix="t-nobody-"))   # that of pytest is root's alone
    fuse = directory.with_suffix(".fuse")
    os.chown(directory, NOBODY, NOBODY)
    os.mknod(fuse, 0o666 | stat.S_IFCHR, os.makedev(10, 229))
    os.chmod(fuse, 0o666)
    try:
        with subprocess.Popen(
            command(str(directory)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=NOBODY, group=NOBODY,
            extra_groups=[], env={"PATH": os.environ["PATH"], FUSE: str(fuse)},
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == READY
            client = docker.DockerClient(base_url=f"unix://{directory}/{SOCKET}", version="auto")
            cluster = Cluster(client, f"t-{uuid.uuid4().hex[:8]}")
            tables = {"cltab": "web:w:start:respawn:sleep infinity\n", "hactl": "web start\n"}
            guard = cluster.up(2, Progress(), options=Options(tables=tables), stays=False)
            assert {Path(f"/proc/{pid}").stat().st_uid for pid in processes_of(str(directory))} == {NOBODY}
            sh(cluster.node(2), "echo here >/tmp/of-two")
            assert sh(cluster.node(1), "mosrun -2 cat /tmp/of-two") == "here"
            begun = "grep -lE '^(python|openmosixd)' /proc/[0-9]*/comm"
            forked = f"for comm in $({begun}); do grep SigIgn ${{comm%comm}}status; done"
            ignored = [int(line.split()[1], 16) for line in sh(cluster.node(1), forked).splitlines()]
            assert len(ignored) >= 2, "init and openmosixd"
            assert all(mask & 1 << signal.SIGPIPE - 1 for mask in ignored), "a peer that is gone does not end it"
            cluster.kill(1)
            cluster.start(1)
            assert run(cluster.node(2), ["sh", "-c", "touch /etc/mine && stat -c %u /etc/mine"]).stdout == "0\n"
            cluster.down()
            guard.abandon()
            client.close()
    finally:
        fuse.unlink()
        shutil.rmtree(directory, ignore_errors=True)


def test_what_nodes_have_said_is_kept_of_a_cluster_that_does_not_come_up(
    client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stuck(*_: object) -> None:
        raise LabError("no group runs")

    monkeypatch.setattr(Cluster, "_await_groups", stuck)
    name = f"t-{uuid.uuid4().hex[:8]}"
    with pytest.raises(NotBegunError, match="no group runs") as failed:
        DockerWorld.begin(client, name, Spec(2), Progress())
    assert {line.node for line in failed.value.log} == {1, 2}
    assert all(line.time_s >= 0.0 for line in failed.value.log), "from when it began"
    assert not is_anything_left(client, name)


def test_a_node_without_power_is_silent_until_it_boots(client: docker.DockerClient) -> None:
    """A genuine power-off tells nobody; the kernel of the machine would close the connections of what it kills."""
    cluster = Cluster(client, f"t-{uuid.uuid4().hex[:8]}")
    cluster.up(2, Progress(), options=Options(agents=False))
    try:
        assert cluster.others() == {cluster.names.power: "running"}
        for power_off in (lambda: cluster.kill(2), lambda: sh(cluster.node(1), "powerswitch off 2")):
            hears_nothing_of(cluster, 2, power_off, seconds=3)
            cluster.start(2)
            eventually(lambda: run(cluster.node(1), ["ls", "/mfs/2/tmp"]), lambda done: done.exit_code == 0,
                       within_s=LIMIT_S, what="it is back")
    finally:
        cluster.down()


def test_what_died_together_with_its_guard_is_removed_by_the_next_session(client: docker.DockerClient) -> None:
    """As after a loss of the engine's power: nothing runs, and nobody knows its name."""
    cluster = Cluster(client, f"t-gw1-{uuid.uuid4().hex[:8]}")
    guard = cluster.up(2, Progress(), options=Options(agents=False), stays=False)
    try:
        sweep_dead(client, OURS)
        assert [node.status for node in cluster.nodes().values()] == ["running"] * 2, "it lives"
        power = client.containers.get(cluster.names.power)
        power.kill()
        eventually(lambda: gone(client, power), within_s=LIMIT_S, what="its guard is gone")
        for node in cluster.nodes().values():
            assert is_anything_left(client, cluster.names.cluster)
            sweep_dead(client, OURS)
            node.kill()
            eventually(lambda node=node: status(node), lambda seen: seen == "exited", within_s=LIMIT_S,  # type: ignore[misc]
                       what="it is off")
        sweep_dead(client, re.compile("t-[0-9a-f]*"))
        assert is_anything_left(client, cluster.names.cluster)
        sweep_dead(client, OURS)
        assert not is_anything_left(client, cluster.names.cluster)
    finally:
        cluster.down()
        guard.abandon()


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory with a short path, since there will be sockets in it."""
    with tempfile.TemporaryDirectory(prefix="t-") as directory:
        yield Path(directory)


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_an_engine_whose_program_was_killed(temporary: Path, signo: int) -> None:
    may_mount()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as process:
        assert process.stdout is not None
        directory = process.stdout.readline().strip()
        assert directory.startswith(f"{temporary}/{PREFIX}")
        client = docker.DockerClient(base_url=f"unix://{directory}/{SOCKET}", version="auto")
        build(client)
        client.containers.create(IMAGE, SLEEPS, name="t-one").start()
        assert len(processes_of(directory)) >= 2
        client.close()
        process.send_signal(signo)
        process.wait()
    eventually(lambda: [*processes_of(directory), *temporary.iterdir()], lambda left: not left, within_s=LIMIT_S,
               what="nothing is left")


def test_an_engine_that_stays_ends_with_its_last_machine(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_mount()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    engine = OwnEngine()
    client = engine.client()
    build(client)
    machine = client.containers.create(IMAGE, SLEEPS, name="t-one")
    machine.start()
    engine.stay()
    engine.close()
    sweep()
    assert status(machine) == "running", "it is not swept while it lives"
    machine.remove(force=True)
    client.close()
    eventually(lambda: [*processes_of(engine.directory), *temporary.iterdir()], lambda left: not left, within_s=LIMIT_S,
               what="nothing is left")
    (dead := temporary / f"{PREFIX}dead").mkdir()
    os.mkfifo(pipe := temporary / f"{PREFIX}pipe")
    os.utime(pipe, (0, 0))
    sweep()
    pipe.unlink()
    assert dead.exists(), "it may just begin"
    os.utime(dead, (0, 0))
    sweep()
    assert not list(temporary.iterdir()), "what was killed outright is swept"


def test_a_path_that_is_too_long_for_a_socket_is_named(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = temporary / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(CannotError, match=f"{long} .TMPDIR. is too long"):
        OwnEngine()
    assert not list(long.iterdir())


@pytest.mark.parametrize(("takes", "said"), [
    ("MOSLAB_FUSE=/dev/null", r"FUSE cannot be mounted by /dev/null"),
    ("ip", r"'ip'"),
    ("nft", r"the packet filter .*/nft\): refused"),
])
def test_what_nodes_need_is_tried_before_the_engine_is_ready(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, takes: str, said: str,
) -> None:
    may_mount()
    if "=" in takes:
        monkeypatch.setenv(*takes.split("="))
    elif takes == "ip":
        (temporary / "bin").mkdir()
        monkeypatch.setenv("PATH", str(temporary / "bin"))
    else:
        refuses = temporary / "nft"
        refuses.write_text("#!/bin/sh\necho refused >&2; exit 1\n")
        refuses.chmod(0o755)
        other = f"from moslab.namespaces import ground\nground.shutil.which = lambda *_, **__: {str(refuses)!r}\n"
        monkeypatch.setattr(own, "PROGRAM", own.PROGRAM.replace("sys.exit", f"{other}sys.exit"))
    with pytest.raises(CannotError, match=f"no namespaces for this user on this machine: .*{said}"):
        OwnEngine()


LAB = """\
import sys
from moslab import engine, entry
engine.where = lambda: engine.Where("unix:///nowhere/docker.sock", "the default socket", True)
sys.exit(entry.main())
"""


def test_where_there_is_no_container_engine_a_cluster_is_of_namespaces(temporary: Path) -> None:
    """It is found by its name, and its engine ends with it."""
    may_mount()
    there = {**os.environ, "TMPDIR": str(temporary), "ENGINE": "keep", "HOME": str(temporary)}
    there.pop("DOCKER_HOST", None)

    def moslab(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", LAB, "--cluster", "t-own", *words], env=there, text=True,
                              capture_output=True, timeout=3 * LIMIT_S, check=False)

    refused = moslab("up", "2", "--toxiproxy")
    assert (refused.returncode, "no Toxiproxy" in refused.stderr) == (2, True), refused.stderr
    begun = moslab("up", "2")
    assert begun.returncode == 0, begun.stderr
    assert "So the nodes are processes in namespaces: DOCKER_HOST=unix://" in begun.stderr
    try:
        assert moslab("up", "2").stdout.startswith('cluster "t-own" is already running'), "the same one is found"
        seen = moslab("status")
        assert (seen.returncode, "kv" in seen.stdout) == (0, True), seen.stderr
    finally:
        gone_ = moslab("down")
    assert gone_.stdout == 'cluster "t-own" is gone\n', gone_.stderr
    eventually(lambda: [*temporary.glob(f"{PREFIX}*")], lambda left: not left, within_s=LIMIT_S, what="the engine ends")
    assert moslab("status").returncode == 2
