"""One epoll loop: descriptors, timers, and results of the few calls that may block.

Rules:

1. Nothing here blocks except :meth:`Reactor.run` in ``epoll_wait``.
2. A callback runs to its end before the next; it must not block either. A call that may block (fsync of a slow
   disk) goes to :meth:`Reactor.in_thread`, whose answer comes back to the loop. A byte in a pipe wakes a thread: who
   writes it does not hold the interpreter, as who puts something into a queue does, so the thread runs at once.
3. A descriptor that came to be watched in a round is not called before the next: what is reported in this one may be
   of another that had the same number.
4. An exception in one callback is logged with its traceback and ends that callback only.
"""

from __future__ import annotations

import errno
import heapq
import itertools
import os
import select
import signal
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Callable

THREADS_MAX = 8
WORK_MAX = 4096             # as many bytes as any pipe takes
EVENTS_MAX = 64
IDLE_S = 60.0
WAKE = 0                    # in the pipe that ends the wait: any other byte is the number of a signal
_WAKES = bytes([WAKE])


class Timer:
    """A call that is due at ``when_s`` (monotonic seconds), until it is cancelled."""

    __slots__ = ("callback", "when_s")

    def __init__(self, when_s: float, callback: Callable[[], None]) -> None:
        self.when_s = when_s
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Reactor:
    """The loop. Callbacks for descriptors take the epoll event mask."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._new: set[int] = set()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._done: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._work: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = deque()
        self._work_pipe: tuple[int, int] | None = None
        self._threads = 0
        self._busy = 0  # what is asked of the threads, and is not answered in the loop yet
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stopped = False
        self._on_signals: Callable[[set[int]], None] | None = None
        self.watch(self._wake_r, select.EPOLLIN, self._woken)

    @staticmethod
    def now() -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call ``callback(mask)`` when ``events`` (``select.EPOLLIN`` | ``EPOLLOUT``) happen on ``fd``.

        A second call for the same descriptor replaces events and callback.
        """
        if fd in self._callbacks:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
            self._new.add(fd)
        self._callbacks[fd] = callback

    def forget(self, fd: int) -> None:
        """Stop watching ``fd``; call it before the descriptor is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def watch_signals(self, numbers: Iterable[int], callback: Callable[[set[int]], None]) -> None:
        """Call ``callback(numbers)`` in the loop after signals came: none is lost, and none is handled amid a callback.

        For one set of signals of one loop, in the main thread.
        """
        self._on_signals = callback
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)  # first: what is caught from here on is heard
        for number in numbers:
            signal.signal(number, lambda _number, _frame: None)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback()`` once, ``delay_s`` seconds from now."""
        timer = Timer(self.now() + delay_s, callback)
        heapq.heappush(self._timers, (timer.when_s, next(self._order), timer))
        return timer

    def in_thread(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Run ``work()`` in a thread and ``then(result)`` in the loop; an exception is the result.

        OSError EAGAIN if ``WORK_MAX`` others are not done yet.
        """
        if self._busy >= WORK_MAX:
            raise BlockingIOError(errno.EAGAIN, f"{WORK_MAX} calls wait for a thread")
        if self._work_pipe is None:
            self._work_pipe = os.pipe2(os.O_CLOEXEC)
        source, sink = self._work_pipe
        self._busy += 1
        if self._threads < min(self._busy, THREADS_MAX):
            from threading import Thread  # a process that waits for nothing is small

            Thread(target=self._serve, args=(os.dup(source),), daemon=True).start()
            self._threads += 1
        self._work.append((work, then))
        os.write(sink, _WAKES)

    def wake(self) -> None:
        """End the current wait; safe from threads and signal handlers."""
        try:
            os.write(self._wake_w, _WAKES)
        except OSError:  # it is full, and the wait ends anyway; or the loop has been closed meanwhile
            pass

    def run(self) -> None:
        """Loop until :meth:`stop`, which may have come before."""
        while not self._stopped:
            ready = self._epoll.poll(self._wait_s(), EVENTS_MAX)
            self._new.clear()
            for fd, mask in ready:
                callback = self._callbacks.get(fd)
                if callback is not None and fd not in self._new:
                    self._call(callback, mask)
            self._run_due()
        self._stopped = False

    def stop(self) -> None:
        """Let :meth:`run` return after the current round."""
        self._stopped = True
        self.wake()

    def close(self) -> None:
        """Free what the loop itself holds."""
        if self._work_pipe is not None:
            for fd in self._work_pipe:  # then the threads end, when they have done what they are at
                os.close(fd)
        if self._on_signals is not None:
            signal.set_wakeup_fd(-1)
        self._epoll.close()
        os.close(self._wake_r)
        os.close(self._wake_w)
        self._wake_w = -1           # a thread may still have something to say

    def _wait_s(self) -> float:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if self._done:
            return 0.0
        if self._timers:
            return min(IDLE_S, max(0.0, self._timers[0][0] - self.now()))
        return IDLE_S

    def _run_due(self) -> None:
        now = self.now()
        while self._timers and self._timers[0][0] <= now:
            callback = heapq.heappop(self._timers)[2].callback
            if callback is not None:
                self._call(callback)
        for _ in range(len(self._done)):
            then, result = self._done.popleft()
            self._busy -= 1
            self._call(then, result)

    def _serve(self, source: int) -> None:
        """What a thread does: a piece of work for each byte."""
        while os.read(source, 1):
            do, then = self._work.popleft()
            result: Any
            try:
                result = do()
            except Exception as error:  # noqa: BLE001 - handed to the loop as the result
                result = error
            self._done.append((then, result))
            self.wake()
        os.close(source)

    def _woken(self, _mask: int) -> None:
        try:
            numbers = set(os.read(self._wake_r, 4096)) - {WAKE}
        except BlockingIOError:
            return
        if numbers and self._on_signals is not None:
            self._on_signals(numbers)

    @staticmethod
    def _call(callback: Callable[..., None], *args: Any) -> None:
        try:
            callback(*args)
        except Exception:
            import logging  # as above

            logging.getLogger(__name__).exception("callback failed")
