"""MFS through Toxiproxy on paper: maps, proxies, what is sent on beside them, and where links are cut."""

from __future__ import annotations

import ipaddress
import json
import re

import pytest

from emulator.table import nodes_of, parse_map
from moslab.errors import CannotError
from moslab.faults.links import ROUTER, between, from_power, parse, receivers, rules
from moslab.layout import NODES_MAX, Layout, Options
from moslab.router import proxies
from moslab.router import rules as beside

ADDRESSES = {0: "10.9.0.2", 1: "10.9.0.101", 2: "10.9.0.102", 3: "10.9.0.103"}


def layout(size: int = 3, subnet: str = "10.9.0.0/16") -> Layout:
    return Layout(size, ipaddress.IPv4Network(subnet), b"m" * 32, b"p" * 32, Options(toxiproxy=True))


@pytest.mark.parametrize("size", [2, 3, NODES_MAX])
def test_each_node_has_a_map_of_its_own_and_is_in_it_where_it_is(size: int) -> None:
    plan = layout(size)
    seen = set()
    for node in range(1, size + 1):
        text = plan.files(node, {})["etc/openmosix.map"][0].decode()
        found = nodes_of(parse_map(text, "openmosix.map", resolve=lambda host: host))
        assert list(found) == list(range(1, size + 1))
        assert found[node] == plan.node(node)
        seen |= {(node, other, address) for other, address in found.items() if other != node}
    used = {plan.power, plan.router, *(plan.node(node) for node in range(1, size + 1))}
    addresses = {address for _, _, address in seen}
    assert len(addresses) == size * (size - 1), "one for each ordered pair"
    assert not addresses & used
    assert all(ipaddress.ip_address(address) in plan.subnet for address in addresses)
    listening = {(one["name"], one["listen"]) for one in json.loads(proxies(plan))}
    assert listening == {(f"{asker}-{owner}", f"{address}:723") for asker, owner, address in seen}


def test_what_is_not_mfs_comes_from_where_the_receiver_has_the_sender() -> None:
    plan = layout(2)
    text = beside(plan)
    assert f"dnat to ip daddr map {{ {plan.seen(1, 2)} : {plan.node(2)}, {plan.seen(2, 1)} : {plan.node(1)} }}" in text
    assert f"{plan.node(1)} . {plan.node(2)} : {plan.seen(2, 1)}" in text
    assert "tcp dport 8474 ip saddr 10.9.0.0/16 ip saddr != 10.9.0.1 drop" in text, "nodes cannot ask Toxiproxy's API"
    assert text.index("tcp dport 723 accept") < text.index("dnat")


def test_a_subnet_without_so_many_addresses_is_refused() -> None:
    layout(15, "192.168.16.0/20")
    with pytest.raises(CannotError, match=r"192\.168\.16\.0/20, and this cluster needs 4352 addresses"):
        layout(16, "192.168.16.0/20")


def test_a_cut_is_at_the_router_for_mfs_and_at_the_receiver_for_the_rest() -> None:
    links = between([1], [2], one_way=True)
    ends = receivers(links | from_power([2]), routed=True)
    assert ends == {ROUTER: links, 2: links | from_power([2])}
    said = {at: re.findall(r"saddr (\S+) ip daddr (\S+) drop", rules("c", found, ADDRESSES, at)) for at, found in
            ends.items()}
    assert said[ROUTER] == [("10.9.0.101", "10.9.1.102")], "what 1 sends to its proxy for 2"
    assert said[2] == [("10.9.0.2", "10.9.0.102"), ("10.9.0.101", "10.9.0.102"), ("10.9.2.101", "10.9.0.102")]
    assert parse(rules("c", links, ADDRESSES, 2)) == {"c": links}


def test_loss_is_a_share_of_the_packets() -> None:
    (line,) = rules("loss-1", {(1, 2)}, ADDRESSES, loss=0.05).splitlines()
    assert "ip daddr 10.9.0.102 numgen random mod 10000 < 500 drop comment" in line
    assert parse(line) == {"loss-1": {(1, 2)}}
