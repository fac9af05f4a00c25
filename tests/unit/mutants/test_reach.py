"""Coverage by simulation: branches are not mixed with lines."""

from __future__ import annotations

from tests.mutants.reach import from_report


def test_branches_are_counted_by_themselves() -> None:
    report = {
        "totals": {"num_branches": 8, "covered_branches": 6, "num_statements": 100, "covered_lines": 99},
        "files": {"a.py": {"missing_branches": []}, "b.py": {"missing_branches": [[3, 5], [9, -1]]}},
    }
    assert from_report(report) == (75.0, 99.0, {"b.py": [[3, 5], [9, -1]]})
