"""One life of an agent on a modelled machine: the port :mod:`mosha.platform.world` under virtual time.

Rules:

1. The life begins when nothing of an earlier one is left on the node, but the guardians that it takes over: the others
   are killed first, then processes.
2. What was delivered is handled a moment later, all of it at once, then the agent has its round.
3. Whatever ends the life, its guardians see the agent gone, and init begins the next life. What is not a signal has
   them kill everything before that.
4. A durable write takes a while before it is seen, and a while after. A fault says how long the next one takes before,
   or for how long the agent stands still after its next look at the clock: what it decides by that look it does later.
   While a leash of its node is stopped none of it takes any time (A2).
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Callable

from mosha.agent import Agent, Ended
from mosha.clinit import custody
from mosha.clinit.custody import Legacy
from mosha.platform.lanes import Lanes
from mosha.platform.machine import END_EARLIER_S
from mosha.platform.world import Answer, Store
from moslab.faults.plan import LOOK
from moslab.simulator.disk import Disk, error
from moslab.simulator.guardian import SimLeash
from moslab.simulator.process import Process

if TYPE_CHECKING:
    from moslab.simulator.node import Node

LOOK_AGAIN_S = 0.01
TEAR_MAX_S = 0.003
CLOCK_GRAIN_S = 1e-7             # a deadline on the node's clock is not before that instant of true time
SPIN_S = 0.0005                  # what a round takes, for an agent that wants the next one at once
SPINS_MAX = 1000                 # in a row; beyond, it is a fault of the agent


def _at_once(_is_before: bool) -> None:
    """No time passes."""


class SimStore:
    """A directory of the agent's own node: see :class:`mosha.platform.world.Store`."""

    def __init__(self, disk: Disk, node: Node, sync: Callable[[bool], None]) -> None:
        """``sync(is_before)``: takes the time of a durable write, before it is seen or after."""
        self._disk, self._node, self._sync = disk, node, sync

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """The content, at most ``bytes_max`` + 1 bytes of it; None if there is no such file."""
        self._disk.finish(name)
        content = self._disk.files.get(name)
        return None if content is None else content[: bytes_max + 1]

    def replace(self, name: str, content: bytes, durable: bool = False) -> None:
        """Whole or not at all; raises EIO where the disk refuses it."""
        if self._node.weather.refuses:
            self._node.count("disk refuses a file")
            raise error(errno.EIO)
        if durable:
            self._sync(True)
        self._disk.replace(name, content, durable)
        if durable:
            self._sync(False)

    def supplant(self, name: str, content: bytes, aside: str) -> bool:
        """At one instant."""
        if name in self._disk.files:
            self._disk.rename(name, aside)
        self._disk.replace(name, content, durable=True)
        return True

    def write(self, name: str, content: bytes) -> None:
        """In place; who reads at that moment may meet it torn."""
        node = self._node
        if node.disk_draw.random() < node.cluster.plan.network["torn"]:
            node.tear(self._disk, name, 0, content, node.disk_draw.integer(0, len(content)), TEAR_MAX_S)
        else:
            self._disk.write(name, 0, content)

    def sync(self, name: str) -> None:
        """What the file has now is on the disk."""
        self._disk.sync_file(name)
        self._sync(False)

    def rename(self, old: str, new: str) -> None:
        """Durably, over the new name's file, if there is one."""
        self._disk.rename(old, new)

    def remove(self, name: str, durable: bool = False) -> bool:
        """Whether there was such a file."""
        self._node.cluster.facts.removes(name)
        was_there = self._disk.remove(name)
        if durable and was_there:
            self._sync(False)
        return was_there

    def is_being_written(self, name: str) -> bool:
        """Whatever is written by hand here is there at one instant."""
        return False

    def list(self) -> list[str]:
        """The names, sorted."""
        return [name for name in self._disk.names() if not name.startswith(".")]


class SimWorld(Process):
    """See the head of the module."""

    __slots__ = (
        "_agent", "_inbox", "_legacies", "_ready", "_spins", "_sync_max_s", "_timer_at", "_wakes", "_write_s",
        "began_s", "lanes", "now", "number", "run", "var",
    )
    var: Store
    run: Store
    now: Callable[[], float]         # seconds since the boot, on this node's clock

    def __init__(self, node: Node, number: int) -> None:
        super().__init__(node)
        self.now = node.clock
        self.number = number
        self._write_s = 0.0                          # what the next durable write takes, if a fault says so
        self.began_s = 0.0                           # when the latest durable write began
        self._sync_max_s = float(node.cluster.plan.clocks["sync_s"])
        self.var, self.run = SimStore(node.disk, node, self._sync), SimStore(node.run_disk, node, _at_once)
        self.lanes = Lanes(node.cluster.tasks.new_worker, node.clock)
        self._agent: Agent | None = None
        self._inbox: list[tuple[Answer, Any, OSError | None]] = []
        self._ready: dict[str, None] = {}
        self._wakes = False
        self._timer_at = float("inf")
        self._spins = 0
        self._legacies: list[tuple[SimLeash, Legacy]] = []

    # ---- the port ---------------------------------------------------------------------------------------------

    def skew(self) -> float:
        """How far the clock that nobody slews is ahead of :meth:`now`."""
        return self.node.skew_s()

    def wall(self) -> float:
        """Seconds since 1970, as this node believes."""
        return self.node.wall()

    def boot_id(self) -> str:
        """Of this boot."""
        return self.node.boot_id

    def nonce(self) -> str:
        """32 hexadecimal digits."""
        return self.node.cluster.nonce()

    def uniform(self, low: float, high: float) -> float:
        """From the stream of this node's agents."""
        return self.node.agent_draw.uniform(low, high)

    def submit(
        self, key: int, task: str, arguments: list[Any], limit_s: float, answer: Answer, patience_s: float = 0.0
    ) -> None:
        """See :mod:`moslab.simulator.tasks`; here nobody waits for a worker."""
        self.node.cluster.tasks.submit(self, key, task, arguments, limit_s, answer)

    def start_leash(
        self, group: str, environment: Mapping[str, str], deadline: float, ahead: bool = False
    ) -> SimLeash:
        """A guardian, armed; raises EAGAIN now and then, as fork does."""
        if self.node.process_draw.chance(self.node.cluster.plan.network["no_fork"]):
            self.node.count("no fork")
            raise error(errno.EAGAIN)
        return SimLeash.start(self.node, group, environment, deadline, self._leash_ready, ahead)

    def legacies(self) -> list[tuple[SimLeash, Legacy]]:
        """Rule 1."""
        return self._legacies

    def sweep(self, group: str | None) -> bool:
        """Kill what outlived its leash, of any group, and what that of the group holds; whether nothing is left."""
        members = [m for m in self.node.members.values() if m.group == group or not m.guardian.alive]
        for member in members:
            member.kill()
        return not any(member.stays() for member in members)

    def remains(self, group: str) -> str:
        """What a sweep of that group cannot end."""
        return ", ".join(m.tag for m in self.node.members.values() if m.group == group and m.stays())

    # ---- what takes time --------------------------------------------------------------------------------------

    def stall(self, amid: str, for_s: float) -> None:
        """Rule 4: ``amid`` a look at the clock, or a durable write; the next one, and no other. 0: none."""
        if amid == LOOK:
            self.now = partial(self._look, for_s) if for_s else self.node.clock
        else:
            self._write_s = for_s

    def _look(self, for_s: float) -> float:
        self.now = self.node.clock
        clock_s = self.now()
        self._stall(for_s)
        return clock_s

    def _sync(self, is_before: bool) -> None:
        """Rule 4: what a durable write takes, before it is seen or after."""
        for_s = self._sync_max_s * self.node.sync_draw.random()
        if is_before:
            self.began_s = self.node.kernel.now
        if is_before and self._write_s:
            for_s, self._write_s = self._write_s, 0.0
        if for_s:
            self._stall(for_s)

    def _stall(self, for_s: float) -> None:
        """Rule 4."""
        node = self.node
        if any(guardian.frozen for guardian in node.guardians):
            node.count("second guardian is spared")
            return
        self.stand(for_s)
        node.cluster.speaker = node.number

    # ---- life -------------------------------------------------------------------------------------------------

    def begin(self, _: None = None) -> None:
        """Rule 1."""
        for guardian in list(self.node.guardians):
            taken = SimLeash.take_over(guardian, self._leash_ready)
            if taken is None:
                guardian.kill()
            else:
                self._legacies.append(taken)
        self._end_earlier(self.node.kernel.now + END_EARLIER_S)

    @property
    def guards(self) -> bool:
        """Whether there is an agent that ends what a guardian does not: before that it is the warden."""
        return self._agent is not None

    def _end_earlier(self, deadline_s: float) -> None:
        if self.sweep(None):
            self._agent = Agent(self.node.config, self)
            self._turn()
        elif self.node.kernel.now >= deadline_s:
            self.end(1)
        else:
            self.at(self.node.kernel.now + LOOK_AGAIN_S, self._end_earlier, deadline_s)

    def deliver(self, answer: Answer, result: Any, failed: OSError | None) -> None:
        """Of a task; handled soon."""
        self._inbox.append((answer, result, failed))
        if not self._wakes:
            self._wake_soon()

    def _leash_ready(self, group: str) -> None:
        self._ready[group] = None
        if not self._wakes and self.alive:
            self._wake_soon()

    def _wake_soon(self) -> None:
        self._wakes = True
        self.at(self.node.kernel.now + self.node.wake_s(), self._handle)

    def _handle(self, _: None) -> None:
        """Rule 2."""
        self._wakes = False
        inbox, self._inbox = self._inbox, []
        ready, self._ready = self._ready, {}
        agent = self._agent
        if agent is None:
            return
        self.node.cluster.speaker = self.node.number
        try:
            for group in ready:
                agent.leash_ready(group)
            for answer, result, failed in inbox:
                answer(result, failed)
        except Exception as problem:     # noqa: BLE001  (whatever it is, this process is over)
            self._crashed(problem)
            return
        self._turn()

    def wake(self) -> None:
        """After a stop: as select does, what was delivered comes before what is due by the clock."""
        self._waiting.sort(key=lambda work: work[0] != self._handle)
        super().wake()

    def _timer(self, at: float) -> None:
        if at == self._timer_at:
            self._timer_at = float("inf")
            self._turn()

    def clock_changed(self, _: None) -> None:
        """Whatever was waited for may come at another time now."""
        self._timer_at = float("inf")
        if self._agent is not None:
            self._turn()

    def _turn(self) -> None:
        """The agent's round, until nothing is due."""
        agent, node = self._agent, self.node
        assert agent is not None
        node.cluster.speaker = node.number
        try:
            due = agent.round()
        except Ended as end:
            self._end_of_itself(end.code)
            return
        except Exception as problem:     # noqa: BLE001
            self._crashed(problem)
            return
        at = node.true_time(due) + CLOCK_GRAIN_S
        if at > node.kernel.now:
            self._spins = 0
        else:
            at = node.kernel.now + SPIN_S
            self._spins += 1
            node.count("agent does not wait")
            if self._spins == SPINS_MAX:
                node.history.crashed(node.kernel.now, node.number, f"does not wait: due {node.clock() - due:.3f} s ago")
        if at < self._timer_at:
            self._timer_at = at
            self.at(at, self._timer, at)

    def _crashed(self, problem: Exception) -> None:
        text = "".join(traceback.format_exception_only(type(problem), problem)).strip()
        frame = traceback.extract_tb(problem.__traceback__)[-1]
        where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
        self.node.trace(f"{text} ({where})")
        self.node.history.crashed(self.node.kernel.now, self.node.number, f"{text} ({where})")
        self._end_of_itself(1)

    def _end_of_itself(self, code: int) -> None:
        """Rule 3."""
        for guardian in self.node.guardians:
            guardian.order(custody.KILL)
        self.end(code)

    def leave(self, reason: str) -> None:
        """SIGTERM."""
        self.at(self.node.kernel.now, self._leave, reason)

    def _leave(self, reason: str) -> None:
        if self._agent is not None:
            self._agent.leave(reason)
            self._turn()

    def end(self, code: int) -> None:
        """Rule 3; also SIGKILL."""
        if not self.alive:
            return
        self.alive = False
        node = self.node
        node.trace(f"the agent ends with {code}")
        node.count("agent ends")
        for guardian in list(node.guardians):
            guardian.at(node.kernel.now + node.ipc_s(), guardian.agent_died)
        node.agent_ended()
