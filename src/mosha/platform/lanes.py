"""Who does the tasks of which key: the same in :mod:`mosha.platform.workers` and in the simulator.

Rules:

1. All tasks of one key that have not ended are in one lane, and no other key's are: whoever hangs holds up nobody else.
2. There are a few lanes from the first, so that on a usual map each key keeps what it holds open. Beyond those a key
   without a lane takes over the one that has been idle for longest; if none is idle, there is another one for it.
3. No more are kept than were at work at once in the latest two spans of ``SPAN_S``, nor more than ``LATER_MAX``: each
   is a process, and at rest few are asked. While so many work, or were lost and are not gone, no key gets a lane
   for what can wait (:data:`mosha.platform.plans.LATER`); what voters are asked gets one until there are ``LANES_MAX``.
4. A key of which ``STUCK_MAX`` lanes were lost and are not gone gets none before one of them is.
5. A negative key keeps its lane, and waits for none of this but rule 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Callable, Generic, Protocol, TypeVar

FEW = 8                          # at first, so that each of up to seven voters has one
SPAN_S = 60.0
LATER_MAX = 16
LANES_MAX = 64                   # more than 16 for others, and for seven voters and eight whom R16 asks three each
STUCK_MAX = 2


class Lane(Protocol):
    """``queue``: its tasks that have not ended, the one at work first."""

    key: int

    @property
    def queue(self) -> Sized: ...


L = TypeVar("L", bound=Lane)


class Lanes(Generic[L]):
    """See the head of the module; ``new`` makes one for a key, ``clock`` tells the time in seconds."""

    def __init__(self, new: Callable[[int], L], clock: Callable[[], float]) -> None:
        self._new, self._clock = new, clock
        self._lanes: dict[int, L] = {}               # by key, the one that was asked for latest last
        self._most, self._most_before = FEW, FEW     # that were at work at once in this span, and in the one before it
        self._span_ends = clock() + SPAN_S
        self.stuck: list[int] = []                   # the keys of those that were lost and are not gone

    def __iter__(self) -> Iterator[L]:
        return iter(self._lanes.values())

    def lane(self, key: int, can_wait: bool) -> L | None:
        """That of the key; None if it gets none now. What can wait is refused first."""
        lane = self._lanes.pop(key, None) or self._another(key, can_wait)
        if lane is not None:
            lane.key, self._lanes[key] = key, lane
        return lane

    def at_work(self) -> int:
        """How many have tasks, those with a negative key aside."""
        return sum(1 for lane in self._lanes.values() if lane.queue and lane.key >= 0)

    def surplus(self, lane: L) -> L | None:
        """The one to be ended, now that this one has become idle: beyond those that are kept, that which is idle
        longest."""
        shared, busy, idle = 0, int(lane.key >= 0), None
        for one in self._lanes.values():
            if one.key >= 0:
                shared += 1
                if one.queue:
                    busy += 1
                elif idle is None:
                    idle = one
        now = self._clock()
        if now >= self._span_ends:
            self._most, self._most_before, self._span_ends = 0, self._most, now + SPAN_S
        if busy > self._most:
            self._most = busy
        return idle if shared > self._kept() else None

    def are_enough(self) -> bool:
        """Whether there are as many as are kept: who wants another one in time of need gets it then."""
        return len(self._shared()) >= self._kept()

    def lose(self, lane: L) -> None:
        """Nothing is given to it any more; its key comes out of ``stuck`` when it is gone."""
        del self._lanes[lane.key]
        self.stuck.append(lane.key)

    def _shared(self) -> list[L]:
        return [lane for lane in self._lanes.values() if lane.key >= 0]

    def _kept(self) -> int:
        return min(LATER_MAX, max(self._most, self._most_before))

    def _another(self, key: int, can_wait: bool) -> L | None:
        if self.stuck.count(key) >= STUCK_MAX:
            return None
        if key >= 0:
            shared = self._shared()
            idle = [lane for lane in shared if not lane.queue]
            if len(shared) - len(idle) + len(self.stuck) >= (LATER_MAX if can_wait else LANES_MAX):
                return None
            if idle and len(shared) >= self._kept():
                return self._lanes.pop(idle[0].key)
        return self._new(key)
