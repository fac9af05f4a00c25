"""The control socket: nothing that comes through it does more than it may."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mosha.clinit import protocol
from mosha.clinit.client import Client, NotRunning
from mosha.clinit.control import CLIENTS_MAX
from mosha.clinit.protocol import REQUEST_BYTES_MAX, Answer, BadRequest, Request
from tests.unit.clinit.leashed import lives, wait_until
from tests.unit.clinit.standalone import Standalone

WEB = "web:w:start:respawn:sleep 600\n"
GOOD = [
    b'{"do": "tell", "group": "web", "level": "start"}', b'{"do": "read"}', b'{"do": "shutdown"}',
]


def said(line: bytes) -> str:
    with pytest.raises(BadRequest) as caught:
        protocol.request(line)
    return str(caught.value)


def test_requests_are_read_as_they_are_written() -> None:
    for request in (Request("tell", "web", "start"), Request("read"), Request("shutdown")):
        assert protocol.request(protocol.encoded(request)) == request


def test_what_is_no_request_is_said() -> None:
    assert said(b"hello") == "not a line of JSON"
    assert said(b"[" * 4000) == "not a line of JSON"
    assert said(b"\xff\xfe\x00") == "not a line of JSON"
    assert said(b"[1]") == "not an object of JSON"
    assert said(b'{"do": ["tell"]}') == said(b"{}") == "what is to be done must be one of tell, read, shutdown"
    assert said(b'{"do": "tell", "group": "a"}') == "tell has the fields do, group, level"
    assert said(b'{"do": "read", "more": 1}') == "read has the fields do"
    assert said(b'{"do": "tell", "group": "a(", "level": "1"}').startswith("bad group 'a('")
    assert said(b'{"do": "tell", "group": "a", "level": 1}').startswith("bad level '1'")


def mutated(draw: random.Random) -> bytes:
    """Noise, or a good request with some bytes changed, doubled or cut."""
    if draw.random() < 0.2:
        return bytes(draw.randrange(256) for _ in range(draw.randrange(40)))
    data = bytearray(draw.choice(GOOD))
    for _ in range(draw.randrange(1, 5)):
        at = draw.randrange(len(data) + 1)
        kind = draw.randrange(4)
        if kind == 0:
            data[at:at] = bytes([draw.randrange(256)])
        elif kind == 1:
            data[at:] = data[at + draw.randrange(5) :]
        elif kind == 2:
            data[at:at] = data[: draw.randrange(20)]
        elif data:
            data[at % len(data)] = draw.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("seed", range(20))
def test_no_bytes_are_more_than_a_request_or_a_problem(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(2000):
        with contextlib.suppress(BadRequest):
            request = protocol.request(mutated(draw))
            assert protocol.request(protocol.encoded(request)) == request
        with contextlib.suppress(BadRequest):
            protocol.answer(mutated(draw))


def test_an_answer_fits_whatever_it_says() -> None:
    line = protocol.answer_line(Answer(False, "\udcff\u2028" * 50_000))
    assert len(line) < protocol.ANSWER_BYTES_MAX
    assert not protocol.answer(line).ok


def test_garbage_harms_nothing(alone: Standalone) -> None:
    """Each connection is answered or closed, and the group runs on."""
    alone.start(WEB)
    alone.run("web", "start")
    pid = alone.pid("web", "w")
    assert json.loads(alone.speak(b"00000005hello\n")) == {"ok": False, "text": "not a line of JSON"}
    assert json.loads(alone.speak(b"no end"))["text"] == f"no whole line within {REQUEST_BYTES_MAX} bytes"
    assert json.loads(alone.speak(b""))["ok"] is False
    alone.speak(b"x" * 1_000_000)
    draw = random.Random(7)
    for _ in range(300):
        data = mutated(draw)
        if b"shutdown" not in data and b"stop" not in data:
            alone.speak(data + draw.choice((b"", b"\n")))
    assert lives(pid)
    assert alone.tell("web", "start")


@pytest.fixture
def silent(alone: Standalone) -> Iterator[list[socket.socket]]:
    """Clients who connect and say nothing, or half of something."""
    alone.start(WEB + ":::heartbeat_s:0.1\n")
    connections = []
    for number in range(CLIENTS_MAX + 8):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(alone.socket))
        with contextlib.suppress(BrokenPipeError):
            connection.send(b'{"do": "re' * (number % 2))
        connections.append(connection)
    yield connections
    for connection in connections:
        connection.close()


def test_silent_clients_hold_up_nobody(alone: Standalone, silent: list[socket.socket]) -> None:
    alone.run("web", "start")
    before = alone.clstat.stat().st_ino
    wait_until(lambda: alone.clstat.stat().st_ino != before)
    silent[0].settimeout(30)
    assert silent[0].recv(1) == b"", "the one that was there longest had to go"


def test_a_silent_client_has_to_go_after_a_while(alone: Standalone, silent: list[socket.socket]) -> None:
    silent[-2].settimeout(30)
    assert silent[-2].recv(1) == b""


def test_a_client_that_does_not_take_its_answer_harms_nobody(alone: Standalone) -> None:
    alone.start(WEB)
    for _ in range(50):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(alone.socket))
            connection.send(b'{"do": "read"}\n')
    assert alone.client.read().ok


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_somebody_else_is_refused_even_where_the_mode_would_let_them(alone: Standalone) -> None:
    alone.start(WEB)
    os.chmod(alone.socket, 0o666)
    os.chmod(alone.directory, 0o755)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(alone.directory)                # the directories above are root's alone
            os.setuid(65534)
            alone.socket = Path(alone.socket.name)
            os.write(write_end, alone.speak(b'{"do": "shutdown"}\n'))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write_end)
    with open(read_end, "rb") as stream:
        assert json.loads(stream.read()) == {
            "ok": False, "text": "only root and the user of the daemon may ask for that",
        }


def test_a_client_says_that_nobody_answers(tmp_path: Path) -> None:
    client = Client(str(tmp_path / "none"), str(tmp_path / "s"), str(tmp_path / "clstat"))
    assert not client.runs()
    with pytest.raises(NotRunning, match="clinit does not run"):
        client.tell("web", "start")
    with pytest.raises(NotRunning, match="there is no"):
        client.status()
    with pytest.raises(BadRequest):
        client.tell("web)", "start")


def test_a_client_is_not_fooled_by_another_server(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(1)
        pid = os.fork()
        if pid == 0:
            try:
                connection, _ = server.accept()
                connection.recv(100)
                connection.sendall(b"HTTP/1.0 200 OK\n")
            finally:
                os._exit(0)
        with pytest.raises(NotRunning, match="is not clinit"):
            Client(str(tmp_path / "none"), str(tmp_path / "s")).read()
        os.waitpid(pid, 0)


def test_a_socket_that_somebody_removed_is_made_anew_and_nothing_ends(alone: Standalone) -> None:
    alone.start(f":::heartbeat_s:0.1\n{WEB}")
    alone.run("web", "start")
    pid = alone.pid("web", "w")
    alone.socket.unlink()
    wait_until(alone.client.runs)
    alone.socket.unlink()
    alone.socket.mkdir()
    assert alone.logged(f"nobody can ask at {alone.socket}: {alone.socket} is there and is no socket")
    alone.socket.rmdir()
    wait_until(alone.client.runs)
    alone.run("web", "start")
    assert alone.pid("web", "w") == pid
    alone.socket.unlink()
    alone.socket.mkdir()
    assert alone.process is not None
    alone.process.terminate()
    assert alone.wait() == 0, "the end is in order"
    assert alone.socket.is_dir(), "what it did not make it does not remove"
