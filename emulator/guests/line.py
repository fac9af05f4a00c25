"""What two nodes say to each other of one guest: over one connection after the other, nothing lost and nothing twice.

Rules:

1. Frames but beats are numbered by their order, from 1 on, each way. A beat says how many came; what is sent is kept
   until then, ``KEPT_MAX`` bytes at most. A beat is said at once when ``BEAT_FRAMES`` came since the last one.
2. Over a new connection both say how many came, and what was not among them is sent again. Nothing more is taken from
   the old one by then; who took up the new one closes it.
3. A node that is not heard is silent, and is told nothing after ``MUTE_S``. A connection that ends after that was of a
   node that began anew; in genuine time, and with nothing under way, that is found by the next keepalive only.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import Callable

from emulator.fuse.protocol import Buffer
from emulator.guests import frames
from emulator.guests.frames import Frame, Kind
from emulator.mfs.link import Link
from emulator.mfs.pace import Pace

KEPT_MAX = 64 << 20
BEAT_FRAMES = 64
BEAT_S = 0.25
MUTE_S = 3 * BEAT_S
"""Who was not heard of for so long is told nothing, and so finds that it is not heard."""
_OF_THE_PATH = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.ETIMEDOUT)


def is_of_the_path(failure: OSError) -> bool:
    """Whether it is the network that failed, and not the other node that ended a connection."""
    return failure.errno in _OF_THE_PATH


def _ignore(_: object) -> None:
    pass


class Line:
    """The frames of one guest over ``link``, which is owned; ``taken`` of them came already.

    ``on_frame(frame, data)`` hears each frame that comes; ``on_end(error)`` that the connection was ended, not that the
    network was gone under it: then there is silence, or another connection.
    """

    def __init__(
        self,
        link: Link,
        on_frame: Callable[[Frame, memoryview], None],
        on_end: Callable[[OSError], None],
        taken: int = 0,
    ) -> None:
        self.taken = taken
        self._on_frame = on_frame
        self._on_end = on_end
        self.unconfirmed: deque[bytes] = deque()
        self._kept_bytes = 0
        self._confirmed = 0  # of what was sent; the first one that is kept is the next
        self._said = taken
        self._carry(link)

    @property
    def heard_s(self) -> float:
        """When the other node was heard last."""
        return self._link.heard_s

    def sleeps_through(self, failure: OSError, silent_s: float, pace: Pace) -> bool:
        """Rule 3: whether the end of the connection is not found yet."""
        if failure.errno != errno.ECONNRESET or silent_s <= MUTE_S or self.unconfirmed:
            return False
        self._found_s = pace.keepalive_s(silent_s)
        return self._found_s > 0

    def silence_s(self, pace: Pace) -> float:
        """How long the other node may be silent."""
        return self._found_s or pace.silence_s

    def send(self, buffers: list[Buffer]) -> None:
        """Send a frame. OSError EAGAIN if too much is not confirmed yet."""
        data = b"".join(buffers)
        if self._kept_bytes + len(data) > KEPT_MAX:
            raise BlockingIOError(errno.EAGAIN, f"{KEPT_MAX} bytes are not confirmed")
        self.unconfirmed.append(data)
        self._kept_bytes += len(data)
        self._link.send([data])

    def beat(self) -> None:
        """Say that this node lives, and what came."""
        self._said = self.taken
        self._link.send(frames.frame(Kind.BEAT, self.taken))

    def go_on(self, link: Link, came: int) -> None:
        """Go on over ``link``: so many frames came to the other side. ValueError if that cannot be."""
        self.close()
        self._carry(link)
        self._confirm(came)
        for data in self.unconfirmed:
            link.send([data])

    def hold(self) -> None:
        """Take nothing more from the connection, which stays: its end would be that of the guest."""
        self._link.on_frame, self._link.on_end = _ignore, _ignore

    def close(self) -> None:
        """Take nothing more from the connection, and say nothing more."""
        self._link.close()

    def _carry(self, link: Link) -> None:
        self._link = link
        self._found_s = 0.0
        self.beat_s = link.heard_s  # when the other node said last that it lives, and hears this one
        link.on_frame, link.on_end, link.frame_max = self._frame, self._ended, frames.FRAME_MAX

    def _ended(self, failure: OSError) -> None:
        if not is_of_the_path(failure):
            self._on_end(failure)

    def _frame(self, data: memoryview) -> None:
        try:
            said = frames.parse(data)
            if said.kind == Kind.BEAT:
                self.beat_s = self._link.heard_s
                self._confirm(said.number)
                return
        except ValueError as error:
            raise OSError(errno.EPROTO, str(error)) from None
        self.taken += 1
        if self.taken - self._said >= BEAT_FRAMES:
            self.beat()
        self._on_frame(said, data)

    def _confirm(self, came: int) -> None:
        if came > self._confirmed + len(self.unconfirmed):
            raise ValueError(f"{came} frames came of {self._confirmed + len(self.unconfirmed)}")
        while self._confirmed < came:
            self._kept_bytes -= len(self.unconfirmed.popleft())
            self._confirmed += 1
