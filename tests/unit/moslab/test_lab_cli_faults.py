"""What the command line makes of faults, of chaos and of drills, on clusters that write down what they are told."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from signal import SIGSTOP
from types import SimpleNamespace
from typing import Any

import pytest

from moslab import cli
from moslab.errors import CannotError
from moslab.faults import cli as links
from moslab.faults import toxics
from moslab.faults.links import Link, between, from_power
from moslab.faults.toxics import Toxic
from moslab.history.stored import load
from moslab.scenario import drill
from moslab.scenario.docker import DockerWorld
from moslab.scenario.sim import SimWorld
from moslab.scenario.world import Spec

NODES = (1, 2, 3)


class Cluster:
    """Three nodes."""

    names = SimpleNamespace(cluster="other")

    def __init__(self, off: Collection[int] = ()) -> None:
        self._off = off

    def nodes(self) -> dict[int, SimpleNamespace]:
        return {node: SimpleNamespace(status="exited" if node in self._off else "running") for node in NODES}

    def node(self, node: int) -> None:
        if node not in NODES:
            raise CannotError(f"there is no node {node}")


class Faults:
    """What was told to it, in order."""

    told: list[tuple[Any, ...]]

    def __init__(self, _cluster: Cluster) -> None: ...

    def remember(self) -> None: ...

    def cut(self, links_: Iterable[Link], loss: float = 1.0, network: int | None = None) -> str:
        self.told.append(("cut", frozenset(links_), loss, network))
        return "cut-1a"

    def worsen(self, links_: Iterable[Link], toxic: Toxic) -> str:
        self.told.append(("worsen", frozenset(links_), toxic))
        return "worse-2b"

    def heal(self, name: str) -> None:
        self.told.append(("heal", name))

    def __getattr__(self, name: str) -> Callable[..., list[int]]:
        """Whatever else hits one node."""
        return lambda *said: self.told.append((name, *said)) or []  # type: ignore[func-returns-value]

    def outlet(self, node: int, how: str) -> None:
        self.told.append(("outlet", node, how))

    def slew(self, node: int, by: float) -> None:
        self.told.append(("slew", node, by))

    def jump(self, node: int, by_s: float) -> None:
        self.told.append(("jump", node, by_s))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the cluster is told, and what was waited for in between."""
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(cli, "_existing", lambda _arguments: Cluster())
    monkeypatch.setattr(Faults, "told", found, raising=False)
    monkeypatch.setattr(cli, "Faults", Faults)
    monkeypatch.setattr(links, "Faults", Faults)
    monkeypatch.setattr(time, "sleep", lambda for_s: found.append(("sleep", for_s)))
    return found


BOTH, ONE_WAY = between([1], [2, 3]), between([1], [2, 3], one_way=True)


@pytest.mark.parametrize(("words", "expected"), [
    ("cut 1", [("cut", BOTH, 1.0, None)]),
    ("cut 1 --one-way", [("cut", ONE_WAY, 1.0, None)]),
    ("cut 1 --from 3 --one-way", [("cut", {(1, 3)}, 1.0, None)]),
    ("cut 1 --power", [("cut", BOTH | from_power([1]), 1.0, None)]),
    ("cut 1 --network 2", [("cut", BOTH, 1.0, 2)]),
    ("cut 1 --for 4", [("cut", BOTH, 1.0, None), ("sleep", 4.0), ("heal", "cut-1a")]),
    ("cut 1 --for 4 --flap 1", [("cut", BOTH, 1.0, None), ("sleep", 1.0), ("heal", "cut-1a"), ("sleep", 1.0)] * 2),
    ("loss 1 0.25 --one-way", [("cut", ONE_WAY, 0.25, None)]),
    ("delay 1 0.2 --jitter 0.1 --one-way", [("worsen", ONE_WAY, toxics.delay(0.2, 0.1))]),
    ("rate 1 50", [("worsen", BOTH, toxics.rate(50))]),
    ("reset 1 --for 2", [("worsen", BOTH, toxics.reset()), ("sleep", 2.0), ("heal", "worse-2b")]),
    ("slow-close 1 5 --from 3", [("worsen", between([1], [3]), toxics.slow_close(5.0))]),
    ("outlet 3 lies", [("outlet", 3, "lies")]),
    ("jump-clock 3 -3600", [("jump", 3, -3600.0)]),
    ("slew-clock 3 0.008", [("slew", 3, 0.008)]),
])
def test_what_is_said_is_what_is_done(
    told: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str], words: str, expected: list[tuple[Any, ...]],
) -> None:
    assert cli.main(words.split()) == 0
    assert told == expected
    said = capsys.readouterr().out
    if "--flap" not in words and not words.startswith(("outlet", "jump", "slew")):
        name, count = re.fullmatch(r"(\S+): (\d+) links; heal it: moslab heal \1\n", said).groups()  # type: ignore[union-attr]
        assert (name, int(count)) == ("worse-2b" if told[0][0] == "worsen" else "cut-1a", len(told[0][1]))


@pytest.mark.parametrize(("words", "expected"), [
    (["kill", "minority"], [("kill", 1)]), (["kill", "owner of web"], [("kill", 2)]),
    (["kill", "--group", "web"], [("kill", 2)]), (["start", "all"], [("start", 1), ("start", 2), ("start", 3)]),
    (["pause", "not owner of web"], [("pause", 1), ("pause", 3)]), (["resume", "1,3"], [("resume", 1), ("resume", 3)]),
    (["reboot", "owner of web"], [("reboot", 2)]), (["lose-disk", "3"], [("lose_disk", 3)]),
    (["signal", "owner of web", "leash web", "stop"], [("signal", 2, "leash web", SIGSTOP)]),
    (["files", "one+3", '[{"do": "full"}]'], [("files", 1, [{"do": "full"}]), ("files", 3, [{"do": "full"}])]),
    (["outlet", "majority", "fails"], [("outlet", 1, "fails"), ("outlet", 2, "fails")]),
    (["slew-clock", "owner of web", "0.008"], [("slew", 2, 0.008)]),
    (["unmap", "owner of web"], [("map", 1, [1, 3]), ("map", 2, [2]), ("map", 3, [1, 3])]),
    (["unmap", "1,2", "--on", "3"], [("map", 3, [3])]),
    (["unmap", "one", "--on", "owner of web"], [("map", 2, [2, 3])]),
])
def test_whom_is_said_in_words(
    told: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, words: list[str], expected: list[tuple[Any, ...]],
) -> None:
    for module in (cli, links):
        monkeypatch.setattr(module, "owner_of", lambda _cluster, group: {"web": 2}[group])
    assert cli.main(words) == 0
    assert told == expected


def test_a_node_without_power_is_told_nothing_of_its_map(
    told: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "_existing", lambda _arguments: Cluster(off=[2]))
    assert cli.main(["--cluster", "other", "unmap", "1"]) == 0
    assert told == [("map", 1, [1]), ("map", 3, [2, 3])]
    assert capsys.readouterr().out == ("node 1: on its map are 1\nnode 3: on its map are 2, 3\n"
                                       "heal it: moslab --cluster other heal\n")


@pytest.mark.parametrize("words", ["kill 1", "start 1", "outlet 1 fails", "cut 1", "heal cut-1a", "unmap 1 --on 2"])
def test_a_command_goes_on_with_the_record_of_those_before(
    told: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, words: str,
) -> None:
    monkeypatch.setattr(Faults, "remember", lambda _self: told.append(("remember",)))
    assert cli.main(words.split()) == 0
    assert (told[0], len(told)) == (("remember",), 2)


@pytest.mark.parametrize("words", ["pause nobody", "start majorities ring", "resume 1,x"])
def test_words_that_name_no_nodes_are_refused_before_anybody_is_asked(
    monkeypatch: pytest.MonkeyPatch, words: str,
) -> None:
    monkeypatch.setattr(cli, "_existing", lambda _arguments: pytest.fail("the engine was asked"))
    with pytest.raises(SystemExit) as end:
        cli.main(words.split(" ", 1))
    assert end.value.code == 2


@pytest.mark.parametrize(("words", "said"), [
    ("cut 1 --flap 1", "--flap needs --for"), ("cut 1 --flap 1 --for 4 --network 1", "--flap is of all networks"),
    ("cut 1 --for -1", "more than 0"), ("cut 1 --for 0", "more than 0"), ("cut 1 --for nan", "more than 0"),
    ("cut 1 --for 4 --flap 0", "more than 0"), ("cut all", "that are no links"), ("rate 1 0", "a rate is from"),
    ("slow-close 1 -1", "a slow close is from"), ("outlet 4 lies", "no node 4"),
    ("jump-clock 4 1", "no node 4"), ("pause 4", "no node 4"),
    ("unmap all", "a node is on its own map"), ("unmap 1 --on 1,2", "on its own map"), ("unmap 1 --on 4", "no node 4"),
    ("unmap 1 --on 2,", "names no nodes"),
])
def test_what_cannot_be_said_does_nothing(
    told: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str], words: str, said: str,
) -> None:
    assert cli.main(words.split()) == 2
    assert re.search(said, capsys.readouterr().err)
    assert not told


def test_what_is_interrupted_meanwhile_is_healed(
    told: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_for_s: float) -> None:
        raise CannotError("enough")

    monkeypatch.setattr(time, "sleep", interrupted)
    assert cli.main(["reset", "1", "--for", "9"]) == 2
    assert told[1:] == [("heal", "worse-2b")]


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> SimWorld:
    """The cluster that runs, for commands that ask for one of containers."""
    world = SimWorld(Spec(5), 3)
    world.settle()
    monkeypatch.setattr(cli, "_existing", lambda _arguments: Cluster())
    monkeypatch.setattr(DockerWorld, "attach", lambda _cluster: world)
    return world


def overlap(world: SimWorld) -> None:
    """From now on the history has one."""
    process = world.running("web")[0]
    other = next(node for node in world.nodes if node != process.node)
    world._simulated.cluster.result.intervals.append(process._replace(node=other, pid=1_000_000))


def test_chaos_says_its_seed_and_what_came_of_it(simulated: SimWorld, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["chaos", "--seed", "7", "--for", "20s"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "seed 7, 20 s, groups web"
    assert re.fullmatch(r"[1-9]\d* faults; the history is valid; nothing was seen of: lives, .*", said[-1])
    assert len(said) > 2, "each thing that was broken has a line"


def test_what_is_said_to_be_typed_next_is_for_that_cluster(
    told: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["--cluster", "other", "cut", "1"]) == 0
    assert capsys.readouterr().out == "cut-1a: 4 links; heal it: moslab --cluster other heal cut-1a\n"


def test_chaos_on_a_cluster_that_does_wrong_ends_with_1(
    simulated: SimWorld, capsys: pytest.CaptureFixture[str],
) -> None:
    overlap(simulated)
    assert cli.main(["chaos", "--seed", "7", "--for", "2m"]) == 1
    out, err = capsys.readouterr()
    assert "faults; the history is invalid; nothing was seen of: " in out.splitlines()[-1]
    assert "overlap: web" in err
    assert "again: moslab chaos --seed 7 --for 120s" in err


def test_the_history_that_is_printed_is_what_is_saved_and_what_others_broke_is_read_once(
    simulated: SimWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:
    reads: list[int] = []

    def remember() -> None:
        reads.append(1)
        simulated.faults.edit(1, "hactl", "web start\n# by another command\n")

    monkeypatch.setattr(simulated.faults, "remember", remember, raising=False)
    monkeypatch.setattr(cli, "DockerWorld", lambda *_: simulated)
    saved = tmp_path / "history.json"
    assert cli.main(["history", "--save", str(saved)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert any(line.endswith(": edit node 1 (hactl)") for line in out)
    assert out[-2:] == ["never twice", load(saved).unseen]
    assert ([fault.kind for fault in load(saved).faults], reads) == (["edit"], [1])
    overlap(simulated)
    assert cli.main(["history", "--save", str(saved)]) == 1
    assert {*load(saved).problems} < {*capsys.readouterr().out.splitlines()}


def test_a_drill_prints_downtime_and_overlap(simulated: SimWorld, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["drill", "--group", "web"]) == 0
    head, *steps, verdict = capsys.readouterr().out.splitlines()
    assert head.split() == ["group", "web", "from", "to", "away", "overlap"]
    assert [line[:24].strip() for line in steps] == list(drill.STEPS)
    away_s = [float(re.fullmatch(r" +\d +\d +(\S+) s +0\.000 s", line[24:])[1]) for line in steps]  # type: ignore[index]
    assert all(0.0 < one < 10.0 for one in away_s)
    assert verdict == "the history is valid"
    assert not simulated.faults.record.lasting()


def test_a_drill_of_a_group_that_writes_no_journal_says_which_do(
    simulated: SimWorld, capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["drill", "--group", "kv"]) == 2
    assert "kv writes no journal, so nothing is known of it; web does" in capsys.readouterr().err
