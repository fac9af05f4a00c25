"""``moslab report``: shows a run that somebody has kept as ``history.json``."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from moslab.errors import LabError
from moslab.history.stored import load
from moslab.report.html import page
from moslab.report.perfetto import trace
from moslab.report.text import timeline


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("history", metavar="HISTORY", type=Path, help="a history.json")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write it as one page for a browser")
    parser.add_argument("--perfetto", metavar="FILE", type=Path, help="write a trace for https://ui.perfetto.dev")
    parser.add_argument("--text", action="store_true", help="print it (what is done without --html and --perfetto)")


def report(arguments: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    run = load(arguments.history)
    for file, made in ((arguments.html, page), (arguments.perfetto, trace)):
        if file is not None:
            _write(file, made(run))
            print(f"{run.verdict}: {file}")
    if arguments.text or (arguments.html is None and arguments.perfetto is None):
        sys.stdout.write(timeline(run, shutil.get_terminal_size((100, 24)).columns))
    return 0


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LabError(f"{file}: {error.strerror}") from None
