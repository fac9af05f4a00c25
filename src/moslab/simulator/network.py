"""Who reaches whom, how long a message takes, and what goes wrong on the way.

Rules:

1. A cut is directed: messages from any of its senders to any of its receivers are not delivered while it lasts.
   Between nodes that were healed together no cut counts any more.
2. A message that meets a cut is lost, or held, as TCP does, and delivered some time after the cut has ended.
3. What is *worse* is directed as well, and as Toxiproxy makes connections of MFS (:mod:`moslab.faults.toxics`): a
   message there is later, by a delay and by its bytes; or it breaks its connection. A packet that is lost comes
   again, each time after twice as long; a probe does not.
4. Nothing here costs more for more nodes, only for more cuts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from moslab.simulator.kernel import Kernel, Stream

HELD_MAX = 4096
RESEND_MAX_S = 0.6
RETRY_S, TRIES_MAX = 0.2, 12     # of TCP: the first try again, and then after twice as long


class Weather:
    """What ails requests that come from a node or go to it; probabilities are per request or step."""

    __slots__ = ("error", "full", "hang", "loss", "refuses", "slow", "torn")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing ails it."""
        self.slow = 1.0
        self.error = self.hang = self.loss = self.torn = 0.0
        self.full = False                            # no room for more bytes in the files of this node
        self.refuses = False                         # its own agent replaces none of them

    def fine(self) -> bool:
        """Whether nothing but slowness ails it."""
        return not (self.error or self.hang or self.loss or self.torn)


class Cut:
    """No message from ``senders`` gets to ``receivers``."""

    __slots__ = ("receivers", "senders")

    def __init__(self, senders: frozenset[int], receivers: frozenset[int]) -> None:
        self.senders, self.receivers = senders, receivers


class Worse:
    """What messages from ``senders`` to ``receivers`` meet; the fields are those of a plan's ``worsen``."""

    __slots__ = ("delay_s", "jitter_s", "loss", "rate", "receivers", "reset", "senders", "slow_close_s")

    def __init__(self, senders: frozenset[int], receivers: frozenset[int], fault: Mapping[str, Any]) -> None:
        self.senders, self.receivers = senders, receivers
        self.delay_s, self.jitter_s = fault.get("delay", 0.0), fault.get("jitter", 0.0)
        self.rate, self.reset = fault.get("rate", 0), bool(fault.get("reset"))
        self.slow_close_s, self.loss = fault.get("slow_close", 0.0), fault.get("loss", 0.0)


class Network:
    """``changed()`` is called after every change of who reaches whom."""

    def __init__(self, kernel: Kernel, draw: Stream, settings: dict[str, float], changed: Callable[[], None]) -> None:
        self._kernel, self._draw, self._changed = kernel, draw, changed
        self._random = draw.random
        self.low_s, self.high_s = settings["latency_min_s"], settings["latency_max_s"]
        self.tail, self.tail_s = settings["tail"], settings["tail_s"]
        self.cuts: list[Cut] = []
        self.worse: list[Worse] = []
        self._healed: frozenset[int] = frozenset()
        self._held: list[tuple[int, int, Callable[[Any], None], Any]] = []

    def latency_s(self, slow: float) -> float:
        """Of one message."""
        draw = self._random()
        if draw < self.tail:
            return slow * (self.low_s + self.tail_s * draw / self.tail)
        return slow * (self.low_s + (self.high_s - self.low_s) * draw)

    def blocked(self, sender: int, receiver: int) -> bool:
        """Rule 1."""
        for cut in self.cuts:
            if sender in cut.senders and receiver in cut.receivers and sender != receiver:
                return not (sender in self._healed and receiver in self._healed)
        return False

    def met(self, sender: int, receiver: int) -> list[Worse]:
        """What is worse there (rule 3)."""
        if sender == receiver or (sender in self._healed and receiver in self._healed):
            return []
        return [one for one in self.worse if sender in one.senders and receiver in one.receivers]

    def better(self, worse: Worse) -> None:
        """It has ended; it may have before."""
        if worse in self.worse:
            self.worse.remove(worse)

    def late_s(self, sender: int, receiver: int, size: int) -> float:
        """By how much a message of so many bytes is later than it would be."""
        late_s = 0.0
        for one in self.met(sender, receiver):
            jitter_s = min(one.jitter_s, one.delay_s)
            late_s += one.delay_s + (self._draw.uniform(-jitter_s, jitter_s) if jitter_s else 0.0)
            late_s += size / (1000.0 * one.rate) if one.rate else 0.0
            tries = 0
            while one.loss and tries < TRIES_MAX and self._random() < one.loss:
                late_s += RETRY_S * 2**tries
                tries += 1
        return late_s

    def resets(self, sender: int, receiver: int) -> bool:
        """Whether the connection breaks with what is sent there."""
        return any(one.reset for one in self.met(sender, receiver))

    def closes_s(self, sender: int, receiver: int) -> float:
        """How much later the receiver hears that the sender has closed."""
        return max((one.slow_close_s for one in self.met(sender, receiver)), default=0.0)

    def loses(self, sender: int, receiver: int) -> bool:
        """Whether a packet that nobody sends again is lost."""
        return any(one.loss and self._random() < one.loss for one in self.met(sender, receiver))

    def cut(self, cut: Cut) -> None:
        self.cuts.append(cut)
        self._changed()

    def end(self, cut: Cut) -> None:
        """Of a cut; it may have ended before."""
        if cut in self.cuts:
            self.cuts.remove(cut)
            self._resend()
            self._changed()

    def heal(self, nodes: frozenset[int]) -> None:
        """From now on nothing is cut between these."""
        self._healed = nodes
        self._resend()
        self._changed()

    def hold(self, sender: int, receiver: int, call: Callable[[Any], None], argument: Any) -> bool:
        """Rule 2; False if the message is lost."""
        if len(self._held) >= HELD_MAX or self._random() < 0.5:
            return False
        self._held.append((sender, receiver, call, argument))
        return True

    def _resend(self) -> None:
        held, self._held = self._held, []
        for message in held:
            sender, receiver, call, argument = message
            if self.blocked(sender, receiver):
                self._held.append(message)
            else:
                self._kernel.at(self._kernel.now + self._draw.uniform(0.0, RESEND_MAX_S), call, argument)
