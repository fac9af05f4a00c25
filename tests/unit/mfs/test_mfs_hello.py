"""The hello between two nodes."""

from __future__ import annotations

import errno
import socket
from threading import Thread

import pytest

from emulator.membership import Path
from emulator.mfs import hello
from emulator.mfs.connect import Asker, Attempt
from emulator.mfs.hello import Refused
from emulator.reactor import Reactor

KEY = b"the cluster's key"


def test_both_sides_prove_the_key_and_learn_who_the_other_is() -> None:
    challenged = hello.challenge()
    asked = hello.ask(KEY, challenged, 3, 7, 0xABCDEF)
    assert hello.check_ask(KEY, challenged, asked) == (3, 7, 0xABCDEF)
    granted = hello.grant(KEY, challenged, asked, 7, 0x123456)
    assert hello.check_grant(KEY, challenged, asked, granted, 7) == 0x123456
    assert max(map(len, (challenged, asked, granted))) <= hello.HELLO_MAX


def test_each_message_begins_with_its_length() -> None:
    challenged = hello.challenge()
    asked = hello.ask(KEY, challenged, 1, 2, 3)
    for message in (challenged, asked, hello.grant(KEY, challenged, asked, 2, 4)):
        assert int.from_bytes(message[:4], "little") == len(message)


def test_another_key_is_refused_on_both_sides() -> None:
    challenged = hello.challenge()
    asked = hello.ask(b"another", challenged, 1, 2, 3)
    with pytest.raises(Refused, match="wrong key"):
        hello.check_ask(KEY, challenged, asked)
    granted = hello.grant(b"another", challenged, asked, 2, 3)
    with pytest.raises(Refused, match="wrong key"):
        hello.check_grant(KEY, challenged, asked, granted, 2)


def test_an_old_answer_does_not_fit_a_new_challenge() -> None:
    asked = hello.ask(KEY, hello.challenge(), 1, 2, 3)
    with pytest.raises(Refused, match="wrong key"):
        hello.check_ask(KEY, hello.challenge(), asked)


def test_an_old_grant_does_not_fit_a_new_ask() -> None:
    challenged = hello.challenge()
    old = hello.ask(KEY, challenged, 1, 2, 3)
    granted = hello.grant(KEY, challenged, old, 2, 4)
    with pytest.raises(Refused, match="wrong key"):
        hello.check_grant(KEY, challenged, hello.ask(KEY, challenged, 1, 2, 3), granted, 2)


@pytest.mark.parametrize("at", [4, 6, 8, 20, 60])
def test_nothing_can_be_changed_on_the_way(at: int) -> None:
    challenged = hello.challenge()
    asked = bytearray(hello.ask(KEY, challenged, 1, 2, 3))
    asked[at] ^= 1
    with pytest.raises(Refused):
        hello.check_ask(KEY, challenged, asked)


def test_another_node_may_not_answer() -> None:
    challenged = hello.challenge()
    asked = hello.ask(KEY, challenged, 1, 2, 3)
    with pytest.raises(Refused, match="node 5 answers for node 2"):
        hello.check_grant(KEY, challenged, asked, hello.grant(KEY, challenged, asked, 5, 4), 2)


@pytest.mark.parametrize("garbage", [b"", b"\0" * 44, b"x" * 128])
def test_garbage_is_refused(garbage: bytes) -> None:
    challenged = hello.challenge()
    asked = hello.ask(KEY, challenged, 1, 2, 3)
    with pytest.raises(Refused):
        hello.ask(KEY, garbage, 1, 2, 3)
    with pytest.raises(Refused):
        hello.check_ask(KEY, challenged, garbage)
    with pytest.raises(Refused):
        hello.check_grant(KEY, challenged, asked, garbage, 2)


@pytest.mark.parametrize("service", [hello.FILES, hello.GUESTS])
def test_another_version_is_refused_and_named(service: hello.Service) -> None:
    other = service._replace(version=service.version + 1)
    with pytest.raises(Refused) as refused:
        hello.ask(KEY, hello.challenge(other), 1, 2, 3, service)
    assert str(refused.value) == f"it speaks version {other.version} of {service.name!r}, not {service.version}"


def test_a_node_of_another_version_is_told_nothing_and_the_log_names_it(caplog: pytest.LogCaptureFixture) -> None:
    other = hello.GUESTS._replace(version=hello.GUESTS.version - 1)
    heard: list[bytes] = []
    refused: list[int] = []

    def be_of_that_version(listening: socket.socket) -> None:
        with listening.accept()[0] as sock:
            sock.sendall(hello.challenge(other))
            try:
                heard.append(sock.recv(1000))
            except ConnectionResetError:
                heard.append(b"")

    def end(code: int) -> None:
        refused.append(code)
        reactor.stop()

    reactor = Reactor()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        there = Thread(target=be_of_that_version, args=(listening,))
        there.start()
        Attempt(
            reactor, Asker(1, 0, KEY), 2, [Path("127.0.0.1", "127.0.0.1")], listening.getsockname()[1], None,
            lambda _link, _incarnation, _path: reactor.stop(), end, hello.GUESTS,
        )  # fmt: skip
        reactor.call_later(10, reactor.stop)
        reactor.run()
        there.join()
    reactor.close()
    assert (refused, heard) == ([errno.EREMOTE], [b""])
    assert f"node 2 at 127.0.0.1: it speaks version {other.version} of {other.name!r}, not" in caplog.text
