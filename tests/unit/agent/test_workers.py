"""Workers: answers, deadlines, replacement, bounds."""

from __future__ import annotations

import errno
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mosha.platform import lanes, workers
from mosha.platform.workers import Workers


def fail() -> None:
    raise OSError(errno.ESTALE, "stale")


TASKS: dict[str, Callable[..., Any]] = {
    "echo": lambda value: value, "sleep": time.sleep, "fail": fail, "die": lambda: os._exit(3), "pid": os.getpid,
}  # fmt: skip


class Crew:
    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.workers = Workers(TASKS, self.selector, time.monotonic)
        self.answers: list[tuple[Any, int | None]] = []

    def ask(self, key: int, task: str, *arguments: Any, limit_s: float = 5.0, patience_s: float = 0.0) -> None:
        def take(result: Any, error: OSError | None) -> None:
            self.answers.append((result, error.errno if error else None))

        self.workers.submit(key, task, list(arguments), limit_s, take, patience_s)

    def wait(self, count: int) -> list[tuple[Any, int | None]]:
        deadline = time.monotonic() + 10
        while len(self.answers) < count and time.monotonic() < deadline:
            for key, _ in self.selector.select(0.02):
                key.data()
            self.workers.tick()
        assert len(self.answers) >= count, self.answers
        return self.answers


@pytest.fixture
def crew() -> Iterator[Crew]:
    crew = Crew()
    yield crew
    crew.workers.close()
    deadline = time.monotonic() + 5
    while crew.workers._dying and time.monotonic() < deadline:
        crew.workers.tick()
    assert not crew.workers._dying


def test_answers_and_errors(crew: Crew) -> None:
    crew.ask(1, "echo", {"a": [1, "x" * 100_000]})
    crew.ask(1, "fail")
    crew.ask(1, "echo", 7)
    assert crew.wait(3) == [({"a": [1, "x" * 100_000]}, None), (None, errno.ESTALE), (7, None)]


@pytest.mark.parametrize("signo", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE])
def test_what_an_agent_is_told_by_its_name_ends_no_worker(crew: Crew, signo: signal.Signals) -> None:
    crew.ask(0, "pid")
    first = crew.wait(1)[0][0]
    os.kill(first, signo)
    crew.ask(0, "pid")
    assert crew.wait(2)[1] == (first, None)


def test_a_task_that_hangs_fails_at_its_deadline_and_its_worker_is_replaced(crew: Crew) -> None:
    crew.ask(0, "pid")
    first = crew.wait(1)[0][0]
    began = time.monotonic()
    crew.ask(0, "sleep", 60, limit_s=0.2)
    crew.ask(1, "echo", "other worker")
    assert crew.wait(2)[1] == ("other worker", None)
    assert crew.wait(3)[2] == (None, errno.ETIMEDOUT)
    assert time.monotonic() - began < 5
    crew.ask(0, "pid")
    assert crew.wait(4)[3][0] != first
    assert ended(first), "the one that hung was killed"


def test_a_worker_that_is_only_late_goes_on_and_what_it_says_late_is_dropped(crew: Crew) -> None:
    crew.ask(0, "pid")
    first = crew.wait(1)[0][0]
    crew.ask(0, "sleep", 0.6, limit_s=0.4)
    crew.ask(0, "pid")
    assert crew.wait(3)[1:] == [(None, errno.ETIMEDOUT), (first, None)]


def test_a_worker_that_is_late_for_good_fails_what_waits_behind_it(crew: Crew) -> None:
    crew.ask(0, "sleep", 60, limit_s=0.2)
    crew.ask(0, "echo", 1)
    assert crew.wait(2) == [(None, errno.ETIMEDOUT), (None, errno.ETIMEDOUT)]


def test_a_key_that_hangs_holds_up_no_other_one(crew: Crew) -> None:
    for key in range(lanes.FEW):
        crew.ask(key, "sleep", 60, limit_s=60.0)
    for key in range(lanes.FEW, lanes.LATER_MAX):
        crew.ask(key, "echo", key)
    answers = crew.wait(lanes.LATER_MAX - lanes.FEW)
    assert {key for key, _ in answers} == set(range(lanes.FEW, lanes.LATER_MAX))


def test_an_idle_worker_goes_over_to_another_key(crew: Crew) -> None:
    for key in range(lanes.FEW):
        crew.ask(key, "pid")
        crew.wait(key + 1)
    crew.ask(lanes.FEW, "pid")
    assert crew.wait(lanes.FEW + 1)[-1] == crew.answers[0]


def test_the_first_few_are_forked_in_one_go_and_used_before_another_is(crew: Crew) -> None:
    crew.ask(0, "pid")
    crew.wait(1)
    forked = crew.workers.pids()
    assert len(forked) == workers.AT_ONCE
    for key in range(1, lanes.FEW):
        crew.ask(key, "sleep", 60, limit_s=60.0)
    crew.ask(-1, "sleep", 60, limit_s=60.0)
    assert set(crew.workers.pids()) == set(forked)
    crew.ask(-2, "pid")
    assert len(crew.workers.pids()) == workers.AT_ONCE + 1


def test_those_that_are_prepared_are_there_before_they_are_asked(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 7: so whoever forks others at that time shares with them what is written to later."""
    with monkeypatch.context() as exhausted:
        exhausted.setattr(os, "fork", fail)
        crew.workers.prepare()
    assert crew.workers.pids() == [], "they are forked when they are needed"
    crew.workers.prepare()
    prepared = crew.workers.pids()
    assert len(prepared) == workers.AT_ONCE
    crew.ask(0, "pid")
    assert crew.wait(1)[0][0] in prepared
    assert sorted(crew.workers.pids()) == sorted(prepared)


def test_one_that_dies_before_it_was_asked_is_collected_and_none_of_them(crew: Crew) -> None:
    crew.ask(0, "pid")
    ((asked, _),) = crew.wait(1)
    victim = next(pid for pid in crew.workers.pids() if pid != asked)
    os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while victim in crew.workers.pids() and time.monotonic() < deadline:
        for key, _ in crew.selector.select(0.02):
            key.data()
        crew.workers.tick()
    assert victim not in crew.workers.pids()
    with pytest.raises(ChildProcessError):
        os.waitpid(victim, os.WNOHANG)


def test_the_sockets_of_all_are_watched_so_no_leash_inherits_one(crew: Crew) -> None:
    crew.ask(0, "pid")
    crew.wait(1)
    assert len(crew.selector.get_map()) == len(crew.workers.pids())


def test_those_that_were_never_asked_end_with_the_others() -> None:
    crew = Crew()
    crew.ask(0, "pid")
    crew.wait(1)
    forked = crew.workers.pids()
    crew.workers.close()
    deadline = time.monotonic() + 5
    while forked and time.monotonic() < deadline:
        forked = [pid for pid in forked if not workers._is_gone(pid)]
    assert not forked


@pytest.mark.parametrize("there", [1, 3])
def test_where_there_are_few_processes_there_are_fewer_at_once(
    crew: Crew, monkeypatch: pytest.MonkeyPatch, there: int
) -> None:
    fork, left = os.fork, iter(range(there))

    def some() -> int:
        if next(left, None) is None:
            raise OSError(errno.EAGAIN, "no more processes")
        return fork()

    monkeypatch.setattr(os, "fork", some)
    crew.ask(0, "echo", 1)
    assert crew.wait(1) == [(1, None)]
    assert len(crew.workers.pids()) == there


def test_idle_workers_beyond_those_that_are_kept_end(crew: Crew) -> None:
    count = lanes.LATER_MAX + 3
    for key in range(count):
        crew.ask(key, "echo", key)
    assert len(crew.workers.pids()) == count
    crew.wait(count)
    deadline = time.monotonic() + 5
    while len(crew.workers.pids()) > lanes.LATER_MAX and time.monotonic() < deadline:
        crew.workers.tick()
    assert len(crew.workers.pids()) == lanes.LATER_MAX


def test_workers_that_are_not_needed_any_more_end_and_are_forked_anew(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = range(workers.AT_ONCE)
    for key in keys:
        crew.ask(key, "echo", key)
    answers = len(crew.wait(len(keys)))
    monkeypatch.setattr(lanes, "SPAN_S", 0.0)
    crew.workers._lanes._span_ends = 0.0
    deadline = time.monotonic() + 5
    while len(crew.workers.pids()) > 1 and time.monotonic() < deadline:
        crew.ask(0, "echo", 0)
        answers = len(crew.wait(answers + 1))
    assert len(crew.workers.pids()) == 1
    assert not crew.workers._lanes.stuck
    for key in keys:
        crew.ask(key, "echo", key)
    assert {answer for answer, _ in crew.wait(answers + len(keys))[answers:]} == set(keys)


def test_tasks_with_patience_need_few_workers(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "SPAN_S", 0.0)
    crew.workers._lanes._span_ends = 0.0
    keys, answers, deadline = range(2 * workers.FEW_AT_WORK + 1), 0, time.monotonic() + 5
    while time.monotonic() < deadline:
        for key in keys:
            crew.ask(key, "pid", patience_s=5.0)
        assert crew.workers._lanes.at_work() <= workers.FEW_AT_WORK
        answers = len(crew.wait(answers + len(keys)))
        if len(crew.workers.pids()) <= workers.FEW_AT_WORK:
            break
    assert len(crew.workers.pids()) <= workers.FEW_AT_WORK
    assert len({pid for pid, _ in crew.answers[-len(keys) :]}) <= workers.FEW_AT_WORK


def test_patience_has_an_end_where_all_that_work_hang(crew: Crew) -> None:
    for key in range(workers.FEW_AT_WORK):
        crew.ask(key, "sleep", 60, limit_s=60.0)
    crew.ask(7, "echo", "late", patience_s=0.3)
    crew.workers.tick()
    assert crew.workers._lanes.at_work() == workers.FEW_AT_WORK
    due = crew.workers.next_due()
    assert due is not None
    assert due < time.monotonic() + 5
    assert crew.wait(1) == [("late", None)]


def test_a_task_without_patience_hurries_those_of_its_key_and_no_other(crew: Crew) -> None:
    for key in range(workers.FEW_AT_WORK):
        crew.ask(key, "sleep", 60, limit_s=60.0)
    crew.ask(7, "echo", 1, patience_s=60.0)
    crew.ask(8, "echo", "another's", patience_s=60.0)
    crew.ask(7, "echo", 2)
    assert crew.wait(2) == [(1, None), (2, None)]


def test_so_many_have_patience_at_most(crew: Crew) -> None:
    for key in range(workers.FEW_AT_WORK):
        crew.ask(key, "sleep", 60, limit_s=60.0)
    for number in range(workers.QUEUE_MAX + 1):
        crew.ask(100 + number, "echo", number, patience_s=60.0)
    assert crew.wait(1) == [(workers.QUEUE_MAX, None)]


def test_where_no_process_is_to_be_had_the_task_fails(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> int:
        raise OSError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(os, "fork", none)
    crew.ask(0, "echo", 1)
    assert crew.wait(1) == [(None, errno.EAGAIN)]


def test_a_worker_with_a_key_of_its_own_is_killed_at_its_deadline(crew: Crew) -> None:
    crew.ask(-2, "pid")
    first = crew.wait(1)[0][0]
    crew.ask(-2, "sleep", 60, limit_s=0.2)
    assert crew.wait(2)[1] == (None, errno.ETIMEDOUT)
    assert ended(first), "a shot that has failed must not happen later"


def test_a_worker_that_dies_fails_its_tasks_and_is_replaced(crew: Crew) -> None:
    crew.ask(0, "die")
    crew.ask(0, "echo", 1)
    assert crew.wait(2) == [(None, errno.EPIPE), (None, errno.EPIPE)]
    crew.ask(0, "echo", 2)
    assert crew.wait(3)[2] == (2, None)


def test_the_queue_is_bounded(crew: Crew) -> None:
    for _ in range(workers.QUEUE_MAX + 1):
        crew.ask(0, "echo", 1)
    assert crew.answers == [], "answers come from the loop only"
    crew.workers.tick()
    assert crew.answers == [(None, errno.EAGAIN)]


def test_stuck_workers_are_bounded(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_gone(pid: int) -> bool:
        return False

    with monkeypatch.context() as stuck:
        stuck.setattr(workers, "_is_gone", not_gone)
        for count in range(1, lanes.STUCK_MAX + 1):
            crew.ask(0, "die")
            crew.wait(count)
        crew.ask(1, "echo", "another key")
        assert crew.wait(lanes.STUCK_MAX + 1)[-1] == ("another key", None)
        crew.answers.clear()
        crew.ask(0, "echo", 1)
    due = crew.workers.next_due()
    assert due is not None
    assert due <= time.monotonic()
    crew.workers.tick()
    assert crew.answers == [(None, errno.EAGAIN)]
    crew.ask(0, "echo", "they are gone")
    assert crew.wait(2)[-1] == ("they are gone", None)


def test_a_worker_dies_with_its_agent() -> None:
    reader, writer = os.pipe()
    agent = os.fork()
    if agent == 0:
        crew = Crew()
        crew.ask(0, "pid")
        os.write(writer, str(crew.wait(1)[0][0]).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    worker = int(os.read(reader, 20))
    os.waitpid(agent, 0)
    os.close(reader)
    os.close(writer)
    assert ended(worker), "the worker outlived its agent"


def ended(pid: int) -> bool:
    """Whether the process is gone, or a zombie that nobody has collected, within 5 s."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.005)
    return False


def test_a_task_that_is_longer_than_a_buffer_is_sent_in_parts(crew: Crew) -> None:
    long = b"x" * (workers.FRAME_BYTES_MAX // 2)
    for _ in range(3):
        crew.ask(1, "echo", long)
    crew.ask(1, "echo", "short")
    assert crew.wait(4) == [(long, None)] * 3 + [("short", None)]


def test_a_task_that_is_too_long_fails_and_harms_nobody(crew: Crew) -> None:
    crew.ask(1, "pid")
    ((pid, _),) = crew.wait(1)
    crew.ask(1, "echo", b"x" * (workers.FRAME_BYTES_MAX + 1))
    crew.ask(1, "pid")
    assert sorted(crew.wait(3)[1:], key=str) == sorted([(None, errno.EMSGSIZE), (pid, None)], key=str)
