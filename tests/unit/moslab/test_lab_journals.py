"""The history of the tickers, from what they wrote: torn lines, killed runs, freezes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moslab import reader
from moslab.history.intervals import Interval, overlaps
from moslab.journals import Freeze, Life, Look, look_of

NS = 1_000_000_000


def journal(
    under: Path, node: int, lines: list[tuple[str, float]], pid: int = 7, epoch: str = "2", tail: str = ""
) -> None:
    under.mkdir(exist_ok=True)
    text = "".join(f"{word} {int(at_s * NS)} {node} {pid} {epoch}\n" for word, at_s in lines)
    (under / f"{node}-{pid}-{int(lines[0][1] * NS)}.log").write_text(text + tail)


def lives(directory: Path, whole: bool = True) -> list[Life]:
    return list(look_of({"now": 0.0, "lives": reader.lives(str(directory), whole)}).lives)


def test_a_run_is_from_its_first_line_to_its_last_whole_one(tmp_path: Path) -> None:
    ticks = [("tick", 1.0 + 0.01 * n) for n in range(10)]
    journal(tmp_path / "kv", 1, [("start", 0.99), *ticks], tail="tick 999999")
    journal(tmp_path / "tick", 2, [("start", 3.0), ("tick", 3.01), ("stop", 3.02)], epoch="1795.3")
    assert lives(tmp_path) == [
        Life("kv", 1, 7, "2", 0.99, 1.09, False, ()), Life("tick", 2, 7, "1795.3", 3.0, 3.02, True, ()),
    ]
    assert lives(tmp_path, whole=False) == lives(tmp_path), "the same from head and tail alone"
    for path in tmp_path.glob("*/*.log"):
        os.utime(path, (1, 1))
    assert lives(tmp_path, whole=False) == []


def test_a_run_goes_on_from_its_full_file(tmp_path: Path) -> None:
    journal(tmp_path / "kv", 1, [("start", 1.0), ("tick", 1.5)])
    (path,) = tmp_path.glob("kv/*.log")
    path.rename(f"{path}.old")
    path.write_text(f"start {NS} 1 7 2\ntick {int(1.51 * NS)} 1 7 2\n")
    assert lives(tmp_path) == [Life("kv", 1, 7, "2", 1.0, 1.51, False, ((1.0, 1.5),))]


@pytest.mark.parametrize("text", ["", "tick", "tick x 1 7 2\n", "start 12"])
def test_what_is_no_journal_gives_no_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "kv").mkdir()
    (tmp_path / "kv" / "1-7-1.log").write_text(text)
    assert lives(tmp_path) == []


def test_an_interval_is_cut_only_where_a_freeze_is_known() -> None:
    life = Life("kv", 1, 7, "2", 0.0, 9.0, False, ((2.0, 4.0), (5.0, 5.2)))
    whole = [Interval("kv", 1, 7, "2", 0.0, 9.0)]
    assert life.pieces() == whole
    assert life.pieces([Freeze(2, None, 2.0, 4.0), Freeze(1, "tick", 2.0, 4.0), Freeze(1, None, 6.0, 7.0)]) == whole
    cut = [Interval("kv", 1, 7, "2", 0.0, 2.0), Interval("kv", 1, 7, "2", 4.0, 9.0)]
    assert life.pieces([Freeze(1, None, 2.1, 3.9)]) == life.pieces([Freeze(1, "kv", 1.9, 4.1)]) == cut


def test_a_frozen_node_overlaps_only_after_its_thaw() -> None:
    frozen = Life("kv", 1, 7, "1", 0.0, 9.03, False, ((2.0, 9.0),))
    other = Life("kv", 2, 7, "2", 5.0, 20.0, False, ())
    look = Look(20.0, (frozen, other))
    assert [overlap.duration_s for overlap in overlaps(look.intervals())] == [pytest.approx(4.03)]
    (after,) = overlaps(look.intervals([Freeze(1, None, 1.9, 9.0)]))
    assert after.duration_s == pytest.approx(0.03)


def test_who_runs_now() -> None:
    old, new = Life("kv", 1, 7, "1", 0.0, 5.0, False, ()), Life("kv", 2, 9, "2", 6.0, 9.9, False, ())
    stopped = Life("kv", 3, 9, "3", 6.0, 9.9, True, ())
    assert Look(10.0, (old, new, stopped)).owner("kv") == 2
    assert Look(10.0, (old, new, new._replace(node=3))).owner("kv") is None
    assert Look(20.0, (old, new)).owner("kv") is None
