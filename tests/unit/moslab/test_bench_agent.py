"""What bench-agent makes of what the nodes say, and what they read of /proc."""

from __future__ import annotations

from pathlib import Path

import pytest

from moslab.agentcost import Clinit, pss_kib, used_ticks
from moslab.bench_agent import MIB, crash_rows, level_rows, rest_rows


def test_the_verdict_is_about_the_node_that_takes_most() -> None:
    def node(processor_s: float, mib: float) -> dict[str, float]:
        return {"processor_s": processor_s, "pss_bytes": mib * MIB, "processes": 9}

    before = [node(100.0, 1.0), node(7.0, 1.0), node(0.0, 1.0)]
    processor, median, memory, _ = rest_rows(60.0, before, [node(100.1, 30.0), node(7.5, 20.0), node(0.2, 41.0)])
    assert (processor["ours"], processor["met"], median["ours"], median["met"]) == (30.0, False, 12.0, None)
    assert (memory["ours"], memory["met"]) == (41.0, False)
    assert rest_rows(60.0, before[:1], [node(100.1, 30.0)])[0]["met"]


def test_level_changes_stand_beside_a_shell_that_runs_the_same_commands() -> None:
    took_s = {"nothing": [0.004, 0.9, 0.005], "trivial": [0.16], "trivial shell": [0.02], "long": [1.3],
              "long shell": [1.0]}
    nothing, trivial, long = level_rows(took_s)
    assert (nothing["ours"], nothing["met"]) == (5.0, True)
    assert (trivial["ratio"], trivial["met"]) == (8.0, None)
    assert (long["ratio"], long["peer"], long["met"]) == (1.3, 1000.0, False)


def test_a_built_in_second_would_miss_its_target() -> None:
    took_s = {"nothing": [1.0], "trivial": [1.02], "trivial shell": [0.02], "long": [2.0], "long shell": [1.0]}
    assert [row["met"] for row in level_rows(took_s)] == [False, None, False]
    assert [row["met"] for row in crash_rows([0.01, 0.019, 1.0])] == [True, None]
    assert not crash_rows([0.021])[0]["met"]


def test_what_a_process_has_reaped_counts_whatever_its_name() -> None:
    assert used_ticks("12 (a) b) S 1 12 12 0 -1 4194560 1 2 3 4 50 6 700 8 20 0 1 0 99 0 0") == 50 + 6 + 700 + 8
    assert pss_kib("55-7f ---p 00000000 00:00 0 [rollup]\nRss: 9 kB\nPss:   123 kB\nPss_Anon: 7 kB\n") == 123


def test_a_clinit_that_does_not_begin_is_no_endless_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moslab.agentcost.LIMIT_S", 0.01)
    monkeypatch.setattr("moslab.agentcost.PROGRAM", "true")
    with pytest.raises(TimeoutError, match="clinit begins"):
        Clinit(str(tmp_path), [])
