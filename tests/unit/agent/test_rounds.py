"""The agent behind its port, in virtual time: no process, no file, no clock."""

from __future__ import annotations

import errno
import itertools
import json
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any, Callable

import pytest

from mosha.agent import Agent
from mosha.clinit.custody import Legacy
from mosha.clinit.leash import LeashReport
from mosha.config import Config
from mosha.elders import LOOK_OUT_S
from mosha.ownership import identity as identities
from mosha.ownership import journal, marker, slot
from mosha.ownership.disk_paxos import DiskPaxos
from mosha.ownership.journal import Commit
from mosha.ownership.marker import FULL, REJOINING
from mosha.ownership.voter import installation
from mosha.placement import preference
from mosha.platform import plans, record
from mosha.snags import Snags
from mosha.stomith.devices import parse_level
from mosha.tables import clstat, cltab
from mosha.timing import FAILED_PROBES, FORGET_S, STOP_LIMIT_S, STUCK_S, Timing
from mosha.why import explain
from tests.unit.agent.fake_world import FakeLeash, FakeWorld, carry_out

SHOOTS = (parse_level("/sbin/off %n", {}),)
CLTAB = b"web:web-test:test:test:true\nweb:web-run:start:respawn:sleep 1d\n"


def world_of(
    nodes: list[int], tasks: dict[str, Callable[..., Any]] | None = None, config: Config | None = None, **files: bytes
) -> FakeWorld:
    answers: dict[str, Callable[..., Any]] = {"whois": lambda: 1, "nodes": lambda: nodes, **(tasks or {})}
    config = config or Config()
    founded = installation("7-00000007", config.voters_of(frozenset(nodes)))
    on_disk = {"cltab": CLTAB, "hactl": b"web start\n", "founded": founded.encode(), **files}
    return FakeWorld(config, answers, None, **on_disk)


def running(world: FakeWorld) -> FakeLeash:
    """Wait until the group runs."""
    world.until(lambda: bool(world.leashes) and world.leashes[-1].told[-1:] == ["start"], 30)
    return world.leashes[-1]


def page(world: FakeWorld) -> dict[str, Any]:
    found = json.loads(world.disk.files["hastat.json"])
    assert isinstance(found, dict)
    return found


def said(world: FakeWorld) -> Mapping[str, Any]:
    """The record of its node."""
    found = record.decode(world.disk.files["beat"])
    assert found is not None
    return found


def test_what_was_lost_under_the_agent_is_there_again() -> None:
    world = world_of([1])
    running(world)
    kept = ("state", "counted", record.NAME, "clstat", "hastat", "hastat.json", "cltab", "cltab.good", "cltab.version")
    world.until(lambda: set(kept) <= set(world.disk.files), 10)
    number = world.disk.files["state"]
    life = marker.decode(world.disk.files[marker.NAME])
    world.disk.files.clear()
    world.pass_time(2)
    assert set(kept) <= set(world.disk.files), "whatever this life had written"
    assert world.disk.files["state"] == number
    again = marker.decode(world.disk.files[marker.NAME])
    assert life is not None
    assert again is not None
    assert again.state != FULL
    assert again.life != life.life
    world.disk.files.clear()
    assert len(world.leashes) == 1
    world.until(lambda: len(world.leashes) > 1, 30)
    own = slot.decode(world.disk.files[slot.COUNTED])
    assert own is not None
    assert identities.number_of(own.identity) == int(world.disk.files["state"]) == int(number) + 1


def test_a_node_alone_on_its_map_owns_its_group() -> None:
    world = world_of([1])
    leash = running(world)
    assert leash.told == ["test", "own", "start"]
    assert leash.environment == {
        "MOSHA_NODE": "1", "MOSHA_ERA": "7", "MOSHA_EPOCH": "1",
        "MOSHA_OWNER": f"7-00000007 1 {world.agent.ownership.identity}",
    }
    world.pass_time(10)
    assert leash.deadlines[-1] > world.now()
    assert [(g.name, g.level, g.state) for g in clstat.parse(world.disk.files["clstat"].decode())] == [
        ("web", "start", "DONE")
    ]
    (shown,) = page(world)["groups"]
    assert (shown["owner"], shown["state"], shown["epoch"]) == (1, "DONE", 1)
    said = record.decode(world.disk.files["beat"])
    assert said is not None
    assert said["identity"] == world.agent.ownership.identity
    assert (said["era"], said["groups"]["web"]["state"]) == ("7-00000007", "DONE")
    assert "founded" not in world.disk.files, "it is good for one life"
    assert world.disk.files["state"] == b"1\n"


def test_a_disk_without_memory_waits_before_it_votes() -> None:
    world = world_of([1], config=Config(voters=frozenset({1})))
    world.disk.remove("founded")
    began = world.now()
    running(world)
    assert world.now() - began >= world.agent.timing.recovery_s


EARLIER = f"1.1.{'e' * 32}"


def left(
    *entries: Any, identity: str = EARLIER, epoch: int = 1, config: Config | None = None, **more: bytes
) -> FakeWorld:
    """A node whose earlier life had web, and left its leash."""
    era = "7-00000007"
    entries_told = tuple(cltab.parse(CLTAB.decode()).entries)
    legacy = Legacy("web", era, epoch, identity, 1002.0, "start", "DONE", False, entries_told)
    config = config or Config()
    answers: dict[str, Callable[..., Any]] = {"whois": lambda: 1, "nodes": lambda: [1]}
    founded = installation(era, config.voters_of(frozenset([1])))
    written = b"".join(map(journal.encode, entries))
    files = {"cltab": CLTAB, "hactl": b"web start\n", "founded": founded.encode(), "state": b"1\n"}
    world = FakeWorld(config, answers, legacy, **{**files, **more})
    if entries:
        world.disk.files[journal.name(era, EARLIER, 0)] = written
    return world


def test_what_an_earlier_life_left_is_taken_over_and_that_life_is_not_dead_before_it_has_ended() -> None:
    world = left(Commit("web", 1, EARLIER))
    (leash,) = world.leashes
    world.until(lambda: len(leash.deadlines) > 1, 2)
    world.pass_time(20)
    assert (leash.told, world.leashes) == ([], [leash])
    ownership = world.agent.ownership
    assert (ownership.held("web"), ownership.epoch("web"), EARLIER in ownership.records.dead) == (True, 1, False)
    assert world.agent.groups.status()["web"]["why"] == "it had it before, and it ran on"
    world.disk.files["hactl"] = b"web stop\n"
    world.until(lambda: leash.gone, 20)
    world.pass_time(2)
    assert ownership.records.registers["web"].released_epoch == 1
    assert EARLIER in ownership.records.dead


@pytest.mark.parametrize("over", [
    [Commit("web", 1, EARLIER), Commit("web", 2, f"2.1.{'f' * 32}")],
    [Commit("web", 1, EARLIER), journal.Dead(EARLIER)],
    [Commit("web", 1, EARLIER), journal.Released("web", 1, EARLIER, "")],
])
def test_what_an_earlier_life_left_and_does_not_own_any_more_is_killed(over: list[Any]) -> None:
    world = left(*over)
    leash = world.leashes[0]
    world.until(lambda: leash.gone, 2)
    assert leash.told == ["kill"]
    assert leash.deadlines == [1002.0]


@pytest.mark.parametrize("strange", [{"identity": f"2.1.{'e' * 32}"}, {"epoch": 2}])
def test_what_the_register_does_not_confirm_ends_by_its_deadline(strange: dict[str, Any]) -> None:
    world = left(Commit("web", 1, EARLIER), **strange)
    leash = world.leashes[0]
    world.until(lambda: leash.gone, 3)
    assert leash.deadlines == [1002.0]
    running(world)
    assert len(world.leashes) == 2


def test_what_an_earlier_life_left_ends_by_its_deadline_while_nobody_knows_which_node_this_is() -> None:
    world = left(Commit("web", 1, EARLIER))
    world.tasks["nodes"] = list
    world.until(lambda: world.leashes[0].gone, 3)
    assert world.now() < 1002.5


def test_a_map_alone_founds_nothing_until_an_operator_says_so() -> None:
    world = world_of([1], founded=b"")
    world.disk.remove("founded")
    world.pass_time(60)
    assert not world.leashes
    world.disk.files["order"] = b'{"do": "found", "without": [], "name": "1"}'
    running(world)


def test_a_guess_at_who_votes_follows_the_map() -> None:
    """What a half-made map named is not what the whole one names: the next life begins with that."""
    world = world_of([1], founded=b"")
    world.disk.remove("founded")
    world.pass_time(10)
    world.tasks["nodes"] = lambda: [1, 2]
    world.until(lambda: world.ended is not None, 20)
    assert world.ended == 0
    named = world_of([1, 2], config=Config(voters=frozenset({1})))
    named.disk.remove("founded")
    named.pass_time(1)
    named.tasks["nodes"] = lambda: [1, 2, 3]
    named.pass_time(20)
    assert named.ended is None, "who votes was named"


def test_an_agent_waits_for_openmosix_and_asks_ever_more_rarely() -> None:
    def failing() -> int:
        raise OSError(errno.ENOENT, "there is no mosctl")

    world = world_of([1], {"whois": failing})
    world.pass_time(10)
    asked = [at for at, _, task in world.asked if task == "whois"]
    assert 10 <= len(asked) <= 16
    assert 0.9 < asked[-1] - asked[-2] < 1.1
    assert set(world.disk.files) == {"cltab", "hactl", "founded", "hastat.json"}, "nothing but the page"
    assert page(world)["waits"] == "openMosix is not configured yet (number there is no mosctl, map [1])"
    world.tasks["whois"] = lambda: 2
    world.pass_time(3)
    assert not world.leashes
    assert page(world)["waits"] == "node 2 is not on the map [1]"
    world.tasks["whois"] = lambda: 1
    running(world)


def test_an_agent_that_is_told_to_leave_before_it_began_ends_at_once() -> None:
    world = world_of([1], {"whois": lambda: 0})
    world.pass_time(1)
    world.agent.leave("SIGTERM")
    world.until(lambda: False, 0.1)
    assert world.ended == 0


def test_leaving_stops_the_groups_first() -> None:
    world = world_of([1])
    leash = running(world)
    world.agent.leave("SIGTERM")
    world.until(lambda: False, 5)
    assert (world.ended, leash.told, leash.gone) == (0, ["test", "own", "start", "stop", "finish"], True)


def stuck_with(world: FakeWorld, heir: bool = True) -> FakeLeash:
    """The group runs, and cannot be ended; ``heir``: another node may have it, if this one does not."""
    leash, world.hangs = running(world), True
    world.agent.snags = Snags(1, world.agent.config.stuck_s, lambda node, group: heir and (node, group) == (1, "web"),
                              lambda nodes: False)
    leash.report("stuck", text="web-run: 7 (dd, state D)")
    return leash


def test_what_cannot_be_ended_is_said_and_everything_else_gives_way_in_time_where_a_shot_frees_it() -> None:
    world = world_of([1], config=Config(stomith=SHOOTS))
    leash = stuck_with(world)
    world.pass_time(45)
    said = record.decode(world.disk.files["beat"])
    assert said is not None
    assert (said["stuck"], said["drained"]) == ({"web": "web-run: 7 (dd, state D)"}, False), "60 s after SIGKILL"
    world.pass_time(6)
    said = record.decode(world.disk.files["beat"])
    assert said is not None
    assert (said["stuck_on"], said["drained"]) == ({"web": [1]}, True)
    assert page(world)["groups"][0]["stuck"] == "web-run: 7 (dd, state D)"
    assert page(world)["spared"] == {"web": ""}
    assert "drained" not in world.disk.files, "a boot mends that"
    leash.report("stuck", text="")
    world.pass_time(1)
    said = record.decode(world.disk.files["beat"])
    assert said is not None
    assert (said["stuck"], said["drained"]) == ({}, False)


def test_who_is_not_shot_in_time_takes_groups_again() -> None:
    world = world_of([1], config=Config(stomith=SHOOTS, stuck_s=STUCK_S))
    stuck_with(world)
    world.pass_time(STOP_LIMIT_S - 1)
    assert world.agent.operations.is_drained
    world.pass_time(world.agent.config.shot_limit_s + 2)
    assert not world.agent.operations.is_drained


def test_nothing_gives_way_without_stomith() -> None:
    world = world_of([1])
    stuck_with(world)
    world.pass_time(70)
    assert world.agent.groups.stuck()
    assert not world.agent.operations.is_drained


@pytest.mark.parametrize(("config", "heir", "spared"), [
    (Config(stomith=SHOOTS), False, "no other node may have it now"),
    (Config(stomith=SHOOTS, stuck_s=0), True, "the configuration has `stuck = 0`"),
])
def test_nor_where_nobody_is_to_be_shot(config: Config, heir: bool, spared: str) -> None:
    world = world_of([1], config=config)
    stuck_with(world, heir)
    world.pass_time(70)
    assert not world.agent.operations.is_drained
    assert page(world)["spared"] == {"web": spared}


def test_a_node_alone_gives_no_way() -> None:
    world = world_of([1], config=Config(stomith=SHOOTS, stuck_s=STUCK_S))
    leash, world.hangs = running(world), True
    leash.report("stuck", text="web-run: 7 (dd, state D)")
    world.pass_time(20)
    assert world.agent.groups.stuck()
    assert not world.agent.operations.is_drained


@pytest.mark.parametrize("level", ["stop", "plan", "test"])
def test_nor_for_a_group_that_is_not_to_run(level: str) -> None:
    world = world_of([1], config=Config(stomith=SHOOTS, stuck_s=STUCK_S))
    leash = stuck_with(world)
    world.disk.files["hactl"] = f"web {level}\n".encode()
    world.until(lambda: world.agent._levels == {"web": level}, 10)
    world.pass_time(5)
    assert world.agent.groups.stuck()
    assert not world.agent.operations.is_drained
    assert leash.told[-1] != "start"


def test_who_gives_way_is_shot_for_what_is_missed_and_not_by_one_that_is_stuck_itself() -> None:
    world = world_of([1], config=Config(stomith=SHOOTS, stuck_s=STUCK_S))
    leash, agent = running(world), world.agent
    agent.snags = Snags(1, STUCK_S, lambda node, group: True, lambda nodes: False)
    said = {"stuck": {"web": "a", "other": "b"}, "drained": True}

    def condemned(**more: Any) -> dict[int, list[str]]:
        stuck: dict[int, Mapping[str, Any]] = {2: {**said, **more}}
        agent.snags.step(world.now(), (), stuck)
        return agent._condemned(world.now(), stuck)

    assert condemned() == {2: ["web"]}
    assert condemned(drained=False) == {}
    leash.report("stuck", text="web-run: 7 (dd, state D)")
    world.pass_time(1)
    assert condemned() == {}


def test_who_may_take_a_group_is_neither_stuck_nor_drained_nor_an_arbitrator() -> None:
    world = world_of([1])
    agent = world.agent
    running(world)
    assert not agent._has_heir(1, "web")
    agent.nodes = frozenset({1, 2})
    alive = agent.ownership.peers.alive
    agent.ownership.peers.alive = lambda now, node: node == 2 or alive(now, node)    # type: ignore[method-assign]
    assert agent._has_heir(1, "web")
    ill: list[Mapping[str, Any]] = [
        {"stuck": {"other": "x"}}, {"drained": True}, {"arbitrator": True}, {"unfit": ["web"]}, {"leaving": True},
    ]
    for said in ill:
        agent.others.records = {2: said}
        assert not agent._has_heir(1, "web")
    assert agent._has_heir(2, "web"), "this node"
    agent.operations.drain(world.now(), True)
    assert not agent._has_heir(2, "web")


def test_what_a_leash_has_left_and_no_sweep_ends_is_said_after_a_while() -> None:
    world = world_of([1])
    leash = running(world)
    world.left = True
    leash.kill()
    world.pass_time(STUCK_S - 1)
    assert world.agent.groups.stuck() == {}
    world.pass_time(2)
    assert world.agent.groups.stuck() == {"web": "a mount"}
    world.left = False
    world.pass_time(1)
    assert world.agent.groups.stuck() == {}


def test_a_group_of_which_a_mount_is_left_is_not_released() -> None:
    world = world_of([1])
    leash = running(world)
    world.left = True
    world.agent.leave("SIGTERM")
    world.until(lambda: leash.gone, 3)
    world.pass_time(5)
    assert world.agent.ownership.held("web")
    world.left = False
    world.until(lambda: world.ended is not None, 3)
    assert (world.ended, leash.told[-1]) == (0, "finish")


def test_an_agent_that_leaves_after_its_lease_waits_for_what_outlives_its_leash() -> None:
    """A process in state D: its next life might not find it, and would say that this one is dead (R4)."""

    def failing(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    world = world_of([1])
    leash = running(world)
    world.left, world.tasks["exchange"] = True, failing
    world.until(lambda: leash.gone, 5)
    world.agent.leave("SIGTERM")
    world.pass_time(5)
    assert world.ended is None
    world.left = False
    world.until(lambda: world.ended is not None, 5)
    assert world.ended == 0


def test_a_group_that_is_only_to_be_tested_is_tested_once() -> None:
    world = world_of([1], hactl=b"web test\n")
    world.until(lambda: bool(world.leashes) and world.leashes[-1].told[-1:] == ["own"], 30)
    world.pass_time(5)
    assert [leash.told for leash in world.leashes] == [["test", "own"]]


def test_a_node_that_joins_the_map_ends_nothing() -> None:
    world = world_of([1])
    leash = running(world)
    world.tasks["nodes"] = lambda: [1, 2]
    world.until(lambda: world.agent.nodes == {1, 2}, 20)
    told = list(leash.told)
    world.until(lambda: world.now() > 60, 120)
    assert world.ended is None
    assert leash.told == told
    assert world.agent.ownership.voters == {1}


def test_a_map_without_this_node_ends_the_life() -> None:
    world = world_of([1])
    leash = running(world)
    world.tasks["nodes"] = lambda: [2]
    world.until(lambda: False, 20)
    assert (world.ended, leash.told[-1]) == (0, "finish")


def test_a_leash_that_is_gone_is_swept_up_and_replaced() -> None:
    world = world_of([1])
    first = running(world)
    first.gone = True
    world.agent.leash_ready("web")
    world.until(lambda: len(world.leashes) == 2, 10)
    assert running(world) is not first


def test_an_edit_of_hactl_is_taken_up_within_a_beat() -> None:
    world = world_of([1])
    leash = running(world)
    world.disk.files["hactl"] = b"web stop\n"
    began = world.now()
    world.until(lambda: leash.gone, 10)
    assert world.now() - began < 2 * world.agent.timing.beat_s
    assert json.loads(world.disk.files["hactl.version"])[0] == 2


def test_a_group_in_maintenance_is_left_alone_and_taken_up_again() -> None:
    world = world_of([1])
    leash = running(world)
    world.disk.files["hactl"] = b"web start maintenance\n"
    world.until(lambda: leash.told[-1] == "hold", 5)
    world.disk.files["cltab"] = CLTAB + b"web:web-more:start:respawn:sleep 1d\n"
    world.pass_time(10)
    assert leash.told[-1] == "hold", "other entries change nothing"
    assert page(world)["groups"][0]["on_hold"] is True
    world.disk.files["hactl"] = b"web start\n"
    world.until(lambda: leash.told[-1] == "start", 5)
    world.pass_time(5)
    assert leash.told == ["test", "own", "start", "hold", "start"]
    assert page(world)["groups"][0]["on_hold"] is False


def test_a_group_in_maintenance_is_not_started() -> None:
    world = world_of([1], hactl=b"web start maintenance\n")
    world.pass_time(20)
    assert not world.leashes
    world.disk.files["hactl"] = b"web start\n"
    running(world)


def test_a_leaving_agent_stops_what_is_in_maintenance() -> None:
    world = world_of([1])
    leash = running(world)
    world.disk.files["hactl"] = b"web start maintenance\n"
    world.until(lambda: leash.told[-1] == "hold", 5)
    world.agent.leave("SIGTERM")
    world.until(lambda: False, 5)
    assert (world.ended, leash.told[-2:], leash.gone) == (0, ["stop", "finish"], True)


def test_a_disk_that_takes_nothing_ends_no_life_for_the_number_of_a_table_or_a_drain(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    world = world_of([1, 2], config=Config(voters=frozenset({1})))
    leash, agent = running(world), world.agent
    world.until(lambda: agent.tables.cltab.version.number == 1, 10)
    monkeypatch.setattr(agent.tables, "_alive", lambda node: True)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(world.disk, "replace", full)
        agent.tables.cltab.heard(2, [5, agent.tables.cltab.version.checksum, ""])    # it was numbered elsewhere
        world.pass_time(3)
        assert (world.ended, leash.gone, agent.tables.cltab.version.number) == (None, False, 1)
        assert caplog.text.count("cltab cannot be written: No space left on device") == 1
        agent.drain()
        world.until(lambda: leash.gone, 10)
        assert world.ended is None
        assert leash.told[-1] == "finish", "in order"
        assert "the next life of this agent will not know of it: No space left on device" in caplog.text
        assert "drained" not in world.disk.files["history"].decode()
    world.pass_time(12)
    written = json.loads(world.disk.files["cltab.version"])[0]
    assert agent.tables.cltab.version.number == written == 5, "it is tried again"
    assert "up, drained" in world.disk.files["history"].decode()


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_a_disk_that_takes_no_marker_ends_no_life_and_no_group(
    content: bytes | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    """What is lost of the own voter is one vote, until the disk takes what it has to remember."""
    world = world_of([1], config=Config(voters=frozenset({1})))
    leash = running(world)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "voter")

    with monkeypatch.context() as broken:
        broken.setattr(world.disk, "replace", full)
        world.disk.files.pop(marker.NAME)
        if content is not None:
            world.disk.files[marker.NAME] = content
        world.pass_time(1.5)
        assert (world.ended, leash.gone) == (None, False)
        assert caplog.text.count("this voter waits for its disk: voter: No space left on device") == 1
    world.until(lambda: marker.decode(world.disk.files.get(marker.NAME, b"")) is not None, 2)
    found = marker.decode(world.disk.files[marker.NAME])
    assert found is not None
    assert (world.ended, found.state) == (None, marker.RECOVERING)


def test_a_disk_that_takes_nothing_is_no_reason_not_to_wait_for_ones_place(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of([1], {"nodes": lambda: [2]})

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(world.disk, "replace", full)
    world.pass_time(10)
    assert world.ended is None
    world.tasks["nodes"] = lambda: [1]
    monkeypatch.undo()
    running(world)


def test_a_hangup_drains_the_node_until_an_operator_ends_that() -> None:
    world = world_of([1])
    leash = running(world)
    world.agent.drain()
    world.until(lambda: leash.gone, 5)
    world.pass_time(10)
    assert len(world.leashes) == 1
    assert world.ended is None
    again = world_of([1], None, None, **{**world.disk.files, "founded": b""})
    again.pass_time(20)
    assert not again.leashes, "it stays so"
    again.disk.files["order"] = json.dumps({"do": "undrain", "group": "", "node": 1, "name": "9"}).encode()
    running(again)
    again.until(lambda: page(again)["orders"] == {"1.9": {"1": ""}}, 5)


TWO = CLTAB + CLTAB.replace(b"web", b"db")


@pytest.mark.parametrize("is_back", [False, True])
def test_a_drained_node_leaves_what_is_in_maintenance_until_that_is_over(is_back: bool) -> None:
    """Nobody else would start it."""
    world = world_of([1], cltab=TWO, hactl=b"web start maintenance\ndb start\n")
    world.disk.files["hactl"] = b"web start\ndb start\n"
    world.until(lambda: len(world.leashes) == 2 and all(leash.told[-1] == "start" for leash in world.leashes), 30)
    web, db = sorted(world.leashes, key=lambda leash: leash.group, reverse=True)
    world.disk.files["hactl"] = b"web start maintenance\ndb start\n"
    world.until(lambda: web.told[-1] == "hold", 5)
    world.agent.drain()
    world.until(lambda: db.gone, 5)
    world.pass_time(60)
    assert (web.told[-1], web.gone, db.told[-1]) == ("hold", False, "finish")
    if is_back:
        world.agent.operations.drain(world.now(), False)
        world.until(lambda: len(world.leashes) == 3, 30)
    world.disk.files["hactl"] = b"web start\ndb start\n"
    world.until(lambda: web.told[-1] != "hold", 5)
    world.pass_time(5)
    assert (web.told[-1], web.gone) == (("start", False) if is_back else ("finish", True))


def test_a_node_that_is_to_be_shot_gives_up_what_is_in_maintenance_as_well() -> None:
    world = world_of([1], config=Config(stomith=SHOOTS), cltab=TWO, hactl=b"web start\ndb start\n")
    world.until(lambda: len(world.leashes) == 2 and all(leash.told[-1] == "start" for leash in world.leashes), 30)
    db, web = sorted(world.leashes, key=lambda leash: leash.group)
    world.disk.files["hactl"] = b"web start\ndb start maintenance\n"
    world.until(lambda: db.told[-1] == "hold", 5)
    world.agent.snags, world.hangs = Snags(1, world.agent.config.stuck_s, lambda *_: True, lambda nodes: False), True
    web.report("stuck", text="web-run: 7 (dd, state D)")
    world.agent.drain()
    world.pass_time(45)
    assert (db.told[-1], web.told[-1]) == ("hold", "finish")
    world.until(lambda: db.told[-1] == "finish", 15)


def test_a_drained_node_takes_over_what_an_earlier_life_left_in_maintenance() -> None:
    world = left(Commit("web", 1, EARLIER), hactl=b"web start maintenance\n", drained=b"")
    leash = world.left_leash
    world.pass_time(60)
    assert (leash.told, leash.gone) == (["hold"], False)


@pytest.mark.parametrize("waits", ["nodes", "whois"])
def test_signals_are_taken_while_the_agent_waits_for_its_place(
    waits: str, caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    world = world_of([1], {waits: lambda: [2] if waits == "nodes" else 0})
    world.pass_time(5)
    assert "waits" in page(world)
    world.agent.clear()
    assert "failures are forgotten" in caplog.text
    world.agent.drain()
    assert "drained: nothing is to run here" in caplog.text
    assert "drained" in world.disk.files, "also for the next life"
    world.pass_time(5)
    world.tasks[waits] = lambda: [1] if waits == "nodes" else 1
    world.until(lambda: "nodes" in page(world) and page(world)["nodes"][0]["drained"], 30)
    world.pass_time(20)
    assert not world.leashes


def fail(world: FakeWorld, leash: FakeLeash) -> None:
    leash._ready([LeashReport("state", world.wall(), level="start", state="FAILED", text="run: exit status 1")])
    world.pass_time(1.0)


def test_a_group_that_fails_is_started_again_here_and_then_goes_elsewhere_until_the_failures_expire() -> None:
    world = world_of([1])
    leash = running(world)
    fail(world, leash)
    assert leash.told == ["test", "own", "start", "stop", "start"]
    assert page(world)["nodes"][0]["failures"]["web"]["count"] == 1
    world.pass_time(60)
    fail(world, leash)
    assert leash.told[-2:] == ["stop", "finish"]
    assert page(world)["nodes"][0]["unfit"] == ["web"]
    shown = page(world)["nodes"][0]["failures"]["web"]
    assert (shown["count"], shown["why"]) == (2, "start failed here: run: exit status 1")
    world.until(lambda: len(world.leashes) == 2, 30)
    third = running(world)
    fail(world, third)
    assert third.told[-1] == "finish", "it failed twice a short while ago"
    fourth = running(world)
    world.pass_time(FORGET_S)
    assert page(world)["nodes"][0]["failures"] == {}
    fail(world, fourth)
    assert fourth.told[-2:] == ["stop", "start"]


def test_a_test_ahead_that_hangs_while_the_group_is_free_has_failed() -> None:
    world = world_of([1])
    world.hangs = True
    world.until(lambda: bool(world.leashes), 30)
    (leash,) = world.leashes
    leash.report("state", level="test", state="FAILED", text="fit: no answer within 120 s")
    world.until(lambda: leash.told[-1] == "kill", 5)
    assert leash.told == ["test", "kill"]
    world.pass_time(1)
    shown = page(world)["nodes"][0]["failures"]["web"]
    assert (shown["count"], shown["why"]) == (1, "test failed here: fit: no answer within 120 s")
    world.hangs = False
    assert running(world) is not leash, "it is tried again"


def test_a_leash_that_does_not_say_that_it_was_extended_is_killed_when_it_should_have_killed() -> None:
    world = world_of([1])
    leash = running(world)
    world.pass_time(30)
    assert leash.told == ["test", "own", "start"], "as long as it says so it is left alone"
    world.stands = True
    held_s = leash.deadlines[-1]
    world.until(lambda: leash.deadlines[-1] > held_s, 5)
    world.until(lambda: leash.told[-1] == "kill guardian", 10)
    assert leash.told == ["test", "own", "start", "kill", "kill guardian"]
    assert abs(world.now() - (held_s + world.agent.timing.second_s)) < 0.01
    world.stands = False
    assert running(world) is not leash, "the group is started again, in the epoch that it has"
    assert world.leashes[-1].environment["MOSHA_EPOCH"] == leash.environment["MOSHA_EPOCH"]


def test_what_a_leash_said_while_the_agent_stood_still_counts() -> None:
    world = world_of([1])
    leash = running(world)
    told = len(leash.deadlines)
    world.stands = True
    world.until(lambda: len(leash.deadlines) > told, 5)
    world.until(lambda: world.now() > leash.deadlines[told - 1], 10)
    leash._reports.append(LeashReport("extended", world.wall(), deadline=leash.deadlines[-1]))
    world.stands = False
    world.pass_time(30)
    assert leash.told == ["test", "own", "start"]


def test_hactl_says_how_often_a_group_is_started_again() -> None:
    world = world_of([1], hactl=b"web start restarts=0\n")
    leash = running(world)
    fail(world, leash)
    assert leash.told[-1] == "finish"


def test_a_stop_that_fails_is_a_failure_of_its_node_although_all_processes_have_ended() -> None:
    world = world_of([1])
    leash = running(world)
    world.hangs = True
    world.disk.files["hactl"] = b"web stop\n"
    world.until(lambda: leash.told[-2:] == ["stop", "finish"], 30)
    leash.report("state", level="stop", state="FAILED", text="umount: exit status 32")
    leash.report("empty")
    leash.kill()
    world.until(lambda: page(world)["groups"][0]["owner"] is None, 10)
    node = page(world)["nodes"][0]
    assert (node["failures"]["web"]["count"], node["unfit"]) == (1, ["web"])
    assert node["failures"]["web"]["why"] == "stop failed here: umount: exit status 32"


def test_failures_are_forgotten_when_an_operator_says_so() -> None:
    world = world_of([1])
    running(world)
    local = world.agent.groups._local["web"]
    local.failures, local.failed_at, local.unfit_until = 3, world.now(), world.now() + 1000.0
    world.until(lambda: page(world)["groups"][0]["owner"] is None, 10)
    world.agent.clear()
    world.until(lambda: page(world)["groups"][0]["owner"] == 1, 10)


def test_a_round_without_news_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of([1])
    running(world)
    world.pass_time(1)
    due = world.agent.round()
    used, asked = world.disk.used, len(world.asked)
    assert due > world.now()
    with monkeypatch.context() as patch:
        patch.setattr(world.agent.groups, "step", lambda *_: pytest.fail("stepped without news"))
        assert {world.agent.round() for _ in range(100)} == {due}
    assert (world.disk.used, len(world.asked)) == (used, asked)


@pytest.mark.parametrize(("voters", "problem"), [
    ([1, 2], ""), ([1, 9], "not on the map: [9]"), ([1, 2, 3], "one voter at a time"), ([], "the last voter"),
    ([1], ""),
])
def test_an_operators_wish_for_other_voters_is_answered(voters: list[int], problem: str) -> None:
    world = world_of([1, 2, 3], config=Config(voters=frozenset({1})))
    running(world)
    world.disk.files["order"] = json.dumps({"do": "elect", "voters": voters, "name": "mine"}).encode()
    world.until(lambda: page(world)["electorate"]["answer"][:1] == ["mine"], 30)
    shown = page(world)["electorate"]
    assert problem in shown["answer"][1]
    assert bool(problem) is bool(shown["answer"][1])
    assert shown["voters"] == ([1] if problem else voters)
    assert shown["before"] == ([] if problem or voters == [1] else [1])
    assert "order" not in world.disk.files


@pytest.mark.parametrize("founded", [b"7-00000007 1 2 3", b""])
def test_one_of_three_alone_starts_nothing_and_asks_at_a_bounded_rate(founded: bytes) -> None:
    world = world_of([1, 2, 3], founded=founded)
    world.pass_time(60)
    assert not world.leashes
    assert page(world)["quorum"] is False
    assert page(world)["voters"][0]["state"] == ("full" if founded else "recovering")
    assert [node["state"] for node in page(world)["nodes"]] == ["up", "down", "down"]
    asked = sum(key != 1 for _, key, task in world.asked if task == "mark")
    assert 60 <= asked <= 2 * 60 / world.agent.timing.turn_s
    probes = sum(task == "probe" for _, _, task in world.asked)
    assert probes <= 2 * (FAILED_PROBES + 60 / LOOK_OUT_S), "each may be one of 2003 that is down"
    assert all(task in ("mark", "nodes", "whois", "probe") for _, _, task in world.asked)


def test_what_a_node_said_in_a_former_life_is_not_what_it_says_now() -> None:
    before, now = identities.make(2, 3, "b" * 32), identities.make(2, 4, "a" * 32)
    world = world_of([1, 2], config=Config(voters=frozenset({1})))
    running(world)
    agent, said = world.agent, {"identity": before, "up": ["web"]}
    assert agent.others.said_by(world.now(), 2) == {}
    agent.others.records[2] = said
    assert agent.others.said_by(world.now(), 2) == {}, "its slot was not heard"
    agent.ownership.peers.heard(world.now(), 2, slot.Slot(before, 1, 0, 0, 0))
    assert agent.others.said_by(world.now(), 2) == {}, "a voter that came back shows what it has of the dead"
    agent.ownership.peers.beat(world.now(), [2])
    assert agent.others.said_by(world.now(), 2) == said
    agent.ownership.peers.heard(world.now(), 2, slot.Slot(now, 1, 0, 0, 0))
    assert agent.others.said_by(world.now(), 2) == {}, "it lives anew"
    agent.others.records[2] = {**said, "identity": now}
    assert agent.others.said_by(world.now(), 2) == {}
    agent.ownership.peers.beat(world.now(), [2])
    assert agent.others.said_by(world.now(), 2) == {**said, "identity": now}
    world.pass_time(agent.timing.expiry_s + 1)
    assert agent.others.said_by(world.now(), 2) == {}, "it is silent"


def test_an_arbitrator_votes_and_runs_nothing() -> None:
    world = world_of([1], config=Config(arbitrator=True))
    world.pass_time(30)
    assert page(world)["quorum"] is True
    assert not world.leashes
    assert all(not register.epoch for register in world.agent.ownership.records.registers.values())
    said = record.decode(world.disk.files["beat"])
    assert said is not None
    assert said["arbitrator"] is True


def test_clocks_that_go_apart_end_the_identity_and_all_that_runs() -> None:
    world = world_of([1])
    first = running(world)
    identity = world.agent.ownership.identity
    for _ in range(200):
        assert world.ahead_s is not None
        world.ahead_s += 0.05 * world.agent.timing.beat_s / 100      # half a hundredth is what clocks may do
        world.pass_time(world.agent.timing.beat_s / 10)
    assert world.agent.ownership.identity == identity
    assert world.ahead_s is not None
    world.ahead_s -= 0.1
    world.until(lambda: first.gone, 2)
    assert first.told[-1] == "kill"
    second = running(world)
    assert (second.environment["MOSHA_EPOCH"], world.disk.files["state"]) == ("2", b"2\n")
    assert world.agent.ownership.identity != identity
    assert world.ended is None


@pytest.mark.parametrize(("rate", "goes_on"), [(0.009, True), (0.015, False)])
def test_a_short_beat_lets_no_more_pass(rate: float, goes_on: bool) -> None:
    """What two looks may differ by counts once a second, and not once a beat."""
    world = world_of([1], config=Config(timing=Timing(0.05, 0.25)))
    running(world)
    identity = world.agent.ownership.identity
    for _ in range(60):
        assert world.ahead_s is not None
        world.ahead_s += rate * world.agent.timing.beat_s
        world.pass_time(world.agent.timing.beat_s)
    assert (world.agent.ownership.identity == identity) is goes_on


def test_clocks_are_compared_each_second_however_long_a_beat_is() -> None:
    world = world_of([1], config=Config(timing=Timing(10.0, 60.0)))
    first = running(world)
    assert world.ahead_s is not None
    world.ahead_s += 0.1
    world.until(lambda: first.gone, 2.5)
    assert first.told[-1] == "kill"


def test_a_clock_that_could_not_be_seen_is_no_reason() -> None:
    world = world_of([1])
    running(world)
    identity = world.agent.ownership.identity
    world.ahead_s = None
    world.pass_time(3)
    assert world.agent.ownership.identity == identity


def test_a_lease_that_cannot_be_renewed_ends_what_runs_before_a_new_identity_begins() -> None:
    world = world_of([1])
    leash = running(world)
    identity = world.agent.ownership.identity

    def failing(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    began = world.now()
    world.tasks["exchange"] = failing
    world.until(lambda: leash.gone, 5)
    timing = world.agent.timing
    assert world.now() <= began + timing.lease_s
    world.until(lambda: world.agent.ownership.identity != identity, 5)
    del world.tasks["exchange"]
    again = running(world)
    assert again is not leash
    assert again.environment["MOSHA_EPOCH"] == "2"


def test_who_lapses_again_and_again_gives_the_others_a_pause_and_the_first_time_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = world_of([1])
    running(world)
    monkeypatch.setattr(world, "uniform", lambda low, high: high)
    timing = world.agent.timing

    def failing(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    world.pass_time(timing.lost_s)
    world.tasks["exchange"] = failing
    began: list[float] = []

    def is_anew() -> bool:
        return world.agent.ownership.identity.startswith(f"1.{len(began) + 2}.")

    for _ in range(6):
        world.until(is_anew, 20)
        began.append(world.now())
    pauses = [later - earlier - timing.lease_s for earlier, later in zip(began, began[1:])]
    slack_s = 2 * timing.beat_s
    for pause_s, wanted_s in zip(pauses, [0.0, 1.0, 2.0, 4.0, 4.0]):
        assert wanted_s * timing.lease_s <= pause_s <= wanted_s * timing.lease_s + slack_s
    del world.tasks["exchange"]
    running(world)


def test_two_electorates_with_one_number_end_all_identities_and_are_shown() -> None:
    world = world_of([1])
    running(world)
    other = f"1.0.{'d' * 32}"
    world.disk.files[journal.name("7-00000007", other, 0)] = b"".join(
        journal.encode(Commit("voters/1", 1, value)) for value in ("1,2", "1,3")
    )
    assert not page(world)["electorate"]["disputed"]
    world.until(lambda: bool(page(world)["electorate"]["disputed"]), 30)
    begun, leashes = int(world.disk.files["state"]), len(world.leashes)
    world.pass_time(60)
    assert page(world)["electorate"]["disputed"]
    assert len(world.leashes) == leashes, "nothing was started"
    assert int(world.disk.files["state"]) - begun <= 12, "ever longer pauses are between identities"


def lapse(world: FakeWorld) -> None:
    """No voter answers for a while, until the next identity begins."""
    def failing(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    world.tasks["exchange"] = failing
    identity = world.agent.ownership.identity
    world.until(lambda: world.agent.ownership.identity != identity, 10)
    del world.tasks["exchange"]


def test_who_has_lapsed_shows_first_that_it_can_keep_a_lease() -> None:
    """What tests and contends at once, with all the others, keeps a busy machine from ever being less so."""
    world = world_of([1])
    running(world)
    lapse(world)
    began, before, timing = world.now(), len(world.leashes), world.agent.timing
    world.until(lambda: len(world.leashes) > before, 30)
    assert timing.calm_s(1) <= world.now() - began <= timing.calm_s(1) + 2 * timing.beat_s
    running(world)


def test_who_has_lapsed_says_so_as_long_as_it_takes_nothing() -> None:
    """Else others leave the first place in the order to it, and people are told that it could have the group."""
    world = world_of([1])
    running(world)
    assert not said(world)["calm"]
    lapse(world)
    began, timing = world.now(), world.agent.timing
    world.until(lambda: bool(said(world)["calm"]), timing.beat_s)
    why = "node 1: no: the lease of node 1 has lapsed: it takes nothing before it has kept one for a while"
    world.until(lambda: why in explain(page(world), "web"), 2 * timing.beat_s)
    world.until(lambda: not said(world)["calm"], 30)
    assert timing.calm_s(1) <= world.now() - began <= timing.calm_s(1) + 2 * timing.beat_s
    running(world)


def test_who_has_lapsed_is_nobodys_heir_and_the_last_to_shoot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it has kept a lease for a while: who is first frees what nobody takes then."""
    world = world_of([1])
    running(world)
    agent, others = world.agent, [3, 4]
    group = next(name for name in map("g{}".format, range(99)) if preference(name, 1) < min(
        preference(name, node) for node in others))
    monkeypatch.setattr(agent, "_others_for", lambda _: (others, dict.fromkeys([1, *others], 0)))
    monkeypatch.setattr(DiskPaxos, "groups_of", lambda *_: [group])
    assert (agent._shooter_rank(2), agent._may_run(world.now(), group)) == (0, True)
    lapse(world)
    assert (agent._shooter_rank(2), agent._may_run(world.now(), group)) == (len(others), False)
    world.until(lambda: agent._may_run(world.now(), group), agent.timing.calm_s(1) + 2 * agent.timing.beat_s)
    assert agent._shooter_rank(2) == 0


def test_a_node_without_a_vote_that_joins_moves_nothing() -> None:
    world = world_of([1], config=Config(voters=frozenset({1})))
    leash = running(world)
    world.tasks["nodes"] = lambda: [1, 2, 9]
    world.pass_time(20)
    assert (world.ended, leash.gone) == (None, False)
    assert [node["id"] for node in page(world)["nodes"]] == [1, 2, 9]


def test_a_node_that_leaves_the_map_ends_its_life_and_the_next_one_waits() -> None:
    world = world_of([1, 2], config=Config(voters=frozenset({1})))
    leash = running(world)
    world.tasks["nodes"] = lambda: [2]
    world.until(lambda: False, 20)
    assert (world.ended, leash.told[-2:]) == (0, ["stop", "finish"])
    again = world_of([2], None, Config(voters=frozenset({1})), **world.disk.files)
    kept = {name: text for name, text in again.disk.files.items() if name != "hastat.json"}
    again.pass_time(60)
    assert page(again)["waits"] == "node 1 is not on the map [2]"
    assert {task for _, _, task in again.asked} == {"whois", "nodes"}, "it contends for nothing"
    assert {name: text for name, text in again.disk.files.items() if name != "hastat.json"} == kept
    again.tasks["nodes"] = lambda: [1, 2]
    running(again)
    assert "waits" not in page(again)


def test_configured_voters_that_are_not_on_the_map_keep_it_from_running() -> None:
    config = Config(voters=frozenset({1, 9}))
    world = world_of([1, 2], config=config)
    world.pass_time(60)
    assert page(world)["waits"] == "the configuration names voters [9], which are not on the map [1, 2]"
    assert not world.leashes
    assert "voter" not in world.disk.files
    known = world_of([1], config=Config(voters=frozenset({1})))
    running(known)
    later = world_of([1, 2], None, config, **{**known.disk.files, "founded": b""})
    running(later)                                   # its disk knows better: the voters were changed since


def test_after_a_boot_the_disk_counts_for_nobody_while_the_node_waits_for_its_place() -> None:
    known = world_of([1])
    running(known)
    before = marker.decode(known.disk.files["voter"])
    assert before is not None
    assert before.state == FULL
    rebooted = {**known.disk.files, "voter": marker.encode(before._replace(boot="the boot before"))}
    world = world_of([2], None, None, **rebooted)
    world.pass_time(1)
    assert page(world)["waits"] == "node 1 is not on the map [2]"
    seen = marker.decode(world.disk.files["voter"])
    assert seen is not None
    assert seen.state == REJOINING


def test_one_that_is_leaving_takes_nothing_new() -> None:
    world = world_of([1], cltab=CLTAB + b"db:db-run:start:respawn:sleep 1d\n")
    leash = running(world)
    world.agent.leave("SIGTERM")
    world.agent._stop_from = world.now() + 5.0       # as where another node is to come next
    world.disk.files["hactl"] = b"web start\ndb start\n"
    world.pass_time(4)
    assert set(world.agent.tables.hactl.table) == {"web", "db"}
    assert (world.leashes, leash.told) == ([leash], ["test", "own", "start"])
    assert not world.agent.ownership.claims("db")


def show(world: FakeWorld, node: int, counter: int) -> None:
    """That node's agent beats, on this voter."""
    name = slot.file_name("7-00000007", slot.file_of(node))
    content = slot.encode(slot.Slot(f"{node}.1.{node:032x}", counter, 0, 0, 1))
    before = world.disk.files.get(name, b"").ljust(slot.FILE_BYTES, b"\0")
    at = slot.offset_of(node)
    world.disk.files[name] = before[:at] + content + before[at + slot.BYTES :]


def state_of(world: FakeWorld, node: int) -> str:
    return str(next(one["state"] for one in page(world)["nodes"] if one["id"] == node))


def test_on_a_large_map_slots_are_looked_at_in_turn_and_nobody_flaps() -> None:
    world = world_of(list(range(1, 201)), config=Config(voters=frozenset({1})))
    read: list[list[str]] = []

    def exchange(*arguments: Any) -> Any:
        read.append(arguments[2])
        return carry_out(world.disk.files, plans.exchange(*arguments))

    world.tasks["exchange"] = exchange
    running(world)
    beat_s, expiry_s = world.agent.timing.beat_s, world.agent.timing.expiry_s
    some, states = [40, 70, 100, 150, 199], []
    for counter in range(60):
        for node in some:
            show(world, node, counter)
        world.pass_time(beat_s)
        states.append([state_of(world, node) for node in some])
    assert states[20:] == 40 * [5 * ["up"]]
    assert {name for names in read for name in names} == {slot.file_name("7-00000007", index) for index in range(7)}
    assert max(map(len, read)) <= 3, "those of voters and owners, and one"
    world.pass_time(expiry_s + 3 * 7 * beat_s)
    assert state_of(world, 150) == "down"


def test_records_that_cannot_be_read_do_not_keep_others_waiting() -> None:
    nodes = list(range(1, 21))
    world = world_of(nodes, config=Config(voters=frozenset({1})))

    def failing() -> None:
        raise OSError(errno.EIO, "broken")

    world.tasks["said"] = failing
    running(world)
    for node in nodes[1:]:
        show(world, node, 1)
    world.pass_time(5)
    asked = [key for _, key, task in world.asked if task == "said"]
    assert set(asked) == set(nodes[1:])
    assert max(Counter(asked).values()) <= 5 / world.agent.timing.beat_s + 1, "each once a beat"


@pytest.mark.parametrize("arbitrator", [False, True])
def test_the_node_that_should_have_a_dead_owners_group_shoots_first(
    arbitrator: bool, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that are fit have another turn, as for the group; the victim has none; who may not run the group is last."""
    nodes, load, victim = [1, 2, 3, 4, 5], {1: 1, 4: 1, 5: 2}, 4
    turns = {}
    for me in nodes:
        if me != victim:
            world = world_of(nodes, {"whois": partial(int, me)}, Config(voters=frozenset({me}), arbitrator=arbitrator))
            world.until(partial(world.disk.files.__contains__, "hastat.json"), 30)
            others = [node for node in nodes if node != me]
            monkeypatch.setattr(world.agent, "_others_for", lambda _, others=others: (others, load))
            monkeypatch.setattr(world.agent.ownership, "groups_of", lambda *_: ["web", "kv"])
            turns[me] = world.agent._shooter_rank(victim)
    survivors = sorted(turns, key=lambda node: (load.get(node, 0), preference("kv", node)))
    assert [turns[node] for node in survivors] == ([3, 3, 3, 3] if arbitrator else [0, 1, 2, 3])


def test_nobody_waits_for_a_late_owner_to_take_its_own_group() -> None:
    """It looks alive until its lease is over: meanwhile, too, somebody is the first, who looks closely."""
    owner = identities.make(2, 1, f"{2:032x}")
    group = next(name for name in map("g{}".format, range(99)) if preference(name, 2) < preference(name, 1))
    world = world_of([1, 2], config=Config(voters=frozenset({1})))
    world.disk.files[journal.name("7-00000007", owner, 0)] = journal.encode(Commit(group, 1, owner))
    running(world)
    agent, timing = world.agent, world.agent.timing

    def pass_beats(count: int) -> None:
        for _ in range(count):
            show(world, 2, next(counters))
            world.pass_time(timing.beat_s)

    counters = itertools.count(1)
    pass_beats(5)
    assert agent.ownership.owner(world.now(), group) == 2
    assert agent._rank(group) == 1, "each has a group, and its owner comes first for it"
    world.pass_time(timing.late_s)
    assert agent.ownership.peers.alive(world.now(), 2)
    assert agent.ownership.owner(world.now(), group) == 2, "it has not expired"
    assert agent._rank(group) == 0
    pass_beats(2)
    assert agent._rank(group) == 1, "it beats again"
    world.pass_time(timing.expiry_s + timing.beat_s)
    assert agent.ownership.owner(world.now(), group) is None, "it has expired"
    assert agent._rank(group) == 0


@pytest.mark.parametrize(("told", "may"), [({"calm": True}, False), ({"calm": False}, True), ({}, True)])
def test_nobody_waits_for_one_that_takes_nothing_yet(told: dict[str, Any], may: bool) -> None:
    """A record without the word is that of an agent that is older than it."""
    group = next(name for name in map("g{}".format, range(99)) if preference(name, 2) < preference(name, 1))
    world = world_of([1, 2], config=Config(voters=frozenset({1})))
    running(world)
    for counter in range(1, 6):
        show(world, 2, counter)
        world.pass_time(world.agent.timing.beat_s)
    world.agent.others.records[2] = told
    assert world.agent._rank(group) == int(may), "this node has one group, that one none"
    assert world.agent._next(group) == (2 if may else None)


def test_who_shoots_an_owner_tests_its_group_meanwhile_and_counts_no_heavier_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner = identities.make(2, 1, f"{2:032x}")
    config = Config(voters=frozenset({1}), stomith=(parse_level("true %n", {}),))
    world = world_of([1, 2, 3], {"probe": lambda _: False}, config)
    world.disk.files[journal.name("7-00000007", owner, 0)] = journal.encode(Commit("web", 1, owner))
    shots: list[Callable[[Any, OSError | None], None]] = []
    submit = world.submit

    def held_back(key: int, task: str, arguments: list[Any], limit_s: float, answer: Any, *patience_s: float) -> None:
        if task == "shoot":
            shots.append(answer)
        else:
            submit(key, task, arguments, limit_s, answer, *patience_s)

    monkeypatch.setattr(world, "submit", held_back)
    for counter in range(1, 9):
        show(world, 2, counter)
        world.pass_time(world.agent.timing.beat_s)
    assert world.leashes == []
    world.until(lambda: bool(shots), 5)
    world.until(lambda: bool(world.leashes), 0.5)
    world.pass_time(0.1)
    assert world.agent._others_for("web")[1].get(1) is None
    (leash,) = world.leashes
    assert leash.told == ["test"]
    assert leash.ahead
    shots[0]("", None)
    world.until(lambda: leash.told[-1] == "start", 1)
    assert leash.told == ["test", "own", "start"]


def test_an_agent_with_more_to_say_than_its_record_holds_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "BYTES_MAX", 1200)
    names = [f"group-{number}" for number in range(12)]
    table = "".join(f"{name}:{name}-run:start:respawn:sleep 1d\n" for name in names)
    world = world_of([1], cltab=table.encode(), hactl="".join(f"{name} start\n" for name in names).encode())
    world.until(lambda: len(world.leashes) == len(names), 60)
    world.pass_time(5.0)
    assert world.ended is None
    found = record.decode(world.disk.files[record.NAME])
    assert found is not None
    assert found["lacks"][:2] == ["failures", "since"]
    assert {group["state"] for group in page(world)["groups"]} == {"DONE"}


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the agent's whole rounds were."""
    found: list[float] = []
    step = Agent._step

    def noted(self: Agent, now: float) -> None:
        found.append(now)
        step(self, now)

    monkeypatch.setattr(Agent, "_step", noted)
    return found


BEATS = 40


def rest(world: FakeWorld, whole: list[float]) -> int:
    """Whole rounds in that many beats."""
    whole.clear()
    world.pass_time(BEATS * world.agent.timing.beat_s)
    return len(whole)


def test_at_rest_every_other_beat_has_a_whole_round_and_each_a_longer_lease(whole: list[float]) -> None:
    world = world_of([1])
    leash = running(world)
    world.pass_time(10)
    told = len(leash.deadlines)
    assert rest(world, whole) <= 0.75 * BEATS, "and some for files and counters"
    assert len(leash.deadlines) - told >= BEATS - 1


def test_a_group_that_has_not_come_to_its_level_has_whole_rounds(whole: list[float]) -> None:
    world = world_of([1])
    leash = running(world)
    world.pass_time(10)
    leash.report("state", level="start", state="STARTING")
    world.pass_time(1)
    assert rest(world, whole) >= BEATS - 1
    leash.report("state", level="start", state="DONE")
    world.pass_time(1)
    assert rest(world, whole) <= 0.75 * BEATS


def test_at_rest_an_order_is_taken_with_the_next_beat_and_an_edit_with_the_one_after_it() -> None:
    world = world_of([1])
    leash = running(world)
    for beat in range(5):
        world.pass_time(10 + beat * 0.3 * world.agent.timing.beat_s)
        world.disk.files["order"] = json.dumps({"do": "clear", "group": "", "node": 1, "name": f"{beat}"}).encode()
        world.pass_time(1.1 * world.agent.timing.beat_s)
        assert f"1.{beat}" in world.agent.operations.orders.page()
    world.pass_time(10)
    world.disk.files["hactl"] = b"web stop\n"
    world.until(lambda: "stop" in leash.told, 2.1 * world.agent.timing.beat_s)


def test_at_rest_an_emptied_disk_is_noticed_with_the_next_beat() -> None:
    world = world_of([1])
    running(world)
    for beat in range(4):
        world.pass_time(30 + beat * 0.3 * world.agent.timing.beat_s)
        losses = world.agent.voter.losses
        world.disk.files.clear()
        world.pass_time(1.1 * world.agent.timing.beat_s)
        assert world.agent.voter.losses > losses


def test_at_rest_clocks_that_go_apart_end_the_identity_with_the_next_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of([1])
    leash = running(world)
    world.pass_time(10.3)
    identity = world.agent.ownership.identity
    monkeypatch.setattr(world, "skew", lambda: 5.0)
    world.pass_time(1.1 * world.agent.timing.beat_s)
    assert leash.told[-1] == "kill"
    assert world.agent.ownership.void() or world.agent.ownership.identity != identity


def test_a_failure_is_one_line_of_the_log_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world = world_of([1])
    leash = running(world)
    leash.report("state", level="start", state="FAILED", text="run: exit status 1")
    world.pass_time(1)
    said = [record.getMessage() for record in caplog.records if "FAILED" in record.getMessage()]
    assert said == [f"{leash.group}: start FAILED: run: exit status 1"]
