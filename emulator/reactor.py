"""One epoll loop: descriptors, timers, and results of the few calls that may block.

Rules:

1. Nothing here blocks except :meth:`Reactor.run` in ``epoll_wait``.
2. A callback runs to its end before the next; it must not block either. A call that may block (fsync of a slow
   disk) goes to :meth:`Reactor.in_thread`, whose answer comes back to the loop.
3. A descriptor that came to be watched in a round is not called before the next: what is reported in this one may be
   of another that had the same number.
4. An exception in one callback is logged with its traceback and ends that callback only.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
import signal
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

THREADS_MAX = 8
EVENTS_MAX = 64
IDLE_S = 60.0
WAKE = 0                    # in the pipe that ends the wait: any other byte is the number of a signal


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
        self._done: deque[Callable[[], None]] = deque()
        self._pool: ThreadPoolExecutor | None = None
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
        """Run ``work()`` in a thread and ``then(result)`` in the loop; an exception is the result."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # a process that waits for nothing is small

            self._pool = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="blocking")

        def run() -> None:
            result: Any
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - handed to the loop as the result
                result = error
            self._done.append(lambda: then(result))
            self.wake()

        self._pool.submit(run)

    def wake(self) -> None:
        """End the current wait; safe from threads and signal handlers."""
        try:
            os.write(self._wake_w, bytes([WAKE]))
        except BlockingIOError:
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
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        if self._on_signals is not None:
            signal.set_wakeup_fd(-1)
        self._epoll.close()
        os.close(self._wake_r)
        os.close(self._wake_w)

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
            self._call(self._done.popleft())

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
