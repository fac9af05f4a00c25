"""What the bench makes of its measurements, and one measurement."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from moslab import bench, bench_sim
from moslab.bench_sim import scale_rows
from moslab.errors import CannotError
from moslab.history.checkers import VALID
from moslab.progress import Progress
from moslab.simulator.speed import Cost, measure

SOURCE = Path(__file__).parents[3] / "src"


def test_a_node_may_cost_more_only_as_far_as_it_reads_more() -> None:
    small, large = Cost(10, VALID, 60.0, 6.0, 6_000), Cost(1000, VALID, 60.0, 1200.0, 1_200_000)
    rows = {row["metric"]: row for row in scale_rows([small, large])}
    cost = rows["cost of a node for 1 s, N=1000"]
    assert (cost["ours"], cost["target"]) == (20.0, 20.0)
    assert rows["core time, N=1000"]["target"] == 1800.0
    assert bench.all_met([*rows.values()])
    slower = Cost(1000, VALID, 60.0, 1300.0, 1_200_000)
    assert [row["metric"] for row in scale_rows([small, slower]) if row["met"] is False] == [
        "cost of a node for 1 s, N=1000"
    ]


def test_a_rate_is_met_from_below_and_rows_fit_the_table() -> None:
    row = bench_sim.row("rate, pypy3, N=8", "x", 399.9, 400.0)
    assert row["met"] is False
    assert bench_sim.row("rate, pypy3, N=8", "x", 400.0, 400.0)["met"]
    lines = bench.table([row, bench_sim.row("read", "KiB", 1.0, None)]).splitlines()
    assert len({line.rindex("-") for line in lines[1:]}) == 1
    assert "400.00 x MISSED" in lines[1]


def test_what_is_read_grows_with_the_cluster_and_is_the_same_twice() -> None:
    costs = [measure(3, 5.0), measure(3, 5.0), measure(9, 5.0)]
    assert {cost.verdict for cost in costs} == {VALID}
    assert costs[0].read_bytes == costs[1].read_bytes
    assert costs[2].node_kib > 1.2 * costs[0].node_kib > 0


def test_a_measurement_is_one_line_of_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "moslab.simulator.speed", "3", "2"]
    done = subprocess.run(command, env={"PYTHONPATH": str(SOURCE)}, capture_output=True, check=True, timeout=120)
    assert Cost(**json.loads(done.stdout)).nodes == 3


@pytest.mark.parametrize(("sizes", "seconds"), [([], 1.0), ([0], 1.0), ([8], 0.0)])
def test_a_wrong_call_is_refused(sizes: list[int], seconds: float) -> None:
    with pytest.raises(CannotError):
        bench_sim.bench_sim(sizes, seconds, False, Progress())


def test_a_missing_pypy_is_an_error_unless_it_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("moslab.bench_sim.shutil.which", lambda _name: None)
    monkeypatch.setattr("moslab.bench_sim.RATES", {"cpython": 0.0})
    with pytest.raises(CannotError, match=r"apt-get install pypy3.*--without-pypy"):
        bench_sim.bench_sim([2], 0.2, True, Progress())
    assert bench_sim.bench_sim([2], 0.2, False, Progress()) == 0
