"""The lease of one identity: good for L after the Q-th latest write of its slot that a voter counted.

Rules (R5):

1. A counted write is worth ``began + L``, where ``began`` is when it was *issued*, and only from the voter where it was
   done. The lease ends with the Q-th latest of these.
2. A write that completes when the lease in force has ended changes nothing: the identity is void, for ever. Before the
   first lease, the one "in force" ends L after the very first write of this identity was issued.
"""

from __future__ import annotations


class Lease:
    """Times in seconds of one clock."""

    def __init__(self, quorum: int, lease_s: float) -> None:
        self._quorum, self._lease_s = quorum, lease_s
        self._began: dict[int, float] = {}
        self._first: float | None = None
        self._end: float | None = None
        self._lapsed = False

    @property
    def end(self) -> float | None:
        """When it ends, None before there is one."""
        return self._end

    def writes(self, now: float) -> None:
        """A write of the slot is about to be issued."""
        if self._first is None:
            self._first = now

    def counted(self, now: float, voter: int, began: float) -> None:
        """The write that was issued at ``began`` is known, at ``now``, to be on that voter."""
        if self.is_void(now):
            return
        self._began[voter] = max(began, self._began.get(voter, began))
        if len(self._began) >= self._quorum:
            end = sorted(self._began.values(), reverse=True)[self._quorum - 1] + self._lease_s
            self._end = end if self._end is None else max(end, self._end)

    def move(self, other: Lease) -> None:
        """Go on as the lease that other voters counted; what these had counted remains good."""
        assert other._end is not None
        self._quorum, self._began = other._quorum, other._began
        self._end = other._end if self._end is None else max(self._end, other._end)

    def is_valid(self, now: float) -> bool:
        return not self.is_void(now) and self._end is not None

    def is_void(self, now: float) -> bool:
        """Whether it has ended; once void, void for ever."""
        if not self._lapsed:
            limit = self._end if self._end is not None else None if self._first is None else self._first + self._lease_s
            self._lapsed = limit is not None and now >= limit
        return self._lapsed
