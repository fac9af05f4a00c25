"""Times as people write them: ``90``, ``90s``, ``2m``, ``1h``."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError

UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """For argparse: ArgumentTypeError if it is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text, re.ASCII)
    if found is None or not float(found[1]):
        raise ArgumentTypeError(f"{text!r} is no time: 90, 90s, 2m, 1h")
    return float(found[1]) * UNITS_S[found[2]]
