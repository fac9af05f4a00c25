"""What is shown of a run: as spans, as text, as a trace; and the command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest

from moslab.cli import main
from moslab.history.record import History
from moslab.history.stored import Run, load, to_json
from moslab.report.html import page
from moslab.report.perfetto import trace
from moslab.report.picture import Span, Tenure, Twice, cut_in_words, moment, picture
from moslab.report.text import timeline
from moslab.simulator.draw import draw_plan
from tests.unit.report.made import BAD, made

EMPTY = Run("", "", None, "", "", "unknown", ["no node reads the journals"], 0.0, History(2), [], [])


def test_a_group_runs_in_tenures_and_is_without_one_between_them() -> None:
    shown = picture(made())
    assert [one for one in shown.tenures if one.group == "db"] == [
        Tenure("db", 3, "1700.1", 1.0, 6.0), Tenure("db", 2, "1700.2", 7.0, 20.0),
    ], "two processes are one tenure, a test is none"
    assert shown.gaps == {"10.0.0.9": [Span(8.0, 20.0)], "db": [Span(6.0, 7.0)], "never": [], "web": []}
    assert shown.twice == [Twice("web", (1, 2), 7.5, 8.0)]
    assert (shown.begin_s, shown.end_s, shown.nodes) == (0.25, 20.0, [1, 2, 3])


@pytest.mark.parametrize(("end_s", "goes_on"), [(19.6, True), (19.4, False), (inf, True)])
def test_a_journal_is_behind_for_a_little(end_s: float, goes_on: bool) -> None:
    run = made()
    web = [one._replace(end_s=end_s) for one in run.history.intervals if one.group == "web" and one.node == 2]
    shown = picture(replace(run, history=replace(run.history, intervals=web)))
    assert shown.gaps["web"] == ([] if goes_on else [Span(end_s, 20.0)])
    assert ("web ends" in {event.text for event in shown.events}) != goes_on


def test_a_node_is_blind_without_a_majority() -> None:
    shown = picture(made())
    assert shown.blind == {1: [Span(5.0, 10.0)], 2: [], 3: []}
    untold = replace(made(), history=replace(made().history, contacts={}))
    assert picture(untold).blind == {1: [], 2: [], 3: []}, "who tells nothing accuses nobody"


@pytest.mark.parametrize(("links", "said"), [
    ([(1, 2), (2, 1), (1, 3), (3, 1)], "1 from 2 3"),
    ([(1, 2), (3, 2)], "2 does not hear 1 3"),
    ([(2, 1), (2, 3)], "2 is not heard by 1 3"),
    ([(0, 2)], "2 does not hear the power switch"),
    ([(1, 2), (3, 4), (4, 3)], "3 from 4; 1 is not heard by 2"),
])
def test_a_cut_in_words(links: list[tuple[int, int]], said: str) -> None:
    assert cut_in_words(links) == said


def test_every_link_of_a_cut_is_said_once() -> None:
    halves = [(a, b) for a in (1, 2) for b in (3, 4)] + [(b, a) for a in (1, 2) for b in (3, 4)]
    assert cut_in_words(halves) == "1 from 3 4; 2 from 3 4"


@pytest.mark.parametrize(("problem", "at_s"), [
    ("overlap: web: nodes 1 (epoch 1.5) and 2 (epoch 1.6) for 0.5000 s from 7.5000", 7.5),
    ("quorum: web runs on node 5 at 10.5000, which has had no majority since 1.4000", 10.5), ("epochs: no time", None),
    ("lives: at -1.5000", -1.5),
])
def test_the_moment_of_a_problem(problem: str, at_s: float | None) -> None:
    assert moment(problem) == at_s


def rows(text: str) -> dict[str, str]:
    """Those of groups and nodes, by name."""
    names = ["10.0.0.9", "db", "never", "web", "node 1", "node 2", "node 3"]
    return {name: line[10:] for name in names for line in text.splitlines() if line.startswith(name.ljust(10))}


def test_the_text_has_a_row_for_each_group_and_node() -> None:
    found = rows(timeline(made(), width=10 + 79))              # a column is a quarter of a second
    assert len({len(row.rstrip()) for row in found.values()}) == 1
    assert found["web"] == "···" + "1" * 26 + "!!" + "2" * 48
    assert found["db"] == "···" + "3" * 20 + "····" + "2" * 52
    assert set(found["never"]) == {"·"}
    assert found["node 1"] == "───" + "█" * 16 + "/" * 18 + "#" * 22 + "─" * 20
    assert found["node 3"].count("=") == 4
    assert found["node 2"].endswith("~" * 24)


def test_the_shortest_overlap_is_seen() -> None:
    run = made()
    short = [one._replace(end_s=7.5001) if one.end_s == 8.0 else one for one in run.history.intervals]
    text = timeline(replace(run, history=replace(run.history, intervals=short)), width=60)
    assert rows(text)["web"].count("!") == 1


def test_the_text_tells_what_happened_in_order_up_to_a_bound() -> None:
    lines = timeline(made()).splitlines()
    told = [line for line in lines if line[4:12].strip().replace(".", "").isdigit() and "  " in line]
    assert [float(line.split()[0]) for line in told] == sorted(float(line.split()[0]) for line in told)
    for said in (
        "invalid", "5.0000           cut: 1 from 2; 1 does not hear 3", "9.5000  node 1   off", "node 1   is shot",
        "8.0000  node 1   web ends", "again: pytest 'test_it[sim]' --seed=7",
    ):
        assert any(line.endswith(said) for line in lines), said
    assert "… and " in timeline(made(), events_max=3)


def test_text_and_page_name_the_rules_of_which_nothing_was_seen() -> None:
    said = "nothing was seen of: overlap, quorum"
    assert said in timeline(EMPTY)
    assert f'"unseen":"{said}' in page(EMPTY)


def test_nothing_reaches_the_terminal_that_it_obeys() -> None:
    text = timeline(made(BAD))
    assert "\\x1b[31m" in text
    assert all(character.isprintable() or character == "\n" for character in text)


def test_a_run_of_which_nothing_is_known() -> None:
    assert "unknown" in timeline(EMPTY)
    assert "no node reads the journals" in page(EMPTY)
    assert json.loads(trace(EMPTY))["traceEvents"]


def events(run: Run, phase: str) -> list[dict[str, Any]]:
    return [event for event in json.loads(trace(run))["traceEvents"] if event["ph"] == phase]


def test_a_trace_has_a_process_for_each_node_and_threads_that_overlap_nothing() -> None:
    names = {event["pid"]: event["args"]["name"] for event in events(made(), "M") if event["name"] == "process_name"}
    assert names == {0: "cluster (invalid)", 1: "node 1", 2: "node 2", 3: "node 3"}
    pieces = events(made(), "X")
    threads: dict[int, list[tuple[float, float]]] = {}
    for piece in pieces:
        threads.setdefault(piece["tid"], []).append((piece["ts"], piece["ts"] + piece["dur"]))
    for spans in threads.values():
        assert all(one[1] <= two[0] for one, two in zip(sorted(spans), sorted(spans)[1:]))
    (twice,) = [piece for piece in pieces if piece["cat"] == "twice"]
    assert (twice["ts"], twice["dur"]) == (7_250_000.0, 500_000.0)
    assert {event["name"] for event in events(made(), "i")} >= {"web: given up", "is shot", "off"}
    assert all(piece["dur"] < inf for piece in pieces)


def test_the_page_has_nothing_from_elsewhere_and_no_markup_of_a_run() -> None:
    text = page(made(BAD))
    assert text.count("<script") == 2
    assert "<img" not in text
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(|<link|<iframe", text)
    assert not re.findall(r"\{\{\w+\}\}", page(made())), "all that is to be filled is filled"
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert BAD in [line[3] for line in data["lines"]]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "history.json"
    file.write_text(to_json(made()))
    assert main(["report", str(file)]) == 0
    assert "web runs on nodes 1 and 2 at once" in capsys.readouterr().out
    assert main(["report", str(file), "--html", str(tmp_path / "a.html"), "--perfetto", str(tmp_path / "a.json")]) == 0
    said = capsys.readouterr().out
    assert said == f"invalid: {tmp_path / 'a.html'}\ninvalid: {tmp_path / 'a.json'}\n"
    assert (tmp_path / "a.html").read_text() == page(made())
    assert main(["report", str(file), "--html", str(tmp_path / "no" / "a.html")]) == 1
    file.write_text("{}")
    assert main(["report", str(file)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f'moslab: {file}: a history is an object with "format": 4'


def test_the_simulator_keeps_a_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "history.json"
    seed = next(seed for seed in range(1000) if set(draw_plan(seed, 3).heal) < {1, 2, 3})
    assert main(["sim", "--seed", str(seed), "--nodes", "3", "--save", str(file)]) == 0
    kept = load(file)
    assert (kept.world, kept.seed, kept.verdict, kept.again) == (
        "sim", seed, "valid", f"moslab sim --seed {seed} --nodes 3 --trace",
    )
    assert kept.log
    healed = set(draw_plan(seed, 3).heal)
    suffer = [{*fault.nodes, *map(int, re.findall(r"\d+", fault.detail if fault.kind == "cut" else ""))}
              for fault in kept.faults if fault.end_s == inf]
    assert not any(nodes <= healed for nodes in suffer), "what healed nodes suffered has an end"
    assert len(suffer) < len(kept.faults) == len(draw_plan(seed, 3).faults)
    assert main(["sim", "--seeds", "1..2", "--save", str(file)]) == 2
