"""What the protocol alone takes, measured under virtual time."""

from __future__ import annotations

import pytest

from mosha.timing import Timing
from moslab.bench_protocol import COLD, FIRST, LEASE, MOVE, SHOT, SHOT_S, measure, median_s
from moslab.errors import LabError

FAST = Timing(0.1, 0.5)
BOUND = {
    FIRST: "first start", COLD: "cold start", SHOT: "failover, STOMITH", LEASE: "failover, no STOMITH",
    MOVE: "planned move",
}
BOOT_S = 0.4                     # modelled machines take up to so much longer than others to boot
LEAST_S = {
    FIRST: FAST.recovery_s * 0.98, COLD: 0.0, SHOT: FAST.suspect_s, LEASE: FAST.expiry_s - FAST.beat_s,
    MOVE: 0.0,
}


@pytest.mark.parametrize("metric", [FIRST, COLD, SHOT, LEASE, MOVE])
def test_each_phase_is_measured_and_within_what_is_promised(metric: str) -> None:
    promised_s = {bound.name: bound.seconds for bound in FAST.bounds(SHOT_S)}[BOUND[metric]]
    took_s = measure(metric, FAST.beat_s, FAST.lease_s, 3, seed=1)
    assert LEAST_S[metric] < took_s <= promised_s + SHOT_S + (BOOT_S if metric in (FIRST, COLD) else 0.0)


def test_a_seed_is_a_figure_and_the_median_is_of_them() -> None:
    figures = [measure(MOVE, FAST.beat_s, FAST.lease_s, 3, seed) for seed in range(3)]
    assert median_s(MOVE, FAST.beat_s, FAST.lease_s, 3, rounds=3) == sorted(figures)[1]


def test_what_does_not_come_back_is_an_error() -> None:
    with pytest.raises(LabError, match="nothing ran after 6 s"):
        measure(LEASE, FAST.beat_s, FAST.lease_s, 2, seed=0)
