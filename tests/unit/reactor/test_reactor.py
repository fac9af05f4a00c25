"""The loop: timers, descriptors, threads, signals; an end that comes early is an end."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from emulator.reactor import THREADS_MAX, WORK_MAX, Reactor
from tests.unit.hpc.loopback import wait_until


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor()
    reactor.call_later(20.0, reactor.stop)                   # no test waits for ever
    yield reactor
    reactor.close()


def test_timers_come_in_their_order_and_cancelled_ones_never(reactor: Reactor) -> None:
    seen: list[str] = []
    reactor.call_later(0.02, lambda: seen.append("second"))
    reactor.call_later(0.01, lambda: seen.append("first"))
    reactor.call_later(0.015, lambda: seen.append("never")).cancel()
    reactor.call_later(0.03, reactor.stop)
    reactor.run()
    assert seen == ["first", "second"]


def test_a_descriptor_is_told_of_until_it_is_forgotten(reactor: Reactor) -> None:
    reader, writer = os.pipe()
    seen: list[bytes] = []

    def readable(_mask: int) -> None:
        seen.append(os.read(reader, 1))
        if len(seen) == 2:
            reactor.forget(reader)
            reactor.call_later(0.01, reactor.stop)

    reactor.watch(reader, select.EPOLLIN, readable)
    os.write(writer, b"abc")
    reactor.run()
    assert seen == [b"a", b"b"]
    os.close(reader)
    os.close(writer)


def test_what_is_reported_of_one_descriptor_is_not_told_of_the_next_with_its_number(reactor: Reactor) -> None:
    (first, one), (second, two) = os.pipe(), os.pipe()
    told: list[int] = []

    def replace(_mask: int) -> None:
        reactor.forget(first)
        reactor.forget(second)
        os.close(second)
        third, _ = os.pipe()  # nothing to be read
        told.append(third)
        reactor.watch(third, select.EPOLLIN, told.append)
        reactor.call_later(0.01, reactor.stop)

    reactor.watch(first, select.EPOLLIN, replace)
    reactor.watch(second, select.EPOLLIN, replace)
    os.write(one, b"x")
    os.write(two, b"x")  # both are reported in one round
    reactor.run()
    assert told == [second]


def test_what_blocks_runs_beside_the_loop_and_its_failure_is_its_answer(reactor: Reactor) -> None:
    seen: list[object] = []
    answered = threading.Event()

    def then(result: object) -> None:
        seen.append(result)
        answered.set()
        if len(seen) == 2:
            reactor.stop()

    def slow() -> str:
        return "slow" if answered.wait(10) else "nothing ran beside it"

    reactor.in_thread(slow, then)
    reactor.in_thread(lambda: 1 // 0, then)
    reactor.run()
    assert isinstance(seen[0], ZeroDivisionError)
    assert seen[1] == "slow"


def test_more_calls_than_threads_are_done_and_too_many_are_refused(reactor: Reactor) -> None:
    threads, held, seen = threading.active_count(), threading.Event(), []

    def then(result: object) -> None:
        seen.append(result)
        if len(seen) >= WORK_MAX:
            reactor.stop()

    for number in range(WORK_MAX):
        reactor.in_thread(lambda number=number: held.wait(10) and number, then)  # type: ignore[misc]
    with pytest.raises(BlockingIOError):
        reactor.in_thread(held.wait, then)
    assert threading.active_count() <= threads + THREADS_MAX
    held.set()
    reactor.run()
    assert sorted(map(str, seen)) == sorted(map(str, range(WORK_MAX)))
    reactor.in_thread(lambda: "there is room again", then)
    reactor.run()
    assert seen[-1] == "there is room again"


def test_a_loop_that_is_closed_lets_go_of_its_threads() -> None:
    before, threads = set(os.listdir("/proc/self/fd")), threading.active_count()
    reactor, held = Reactor(), threading.Event()
    reactor.in_thread(lambda: None, lambda _result: reactor.stop())
    reactor.run()
    reactor.in_thread(lambda: held.wait(10), lambda _result: None)
    reactor.close()
    held.set()
    wait_until(lambda: threading.active_count() <= threads and set(os.listdir("/proc/self/fd")) <= before)


def test_a_stop_before_the_run_is_not_lost(reactor: Reactor) -> None:
    reactor.stop()
    began = time.monotonic()
    reactor.run()
    assert time.monotonic() - began < 10


def test_a_signal_ends_the_wait(reactor: Reactor) -> None:
    earlier = signal.getsignal(signal.SIGUSR1)
    seen: list[set[int]] = []

    def arrived(numbers: set[int]) -> None:
        seen.append(numbers)
        reactor.stop()

    reactor.watch_signals([signal.SIGUSR1], arrived)
    child = os.fork()
    if child == 0:
        time.sleep(0.05)
        os.kill(os.getppid(), signal.SIGUSR1)
        os._exit(0)
    began = time.monotonic()
    reactor.run()
    signal.signal(signal.SIGUSR1, earlier)
    os.waitpid(child, 0)
    assert seen == [{signal.SIGUSR1}]
    assert time.monotonic() - began < 10


def test_a_signal_is_heard_from_the_moment_in_which_it_is_caught(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier, catch = signal.getsignal(signal.SIGUSR1), signal.signal
    seen: list[set[int]] = []

    def caught_and_sent(number: int, handler: object) -> object:
        before = catch(number, handler)  # type: ignore[arg-type]
        signal.raise_signal(number)
        return before

    def arrived(numbers: set[int]) -> None:
        seen.append(numbers)
        reactor.stop()

    monkeypatch.setattr(signal, "signal", caught_and_sent)
    reactor.watch_signals([signal.SIGUSR1], arrived)
    monkeypatch.undo()
    reactor.call_later(10, reactor.stop)
    reactor.run()
    signal.signal(signal.SIGUSR1, earlier)
    assert seen == [{signal.SIGUSR1}]


def test_a_callback_that_fails_ends_nothing_else(reactor: Reactor, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []
    reactor.call_later(0.0, lambda: seen.append(1 // 0))
    reactor.call_later(0.01, lambda: seen.append(1))
    reactor.call_later(0.02, reactor.stop)
    reactor.run()
    assert seen == [1]
    assert "ZeroDivisionError" in caplog.text
