from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from moslab.status import render

NOW = datetime(2026, 11, 21, 7, 35, 0, tzinfo=timezone.utc)


def state(**changes: Any) -> dict[str, Any]:
    return {
        "cluster": "mosha", "state": "running", "quorum": True, "seen_by": 1,
        "nodes": [
            {"id": 1, "state": "running", "agent": "up", "address": "172.20.0.101"},
            {"id": 2, "state": "off", "agent": None, "address": "172.20.0.102"},
        ],
        "groups": [
            {"name": "kv", "owner": 1, "level": "start", "state": "DONE", "since": "2026-11-21T07:31:02Z"},
            {"name": "tick", "owner": None, "level": "start", "state": "WAITING", "since": None},
        ],
        **changes,
    }


def test_the_table_has_a_line_for_each_node_and_group() -> None:
    assert render(state(), NOW).splitlines() == [
        'cluster "mosha" (running): 2 nodes, 1 running, quorum',
        "",
        "node  address       power    agent  groups",
        "1     172.20.0.101  running  up     kv",
        "2     172.20.0.102  off      -",
        "",
        "group  owner   level  state    since",
        "kv     node 1  start  DONE     2026-11-21 07:31:02 UTC (3 min)",
        "tick   -       start  WAITING  -",
    ]


def test_a_cluster_that_no_agent_answers_for_says_so() -> None:
    text = render(state(quorum=False, seen_by=None, groups=[]), NOW)
    assert "NO QUORUM" in text
    assert text.endswith("no agent answers")


def test_a_time_that_is_none_is_shown_as_it_is() -> None:
    group = {"name": "kv", "owner": 1, "level": "start", "state": "DONE", "since": "yesterday"}
    assert render(state(groups=[group]), NOW).endswith("yesterday")
