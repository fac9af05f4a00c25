from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from moslab import watcher


def node(mfs: Path, number: int, view: str) -> None:
    (mfs / str(number) / "etc").mkdir(parents=True)
    (mfs / str(number) / "var/mosix-ha").mkdir(parents=True)
    if view:
        (mfs / str(number) / "var/mosix-ha/hastat.json").write_text(view)


def test_a_node_is_ready_when_its_agent_has_seen_a_majority(tmp_path: Path) -> None:
    for number, view in enumerate(('{"quorum": true}', '{"quorum": false}', "", '{"quo', '{"waits": "why"}'), 1):
        node(tmp_path, number, view)
    assert [watcher.missing_of(number, str(tmp_path)) for number in range(1, 7)] == [
        "", "has no quorum", "has no agent", "has an agent that just begins", "waits: why", "is not seen through MFS"
    ]


def test_a_node_without_an_agent_is_ready_when_it_serves_its_files(tmp_path: Path) -> None:
    node(tmp_path, 1, "")
    assert [watcher.unserved(number, str(tmp_path)) for number in (1, 2)] == ["", "is not seen through MFS"]


def test_it_waits_until_all_nodes_are_ready_and_tells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks: list[int] = []

    def missing(number: int) -> str:
        looks.append(number)
        return "has no agent" if number == 2 and len(looks) < 4 else ""

    monkeypatch.setattr(watcher, "missing_of", missing)
    monkeypatch.setattr(watcher, "LOOK_EVERY_S", 0.001)
    assert watcher.watch_nodes(2, time.monotonic() + 5) == ""
    assert looks == [1, 2, 2, 2], "a node that is ready is not looked at again"
    assert capsys.readouterr().out.splitlines() == ["1 of 2 nodes", "2 of 2 nodes"]


def test_it_says_at_the_end_of_its_time_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "missing_of", lambda number: "has no agent" if number == 2 else "")
    assert watcher.watch_nodes(3, time.monotonic() - 1) == "node 2 has no agent"


def test_a_node_that_is_not_seen_as_up_is_waited_for() -> None:
    nodes = [{"id": 1, "state": "up"}, {"id": 2, "state": "down"}]
    assert watcher.unheard(json.dumps({"groups": [], "nodes": nodes})) == [2]


@pytest.mark.parametrize(("group", "idle"), [
    ({"owner": 2, "level": "start", "state": "DONE"}, {}),
    ({"owner": 2, "level": "start", "state": "PASSED"}, {}),
    ({"owner": 2, "level": "start", "state": "STARTING"}, {"kv": "node 2 start STARTING"}),
    ({"owner": 2, "level": "test", "state": "DONE"}, {"kv": "node 2 test DONE"}),
    ({"owner": None, "level": "start", "state": "WAITING"}, {"kv": "is nowhere"}),
])
def test_a_group_runs_when_it_is_done_at_its_level(group: dict[str, Any], idle: dict[str, str]) -> None:
    status = json.dumps({"groups": [{"name": "kv", **group}]})
    assert watcher.idle_groups("# wanted\nkv start\n", status) == idle
    assert watcher.idle_groups("kv start fenced\n", status) == idle


def test_a_group_that_is_to_be_stopped_is_not_waited_for() -> None:
    assert watcher.idle_groups("kv stop\n", '{"groups": []}') == {}
    assert watcher.idle_groups("kv start\n", '{"groups": []}') == {"kv": "is nowhere"}
