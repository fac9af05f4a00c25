from __future__ import annotations

import io
import ipaddress
import json
import tarfile
from dataclasses import replace
from typing import Any

import pytest

from emulator.inittab import parse_inittab
from emulator.table import addresses_of, nodes_of, parse_map
from mosha import config
from moslab import demo
from moslab.errors import CannotError
from moslab.layout import NODES_MAX, Layout, Names, Options, beat_s, checked_name, checked_size, lease_s


def layout(size: int = 8, subnet: str = "172.20.0.0/16") -> Layout:
    return Layout(size, ipaddress.IPv4Network(subnet), b"m" * 32, b"p" * 32)


def files_of(archive: bytes) -> dict[str, tuple[str, int]]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = {}
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            found[member.name] = (content.read().decode(), member.mode)
        return found


def test_addresses_are_where_the_contract_says() -> None:
    plan = layout()
    assert (plan.power, plan.node(1), plan.node(8)) == ("172.20.0.2", "172.20.0.101", "172.20.0.108")
    assert plan.virtual(0) == "172.20.0.200/16"


def test_the_largest_cluster_has_no_address_twice() -> None:
    plan = layout(NODES_MAX, "10.1.2.0/24")
    addresses = [plan.power, *(plan.node(node) for node in range(1, NODES_MAX + 1)),
                 *(plan.virtual(n).split("/")[0] for n in range(50))]
    assert len(set(addresses)) == len(addresses)
    assert all(ipaddress.ip_address(address) in plan.subnet for address in addresses)


def test_a_subnet_that_is_too_small_is_refused() -> None:
    with pytest.raises(CannotError, match=r"10\.0\.0\.0/25"):
        layout(2, "10.0.0.0/25")


def test_the_agent_and_the_emulator_understand_the_files() -> None:
    plan = layout(5)
    files = files_of(plan.node_files(1, demo.tables(plan.virtual)))
    settings = config.parse(files["etc/mosha.conf"][0])
    assert (settings.mfsbase, settings.hpcbase) == ("/mfs", "/openmosix/proc/hpc")
    ((switch,),) = settings.stomith
    assert switch.call("off", 3).argv == ("/usr/sbin/powerswitch", "off", "3")
    assert switch.call("list", None).argv == ("/usr/sbin/powerswitch", "list")
    assert str(settings.var) == "/var/mosix-ha"
    records = parse_map(files["etc/openmosix.map"][0], "openmosix.map", resolve=lambda host: host)
    assert nodes_of(records) == {node: plan.node(node) for node in range(1, 6)}
    given = json.loads(files["etc/powerswitch.json"][0])
    assert given == {"address": plan.power, "port": 5429, "key": (b"p" * 32).hex()}
    assert json.loads(plan.serve.partition(" ")[2]) == given
    assert "172.20.0.200/16" in files["var/mosix-ha/cltab"][0]
    assert "var/mosix-ha/founded" in files
    assert files["etc/openmosix/mfs_time"][0] == "quick\n"


def test_nodes_of_two_networks_have_an_alias() -> None:
    plan = replace(layout(3), second=ipaddress.IPv4Network("172.21.0.0/16"))
    assert plan.addresses(2) == ["172.20.0.102", "172.21.0.102"]
    files = files_of(plan.node_files(1, {}))
    records = parse_map(files["etc/openmosix.map"][0], "openmosix.map", resolve=lambda host: host)
    assert [address for address, node in addresses_of(records).items() if node == 2] == plan.addresses(2)


@pytest.mark.parametrize("wrong", [{"networks": 3}, {"networks": 0}, {"networks": 2, "toxiproxy": True}])
def test_what_goes_not_together_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CannotError, match="network"):
        Options(**wrong)


def test_keys_are_for_root_only() -> None:
    files = files_of(layout().node_files(1, {}))
    assert files["etc/openmosix/key"][1] == files["etc/powerswitch.json"][1] == 0o600


@pytest.mark.parametrize("size", range(2, NODES_MAX + 1))
def test_the_times_of_every_size_are_the_agents(size: int) -> None:
    settings = config.parse(files_of(layout(size).node_files(1, {}))["etc/mosha.conf"][0])
    assert settings.timing.beat_s == pytest.approx(beat_s(size))
    assert settings.timing.lease_s == pytest.approx(lease_s(size))


def test_the_last_node_is_the_arbitrator_where_there_is_one() -> None:
    def is_arbitrator(options: Options, node: int) -> bool:
        plan = Layout(3, ipaddress.IPv4Network("172.20.0.0/16"), b"m" * 32, b"p" * 32, options)
        return config.parse(files_of(plan.node_files(node, {}))["etc/mosha.conf"][0]).arbitrator

    assert [is_arbitrator(Options(arbitrator=True), node) for node in (1, 2, 3)] == [False, False, True]
    assert not is_arbitrator(Options(), 3)


def test_without_agents_a_node_has_the_same_inittab_less_one_line() -> None:
    plan = Layout(2, ipaddress.IPv4Network("172.20.0.0/16"), b"m" * 32, b"p" * 32, Options(agents=False))
    entries = parse_inittab(files_of(plan.node_files(1, {}))["etc/inittab"][0], "inittab")
    assert [entry.id for entry in entries] == ["cut", "om", "up", "pe"]
    assert "etc/inittab" not in files_of(layout(2).node_files(1, {}))


def test_times_are_lengthened_above_16_nodes_only() -> None:
    assert (beat_s(2), lease_s(2)) == (beat_s(16), lease_s(16)) == (0.5, 2.5)
    assert beat_s(16) < beat_s(17) < beat_s(32) < beat_s(64)
    # the work of all nodes in a second: each reads each, once a beat
    assert all(size**2 / beat_s(size) <= 1.01 * 16**2 / beat_s(16) for size in range(2, NODES_MAX + 1))


@pytest.mark.parametrize("text", ["1", "0", "65", "-3", "x", "", "3.5", "1000000000"])
def test_a_cluster_has_2_to_64_nodes(text: str) -> None:
    with pytest.raises(CannotError, match="2 to 64 nodes"):
        checked_size(text)


def test_sizes_between_are_taken() -> None:
    assert [checked_size(str(size)) for size in (2, 3, 64)] == [2, 3, 64]


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a/b", "a" * 32, "a b"])
def test_a_name_that_no_object_can_have_is_refused(name: str) -> None:
    with pytest.raises(CannotError, match="no cluster name"):
        checked_name(name)


def test_labels_say_whose_and_what() -> None:
    names = Names("red")
    assert names.node(3) == "mosha-red-node3"
    assert names.labels("node", 3) == {
        "org.mosha.cluster": "red", "org.mosha.role": "node", "org.mosha.node": "3"
    }
