"""What the bench makes of its measurements."""

from __future__ import annotations

from mosha.tables import cltab, hactl
from moslab import bench
from moslab.bench_failover import TABLES, TARGETS_S, Took, growth, row, target_s
from moslab.bench_protocol import COLD, FIRST, LEASE, MOVE, SHOT


def test_a_row_is_the_median_beside_its_target() -> None:
    made = row(SHOT, "fast", 3, [Took(0.5, 0.2), Took(0.4, 0.9), Took(9.0, 0.3)], alone_s=0.4)
    assert (made["ours"], made["target"], made["met"], made["n"], made["peer"]) == (0.5, 0.6, True, 3, 0.4)
    assert (made["ratio"], made["busy"]) == (1.25, 0.3)
    assert "death, STOMITH, fast, N=3" in bench.table([made])
    assert "30% busy" in bench.table([made])


def test_a_target_that_was_missed_is_missed_however_good_the_protocol_alone_is() -> None:
    made = row(MOVE, "fast", 8, [Took(0.06, 1.0)], alone_s=0.001)
    assert made["met"] is False


def test_growth_is_that_of_every_metric_from_the_smallest_to_the_largest() -> None:
    metrics = (FIRST, COLD, SHOT, LEASE, MOVE)
    took = {(profile, metric, size): [Took(1.0 + 0.1 * (size - 3) * (metric == MOVE), 0.5)]
            for profile in ("default", "fast") for metric in metrics for size in (3, 5, 8)}
    alone = {(metric, profile, size): 1.0 for profile, metric, size in took}
    took["fast", "only one", 3] = [Took(1.0, 0.5)]
    made = growth(took, alone)
    assert len(made) == 4 * len(metrics)
    assert {(row["ours"], row["unit"], row["met"]) for row in made if MOVE in row["metric"]} == {
        (1.5, "x", False), (1.0, "x", True),
    }
    alone[MOVE, "fast", 8] = 1.4
    name = f"{MOVE}, fast, N=8 / N=3, protocol"
    assert [row["met"] for row in growth(took, alone) if row["metric"] == name] == [False]
    assert {(row["ours"], row["met"]) for row in made if MOVE not in row["metric"]} == {(1.0, True)}
    assert not bench.all_met(made)
    assert bench.table(made).count("MISSED") == 2


def test_every_measurement_has_a_target_and_the_tables_are_good() -> None:
    assert len(TARGETS_S) == 8
    assert target_s(FIRST, "default", 3) > target_s(FIRST, "fast", 3) > 1.0 + 1.0
    assert cltab.parse(TABLES["cltab"]).groups() == list(hactl.parse(TABLES["hactl"]))
