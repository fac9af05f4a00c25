"""``history.json``: a run, of which every report can be made, and which reads the same when it is written again; or an
error that says where."""

from __future__ import annotations

import json

from moslab.history.stored import HistoryError, from_json, to_json
from moslab.report.html import page
from moslab.report.perfetto import trace
from moslab.report.text import timeline
from tests.fuzz.target import Target
from tests.unit.report.made import BAD, made

SAID_MAX = 300


def check_history(data: bytes) -> None:
    try:
        run = from_json(data.decode("utf-8", "replace"))
    except HistoryError as error:
        assert 0 < len(str(error)) < SAID_MAX
        return
    again = to_json(run)
    assert to_json(from_json(again)) == again
    assert all(character.isprintable() or character == "\n" for character in timeline(run))
    assert page(run).count("<script") == 2
    json.loads(trace(run))


SEEDS = tuple(to_json(made(text)).encode() for text in ("web: given up", BAD))
WORDS = (b"null", b"-1e11", b"1e11", b"0", b'"begin_s": ', b'"x>1 1>1"', b'"cut"', b'"1 2"', b"[]", b"{}")
TARGETS = (Target("history.json", check_history, SEEDS, WORDS, share=0.02, bytes_max=8192),)
