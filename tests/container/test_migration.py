"""Processes of one node whose bodies run on another, in a real cluster; what the death of either node does to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moslab import node
from moslab.layout import Options
from moslab.progress import Progress
from moslab.status import status
from moslab.wait import eventually
from tests.container.conftest import Lab

HPC = "/openmosix/proc/hpc"
TIMED_S = 20.0
KEEP = """\
while mosrun "$0" sh -c "sleep 777" & echo $! >/tmp/pid; wait $!; status=$?; [ $status = 1 ]; do :; done # probe missed
echo $status >/tmp/status"""
GROUP = {
    "cltab": "away:a-run:start:respawn:exec mosrun -$((MOSHA_NODE % 3 + 1)) -F sleep 888\n",
    "hactl": "away start\n",
}
MOVE_S = 40.0


@pytest.fixture
def three(lab: Lab) -> Iterator[Lab]:
    """Three nodes, none of which shoots another."""
    lab.cluster.up(3, Progress(), groups=False, options=Options(stomith=False))
    yield lab
    for number in lab.cluster.nodes():
        if lab.cluster.node(number).status == "paused":
            lab.moslab("resume", str(number))


def sh(lab: Lab, number: int, code: str, *words: str) -> node.Result:
    return node.run(lab.cluster.node(number), ["sh", "-c", code, *words])


def send_away(lab: Lab, home: int, place: str) -> int:
    """Start a process of ``home`` that sleeps there, with a parent that writes down how it ended; its pid."""
    sh(lab, home, 'rm -f /tmp/pid /tmp/status; setsid sh -c "$0" "$1" >/dev/null 2>&1 &', KEEP, place)
    where = eventually(
        lambda: sh(lab, home, "cat /openmosix/proc/$(cat /tmp/pid)/where").stdout,
        lambda text: text == f"{place[1:]}\n", within_s=TIMED_S, what=f"it is on node {place[1:]}",
    )  # fmt: skip
    assert where == f"{place[1:]}\n"
    return int(sh(lab, home, "cat /tmp/pid").stdout)


def sleepers(lab: Lab, number: int, seconds: int = 777) -> list[str]:
    """The pids of what sleeps so long on a node."""
    return sh(lab, number, f"pgrep -fx 'sleep {seconds}'").stdout.split()


def ended(lab: Lab, home: int) -> str:
    """How the process ended for its parent, as a shell says it."""
    return eventually(
        lambda: sh(lab, home, "cat /tmp/status 2>/dev/null").stdout,
        bool, within_s=TIMED_S, what="its parent hears of its end",
    )  # fmt: skip


@pytest.mark.long
def test_a_process_whose_body_is_elsewhere(three: Lab) -> None:
    def run(code: str, *words: str) -> node.Result:
        """On node 1; again where a probe was missed."""
        return eventually(
            lambda: sh(three, 1, code, *words),
            lambda done: "unreachable" not in done.stderr, within_s=TIMED_S, what=code,
        )  # fmt: skip

    # it is the same process for whoever started it
    links = "readlink /mfs/here /mfs/home /mfs/selected"
    said = run(f"echo to it | mosrun -j3 sh -c 'hostname; cat; {links}; echo bad >&2; exit 7'")
    assert said == (7, "node1\nto it\n3\n1\n1\n", "bad\n")
    assert run("mosrun -3 sh -c 'kill -USR1 $$'").exit_code == 128 + 10
    assert run("mosrun -3 cat /openmosix/proc/self/where").stdout == "3\n"
    assert run("mosrun -3 sh -c 'echo x >/tmp/made'").exit_code == 0
    assert sh(three, 3, "cat /tmp/made").stdout == "x\n", "files are those of the node where it runs"

    # both nodes tell where it is, also of what it has started
    pid = send_away(three, 1, "-3")
    shown = [line.split() for line in run("mps axw").stdout.splitlines()]
    [line] = [line for line in shown if line[0] == str(pid)]
    assert line[2] == "3"
    assert line[5:] == ["sh", "-c", "sleep", "777"]
    assert sleepers(three, 1) == []
    [guest] = sh(three, 3, f"ls {HPC}/remote").stdout.split()
    identity = sh(three, 3, f"cat {HPC}/remote/{guest}/from {HPC}/remote/{guest}/identity").stdout.splitlines()
    assert identity[0].startswith("1     ")
    assert identity[1] == f"pid={pid}"

    # what runs cannot be moved, and that is said
    for words in (f"{pid} home", "$$ 2"):
        code, out, err = run(f"migrate {words}")
        assert (code, out, err.partition(": ")[2].partition(":")[0]) == (1, "", "Operation not supported")

    # a signal at home ends it there, with all that it has started
    run(f"kill {pid}")
    assert ended(three, 1) == "143\n"
    eventually(lambda: sleepers(three, 3), lambda left: not left, within_s=TIMED_S, what="its body is gone")

    # the node of its body dies: its parent hears it
    send_away(three, 1, "-3")
    three.moslab("kill", "3")
    assert ended(three, 1) == "137\n"
    log = three.cluster.node(1).logs().decode()
    assert "killed because it lost communication" in log

    # that node is silent: the same, after a while
    send_away(three, 1, "-2")
    three.moslab("pause", "2")
    assert ended(three, 1) == "137\n"
    three.moslab("resume", "2")
    eventually(lambda: sleepers(three, 2), lambda left: not left, within_s=TIMED_S, what="node 2 has no guest")

    # its home is silent, then dies: the body ends, and with it what it has started
    send_away(three, 2, "-1")
    assert len(sleepers(three, 1)) == 1
    three.moslab("pause", "2")
    eventually(lambda: sleepers(three, 1), lambda left: not left, within_s=TIMED_S, what="its body is killed")
    assert sh(three, 1, f"ls {HPC}/remote").stdout == ""
    three.moslab("resume", "2")
    assert ended(three, 2) == "137\n"
    send_away(three, 2, "-1")
    three.moslab("kill", "2")
    eventually(lambda: sleepers(three, 1), lambda left: not left, within_s=TIMED_S, what="its body is killed")


@pytest.mark.long
def test_a_group_whose_process_is_away(lab: Lab) -> None:
    """The agent sees the death of the body's node as that of the process; the death of the owner ends the body."""
    lab.cluster.up(3, Progress(), options=Options(stomith=False, tables=GROUP))

    def runs() -> dict[int, int]:
        """On how many nodes it sleeps: the deputy is called so too, and its body is there beside it."""
        found = {}
        for number, container in lab.cluster.nodes().items():
            if container.status == "running":
                found[number] = len(sleepers(lab, number, 888))
        return {number: count for number, count in found.items() if count}

    def owner() -> int | None:
        groups = status(lab.cluster)["groups"]
        return next((one["owner"] for one in groups if one["state"] == "DONE"), None)

    def settled(*other_than: int) -> int:
        """The owner, when the group has one process at home and, where that node is up, its body away."""

        def look() -> tuple[int | None, dict[int, int]]:
            return owner(), runs()

        def is_settled(seen: tuple[int | None, dict[int, int]]) -> bool:
            home, found = seen
            if home is None or home in other_than:
                return False
            host = home % 3 + 1
            up = lab.cluster.node(host).status == "running"
            return found == ({home: 1, host: 1} if up else {home: 1})

        found, _ = eventually(look, is_settled, within_s=MOVE_S, what="the group runs as it should", every_s=0.3)
        assert found is not None
        return found

    first = settled()
    [pid] = sleepers(lab, first, 888)
    assert sh(lab, first, f"cat /openmosix/proc/{pid}/where").stdout == f"{first % 3 + 1}\n"

    # the node of the body dies: the process dies at home, is started again, and runs at home
    lab.moslab("kill", str(first % 3 + 1))
    eventually(
        lambda: sleepers(lab, first, 888),
        lambda seen: len(seen) == 1 and pid not in seen, within_s=MOVE_S, what="it is started again",
    )  # fmt: skip
    assert settled() == first

    # the owner dies: its body dies with it, and the group runs elsewhere
    lab.moslab("start", str(first % 3 + 1))
    eventually(
        lambda: sh(lab, first, f"cat {HPC}/nodes/{first % 3 + 1}/status").stdout,
        lambda text: text == "3\n", within_s=MOVE_S, what="the node is back",
    )  # fmt: skip
    sh(lab, first, "kill $0", *sleepers(lab, first, 888))
    assert settled() == first
    lab.moslab("kill", str(first))
    second = settled(first)
    assert second != first
