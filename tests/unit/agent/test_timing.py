"""Times that derive from beat and lease; whether bounds are kept is asked of whole clusters (test_sim_bounds)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mosha
from mosha.timing import F, Timing

SOURCE = Path(mosha.__file__).parent
RAW = re.compile(r"timing\.\w+_s\s*[*/]|[*/]\s*(?:self\.)?_?timing\.\w+_s\b|_BEATS\s*=\s*\d")
ELSEWHERE = ("SHOW_BEATS", "REWRITE_BEATS", "SHOW_LATE_BEATS", "STALE_BEATS", "CLEAN_BEATS",
             "(turn - 1)", "(contest.rank() + begun)")
"""Pages for people, cleaning up; so many beats that a large map takes, so many turns of others."""


@pytest.mark.parametrize(("lease_s", "limit_s"), [(2.5, 1.5), (1.5, 0.9), (0.5, 0.5), (10.0, 1.5)])
def test_the_limit_of_an_operation_follows_from_the_lease(lease_s: float, limit_s: float) -> None:
    times = Timing(0.1, lease_s)
    assert times.op_limit_s == pytest.approx(limit_s)
    assert times.recovery_s == pytest.approx(F * lease_s + limit_s)


def test_w_of_a_longer_lease_has_its_longer_operations() -> None:
    assert Timing(0.1, 0.5).recovery_of(2.5) == Timing(0.5, 2.5).recovery_s
    assert Timing(0.5, 2.5).recovery_of(0.5) == Timing(0.5, 2.5).recovery_s


def test_pauses_grow_and_have_a_bound() -> None:
    times = Timing(0.5, 2.5)
    assert [times.shot_pause_s(failures) for failures in (1, 2, 3, 99)] == [5.0, 10.0, 20.0, 60.0]
    assert [times.unfit_s(failures) for failures in (1, 2, 3, 99)] == [2.5, 5.0, 10.0, 60.0]
    assert [times.back_off_s(tries) for tries in (1, 2, 4, 99)] == [0.125, 0.25, 1.0, 1.0]
    assert [times.anew_s(lapses) for lapses in (0, 1, 2, 3, 4, 99)] == [0.0, 0.0, 2.5, 5.0, 10.0, 10.0]
    assert [times.look_s(looks, is_idle=False) for looks in (0, 1, 2, 99)] == [0.125, 0.25, 0.25, 0.25]
    assert [times.look_s(looks, is_idle=True) for looks in (0, 1, 2, 3, 99)] == [0.125, 0.25, 0.5, 1.0, 1.0]


def test_no_other_module_makes_times_of_beat_and_lease() -> None:
    found = []
    for file in sorted(SOURCE.rglob("*.py")):
        if file.name == "timing.py":
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if RAW.search(line) and not any(name in line for name in ELSEWHERE):
                found.append(f"{file.relative_to(SOURCE)}:{number}: {line.strip()}")
    assert found == []
