"""The tree and the tools on the nodes of a real cluster, as the image installs them."""

from __future__ import annotations

import re
from pathlib import Path

import emulator
from moslab import node
from moslab.wait import eventually
from tests.container.conftest import Lab

PROGRAMS = Path(str(emulator.__file__)).parent / "image/programs"
HPC = "/openmosix/proc/hpc"


def in_node(lab: Lab, number: int, *command: str) -> node.Result:
    return node.run(lab.cluster.node(number), command)


def test_the_tools_of_a_node(running: Lab) -> None:
    paths = [line.split()[0] for line in PROGRAMS.read_text().splitlines() if line.startswith("/")]
    assert in_node(running, 2, "ls", *paths).exit_code == 0
    assert in_node(running, 2, "mosctl", "whois") == (0, "This is openMosix #2\n", "")
    assert in_node(running, 2, "sh", "-c", "mosctl whois >/dev/full") == (0, "", ""), "nor looked at"
    assert in_node(running, 2, "mosctl", "status", "9") == (0, "", "Node #9 is not configured\n")
    assert in_node(running, 2, "showmap").stdout.startswith("My Node-Id: 0x0002\n\n")
    described = in_node(running, 2, "/etc/init.d/openmosix", "status")
    assert described.exit_code == 0
    assert described.stdout.splitlines()[-1] == "Total configured: 3"
    for command in (("mosrun", "-h"), ("runhome",), ("nomig",), ("cpujob", "-h"), ("runon", "2")):
        files = ("/openmosix/proc/self/lock", "/openmosix/proc/self/where")
        assert in_node(running, 2, *command, "cat", *files) == (0, "1\n0\n", ""), command
    refused = in_node(running, 2, "mosrun", "-9", "true")
    assert refused == (1, "", "Migration Failed: No such device or address\n")
    shown = in_node(running, 2, "mps", "ax").stdout.splitlines()
    assert shown[0] == "  PID TTY NODE STAT TIME COMMAND"
    assert re.match(r"    1   \?    0 ", shown[1])
    assert in_node(running, 2, "migrate", "1", "home") == (0, "", "")
    assert "N#" in in_node(running, 2, "mtop", "-b").stdout
    twice = (1, "", "mount: Mounting mfs_mnt on /mfs failed: Invalid argument\n")
    assert in_node(running, 2, "mount", "-t", "mfs", "mfs_mnt", "/mfs", "-o", "dfsa=1") == twice


def test_a_node_without_power_is_down_to_every_tool(running: Lab) -> None:
    running.moslab("kill", "3")
    eventually(
        lambda: [in_node(running, number, "mosctl", "status", "3").stdout for number in (1, 2)],
        lambda states: states == ["down.\n", "down.\n"],
        within_s=10, what="node 3 is down to both",
    )  # fmt: skip
    assert in_node(running, 1, "mosctl", "getload", "3") == (0, "", "Error: Network is unreachable\n")

    def stata() -> list[str]:
        return in_node(running, 1, "od", "-An", "-td8", f"{HPC}/info/stata").stdout.split()

    eventually(stata, lambda seen: seen == ["3", "3", "1"], within_s=10, what="nodes 1 and 2 are up, node 3 is down")
    assert in_node(running, 1, "mosrun", "-3", "true").stderr == "Migration Failed: Network is unreachable\n"
    assert in_node(running, 1, "ls", f"{HPC}/nodes").stdout == "1\n2\n3\n"
