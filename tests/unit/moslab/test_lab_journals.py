"""The history of the tickers, from what they wrote: torn lines, killed runs, freezes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import pytest

from moslab import reader
from moslab.faults import inside
from moslab.history.checkers import INVALID, UNKNOWN, VALID, judge, thaw_overlap_s
from moslab.history.intervals import Interval
from moslab.journals import Freeze, Life, Look, look_of

NS = 1_000_000_000


def journal(
    under: Path, node: int, lines: list[tuple[str, float]], pid: int = 7, epoch: str = "2", tail: str = ""
) -> None:
    under.mkdir(exist_ok=True)
    text = "".join(f"{word} {int(at_s * NS)} {node} {pid} {epoch}\n" for word, at_s in lines)
    (under / f"{node}-{pid}-{int(lines[0][1] * NS)}.log").write_text(text + tail)


def lives(directory: Path, whole: bool = True) -> list[Life]:
    return list(read(directory, whole).lives)


def read(directory: Path, whole: bool = True) -> Look:
    """As main does, at no time."""
    return look_of({"now": 0.0, "lives": reader.lives(str(directory), whole), "freezes": [],
                    "forgotten": reader.forgotten(str(directory))})


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


def test_who_waits_for_a_run_gets_the_only_one_that_began_later(tmp_path: Path) -> None:
    now_s = time.monotonic()
    journal(tmp_path / "kv", 1, [("start", now_s - 2.0), ("tick", now_s)])
    journal(tmp_path / "kv", 2, [("start", now_s - 9.0), ("tick", now_s - 8.0)], pid=8)
    journal(tmp_path / "kv", 3, [("start", now_s - 1.0), ("stop", now_s)], pid=9)
    journal(tmp_path / "tick", 3, [("start", now_s - 1.0), ("tick", now_s)])
    assert reader.runs(str(tmp_path), "kv", now_s - 3.0, 9.0)
    assert not reader.runs(str(tmp_path), "kv", now_s - 2.0, 0.01), "it began earlier"
    assert not reader.runs(str(tmp_path), "other", 0.0, 0.01)
    journal(tmp_path / "kv", 2, [("start", now_s - 0.5), ("tick", now_s)], pid=10)
    assert not reader.runs(str(tmp_path), "kv", now_s - 3.0, 0.01), "there are two"


def test_a_run_goes_on_from_its_full_file(tmp_path: Path) -> None:
    journal(tmp_path / "kv", 1, [("start", 1.0), ("tick", 1.5)])
    (path,) = tmp_path.glob("kv/*.log")
    path.rename(f"{path}.old")
    path.write_text(f"start {NS} 1 7 2\ntick {int(1.51 * NS)} 1 7 2\n")
    assert lives(tmp_path) == [Life("kv", 1, 7, "2", 1.0, 1.51, False, ((1.0, 1.5),))]


def test_what_was_forgotten_is_not_known_to_be_valid(tmp_path: Path) -> None:
    """An overlap that was written down was 'valid' after so many restarts that both its files were gone."""
    journal(tmp_path / "kv", 1, [("start", 8.0), ("tick", 9.0)])
    assert judge(read(tmp_path).history())[0] == VALID
    (tmp_path / "kv" / "1.forgotten").write_text(f"{int(1.5 * NS)}\n")
    word, problems = judge(read(tmp_path).history())
    assert (word, problems) == (
        UNKNOWN, ["the journals of kv on node 1 have forgotten some of what was until 1.500"],
    )
    assert judge(read(tmp_path).history(judged_s=1.4))[0] == UNKNOWN
    assert judge(read(tmp_path).history(judged_s=1.5))[0] == VALID, "it was judged before that, when it was all there"
    assert judge(read(tmp_path).since(1.0).history())[0] == UNKNOWN
    assert judge(read(tmp_path).since(2.0).history())[0] == VALID, "it was before the first of all that is judged"


@pytest.mark.parametrize("text", ["", "tick", "tick x 1 7 2\n", "start 12"])
def test_what_is_no_journal_gives_no_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "kv").mkdir()
    (tmp_path / "kv" / "1-7-1.log").write_text(text)
    assert lives(tmp_path) == []


def test_an_interval_is_cut_only_where_a_freeze_is_known() -> None:
    life = Life("kv", 1, 7, "2", 0.0, 9.0, False, ((2.0, 4.0), (5.0, 5.2)))
    whole = [Interval("kv", 1, 7, "2", 0.0, 9.0)]
    assert life.pieces([]) == whole
    assert life.pieces([Freeze(2, None, 2.0, 4.0), Freeze(1, "tick", 2.0, 4.0), Freeze(1, None, 6.0, 7.0)]) == whole
    cut = [Interval("kv", 1, 7, "2", 0.0, 2.0), Interval("kv", 1, 7, "2", 4.0, 9.0)]
    assert life.pieces([Freeze(1, None, 2.1, 3.9)]) == life.pieces([Freeze(1, "kv", 1.9, 4.1)]) == cut


def test_a_freeze_that_never_ended_hides_nothing_of_a_later_run() -> None:
    """The node was shot while it was frozen, and has booted since."""
    later = Life("kv", 1, 7, "2", 5.0, 9.0, False, ((6.0, 8.0),))
    assert later.pieces([Freeze(1, None, 2.0, float("inf"))]) == [Interval("kv", 1, 7, "2", 5.0, 9.0)]


def test_a_frozen_node_overlaps_only_after_its_thaw() -> None:
    frozen = Life("kv", 1, 7, "1", 0.0, 9.03, False, ((2.0, 9.0),))
    other = Life("kv", 2, 7, "2", 5.0, 20.0, False, ())
    verdict, problems = judge(Look(20.0, (frozen, other)).history())
    assert verdict == INVALID
    assert "for 4.0300 s from 5.0000" in problems[0]
    thawed = Look(20.0, (frozen, other), (Freeze(1, None, 1.9, 9.0),)).history()
    assert judge(thawed) == (VALID, [])
    assert thaw_overlap_s(thawed) == pytest.approx(0.03)
    longer = Look(20.0, (frozen._replace(end_s=9.06), other), (Freeze(1, None, 1.9, 9.0),)).history()
    assert judge(longer)[0] == INVALID
    stopped = Look(20.0, (frozen, other), (Freeze(1, "kv", 1.9, 9.0),)).history()
    assert judge(stopped)[0] == INVALID, "that was no whole node"


@pytest.mark.parametrize(("first", "second", "problem"), [
    ("7.3", "7.2", "after 7.3 on node 1"), ("7.3", "7.3", "on nodes 1 and 2"), ("7.3", "6.4", "after 7.3 on node 1"),
    ("7.3", "0", "has none on node 2"), ("7.9", "7.10", ""), ("7.9", "8.1", ""),
])
def test_tokens_only_grow(first: str, second: str, problem: str) -> None:
    """The runs have the same pid, as those of two nodes may."""
    lives = Life("kv", 1, 7, first, 0.0, 1.0, False, ()), Life("kv", 2, 7, second, 2.0, 3.0, False, ())
    verdict, problems = judge(Look(9.0, lives).history())
    assert (verdict, len(problems)) == (INVALID if problem else VALID, 1 if problem else 0)
    assert problem in "".join(problems)


def test_what_never_ran_is_not_judged() -> None:
    assert judge(Look(9.0, ()).history())[0] == UNKNOWN


def test_freezes_are_read_beside_the_journals(tmp_path: Path) -> None:
    assert reader.freezes(str(tmp_path)) == []
    (tmp_path / ".freezes").write_text(
        f"freeze {NS} 1\nfreeze {2 * NS} 2 kv\nthaw {3 * NS} 1\nthaw {3 * NS} 3\nfreeze {4 * NS} 1\n"
    )
    assert reader.freezes(str(tmp_path)) == [[1, None, 1.0, 3.0], [2, "kv", 2.0, None], [1, None, 4.0, None]]
    look = look_of({"now": 9.0, "lives": [], "freezes": reader.freezes(str(tmp_path)), "forgotten": []})
    assert look.freezes == (Freeze(1, None, 1.0, 3.0), Freeze(2, "kv", 2.0, float("inf")),
                            Freeze(1, None, 4.0, float("inf")))


def test_what_stands_still_is_written_down_before_and_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "FREEZES", str(tmp_path / ".freezes"))
    monkeypatch.setattr(inside, "find", lambda role, _group: [] if role == "agent" else [7])
    sent: list[tuple[int, int, int]] = []
    monkeypatch.setattr(inside, "send", lambda pids, signo: sent.append((*pids, signo, len(noted()))))

    def noted() -> list[list[str]]:
        path = tmp_path / ".freezes"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    for role, signo in (("group kv", SIGSTOP), ("group kv", SIGCONT), ("node", SIGSTOP), ("leash kv", SIGSTOP),
                        ("group kv", SIGKILL), ("node", SIGCONT)):
        monkeypatch.setattr(sys, "argv", ["inside", "3", role, str(int(signo))])
        assert inside.main() == 0
    assert [(line[0], *line[2:]) for line in noted()] == [
        ("freeze", "3", "kv"), ("thaw", "3", "kv"), ("freeze", "3"), ("thaw", "3"),
    ]
    assert sent[:2] == [(7, SIGSTOP, 1), (7, SIGCONT, 1)], "the line of a freeze comes first, that of a thaw last"
    monkeypatch.setattr(sys, "argv", ["inside", "3", "agent", str(int(SIGSTOP))])
    assert inside.main() == 1


def test_who_runs_now() -> None:
    old, new = Life("kv", 1, 7, "1", 0.0, 5.0, False, ()), Life("kv", 2, 9, "2", 6.0, 9.9, False, ())
    stopped = Life("kv", 3, 9, "3", 6.0, 9.9, True, ())
    assert Look(10.0, (old, new, stopped)).owner("kv") == 2
    assert Look(10.0, (old, new, new._replace(node=3))).owner("kv") is None
    assert Look(20.0, (old, new)).owner("kv") is None
