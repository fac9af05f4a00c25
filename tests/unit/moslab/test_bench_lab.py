"""What the bench of the laboratory makes of its sessions, and one of these, simulated."""

from __future__ import annotations

from pathlib import Path

import pytest

from moslab import bench, bench_lab, engine
from moslab.bench_lab import RECOVERS, Session, recovery_rows, scenario_rows, session, up_row
from moslab.errors import CannotError, LabError
from moslab.progress import Progress


def test_scenarios_are_counted_by_the_processor_of_one_worker_and_a_second_one_is_compared_in_each_round() -> None:
    alone = [Session(took_s, took_s / 2, [1.0] * 80) for took_s in (40.0, 60.0, 30.0)]
    both = [Session(took_s, took_s, [1.0] * 80) for took_s in (30.0, 30.0, 20.0)]
    speed, gain = scenario_rows({1: alone, 2: both})
    assert (speed["ours"], speed["target"], speed["met"], speed["n"]) == (240.0, 100.0, True, 3)
    assert (gain["ours"], gain["target"], gain["met"], gain["peer_name"]) == (1.5, 1.6, False, "1 worker, 40.0 s")


def test_the_first_recovery_begins_the_cluster_and_is_not_counted() -> None:
    time, gain = recovery_rows("docker", Session(32.0, 9.0, [20.0, 4.0, 5.0, 7.0]), Session(20.0, 9.0, [9.0] * 4))
    assert (time["ours"], time["n"], time["target"], time["met"]) == (5.0, 3, 6.0, True)
    assert (gain["ours"], gain["met"]) == (1.6, True)
    assert len(recovery_rows("namespaces", Session(9.0, 1.0, [4.0, 7.0]))) == 1


def test_nodes_with_agents_have_no_target() -> None:
    assert [up_row(agents, [1.2])["met"] for agents in (False, True)] == [False, None]
    assert bench.all_met([up_row(True, [1.2])])


def test_a_session_is_a_pytest_whose_tests_are_timed_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(RECOVERS.format(count=2) + "def test_cannot(cluster):\n    cluster.run(1, 'true')\n")
    seen = session(file, "sim", 2)
    assert len(seen.tests_s) == 2, "the one that was skipped is none"
    assert 0.0 < max(seen.tests_s) < seen.took_s
    assert seen.busy_s > 0.1
    file.write_text("def test_it(cluster):\n    assert False\n")
    with pytest.raises(LabError, match=r"test_it.py, sim: pytest ended with 1:(.|\n)*assert False"):
        session(file, "sim", 1)


@pytest.mark.parametrize(("rounds", "found", "said"), [
    (0, True, "at least one round"), (1, False, "bench-lab needs pytest and xdist"), (1, True, "no scenarios in"),
])
def test_what_cannot_be_measured_is_said_before_the_engine_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int, found: bool, said: str,
) -> None:
    monkeypatch.setattr(bench_lab, "find_spec", lambda name: name if found else None)
    monkeypatch.setattr(engine, "ensure", lambda _progress: pytest.fail("the engine was asked"))
    with pytest.raises(CannotError, match=said):
        bench_lab.bench_lab(rounds, tmp_path, Progress())
