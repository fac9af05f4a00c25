"""A migrated process of nodes with two networks: it goes on over the other one, and nothing that was said is lost."""

from __future__ import annotations

import hashlib
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from emulator.guests import frames
from emulator.guests.frames import Frame, Kind
from emulator.guests.line import BEAT_FRAMES, Line
from emulator.mfs.link import Link
from emulator.reactor import Reactor
from emulator.settings import GUEST_PORT
from tests.unit.guests.pair import Pair, is_there, wait_until
from tests.unit.hpc.loopback import NETWORK
from tests.unit.mfs.relay import Relay

PIPE = subprocess.PIPE


@pytest.fixture
def network(patient: Pair) -> Iterator[Relay]:
    """The first network between home and host; the second one is the host's own address."""
    host = patient.host.address
    relay = Relay((f"{NETWORK}.12", GUEST_PORT), (host, GUEST_PORT), patient.home.address)
    patient.home.configure(f"1 {NETWORK}.1 1\n2 {NETWORK}.12 1\n2 {host} ALIAS\n")
    try:
        assert patient.home.comes_to_read("nodes/2/status", "3\n")
        yield relay
    finally:
        relay.close()


@pytest.mark.parametrize("ways", [{}, {"there": False}, {"back": False}])
def test_it_goes_on_over_the_other_network(patient: Pair, network: Relay, ways: dict[str, bool]) -> None:
    with patient.away("cat", stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        body = patient.body_of(process)
        process.stdin.write(b"before\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"before\n"
        network.cut(**ways)
        process.stdin.write(b"after\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"after\n"
        assert (patient.where(process), patient.guests()) == (2, [body])
        process.stdin.close()
        assert process.wait(30) == 0


def test_nothing_is_lost_of_what_was_under_way(patient: Pair, network: Relay) -> None:
    data = b"".join(number.to_bytes(4, "big") for number in range(1 << 20))
    with patient.away("cat", stdin=PIPE, stdout=PIPE) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def give() -> None:
            stdin.write(data)
            stdin.close()

        gives = threading.Thread(target=give)
        gives.start()
        came = hashlib.sha256(first := stdout.read(1 << 18))
        network.cut()
        came.update(stdout.read())
        gives.join()
        assert len(first) == 1 << 18
        assert came.digest() == hashlib.sha256(data).digest()
        assert process.wait(30) == 0


def test_signals_and_the_end_come_over_the_other_network(patient: Pair, network: Relay) -> None:
    with patient.away("sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done") as process:
        network.cut()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 7


def test_an_end_that_was_said_into_the_cut_is_said_again(patient: Pair, network: Relay) -> None:
    with patient.away("sh", "-c", "until read line; do :; done; exit 7", stdin=PIPE) as process:
        assert process.stdin is not None
        network.cut(there=False)
        process.stdin.write(b"end\n")
        process.stdin.close()
        patient.no_guests()
        assert process.wait(30) == 7


def test_a_guest_that_ended_meanwhile_is_known_to_have(patient: Pair, network: Relay) -> None:
    """As far as anybody can know it: the host has begun anew, and answers over the other network."""
    with patient.away("sleep", "60") as process:
        body = patient.body_of(process)
        network.cut()
        patient.host.stop()
        wait_until(lambda: not is_there(body))
        patient.host.start()
        patient.host.configure(f"1 {NETWORK}.1 3\n")
        assert process.wait(10) == -signal.SIGKILL


class Ends:
    """Both ends of a connection, and a reactor that carries it."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self._all: list[Link] = []

    def connection(self) -> tuple[Link, Link]:
        def ignore(_: object) -> None:
            pass

        one, two = socket.socketpair()
        one.setblocking(False)
        two.setblocking(False)
        first, second = (Link(self.reactor, end, ignore, ignore, frames.FRAME_MAX) for end in (one, two))
        self._all += [first, second]
        return first, second

    def run(self) -> None:
        self.reactor.call_later(0.05, self.reactor.stop)
        self.reactor.run()

    def close(self) -> None:
        for link in self._all:
            link.close()
        self.reactor.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    both = Ends()
    yield both
    both.close()


@pytest.mark.parametrize("cut_at", range(6))
def test_a_line_says_each_frame_once_whatever_came_before_the_cut(ends: Ends, cut_at: int) -> None:
    first, second = ends.connection()
    heard: list[int] = []

    def hear(said: Frame, _data: memoryview) -> None:
        heard.append(said.number)

    sender = Line(first, lambda _said, _data: None, lambda _failure: None)
    taker = Line(second, hear, lambda _failure: None)
    for number in range(6):
        if number == cut_at:
            ends.run()
            taker.close()                                    # what comes now is lost, and confirmed by nobody
        sender.send(frames.frame(Kind.SIGNAL, number))
    ends.run()
    third, fourth = ends.connection()
    taker.go_on(fourth, 0)
    sender.go_on(third, taker.taken)
    sender.send(frames.frame(Kind.SIGNAL, 6))
    ends.run()
    assert heard == [*range(7)]


def test_a_line_keeps_what_is_not_confirmed_and_no_more(ends: Ends) -> None:
    first, second = ends.connection()
    sender = Line(first, lambda _said, _data: None, lambda _failure: None)
    Line(second, lambda _said, _data: None, lambda _failure: None)
    for _ in range(BEAT_FRAMES + 1):
        sender.send(frames.frame(Kind.DATA, 0, b"x" * 100))
    assert len(sender.unconfirmed) == BEAT_FRAMES + 1
    ends.run()
    assert len(sender.unconfirmed) == 1, "it was confirmed without a wait for the next beat"


def test_a_line_refuses_a_confirmation_of_what_was_not_said(ends: Ends) -> None:
    first, second = ends.connection()
    ended: list[OSError] = []
    Line(first, lambda _said, _data: None, ended.append)
    second.send(frames.frame(Kind.BEAT, 1))
    ends.run()
    assert "1 frames came of 0" in str(ended)
