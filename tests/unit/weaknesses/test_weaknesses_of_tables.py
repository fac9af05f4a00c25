"""What files did to OpenMosix::HA 0.555, by the numbers of docs/weaknesses.md, and how the agent takes them.

``w`` is a weakness, ``f`` a row of the table of bad input. One node alone, in virtual time.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mosha.platform.store import LocalStore
from mosha.replication import SETTLE_S, Replica
from mosha.tables import clstat
from mosha.tables.hactl import Hactl, parse, taken_away
from tests.unit.agent.fake_world import FakeLeash, FakeWorld
from tests.unit.agent.test_replication import Disks
from tests.unit.agent.test_rounds import CLTAB, page, running, world_of

DB = b"db:db-run:start:respawn:sleep 2d\n"
LATE_S = 3600.0


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", logger="mosha")
    return caplog


def untouched(world: FakeWorld, leash: FakeLeash, seconds: float = 30.0) -> None:
    """The group runs on, and so does the agent."""
    told = list(leash.told)
    world.pass_time(seconds)
    assert (leash.told, leash.gone, world.ended, len(world.leashes)) == (told, False, None, 1)
    assert leash.deadlines[-1] > world.now()


def edited(table: str, content: bytes) -> tuple[FakeWorld, FakeLeash]:
    """A group runs, and then somebody writes that table."""
    world = world_of([1])
    leash = running(world)
    world.pass_time(2)
    world.disk.files[table] = content
    return world, leash


def obeys(world: FakeWorld, leash: FakeLeash) -> None:
    """Whatever is wrong elsewhere, a group is stopped that shall stop."""
    world.disk.files["hactl"] = b"web stop\n"
    world.until(lambda: leash.gone, 5)
    assert leash.told[-2:] == ["stop", "finish"]
    assert world.ended is None


@pytest.mark.parametrize("line", [b"new:n:start:respwan:true\n", b"new:n:start::true\n", b"new:n:start\n"])
def test_w01_f09_a_bad_mode_is_refused_and_ends_nobody(line: bytes, said: pytest.LogCaptureFixture) -> None:
    world, leash = edited("cltab", CLTAB + line)
    untouched(world, leash)
    assert "cltab:3: " in said.text
    assert world.disk.files["cltab.good"] == CLTAB
    obeys(world, leash)


@pytest.mark.parametrize("name", [b"we(b", b"*", b"web)|(", b"[", b"\\"])
def test_w03_f01_a_name_is_never_a_pattern(name: bytes, said: pytest.LogCaptureFixture) -> None:
    """Nor in another table."""
    world, leash = edited("hactl", b"web start\n" + name + b" start\n")
    untouched(world, leash)
    assert "hactl:2: bad group" in said.text


@pytest.mark.parametrize("content", [b"", b"\n\n", b" \t\n"])
def test_w04_an_empty_table_stops_nothing(content: bytes, said: pytest.LogCaptureFixture) -> None:
    for table in ("hactl", "cltab"):
        world, leash = edited(table, content)
        untouched(world, leash, 5 * SETTLE_S)
    assert "empty; the last good one stays in force" in said.text


def test_w04_a_date_decides_nothing(tmp_path: Path) -> None:
    """Neither one in the future, nor one in the past: the later edit is the later edit."""
    disks = Disks(tmp_path, 3, "kv start\n")
    disks.talk()
    for node, content, date in ((0, "kv one\n", 4e9), (1, "kv two\n", 1e9), (2, "kv three\n", 1e8)):
        disks.edit(node, content)
        os.utime(disks.directories[node] / "hactl", (date, date))
        disks.talk()
        assert disks.contents() == [content] * 3


def test_w04_two_edits_at_once_are_a_conflict_and_neither_is_lost(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 2, "kv start\n")
    disks.talk()
    for node in (0, 1):
        disks.edit(node, f"kv level{node}\n")
        disks.nodes[node].look(may_number=True)
    assert any("different contents" in line for line in disks.talk())
    assert disks.contents() == ["kv level0\n", "kv level1\n"]


def test_w18_of_an_edit_only_the_group_hears_that_it_is_about() -> None:
    world = world_of([1], cltab=CLTAB + DB, hactl=b"web start\ndb start\n")
    world.until(lambda: [leash.told[-1:] for leash in world.leashes] == [["start"]] * 2, 30)
    leashes = {leash.group: leash for leash in world.leashes}
    told = list(leashes["db"].told)
    world.disk.files["cltab"] = CLTAB.replace(b"1d", b"3d") + DB
    world.until(lambda: len(leashes["web"].told) > 2, 5)
    world.pass_time(10)
    assert leashes["db"].told == told


def test_w19_f11_f12_a_changed_command_is_taken_up_and_a_bad_edit_ends_no_control() -> None:
    """Also rows 11 and 12 of the table of bad input."""
    world, leash = edited("cltab", CLTAB.replace(b"1d", b"2d"))
    world.until(lambda: leash.told[-2:] == ["start", "start"], 5)
    world.disk.files["cltab"] = CLTAB + CLTAB
    untouched(world, leash)
    obeys(world, leash)


def test_w26_edits_within_one_instant_are_all_seen(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 1, "kv start\n")
    disks.talk()
    for level in ("one", "two", "six"):              # of one length, and one date
        disks.edit(0, f"kv {level}\n")
        os.utime(disks.directories[0] / "hactl", (1e9, 1e9))
        disks.talk()
        assert disks.nodes[0].table == {"kv": level}


@pytest.mark.parametrize("table", [b"", b"Cluster::Init::Gro", b"\xff\0", b"Cluster::Init::Group web start DONE\n" * 2])
def test_w28_f07_its_own_clstat_tells_the_agent_nothing(table: bytes) -> None:
    """Also rows 7 and 8: what people read is written, and never believed."""
    world, leash = edited("clstat", table)
    world.disk.files["hastat"] = world.disk.files["hastat.json"] = table
    untouched(world, leash)
    assert [stat.state for stat in clstat.parse(world.disk.files["clstat"].decode("latin-1"))] == ["DONE"]
    assert b'level => "start"' in world.disk.files["hastat"]
    assert page(world)["groups"][0]["state"] == "DONE"


def test_w31_zero_is_a_name_and_a_level_is_no_pattern() -> None:
    cltab = b"0:z-fit:test:test:true\n0:z:0:respawn:sleep 1\nweb:w:start:respawn:sleep 1\n"
    world = world_of([1], cltab=cltab, hactl=b"0 0\nweb s\n")
    world.until(lambda: {(leash.group, *leash.told[-1:]) for leash in world.leashes} == {("0", "0"), ("web", "s")}, 30)

    def shown() -> list[str]:
        return [f"{group['name']} {group['level']} {group['state']}" for group in page(world)["groups"]]

    world.until(lambda: shown() == ["0 0 DONE", "web s DONE"], 5)


def test_w32_hastat_has_a_twin_that_nobody_has_to_evaluate() -> None:
    world = world_of([1])
    running(world)
    world.until(lambda: [group["state"] for group in page(world)["groups"]] == ["DONE"], 5)
    assert json.loads(world.disk.files["hastat.json"])["groups"][0]["owner"] == 1


def test_w33_a_group_that_cannot_be_started_here_is_not_taken_for_started(
    monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    world = world_of([1])

    def fails(*_: object, **__: object) -> FakeLeash:
        raise OSError(11, "no process")

    with monkeypatch.context() as patch:
        patch.setattr(world, "start_leash", fails)
        world.until(lambda: "not tried again" in said.text, 30)
        assert "web" in world.agent.groups.unfit(world.now())
        assert "it cannot be started here (no process)" in said.text
        assert world.ended is None
    running(world)


@pytest.mark.parametrize("content", [b"web\n", b"web start\nkv\n"])
def test_f02_a_group_without_a_level_is_refused(content: bytes, said: pytest.LogCaptureFixture) -> None:
    world, leash = edited("hactl", content)
    untouched(world, leash)
    assert "no level for group" in said.text


@pytest.mark.parametrize("missing", [("hactl",), ("cltab",), ("cltab", "hactl")])
def test_f03_without_tables_at_the_start_it_waits_for_them(missing: tuple[str, ...]) -> None:
    world = world_of([1])
    there = {name: world.disk.files.pop(name) for name in missing}
    world.pass_time(20)
    assert world.ended is None
    assert not any("start" in leash.told for leash in world.leashes) or "hactl" not in missing
    world.disk.files.update(there)
    world.until(lambda: any(leash.told[-1:] == ["start"] for leash in world.leashes), 120)


def test_f04_a_table_that_is_a_directory_is_no_table(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 1, "kv start\n")
    disks.talk()
    (disks.directories[0] / "hactl").unlink()
    (disks.directories[0] / "hactl").mkdir()
    assert any("Is a directory (the last good one stays in force)" in line for line in disks.talk())
    assert disks.nodes[0].table == {"kv": "start"}


def test_f05_an_edit_after_one_from_the_future_wins(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 3, "g start\n")
    disks.talk()
    disks.edit(0, "g other\n")
    os.utime(disks.directories[0] / "hactl", (4e9, 4e9))
    disks.talk()
    disks.edit(1, "g stop\n")
    disks.talk()
    assert disks.contents() == ["g stop\n"] * 3


@pytest.mark.parametrize(("table", "half"), [
    ("hactl", b"db start\n"), ("hactl", b"db start\nwe"), ("hactl", b"db start\nweb st"), ("cltab", DB),
    ("cltab", DB + CLTAB[:-12]), ("cltab", DB + CLTAB[:30]), ("hactl", b"# web start\n"),
])
def test_f06_half_of_a_table_is_not_taken_up_while_the_rest_is_written(table: str, half: bytes) -> None:
    """A slow copy in place, which pauses for 8 s."""
    whole = {"hactl": b"db start\nweb start\n", "cltab": DB + CLTAB}
    world = world_of([1], None, None, **whole)
    world.until(lambda: [leash.told[-1:] for leash in world.leashes] == [["start"]] * 2, 30)
    told = [list(leash.told) for leash in world.leashes]
    world.pass_time(2)
    world.disk.files[table] = half
    world.pass_time(8)
    world.disk.files[table] = whole[table] + b"# copied\n"
    world.pass_time(2 * SETTLE_S)
    assert [leash.told for leash in world.leashes] == told
    assert world.disk.files[f"{table}.good"].endswith(b"# copied\n")


def test_f06_what_stands_still_is_meant() -> None:
    """And a group that shall stop, and says so, stops at once."""
    world, leash = edited("hactl", b"# web is not wanted any more\n")
    began = world.now()
    world.until(lambda: leash.gone, 2 * SETTLE_S)
    assert SETTLE_S <= world.now() - began < SETTLE_S + 3
    quick, other = edited("hactl", b"web stop\n")
    began = quick.now()
    quick.until(lambda: other.gone, 5)
    assert quick.now() - began < 2


def test_f06_what_changes_begins_to_stand_still_anew(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    replica: Replica[Hactl] = Replica(store, "hactl", parse, {}, tmp_path, taken_away)
    store.replace("hactl", b"a start\nb start\n")
    replica.look(may_number=True)
    edits = [(0.0, b"", "ab"), (6.0, b"a", "ab"), *((now, b"a start\n", "ab") for now in (12.0, 21.9))]
    for now, content, left in [*edits, (22.0, b"a start\n", "a")]:
        store.replace("hactl", content)
        replica.look(True, now)
        assert "".join(replica.table) == left, now


@pytest.mark.parametrize("text", [b"Cluster::Init::Group web\n", b"x", b"\xff" * 100])
def test_f08_a_short_line_in_what_another_node_shows_is_that_nodes_matter(text: bytes) -> None:
    """Its record is not read, and its groups are by the voters."""
    def said_by_another(*_: object) -> bytes:
        return text

    world = world_of([1, 2, 3])
    world.tasks["said"] = said_by_another
    world.pass_time(10)
    assert world.ended is None


def test_f07_f09_f11_one_bad_edit_after_the_other() -> None:
    """In one run, and a group that shall stop stops after all."""
    world, leash = edited("clstat", b"Cluster::Init::Group we")
    world.disk.files["cltab"] = CLTAB + b"new:n:start:respwan:x\n"
    untouched(world, leash)
    world.disk.files["cltab"] = CLTAB + CLTAB
    untouched(world, leash)
    obeys(world, leash)
