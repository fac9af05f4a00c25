"""What operators ask and are told: ``mosha move``, ``drain``, ``maintenance``, ``clear``, ``why``, ``history``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from mosha import status
from mosha.cli import main
from mosha.events import EVENTS_MAX, FILE, Events, changes, read
from mosha.tables import hactl
from mosha.why import explain
from tests.unit.agent.fake_world import MemoryStore

NODE = {
    "state": "up", "arbitrator": False, "leaving": False, "drained": False, "unfit": [], "ready": [], "up": [],
    "failures": {},
}
GROUP = {
    "owner": 2, "level": "start", "state": "DONE", "since": "2026-01-01T00:00:00Z", "epoch": 3, "waits_for": None,
    "on_hold": False, "why": "node 1 gave it up", "reason": "", "moving": None, "wanted": "start", "fenced": False,
    "prefer": [], "failback": False, "exclusive_test": False, "maintenance": False, "requires": [],
}


def a_page(groups: dict[str, dict[str, Any]], nodes: dict[int, dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "node": 1, "quorum": True, "beat": 0.5, "conflicts": [], "orders": {}, "tables": {"hactl": [1, "", ""]},
        "nodes": [{"id": node, **NODE, **nodes.get(node, {})} for node in (1, 2, 3, 4)],
        "groups": [{"name": name, **GROUP, **group} for name, group in groups.items()], **more,
    }


class Agent:
    """Takes the order of a command, and shows one page after the other."""

    def __init__(self, var: Path, *pages: dict[str, Any], answer: dict[str, str] | None = None) -> None:
        self.var, self.pages, self.answer = var, list(pages), answer
        self.orders: list[dict[str, Any]] = []
        self.now = 100.0

    def page(self, *_: object) -> dict[str, Any]:
        found = self.pages[0]
        if self.orders and self.answer is not None:
            found = {**found, "orders": {f"1.{self.orders[-1]['name']}": self.answer}}
        return found

    def wait(self, seconds: float) -> None:
        self.now += seconds
        file = self.var / "order"
        if file.exists():
            self.orders.append(json.loads(file.read_text()))
            file.unlink()
        elif len(self.pages) > 1:
            self.pages.pop(0)


@pytest.fixture
def configuration(tmp_path: Path) -> str:
    (tmp_path / "mosha.conf").write_text(f"varpath = {tmp_path}\nrundir = {tmp_path}/run\n")
    return str(tmp_path / "mosha.conf")


def run(agent: Agent, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(status, "read", agent.page)
    monkeypatch.setattr(time, "sleep", agent.wait)
    monkeypatch.setattr(time, "monotonic", lambda: agent.now)
    return main(["--config", str(agent.var / "mosha.conf"), *arguments])


@pytest.mark.usefixtures("configuration")
def test_a_move_is_asked_for_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = Agent(tmp_path, a_page({"kv": {}}, {}), a_page({"kv": {"owner": 3}}, {}), answer={"2": ""})
    assert run(agent, monkeypatch, "move", "kv", "3") == 0
    assert [(order["do"], order["group"], order["node"]) for order in agent.orders] == [("move", "kv", 3)]
    assert capsys.readouterr().out.splitlines()[-1] == "it runs on node 3"


@pytest.mark.usefixtures("configuration")
@pytest.mark.parametrize(("there", "is_up"), [
    ({"level": "test", "state": "PASSED", "wanted": "test"}, True), ({"level": "test", "state": "PASSED"}, False),
    ({"level": "test", "state": "DONE"}, False), ({"state": "STARTING"}, False), ({}, True),
])
def test_a_group_has_moved_when_it_has_come_to_its_level(
    there: dict[str, Any], is_up: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = Agent(tmp_path, a_page({"kv": {}}, {}), a_page({"kv": {"owner": 3, **there}}, {}), answer={"2": ""})
    assert run(agent, monkeypatch, "move", "kv", "3") == (0 if is_up else 1)


@pytest.mark.usefixtures("configuration")
@pytest.mark.parametrize(("arguments", "group", "answer", "said"), [
    (["move", "kv", "3"], {}, {"2": "kv has failed on node 3 a short while ago"}, "node 2: kv has failed on node 3"),
    (["move", "kv", "3"], {}, {"2": ""}, "it has not come up there within 10 s"),
    (["move", "kv", "9"], {}, None, "node 9 is not on the map"),
    (["move", "db", "3"], {}, None, "there is no group db"),
    (["move", "kv", "3"], {"owner": None}, None, "runs nowhere, so there is nothing to move"),
    (["drain", "9"], {}, None, "node 9 is not on the map"),
    (["drain", "2"], {}, {"2": ""}, "has not stopped its own"),
    (["drain", "2"], {"stuck": "web-run: 7", "state": "STOPPING"}, {"2": ""}, "has not stopped its own"),
    (["drain", "2"], {}, {"2": "no answer in time"}, "node 2: no answer in time"),
    (["drain", "2"], {}, None, "took the order and has not answered"),
    (["clear", "db"], {}, None, "there is no group db; there are: kv"),
    (["why", "db"], {}, None, "there is no group db; there are: kv"),
])
def test_what_cannot_be_is_said(
    arguments: list[str], group: dict[str, Any], answer: dict[str, str] | None, said: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    agent = Agent(tmp_path, a_page({"kv": group}, {}), answer=answer)
    assert run(agent, monkeypatch, *arguments) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "order").exists()


@pytest.mark.usefixtures("configuration")
@pytest.mark.parametrize(("arguments", "order"), [
    (["drain"], ("drain", "", 1)), (["drain", "3", "--off"], ("undrain", "", 3)), (["clear"], ("clear", "", 0)),
    (["clear", "kv"], ("clear", "kv", 0)),
])
def test_orders(
    arguments: list[str], order: tuple[str, str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent(tmp_path, a_page({"kv": {}}, {}), answer={"1": ""})
    assert run(agent, monkeypatch, *arguments) == 0
    assert [(one["do"], one["group"], one["node"]) for one in agent.orders] == [order]


@pytest.mark.usefixtures("configuration")
def test_a_drain_says_what_it_leaves_in_maintenance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    held = {"maintenance": True, "on_hold": True}
    agent = Agent(
        tmp_path, a_page({"kv": held, "db": {}}, {}), a_page({"kv": held, "db": {"owner": 3}}, {}), answer={"2": ""},
    )
    assert run(agent, monkeypatch, "drain", "2") == 0
    assert capsys.readouterr().out.splitlines() == [
        "node 2 is drained: it has no group but what is in maintenance, and takes none until `mosha drain 2 --off`",
        "left as they are until `mosha maintenance off kv`: kv",
    ]
    agent = Agent(tmp_path, a_page({"kv": {"owner": 3}}, {}), answer={"2": ""})
    assert run(agent, monkeypatch, "drain", "2") == 0
    assert capsys.readouterr().out == "node 2 is drained: it has no group, and takes none until `mosha drain 2 --off`\n"


def test_why_a_group_in_maintenance_stays_on_a_drained_node() -> None:
    text = explain(a_page({"kv": {"maintenance": True}}, {2: {"drained": True}}), "kv")
    assert "  it is in maintenance, so it is left alone, drained or not (mosha maintenance off kv)" in text


@pytest.mark.usefixtures("configuration")
def test_who_only_reads_makes_nothing_and_moves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "mosha.conf").write_text(f"varpath = {tmp_path}/none\nrundir = {tmp_path}/run\n")
    for command in ("history", "status", "why kv", "voters", "check", "stomith history"):
        assert main(["--config", str(tmp_path / "mosha.conf"), *command.split()]) in (0, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mosha.conf"]
    (tmp_path / "none/history").mkdir(parents=True)
    capsys.readouterr()
    assert main(["--config", str(tmp_path / "mosha.conf"), "history"]) == 1
    assert capsys.readouterr().err == f"mosha: {tmp_path}/none/history: Is a directory\n"
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["history"]


@pytest.mark.usefixtures("configuration")
def test_maintenance_is_an_edit_of_hactl_that_agents_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hactl").write_text("kv start # a store\ndb start\n")
    on = {"maintenance": True, "on_hold": True}
    second = {"hactl": [2, "", ""]}
    agent = Agent(tmp_path, a_page({"kv": {}, "db": {}}, {}), a_page({"kv": on, "db": {}}, {}, tables=second))
    assert run(agent, monkeypatch, "maintenance", "on", "kv") == 0
    assert (tmp_path / "hactl").read_text() == "kv start maintenance # a store\ndb start\n"
    assert run(agent, monkeypatch, "maintenance", "on", "x") == 1
    assert run(agent, monkeypatch, "maintenance", "off") == 1, "nobody follows"
    assert hactl.parse((tmp_path / "hactl").read_text()) == hactl.parse("kv start\ndb start\n")


@pytest.mark.usefixtures("configuration")
@pytest.mark.parametrize(("group", "text"), [
    ("db", "# all\nkv start prefer=1 # a store\n  db\tbusy maintenance# no\n"),
    ("new", "# all\nkv start prefer=1 # a store\n  db\tstart maintenance# no\nnew busy\n"),
])
def test_a_group_is_told_a_level_by_an_edit_of_hactl(
    group: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hactl").write_text("# all\nkv start prefer=1 # a store\n  db\tstart maintenance# no\n")
    (tmp_path / "cltab").write_text("new:new-run:busy:respawn:sleep 1\ndb:db-run:busy:respawn:sleep 1\n")
    second = {"hactl": [2, "", ""]}
    agent = Agent(tmp_path, a_page({"kv": {}}, {}), a_page({"kv": {}}, {}), a_page({"kv": {}}, {}, tables=second))
    assert run(agent, monkeypatch, "tell", group, "busy") == 0
    assert (tmp_path / "hactl").read_text() == text
    assert agent.pages == [a_page({"kv": {}}, {}, tables=second)], "it was waited for"
    assert run(agent, monkeypatch, "tell", group, "busy") == 0, "which is so"
    assert run(agent, monkeypatch, "tell", "kv", "stop") == 1
    assert "the agent has not followed within 10 s" in capsys.readouterr().err


@pytest.mark.usefixtures("configuration")
def test_a_level_that_yielded_to_another_edit_is_not_said_to_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Other(Agent):
        """Takes another node's version, in which that edit is not."""

        def wait(self, seconds: float) -> None:
            super().wait(seconds)
            (tmp_path / "hactl").write_text("kv start\ndb start\n")

    (tmp_path / "hactl").write_text("kv start\n")
    agent = Other(tmp_path, a_page({"kv": {}}, {}), a_page({"kv": {}}, {}, tables={"hactl": [2, "", ""]}))
    assert run(agent, monkeypatch, "tell", "kv", "stop") == 1
    assert "another edit of hactl came at this instant" in capsys.readouterr().err


@pytest.mark.usefixtures("configuration")
@pytest.mark.parametrize(("words", "code", "said"), [
    (["x", "start"], 1, "no such group: x; neither cltab nor hactl names it; there are: kv, new, old"),
    (["kv", "strat"], 1, "group kv has no level strat, so nothing of it would run; there are: stop, 1, 12, 2, start"),
    (["new", "s"], 1, "group new has no level s, so nothing of it would run; there are: stop, busy"),
    (["old", "start"], 1, "group old has no level start, so nothing of it would run; cltab has no entry of it"),
    (["kv", "a:b"], 1, "bad level 'a:b'"), (["", "start"], 1, "bad group ''"),
])
def test_what_cannot_be_told_is_said(
    words: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "hactl").write_text("kv start\nold stop\n")
    (tmp_path / "cltab").write_text("kv:kv-run:12,start:respawn:x\nkv:kv-one:12:once:x\nnew:new-run:busy:respawn:x\n")
    assert run(Agent(tmp_path, a_page({"kv": {}}, {})), monkeypatch, "tell", *words) == code
    assert said in capsys.readouterr().err
    assert (tmp_path / "hactl").read_text() == "kv start\nold stop\n"


@pytest.mark.usefixtures("configuration")
@pytest.mark.parametrize(("cltab", "good", "level", "code"), [
    ("kv:r:start,busy:respawn:x\n", "kv:r:start:respawn:x\n", "busy", 0),       # an edit that is not in force yet
    ("kv:r:start:respwan:x\n", "kv:r:start,busy:respawn:x\n", "busy", 0),        # one that is refused
    ("kv:r:start:respwan:x\n", "kv:r:start:respawn:x\n", "busy", 1),
    ("", "", "busy", 0), ("kv:r:start:respwan:x\n", "", "stop", 0), ("db:r:start:respawn:x\n", "", "stop", 0),
])
def test_a_level_is_one_of_cltab_as_it_is_in_force_or_shall_be(
    cltab: str, good: str, level: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "hactl").write_text("kv start\n")
    (tmp_path / "cltab").write_text(cltab)
    (tmp_path / "cltab.good").write_text(good)
    agent = Agent(tmp_path, *[a_page({"kv": {}}, {})] * 2, a_page({"kv": {}}, {}, tables={"hactl": [2, "", ""]}))
    assert run(agent, monkeypatch, "tell", "kv", level) == code


def test_why_it_runs_where_it_runs() -> None:
    nodes: dict[int, dict[str, Any]] = {
        1: {"drained": True}, 3: {"ready": ["kv"]},
        4: {"unfit": ["kv"], "failures": {"kv": {"count": 2, "why": "test failed here", "until": 1_800_000_000}}},
    }
    text = explain(a_page({"kv": {"prefer": [1, 2]}}, nodes), "kv")
    assert text[:3] == [
        "kv is on node 2: start DONE, since 2026-01-01T00:00:00Z", "  it came there as node 1 gave it up (epoch 3)",
        "hactl: level start; best on node 1, then 2; it stays where it is",
    ]
    assert text[3:6] == [
        "node 1: no: node 1 is drained", "node 2: has it",
        "node 3: has tested it, and could have it: place 1 in the order, 0 groups",
    ]
    assert text[6].startswith("node 4: no: ERRORED: it failed 2 times there (test failed here), and is tried again at ")


@pytest.mark.parametrize(("group", "more", "said"), [
    ({"wanted": "stop"}, {}, "hactl wants it to be stopped"), ({"maintenance": True}, {}, "it is in maintenance"),
    ({"waits_for": 2}, {}, "that node 2, which had it, is dead is not confirmed"), ({}, {"quorum": False}, "no quorum"),
    ({}, {"conflicts": ["hactl"]}, "hactl differs between nodes"), ({}, {}, "no node may have it"),
])
def test_why_it_runs_nowhere(group: dict[str, Any], more: dict[str, Any], said: str) -> None:
    down = {node: {"state": "down"} for node in (1, 2, 3, 4)}
    assert said in explain(a_page({"kv": {"owner": None, **group}}, down, **more), "kv")[0]
    assert explain(a_page({}, {}), "kv") == ["kv: hactl does not name it, and nobody runs it"]


def test_why_it_waits_for_another() -> None:
    kv = {"owner": None, "requires": ["db", "ip"]}
    text = explain(a_page({"kv": kv, "db": {}, "ip": {}}, {2: {"up": ["ip"]}}), "kv")
    assert text[:2] == [
        "kv runs nowhere: it waits for db, which it requires and which is not up (mosha why db)",
        "hactl: level start; on the node with the fewest groups, and it stays there; "
        "it starts only while db and ip are up",
    ]
    text = explain(a_page({"kv": kv, "db": {}, "ip": {"owner": 3}}, {2: {"up": ["db", "ip"]}}), "kv")
    assert text[0] == "kv runs nowhere: it waits for ip, which it requires and which is not up (mosha why ip)"


def test_history_is_what_differs_between_pages() -> None:
    first = a_page({"kv": {}}, {})
    second = a_page(
        {"kv": {"owner": 3, "why": "node 2 was known to be dead", "state": "FAILED", "reason": "run: exit status 1"}},
        {2: {"state": "fenced", "failures": {"kv": {"count": 2, "why": "stop failed here", "until": 0}}},
         4: {"drained": True}}, quorum=False, orders={"1.5": {"4": ""}},
    )
    assert list(changes(first, first)) == []
    assert [f"{group}: {what}" for group, what in changes(first, second)] == [
        ": NO QUORUM: nothing runs here", ": node 2: up -> fenced", ": node 4: up -> up, drained",
        "kv: node 2 has failed it 2 times: stop failed here",
        "kv: node 3: start FAILED (node 2 was known to be dead)", "kv: node 3: failed: run: exit status 1",
        ": order 1.5: node 4: done",
    ]


def test_history_has_once_that_an_era_was_founded_without_this_node() -> None:
    first = a_page({}, {})
    second = {**first, "electorate": {"overtaken": "both ran"}}
    assert list(changes(first, second)) == [("", "both ran")]
    assert list(changes(second, second)) == []


def test_history_is_kept_over_lives_and_bounded() -> None:
    wrong = b'[]\n{"time": "y"}\n\xff\n{"time": 1e999, "what": 1}\n{"time": -1e99, "what": 1}\n' + b"[" * 100_000
    store = MemoryStore(history=b'{"time": 1, "group": "kv", "what": "x"}\n' + wrong + b"\n")
    events = Events(store, lambda: 5.0)
    for number in range(2 * EVENTS_MAX):
        events.note(a_page({"kv": {"owner": number % 4 + 1}}, {}))
        if number == 1:
            assert [event["what"] for event in read(store.files[FILE])][:2] == ["x", "the agent of node 1 began"]
    assert len(read(store.files[FILE])) == EVENTS_MAX
    written = store.used
    events.note(a_page({"kv": {"owner": (2 * EVENTS_MAX - 1) % 4 + 1}}, {}))
    assert store.used == written, "nothing happened"


@pytest.mark.usefixtures("configuration")
def test_history_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [{"time": 1, "group": "kv", "what": "a"}, {"time": 2, "group": "", "what": "b"}]
    (tmp_path / "history").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    assert run(Agent(tmp_path, {}), monkeypatch, "history", "kv") == 0
    assert capsys.readouterr().out.endswith("  kv: a\n")
    assert run(Agent(tmp_path, {}), monkeypatch, "history", "--json", "-n", "1") == 0
    assert json.loads(capsys.readouterr().out) == events[1]


@pytest.mark.usefixtures("configuration")
def test_a_history_of_no_group_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "history").write_text('{"time": 1, "group": "gone", "what": "a"}\n'
                                      '{"time": 2, "group": "", "what": "b"}\n')
    (tmp_path / "hactl").write_text("kv start\n")
    (tmp_path / "cltab").write_text("db:db-run:start:respawn:x\n")
    for group in ("nosuch", ""):
        assert run(Agent(tmp_path, {}), monkeypatch, "history", group) == 1
        assert capsys.readouterr() == ("", f"mosha: no such group: {group}; there are: db, gone, kv\n")
    for group, shown in ("kv", 0), ("db", 0), ("gone", 1):
        assert run(Agent(tmp_path, {}), monkeypatch, "history", group) == 0
        assert len(capsys.readouterr().out.splitlines()) == shown
