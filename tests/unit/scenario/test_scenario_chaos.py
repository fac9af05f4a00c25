"""Chaos and drills, in the simulated world."""

from __future__ import annotations

import argparse

import pytest

from moslab import Cluster
from moslab.duration import seconds
from moslab.errors import CannotError, LabError, UnsupportedError
from moslab.history.checkers import INVALID, VALID
from moslab.scenario import chaos as module
from moslab.scenario.chaos import BREAKS, chaos
from moslab.scenario.cli import _healed
from moslab.scenario.drill import STEPS, drill
from moslab.scenario.sim import SimWorld
from moslab.scenario.world import Spec

CANNOT = {"exhausted": "exhaust the", "networks": "cut one of several networks"}


def made(seed: int, nodes: int = 5) -> Cluster:
    world = SimWorld(Spec(nodes, toxiproxy=True), seed)
    world.settle()
    return Cluster(world, seed)


def story(seed: int) -> list[str]:
    said: list[str] = []
    assert chaos(made(seed), 20.0, said.append).word == VALID
    return said


def test_a_seed_is_a_story() -> None:
    assert story(3) == story(3)
    assert story(3) != story(4)


def test_every_kind_can_be_broken_and_healed() -> None:
    for name, begin in BREAKS.items():
        cluster = made(1)
        cannot = [said for word, said in CANNOT.items() if word in name]
        if cannot:
            with pytest.raises(UnsupportedError, match=cannot[0]):
                begin(cluster)
            continue
        begin(cluster)
        assert cluster.faults, name
        assert cluster.check().word == VALID, name


def test_one_disk_is_lost_in_a_round() -> None:
    """Or nobody might have the tables any more."""
    cluster = made(1)
    BREAKS["lose a disk"](cluster)
    with pytest.raises(LabError, match="another node is off"):
        BREAKS["lose a disk"](cluster)
    cluster.heal()
    BREAKS["lose a disk"](cluster)
    assert [fault.kind for fault in cluster.faults].count("lose disk") == 2
    cluster.check()


def test_tables_that_were_edited_say_at_the_end_what_they_said_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """On all nodes, whatever else was broken."""
    monkeypatch.setattr(module, "BREAKS", {name: BREAKS[name] for name in ("edit a table", "cut one off", "kill one")})
    cluster = made(4, 3)
    nodes = cluster.world._simulated.cluster.nodes.values()  # type: ignore[attr-defined]

    def tables() -> set[tuple[str, ...]]:
        """As they are on each node, without the simulator's numbers of edits."""
        return {tuple("".join(line for line in node.disk.files[name].decode().splitlines(True) if "# edit " not in line)
                      for name in module.TABLES) for node in nodes}

    before = tables()
    verdict = chaos(cluster, 40.0)
    assert verdict, verdict.problems
    assert len([fault for fault in cluster.faults if fault.kind == "edit"]) > 3
    cluster.eventually(tables, lambda now: now == before, what="they say it again")


def test_who_is_off_the_map_joins_again_with_the_heal() -> None:
    """A machine with an empty disk, whose number was on nobody's map, too."""
    for name, known in (("one is off the map", [1, 2, 2]), ("a new machine joins", [2, 2, 3])):
        cluster = made(3, 3)
        nodes = cluster.world._simulated.cluster.nodes.values()  # type: ignore[attr-defined]
        BREAKS[name](cluster)
        assert sorted(map(len, (node.map for node in nodes))) == known
        assert [fault.kind for fault in cluster.faults][-2:] == ["map", "map"]
        assert cluster.check().word == VALID
        assert {len(node.map) for node in nodes} == {3}
        assert not cluster.world.faults.record.lasting()


def test_connections_are_left_alone_where_mfs_goes_straight() -> None:
    world = SimWorld(Spec(3), 1)
    world.settle()
    for name in ("connections are late", "connections break"):
        with pytest.raises(UnsupportedError, match="worsen connections"):
            BREAKS[name](Cluster(world, 1))


def test_a_history_that_is_wrong_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = made(2)
    process = cluster.group("web").run()
    other = next(node for node in cluster.nodes if node != process.node)
    cluster.world._simulated.cluster.result.intervals.append(process._replace(node=other, pid=1_000_000))  # type: ignore[attr-defined]
    verdict = chaos(cluster, 1000.0)
    assert verdict.word == INVALID
    assert cluster.world.now_s() < 200.0


def test_chaos_that_breaks_nothing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BREAKS", {"ring": BREAKS["ring of majorities"]})
    with pytest.raises(CannotError, match="nothing was broken in 5 s"):
        chaos(made(1, 3), 5.0)


def test_a_drill_says_how_long_it_was_away() -> None:
    cluster = made(5)
    steps = list(drill(cluster, cluster.group("web")))
    assert [step.what for step in steps] == list(STEPS)
    assert all(step.before != step.after and 0.0 < step.away_s < 10.0 and not step.overlap_s for step in steps)
    assert [later.before for later in steps[1:]] == [earlier.after for earlier in steps[:-1]]


@pytest.mark.parametrize(("text", "meant_s"), [("90", 90.0), ("90s", 90.0), ("2m", 120.0), ("1.5h", 5400.0)])
def test_times(text: str, meant_s: float) -> None:
    assert seconds(text) == meant_s


@pytest.mark.parametrize("text", ["", "0", "-1", "2 m", "soon", "m", "1d"])
def test_bad_times(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no time"):
        seconds(text)


def test_what_is_interrupted_is_healed_and_all_runs_again() -> None:
    cluster = made(6)

    def interrupted() -> None:
        with _healed(cluster):
            cluster.drain(1)
            cluster.break_outlet(2, "fails")
            cluster.kill("all")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not cluster.world.faults.record.lasting()
    assert cluster.group("web").runs, "it was waited for, as who is drained must be there to be told otherwise"
    with pytest.raises(LabError, match="in vain"), _healed(cluster):
        raise AssertionError("in vain")
