"""A cluster without agents: openMosix alone, at rest, and the time that its tools take."""

from __future__ import annotations

import pytest

from moslab import bench_idle
from moslab.layout import Options
from moslab.node import run
from moslab.progress import Progress
from tests.container.conftest import Lab

TOOL_MS_MAX = 500.0
"""Beside its probes; what `make bench-idle` asks is a tenth of it, on a machine that does nothing else."""


def test_nobody_runs_groups_and_the_tools_are_quick(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_idle, "ROUNDS", 3)
    shown = lab.moslab("up", "2", "--no-agents")
    assert "no agent answers" in shown
    nodes = lab.cluster.nodes()
    assert run(nodes[1], ["mosctl", "status", "2"]).stdout == "up.\n"
    assert run(nodes[2], ["ls", "/mfs/1/etc/openmosix.map"]).exit_code == 0
    assert run(nodes[1], ["pgrep", "-f", "bin/mosha"]).exit_code == 1
    rows = bench_idle._tools(lab.cluster, Progress())
    assert len(rows) > 10
    slow = [row["metric"] for row in rows if row["ours"] > TOOL_MS_MAX]
    assert not slow
    probes = {row["metric"] for row in rows if "beside 1 probe" in row["metric"]}
    assert {f"`{words}` beside 1 probe" for words in ("mosctl status 2", "mosmon", "mosrun -2 true")} <= probes


@pytest.mark.long
def test_at_rest_it_costs_hardly_anything(lab: Lab) -> None:
    lab.cluster.up(2, Progress(), options=Options(agents=False))
    processor, memory = bench_idle._idle(lab.cluster, 5.0, Progress())
    assert processor["ours"] < 50.0, "ms/s of two nodes that nobody uses"
    assert memory["ours"] < 100.0
