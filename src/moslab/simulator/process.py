"""Modelled operating-system processes, and what a group's command does.

Rules:

1. What is due for a process that is frozen, alone or with its node, waits for the thaw, in order; so does what comes
   while it stands amid something (:meth:`Process.stand`), until it has gone on.
2. SIGKILL stops a process within a moment, frozen or not; while its node is in trouble (state D) it executes nothing
   any more and is not gone before the trouble is over.
3. A command is ``live`` or ``run SECONDS``, and words ``name=value`` after it:

   ========= ==================================================================================
   int, term ``ignore``, or the seconds that it takes to end after that signal
   exit      its exit status (run)
   fail      the probability that a run exits with 1
   dies      mean seconds until it crashes (live)
   unfit     numbers of nodes, by comma, on which it exits with 1
   leaves    1: it leaves a process behind when it ends
   ========= ==================================================================================
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Callable

from moslab.history.intervals import Interval
from moslab.simulator.kernel import Stood

if TYPE_CHECKING:
    from moslab.simulator.elder import Group
    from moslab.simulator.guardian import Guardian
    from moslab.simulator.node import Node

KILL_MAX_S = 0.0004
STOP_S = 0.01


class Process:
    """Anything that init, the agent or a guardian has started on a node."""

    __slots__ = ("_held", "_waiting", "alive", "frozen", "node", "stands")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.alive = True
        self.frozen = self.stands = self._held = False       # the last is whether it is any of these
        self._waiting: list[tuple[Callable[[Any], None], Any]] = []

    def at(self, time_s: float, call: Callable[[Any], None], argument: Any = None) -> None:
        """Have the call made by this process at that true time, or when it can (rule 1)."""
        self.node.kernel.at(time_s, self._due, (call, argument))

    def _due(self, work: tuple[Callable[[Any], None], Any]) -> None:
        if not self.alive:
            return
        if not (self._held or self.node.frozen) or (work[0] == self._go_on and not (self.frozen or self.node.frozen)):
            work[0](work[1])
        else:
            self._waiting.append(work)

    def stand(self, for_s: float) -> None:
        """Do nothing for so long, amid what it does now. If it is killed meanwhile it does not go on."""
        kernel, stood = self.node.kernel, Stood()
        self.stands = self._held = True
        self.at(kernel.now + for_s, self._go_on, stood)
        kernel.stand(stood)
        self.stands = self._held = False
        self.wake()

    @staticmethod
    def _go_on(stood: Stood) -> None:
        stood.go_on()

    def freeze(self) -> None:
        """SIGSTOP."""
        self.frozen = self._held = True

    def thaw(self) -> None:
        """SIGCONT."""
        self.frozen, self._held = False, self.stands
        if not self.node.frozen:
            self.wake()

    def wake(self) -> None:
        """Do what waited, unless this process is still frozen by itself."""
        if not self.frozen:
            waiting, self._waiting = self._waiting, []
            for work in waiting:
                self.node.kernel.at(self.node.kernel.now, self._due, work)


class Member(Process):
    """One process of a group. It ``runs`` until it executes no more, and is ``alive`` until it is gone."""

    __slots__ = ("_began_s", "_ends", "_words", "epoch", "group", "guardian", "level", "main", "pid", "runs",
                 "stopped_s", "tag", "tests")

    def __init__(
        self, guardian: Guardian | Group, tag: str, level: str, epoch: str, command: str, tests: bool, main: bool = True
    ) -> None:
        """``tests``: it is to change nothing, and says only whether the group may run here."""
        super().__init__(guardian.node)
        node = guardian.node
        self.guardian, self.group = guardian, guardian.group
        self.tag, self.level, self.epoch, self.tests, self.main = tag, level, epoch, tests, main
        self.pid = node.new_pid()
        self.runs = True
        self.stopped_s = float("inf")
        self._ends = False
        words = command.split()
        self._words = dict(word.split("=", 1) for word in words if "=" in word)
        node.members[self.pid] = self
        self._began_s = node.kernel.now
        self._plan_life(words)

    def _plan_life(self, words: list[str]) -> None:
        draw, now = self.node.process_draw, self.node.kernel.now
        if str(self.node.number) in self._words.get("unfit", "").split(","):
            self._end_at(now + STOP_S, 1)
        elif words[0] == "run":
            status = 1 if draw.chance(float(self._words.get("fail", 0))) else int(self._words.get("exit", 0))
            self._end_at(now + float(words[1]), status)
        elif "dies" in self._words:
            self._end_at(now + 2 * float(self._words["dies"]) * draw.random(), 1)

    def _end_at(self, time_s: float, status: int) -> None:
        self.at(time_s, self._exit, status)

    def _exit(self, status: int) -> None:
        if not self.runs:
            return                                   # it was killed meanwhile: rule 2
        if self._words.get("leaves") == "1" and self.main:
            self.node.count("process left behind")
            self.guardian.adopt(
                Member(self.guardian, self.tag, self.level, self.epoch, "live int=ignore", self.tests, main=False)
            )
        self.record_end(self.node.kernel.now)
        self._gone(status)

    def signal(self, signo: int) -> None:
        """What a process of this command does about it."""
        if signo == signal.SIGKILL:
            self.kill()
            return
        manner = self._words.get("int" if signo == signal.SIGINT else "term", "")
        if manner == "ignore":
            self.node.count("signal ignored")
        elif not self._ends:
            self._ends = True
            delay_s = float(manner) if manner else STOP_S * self.node.process_draw.random()
            self._end_at(self.node.kernel.now + delay_s, -signo)

    def kill(self) -> None:
        """Rule 2."""
        if not self.alive or not self.runs:
            return
        node = self.node
        now = node.kernel.now
        stops_s = now + KILL_MAX_S * node.process_draw.random()
        self.record_end(stops_s)
        if node.trouble_until_s > now:
            node.count("killed process in state D")
        node.kernel.at(max(stops_s, node.trouble_until_s), self._reaped, None)

    def stays(self) -> bool:
        """Whether it will be there for longer than a kill takes, though it was killed."""
        return self.alive and (self.runs or self.node.trouble_until_s > self.node.kernel.now)

    def trouble_ends(self) -> None:
        """What kept it in state D is over."""
        if self.alive and not self.runs:
            self.node.kernel.at(max(self.stopped_s, self.node.kernel.now), self._reaped, None)

    def _reaped(self, _: None) -> None:
        now, trouble_until_s = self.node.kernel.now, self.node.trouble_until_s
        if self.alive and trouble_until_s > now:
            self.node.kernel.at(trouble_until_s, self._reaped, None)
        elif self.alive:
            self.node.history.gone(self, now)
            self._gone(-signal.SIGKILL)

    def power_off(self) -> None:
        """Nothing is told to anybody."""
        if self.runs:
            self.record_end(self.node.kernel.now)
        else:
            self.node.history.gone(self, self.node.kernel.now)
        self.alive = False

    def _gone(self, status: int) -> None:
        self.alive = False
        del self.node.members[self.pid]
        self.guardian.ended(self, status)

    # ---- for the history --------------------------------------------------------------------------------------

    def record_end(self, time_s: float) -> None:
        """It executes nothing after that time."""
        if self.runs and not self.node.frozen:
            self.node.history.ran(self, self.interval(time_s))
        self.runs = False
        self.stopped_s = time_s

    def interval(self, end_s: float) -> Interval:
        """It executes from its begin, or the last thaw of its node, until then."""
        return Interval(self.group, self.node.number, self.pid, self.epoch, self._began_s, end_s)

    def node_froze(self) -> None:
        """It executes nothing while its node is frozen."""
        if self.runs:
            self.node.history.ran(self, self.interval(self.node.kernel.now))

    def node_thawed(self) -> None:
        self._began_s = self.node.kernel.now
