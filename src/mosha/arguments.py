"""What all commands have in common: options in full, and numbers that are said to be none in plain words."""

from __future__ import annotations

import argparse
from typing import Any

from mosha.tables.lines import NODE_MAX, is_node, is_whole

COUNT_MAX = 1_000_000


class Parser(argparse.ArgumentParser):
    """An option is known by its whole name: a later one that begins alike changes no script."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)


def node(text: str) -> int:
    """Raises ArgumentTypeError."""
    if not is_node(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a node: 1 to {NODE_MAX}")
    return int(text)


def count(text: str) -> int:
    """Raises ArgumentTypeError."""
    if not is_whole(text, 1, COUNT_MAX):
        raise argparse.ArgumentTypeError(f"{text!r} is no count: 1 to {COUNT_MAX}")
    return int(text)
