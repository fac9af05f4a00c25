"""Cuts as data: links, words, and the rules on a node's disk."""

from __future__ import annotations

import argparse
import random

import pytest

from moslab.errors import CannotError
from moslab.faults import cli, netem, toxics
from moslab.faults.links import (
    apart,
    between,
    edited,
    from_power,
    majorities_ring,
    mark,
    parse,
    receivers,
    rules,
    severed,
)
from moslab.faults.targets import RING, select

ADDRESSES = {node: f"10.0.0.{100 + node}" for node in range(1, 6)}


def test_links_have_directions() -> None:
    assert between([1], [2, 3], one_way=True) == {(1, 2), (1, 3)}
    assert between([1], [2]) == {(1, 2), (2, 1)}
    assert between([1, 2], [2, 1]) == {(1, 2), (2, 1)}, "none from a node to itself"
    assert apart([[1], [2, 3]]) == between([1], [2, 3])
    assert len(apart([[1], [2], [3]])) == 6
    assert receivers({(1, 2), (3, 2), (2, 1)}) == {1: {(2, 1)}, 2: {(1, 2), (3, 2)}}


def test_cuts_overlap_and_each_is_healed_by_itself() -> None:
    text = edited("", rules("a", {(1, 2)}, ADDRESSES))
    text = edited(text, rules("ab", {(1, 2), (3, 2)}, ADDRESSES))
    assert parse(text) == {"a": {(1, 2)}, "ab": {(1, 2), (3, 2)}}
    assert severed(parse(text)) == {(1, 2), (3, 2)}
    text = edited(text, healed=mark("a"))
    assert parse(text) == {"ab": {(1, 2), (3, 2)}}, "the link is still cut, by the other one"
    assert parse(edited(text, healed=mark(None))) == {}
    assert "10.0.0.101 ip daddr 10.0.0.102 drop" in text
    assert text.count("delete table") == 1


def test_a_rule_names_both_nodes_own_addresses_only() -> None:
    """Neither a virtual address on the node nor the power switch is hit by it."""
    (line,) = rules("c", {(4, 5)}, ADDRESSES).splitlines()
    assert line == 'add rule inet cuts in ip saddr 10.0.0.104 ip daddr 10.0.0.105 drop comment "c 4>5"'


@pytest.mark.parametrize(("words", "nodes"), [
    ("3", (3,)),
    ("2,1", (1, 2)),
    ("owner of kv", (4,)),
    ("not owner of kv", (1, 2, 3, 5)),
    ("minority", (1, 2)),
    ("minority third", (1,)),
    ("majority", (1, 2, 3)),
    ("half", (1, 2)),
    ("one", (1,)),
    ("all", (1, 2, 3, 4, 5)),
    ("owner of kv + one", (1, 4)),
])
def test_words_for_nodes(words: str, nodes: tuple[int, ...]) -> None:
    assert select(words, range(1, 6), {"kv": 4}.__getitem__) == nodes


def test_words_draw_from_the_given_numbers_only() -> None:
    drawn = {select("minority", range(1, 6), int, random.Random(seed)) for seed in range(40)}
    assert len(drawn) > 3
    assert all(len(nodes) == 2 for nodes in drawn)
    assert select("one", range(1, 6), int, random.Random(7)) == select("one", range(1, 6), int, random.Random(7))


@pytest.mark.parametrize(("size", "count"), [(3, 0), (4, 1), (6, 1), (7, 2), (9, 2), (10, 3)])
def test_a_minority_third_is_less_than_a_third(size: int, count: int) -> None:
    assert len(select("minority third", range(1, size + 1), int)) == count


class Five:
    """What the command line asks of a cluster."""

    def nodes(self) -> dict[int, None]:
        return dict.fromkeys(range(1, 6))


def told(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.add_commands(lambda name, run, text: parser if name == "cut" else argparse.ArgumentParser(), lambda _: Five())  # type: ignore[arg-type,return-value]
    return parser.parse_args(words)


def test_moslab_cut_takes_a_ring_of_majorities() -> None:
    links = cli._links(Five(), told(RING))  # type: ignore[arg-type]
    assert links == majorities_ring(range(1, 6))
    assert cli._links(Five(), told(RING, "--power")) - links == from_power(range(1, 6))  # type: ignore[arg-type]
    with pytest.raises(CannotError, match="not from others"):
        cli._links(Five(), told(RING, "--from", "1"))  # type: ignore[arg-type]


@pytest.mark.parametrize("words", ["", "nobody", "9", "1,x", "not 9", RING, f"1+{RING}"])
def test_other_words_are_refused(words: str) -> None:
    with pytest.raises(CannotError):
        select(words, range(1, 6), int)


def test_late_links_are_lines_of_their_senders_beside_cuts() -> None:
    wanted = between([1], [2, 3])
    added = netem.lines("delay-1a", wanted, ADDRESSES, toxics.delay(0.2, 0.05))
    assert sorted(added) == [1, 2, 3]
    assert [line.rpartition(" # ")[0] for line in added[1].splitlines()] == [
        "#tc class replace dev eth0 parent 1: classid 1:2 htb rate 10gbit quantum 60000",
        "#tc qdisc replace dev eth0 parent 1:2 netem delay 200ms 50ms",
        "#tc filter add dev eth0 parent 1: protocol ip prio 2 u32 match ip dst 10.0.0.102/32 flowid 1:2",
        "#tc class replace dev eth0 parent 1: classid 1:3 htb rate 10gbit quantum 60000",
        "#tc qdisc replace dev eth0 parent 1:3 netem delay 200ms 50ms",
        "#tc filter add dev eth0 parent 1: protocol ip prio 3 u32 match ip dst 10.0.0.103/32 flowid 1:3",
    ]
    text = edited("", rules("cut-2b", {(4, 1)}, ADDRESSES) + added[1])
    assert parse(text) == {"cut-2b": {(4, 1)}, "delay-1a": {(1, 2), (1, 3)}}
    assert parse(edited(text, healed=mark("delay-1a"))) == {"cut-2b": {(4, 1)}}
    assert parse(edited(text, healed=mark("cut-2b"))) == {"delay-1a": {(1, 2), (1, 3)}}
    assert parse(edited(text, healed=mark(None))) == {}


def test_what_packets_cannot_meet_is_refused() -> None:
    assert netem.options(toxics.rate(50)) == "rate 400kbit"
    assert netem.options(toxics.delay(0.2)) == "delay 200ms"
    for toxic in (toxics.reset(), toxics.slow_close(1.0)):
        with pytest.raises(CannotError, match=f"{toxic.kind} is of connections"):
            netem.options(toxic)
