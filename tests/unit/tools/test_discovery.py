"""omdiscd: how nodes find each other, in one process and on a real network of three."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.discovery import ACK, JOIN, Discovery
from emulator.table import RECORDS_MAX, Record, parse_config, render_config
from emulator.tools.omdiscd import Options, UsageError
from tests.unit.hpc.loopback import READY_S, Node, may_mount, wait_until
from tests.unit.resources.network import Namespace
from tests.unit.tools.conftest import Run


def test_the_id_is_the_low_half_of_the_address() -> None:
    assert Discovery(["10.0.0.1"]).node == 1
    assert Discovery(["192.168.10.220"]).node == 2780
    for address in ("10.0.0.0", "10.0.255.255"):
        with pytest.raises(ValueError, match="makes node"):
            Discovery([address])


def test_who_joins_is_answered_and_who_answers_is_not() -> None:
    one, two = Discovery(["10.0.0.1"]), Discovery(["10.0.0.2"])
    assert one.heard(two.packet(JOIN)) == (True, True)
    assert one.heard(two.packet(JOIN)) == (True, False)
    assert two.heard(one.packet(ACK)) == (False, True)
    assert one.records() == two.records() == [Record(1, "10.0.0.1", 2)]
    assert one.heard(one.packet(JOIN)) == (False, False)  # its own voice


def test_a_merged_range_and_what_does_not_merge() -> None:
    one = Discovery(["10.0.0.1"])
    for address in ("10.0.0.3", "10.0.0.9", "10.1.0.4", "10.0.0.2"):
        assert one.heard(Discovery([address]).packet(JOIN)) == (True, True)
    assert one.records() == [Record(1, "10.0.0.1", 3), Record(4, "10.1.0.4", 1), Record(9, "10.0.0.9", 1)]


def test_further_addresses_are_aliases() -> None:
    one, two = Discovery(["10.0.0.1"]), Discovery(["10.0.0.2", "10.9.0.2"])
    one.heard(two.packet(JOIN))
    two.heard(one.packet(ACK))
    assert one.records() == two.records() == [Record(1, "10.0.0.1", 2), Record(2, "10.9.0.2", 0)]


def test_another_node_with_the_same_id_is_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    one = Discovery(["10.0.0.1"])
    one.heard(Discovery(["10.0.0.2"]).packet(JOIN))
    assert one.heard(Discovery(["10.7.0.1"]).packet(JOIN)) == (False, False)
    assert one.heard(Discovery(["10.7.0.2"]).packet(JOIN)) == (False, False)
    assert one.records() == [Record(1, "10.0.0.1", 2)]
    assert caplog.messages == [
        "10.7.0.1 would be node 1 as well: not taken", "10.7.0.2 would be node 2, which is 10.0.0.2: not taken",
    ]  # fmt: skip


def test_an_address_that_two_nodes_have_is_one_nodes_on_all_nodes() -> None:
    bridge, all_nodes = "172.17.0.1", [Record(1, "10.0.0.1", 3), Record(1, "172.17.0.1", 0), Record(3, "10.9.0.3", 0)]
    others = [["10.0.0.1", bridge], ["10.0.0.2", bridge, "10.0.0.3"], ["10.0.0.3", "10.9.0.3"]]
    for own in others:
        one = Discovery(own)
        for other in reversed(others):
            one.heard(Discovery(other).packet(JOIN))
        assert one.records() == all_nodes
        assert parse_config(render_config(one.records())) == all_nodes  # the kernel takes it


def test_what_a_table_cannot_hold_is_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    one = Discovery(["10.0.0.1", "10.9.0.1"])
    for third in range(1, RECORDS_MAX):
        one.heard(Discovery([f"10.0.{third}.1"]).packet(JOIN))
    assert one.heard(Discovery(["10.1.0.9"]).packet(JOIN)) == (False, False)
    assert caplog.messages == ["10.1.0.9 would be one node too many: not taken"]
    assert one.heard(Discovery(["10.0.0.2"]).packet(JOIN)) == (True, True)  # which makes a range longer
    assert len(parse_config(render_config(one.records()))) == RECORDS_MAX


@pytest.mark.parametrize(
    "packet", [b"", b"OMDS", b"OMDS\1", b"OMDS\1\1\2\3", b"XXXX\1\12\0\0\2", b"OMDS\1" + b"\12\0\0\2" * 7,
               b"OMDS\1\12\0\0\0"]
)  # fmt: skip
def test_what_is_no_packet_changes_nothing(packet: bytes) -> None:
    one = Discovery(["10.0.0.1"])
    assert one.heard(packet) == (False, False)
    assert one.records() == [Record(1, "10.0.0.1", 1)]


def test_options() -> None:
    options = Options(["-n", "--interface", "eth0,eth1", "-m", "4"])
    assert (options.foreground, options.interfaces, options.ttl) == (True, ["eth0", "eth1"], 4)
    for words in (["-x"], ["-i"], ["-i", "a,b,c,d,e,f,g"], ["-m", "0"], ["-m", "x"], ["eth0"]):
        with pytest.raises(UsageError):
            Options(words)


def test_openmosix_must_be_off(run: Run, tree: Path) -> None:
    usage = "Usage: omdiscd [-i interface[,interface...]] [-m ttl] [-n] [-h]\n"
    assert run("omdiscd", "--help") == (0, usage, "")
    assert run("omdiscd", "-i") == (1, "", usage)
    err = "OpenMosix should be deactivated before starting this daemon. (setpe -off)\n"
    assert run("omdiscd", "-n") == (1, "", err)
    (tree / "admin/mospe").write_text("0\n")
    code, out, err = run("omdiscd", "-n", "-i", "no-such-if")
    assert (code, out) == (1, "")
    assert err == "no-such-if: No such device\nUnable to initialize network.  Exiting.\n"


class Machine:
    """A node in a network namespace of its own, on the Ethernet of ``bridge``."""

    def __init__(self, number: int, folder: Path, bridge: Namespace) -> None:
        self.node = Node(number, folder)
        self.net = Namespace()
        self.address = f"10.99.0.{number}"
        self.log = folder / f"omdiscd{number}"
        port = f"port{number}"
        bridge.run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(self.net.pid))
        bridge.run("ip", "link", "set", port, "master", "bridge", "up")
        self.net.run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.net.run("ip", "link", "set", "lo", "up")
        self.net.run("ip", "link", "set", "eth0", "up")
        self.node.start(*self.net.enter)

    def omdiscd(self, *options: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*self.net.enter, sys.executable, "-m", "emulator.tools.omdiscd", *options],
                env={**self.node.environment, "OPENMOSIX_DISCOVERY_PID": str(self.log) + ".pid"}, stderr=log,
            )  # fmt: skip

    def table(self) -> list[Record]:
        try:
            return parse_config(self.node.read("admin/config").encode("latin-1"))
        except OSError:
            return []

    def close(self) -> None:
        self.node.stop()
        self.net.close()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[list[Machine]]:
    may_mount()
    bridge = Namespace()
    made: list[Machine] = []
    try:
        bridge.run("ip", "link", "add", "bridge", "up", "type", "bridge", "mcast_snooping", "0")
        for number in (1, 2, 3):
            made.append(Machine(number, tmp_path, bridge))
        yield made
    finally:
        for machine in made:
            machine.close()
        bridge.close()


def test_three_nodes_find_each_other_and_none_is_ever_taken_away(machines: list[Machine]) -> None:
    """Each join is one change of the configuration; who dies or ends stays in the map."""
    first, second, third = machines
    daemons = [machine.omdiscd("-n", "-i", "eth0") for machine in machines]
    try:
        whole = [Record(1, "10.99.0.1", 3)]
        wait_until(lambda: [machine.table() for machine in machines] == [whole] * 3)
        assert first.node.comes_to_read("nodes/3/status", "3\n")
        changes = first.node.log.read_text().count("openMosix configuration changed: This is openMosix #1 (of ")
        assert changes in (2, 3)  # two joins may come in one turn
        third.node.signal(signal.SIGKILL)
        daemons[1].terminate()
        assert daemons[1].wait(READY_S) == 0
        assert first.node.comes_to_read("nodes/3/status", "1\n")
        assert first.table() == second.table() == whole
    finally:
        for daemon in daemons:
            daemon.kill()
            daemon.wait()


def test_it_leaves_the_terminal_and_says_its_id(machines: list[Machine]) -> None:
    first = machines[0]
    assert first.omdiscd("-i", "eth0").wait(READY_S) == 0
    wait_until(lambda: first.node.read("admin/mospe") == "1\n")
    pid = int(Path(f"{first.log}.pid").read_text())
    assert os.getsid(pid) == pid
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert first.node.read("admin/mospe") == "1\n"


def test_without_a_route_it_says_so(machines: list[Machine]) -> None:
    assert machines[0].omdiscd("-n").wait(READY_S) == 1
    assert machines[0].log.read_text() == (
        "Unable to determine address of default interface.  This may happen because there is no default route "
        "configured.  Without a default route, an interface must be: Network is unreachable\n"
        "Unable to initialize network.  Exiting.\n"
    )
