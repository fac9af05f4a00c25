"""How long operations on other nodes' files may take: ``quick``, or ``genuine`` as in the genuine MFS.

Rules:

1. ``quick``: an operation ends within ``reply_s``, or ``slow_s`` for fsync and big writes, connection included; these
   end within ``reply_s`` too where the peer is silent. After a peer was lost everything fails at once for ``cool_s``,
   while a new connection is tried.
2. ``genuine``: ``connect_s`` for a connection and ``reply_s`` for an answer. A request whose connection is lost is
   sent once more over a new one, so the first operation after a loss takes both, later ones ``connect_s`` each, and
   about 3 s once the kernel knows that no such machine is there. The owner carries it out once.
3. Over the other paths to a peer that has several a new connection is tried as soon as nothing was heard for
   ``suspect_s`` (0: not before the answer's time is over), and what has no answer is asked again there, within the same
   time. In genuine time the paths share ``connect_s``.
4. ``silence_s`` is for migrated processes: they end when the other node was not heard of for so long. It is at each
   node as that node's time says. With ``keepalives_s`` (the first after so long, then each) the end of a connection
   that was silent before, with nothing under way, is found when the next keepalive would have been sent.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from emulator.fuse import protocol as fuse
from emulator.fuse.protocol import Request

BIG_BYTES = 64 << 10

_SLOW = (fuse.FSYNC, fuse.FSYNCDIR)


class Pace(NamedTuple):
    """The times of one node. ``redials_s``: after how long an unanswered connect is made anew, and then each time."""

    name: str
    reply_s: float
    slow_s: float
    connect_s: float
    cool_s: float
    redials_s: tuple[float, float] | None
    repeats: bool
    suspect_s: float
    silence_s: float
    keepalives_s: tuple[float, float] | None

    def limit_s(self, request: Request) -> float:
        """For how long an answer to ``request`` is waited for."""
        return self.slow_s if request.opcode in _SLOW or is_big(request) else self.reply_s

    def bound_s(self, limit_s: float) -> float:
        """When an operation whose answer takes ``limit_s`` at most has ended in any case."""
        return limit_s + self.connect_s if self.repeats else limit_s

    def keepalive_s(self, silent_s: float) -> float:
        """When the next keepalive is sent over a connection that was silent for so long; 0 without them."""
        if self.keepalives_s is None:
            return 0.0
        first_s, each_s = self.keepalives_s
        return first_s + each_s * max(0, math.ceil((silent_s - first_s) / each_s))

    def redials(self, paths: int) -> tuple[float, float] | None:
        """``redials_s`` for a peer with so many paths."""
        each_s = self.connect_s / paths
        return self.redials_s or ((each_s, each_s) if paths > 1 else None)


def is_big(request: Request) -> bool:
    """Whether it may be long on its way."""
    return len(request.frame) > BIG_BYTES


QUICK = Pace("quick", 1.0, 5.0, 1.0, 1.0, (0.25, 0.5), repeats=False, suspect_s=0.3, silence_s=3.0, keepalives_s=None)
"""TCP's own first retry of a connect takes a second, too long for a cut that has healed."""
GENUINE = Pace(
    "genuine", 10.0, 10.0, 10.0, 0.0, None, repeats=True, suspect_s=0.0, silence_s=330.0, keepalives_s=(150.0, 30.0)
)
PACES = {pace.name: pace for pace in (QUICK, GENUINE)}
