"""What bench-mfs makes of its measurements, and that each of its measures does what it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moslab import bench
from moslab.bench_mfs import FACTORS, WORDS, cut_rows, rate_rows
from moslab.mfsbench import inside, load


def test_the_best_round_counts_beside_that_of_the_peer() -> None:
    rates = {"own": [1.0, 60.0, 2.0], "passthrough_ll": [100.0, 3.0, 4.0], "other": [9.0], "sshfs": [10.0]}
    own, other = rate_rows(load.SMALL, rates)
    assert (own["ours"], own["peer"], own["ratio"], own["target"], own["met"]) == (60.0, 100.0, 0.6, 50.0, True)
    assert (other["ours"], other["peer"], other["target"], other["met"]) == (9.0, 10.0, 10.0, False)
    assert {row["met"] for row in rate_rows(load.STAT, rates)} == {None}
    assert "MISSED" in bench.table([own, other])


def test_of_all_cuts_the_slowest_counts() -> None:
    cuts = [
        {"cut": "stat", "first_s": 1.0, "next_s": 0.001, "healed_s": 0.9},
        {"cut": "read", "first_s": 1.2, "next_s": 0.004, "healed_s": 0.1},
    ]
    assert [(row["ours"], row["met"]) for row in cut_rows(cuts)] == [(1.2, False), (4.0, True), (0.9, True)]


def test_every_measure_has_words_and_every_target_a_measure() -> None:
    assert set(WORDS) == set(load.MEASURES)
    assert {measure for _, measure in FACTORS} <= set(WORDS)


@pytest.mark.parametrize("measure", load.MEASURES)
def test_a_measure_runs_and_leaves_no_more_than_it_says(
    measure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "BIG_BLOCKS", 2)
    load.prepare(tmp_path)
    before = set(os.listdir(tmp_path))
    assert load.rate(measure, str(tmp_path), 0.0) > 0
    assert set(os.listdir(tmp_path)) - before == ({"made"} if measure == load.CREATE else set())


@pytest.mark.parametrize("name", inside.OPERATIONS)
def test_an_operation_of_the_cuts_works_where_nothing_is_cut(name: str, tmp_path: Path) -> None:
    load.prepare(tmp_path)
    operation = inside.OPERATIONS[name](tmp_path)
    assert [inside.works(operation) for _ in range(2)] == [True, True]
