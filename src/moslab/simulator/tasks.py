"""What the agent's workers do, on modelled nodes: tasks as plans of file steps, carried over the network.

Rules:

1. Tasks of one lane (:mod:`mosha.platform.lanes`) are done one after the other. The limit counts from when a task is
   taken up; after it the task has failed with ETIMEDOUT. Its worker goes on with it for as long again, and what is
   behind it waits; then, and at once for a negative key, the worker is lost, and all that waits has failed too.
2. A plan whose way is free runs all its steps at one instant on the node. One that meets weather, and some others by
   chance, is *careful*: every step goes there and back by itself, and may fail, hang, come late or be torn.
3. What comes to a frozen node waits for the thaw. What comes to a node without power is refused, or hangs. Neither is
   so where files are on a file server; what is cut there is the way to one directory.
4. A probe is the kernel's own and needs no worker of the other node: three tries of 20 ms, then the node is down.
5. A step that belongs to a worker which was lost, or whose agent died, may still take effect, once, at any later time,
   and alone: nothing follows. A worker that is lost while its node is in trouble (state D) is gone when that ends.
6. What a worker holds open is the agent's own code, over :mod:`moslab.simulator.handles`.
7. A worker that would have to answer with more bytes of journals than its frame takes is lost, and its tasks with it.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Any, Callable

from mosha.platform.files import Files
from mosha.platform.plans import LATER, TASKS, Plan
from mosha.platform.world import Answer
from moslab.simulator.disk import error
from moslab.simulator.handles import Handles

if TYPE_CHECKING:
    from moslab.simulator.cluster import Cluster
    from moslab.simulator.node import Node
    from moslab.simulator.world import SimWorld

WRITES = ("pwrite", "append")
LOCAL_S = 0.0003
PROBE_TRY_S, PROBE_TRIES = 0.02, 3       # of openMosix: an answer counts only within the try
LATE_MAX_S = 8.0
QUEUE_MAX = 256
JOURNALS_IN = {"exchange": 3, "copy": 1}  # task -> where in its answer they are; the last says whether these are all
REFUSALS = (errno.EHOSTUNREACH, errno.EIO, errno.ENETUNREACH, errno.ECONNREFUSED)
BREAKS = (errno.EAGAIN, errno.EREMOTE)   # of a connection that is reset: what was under way, and what comes then
HEAD_BYTES = 64                  # of a message, beside what it carries
ERRORS = (errno.EIO, errno.EAGAIN, errno.ENETUNREACH, errno.ESTALE)


class Worker:
    """A lane."""

    __slots__ = ("files", "key", "queue")

    def __init__(self, key: int, files: Files) -> None:
        self.key, self.files = key, files
        self.queue: deque[Job] = deque()


class Job:
    """One task on its way. It is ``late`` when it has failed at its limit, and ``done`` when no worker has it."""

    __slots__ = ("answer", "boot", "careful", "deadline", "done", "late", "limit_s", "plan", "slow", "step", "target",
                 "task", "watched", "worker", "world")

    def __init__(
        self, world: SimWorld, worker: Worker, target: Node, task: str, plan: Plan | None, limit_s: float,
        answer: Answer,
    ) -> None:
        self.world, self.worker, self.target, self.task, self.plan = world, worker, target, task, plan
        self.limit_s, self.answer = limit_s, answer
        self.done = self.late = self.watched = self.careful = False
        self.step: tuple[Any, ...] | None = None
        self.deadline = 0.0
        self.slow = 1.0
        self.boot = 0


class Tasks:
    """Carries the tasks of all nodes out."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._kernel, self._network = cluster.kernel, cluster.network
        self._draw = cluster.stream("tasks")
        self._careful = cluster.plan.network["careful"]
        self._is_shared = bool(cluster.plan.files["shared"])
        self._frame_bytes_max = cluster.plan.sizes["frame"]
        self._count = cluster.count
        self.handles = Handles(cluster)

    def submit(
        self, world: SimWorld, key: int, task: str, arguments: list[Any], limit_s: float, answer: Answer
    ) -> None:
        """As :meth:`mosha.platform.world.World.submit`."""
        if world.node.trouble_until_s <= self._kernel.now:
            world.lanes.stuck.clear()
        worker = world.lanes.lane(key, can_wait=task in LATER)
        if worker is None:
            self._count("no worker is free")
        if worker is None or len(worker.queue) >= QUEUE_MAX:
            world.deliver(answer, None, error(errno.EAGAIN))
            return
        maker = TASKS.get(task)
        about = arguments[0] if key < 0 else key
        target = self._cluster.nodes.get(about, world.node)
        job = Job(world, worker, target, task, maker(*arguments) if maker else None, limit_s, answer)
        worker.queue.append(job)
        if len(worker.queue) == 1:
            self._begin(job)

    def new_worker(self, key: int) -> Worker:
        """One that holds nothing open."""
        return Worker(key, Files(self.handles))

    # ---- the way there ----------------------------------------------------------------------------------------

    def _begin(self, job: Job) -> None:
        node, target = job.world.node, job.target
        job.deadline = self._kernel.now + job.limit_s / node.rate
        if job.plan is None:
            self._do_here(job)
            return
        if target.number in node.strangers and target is not node:
            self._count("request to a node that is not on the map")
            self._kernel.at(self._kernel.now + LOCAL_S, self._finish, (job, None, error(errno.ENOENT)))
            return
        job.boot = target.boot
        job.slow = max(node.weather.slow, target.weather.slow)
        job.careful = (
            not (node.weather.fine() and target.weather.fine()) or self._draw.random() < self._careful
            or self._is_worse(job)
        )
        if job.careful:
            job.worker.files.begin()
            if not self._next_step(job, None, None):
                return
        self._send(job)

    def _send(self, job: Job) -> None:
        sender, target = job.world.node, job.target
        at = self._kernel.now + (LOCAL_S * job.slow if target is sender else self._network.latency_s(job.slow))
        if self._network.worse:
            if self._network.resets(sender.number, target.number):
                self._count("connection breaks")
                self._fail_soon(job, error(self._draw.pick(BREAKS)))
                return
            at += self._late_s(sender.number, target.number, job.step)
            if at >= job.deadline:
                self._watch(job)
        self._kernel.at(at, self._arrive, job)

    def _is_worse(self, job: Job) -> bool:
        """Whether connections to the target, or from there, are not as they were."""
        ends = job.world.node.number, job.target.number
        return bool(self._network.worse) and bool(self._network.met(*ends) or self._network.met(*ends[::-1]))

    def _late_s(self, sender: int, receiver: int, content: Any) -> float:
        late_s = self._network.late_s(sender, receiver, _bytes_of(content))
        if late_s:
            self._count("message on a worse connection")
        return late_s

    def _arrive(self, job: Job) -> None:
        sender, target = job.world.node, job.target
        if target is not sender and self._network.cuts and self._network.blocked(sender.number, target.number):
            self._count("message meets a cut")
            self._network.hold(sender.number, target.number, self._arrive, job)
            self._watch(job)
        elif not target.has_files():
            self._refuse(job)
        elif target.holds_files():
            self._count("request waits for the thaw")
            target.waiting.append((self._arrive, job))
            self._watch(job)
        elif job.done or not job.world.alive:
            self._take_effect_alone(job)
        else:
            if not target.up:
                self._count("file of a node without power")
            (self._do_step if job.careful else self._do_all)(job)

    def _refuse(self, job: Job) -> None:
        if job.done or self._draw.random() < 0.3:
            self._watch(job)
            return
        self._count("request to a node without power")
        closes_s = self._network.closes_s(job.target.number, job.world.node.number) if self._network.worse else 0.0
        self._fail_soon(job, error(self._draw.pick(REFUSALS)), closes_s)

    # ---- on the node ------------------------------------------------------------------------------------------

    def _do_all(self, job: Job) -> None:
        """The fast way of rule 2."""
        assert job.plan is not None
        try:
            result = job.worker.files.carry_out(job.target.number, job.plan)
        except OSError as problem:
            self._reply(job, self._finish, (job, None, problem))
        else:
            self._reply(job, self._finish, (job, result, None))

    def _do_step(self, job: Job) -> None:
        target, draw = job.target, self._draw
        theirs, ours = target.weather, job.world.node.weather
        step = job.step
        assert step is not None
        if draw.chance(max(theirs.hang, ours.hang)):
            self._hang(job)
            return
        if target.boot != job.boot:
            self._count("node rebooted between two steps")
            job.boot = target.boot
        if draw.chance(max(theirs.error, ours.error)):
            self._count("step fails")
            if draw.chance(0.5):
                self._count("step fails and took effect")
                self._apply_alone(target, step)
            self._reply(job, self._go_on, (job, None, error(draw.pick(ERRORS))))
            return
        if step[0] in WRITES and draw.chance(max(theirs.torn, ours.torn)):
            self.handles.torn = draw.integer(0, len(step[3]))
        self._answer_step(job)
        self.handles.torn = None

    def _answer_step(self, job: Job) -> None:
        assert job.step is not None
        try:
            result = job.worker.files.step(job.target.number, job.step)
        except OSError as problem:
            self._reply(job, self._go_on, (job, None, problem))
        else:
            self._reply(job, self._go_on, (job, result, None))

    def _hang(self, job: Job) -> None:
        """The step comes late, or never; its worker waits for it until it is lost."""
        self._count("step hangs")
        if self._draw.random() < 0.7:
            at = self._kernel.now + self._draw.uniform(0.0, LATE_MAX_S)
            self._kernel.at(at, self._come_late, job)
        self._watch(job)

    def _come_late(self, job: Job) -> None:
        if job.done or not job.world.alive:
            self._take_effect_alone(job)
        elif job.target.has_files():
            self._answer_step(job)

    def _take_effect_alone(self, job: Job) -> None:
        """Rule 5."""
        if job.plan is not None and not job.careful:
            job.careful = True                           # its first step alone is what came
            try:
                job.step = next(job.plan)
            except (StopIteration, OSError):
                return
        step, job.step = job.step, None
        if step is not None and step[0] in WRITES and job.target.has_files() and self._draw.random() < 0.7:
            self._count("late completion")
            self._apply_alone(job.target, step)
        self._watch(job)

    @staticmethod
    def _apply_alone(target: Node, step: tuple[Any, ...]) -> None:
        """What is written without an answer."""
        if target.weather.full and step[0] in WRITES:
            return
        if step[0] == "pwrite" or (step[0] == "append" and (step[2] == 0 or step[1] in target.disk.files)):
            target.wrote(*step[1:])
        elif step[0] == "sync":
            target.disk.sync()

    # ---- the way back -----------------------------------------------------------------------------------------

    def _reply(self, job: Job, call: Callable[[Any], None], argument: Any) -> None:
        sender, target = job.world.node, job.target
        if target is sender:
            self._kernel.at(self._kernel.now + LOCAL_S * job.slow, call, argument)
            return
        if self._network.cuts and self._network.blocked(target.number, sender.number):
            self._count("reply meets a cut")
            self._watch(job)
            return
        at = self._kernel.now + self._network.latency_s(job.slow)
        if self._network.worse:
            if self._network.resets(target.number, sender.number):
                self._count("connection breaks")
                argument = job, None, error(self._draw.pick(BREAKS))
            else:
                at += self._late_s(target.number, sender.number, argument[1])
        if at >= job.deadline:
            self._watch(job)
        self._kernel.at(at, call, argument)

    def _go_on(self, back: tuple[Job, Any, OSError | None]) -> None:
        job, result, failed = back
        if job.done or not job.world.alive:
            return
        if job.world.node.frozen:
            job.world.node.waiting.append((self._go_on, back))
        elif self._next_step(job, result, failed):
            self._send(job)

    def _next_step(self, job: Job, result: Any, failed: OSError | None) -> bool:
        """Take the plan to its next step; False if there is none."""
        assert job.plan is not None
        try:
            job.step = job.plan.throw(failed) if failed is not None else job.plan.send(result)
        except StopIteration as stop:
            job.step = None
            self._finish((job, stop.value, None))
            return False
        except OSError as problem:
            job.step = None
            self._finish((job, None, problem))
            return False
        return True

    def _fail_soon(self, job: Job, failed: OSError, late_s: float = 0.0) -> None:
        call = self._go_on if job.careful else self._finish
        at = self._kernel.now + self._network.latency_s(job.slow) + late_s
        if late_s and at >= job.deadline:
            self._watch(job)
        self._kernel.at(at, call, (job, None, failed))

    def _watch(self, job: Job) -> None:
        """See to it that the job fails at its limit, and its worker is lost after as long again."""
        if not job.watched and not job.done:
            job.watched = True
            self._kernel.at(job.deadline, self._time_out, job)

    def put_off(self, world: SimWorld, by_s: float) -> None:
        """The clocks of this world's node stood still for so long: its tasks have that time left."""
        for job in (job for worker in world.lanes for job in worker.queue):
            job.deadline += by_s

    def _time_out(self, job: Job) -> None:
        node = job.world.node
        if job.done or not job.world.alive:
            return
        if node.frozen:
            node.waiting.append((self._time_out, job))
        elif self._kernel.now < job.deadline:
            self._kernel.at(job.deadline, self._time_out, job)
        elif job.late or job.worker.key < 0:
            self._count("worker is lost")
            self._lose(job, errno.ETIMEDOUT)
        else:
            self._count("task ran over its limit")
            job.late = True
            job.deadline += job.limit_s / node.rate
            self._kernel.at(job.deadline, self._time_out, job)
            job.world.deliver(job.answer, None, error(errno.ETIMEDOUT))

    def _lose(self, job: Job, number: int) -> None:
        """The worker that has this job, with all that waits behind it."""
        world, worker = job.world, job.worker
        world.lanes.lose(worker)
        for lost in worker.queue:
            lost.done = True
            if not lost.late:
                world.deliver(lost.answer, None, error(number))

    def _finish(self, end: tuple[Job, Any, OSError | None]) -> None:
        job, result, failed = end
        world = job.world
        if job.done or not world.alive:
            return
        if world.node.frozen:
            world.node.waiting.append((self._finish, end))
            return
        if failed is None and self._is_too_long(job, result):
            self._count("answer longer than a worker's frame")
            self._lose(job, errno.EPIPE)
            return
        job.done = True
        worker = job.worker
        if failed is not None:
            worker.files.drop_all(job.target.number)
        assert worker.queue[0] is job, "a task was answered out of turn"
        worker.queue.popleft()
        if worker.queue:
            self._begin(worker.queue[0])
        else:
            surplus = world.lanes.surplus(worker)
            if surplus is not None:
                world.lanes.lose(surplus)
        if job.late:
            self._count("late task ends")
        else:
            world.deliver(job.answer, result, failed)

    def _is_too_long(self, job: Job, result: Any) -> bool:
        """Rule 7."""
        if job.task not in JOURNALS_IN:
            return False
        if not result[-1]:
            self._count(f"{job.task} ends before the journals do")
        journals = result[JOURNALS_IN[job.task]]
        return bool(journals) and sum(len(data or b"") for _, data in journals) > self._frame_bytes_max

    # ---- what needs no other node -----------------------------------------------------------------------------

    def _do_here(self, job: Job) -> None:
        node, job.slow = job.world.node, job.world.node.weather.slow
        soon = self._kernel.now + LOCAL_S * job.slow
        if job.task == "shoot":
            self._cluster.power.shoot(job, self._finish, self._watch)
        elif job.task == "probe":
            self._kernel.at(soon, self._probe, (job, PROBE_TRIES))
        elif job.task == "whois":
            self._kernel.at(soon, self._finish, (job, node.number if node.configured else 0, None))
        elif job.task == "nodes":
            self._kernel.at(soon, self._finish, (job, list(node.map) if node.configured else [], None))
        else:
            self._kernel.at(soon, self._finish, (job, None, error(errno.EINVAL)))

    def _probe(self, state: tuple[Job, int]) -> None:
        """One try; its end is waited for even if the answer came at once."""
        job, left = state
        at = self._kernel.now + PROBE_TRY_S
        if self._answers_probe(job):
            self._kernel.at(at, self._finish, (job, True, None))
        elif left > 1:
            self._kernel.at(at, self._probe, (job, left - 1))
        else:
            self._count("probe says down")
            self._kernel.at(at, self._finish, (job, False, None))

    def _answers_probe(self, job: Job) -> bool:
        node, target, network = job.world.node, job.target, self._network
        if self._is_shared:
            return False                             # there is nobody to be probed
        if target is node:
            return True
        if not target.up or target.frozen or not target.configured or target.number in node.strangers:
            return False
        if network.blocked(node.number, target.number) or network.blocked(target.number, node.number):
            return False
        if self._draw.chance(max(node.weather.loss, target.weather.loss)):
            self._count("probe lost")
            return False
        ends = node.number, target.number
        if network.worse and (network.loses(*ends) or network.loses(*ends[::-1])):
            self._count("probe lost")
            return False
        slow = max(node.weather.slow, target.weather.slow)
        return network.latency_s(slow) + network.latency_s(slow) <= PROBE_TRY_S


def _bytes_of(content: Any) -> int:
    """Of a message that carries a step, or its answer."""
    parts = content if isinstance(content, (tuple, list)) else (content,)
    return HEAD_BYTES + sum(len(part) for part in parts if isinstance(part, (bytes, str)))
