"""What is wrong with the outlets of the power switch, for tests of STOMITH: a file for each that has a fault.

======  ==========================================================================
fails   nothing is switched off, and that is said
lies    it is switched off, and the opposite is said
slow    it is switched off ``LAG_S`` later
works   nothing is wrong, as where there is no file
======  ==========================================================================

Only ``off`` is concerned. None of them says *off* of a node that is on: nothing is promised with such a switch
(assumption A4 of docs/ownership.md).
"""

from __future__ import annotations

from pathlib import Path

DIRECTORY = "/run/outlets"
OUTLETS = FAILS, LIES, SLOW, WORKS = ("fails", "lies", "slow", "works")
LAG_S = 3.0
WORD_BYTES_MAX = 16


def outlet(node: int, directory: str = DIRECTORY) -> str:
    """How the node's outlet is; ValueError for a word that is none."""
    try:
        with (Path(directory) / str(node)).open(encoding="ascii") as file:
            word = file.read(WORD_BYTES_MAX).strip()
    except FileNotFoundError:
        return WORKS
    if word not in OUTLETS:
        raise ValueError(f"outlet {node}: {word!r} is none of {', '.join(OUTLETS)}")
    return word
