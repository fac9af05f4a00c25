"""``mosmon``: a bar for each node, in a terminal: load, speed, memory or utilizability, from ``info/infos``.

Rules:

1. A node is shown as dead when three readings in turn say so: one probe that is lost is no death. Dead nodes are shown
   with ``d`` only, as a vertical ``DEAD``.
2. Options and keys are the same letters: l load, L load on a log scale, s speed, m memory, r raw memory, u
   utilizability, d dead nodes, t totals; ``+N`` begins with node N. Keys alone: y sets the yardstick, q ends.
3. Numbers are horizontal with w, vertical with v, vertical and tight with V; with a (as at first) vertical if all nodes
   can be seen then, else horizontal.

Its words are the genuine ones; what is where between them is ours.
"""

from __future__ import annotations

import math
import struct
import sys

from emulator.tools import hpcfile
from emulator.tools.hpcfile import complain
from emulator.tools.screen import REVERSE, Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from emulator.tools.screen import Ask

UP = 2
DEAD_AFTER = 3
EVERY_S = 1.0
MIB = 1 << 20
GUTTER = 6
DEAD = "DEAD"
RECORD = struct.Struct("<IHHHHQQQ")
NUMBERING = "wvVa"
USAGE = "Usage: mosmon [-w|-v|-V|-a] [-l|-L|-s|-m|-r|-u] [-d] [-t] [+NODE_NUMBER]"


class Info:
    """One record of ``info/infos``."""

    __slots__ = ("cpus", "load", "mem", "rmem", "speed", "status", "tmem", "util")

    def __init__(
        self, load: int, speed: int, cpus: int, util: int, status: int, mem: int, rmem: int, tmem: int
    ) -> None:
        self.load = load
        self.speed = speed
        self.cpus = cpus
        self.util = util
        self.status = status
        self.mem = mem
        self.rmem = rmem
        self.tmem = tmem


class Mode:
    """What a bar shows: its name, its value, its whole (of which the value is a part) or None."""

    __slots__ = ("name", "value", "whole")

    def __init__(
        self, name: str, value: Callable[[Info], float], whole: Callable[[Info], float] | None = None
    ) -> None:
        self.name = name
        self.value = value
        self.whole = whole


def _log(info: Info) -> float:
    return math.log10(1 + info.load)


MODES = {
    "l": Mode("LOAD", lambda info: info.load / 100),
    "L": Mode("LOAD", _log),
    "s": Mode("SPEED", lambda info: info.speed),
    "m": Mode("MEMORY", lambda info: (info.tmem - info.mem) / MIB, lambda info: info.tmem / MIB),
    "r": Mode("RAW MEMORY", lambda info: (info.tmem - info.rmem) / MIB, lambda info: info.tmem / MIB),
    "u": Mode("UTIL", lambda info: info.util),
}


class Monitor:
    """What is shown."""

    def __init__(self, words: list[str]) -> None:
        """ValueError if ``words`` are no options."""
        self._mode = MODES["l"]
        self._numbering = "a"
        self._dead = self._totals = False
        self._first = 1
        self._misses: dict[int, int] = {}
        for word in words:
            if word.startswith("+") and hpcfile.is_number(word[1:]):
                self._first = int(word[1:])
            elif len(word) != 2 or word[0] != "-" or not self.key(word[1]):
                raise ValueError(word)

    def key(self, letter: str) -> bool:
        """Change what is shown; whether the letter says anything."""
        if letter in MODES:
            self._mode = MODES[letter]
        elif letter in NUMBERING:
            self._numbering = letter
        elif letter == "d":
            self._dead = not self._dead
        elif letter == "t":
            self._totals = not self._totals
        else:
            return False
        return True

    def chart(self, nodes: dict[int, Info], width: int, height: int) -> list[str]:
        """The lines for these nodes, the configured ones."""
        if not nodes:
            return ["[openMosix Not Configured]"]
        for node, info in nodes.items():
            self._misses[node] = 0 if info.status & UP else self._misses.get(node, DEAD_AFTER - 1) + 1
        live = {node: info for node, info in nodes.items() if self._misses[node] < DEAD_AFTER}
        shown = [node for node in nodes if node >= self._first and (self._dead or node in live)]
        numbers, wide = self._numbers(shown, width - GUTTER)
        shown = shown[: max(0, width - GUTTER) // wide]
        rows = max(4, height - len(numbers) - 1)
        top = max((self._top(live[node]) for node in shown if node in live), default=0) or 1.0
        bars = [self._bar(live[node], top, rows) if node in live else DEAD.rjust(rows) for node in shown]
        label = self._mode.name.replace(" ", "").center(rows)
        lines = []
        for row in range(rows):
            scale = f"{top:.4g}" if row == 0 else ""
            cells = "".join(bar[row].rjust(wide) for bar in bars)
            lines.append(f"{scale[: GUTTER - 2]:>{GUTTER - 2}}{label[row]}|{cells}")
        if self._mode.name == "LOAD" and not any(live[node].load for node in shown if node in live):
            lines[rows // 2] = f"{lines[rows // 2]}  {REVERSE}IDLE{REVERSE}"
        lines += [" " * GUTTER + number[: wide * len(shown)] for number in numbers]
        totals = f"  [Total {len(live)}] [CPUs {sum(info.cpus for info in live.values())}]" if self._totals else ""
        return [*lines, f"Node #{totals}"]

    def _numbers(self, nodes: list[int], width: int) -> tuple[list[str], int]:
        """The lines that number these nodes, and how wide each column is."""
        digits = max((len(str(node)) for node in nodes), default=1)
        numbering = self._numbering
        if numbering == "a":
            numbering = "v" if 2 * len(nodes) <= width else "w"
        if numbering == "w":
            return ["".join(str(node).rjust(digits + 1) for node in nodes)], digits + 1
        wide = 1 if numbering == "V" else 2
        padded = [str(node).ljust(digits) for node in nodes]
        return ["".join(number[digit].rjust(wide) for number in padded) for digit in range(digits)], wide

    def _top(self, info: Info) -> float:
        return (self._mode.whole or self._mode.value)(info)

    def _bar(self, info: Info, top: float, rows: int) -> str:
        """A column from top to bottom: ``#`` for the value, ``+`` up to the whole."""
        value, whole = (round(rows * part / top) for part in (self._mode.value(info), self._top(info)))
        return " " * (rows - whole) + "+" * (whole - value) + "#" * value


def set_yardstick(ask: Ask) -> None:
    """Ask for the speed that counts as one processor; what the kernel refuses stays as it is."""
    try:
        hpcfile.write("admin/sspeed", b"%d\n" % int(ask("Yardstick speed: ")))
    except (OSError, ValueError):
        pass


def read_nodes() -> dict[int, Info]:
    """The records of the nodes that are configured; none where they cannot be read."""
    try:
        data = hpcfile.read_all("info/infos")
    except OSError:
        return {}
    records = RECORD.iter_unpack(data[: len(data) // RECORD.size * RECORD.size])
    infos = ((node, Info(*record)) for node, record in enumerate(records, 1))
    return {node: info for node, info in infos if info.status}


def main() -> int:
    """Run ``mosmon`` with the arguments of this process; the exit code."""
    if not hpcfile.exists():
        complain("mosmon: This is NOT a openMosix system!")
        return 1
    try:
        monitor = Monitor(sys.argv[1:])
    except ValueError:
        complain(USAGE)
        return 1
    return Screen(
        lambda width, height: monitor.chart(read_nodes(), width, height),
        lambda key, ask: set_yardstick(ask) if key == "y" else monitor.key(key),
        EVERY_S,
    ).run()


if __name__ == "__main__":
    sys.exit(main())
