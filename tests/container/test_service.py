"""A real service that survives the death of its node, again and again, and loses nothing that it acknowledged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from docker.models.containers import Container

from moslab import journals
from moslab.cli import main
from moslab.cluster import Cluster
from moslab.errors import LabError
from moslab.history.checkers import VALID, judge
from moslab.node import run
from moslab.status import status
from moslab.wait import eventually

pytestmark = pytest.mark.container

KILLS = 10
MOVE_LIMIT_S = 40.0


def group(cluster: Cluster, name: str) -> dict[str, Any]:
    """The group as the agents see it; empty while nobody can say."""
    return next((entry for entry in status(cluster)["groups"] if entry["name"] == name), {})


def wait_running(cluster: Cluster, name: str, other_than: int | None = None) -> int:
    found = eventually(
        lambda: group(cluster, name),
        lambda seen: seen.get("state") == "DONE" and seen.get("owner") not in (None, other_than),
        within_s=MOVE_LIMIT_S, what=f"{name} runs", every_s=0.3,
    )  # fmt: skip
    return int(found["owner"])


def wait_all_up(cluster: Cluster) -> None:
    """Until every node's own agent, in its present boot, sees all nodes up."""

    def view(number: int) -> list[str]:
        page = json.loads(say(cluster, number, ["mosha", "status", "--json"]) or "{}")
        return [node["state"] for node in page.get("nodes", [{"state": "no agent"}])]

    def views() -> list[str]:
        return [state for number in cluster.nodes() for state in view(number)]

    eventually(views, lambda seen: set(seen) == {"up"}, within_s=MOVE_LIMIT_S, what="all agents are up", every_s=0.3)


def kv_address(cluster: Cluster) -> str:
    """The virtual address, as the cltab on a node names it."""
    shown = run(next(iter(cluster.nodes().values())), ["sed", "-n", r"s/.*mosha ip \([0-9.]*\).*/\1/p",
                                                       "/var/mosix-ha/cltab"])  # fmt: skip
    return shown.stdout.strip()


def start_counter(cluster: Cluster, key: str) -> Container:
    """A client in a container of its own on the cluster's network."""
    image = next(iter(cluster.nodes().values())).image
    assert image is not None
    return cluster.client.containers.run(
        image,
        entrypoint=["/usr/lib/mosha/demo/counter"], command=[kv_address(cluster), key],
        network=cluster.names.network, labels=cluster.names.labels("client"), detach=True, init=True,
    )  # fmt: skip


def wait_served(counter: Container) -> None:
    """Until the client has printed one more line: it prints one for every hundred increments."""
    before = counter.logs(tail=1)
    eventually(
        lambda: counter.logs(tail=1), lambda line: line != before, within_s=MOVE_LIMIT_S, what="the client is served"
    )


@pytest.mark.long
def test_ten_kills_of_the_owner_lose_no_acknowledged_increment(cluster: Cluster) -> None:
    counter = start_counter(cluster, "n")
    owner = wait_running(cluster, "kv")
    owners = [owner]
    for _ in range(KILLS):
        wait_served(counter)
        cluster.kill(owner)
        other = wait_running(cluster, "kv", other_than=owner)
        cluster.start(owner)
        wait_all_up(cluster)
        assert wait_running(cluster, "kv") == other, "the service stays where it is when a node comes back"
        owner = other
        owners.append(owner)
    counter.stop(timeout=10)
    seen = json.loads(counter.logs(tail=1))
    print(f"owners {owners}, client {seen}")
    assert counter.wait()["StatusCode"] == 0, counter.logs(tail=20)
    assert seen["lost"] == 0
    assert seen["acknowledged"] > 50 * KILLS
    assert all(before != after for before, after in zip(owners, owners[1:]))


@pytest.mark.long
def test_the_ticker_never_ran_twice(cluster: Cluster) -> None:
    """Kill the ticker's owner a few times, then lay all its logs on one clock: no two nodes at once."""
    for _ in range(3):
        owner = wait_running(cluster, "tick")
        cluster.kill(owner)
        wait_running(cluster, "tick", other_than=owner)
        cluster.start(owner)
        wait_all_up(cluster)
    history = journals.read(cluster, whole=True).history()
    assert len({interval.node for interval in history.intervals}) > 1, "it never moved"
    assert judge(history) == (VALID, [])


def test_a_group_that_is_killed_by_name_moves(cluster: Cluster) -> None:
    owner = wait_running(cluster, "kv")
    assert main(["--cluster", cluster.names.cluster, "kill", "--group", "kv"]) == 0
    assert wait_running(cluster, "kv", other_than=owner) != owner
    assert main(["--cluster", cluster.names.cluster, "start", str(owner)]) == 0
    wait_all_up(cluster)


def test_mosctl_tells_the_dead_from_the_living(cluster: Cluster) -> None:
    nodes = cluster.nodes()
    victim = next(node for node in nodes if node != wait_running(cluster, "kv"))
    asked = nodes[next(node for node in nodes if node != victim)]
    assert run(asked, ["mosctl", "status", str(victim)]).stdout == "up.\n"
    cluster.kill(victim)
    assert run(asked, ["mosctl", "status", str(victim)]).stdout == "down.\n"
    assert run(asked, ["mosctl", "isup", str(victim)]).stdout == "no\n"
    cluster.start(victim)
    wait_all_up(cluster)
    assert run(asked, ["mosctl", "isup", str(victim)]).stdout == "yes\n"


def test_each_boot_is_another_and_the_disk_stays(cluster: Cluster) -> None:
    nodes = cluster.nodes()
    victim = next(node for node in nodes if node != wait_running(cluster, "kv"))
    boot_id = ["cat", "/proc/sys/kernel/random/boot_id"]
    first = run(nodes[victim], boot_id).stdout
    assert len({run(container, boot_id).stdout for container in nodes.values()}) == len(nodes)
    run(nodes[victim], ["sh", "-c", "echo kept > /root/kept; touch /run/gone /dev/shm/gone"])
    cluster.kill(victim)
    cluster.start(victim)
    wait_all_up(cluster)
    assert run(nodes[victim], boot_id).stdout != first
    assert run(nodes[victim], ["cat", "/root/kept"]).stdout == "kept\n"
    assert run(nodes[victim], ["ls", "/run/gone", "/dev/shm/gone"]).stdout == ""


def test_files_of_all_nodes_through_mfs(cluster: Cluster) -> None:
    nodes = cluster.nodes()
    script = """
        set -e
        for n in $(ls -d /mfs/[0-9]*); do
            mkdir $n/root/d; echo one > $n/root/d/a; echo two >> $n/root/d/a; cp $n/root/d/a $n/root/d/b
            mv $n/root/d/b $n/root/d/c; cat $n/root/d/c; ls $n/root/d; rm -r $n/root/d; cat $n/etc/hostname
        done
    """
    shown = run(nodes[1], ["sh", "-c", script])
    assert shown.stderr == ""
    assert shown.stdout == "".join(f"one\ntwo\na\nc\nnode{node}\n" for node in nodes)


@pytest.mark.parametrize("program", ["openmosixd", "mosha"])
def test_a_crash_of_openmosix_or_of_the_agent_is_mended_by_init(cluster: Cluster, program: str) -> None:
    """Both are respawn entries. The service is back, on whichever node, and all nodes are up again.

    A node whose openMosix is away for too long may be shot: then it is given power again.
    """
    owner = wait_running(cluster, "kv")
    node = cluster.nodes()[owner]
    oldest = ["pgrep", "-o", "-x", program]
    before = run(node, oldest).stdout
    assert before
    run(node, ["kill", "-9", before.strip()])
    eventually(
        lambda: run(node, oldest).stdout, lambda pid: pid not in ("", before), within_s=MOVE_LIMIT_S,
        what=f"{program} runs again",
    )  # fmt: skip
    eventually(
        lambda: say(cluster, owner, ["mosctl", "whois"]), lambda said: said == f"This is openMosix #{owner}\n",
        within_s=MOVE_LIMIT_S, what=f"openMosix runs on node {owner}",
    )  # fmt: skip
    wait_all_up(cluster)
    wait_running(cluster, "kv")


def say(cluster: Cluster, number: int, command: list[str]) -> str:
    """What the command prints on the node, which is started first, should it have been shot; empty if it fails."""
    try:
        if cluster.node(number).status != "running":
            cluster.start(number)
        answer = run(cluster.node(number), command)
    except LabError:
        return ""
    return answer.stdout if answer.exit_code == 0 else ""


@pytest.mark.long
def test_bystanders_that_come_and_go_do_not_touch_the_service(cluster: Cluster) -> None:
    """One that came back counts as a voter again: the death of the other one then moves nothing."""
    owner = wait_running(cluster, "kv")
    since = group(cluster, "kv")["since"]
    bystanders = [node for node in cluster.nodes() if node != owner]
    for node in [*bystanders, *bystanders]:
        cluster.kill(node)
        cluster.start(node)
        wait_all_up(cluster)
        eventually(
            lambda: voters(cluster), lambda seen: seen == set(cluster.nodes()), within_s=MOVE_LIMIT_S,
            what="all voters count", every_s=0.3,
        )  # fmt: skip
    now = group(cluster, "kv")
    assert (now["owner"], now["since"]) == (owner, since)


def voters(cluster: Cluster) -> set[int]:
    """The voters that count, as every node sees them."""
    shown = [run(container, ["mosha", "status", "--json"]) for container in cluster.nodes().values()]
    pages = [json.loads(answer.stdout) if answer.exit_code == 0 else {} for answer in shown]
    views = [{voter["id"] for voter in page.get("voters", []) if voter["state"] == "full"} for page in pages]
    return set.intersection(*views)
