"""The world of hosts: real machines over ssh. Here these are containers that run sshd, and openMosix, and no agent."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from moslab import cluster as lab_cluster
from moslab import layout
from moslab.cluster import Cluster
from moslab.errors import CannotError, LabError
from moslab.hosts.inventory import read
from moslab.hosts.link import LostError
from moslab.image import ensure_image
from moslab.layout import STOMITH, Options, archive
from moslab.node import run
from moslab.progress import Progress
from moslab.scenario.hosts import HostsWorld
from moslab.scenario.world import Spec
from moslab.wait import eventually

pytestmark = [pytest.mark.xdist_group("hosts"), pytest.mark.long]

ROOT = Path(__file__).parents[2]
NODES = (1, 2, 3)
BUILD_LIMIT_S = 600
TEST_LIMIT_S = 500.0
LEFT_LIMIT_S = 120.0
DOCKERFILE = """\
FROM {image}
RUN apt-get update \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends openssh-server \\
 && rm -rf /var/lib/apt/lists/*
"""
SSHD = 'ssh:2345:respawn:sh -c "mkdir -p /run/sshd; exec /usr/sbin/sshd -D"\n'
INVENTORY = """\
[every]
key = "key"
known_hosts = "known_hosts"
off = "{moslab} kill %n"
on = "sh -c '{moslab} start %n || {moslab} exec %n -- true'"

[mosha]
hpcbase = "/openmosix/proc/hpc"
{stomith} "/usr/sbin/powerswitch %a %n"
stomith_verify = "no"
"""
EVERYWHERE = (
    "test_owner_is_cut_off_where_nobody_can_be_shot", "test_owner_is_not_heard", "test_owner_hears_nobody",
    "test_cuts_overlap", "test_owner_dies_where_nobody_can_be_shot", "test_processes_of_the_owner_are_killed",
    "test_agents_restart_one_after_the_other", "test_a_group_is_moved",
)
UNSURE = "AssertionError: the history is unknown:\nE       the machines' clocks cannot tell"
"""Of a scenario whose next owner began within the uncertainty of two clocks, as after a shot on a busy machine."""
SCENARIO = """\
import pytest

def test_a_group_is_moved_and_an_agent_dies(cluster):
    web = cluster.group("web")
    before = web.run()
    target = next(node for node in cluster.nodes if node != before.node)
    cluster.move(web, target)
    web.wait_running(elsewhere=before.node)
    cluster.kill_process("agent", on=web)
    assert cluster.run(1, "cat /etc/openmosix.map").exit_code == 0
    cluster.check()

def test_owner_is_cut_off_both_ways(cluster):
    web = cluster.group("web")
    with cluster.cut(web.owner):
        web.wait_running(elsewhere=True)
    cluster.check()

@pytest.mark.cluster(stomith=False)
def test_owner_hears_nobody_and_agents_stand_still(cluster):
    web = cluster.group("web")
    owner = web.owner
    with cluster.cut("not " + str(owner), owner, one_way=True):
        web.wait_running(elsewhere=owner)
    cluster.heal()
    with cluster.stop_process("agent", on=web):
        web.wait_running()
    cluster.check()

@pytest.mark.cluster(stomith=False)
def test_owner_is_switched_off(cluster):
    web = cluster.group("web")
    with cluster.kill(web.owner):
        web.wait_running(elsewhere=True)
    cluster.check()

def test_freezes_are_not_for_machines(cluster):
    cluster.pause("one")

@pytest.mark.cluster(nodes=5)
def test_wants_five(cluster):
    pass
"""


class Machines:
    """Containers of a cluster without agents, and an inventory of them."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.inventory = folder / "inventory.toml"

    def run(self, node: int, *command: str) -> str:
        return run(self.cluster.node(node), command).stdout

    def left(self) -> list[str]:
        """What a laboratory has left on them."""
        look = (
            "ls -d /var/lib/moslab /run/moslab; nft list tables | grep moslab;"
            "grep -lz ^MOSLAB_RUN= /proc/[0-9]*/environ; find /sys/fs/cgroup -name '*mosha*'"
        )
        return [f"{node}: {found}" for node in NODES if (found := self.run(node, "sh", "-c", look).strip())]

    def pytest(self, *arguments: str | Path) -> str:
        """A session of a test in the world of hosts; its output."""
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--world=hosts", f"--inventory={self.inventory}",
             "-rs", f"--artifacts={self.folder}/artifacts", *arguments],
            cwd=self.folder, capture_output=True, text=True, timeout=TEST_LIMIT_S, check=False,
        )
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def machines(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    folder = tmp_path_factory.mktemp("hosts")
    node = ensure_image(client, Progress())
    image, _ = client.images.build(fileobj=io.BytesIO(DOCKERFILE.format(image=node).encode()), rm=True, forcerm=True,
                                   timeout=BUILD_LIMIT_S, tag=f"mosha-test-sshd:{node.partition(':')[2]}")
    cluster = Cluster(client, f"t-hosts-{uuid.uuid4().hex[:6]}")
    inittab = layout.inittab_without_agent() + SSHD
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lab_cluster, "ensure_image", lambda *_: image.id)
        patched.setattr(layout, "inittab_without_agent", lambda: inittab)
        guard = cluster.up(len(NODES), Progress(), options=Options(agents=False), stays=False)
    try:
        yield _inventoried(cluster, folder)
    finally:
        cluster.down()
        guard.abandon()
        client.images.remove(str(image.id), force=True)


def _inventoried(cluster: Cluster, folder: Path) -> Machines:
    machines = Machines(cluster, folder)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    public = (folder / "key.pub").read_bytes()
    addresses = {}
    for number, container in cluster.nodes().items():
        run(container, ["mkdir", "-p", "-m", "700", "/root/.ssh"])
        assert container.put_archive("/", archive({"root/.ssh/authorized_keys": (public, 0o600)}))
        addresses[number] = next(iter(container.attrs["NetworkSettings"]["Networks"].values()))["IPAddress"]
    host_key = machines.run(1, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").rsplit(" ", 1)[0]
    (folder / "known_hosts").write_text("".join(f"{address} {host_key}\n" for address in addresses.values()))
    moslab = f"{shlex.quote(sys.executable)} -m moslab --cluster {cluster.names.cluster}"
    machines.inventory.write_text(
        INVENTORY.format(moslab=moslab, stomith=STOMITH.partition("=")[0] + "=")
        + "".join(f'[[machine]]\nnumber = {number}\naddress = "{address}"\n' for number, address in addresses.items())
    )
    return machines


def test_scenarios(machines: Machines) -> None:
    scenario = machines.folder / "test_hosts_scenario.py"
    scenario.write_text(SCENARIO)
    said = machines.pytest(scenario)
    print(said)
    (passed,) = re.findall(r"(\d+) passed, 2 skipped", said)
    assert int(passed) + said.count(UNSURE) == 4
    assert "world hosts cannot freeze machines" in said
    assert "world hosts cannot make a cluster of 5 nodes: the inventory has 3" in said
    assert machines.left() == []


BROKEN = """\
import signal, sys
from moslab.hosts.inventory import read
from moslab.scenario.cluster import Cluster
from moslab.scenario.hosts import HostsWorld
from moslab.scenario.world import Spec
from pathlib import Path

world = HostsWorld(read(Path(sys.argv[1])), Spec(nodes=3, stomith=False))
world.settle()
cluster = Cluster(world, 1)
cluster.cut(1)
cluster.stop_process("agent", on=2)
print("broken", flush=True)
signal.pause()
"""


def test_a_laboratory_that_is_killed_leaves_nothing(machines: Machines) -> None:
    """Its keepers heal and remove everything: rules, agents that stood still, groups, directories."""
    command = [sys.executable, "-c", BROKEN, str(machines.inventory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as laboratory:
        assert laboratory.stdout is not None
        assert laboratory.stdout.readline() == "broken\n"
        assert "moslab" in machines.run(1, "nft", "list", "tables")
        assert len(machines.left()) == len(NODES)
        laboratory.kill()
    eventually(machines.left, lambda left: not left, within_s=LEFT_LIMIT_S, what="the machines are as they were")


def test_a_keeper_that_is_killed_leaves_nothing(machines: Machines) -> None:
    """Its guard cleans; the laboratory says what it lost."""
    world = HostsWorld(read(machines.inventory), Spec(nodes=3, stomith=False))
    try:
        world.settle()
        machines.run(2, "pkill", "-9", "--newest", "--full", "exec.compile")
        eventually(lambda: [left for left in machines.left() if left.startswith("2: ")], lambda left: not left,
                   within_s=LEFT_LIMIT_S, what="machine 2 is as it was")
        with pytest.raises(LabError, match="node 2"):
            world.history()
    finally:
        for link in world.fleet._links.values():
            link.drop()
    eventually(machines.left, lambda left: not left, within_s=LEFT_LIMIT_S, what="the machines are as they were")


def test_ctrl_c_heals_all(machines: Machines) -> None:
    scenario = machines.folder / "test_interrupted.py"
    scenario.write_text(
        "import os, signal\n"
        "def test_it(cluster):\n"
        "    cluster.cut(1)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    cluster.sleep(60)\n"
    )
    assert "KeyboardInterrupt" in machines.pytest(scenario)
    assert machines.left() == []


def test_what_is_missing_is_said_of_all_machines(machines: Machines) -> None:
    text = machines.inventory.read_text().replace("/openmosix/proc/hpc", "/proc/hpc")
    (machines.folder / "wrong.toml").write_text(text)
    with pytest.raises(CannotError) as problem:
        HostsWorld(read(machines.folder / "wrong.toml"), Spec(nodes=3))
    said = str(problem.value)
    assert all(f"machine {node} needs /proc/hpc: openMosix, or its emulation, at work" in said for node in NODES)
    assert machines.left() == []


def test_machines_that_cannot_be_reached_are_named(machines: Machines) -> None:
    text = machines.inventory.read_text().replace('known_hosts = "known_hosts"', 'known_hosts = "none"')
    (machines.folder / "strange.toml").write_text(text)
    with pytest.raises(LostError) as problem:
        HostsWorld(read(machines.folder / "strange.toml"), Spec(nodes=3))
    assert str(problem.value).count("Host key verification failed") == len(NODES)


def test_scenarios_of_all_worlds(machines: Machines) -> None:
    """The very functions that run simulated and in containers."""
    said = machines.pytest(f"--rootdir={ROOT}", "-c", ROOT / "pyproject.toml", ROOT / "tests/chaos", "-k",
                           " or ".join(EVERYWHERE))
    print(said)
    (selected,) = re.findall(r"(\d+) selected", said)
    (passed,) = re.findall(r"(\d+) passed", said)
    assert int(selected) >= len(EVERYWHERE)
    assert int(passed) + said.count(UNSURE) == int(selected)
    assert machines.left() == []
