"""What another machine's clock is behind or ahead of ours, and how sure that is.

Rules:

1. Every answer of a machine has its monotonic time in it, and was made between our question and its arrival: so each
   is a bound from both sides, exact to half of what it took.
2. From one answer on the bounds widen with time: two clocks drift apart by ``DRIFT`` at most, which is what a kernel
   lets NTP slew one by, twice, for ours and theirs. What lies between two answers is bounded by both.
3. Bounds that exclude each other mean that a clock was stopped or set: nothing is known then, a LabError.
"""

from __future__ import annotations

from typing import NamedTuple

from moslab.errors import LabError

DRIFT = 2 * 500e-6
EVERY_S = 1.0
"""Of the answers in such a span the most exact one is remembered."""


class Sample(NamedTuple):
    """At their time our clock was ahead of theirs by something between ``low_s`` and ``high_s``."""

    theirs_s: float
    low_s: float
    high_s: float


class Moment(NamedTuple):
    """A time of our clock, give or take."""

    at_s: float
    error_s: float


class Clock:
    """One machine's, from one boot to the next."""

    def __init__(self) -> None:
        self._samples: dict[int, Sample] = {}

    def answered(self, asked_s: float, theirs_s: float, heard_s: float) -> None:
        """Rule 1: we asked, they said this, we heard it."""
        new = Sample(theirs_s, asked_s - theirs_s, heard_s - theirs_s)
        place = int(theirs_s / EVERY_S)
        old = self._samples.get(place, new)
        self._samples[place] = min(old, new, key=lambda one: one.high_s - one.low_s)

    def ours(self, theirs_s: float) -> Moment:
        """That time of theirs, by our clock; LabError by rule 3, or if they never answered."""
        if not self._samples:
            raise LabError("a machine whose clock is not known")
        samples = self._samples.values()
        low_s = max(one.low_s - DRIFT * abs(theirs_s - one.theirs_s) for one in samples)
        high_s = min(one.high_s + DRIFT * abs(theirs_s - one.theirs_s) for one in samples)
        if low_s > high_s:
            raise LabError("the clock of a machine went on by more, or less, than a clock does: it was stopped, or set")
        return Moment(theirs_s + (low_s + high_s) / 2, (high_s - low_s) / 2)
