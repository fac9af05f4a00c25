"""Nodes of 2003: who is one, what is left to them, what they are to see first; in virtual time."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from mosha import elders, novelties, why
from mosha.config import Config
from mosha.elders import AGENTS, LOOK_S, OURS, PLAN_S, Elders
from mosha.ownership.journal import Commit
from mosha.platform import plans
from mosha.platform.machine import run
from mosha.platform.store import LocalStore
from mosha.platform.world import PROBES
from mosha.status import table
from mosha.timing import Timing
from tests.unit.agent.fake_world import FakeWorld, MemoryStore, carry_out
from tests.unit.agent.test_rounds import EARLIER, left, page, running, world_of

WANTED = {"web": "start", "job": "start"}
BEAT_S = 0.5


def stat(**groups: str) -> bytes:
    """A clstat: ``web="start DONE"``."""
    return "".join(f"Cluster::Init::Group {name} {said}\n" for name, said in groups.items()).encode()


class Map:
    """Other nodes, of which each answers at once or not at all; node 1 looks."""

    def __init__(self, **clstats: bytes | None) -> None:
        """``n2=…``: the clstat of node 2, None for none."""
        self.time_s = 100.0
        self.disks = {int(name[1:]): {} if text is None else {"clstat": text} for name, text in clstats.items()}
        self.down: set[int] = set()
        self.unreadable: set[int] = set()
        self.known: set[int] = set()                 # nodes on which an agent of today was seen
        self.asked: list[tuple[int, str]] = []
        self.var = MemoryStore()
        self.begin()

    def begin(self) -> None:
        """A life."""
        self.elders = Elders(1, self, lambda: self.known, self.known.__contains__, lambda _: "")  # type: ignore[arg-type]

    def now(self) -> float:
        return self.time_s

    def submit(self, key: int, task: str, arguments: list[Any], limit_s: float, answer: Any) -> None:
        self.asked.append((key, task))
        if task == "probe":
            assert key == PROBES
            answer(arguments[0] not in self.down, None)
        elif key in self.unreadable | self.down:
            answer(None, OSError(errno.EAGAIN, "Resource temporarily unavailable"))
        else:
            answer(carry_out(self.disks[key], plans.TASKS[task](*arguments)), None)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / BEAT_S)):
            self.time_s += BEAT_S
            self.elders.beat(self.time_s, frozenset({1, *self.disks}))

    def allowed(self, held: tuple[str, ...] = (), begun: tuple[str, ...] = ()) -> set[str]:
        return set(self.elders.allow(WANTED, (*held, *begun).__contains__, begun.__contains__))

    def planned(self, *held: str) -> set[str]:
        return set(self.elders.planned(self.time_s, held))


def test_a_node_with_a_clstat_and_no_file_of_today_is_one() -> None:
    of = Map(n2=stat(web="start DONE"), n3=None, n4=stat(web="start DONE"))
    of.disks[4][OURS[0]] = b"marker"
    of.pass_time(2.0)
    assert of.elders.groups().keys() == {2}
    assert of.allowed() == {"job"}


@pytest.mark.parametrize("name", OURS)
def test_each_file_of_today_says_that_it_is_none(name: str) -> None:
    files = {"clstat": stat(web="start DONE"), name: b""}
    assert carry_out(files, plans.elder(list(OURS))) == [None]
    assert not elders.are_here(MemoryStore(**files))
    assert elders.are_here(MemoryStore(clstat=b""))


def test_a_directory_that_cannot_be_read_makes_nobody_one_and_is_waited_for_only_so_long() -> None:
    of = Map(n2=stat(web="start DONE"))
    of.unreadable.add(2)
    of.pass_time(2 * LOOK_S)
    assert of.allowed() == set(), "it is not known yet what it has"
    of.pass_time(2 * LOOK_S)
    assert not of.elders.present
    assert of.allowed() == {"web", "job"}
    of.unreadable.clear()
    of.pass_time(6.0)
    assert of.allowed() == {"job"}, "it is asked again"


def test_nothing_is_begun_before_each_unknown_node_was_looked_at_or_is_down() -> None:
    of = Map(n2=stat(), n3=None, n4=None)
    of.down.add(3)
    of.known.add(4)
    of.unreadable.add(2)
    of.pass_time(BEAT_S)
    assert of.allowed() == set()
    assert of.allowed(held=("web",)) == {"web"}, "what it owns goes on"
    of.unreadable.clear()
    of.pass_time(LOOK_S)
    assert of.allowed() == {"web", "job"}
    assert (3, "elder") not in of.asked, "nobody waits for a dead node's files"
    assert (4, "elder") not in of.asked


def test_a_cluster_of_today_asks_nobody() -> None:
    of = Map(n2=None, n3=None)
    of.known |= {2, 3}
    of.pass_time(60.0)
    assert of.asked == []
    assert of.allowed() == {"web", "job"}


def test_a_life_knows_what_the_one_before_it_knew_and_waits_for_nobody() -> None:
    of = Map(n2=None, n3=None)
    of.known |= {2, 3}
    of.pass_time(BEAT_S)
    of.known.clear()
    of.unreadable |= {2, 3}
    of.begin()
    of.pass_time(BEAT_S)
    assert of.asked == []
    assert of.allowed() == {"web", "job"}


def test_of_a_node_that_came_later_or_back_onto_the_map_nothing_is_known() -> None:
    of = Map(n2=None, n3=stat(web="start DONE"))
    of.known |= {2, 3}
    of.pass_time(BEAT_S)
    of.known.clear()
    del of.disks[3]
    of.pass_time(BEAT_S)
    of.disks |= {3: {"clstat": stat(web="start DONE")}, 4: {"clstat": stat(job="start DONE")}}
    of.begin()
    of.pass_time(BEAT_S)
    assert of.elders.groups().keys() == {3, 4}
    assert of.allowed() == set()


@pytest.mark.parametrize("text", [b"", b"2 3", b"2 x\n", b"2 -3\n", b"\xff\n", b"2" * 70_000 + b"\n"])
def test_what_is_kept_of_agents_and_is_not_whole_says_nothing(text: bytes) -> None:
    of = Map(n2=None, n3=None)
    of.var.files[AGENTS] = text
    of.unreadable |= {2, 3}
    of.begin()
    of.pass_time(BEAT_S)
    assert of.allowed() == set()


def test_a_full_disk_only_makes_the_next_life_ask() -> None:
    class Full(MemoryStore):
        def replace(self, name: str, content: bytes, durable: bool = False) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    of = Map(n2=None)
    of.var = Full()
    of.known.add(2)
    of.begin()
    of.pass_time(BEAT_S)
    assert of.allowed() == {"web", "job"}


def test_what_it_has_is_left_to_it_while_its_node_is_up_however_old_and_readable() -> None:
    of = Map(n2=stat(web="test STARTING", job="stop DONE", old="start CONFIGURED"), n3=None)
    of.known.add(3)
    of.pass_time(2.0)
    assert of.allowed() == {"job"}
    of.unreadable.add(2)
    of.pass_time(300.0)
    assert of.allowed() == {"job"}, "what cannot be read says nothing"
    of.unreadable.clear()
    of.disks[2]["clstat"] = b"Cluster::Init::Group we"
    of.pass_time(10.0)
    assert of.allowed() == {"job"}, "nor does half a file"
    of.down.add(2)
    of.pass_time(2 * LOOK_S)
    assert of.allowed() == {"job"}, "one answer means nothing, nor do two"
    of.pass_time(LOOK_S)
    assert of.allowed() == {"web", "job"}
    assert of.elders.present, "it is on the map still"


def test_what_runs_here_stays_and_what_is_only_planned_here_yields_to_what_runs_there() -> None:
    of = Map(n2=stat(web="plan DONE"))
    of.pass_time(2.0)
    assert of.allowed(held=("web",)) == {"web", "job"}, "that one stops it when it sees this node's plan"
    of.disks[2]["clstat"] = stat(web="start STARTING")
    of.pass_time(LOOK_S)
    assert of.allowed(held=("web",)) == {"job"}
    assert of.allowed(begun=("web",)) == {"web", "job"}


def test_what_is_won_stays_at_plan_until_each_has_seen_it_and_has_it_not() -> None:
    of = Map(n2=stat(), n3=stat())
    of.pass_time(2.0)
    assert of.planned("web") == {"web"}
    of.disks[3]["clstat"] = stat(web="plan DONE")
    of.pass_time(PLAN_S + 2 * LOOK_S)
    assert of.planned("web") == {"web"}, "another one plans it"
    of.disks[3]["clstat"] = stat(web="stop DONE")
    of.pass_time(LOOK_S)
    assert of.planned("web") == set()
    assert of.planned() == set()
    of.unreadable.add(2)
    assert of.planned("web") == {"web"}
    of.pass_time(PLAN_S + 2 * LOOK_S)
    assert of.planned("web") == {"web"}, "one that is up was not read since"
    of.down.add(2)
    of.pass_time(3 * LOOK_S)
    assert of.planned("web") == set()


def test_the_quorum_of_2003_follows_every_step_and_stops_all() -> None:
    of = Map(n2=stat(), n3=stat(), n4=stat(), n5=stat())
    of.pass_time(2.0)
    assert of.elders.lost is None
    of.down |= {2, 3}
    of.pass_time(4.0)
    assert of.elders.lost is None, "5 -> 3"
    of.down.add(4)
    of.pass_time(4.0)
    assert of.elders.lost is None, "3 -> 2: 2 is 0.6 of 3 and more"
    of.down.add(5)
    of.pass_time(4.0)
    assert of.elders.lost == (1, 2)
    assert of.allowed(begun=("web",)) == set()
    of.down.discard(5)
    of.pass_time(LOOK_S)
    assert of.elders.lost is None


def test_it_is_none_any_more_when_an_agent_of_today_is_seen_there() -> None:
    of = Map(n2=stat(web="start DONE"))
    of.pass_time(2.0)
    of.known.add(2)
    of.pass_time(BEAT_S)
    assert not of.elders.present
    assert of.allowed() == {"web", "job"}


# ---- the whole agent ------------------------------------------------------------------------------------------


def mixed(clstat: list[bytes]) -> FakeWorld:
    """Node 1, the only voter, and node 2, whose agent is of 2003; ``clstat`` is what it has, changed at will."""
    tasks = {"probe": lambda _: True, "elder": lambda _: [clstat[0], "", "a checksum"]}
    return world_of([1, 2], tasks, Config(voters=frozenset({1})))


def test_what_one_of_2003_runs_is_shown_and_not_started() -> None:
    world = mixed([stat(web="start DONE")])
    world.pass_time(30.0)
    assert world.leashes == []
    assert world.disk.files["clstat"] == b""
    found = page(world)
    (group,) = found["groups"]
    assert (group["owner"], group["level"], group["state"], group["epoch"]) == (2, "start", "DONE", None)
    assert [node["state"] for node in found["nodes"]] == ["up", "2003"]
    shown = table(found)
    assert "node 2 runs OpenMosix::HA of 2003: while it is on the map, only what that promises is promised" in shown
    assert "CONFLICT: hactl of node 2, of 2003, is not what is in force" in shown
    assert why.explain(found, "web")[0] == (
        "web is on node 2: start DONE; that node runs OpenMosix::HA of 2003, which decides for itself"
    )
    assert b'web => { 2 => { level => "start", state => "DONE" } }' in world.disk.files["hastat"]


def test_a_group_is_at_plan_for_some_seconds_before_it_is_started() -> None:
    clstat = [stat()]
    world = mixed(clstat)
    world.until(lambda: world.disk.files.get("clstat") == stat(web="plan DONE"), 30)
    planned_at = world.now()
    assert "it stays at plan until each node of 2003 has seen that" in "\n".join(why.explain(page(world), "web"))
    running(world)
    assert PLAN_S - 1.0 <= world.now() - planned_at <= PLAN_S + 2 * LOOK_S + 1.0
    clstat[0] = stat(web="plan DONE")
    world.pass_time(20.0)
    assert world.leashes[-1].told[-1] == "start", "what runs here is not given up for what is seen there"


def test_one_that_comes_between_keeps_it() -> None:
    clstat = [stat()]
    world = mixed(clstat)
    world.until(lambda: world.disk.files.get("clstat") == stat(web="plan DONE"), 30)
    clstat[0] = stat(web="start STARTING")
    world.until(lambda: world.disk.files["clstat"] == b"", 10)
    world.pass_time(20.0)
    assert all("own" not in leash.told and "start" not in leash.told for leash in world.leashes)


def test_what_they_do_not_know_is_said_while_there_is_one() -> None:
    world = mixed([stat()])
    world.pass_time(10.0)
    assert page(world)["elders_unknown"] == []
    world.disk.files["hactl"] = b"web start sticky\n"
    world.until(lambda: bool(page(world).get("elders_unknown")), 10)
    said = table(page(world)).splitlines()
    line = "hactl: line 1: sticky: 2003 knows no options after a level"
    assert [one for one in said if line in one] == [f"not for nodes of 2003: {line}"]


CLTAB = """\
# one
  # two
web:fit:test:test:true
web:look:start:monitor=30:true
web:run:start:respawn:true
  # three
:::stop:TERM 0
:::log:/log
"""


def test_what_is_new_in_tables_and_settings() -> None:
    unknown = "so no tell works any more"
    assert novelties.of_cltab(CLTAB) == [
        "cltab: line 4: 2003 knows no mode monitor: its clinit dies when it starts that entry",
        f"cltab: line 6: 2003 takes an indented comment for an entry: this one has the tag of line 2, {unknown}",
        "cltab: line 7: 2003 knows no setting stop: it does as without it",
    ]
    assert novelties.of_cltab("web:fit:test:test:true\r\n") == [
        "cltab: line 1: 2003 leaves the carriage return at its end in the command",
    ]
    assert novelties.of_hactl("# kv start sticky\nkv start # sticky\nweb stop\n") == []
    found = novelties.of_hactl("web start sticky fenced\n" * 30)
    assert found[0] == "hactl: line 1: sticky fenced: 2003 knows no options after a level"
    assert found[novelties.SHOWN_MAX :] == ["and 20 more"]
    assert novelties.of_hactl("web.1 up.1\nweb-2 start\nkv start\n") == []
    assert novelties.of_hactl("web.1 start\nweb-1 start\n") == [
        "hactl: line 1: 2003 takes web.1 for a pattern, and group web-1 for it as well",
    ]
    assert novelties.of_settings(Config()) == []
    assert len(novelties.of_settings(Config(timing=Timing(2.0, 10.0)))) == 1


@pytest.mark.parametrize("there", [b"", stat(web="plan DONE"), stat(web="start DONE")])
def test_what_an_earlier_life_left_goes_on_at_once_whatever_one_of_2003_has(there: bytes) -> None:
    world = left(Commit("web", 1, EARLIER), config=Config(voters=frozenset({1})))
    world.tasks |= {"nodes": lambda: [1, 2], "probe": lambda _: True, "elder": lambda _: [there, "", ""]}
    (leash,) = world.leashes
    world.until(lambda: len(leash.deadlines) > 1, 2)
    world.pass_time(2 * PLAN_S)
    assert world.agent.elders.present
    assert (leash.told, world.leashes) == ([], [leash])
    assert world.disk.files["clstat"] == stat(web="start DONE")


def test_the_first_clstat_of_a_next_life_has_what_goes_on() -> None:
    """One of 2003 begins what no clstat has: it shows before this life knows that the group is its own."""
    world, seen = left(Commit("web", 1, EARLIER)), []

    def is_ours() -> bool:
        text = world.disk.files.get("clstat")
        seen.extend([text] if text is not None and text not in seen else [])
        return len(world.leashes[0].deadlines) > 1

    world.until(is_ours, 2)
    assert seen == [stat(web="start DONE")]


def test_an_agent_does_not_begin_where_one_of_2003_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    var = tmp_path / "var/mosix-ha"
    var.mkdir(parents=True)
    (var / "clstat").write_bytes(stat(web="start DONE"))
    monkeypatch.setattr("mosha.platform.machine.Machine._catch_signals", lambda _: None)
    monkeypatch.setattr("mosha.platform.linux.set_subreaper", lambda: False)
    monkeypatch.setattr("mosha.platform.machine.Agent", lambda *_: pytest.fail("it began"))
    with pytest.raises(OSError, match="OpenMosix::HA of 2003 runs on this node, or was killed"):
        run(Config(root=str(tmp_path), rundir=str(tmp_path / "run")))
    assert LocalStore(var).list() == ["clstat"]
