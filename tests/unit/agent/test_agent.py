"""Whole agents as real processes: each node is a PID namespace and a directory; /mfs and /proc/hpc are plain files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mosha.cli import main
from mosha.ownership import marker
from mosha.platform import cgroups
from mosha.tables import clstat
from mosha.voters import new_era
from tests.unit.agent.pidspace import MACHINE

CLTAB = """\
web:web-test:test:test:test ! -e {disk}/unfit-$MOSHA_NODE
web:web-daemon:start:respawn:{tick} {disk}/web
web:web-stop:stop:wait:touch {disk}/stopped-$MOSHA_NODE
job:job-once:start:once:echo $MOSHA_EPOCH >> {disk}/job
"""
TICK = """\
#!/bin/sh
# Appends its node to a file as long as it runs; deaf to what would end it in order.
trap '' INT
while :; do echo "$MOSHA_NODE $MOSHA_ERA $MOSHA_EPOCH" >> "$1"; sleep 0.02; done
"""


class Cluster:
    """Some nodes; what they share is a disk."""

    def __init__(self, root: Path, count: int, stomith: bool = True, voters: tuple[int, ...] = (1, 2, 3)) -> None:
        self.root, self.disk, self.count = root, root / "disk", count
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.disk.mkdir()
        tick = root / "tick"
        tick.write_text(TICK)
        tick.chmod(0o755)
        (root / "stomith").write_text(
            f"#!/bin/sh\nkill -9 $(cat {root}/$1/pid) 2>/dev/null; echo 1 > {root}/hpc/nodes/$1/status; echo off\n"
        )
        (root / "stomith").chmod(0o755)
        era = new_era()
        for node in range(1, count + 1):
            var = self.var(node)
            var.mkdir(parents=True)
            (root / str(node)).mkdir(exist_ok=True)
            (root / f"mfs/{node}").parent.mkdir(exist_ok=True)
            (root / f"mfs/{node}").symlink_to(root / str(node))
            (root / f"hpc/nodes/{node}").mkdir(parents=True)
            (root / f"hpc/nodes/{node}/status").write_text("3\n")
            (var / "cltab").write_text(CLTAB.format(disk=self.disk, tick=tick))
            (var / "hactl").write_text("web start\njob start\n")
            (root / f"{node}/mosha.conf").write_text(
                f"{self.settings(node)}rundir={root}/{node}/run\nbeat=0.2\nlease=2\n"
                + (f"stomith={root}/stomith %n\n" if stomith else "")
            )
            assert self.mosha(node, "voters", "install", era, *map(str, voters)) == 0

    def settings(self, node: int) -> str:
        """Where that node finds the others."""
        return f"mfsbase={self.root}/mfs\nhpcbase={self.root}/hpc\nmynode={node}\nroot={self.root}/{node}\n"

    def mosha(self, node: int, *arguments: str) -> int:
        """The exit code of an operator's command on that node."""
        return main(["--config", f"{self.root}/{node}/mosha.conf", *arguments])

    def agent(self, node: int) -> list[str]:
        """What Python is to run there."""
        return ["-m", "mosha", "--config", f"{self.root}/{node}/mosha.conf"]

    def launcher(self, node: int) -> list[str]:
        """What makes a machine of that node's processes."""
        return MACHINE

    def var(self, node: int) -> Path:
        return self.root / str(node) / "var/mosix-ha"

    def start(self, *nodes: int, log: int | None = None) -> None:
        """``log``: where they write, if not into files."""
        for node in nodes or range(1, self.count + 1):
            (self.root / f"hpc/nodes/{node}/status").write_text("3\n")
            with open(self.root / f"{node}/log", "ab") as own:
                to = own if log is None else log
                process = subprocess.Popen(
                    [*self.launcher(node), sys.executable, *self.agent(node)],
                    stdin=subprocess.DEVNULL, stdout=to, stderr=to, start_new_session=True,
                )  # fmt: skip
            self.processes[node] = process
            (self.root / f"{node}/pid").write_text(str(process.pid))

    def power_off(self, node: int) -> None:
        process = self.processes.pop(node)
        process.kill()
        process.wait()
        (self.root / f"hpc/nodes/{node}/status").write_text("1\n")

    def agent_pid(self, node: int) -> int:
        """The agent's pid as this side sees it: the child of unshare."""
        parent = self.processes[node].pid
        return int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])

    def page(self, node: int) -> dict[str, Any]:
        try:
            fd = os.open(self.var(node) / "hastat.json", os.O_RDONLY | os.O_NONBLOCK)   # there may be a FIFO
            with open(fd, encoding="utf-8") as file:
                found = json.loads(file.read(1 << 24))       # or a device
        except (OSError, ValueError):
            return {"groups": [], "nodes": []}
        assert isinstance(found, dict)
        return found

    def owner(self, group: str, asked: int) -> int | None:
        for found in self.page(asked)["groups"]:
            if found["name"] == group and (found["level"], found["state"]) == ("start", "DONE"):
                owner = found["owner"]
                assert owner is None or isinstance(owner, int)
                return owner
        return None

    def wait_running(self, group: str, asked: int, other_than: int | None = None) -> int:
        found: list[int] = []

        def running() -> bool:
            owner = self.owner(group, asked)
            if owner is not None and owner != other_than:
                found.append(owner)
            return bool(found)

        self.until(running, f"{group} runs, as node {asked} sees it")
        return found[0]

    def edit(self, node: int, name: str, text: str) -> None:
        """Write a table anew there, once the one before has a number: an edit of what never had one yields."""
        self.until((self.var(node) / f"{name}.version").exists, f"{name} of node {node} has a number")
        (self.var(node) / name).write_text(text)

    def until(self, condition: Callable[[], bool], what: str, limit_s: float = 60.0) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {n}\n" + (self.root / f"{n}/log").read_text()[-3000:] for n in self.processes)
                pytest.fail(f"not within {limit_s} s: {what}\n{logs}\n{self.page(next(iter(self.processes)))}")
            time.sleep(0.02)

    def ticks(self) -> list[str]:
        try:
            return (self.disk / "web").read_text().split("\n")[:-1]
        except FileNotFoundError:
            return []

    def check_never_twice(self) -> None:
        """In the order of the shared file, a node that was followed by another never comes back in that epoch."""
        seen: list[str] = []
        for tick in self.ticks():
            if not seen or seen[-1] != tick:
                seen.append(tick)
        assert len(seen) == len(set(seen)), f"two nodes at once: {seen}"
        tokens = [(int(era.partition("-")[0]), int(epoch)) for _, era, epoch in (tick.split() for tick in seen)]
        assert tokens == sorted(tokens), f"epochs went back: {seen}"

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        for node in range(1, self.count + 1):          # of one that was killed with all that it had started
            assert cgroups.end_earlier(f"{self.root}/{node}/run", 10.0)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, 3)
    cluster.start()
    yield cluster
    cluster.end()
    cluster.check_never_twice()


def test_each_group_runs_on_one_node_and_moves_when_it_dies(cluster: Cluster) -> None:
    owner = cluster.wait_running("web", asked=1)
    survivor = 1 + owner % 3
    cluster.power_off(owner)
    other = cluster.wait_running("web", asked=survivor, other_than=owner)
    cluster.until(lambda: any(tick.split()[0] == str(other) for tick in cluster.ticks()), "the new owner ticks")
    cluster.start(owner)
    cluster.until(lambda: cluster.page(owner).get("quorum") is True, "the node is back")
    cluster.until(lambda: cluster.owner("web", owner) == other, "it sees where the service is: it has not moved")


def test_what_people_read(cluster: Cluster) -> None:
    owner = cluster.wait_running("web", asked=2)
    cluster.until(lambda: any(
        (stat.name, stat.level, stat.state) == ("web", "start", "DONE")
        for stat in clstat.parse((cluster.var(owner) / "clstat").read_text())
    ), "clstat of the owner")  # fmt: skip
    cluster.until(lambda: "web" in (cluster.var(2) / "hastat").read_text(), "hastat")

    def status() -> str:
        return subprocess.run(
            [sys.executable, "-m", "mosha", "--config", f"{cluster.root}/2/mosha.conf", "status"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    wanted = (f"web    {owner}", "seen from node 2 (quorum): 1 up, 2 up, 3 up")
    cluster.until(lambda: all(text in shown for shown in [status()] for text in wanted), "mosha status")


def test_an_orderly_end_stops_the_group_and_another_node_takes_it(cluster: Cluster) -> None:
    owner = cluster.wait_running("web", asked=1)
    os.kill(cluster.agent_pid(owner), signal.SIGTERM)
    assert cluster.processes.pop(owner).wait(timeout=20) == 0
    assert (cluster.disk / f"stopped-{owner}").exists(), "the stop entry was run"
    cluster.wait_running("web", asked=1 + owner % 3, other_than=owner)


def test_an_agent_that_is_killed_takes_its_groups_along_and_they_move(cluster: Cluster) -> None:
    owner = cluster.wait_running("web", asked=1)
    os.kill(cluster.agent_pid(owner), signal.SIGKILL)
    cluster.processes.pop(owner).wait(timeout=20)
    cluster.wait_running("web", asked=1 + owner % 3, other_than=owner)


def test_an_agent_that_hangs_loses_its_groups_to_the_leash(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3, stomith=False)
    cluster.start()
    try:
        owner = cluster.wait_running("web", asked=1)
        agent = cluster.agent_pid(owner)
        os.kill(agent, signal.SIGSTOP)
        other = cluster.wait_running("web", asked=1 + owner % 3, other_than=owner)
        os.kill(agent, signal.SIGCONT)
        before = len(cluster.ticks())
        cluster.until(lambda: len(cluster.ticks()) > before + 20, "the new owner goes on")
        assert cluster.owner("web", other) == other
        cluster.check_never_twice()
    finally:
        cluster.end()


def test_a_node_that_fails_the_test_is_passed_over(cluster: Cluster) -> None:
    owner = cluster.wait_running("web", asked=1)
    fit = 1 + owner % 3
    for node in {1, 2, 3} - {fit}:
        (cluster.disk / f"unfit-{node}").touch()
    cluster.power_off(owner)
    assert cluster.wait_running("web", asked=fit, other_than=owner) == fit


def test_hactl_starts_and_stops_groups_everywhere(cluster: Cluster) -> None:
    owner = cluster.wait_running("web", asked=1)
    cluster.edit(1 + owner % 3, "hactl", "web stop\njob start\n")
    cluster.until((cluster.disk / f"stopped-{owner}").exists, "stopped by an edit on another node")
    cluster.until(lambda: cluster.owner("web", owner) is None, "seen as stopped")
    before = len(cluster.ticks())
    cluster.until(lambda: (cluster.var(owner) / "hactl").read_text() == "web stop\njob start\n", "replicated")
    (cluster.var(owner) / "hactl").write_text("web start\njob start\n")
    cluster.until(lambda: len(cluster.ticks()) > before + 5, "runs again")


def test_a_group_may_have_points_in_its_name(cluster: Cluster) -> None:
    """Beside one that is named as its beginning."""
    cluster.wait_running("web", asked=2)
    table = (cluster.var(2) / "cltab").read_text()
    shows = f"echo $$ >{cluster.disk}/new; mv {cluster.disk}/new {cluster.disk}/pid.1"
    cluster.edit(2, "cltab", f"{table}web.1:web.1-run:up.1:respawn:sh -c '{shows}; sleep 600'\n")
    cluster.edit(2, "hactl", "web start\njob start\nweb.1 up.1\n")

    def state() -> list[str]:
        return [f"{one['level']} {one['state']}" for one in cluster.page(2)["groups"] if one["name"] == "web.1"]

    cluster.until(lambda: state() == ["up.1 DONE"] and (cluster.disk / "pid.1").exists(), "it runs")
    pid = (cluster.disk / "pid.1").read_text()
    assert cluster.mosha(2, "tell", "web", "stop") == 0
    cluster.until(lambda: cluster.owner("web", 2) is None, "the other one is stopped")
    assert (state(), (cluster.disk / "pid.1").read_text()) == (["up.1 DONE"], pid)
    assert cluster.mosha(2, "tell", "web.1", "stop") == 0
    cluster.until(lambda: state() == ["stop STOPPED"], "and so is this one")


def test_a_bad_table_stops_nothing(cluster: Cluster) -> None:
    cluster.wait_running("web", asked=1)
    for node in (1, 2, 3):
        with open(cluster.var(node) / "cltab", "a") as table:
            table.write("web:another:start:respwan:true\n")
        (cluster.var(node) / "hactl").write_text("web start again\n")
    cluster.until(lambda: all(
        f"cltab:{CLTAB.count(chr(10)) + 1}: " in (cluster.root / f"{n}/log").read_text() for n in (1, 2, 3)
    ), "each agent names the line")  # fmt: skip
    before = len(cluster.ticks())
    cluster.until(lambda: len(cluster.ticks()) > before + 20, "the group runs on")


def test_an_edit_of_cltab_restarts_what_it_changes(cluster: Cluster) -> None:
    owner = cluster.wait_running("web", asked=1)
    table = (cluster.var(2) / "cltab").read_text()
    cluster.edit(2, "cltab", table + f"web:web-new:start:once:touch {cluster.disk}/new\n")
    cluster.until((cluster.disk / "new").exists, "the new entry was started")
    assert cluster.wait_running("web", asked=owner) == owner


def test_a_second_agent_on_a_node_refuses(cluster: Cluster) -> None:
    cluster.wait_running("web", asked=1)
    second = subprocess.run(
        [sys.executable, "-m", "mosha", "--config", f"{cluster.root}/1/mosha.conf"], capture_output=True, text=True,
        timeout=20, check=False,
    )  # fmt: skip
    assert second.returncode == 1
    assert "another mosha runs on this node" in second.stderr


def test_an_operators_orders_are_answered(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    def state(node: int) -> str:
        found = marker.decode((cluster.var(node) / marker.NAME).read_bytes())
        assert found is not None
        return found.state

    cluster.wait_running("web", asked=1)
    assert cluster.mosha(1, "voters", "found", "--without", "3") == 1
    assert "only a voter that recovers founds an era" in capsys.readouterr().err
    assert cluster.mosha(1, "voters", "forget") == 0
    assert state(1) == marker.RECOVERING
    cluster.power_off(2)
    assert cluster.mosha(2, "voters", "found", "--without", "3") == 1
    assert "does not run" in capsys.readouterr().err
    assert not (cluster.var(2) / "order").exists(), "nothing is left for the next agent"
    assert state(2) != marker.RECOVERING
    assert cluster.mosha(2, "voters", "forget") == 0
    assert state(2) == marker.RECOVERING, "before its agent begins"
    cluster.start(2)
    cluster.until(lambda: state(1) == state(2) == marker.FULL, "both have recovered")


def test_one_node_of_three_alone_starts_nothing(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3)
    cluster.start(1)
    try:
        cluster.until(lambda: cluster.page(1).get("quorum") is False, "node 1 shows its view")
        began = json.loads((cluster.var(1) / "hastat.json").read_text())["boottime"]
        cluster.until(lambda: cluster.page(1)["boottime"] > began + 3, "three seconds later")
        assert cluster.ticks() == []
        cluster.start(2)
        cluster.wait_running("web", asked=1)
    finally:
        cluster.end()
