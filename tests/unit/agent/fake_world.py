"""A world of one agent in virtual time: tasks are answered from a table, leashes do at once what they are told.

Plans are carried out on the agent's own disk; other nodes do not answer.
"""

from __future__ import annotations

import errno
import heapq
from collections.abc import Iterable, Mapping
from typing import Any, Callable

from mosha.agent import Agent, Ended
from mosha.clinit.custody import Legacy
from mosha.clinit.leash import LeashReport
from mosha.config import Config
from mosha.platform import plans
from mosha.platform.world import Answer, Leash, Store
from mosha.tables.cltab import Entry
from mosha.tables.settings import Policy

WALL_AT_0 = 1_700_000_000.0
ANSWER_S = 0.002
ROUNDS_MAX = 100_000


class MemoryStore:
    """A directory as a dictionary; ``used`` counts the calls."""

    def __init__(self, **files: bytes) -> None:
        self.files, self.used = dict(files), 0

    def read(self, name: str, bytes_max: int) -> bytes | None:
        self.used += 1
        return self.files[name][: bytes_max + 1] if name in self.files else None

    def replace(self, name: str, content: bytes, durable: bool = False) -> None:
        self.used += 1
        self.files[name] = content

    def supplant(self, name: str, content: bytes, aside: str) -> bool:
        self.used += 1
        if name in self.files:
            self.files[aside] = self.files[name]
        self.files[name] = content
        return True

    def write(self, name: str, content: bytes) -> None:
        self.used += 1
        self.files[name] = content + self.files.get(name, b"")[len(content) :]

    def sync(self, name: str) -> None:
        self.used += 1
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    def rename(self, old: str, new: str) -> None:
        self.used += 1
        if old not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        self.files[new] = self.files.pop(old)

    def remove(self, name: str, durable: bool = False) -> bool:
        self.used += 1
        return self.files.pop(name, None) is not None

    def is_being_written(self, name: str) -> bool:
        self.used += 1
        return False

    def list(self) -> list[str]:
        self.used += 1
        return sorted(self.files)


def carry_out(files: dict[str, bytes], plan: plans.Plan) -> Any:
    """The plan's result, done at one instant."""
    result: Any = None
    error: OSError | None = None
    try:
        while True:
            kind, *arguments = plan.throw(error) if error is not None else plan.send(result)
            result = error = None
            if kind == "list":
                result = sorted(files)
            elif kind == "append" and arguments[1] and arguments[0] not in files:
                error = FileNotFoundError(errno.ENOENT, "No such file or directory")
            elif kind in ("pwrite", "append"):
                name, offset, data = arguments
                before = files.get(name, b"").ljust(offset, b"\0")
                content = data
                files[name] = before[:offset] + content + before[offset + len(content) :]
            elif kind in ("pread", "tail", "whole") and arguments[0] in files:
                name, offset, length = arguments
                result = files[name][offset : offset + length]
            elif kind in ("pread", "tail", "whole"):
                error = FileNotFoundError(errno.ENOENT, "No such file or directory")
            else:
                assert kind == "sync"
    except StopIteration as end:
        return end.value


class FakeLeash:
    """Comes to every level at once; ends when told to finish, or killed, or when its deadline passes unnoticed."""

    def __init__(
        self, world: FakeWorld, group: str, environment: Mapping[str, str], deadline: float, ahead: bool
    ) -> None:
        self.ahead = ahead
        self.gone, self.group, self.environment, self.deadlines = False, group, dict(environment), [deadline]
        self.told: list[str] = []
        self._world = world
        self._reports: list[LeashReport] = []

    def tell(
        self, level: str, entries: Iterable[Entry], environment: Mapping[str, str] | None = None,
        policy: Policy | None = None,
    ) -> None:
        assert level == "test" or not self.ahead
        self.told.append(level)
        if self._world.hangs:
            return
        state = "PASSED" if level == "test" else "DONE"
        self._ready([LeashReport("state", self._world.wall(), level=level, state=state)])

    def own(self, environment: Mapping[str, str]) -> None:
        assert self.ahead
        self.ahead, self.environment = False, dict(environment)
        self.told.append("own")

    def extend(self, deadline: float) -> None:
        assert self._world.now() < self.deadlines[-1] < deadline
        self.deadlines.append(deadline)
        if not self._world.stands:
            self._ready([LeashReport("extended", self._world.wall(), deadline=deadline)])

    def kill(self) -> None:
        self.told.append("kill")
        self._ready([], gone=True)

    def kill_guardian(self) -> None:
        self.told.append("kill guardian")
        self._ready([], gone=True)

    def hold(self) -> None:
        self.told.append("hold")

    def finish(self) -> None:
        self.told.append("finish")
        if self._world.hangs:
            return
        self._ready([LeashReport("left", self._world.wall())] if self._world.left else [], gone=True)

    def receive(self) -> list[LeashReport]:
        reports, self._reports = self._reports, []
        return reports

    def close(self) -> None:
        assert self.gone

    def report(self, kind: str, **fields: Any) -> None:
        self._ready([LeashReport(kind, self._world.wall(), **fields)])

    def _ready(self, reports: list[LeashReport], gone: bool = False) -> None:
        def report() -> None:
            self._reports += reports
            self.gone = self.gone or gone
            self._world.agent.leash_ready(self.group)

        self._world.after(ANSWER_S, report)


class FakeWorld:
    """One agent and its tasks. A task of the table that raises OSError fails."""

    def __init__(
        self, config: Config, tasks: dict[str, Callable[..., Any]], legacy: Legacy | None = None, **files: bytes
    ) -> None:
        self.disk = MemoryStore(**files)
        self.var: Store = self.disk
        self.run: Store = MemoryStore()
        self.tasks = tasks
        self.leashes: list[FakeLeash] = []
        self.asked: list[tuple[float, int, str]] = []
        self.ended: int | None = None
        self.ahead_s: float | None = 0.0             # of the second clock
        self.left = False                            # a mount is left that cannot be ended
        self.hangs = False                           # what is started does not end
        self.stands = False                          # no leash hears of anything
        self._now, self._events, self._sequence = 1000.0, list[Any](), 0
        self.legacy = legacy                         # what an earlier life has left, with this leash
        if legacy is not None:
            self.left_leash = FakeLeash(self, legacy.group, {}, legacy.deadline_s, False)
            self.leashes.append(self.left_leash)
        self.agent = Agent(config, self)

    def now(self) -> float:
        return self._now

    def skew(self) -> float | None:
        return self.ahead_s

    def wall(self) -> float:
        return WALL_AT_0 + self._now

    def boot_id(self) -> str:
        return "this boot"

    def nonce(self) -> str:
        self._sequence += 1
        return f"{self._sequence:032x}"

    def uniform(self, low: float, high: float) -> float:
        return low

    def submit(
        self, key: int, task: str, arguments: list[Any], limit_s: float, answer: Answer, patience_s: float = 0.0
    ) -> None:
        self.asked.append((self._now, key, task))
        try:
            if task in self.tasks:
                result, error = self.tasks[task](*arguments), None
            elif key == self.agent.me:
                result, error = carry_out(self.disk.files, plans.TASKS[task](*arguments)), None
            else:
                raise OSError(errno.ENETUNREACH, "Network is unreachable")
        except OSError as raised:
            result, error = None, raised
        self.after(ANSWER_S, lambda: answer(result, error))

    def start_leash(self, group: str, environment: Mapping[str, str], deadline: float, ahead: bool = False) -> Leash:
        assert deadline > self._now
        self.leashes.append(FakeLeash(self, group, environment, deadline, ahead))
        return self.leashes[-1]

    def legacies(self) -> list[tuple[Leash, Legacy]]:
        return [(self.left_leash, self.legacy)] if self.legacy is not None else []

    def sweep(self, group: str | None) -> bool:
        return not self.left

    def remains(self, group: str) -> str:
        return "a mount"

    def after(self, pause_s: float, event: Callable[[], None]) -> None:
        """Deliver an event later."""
        self._sequence += 1
        heapq.heappush(self._events, (self._now + pause_s, self._sequence, event))

    def until(self, condition: Callable[[], bool], limit_s: float) -> None:
        """Let time pass until the condition holds, or the life ends."""
        limit = self._now + limit_s
        for _ in range(ROUNDS_MAX):
            if condition() or self.ended is not None:
                return
            try:
                due = self.agent.round()
            except Ended as end:
                self.ended = end.code
                return
            assert self._now <= limit, f"not within {limit_s:g} s: {condition}"
            if self._events and self._events[0][0] <= due:
                self._now, _, event = heapq.heappop(self._events)
                event()
            else:
                self._now = max(self._now, due)
        raise AssertionError(f"{ROUNDS_MAX} rounds within {limit_s:g} s: the agent does not rest")

    def pass_time(self, seconds: float) -> None:
        end = self._now + seconds
        self.after(seconds, lambda: None)
        self.until(lambda: self._now >= end, seconds + 60)
