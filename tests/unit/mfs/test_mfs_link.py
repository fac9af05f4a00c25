"""Frames over a socket."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from struct import pack

import pytest

from emulator.mfs.link import Link
from emulator.reactor import Reactor

LIMIT_S = 5.0


class End:
    """One end of a link, and what it received."""

    def __init__(self, reactor: Reactor, sock: socket.socket, pauses: bool = False) -> None:
        sock.setblocking(False)
        self.frames: list[bytes] = []
        self.failures: list[int | None] = []
        self.link = Link(reactor, sock, self._frame, self._ended, 1 << 20, pauses)

    def _frame(self, frame: memoryview) -> None:
        self.frames.append(bytes(frame))

    def _ended(self, failure: OSError) -> None:
        self.failures.append(failure.errno)


class Loop:
    """A reactor that runs until something is so."""

    def __init__(self) -> None:
        self.reactor = Reactor()

    def until(self, done: object) -> None:
        assert callable(done)
        limit = self.reactor.call_later(LIMIT_S, self.reactor.stop)

        def look() -> None:
            if done():
                self.reactor.stop()
            else:
                self.reactor.call_later(0, look)

        look()
        self.reactor.call_later(0, look)
        self.reactor.run()
        limit.cancel()
        assert done(), f"not within {LIMIT_S} s"


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.reactor.close()


def frame(content: bytes) -> bytes:
    content = content.ljust(12, b".")
    return pack("=I", 4 + len(content)) + content


def test_frames_arrive_whole_in_order_and_both_ways(loop: Loop) -> None:
    left, right = (End(loop.reactor, sock) for sock in socket.socketpair())
    sent = [frame(os.urandom(size)) for size in (12, 100, 70_000, 13, 900_000, 1 << 19, 12)]
    for message in sent:
        left.link.send([message[:5], message[5:]])
        right.link.send([message])
    loop.until(lambda: len(left.frames) == len(right.frames) == len(sent))
    assert left.frames == right.frames == sent
    left.link.close()
    right.link.close()


def test_a_byte_at_a_time(loop: Loop) -> None:
    sock, other = socket.socketpair()
    end = End(loop.reactor, other)
    for byte in frame(b"slow but whole") + frame(b"again"):
        sock.send(bytes([byte]))
        loop.until(lambda: True)
    loop.until(lambda: len(end.frames) == 2)
    assert end.frames == [frame(b"slow but whole"), frame(b"again")]
    sock.close()
    end.link.close()


@pytest.mark.parametrize("length", [0, 15, (1 << 20) + 1, 0xFFFFFFFF])
def test_a_frame_of_wrong_length_ends_the_link(loop: Loop, length: int) -> None:
    sock, other = socket.socketpair()
    end = End(loop.reactor, other)
    sock.sendall(frame(b"good") + pack("=I", length) + b"x" * 64)
    loop.until(lambda: end.failures)
    assert (end.frames, end.failures, end.link.closed) == ([frame(b"good")], [errno.EPROTO], True)
    sock.close()


def test_the_end_of_the_other_side_is_told_once(loop: Loop) -> None:
    sock, other = socket.socketpair()
    end = End(loop.reactor, other)
    sock.close()
    loop.until(lambda: end.failures)
    assert end.failures == [errno.ECONNRESET]


def test_the_queue_is_bounded(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.mfs.link.QUEUE_MAX", 4 << 20)
    sock, other = socket.socketpair()
    end = End(loop.reactor, other)
    piece = b"x" * (1 << 20)

    def flood() -> None:
        for _ in range(100):
            end.link.send([piece])

    with pytest.raises(BlockingIOError, match="4194304 bytes wait"):
        flood()
    sock.close()
    end.link.close()


def test_who_pauses_takes_no_frames_while_answers_wait(loop: Loop) -> None:
    """A peer that asks and does not read holds back its own questions, not this node's memory."""
    sock, other = socket.socketpair()
    sock.setblocking(False)
    end = End(loop.reactor, other, pauses=True)
    answer = b"y" * (1 << 20)

    def respond(frame: memoryview) -> None:
        end.frames.append(bytes(frame))
        end.link.send([answer])

    end.link.on_frame = respond
    sock.send(frame(b"question") * 50)
    loop.until(lambda: end.frames)
    assert len(end.frames) < 5
    received = 0

    def drained() -> bool:
        nonlocal received
        try:
            received += len(sock.recv(1 << 20))
        except BlockingIOError:
            pass
        return received == 50 << 20

    loop.until(drained)
    assert len(end.frames) == 50
    sock.close()
    end.link.close()
