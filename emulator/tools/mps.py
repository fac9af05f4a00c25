"""``mps``: ``ps`` with the column NODE: where each process runs, 0 for home, -1 where there is no openMosix.

Rules:

1. Without a letter: the user's processes that have a terminal; ``a`` adds those of others, ``x`` those without one.
2. ``w`` does not cut lines at the width of the terminal, ``h`` leaves the head out, ``--ominfo`` adds NMIGS, LOCK and
   CANTMOVE.
3. Nothing to show is said on stderr, after the head; exit code 1.
"""

from __future__ import annotations

import os
import sys

from emulator.tools.hpcfile import complain, heed_signals
from emulator.tools.processlist import Process, clock, processes

LETTERS = set("axwh")
OMINFO = "--ominfo"
USAGE = f"Usage: mps [-][axwh] [{OMINFO}]"
COLUMNS = 80


def main() -> int:
    """Run ``mps`` with the arguments of this process; the exit code."""
    heed_signals()
    words = sys.argv[1:]
    letters = {letter for word in words if word != OMINFO for letter in word.lstrip("-")}
    if not letters <= LETTERS:
        complain(USAGE)
        return 1
    width = width_of(letters)
    ominfo = OMINFO in words
    if "h" not in letters:
        print(f"  PID TTY NODE {'NMIGS LOCK CANTMOVE ' if ominfo else ''}STAT TIME COMMAND", flush=True)
    shown = 0
    for process in processes():
        if wanted(process, letters):
            print(line(process, ominfo)[:width])
            shown += 1
    if not shown:
        complain("No processes available.")
        return 1
    return 0


def wanted(process: Process, letters: set[str]) -> bool:
    """Rule 1."""
    return ("a" in letters or process.uid == os.geteuid()) and ("x" in letters or process.terminal != "?")


def line(process: Process, ominfo: bool) -> str:
    """One line, as wide as it is."""
    added = ""
    if ominfo:
        added = f"{process.number('nmigs'):5d} {process.number('lock'):4d} {process.cantmove():<8} "
    where = f"{process.pid:5d} {process.terminal:>3} {process.where():4d} "
    return f"{where}{added}{process.state:<4}{clock(process.seconds)} {process.command}"


def width_of(letters: set[str]) -> int | None:
    if "w" in letters or not sys.stdout.isatty():
        return None
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        return COLUMNS


if __name__ == "__main__":
    sys.exit(main())
