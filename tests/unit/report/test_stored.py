"""``history.json``: what is written is read again, and what is wrong is refused with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moslab.history.stored import FILE_BYTES_MAX, HistoryError, Run, from_json, load, to_json
from moslab.simulator.draw import draw_plan
from moslab.simulator.run import run
from tests.unit.report.made import made


def test_what_is_written_is_read_again() -> None:
    stored = to_json(made())
    assert from_json(stored) == made()
    assert to_json(from_json(stored)) == stored


@pytest.mark.parametrize("seed", [1, 4])
def test_a_simulated_run_is_read_again(seed: int) -> None:
    result = run(draw_plan(seed, 5), traced=True)
    stored = result.stored("seed", "moslab sim")
    assert result.faults
    assert all(fault.begin_s <= fault.end_s for fault in result.faults)
    assert from_json(to_json(stored)) == stored


def changed(path: str, value: Any) -> str:
    """As made, but there that value; ``None`` for the value ``...`` takes it away."""
    data = json.loads(to_json(made()))
    *above, last = path.split("/")
    inside: Any = data
    for name in above:
        inside = inside[int(name) if isinstance(inside, list) else name]
    if value is ...:
        del inside[last]
    else:
        inside[int(last) if isinstance(inside, list) else last] = value
    return json.dumps(data)


@pytest.mark.parametrize(("path", "value", "said"), [
    ("format", 1, '"format": 4'),
    ("format", ..., '"format": 4'),
    ("verdict", "good", "verdict: valid, invalid or unknown, not 'good'"),
    ("title", 7, "title: a text, not 7"),
    ("seed", "7", "seed: a whole number, not '7'"),
    ("seed", True, "seed: a whole number, not True"),
    ("more", 1, "more is unknown"),
    ("again", ..., "again is missing"),
    ("history", [], "history: an object, not []"),
    ("history/nodes", 1001, "history.nodes: from 0 to 1000, not 1001"),
    ("history/intervals/2/begin_s", "x", r"history.intervals[2].begin_s: a number, not 'x'"),
    ("history/intervals/2/begin_s", None, r"history.intervals[2].begin_s: a number, not None"),
    ("history/intervals/2/begin_s", 1e300, r"history.intervals[2].begin_s: a number, not 1e+300"),
    ("history/intervals/0/node", 10**30, r"history.intervals[0].node: a whole number"),
    ("history/intervals/1/pid", ..., r"history.intervals[1].pid is missing"),
    ("history/intervals/1", None, r"history.intervals[1]: an object, not None"),
    ("history/thaws/0", [1.0], r"history.thaws[0]: a list of 2, not [1.0]"),
    ("history/contacts", {"1": []}, "history.contacts: a name of 2 numbers, not '1'"),
    ("history/waiting/db", 1.5, "history.waiting['db']: a whole number, not 1.5"),
    ("history/files", {"x": 1}, "history.files: a name of one number, not 'x'"),
    ("history/wanted", "web", "history.wanted: a list, not 'web'"),
    ("history/promised", 1, "history.promised: true or false, not 1"),
    ("faults/1/nodes", [None], r"faults[1].nodes[0]: a whole number, not None"),
    ("log/0", {"time_s": 1.0, "node": 1}, r"log[0].text is missing"),
    ("problems", ["x" * 200, 3], "problems[1]: a text, not 3"),
    ("title", {"x": "y" * 200}, "…"),
])
def test_what_is_wrong_is_named(path: str, value: Any, said: str) -> None:
    with pytest.raises(HistoryError) as error:
        from_json(changed(path, value))
    assert said in str(error.value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"format": NaN}', '{"format": 4}', "9" * 5000])
def test_what_is_no_history(text: str) -> None:
    with pytest.raises(HistoryError):
        from_json(text)


def test_infinity_is_no_number() -> None:
    with pytest.raises(HistoryError, match="Infinity is no number"):
        from_json(to_json(made()).replace("20.0", "Infinity", 1))


def test_a_file_is_named_by_its_errors(tmp_path: Path) -> None:
    file = tmp_path / "history.json"
    for content, said in ((None, "No such file"), (b"{}", "format"), (b"\xff", "utf-8")):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(HistoryError, match=said) as error:
            load(file)
        assert str(error.value).startswith(f"{file}: ")
    with open(file, "wb") as stream:
        stream.truncate(FILE_BYTES_MAX + 1)
    with pytest.raises(HistoryError, match="longer than"):
        load(file)


def test_a_run_has_all_that_is_known() -> None:
    assert set(json.loads(to_json(made()))) == {"format", *Run.__dataclass_fields__}
