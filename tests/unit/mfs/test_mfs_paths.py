"""Two networks between two nodes: when one is cut, operations go on over the other, each carried out once."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import pytest

from emulator.mfs.pace import QUICK
from tests.unit.mfs.nodes import MfsNode, Nodes
from tests.unit.mfs.relay import Relay
from tests.unit.mfs.test_mfs_faults import BUSY_S, LIMIT_S, SLACK_S, timed, wait_until

QUICK_S = 10.0
"""One second of quick time: on a busy machine the other network may be slow to answer."""
PART_S = 1.2
"""Ten seconds of genuine time."""


class Twofold(NamedTuple):
    """Nodes 1 and 2, and the two networks over which 1 asks 2."""

    one: MfsNode
    two: MfsNode
    first: Relay
    second: Relay

    def used(self) -> list[int]:
        """The requests that went over each network."""
        lines = (self.one.control / "links").read_text().splitlines()[1:]
        return [int(line.split()[-1]) for line in lines if line.startswith("2 ")]

    def in_use(self) -> list[str]:
        """Whether each of them is the one in use."""
        lines = (self.one.control / "links").read_text().splitlines()[1:]
        return [line.split()[3] for line in lines if line.startswith("2 ")]


def begin(nodes: Nodes, genuine_s: float = 0, quick_s: float = 0) -> Twofold:
    one, two = nodes.nodes[1], nodes.nodes[2]
    places = [two.address.rpartition(".")[0] + end for end in (".12", ".22")]
    relays = [Relay((place, nodes.port), (two.address, nodes.port)) for place in places]
    one.start({1: one.address, 2: " ".join(places)}, genuine_s=genuine_s, quick_s=quick_s)
    two.start(nodes.table)
    return Twofold(one, two, *relays)


@pytest.fixture
def twofold(nodes: Nodes) -> Iterator[Twofold]:
    both = begin(nodes, quick_s=QUICK_S)
    yield both
    both.first.close()
    both.second.close()


def test_when_a_network_is_cut_operations_go_on_over_the_other(twofold: Twofold) -> None:
    (twofold.two.root / "f").write_text("before")
    with twofold.one.path(2, "f").open("ab", buffering=0) as opened:
        opened.write(b"1")
        assert twofold.in_use() == ["yes", "no"]
        for cut, healed, uses in (
            (twofold.first, twofold.second, ["no", "yes"]), (twofold.second, twofold.first, ["yes", "no"]),
        ):
            healed.heal()
            cut.cut()
            result, took_s = timed(partial(os.write, opened.fileno(), b"x"))
            assert (result, QUICK.suspect_s <= took_s < QUICK_S) == ("ok", True), took_s
            assert twofold.in_use() == uses
            assert timed(partial(os.stat, twofold.one.path(2, "f")))[0] == "ok"
    assert (twofold.two.root / "f").read_text() == "before1xx"
    assert all(twofold.used())


def test_what_was_done_and_not_answered_is_not_done_again(twofold: Twofold) -> None:
    """The answers are lost, not the requests: each of these would fail, or show, if it were carried out twice."""
    one, two = twofold.one, twofold.two
    (two.root / "log").write_text("")
    (two.root / "old").write_text("")
    (two.root / "gone").write_text("")
    with one.path(2, "log").open("ab", buffering=0) as log:
        made: list[int] = []
        networks = [twofold.first, twofold.second]
        for act in (
            lambda: os.write(log.fileno(), b"once"),
            lambda: os.mkdir(one.path(2, "made")),
            lambda: os.rename(one.path(2, "old"), one.path(2, "new")),
            lambda: os.unlink(one.path(2, "gone")),
            lambda: made.append(os.open(one.path(2, "own"), os.O_CREAT | os.O_EXCL | os.O_RDWR)),
            lambda: os.link(one.path(2, "new"), one.path(2, "newer")),
        ):
            os.listdir(one.path(2))  # over the network that is in use
            networks[0].cut(there=False)
            assert timed(act)[0] == "ok"
            networks[0].heal()
            networks.reverse()
    assert (two.root / "log").read_text() == "once"
    assert sorted(os.listdir(two.root)) == ["log", "made", "new", "newer", "own"]
    os.write(made[0], b"its handle was given once, and is open")
    os.close(made[0])


def test_what_comes_late_over_the_network_that_was_cut_is_not_done(twofold: Twofold) -> None:
    with twofold.one.path(2, "f").open("ab", buffering=0) as opened:
        opened.write(b"1")
        twofold.first.cut()
        opened.write(b"2")
        twofold.first.heal()
        opened.write(b"3")
    assert (twofold.two.root / "f").read_text() == "123"


def test_what_is_slow_is_asked_of_no_other_network(twofold: Twofold) -> None:
    (twofold.two.root / "f").write_text("")
    twofold.two.faults({"do": "delay", "seconds": 0.8, "on": ["getattr"]})

    def stays() -> bool:
        before = twofold.in_use()
        assert timed(partial(os.stat, twofold.one.path(2, "f")))[0] == "ok"
        return "yes" in before and twofold.in_use() == before

    os.listdir(twofold.one.path(2))
    wait_until(stays)                                        # on a busy machine it may be late to say that it lives


def test_what_is_slow_when_its_network_is_cut_is_waited_for_over_the_other(twofold: Twofold) -> None:
    (twofold.two.root / "f").write_text("")
    with twofold.one.path(2, "f").open("ab", buffering=0) as opened:
        opened.write(b"1")
        twofold.two.faults({"do": "delay", "seconds": 2.5, "on": ["fsync"]})
        cut = threading.Timer(0.3, twofold.first.cut)
        cut.start()
        result, took_s = timed(partial(os.fsync, opened.fileno()))
        assert (result, 2.4 < took_s < QUICK.slow_s + BUSY_S) == ("ok", True)
        asked = (twofold.two.control / "faults").read_text()
        assert '"met": 1' in asked, "it was carried out once"


def test_both_cut_is_one_deadline_and_heals(nodes: Nodes) -> None:
    twofold = begin(nodes)
    try:
        is_one_deadline_and_heals(twofold)
    finally:
        twofold.first.close()
        twofold.second.close()


def is_one_deadline_and_heals(twofold: Twofold) -> None:
    seen = partial(os.listdir, twofold.one.path(2))
    assert timed(seen)[0] == "ok"
    twofold.first.cut()
    twofold.second.cut()
    result, took_s = timed(seen)
    assert (result, 0.9 < took_s < QUICK.reply_s + BUSY_S) == ("EAGAIN", True)
    twofold.second.heal()
    wait_until(lambda: timed(seen)[0] == "ok")
    assert twofold.in_use() == ["no", "yes"]


@pytest.mark.parametrize("anew", ["by a reboot", "by setpe -W"])
def test_a_node_that_began_anew_is_not_asked_again(nodes: Nodes, anew: str) -> None:
    """Nobody knows whether it was done: it may have been, and would be refused as the second of two."""
    both = begin(nodes, genuine_s=3 * PART_S)
    one, two = both.one, both.two
    ended: list[tuple[str, float]] = []
    try:
        os.listdir(one.path(2))
        two.faults({"do": "hang", "done": True, "on": ["mkdir"]})
        asks = threading.Thread(target=lambda: ended.append(timed(lambda: os.mkdir(one.path(2, "made")))))
        asks.start()
        wait_until((two.root / "made").exists)
        both.first.cut()
        both.second.cut()
        if anew == "by a reboot":
            two.stop(signal.SIGKILL)
            two.start(nodes.table)
        else:
            two.faults()
            two.tell("off")
            two.tell(json.dumps({2: two.address, **nodes.table}))
        both.first.heal()
        both.second.heal()
        asks.join(LIMIT_S)
        assert ended[0][0] == "EAGAIN"
    finally:
        both.first.close()
        both.second.close()


def test_in_genuine_time_a_cut_network_costs_the_time_of_an_answer(nodes: Nodes) -> None:
    both = begin(nodes, genuine_s=PART_S)
    try:
        with both.one.path(2, "f").open("ab", buffering=0) as opened:
            opened.write(b"1")
            both.first.cut(there=False)
            result, took_s = timed(partial(os.write, opened.fileno(), b"2"))
            assert (result, PART_S - 0.1 < took_s < PART_S + SLACK_S) == ("ok", True)
        assert (both.two.root / "f").read_text() == "12"
    finally:
        both.first.close()
        both.second.close()
