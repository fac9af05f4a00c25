from __future__ import annotations

import os
import select
from collections.abc import Iterator

import pytest

from emulator.output import LINE_MAX, QUEUE_MAX, Output
from emulator.reactor import Reactor


class Reader:
    """The other end of stdout."""

    def __init__(self) -> None:
        self.fd, self.stdout = os.pipe()
        os.set_blocking(self.fd, False)

    def lines(self) -> list[bytes]:
        data = b""
        try:
            while True:
                data += os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return data.splitlines()


@pytest.fixture
def reader() -> Iterator[Reader]:
    one = Reader()
    yield one
    os.close(one.fd)
    os.close(one.stdout)


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    one = Reactor()
    yield one
    one.close()


def test_lines_say_who_said_them(reactor: Reactor, reader: Reader) -> None:
    output = Output(reactor, reader.stdout)
    pipe = output.pipe("kv")
    os.write(pipe.writer, b"one\ntwo\nno end")
    pipe.started(77)
    output.drain(77)
    output.finish(reactor.now() + 1)
    assert reader.lines() == [b"kv[77]: one", b"kv[77]: two", b"kv[77]: no end"]
    assert os.get_blocking(reader.stdout)


def test_a_long_line_comes_in_pieces(reactor: Reactor, reader: Reader) -> None:
    output = Output(reactor, reader.stdout)
    pipe = output.pipe("kv")
    os.write(pipe.writer, b"x" * (LINE_MAX + 1))
    copy = os.dup(pipe.writer)
    pipe.started(1)
    output.drain(1)
    assert reader.lines() == [b"kv[1]: " + b"x" * (LINE_MAX + 1)]
    os.close(copy)
    output.finish(reactor.now() + 1)


def test_a_slow_reader_holds_nobody_up_and_is_told_what_it_missed(reactor: Reactor, reader: Reader) -> None:
    output = Output(reactor, reader.stdout)
    count = 2 * QUEUE_MAX // 1000
    for _ in range(count):
        output.line("kv", 1, b"x" * 1000)
    shown = b""

    def read(_mask: int) -> None:
        nonlocal shown
        shown += os.read(reader.fd, 1 << 16)
        if shown.count(b"\nkv") > 100 and b"still here" not in shown:
            output.say("still here")
        if b"still here\n" in shown:
            reactor.stop()

    reactor.watch(reader.fd, select.EPOLLIN, read)
    reactor.call_later(10.0, reactor.stop)
    reactor.run()
    reactor.forget(reader.fd)
    lines = shown.splitlines()
    lost = sum(int(line.split()[1]) for line in lines if line.endswith(b"the reader is too slow"))
    assert lost > 0
    assert lost + sum(line.startswith(b"kv[1]: x") for line in lines) == count
    output.finish(reactor.now() + 1)


def test_a_reader_that_is_gone_is_no_error(reactor: Reactor) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    output = Output(reactor, write_end)
    output.say("to nobody")
    output.finish(reactor.now() + 1)
    os.close(write_end)
