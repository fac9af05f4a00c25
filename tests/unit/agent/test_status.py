"""What `mosha status` shows, and when it says that no agent runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mosha import status

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
