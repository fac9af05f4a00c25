"""What bench-idle makes of what the engine and the nodes say."""

from __future__ import annotations

from moslab.bench_idle import MIB, idle_rows, memory_bytes, tool_row
from moslab.tooltime import rounds_of


def test_fewer_nodes_have_their_share_of_the_target() -> None:
    processor, memory = idle_rows(32, 0.06, 500.0 * MIB)
    assert (processor["ours"], processor["target"], processor["met"]) == (60.0, 50.0, False)
    assert (memory["ours"], memory["met"]) == (500.0, True)
    assert idle_rows(64, 0.06, 0.0)[0]["met"]


def test_memory_is_less_what_the_kernel_can_take_back_in_both_versions_of_cgroups() -> None:
    for name in ("total_inactive_file", "inactive_file"):
        assert memory_bytes({"memory_stats": {"usage": 100, "stats": {name: 30}}}) == 70
    assert memory_bytes({"memory_stats": {"usage": 100}}) == 100


def test_the_probes_of_a_tool_are_no_time_of_its_own() -> None:
    row = tool_row("mosctl status 2", 5, 52.0, 1, 20.0)
    assert (row["ours"], row["met"], row["metric"]) == (32.0, True, "`mosctl status 2` beside 1 probe")
    assert not tool_row("mps", 5, 52.0, 0, 20.0)["met"]


def test_probes_of_all_nodes_are_made_some_at_a_time() -> None:
    assert [rounds_of(sent, 64, 10) for sent in (0, 1, 2, 63, 126)] == [0, 1, 2, 7, 14]
    assert [rounds_of(sent, 3, 10) for sent in (0, 1, 2, 4)] == [0, 1, 1, 2]
