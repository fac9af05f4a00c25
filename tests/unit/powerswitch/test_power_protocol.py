from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable

import pytest

from emulator.powerswitch import protocol
from emulator.powerswitch.protocol import Answer, Hearing, ProtocolError, Request, converse

KEY = b"k" * 32


def soon() -> float:
    return time.monotonic() + 5


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    node, switch = socket.socketpair()
    with node, switch:
        yield node, switch


def beside(work: Callable[[], Any]) -> Callable[[], Any]:
    """Run ``work`` in a thread; the returned function gives its result, or raises what it raised."""
    result: list[Any] = []

    def run() -> None:
        try:
            result.append(work())
        except Exception as error:  # noqa: BLE001 - handed to the test
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def join() -> Any:
        thread.join(10)
        if isinstance(result[0], Exception):
            raise result[0]
        return result[0]

    return join


def test_both_sides_with_the_key_understand_each_other(pair: tuple[socket.socket, socket.socket]) -> None:
    node, switch = pair

    def serve() -> Request:
        hearing = Hearing(switch, KEY)
        request = hearing.request(soon())
        hearing.answer(Answer(True, "off"), soon())
        return request

    served = beside(serve)
    assert converse(node, KEY, Request("off", 3), soon()) == Answer(True, "off")
    assert served() == Request("off", 3)


def test_a_request_with_another_key_is_refused(pair: tuple[socket.socket, socket.socket]) -> None:
    node, switch = pair
    served = beside(lambda: Hearing(switch, KEY).request(soon()))
    with pytest.raises(ProtocolError, match="refused: wrong key"):
        converse(node, b"x" * 32, Request("off", 3), soon())
    with pytest.raises(ProtocolError, match="without proof"):
        served()


def test_a_recorded_request_is_refused_when_it_is_replayed() -> None:
    def talk(line: bytes) -> tuple[dict[str, Any], Any]:
        """What a switch says to a line, and what it made of it."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            served = beside(lambda: Hearing(theirs, KEY).request(soon()))
            hello = protocol.receive(ours, soon())
            said = (hello["challenge"], "c", "off", 3)
            ours.sendall(line or json.dumps({
                "command": "off", "node": 3, "challenge": "c", "proof": protocol.prove(KEY, "node", *said)
            }).encode() + b"\n")
            try:
                return hello, served()
            except ProtocolError as error:
                return hello, error

    hello, request = talk(b"")
    assert request == Request("off", 3)
    recorded = {"command": "off", "node": 3, "challenge": "c",
                "proof": protocol.prove(KEY, "node", hello["challenge"], "c", "off", 3)}
    hello_again, answer = talk(json.dumps(recorded).encode() + b"\n")
    assert hello_again["challenge"] != hello["challenge"]
    assert isinstance(answer, ProtocolError)


@pytest.mark.parametrize("forge", [
    lambda said, challenge: {"ok": True, "text": "off"},
    lambda said, challenge: {"ok": True, "text": "off", "proof": "00" * 32},
    lambda said, challenge: {"ok": True, "text": "off", "proof": "\ud800"},          # found by `make fuzz`
    # an honest "status on" that is changed to "off" on the way
    lambda said, challenge: {"ok": True, "text": "off",
                             "proof": protocol.prove(KEY, "switch", *said, True, "on")},
    # the node's own proof sent back to it
    lambda said, challenge: {"ok": True, "text": "off", "proof": protocol.prove(KEY, "node", *said)},
    # an answer made for another node
    lambda said, challenge: {"ok": True, "text": "off",
                             "proof": protocol.prove(KEY, "switch", *said[:3], 4, True, "off")},
])
def test_an_answer_without_proof_is_not_believed(
    pair: tuple[socket.socket, socket.socket], forge: Callable[[tuple[Any, ...], str], dict[str, Any]]
) -> None:
    node, switch = pair

    def serve() -> None:
        protocol.send(switch, soon(), switch=1, challenge="s")
        message = protocol.receive(switch, soon())
        said = ("s", message["challenge"], message["command"], message["node"])
        protocol.send(switch, soon(), **forge(said, message["challenge"]))

    served = beside(serve)
    with pytest.raises(ProtocolError, match="without proof"):
        converse(node, KEY, Request("off", 3), soon())
    served()


def test_a_request_with_a_proof_that_is_no_text_is_refused(pair: tuple[socket.socket, socket.socket]) -> None:
    node, switch = pair
    protocol.send(node, soon(), challenge="x", command="off", node=1, proof="\ud800")
    with pytest.raises(ProtocolError, match="without proof"):
        protocol.Hearing(switch, KEY).request(soon())


@pytest.mark.parametrize(("line", "reason"), [
    (b"x" * 5000 + b"\n", "more than 4096 bytes"),
    (b"not json\n", "not JSON"),
    (b"[1]\n", "not a JSON object"),
    (b"\xff\xfe\n", "not JSON"),
])
def test_a_malformed_line_is_refused(pair: tuple[socket.socket, socket.socket], line: bytes, reason: str) -> None:
    node, switch = pair
    node.sendall(line)
    with pytest.raises(ProtocolError, match=reason):
        protocol.receive(switch, soon())


def test_a_line_that_is_cut_off_is_refused(pair: tuple[socket.socket, socket.socket]) -> None:
    node, switch = pair
    node.sendall(b'{"command"')
    node.close()
    with pytest.raises(ProtocolError, match="ended after 10 bytes"):
        protocol.receive(switch, soon())


def test_a_silent_side_costs_no_more_than_the_deadline(pair: tuple[socket.socket, socket.socket]) -> None:
    _node, switch = pair
    began_s = time.monotonic()
    with pytest.raises(TimeoutError):
        protocol.receive(switch, began_s + 0.1)
    assert time.monotonic() - began_s < 10


def test_a_side_that_trickles_bytes_costs_no_more_than_the_deadline(
    pair: tuple[socket.socket, socket.socket]
) -> None:
    node, switch = pair
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.02):
            node.send(b"x")

    trickling = beside(trickle)
    try:
        began_s = time.monotonic()
        with pytest.raises(TimeoutError):
            protocol.receive(switch, began_s + 0.2)
        assert time.monotonic() - began_s < 10
    finally:
        stop.set()
        trickling()


@pytest.mark.parametrize("request_", [
    Request("explode", 1), Request("off", None), Request("test", 3), Request("off", 0), Request("off", 70000),
    Request("off", True), Request("off", "3"),  # type: ignore[arg-type]
])
def test_a_request_that_makes_no_sense_is_refused(request_: Request) -> None:
    with pytest.raises(ProtocolError):
        request_.check()
