"""What the bench makes of its measurements."""

from __future__ import annotations

from mosha.tables import cltab, hactl
from moslab import bench
from moslab.bench_failover import COLD, FIRST, LEASE, MOVE, SHOT, TABLES, TARGETS_S, growth, row, target_s


def test_a_row_is_the_median_beside_its_target() -> None:
    made = row(SHOT, "fast", 3, [0.5, 0.4, 9.0])
    assert (made["ours"], made["target"], made["met"], made["n"], made["peer"]) == (0.5, 0.6, True, 3, None)
    assert "death, STOMITH, fast, N=3" in bench.table([made])


def test_growth_is_that_of_every_metric_from_the_smallest_to_the_largest() -> None:
    metrics = (FIRST, COLD, SHOT, LEASE, MOVE)
    took = {(profile, metric, size): [1.0 + 0.1 * (size - 3) * (metric == MOVE)]
            for profile in ("default", "fast") for metric in metrics for size in (3, 5, 8)}
    took["fast", "only one", 3] = [1.0]
    made = growth(took)
    assert len(made) == 2 * len(metrics)
    assert {(row["ours"], row["unit"], row["met"]) for row in made if MOVE in row["metric"]} == {(1.5, "x", False)}
    assert {(row["ours"], row["met"]) for row in made if MOVE not in row["metric"]} == {(1.0, True)}
    assert not bench.all_met(made)
    assert bench.table(made).count("MISSED") == 2


def test_every_measurement_has_a_target_and_the_tables_are_good() -> None:
    assert len(TARGETS_S) == 8
    assert target_s(FIRST, "default", 3) > target_s(FIRST, "fast", 3) > 1.0 + 1.0
    assert cltab.parse(TABLES["cltab"]).groups() == list(hactl.parse(TABLES["hactl"]))
