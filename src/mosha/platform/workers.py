"""Forked workers: whatever may block runs in one of them, with a deadline, and never in the agent.

A hung ``/mfs`` takes a worker and not the agent. Threads would do elsewhere; a process of an openMosix kernel cannot
have them, and a thread that hangs in a system call cannot be ended.

Rules:

1. A worker does one task at a time, in the order in which they were given. It has the tasks of one key, and only an
   idle one goes over to another key (:mod:`mosha.platform.lanes`): a hung node holds up nobody but itself. It keeps
   descriptors open.
2. A task that is not answered at its deadline fails with ETIMEDOUT. What it may still do is known to nobody: only tasks
   that do no harm when they happen late are given to workers. Its worker may end it for as long again: to replace one
   costs a fork and all that it held open, and where many are late there is no time for that. Then, and at once for a
   negative key, it is killed, forgotten and replaced.
3. Workers that were killed and do not die (state D) are counted; a key of which there are ``STUCK_MAX`` gets no
   replacement before one of them is gone, and its tasks fail at once with EAGAIN. So they do beyond the other bounds.
4. A worker dies with the agent.
5. Answers come from the loop, failures too: never from within :meth:`Workers.submit`.
6. A task and its answer have FRAME_BYTES_MAX bytes at most: a longer task fails with EMSGSIZE. What is long is asked
   for in parts, as the plans of :mod:`mosha.platform.plans` do.
7. The first few are forked in one go. What the agent writes to between two forks is a copy for each of them; of one
   moment's memory they share one. Who forks others as well :meth:`prepares <Workers.prepare>` these just before.
8. A task that has patience is not taken up while ``FEW_AT_WORK`` are at work, until that has passed: so a node at rest
   needs no more of them. Then, and at once for one that is followed by another task of its key, it is as any other.
"""

from __future__ import annotations

import errno
import gc
import marshal
import os
import selectors
import signal
import socket
import struct
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Any, Callable

from mosha.platform import linux, wake
from mosha.platform.lanes import FEW, Lanes
from mosha.platform.plans import LATER
from mosha.platform.world import Answer

Task = Callable[..., Any]

QUEUE_MAX = 256
FEW_AT_WORK = 2                  # of those that are not for one key only
AT_ONCE = FEW + 1                # the lanes that there are from the first, and that of probes
FRAME_BYTES_MAX = 4 * 1024 * 1024
PART_BYTES = 65536               # of one read: a larger one has memory mapped for it first
_LENGTH = struct.Struct("<I")


class _Job:
    """A task; it has patience ``until`` then."""

    __slots__ = ("answer", "can_wait", "frame", "key", "limit_s", "until")

    def __init__(self, key: int, frame: bytes, limit_s: float, answer: Answer, can_wait: bool, until: float) -> None:
        self.key, self.frame, self.limit_s, self.answer = key, frame, limit_s, answer
        self.can_wait, self.until = can_wait, until


class _Worker:
    """The agent's end of one worker; its key comes from the lanes."""

    key: int

    def __init__(self, pid: int, ours: socket.socket) -> None:
        ours.setblocking(False)
        self.pid, self.socket = pid, ours
        self.queue: deque[_Job] = deque()
        self.deadline: float | None = None    # of the job at the head of the queue, once it was sent
        self.is_overdue = False               # that job has failed, and is not ended yet
        self.received = bytearray()
        self.unsent = b""                    # of the task at the head of the queue


class Workers:
    """Forked when they are needed; watched by the agent's selector."""

    def __init__(
        self, tasks: Mapping[str, Task], selector: selectors.BaseSelector, clock: Callable[[], float]
    ) -> None:
        self._tasks, self._selector, self._clock = tasks, selector, clock
        self._lanes = Lanes(self._another, clock)
        self._spare: list[_Worker] = []              # those that have no key yet (rule 7)
        self._dying: dict[int, int | None] = {}      # pid -> key, if it had one
        self._failed: list[tuple[Answer, OSError]] = []
        self._patient: deque[_Job] = deque()         # rule 8

    def submit(
        self, key: int, task: str, arguments: list[Any], limit_s: float, answer: Answer, patience_s: float = 0.0
    ) -> None:
        """Run ``tasks[task](*arguments)`` in the worker of ``key``; ``answer(result, error)`` comes from the loop.

        ``limit_s`` counts from when the worker takes the task up, which it does after ``patience_s`` at the latest
        where it has none before it.
        """
        body = marshal.dumps([task, arguments])
        if len(body) > FRAME_BYTES_MAX:
            self._failed.append((answer, OSError(errno.EMSGSIZE, f"a task of {len(body)} bytes")))
            return
        until = self._clock() + patience_s
        job = _Job(key, _LENGTH.pack(len(body)) + body, limit_s, answer, task in LATER, until)
        self._give_all([one for one in self._patient if one.key == key])
        if patience_s and self._lanes.at_work() >= FEW_AT_WORK and len(self._patient) < QUEUE_MAX:
            self._patient.append(job)
        else:
            self._give(job)

    def prepare(self) -> None:
        """Fork the first few now (rule 7), if that can be; else when they are needed."""
        try:
            self._fork()
        except OSError:
            pass

    def pids(self) -> list[int]:
        """All of them; those too that were killed, and are not gone yet."""
        return [*(worker.pid for worker in (*self._lanes, *self._spare)), *self._dying]

    def next_due(self) -> float | None:
        """When :meth:`tick` is to be called: the earliest deadline of a task, or at once for what has failed."""
        if self._failed:
            return self._clock()
        dues = [worker.deadline for worker in self._lanes if worker.deadline is not None]
        return min([*dues, *(job.until for job in self._patient)], default=None)

    def tick(self) -> None:
        """Fail what is overdue, tell of failures, and collect workers that have died."""
        now = self._clock()
        self._give_all([job for job in self._patient if now >= job.until])
        for worker in [one for one in self._lanes if one.deadline is not None and now >= one.deadline]:
            late = OSError(errno.ETIMEDOUT, "the worker did not answer in time")
            if worker.is_overdue or worker.key < 0:
                self._lose(worker, late)
            else:
                self._failed.append((worker.queue[0].answer, late))
                worker.is_overdue, worker.deadline = True, now + worker.queue[0].limit_s
        for pid, key in list(self._dying.items()):
            if _is_gone(pid):
                self._forget(pid, key)
        failed, self._failed = self._failed, []
        for answer, error in failed:
            answer(None, error)

    def close(self) -> None:
        """Kill all workers; their tasks are not answered any more."""
        for worker in [*self._lanes, *self._spare]:
            self._bury(worker)

    # ---- inside -----------------------------------------------------------------------------------------------

    def _another(self, _key: int) -> _Worker:
        if not self._spare:
            self._fork()
        return self._spare.pop()

    def _fork(self) -> None:
        """Some that have no key yet. Raises OSError if there can be none."""
        self._spare = _forked(1 if self.pids() else AT_ONCE, self._tasks)
        for worker in self._spare:
            self._selector.register(worker.socket, selectors.EVENT_READ, partial(self._ready, worker))

    def _give_all(self, patient: list[_Job]) -> None:
        """Those have waited long enough."""
        for job in patient:
            self._patient.remove(job)
            self._give(job)

    def _give(self, job: _Job) -> None:
        """To a worker, now."""
        try:
            worker = self._lanes.lane(job.key, job.can_wait)
        except OSError as error:                 # there is no process, or no descriptor, to be had
            self._failed.append((job.answer, error))
            return
        if worker is None or len(worker.queue) >= QUEUE_MAX:
            self._failed.append((job.answer, OSError(errno.EAGAIN, "no worker is free")))
            return
        worker.queue.append(job)
        if worker.deadline is None:
            self._send(worker)

    def _send(self, worker: _Worker) -> None:
        job = worker.queue[0]
        worker.deadline = self._clock() + job.limit_s
        worker.unsent = job.frame
        self._send_on(worker)

    def _send_on(self, worker: _Worker) -> None:
        """As much as goes at once: an idle worker's buffer takes almost any task."""
        try:
            sent = worker.socket.send(worker.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lose(worker, OSError(errno.EPIPE, "the worker is gone"))
            return
        was_partial, worker.unsent = len(worker.unsent) < len(worker.queue[0].frame), worker.unsent[sent:]
        if was_partial or worker.unsent:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.unsent else 0)
            self._selector.modify(worker.socket, events, partial(self._ready, worker))

    def _ready(self, worker: _Worker) -> None:
        if worker.unsent:
            self._send_on(worker)
        else:
            self._readable(worker)

    def _readable(self, worker: _Worker) -> None:
        try:
            data = worker.socket.recv(PART_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        worker.received += data
        if not data or len(worker.received) > FRAME_BYTES_MAX:
            self._lose(worker, OSError(errno.EPIPE, "the worker is gone"))
            return
        frame = _take_frame(worker.received)
        if frame is not None:
            self._answer(worker, frame)

    def _answer(self, worker: _Worker, frame: bytes) -> None:
        job, is_over = worker.queue.popleft(), worker.is_overdue
        worker.deadline, worker.is_overdue = None, False
        if worker.queue:
            self._send(worker)
        else:
            surplus = self._lanes.surplus(worker)
            if surplus is None and self._spare and self._lanes.are_enough():
                surplus = self._spare[-1]
            if surplus is not None:
                self._bury(surplus)
            if self._patient and self._lanes.at_work() < FEW_AT_WORK:
                self._give(self._patient.popleft())
        if not is_over:
            result, error = marshal.loads(frame)
            job.answer(result, OSError(*error) if error else None)

    def _lose(self, worker: _Worker, error: OSError) -> None:
        self._bury(worker)
        if worker.is_overdue:
            worker.queue.popleft()
        self._failed += [(job.answer, error) for job in worker.queue]

    def _bury(self, worker: _Worker) -> None:
        self._selector.unregister(worker.socket)
        worker.socket.close()
        key = None
        if worker in self._spare:
            self._spare.remove(worker)
        else:
            self._lanes.lose(worker)
            key = worker.key
        self._dying[worker.pid] = key
        try:
            os.kill(worker.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if _is_gone(worker.pid):
            self._forget(worker.pid, key)

    def _forget(self, pid: int, key: int | None) -> None:
        del self._dying[pid]
        if key is not None:
            self._lanes.stuck.remove(key)


def _is_gone(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _take_frame(received: bytearray) -> bytes | None:
    if len(received) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack_from(received)
    if len(received) < _LENGTH.size + length:
        return None
    frame = bytes(received[_LENGTH.size : _LENGTH.size + length])
    del received[: _LENGTH.size + length]
    return frame


def _forked(count: int, tasks: Mapping[str, Task]) -> list[_Worker]:
    """So many of them, or as many as there can be. Raises OSError if there can be none."""
    pairs, pids = [], []
    try:
        for _ in range(count):
            pairs.append(socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM))
        for _, theirs in pairs:                  # nothing but this between two forks
            pids.append(os.fork())
            if pids[-1] == 0:
                _serve(theirs, tasks)            # never returns
    except OSError:
        if not pids:
            raise
    finally:
        for _, theirs in pairs:
            theirs.close()
        for ours, _ in pairs[len(pids) :]:
            ours.close()
    return [_Worker(pid, ours) for pid, (ours, _) in zip(pids, pairs)]


def _serve(theirs: socket.socket, tasks: Mapping[str, Task]) -> None:
    """The worker's life."""
    try:
        gc.freeze()                              # what the agent has is not copied only for having been looked at
        linux.set_pdeathsig(signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        for signo in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(signo, signal.SIG_DFL)
        for signo in (signal.SIGHUP, *wake.DEAF_TO):         # who tells the agent something by name tells all
            signal.signal(signo, signal.SIG_IGN)
        os.setsid()
        linux.close_all_but(0, 1, 2, theirs.fileno())
        received = bytearray()
        while True:
            data = theirs.recv(PART_BYTES)
            if not data:
                break
            received += data
            frame = _take_frame(received)
            if frame is not None:
                body = marshal.dumps(_run(tasks, *marshal.loads(frame)))
                theirs.sendall(_LENGTH.pack(len(body)) + body)
    finally:
        os._exit(0)


def _run(tasks: Mapping[str, Task], task: str, arguments: list[Any]) -> tuple[Any, list[Any] | None]:
    try:
        return tasks[task](*arguments), None
    except OSError as error:
        return None, [error.errno or errno.EIO, error.strerror or str(error)]
    except (ValueError, TypeError) as error:
        return None, [errno.EINVAL, str(error)]
