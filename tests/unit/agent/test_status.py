"""What `mosha status` shows, and when it says that no agent runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mosha import status
from mosha.tables.hactl import Wanted
from tests.unit.ownership.cluster import Cluster

PAGE: dict[str, Any] = {
    "node": 2, "quorum": True, "beat": 0.5, "conflicts": [], "boottime": 100.0, "boot": "b",
    "nodes": [{"id": 1, "state": "up"}, {"id": 2, "state": "up"}],
    "groups": [
        {"name": "kv", "owner": 2, "level": "start", "state": "DONE", "since": "2026-01-01T00:00:00Z", "epoch": 3},
        {"name": "job", "owner": None, "level": "start", "state": "WAITING", "since": None, "epoch": None},
    ],
}  # fmt: skip


def write(directory: Path, **changes: Any) -> None:
    (directory / status.TWIN).write_text(json.dumps({**PAGE, **changes}))


def test_a_fresh_page_is_read_without_its_stamps(tmp_path: Path) -> None:
    write(tmp_path)
    assert status.read(tmp_path, 101.0, "b") == {k: v for k, v in PAGE.items() if k not in ("boottime", "boot")}


@pytest.mark.parametrize(
    ("changes", "boottime", "reason"),
    [
        ({}, 104.0, "4.0 s old"),
        ({}, 99.0, "-1.0 s old"),
        ({"boot": "another"}, 100.5, "since this node's boot"),
        ({"waits": "node 3 is not on the map [1, 2]"}, 100.5, r"waits, and nothing runs here: node 3 is not on"),
    ],
)
def test_an_old_page_is_not_taken_for_an_agent(
    tmp_path: Path, changes: dict[str, Any], boottime: float, reason: str
) -> None:
    write(tmp_path, **changes)
    with pytest.raises(status.NotRunning, match=reason):
        status.read(tmp_path, boottime, "b")


def test_no_page_and_nonsense(tmp_path: Path) -> None:
    with pytest.raises(status.NotRunning, match="no agent has run"):
        status.read(tmp_path, 1.0, "b")
    (tmp_path / status.TWIN).write_text("{")
    with pytest.raises(status.NotRunning, match="not a page"):
        status.read(tmp_path, 1.0, "b")


def test_the_table_has_a_row_per_group_and_a_column_per_node() -> None:
    assert status.table({**PAGE, "conflicts": ["cltab"]}).splitlines() == [
        "GROUP  OWNER  LEVEL  STATE    SINCE                 EPOCH  NODES",
        "kv     2      start  DONE     2026-01-01T00:00:00Z  3      .*",
        "job    -      start  WAITING  -                     -      ..",
        "",
        "seen from node 2 (quorum): 1 up, 2 up",
        "CONFLICT: cltab differs between nodes; edit it again on one of them",
    ]


def test_an_edit_that_yielded_is_shown_until_its_file_is_gone() -> None:
    nodes = [{"id": 1, "state": "up", "kept": []}, {"id": 2, "state": "up", "kept": ["cltab.kept-12345678"]}]
    assert status.table({**PAGE, "nodes": nodes}).splitlines()[-1] == (
        "CONFLICT: an edit on node 2 is not in force, and lies there as cltab.kept-12345678; edit again what is wanted "
        "of it, and remove that file"
    )


def test_that_the_voters_must_be_founded_anew_is_said() -> None:
    assert status.table({**PAGE, "electorate": {"disputed": True}}).splitlines()[-1] == (
        "NOTHING RUNS: two sets of voters have one number: the voters must be founded anew (docs/ownership.md)"
    )


def test_that_an_era_was_founded_without_this_node_is_said() -> None:
    assert status.table({**PAGE, "electorate": {"overtaken": "both ran"}}).splitlines()[-1] == "TWO ERAS: both ran"
    assert "TWO ERAS" not in status.table({**PAGE, "electorate": {"overtaken": ""}})


@pytest.mark.parametrize(("page", "group", "said"), [
    ({}, {}, "without STOMITH nobody but you can free the group: switch node 2 off"),
    ({}, {"fenced": True}, "switch node 2 off, and confirm that by starting it again, as the group is fenced"),
    ({"stomith": True}, {}, "and node 2 has given up what else it has, it is shot, and only that frees the group"),
    ({"stomith": True, "spared": {"kv": "it rains"}}, {},
     "; it rains, so node 2 is not shot for it: only you can free the group"),
    ({"stomith": True}, {"wanted": "test"}, "it is not to run, so node 2 is not shot for it"),
    ({"stomith": True}, {"wanted": "stop"}, "it is to be stopped, so node 2 is not shot for it"),
    ({"stomith": True}, {"maintenance": True}, "it is in maintenance, so node 2 is not shot for it"),
])
def test_what_cannot_be_ended_is_named_and_who_frees_the_group(
    page: dict[str, Any], group: dict[str, Any], said: str
) -> None:
    groups = [{**PAGE["groups"][0], "stuck": "kv-run: 7 (dd, state D)", **group}]
    line = status.table({**PAGE, **page, "groups": groups}).splitlines()[-1]
    assert line.startswith("kv cannot be ended on node 2: kv-run: 7 (dd, state D) lives on after SIGKILL; ")
    assert line.endswith(said)


# ---- what an agent shows ------------------------------------------------------------------------------------------


def test_a_page_is_what_its_node_knows() -> None:
    cluster = Cluster(3)
    cluster.boot()
    owner, _ = cluster.until_runs(5)
    cluster.pass_time(2)
    watcher = cluster.nodes[owner.number % 3 + 1]
    other = next(node for node in cluster.nodes.values() if node not in (owner, watcher))
    records: dict[int, status.Record] = {
        owner.number: {"groups": {"kv": {"level": "start", "state": "DONE", "since": "2026-01-01T00:00:00Z"}}},
        other.number: {"groups": {"job": {"level": "stop", "state": "STOPPING", "since": None}}},
    }

    def page() -> dict[str, Any]:
        wanted = {"kv": Wanted("start", prefer=(2, 1)), "x": Wanted("stop")}
        nodes = frozenset(cluster.nodes)
        return status.page(watcher.now, watcher.ownership, nodes, [other.number], records, wanted)

    found = page()
    assert (found["node"], found["quorum"]) == (watcher.number, True)
    assert [(one["id"], one["state"]) for one in found["voters"]] == [(1, "full"), (2, "full"), (3, "full")]
    assert (found["identity"], found["era"]) == (watcher.ownership.identity, "1-00000001")
    states = {node["id"]: node["state"] for node in found["nodes"]}
    assert states == {watcher.number: "up", owner.number: "up", other.number: "suspect"}
    job, kv, x = found["groups"]
    assert kv == {
        "name": "kv", "owner": owner.number, "level": "start", "state": "DONE", "since": "2026-01-01T00:00:00Z",
        "epoch": 1, "waits_for": None, "on_hold": False, "wanted": "start", "fenced": False, "prefer": (2, 1),
        "why": "", "reason": "", "stuck": "", "moving": None,
        "failback": False, "exclusive_test": False, "maintenance": False, "restarts": 1,
        "requires": (),
    }
    assert (job["owner"], job["level"], job["state"], job["epoch"]) == (None, "stop", "STOPPED", None)
    assert (x["name"], x["state"]) == ("x", "STOPPED")
    assert "kv" in status.hastat_text(watcher.now, watcher.ownership, records, {})

    watcher.ownership.fenced(watcher.now, [owner.ownership.identity])
    found = page()
    assert [node["state"] for node in found["nodes"] if node["id"] == owner.number] == ["fenced"]
    kv = next(group for group in found["groups"] if group["name"] == "kv")
    assert (kv["owner"], kv["state"], kv["level"]) == (None, "WAITING", "start")
    assert "kv" not in status.hastat_text(watcher.now, watcher.ownership, records, {})


def test_a_page_tells_why_a_fenced_group_waits() -> None:
    cluster = Cluster(3, fenced=("kv",))
    cluster.boot()
    owner, _ = cluster.until_runs(5)
    watcher = cluster.nodes[owner.number % 3 + 1]
    cluster.isolate(owner.number)
    cluster.pass_time(10)
    found = status.page(watcher.now, watcher.ownership, frozenset(cluster.nodes), [], {}, {"kv": Wanted("start")})
    (kv,) = found["groups"]
    assert (kv["owner"], kv["level"], kv["state"], kv["waits_for"]) == (None, "start", "WAITING", owner.number)
    said = status.table({**found, "conflicts": []}).splitlines()[-1]
    assert said.startswith("kv waits: it is fenced, and that node")
    assert f"node {owner.number}, which had it, is dead must be confirmed" in said


def test_who_is_silent_is_down() -> None:
    cluster = Cluster(3, wants=())
    cluster.boot()
    cluster.pass_time(2)
    cluster.nodes[3].crash()
    cluster.pass_time(5)
    watcher = cluster.nodes[1]
    found = status.page(watcher.now, watcher.ownership, frozenset({1, 2, 3, 4}), [], {}, {})
    assert [node["state"] for node in found["nodes"]] == ["up", "up", "down", "down"]
    cluster.nodes[2].crash()
    cluster.pass_time(5)
    found = status.page(watcher.now, watcher.ownership, frozenset({1, 2, 3}), [], {}, {})
    assert found["quorum"] is False
