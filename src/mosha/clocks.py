"""Whether the clock of all deadlines agrees with a second one, which nobody slews (R1): told of both, it reads none."""

from __future__ import annotations

from mosha.timing import CLOCKS_APART_S, CLOCKS_SPAN_S, RHO


class Clocks:
    """Compares each look with one of up to ``CLOCKS_SPAN_S`` before; times in seconds, of the clock of deadlines."""

    def __init__(self) -> None:
        self._seen: tuple[float, float] | None = None        # the skew, and a time after it was seen

    def apart_s(self, before_s: float, skew_s: float | None, after_s: float) -> float:
        """How far the second clock went from the first by more than they may err, 0 if it did not. It was seen to be
        ``skew_s`` ahead between these times, which may be far apart; None: it could not be seen."""
        if skew_s is None:
            return 0.0
        skew_before_s, since_s = self._seen or (skew_s, before_s)
        apart_s = skew_s - skew_before_s
        is_apart = abs(apart_s) > RHO * (before_s - since_s) + CLOCKS_APART_S
        if is_apart or self._seen is None or before_s >= since_s + CLOCKS_SPAN_S:
            self._seen = skew_s, after_s
        return apart_s if is_apart else 0.0
