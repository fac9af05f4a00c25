"""The clocks of a node's agent, wrong as somebody wants them: for tests, never the machine's own.

Rules:

1. ``FILE`` of a node says how they are. A program that calls :func:`install` as it begins sees them so, with all that
   it forks; a node without the file has the machine's. What the agent starts, and who asks the C library itself, has
   these anyway.
2. The wall clock is off by some seconds, as if somebody had set it. The one that counts while the machine sleeps
   (CLOCK_BOOTTIME) runs faster or slower by a part of 1, and goes on from where it is when that ends: it is slewed,
   and never jumps. All others are right.
3. There is place for two states in the file, and a byte that says which one holds: who changes it writes the other
   state, then that byte. Nobody else may write meanwhile. It is mapped, so a reader needs no descriptor.

As a program: ``clocks jump SECONDS`` (off by so much in all), ``clocks slew PART`` (more than -1); 0: right.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import struct
import sys
import time
from collections.abc import Sequence

FILE = "/etc/clocks"
PROGRAM = "clocks"
STATE = struct.Struct("<dddd")   # how far the wall clock is off; since when, and by what part, the other one is slewed;
WORD, HOLDS, STATES = 0, 8, (16, 16 + STATE.size)        # and how far it was ahead then
GOOD, WRONG = b"right\n", b"wrong\n"
RIGHT = GOOD.ljust(STATES[1] + STATE.size, b"\0")
"""What the file says at first."""
BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
NS = 1_000_000_000

_gettime, _time_ns = time.clock_gettime, time.time_ns


class Clocks:
    """Those of one file; OSError or ValueError where there is none."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:                      # if only read, an overlay gives the image's own for ever
            self._shared = mmap.mmap(file.fileno(), len(RIGHT))

    def gettime(self, clock: int) -> float:
        """As clock_gettime()."""
        wall_s, since_s, by, ahead_s = self._state()
        now_s = _gettime(clock)
        if clock == BOOTTIME:
            return now_s + ahead_s + by * (now_s - since_s)
        return now_s + wall_s if clock == time.CLOCK_REALTIME else now_s

    def time(self) -> float:
        """As time()."""
        return self.gettime(time.CLOCK_REALTIME)

    def time_ns(self) -> int:
        """As time_ns()."""
        return _time_ns() + round(self._state()[0] * NS)

    def jump(self, by_s: float) -> None:
        """The wall clock is off by so much in all."""
        self._change((by_s, *self._state()[1:]))

    def slew(self, by: float) -> None:
        """From now on the other one is faster by that part."""
        wall_s, since_s, was, ahead_s = self._state()
        now_s = _gettime(BOOTTIME)
        self._change((wall_s, now_s, by, ahead_s + was * (now_s - since_s)))

    def _state(self) -> tuple[float, float, float, float]:
        wall_s, since_s, by, ahead_s = STATE.unpack_from(self._shared, STATES[self._shared[HOLDS]])
        return wall_s, since_s, by, ahead_s

    def _change(self, state: tuple[float, float, float, float]) -> None:
        """Rule 3."""
        other = 1 - self._shared[HOLDS]
        STATE.pack_into(self._shared, STATES[other], *state)
        self._shared[HOLDS] = other
        word = WRONG if state[0] or state[2] else GOOD
        self._shared[WORD:WORD + len(word)] = word


def install(path: str = FILE) -> None:
    """From now on the module ``time`` of this process tells them (rule 1)."""
    try:
        clocks = Clocks(path)
    except (OSError, ValueError):
        return
    for name, told in (("clock_gettime", clocks.gettime), ("time", clocks.time), ("time_ns", clocks.time_ns)):
        setattr(time, name, told)


def main(words: Sequence[str] | None = None, path: str = FILE) -> int:
    """Change them."""
    try:
        do, amount = words if words is not None else sys.argv[1:]
        change, by = {"jump": Clocks.jump, "slew": Clocks.slew}[do], float(amount)
        if not math.isfinite(by) or (do == "slew" and by <= -1):
            raise ValueError
    except (KeyError, ValueError):
        print("clocks jump SECONDS | slew PART", file=sys.stderr)
        return 2
    try:
        with open(path, "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            change(Clocks(path), by)
    except (OSError, ValueError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    return 0
