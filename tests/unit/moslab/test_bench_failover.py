"""What the bench makes of its measurements."""

from __future__ import annotations

from mosha.tables import cltab, hactl
from moslab import bench
from moslab.bench_failover import FIRST, LEASE, MOVE, SHOT, TABLES, TARGETS_S, growth, row, target_s


def test_a_row_is_the_median_beside_its_target() -> None:
    made = row(SHOT, "fast", 3, [0.5, 0.4, 9.0])
    assert (made["ours"], made["target"], made["n"], made["peer"]) == (0.5, 0.6, 3, None)
    assert "death, STOMITH, fast, N=3" in bench.table([made])


def test_growth_is_that_of_deaths_from_the_smallest_to_the_largest() -> None:
    took = {("default", SHOT, 3): [1.0], ("default", SHOT, 5): [5.0], ("default", SHOT, 8): [1.5],
            ("default", MOVE, 3): [1.0], ("default", MOVE, 8): [9.0], ("fast", LEASE, 3): [1.0]}
    (made,) = growth(took)
    assert (made["ours"], made["unit"]) == (1.5, "x")
    assert made["ours"] > made["target"]


def test_every_measurement_has_a_target_and_the_tables_are_good() -> None:
    assert len(TARGETS_S) == 8
    assert target_s(FIRST, "default", 3) > target_s(FIRST, "fast", 3) > 1.0 + 1.0
    assert cltab.parse(TABLES["cltab"]).groups() == list(hactl.parse(TABLES["hactl"]))
