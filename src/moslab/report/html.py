"""The report as one HTML file: what is drawn is data in it, the drawing a script (``page.js``).

Rules:

1. Nothing of a run is markup: its texts are JSON in which no ``<`` is, or escaped. The page's policy runs no other
   script than the one that is here by its hash, and lets nothing be fetched from anywhere.
2. Without scripts it shows the text for the terminal.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from importlib import resources
from typing import Any

from moslab.history.stored import Run
from moslab.report.picture import Picture, moment, picture
from moslab.report.text import timeline

DIGITS = 6                       # of a second
FOCUS_MARGIN = 0.08              # of what is shown first, before and after it


def page(run: Run) -> str:
    """The file."""
    shown = picture(run)
    parts = {name: resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
             for name in ("page.html", "page.css", "page.js")}
    filled = {
        "title": escape(run.title or "a run"), "outcome": escape(run.outcome), "style": parts["page.css"],
        "script": parts["page.js"], "style_hash": _hash(parts["page.css"]), "script_hash": _hash(parts["page.js"]),
        "data": json.dumps(_data(shown), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        "text": escape(timeline(run)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: filled[found[1]], parts["page.html"])


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data(shown: Picture) -> dict[str, Any]:
    run, history = shown.run, shown.run.history
    data = {
        "title": run.title or "a run", "world": run.world, "again": run.again, "failure": run.failure,
        "seed": None if run.seed is None else str(run.seed), "outcome": run.outcome,    # larger than a script's numbers
        "colour": "invalid" if run.failure else run.verdict,
        "problems": [(problem, moment(problem)) for problem in run.problems], "unseen": run.unseen,
        "lease": history.lease_s,
        "begin": shown.begin_s, "end": shown.end_s, "focus": _focus(shown), "healed": history.healed_s,
        "nodes": shown.nodes, "groups": shown.groups, "tenures": shown.tenures,
        "gaps": [(group, *gap) for group, gaps in shown.gaps.items() for gap in gaps], "twice": shown.twice,
        "bands": [(*band, band.title) for band in shown.bands],
        "blind": [(node, *span) for node, spans in shown.blind.items() for span in spans],
        "voters": [sorted(chosen.voters) for chosen in history.electorates],
        "contacts": [(*pair, *span) for pair, spans in sorted(history.contacts.items()) for span in spans],
        "processes": [(*one, one.pid in history.tests) for one in shown.processes],
        "lines": sorted([*shown.events, *((line.time_s, line.node, "log", line.text) for line in shown.log)],
                        key=lambda line: line[0]),
    }
    return {name: _rounded(value, shown.end_s) for name, value in data.items()}


def _rounded(value: Any, end_s: float) -> Any:
    """Without infinities, and with as many digits as anybody looks at."""
    if isinstance(value, float):
        return round(max(min(value, end_s), -1e12), DIGITS)
    if isinstance(value, (list, tuple)):
        return [_rounded(one, end_s) for one in value]
    return value


def _focus(shown: Picture) -> tuple[float, float]:
    """What is seen first: the part that the run is about."""
    begin_s = max(shown.begin_s, shown.run.begin_s)
    margin_s = FOCUS_MARGIN * (shown.end_s - begin_s)
    return max(shown.begin_s, begin_s - margin_s), shown.end_s
