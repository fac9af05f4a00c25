"""Switching nodes by the configured devices, level after level.

Rules:

1. Off: the levels in their order, until one has succeeded; in a level every device, in its order, until one fails.
2. A device has switched off when it exited with 0 and, where it can be asked, says ``off`` itself afterwards
   (``stomith_verify``). Both together must end within ``stomith_timeout``. Anything else is a failure: an exit code,
   a time-out, silence, a device that says ``on`` or nothing, one that says ``off`` after it had failed.
3. A failed call is tried again ``stomith_retries`` times.
4. On: every device of every level, the last level first, since nobody knows which one had switched the node off.
5. A node is off when all devices of some level say so, on when in every level some device says so, else unknown.
6. Every call is recorded when it ends: :mod:`mosha.stomith.history`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Callable, NamedTuple

from mosha.stomith import process
from mosha.stomith.devices import METADATA, OFF, ON, UNKNOWN, CannotError, Device, FenceAgent, Level, redact
from mosha.stomith.history import Attempt
from mosha.stomith.process import Ended

RETRY_PAUSE_S = 0.2
METADATA_BYTES_MAX = 256 * 1024
REASON_CHARACTERS_MAX = 200      # of each device's last words
STATUS = "status"


class Settings(NamedTuple):
    """The devices, and how they are asked."""

    levels: tuple[Level, ...]
    timeout_s: float
    retries: int
    verify: bool


class Answer(NamedTuple):
    """What one device answered; ``state`` only to ``status``."""

    level: int
    device: Device
    action: str
    node: int | None
    ok: bool
    words: str
    state: str = UNKNOWN
    asked: bool = True      # False: there was nothing to run, and never will be

    def __str__(self) -> str:
        about = f" {self.node}" if self.node is not None else ""
        result = self.state if self.action == STATUS and self.ok else "ok" if self.ok else "failed"
        said = f": {self.words}" if self.words else ""
        return f"level {self.level} {self.device.name}: {self.action}{about}: {result}{said}"


class Stomith:
    """The devices of one configuration; every method blocks."""

    def __init__(self, settings: Settings, by: str, record: Callable[[Attempt], None]) -> None:
        self._settings, self._by, self._record = settings, by, record
        self._levels: Sequence[tuple[int, Level]] = list(enumerate(settings.levels, 1))

    def off(self, node: int) -> tuple[bool, list[Answer]]:
        """Whether the node is off for certain, and what was answered on the way."""
        answers: list[Answer] = []
        for number, level in self._levels:
            if self._each(number, level, OFF, node, answers):
                return True, answers
        return False, answers

    def on(self, node: int) -> tuple[bool, list[Answer]]:
        """Whether every device switched the node on."""
        answers: list[Answer] = []
        for number, level in reversed(self._levels):
            for device in level:
                answers.append(self._switch(number, device, ON, node))
        return bool(answers) and all(answer.ok for answer in answers), answers

    def status(self, node: int) -> tuple[str, list[Answer]]:
        """``on``, ``off`` or ``unknown``, and what each device says."""
        answers = [self._status(number, device, node) for number, device in self._devices()]
        by_level = [[a.state for a in answers if a.level == number] for number, _ in self._levels]
        if any(all(state == OFF for state in states) for states in by_level):
            return OFF, answers
        if by_level and all(ON in states for states in by_level):
            return ON, answers
        return UNKNOWN, answers

    def listing(self, nodes: Iterable[int]) -> Iterator[Answer]:
        """What each device lists; one that cannot be asked for a list is asked for the status of ``nodes``."""
        nodes = list(nodes)
        for number, device in self._devices():
            if device.shared:
                yield self._ask(number, device, "list", None, self._settings.timeout_s)
            else:
                yield from (self._status(number, device, node) for node in nodes)

    def test(self, nodes: Iterable[int]) -> Iterator[Answer]:
        """Whether every device knows its options, answers, and tells the state of each node. Nothing is switched."""
        nodes = list(nodes)
        for number, device in self._devices():
            if isinstance(device, FenceAgent):
                yield self._ask(number, device, METADATA, None, self._settings.timeout_s)
            if device.shared:
                yield self._ask(number, device, device.probe(), None, self._settings.timeout_s)
            yield from (self._status(number, device, node) for node in nodes)

    # ---- inside -----------------------------------------------------------------------------------------------

    def _devices(self) -> Iterator[tuple[int, Device]]:
        return ((number, device) for number, level in self._levels for device in level)

    def _each(self, number: int, level: Level, action: str, node: int, answers: list[Answer]) -> bool:
        for device in level:
            answer = self._switch(number, device, action, node)
            answers.append(answer)
            if not answer.ok:
                return False
        return True

    def _switch(self, number: int, device: Device, action: str, node: int) -> Answer:
        """Rules 2 and 3: the answer of the last try."""
        answer = self._try(number, device, action, node)
        for _ in range(self._settings.retries):
            if answer.ok or not answer.asked:
                break
            time.sleep(RETRY_PAUSE_S)
            answer = self._try(number, device, action, node)
        return answer

    def _try(self, number: int, device: Device, action: str, node: int) -> Answer:
        deadline_s = time.monotonic() + self._settings.timeout_s
        answer = self._ask(number, device, action, node, self._settings.timeout_s)
        if not answer.ok or action != OFF or not self._settings.verify or not device.tells_status:
            return answer
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return answer._replace(ok=False, words="it said that it is off, but there was no time to see it")
        seen = self._ask(number, device, STATUS, node, left_s)
        if seen.state == OFF:
            return answer
        return answer._replace(ok=False, words=f"it said that it is off, but its status is {seen.state}: {seen.words}")

    def _status(self, number: int, device: Device, node: int) -> Answer:
        return self._ask(number, device, STATUS, node, self._settings.timeout_s)

    def _ask(self, number: int, device: Device, action: str, node: int | None, limit_s: float) -> Answer:
        """One call, recorded. A device that cannot do this, or not for this node, has failed."""
        began, asked = time.time(), True
        try:
            words_max = METADATA_BYTES_MAX if action == METADATA else process.WORDS_BYTES_MAX
            ended = process.run(device.call(action, node), limit_s, words_max)
        except CannotError as error:
            ended, asked = Ended(None, str(error), 0.0), False
        state = device.state(ended.code, ended.words) if action == STATUS else UNKNOWN
        ok = state != UNKNOWN if action == STATUS else ended.code == 0
        words = redact(device, ended.words)
        if action == METADATA and ok and isinstance(device, FenceAgent):
            words = device.ignored(words)
            ok = not words
        elif not ok and ended.code is not None:
            words = f"exit {ended.code}{': ' if words else ''}{words}"
        self._record(
            Attempt(began, self._by, node, number, device.name, action, ok, ended.code, ended.seconds, words)
        )
        return Answer(number, device, action, node, ok, words, state, asked)


def limit_s(settings: Settings) -> float:
    """What switching a node off takes at most, with everything failing."""
    tries = sum(len(level) for level in settings.levels) * (1 + settings.retries)
    return tries * (settings.timeout_s + 2 * process.KILL_LIMIT_S + RETRY_PAUSE_S)


def reason(answers: Iterable[Answer]) -> str:
    """Why it failed, in one line."""
    failed = (answer._replace(words=answer.words[-REASON_CHARACTERS_MAX:]) for answer in answers if not answer.ok)
    return " ".join("; ".join(map(str, failed)).split()) or "no device is configured"
