"""compose/compose.yaml, started for real by compose v2. The tests are in an order: the last one takes it down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError

import pytest
from docker.models.containers import Container

from moslab import journals
from moslab.cluster import Cluster
from moslab.guard import State
from moslab.history.checkers import VALID, judge
from moslab.layout import SIZE
from moslab.node import run
from moslab.progress import Progress
from moslab.removal import is_anything_left
from moslab.wait import eventually
from tests.compose.conftest import Project

LATENCY_MS = 700
MOVE_LIMIT_S = 30.0

IMAGE_FILES = (
    "find /usr/lib/mosha /sbin /usr/sbin /usr/bin /etc/init.d /etc/inittab -type f -o -type l | LC_ALL=C sort "
    "| xargs sha256sum"
)


@pytest.fixture(scope="module")
def harness(project: Project) -> Iterator[Cluster]:
    """A cluster that the harness starts."""
    it = Cluster(project.client, "t-beside-compose")
    it.up(2, Progress(), groups=False)
    yield it
    it.down()


def test_the_page_and_its_status(project: Project) -> None:
    assert b"<title>mosha</title>" in project.get("DASHBOARD_PORT", "/")
    assert project.status()["quorum"]
    with pytest.raises(HTTPError, match="404"):
        project.get("DASHBOARD_PORT", "/etc/passwd")


# -- what the engine was told ----------------------------------------------------------------------

OTHERWISE = {"CgroupParent", "Binds", "Mounts", "NetworkMode", "LogConfig", "AutoRemove", "ContainerIDFile"}
"""Of HostConfig: how the same is said, or compared below."""


def host_config(container: Container) -> dict[str, Any]:
    said = container.attrs["HostConfig"]
    # whoever asks leaves out what is empty in different ways
    found = {key: value for key, value in said.items() if value not in (None, "", [], {}, 0, False)
             and key not in OTHERWISE}
    return {**found, "Ulimits": sorted(found.get("Ulimits", []), key=lambda limit: str(limit["Name"]))}


def own(labels: dict[str, str]) -> dict[str, str]:
    """Without the names of clusters, and their sizes."""
    return {key: value for key, value in labels.items() if key.startswith("org.mosha.") and key != SIZE
            and not key.endswith(".cluster")}


def mounts(container: Container) -> dict[str, tuple[str, bool]]:
    return {m["Destination"]: (m["Type"], m["RW"]) for m in container.attrs["Mounts"]}


@pytest.mark.parametrize("name", ["node2", "power"])
def test_the_engine_is_told_what_the_harness_tells_it(project: Project, harness: Cluster, name: str) -> None:
    ours, theirs = (
        project.client.containers.get(f"{cluster.names.network}-{name}") for cluster in (project.cluster, harness)
    )
    assert host_config(ours) == host_config(theirs)
    assert ours.attrs["HostConfig"]["LogConfig"] == theirs.attrs["HostConfig"]["LogConfig"]
    added = {"/founding": ("volume", False), **({} if name == "power" else {"/var/mosix-ha": ("volume", True)})}
    assert mounts(ours) == {**mounts(theirs), **added}
    assert own(ours.labels) == own(theirs.labels)
    for key in ("Env", "User", "WorkingDir", "Volumes", "ExposedPorts", "StopSignal", "Tty"):
        assert ours.attrs["Config"].get(key) == theirs.attrs["Config"].get(key), key
    if name != "power":
        assert ours.attrs["Config"]["Hostname"] == theirs.attrs["Config"]["Hostname"]
    # the power switch of the harness is in the engine's default network too: it was there before the cluster's own
    assert _host_part(ours, project.cluster) == _host_part(theirs, harness)


def _host_part(container: Container, cluster: Cluster) -> str:
    endpoint = container.attrs["NetworkSettings"]["Networks"][cluster.names.network]
    return str(endpoint["IPAMConfig"]["IPv4Address"]).rpartition(".")[2]


def test_network_and_disk_are_those_of_the_harness(project: Project, harness: Cluster) -> None:
    networks = [project.client.networks.get(cluster.names.network).attrs for cluster in (project.cluster, harness)]
    for key in ("Driver", "Internal", "Scope", "EnableIPv6", "Attachable", "Options"):
        assert (networks[0][key] or None) == (networks[1][key] or None), key
    assert own(networks[0]["Labels"]) == own(networks[1]["Labels"])
    for name in ("san", "complete"):
        ours, theirs = (
            project.client.volumes.get(getattr(cluster.names, name)).attrs for cluster in (project.cluster, harness)
        )
        assert (ours["Driver"], own(ours["Labels"])) == (theirs["Driver"], own(theirs["Labels"]))


def test_the_image_is_that_of_the_harness(project: Project, harness: Cluster) -> None:
    ours, theirs = (run(cluster.node(2), ["sh", "-ec", IMAGE_FILES]).stdout for cluster in (project.cluster, harness))
    assert ours == theirs
    assert len(ours.splitlines()) > 500


def test_processes_of_a_node_are_those_of_the_harness(project: Project, harness: Cluster) -> None:
    """From PID 1 on; `founding` has left the same files, but for keys, era, addresses and the dashboard."""
    def seen(cluster: Cluster, command: str) -> str:
        return run(cluster.node(2), ["sh", "-ec", command]).stdout

    for command in (
        "tr '\\0' ' ' </proc/1/cmdline", "stat -c '%n %a %u' /etc/openmosix.map /etc/openmosix/* /etc/powerswitch.json",
        "cat /etc/openmosix/mfs_time", "grep -v ^voters /etc/mosha.conf",
    ):
        assert seen(project.cluster, command) == seen(harness, command)
    assert run(project.cluster.node(2), ["mosha", "check"]).exit_code == 0


def test_moslab_takes_it_for_one_of_its_own(project: Project) -> None:
    assert project.cluster.state() is State.COMMITTED
    assert project.cluster.size() == len(project.cluster.nodes()) == 5


# -- the way in ------------------------------------------------------------------------------------

def test_a_client_outside_is_behind_toxiproxy(project: Project) -> None:
    assert project.kv("SET", "colour", "red") == "+OK"
    latency = {"name": "slow", "type": "latency", "stream": "downstream", "attributes": {"latency": LATENCY_MS}}
    project.toxic("POST", "/proxies/kv/toxics", latency)
    begin_s = time.monotonic()
    assert project.kv("PING") == "+PONG"
    assert time.monotonic() - begin_s >= LATENCY_MS / 1000
    project.toxic("DELETE", "/proxies/kv/toxics/slow")
    begin_s = time.monotonic()
    assert project.kv("PING") == "+PONG"
    assert time.monotonic() - begin_s < LATENCY_MS / 1000


# -- deaths ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("group", ["dashboard", "kv"])
def test_a_group_moves_when_its_node_dies(project: Project, group: str) -> None:
    before = project.owner(group)
    project("kill", f"node{before}")

    def owner() -> int:
        try:
            return project.owner(group)
        except (OSError, ValueError):
            return 0

    eventually(owner, lambda after: after not in (0, before), within_s=MOVE_LIMIT_S, what=f"{group} elsewhere")
    if group == "kv":
        eventually(lambda: _answer(project, "GET", "colour"), lambda said: said == "$3", within_s=MOVE_LIMIT_S,
                   what="what was acknowledged")
    project("start", f"node{before}")
    project.await_groups()


def _answer(project: Project, *words: str) -> str:
    try:
        return project.kv(*words)
    except OSError:
        return ""


def test_an_edit_survives_a_stop_of_everything(project: Project) -> None:
    edit = "sed -i 's/^tick start/tick start prefer=2/' /var/mosix-ha/hactl"
    assert run(project.cluster.node(2), ["sh", "-ec", edit]).exit_code == 0
    _await_edit(project, 3)
    era = _era(project)
    project("stop", "-t", "15")
    project("start")
    project.await_groups()
    for number in range(1, 6):
        _await_edit(project, number)
    assert _era(project) == era


def test_a_new_container_has_the_disk_of_its_node(project: Project) -> None:
    era = _era(project)
    project("up", "-d", "--force-recreate", "--no-deps", "founding", "node4")
    assert "prefer=2" in _hactl(project, 4)
    _await_voters(project)
    assert "this voter counts again in" not in project("logs", "node4")
    assert _era(project) == era


def test_a_lost_disk_is_not_founded_again(project: Project) -> None:
    """Its voter recovers, as on any disk that was replaced."""
    era = _era(project)
    project("rm", "-s", "-f", "node4", "founding")
    project.client.volumes.get(f"{project.cluster.names.network}-node4").remove()
    project("up", "-d", "--no-deps", "founding", "node4")
    _await_edit(project, 4)
    assert "this voter counts again in" in project("logs", "node4")
    _await_voters(project)
    assert _era(project) == era


def test_never_twice(project: Project) -> None:
    verdict, problems = judge(journals.read(project.cluster, whole=True).history())
    assert (verdict, problems) == (VALID, [])


def test_down_and_up_is_the_same_cluster(project: Project) -> None:
    era = _era(project)
    project("down", "-t", "5")
    project.up()
    assert _era(project) == era
    assert "prefer=2" in _hactl(project, 3)
    assert _answer(project, "GET", "colour") == "$3"


def test_after_down_nothing_is_left(project: Project) -> None:
    project("down", "-v", "-t", "5")
    assert not is_anything_left(project.client, "compose")
    chosen: dict[str, str | list[str] | bool] = {"label": "com.docker.compose.project=mosha-compose"}
    assert not project.client.containers.list(all=True, filters=chosen)
    assert not project.client.networks.list(filters=chosen)
    assert not project.client.volumes.list(filters=chosen)


def _await_edit(project: Project, number: int) -> None:
    eventually(lambda: _hactl(project, number), lambda text: "prefer=2" in text, within_s=MOVE_LIMIT_S,
               what=f"the edit on node {number}")


def _hactl(project: Project, number: int) -> str:
    return run(project.cluster.node(number), ["cat", "/var/mosix-ha/hactl"]).stdout


def _await_voters(project: Project) -> None:
    def states() -> list[str]:
        return [voter["state"] for voter in project.status()["voters"]]

    eventually(states, lambda seen: seen == ["full"] * 5, within_s=60.0, what="all voters full")


def _era(project: Project) -> str:
    return str(project.status()["era"])
