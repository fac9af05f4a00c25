"""Who may come in at the port for guests, and who may ask at the socket for deputies."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from emulator.guests import frames, job
from emulator.guests.frames import Caller, Kind
from emulator.mfs import hello
from emulator.settings import GUEST_PORT
from tests.unit.guests.pair import Pair

KEY = b"a key"
JOB = job.packed("true", ["true"], {}, "/", 0, [])


@contextmanager
def door(pair: Pair, own: str) -> Iterator[tuple[socket.socket, bytes]]:
    """A connection from the address ``own``, and the challenge that came."""
    with socket.socket() as sock:
        sock.settimeout(10)
        sock.bind((own, 0))
        sock.connect((pair.host.address, GUEST_PORT))
        yield sock, sock.recv(1000)


def ask(challenged: bytes, key: bytes = KEY, asker: int = 1, owner: int = 2) -> bytes:
    return hello.ask(key, challenged, asker, owner, 0, hello.GUESTS)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"key": b"another"}, "wrong key"), ({"asker": 3}, "node 3 is not at"), ({"owner": 1}, "this is not node 1"),
     ({"asker": 2}, "node 2 is not at")],
)  # fmt: skip
def test_a_stranger_gets_nothing_but_the_challenge(shared: Pair, options: dict[str, int | bytes], said: str) -> None:
    with door(shared, shared.home.address) as (sock, challenged):
        sock.sendall(ask(challenged, **options))  # type: ignore[arg-type]
        assert sock.recv(1000) == b""
    assert f"unauthorized migration request from {shared.home.address} ({said}" in shared.host.log.read_text()


def test_a_node_at_another_address_is_a_stranger(shared: Pair) -> None:
    with door(shared, shared.host.address) as (sock, challenged):
        sock.sendall(ask(challenged))
        assert sock.recv(1000) == b""


def test_who_says_nothing_is_shown_out(shared: Pair) -> None:
    with door(shared, shared.home.address) as (sock, _challenged):
        assert sock.recv(1000) == b""


def test_a_proof_for_the_files_is_none_for_guests(shared: Pair) -> None:
    with door(shared, shared.home.address) as (_sock, challenged), pytest.raises(hello.Refused):
        hello.ask(KEY, challenged, 1, 2, 0)
    with pytest.raises(hello.Refused):
        ask(hello.challenge())


@pytest.mark.parametrize(
    "start",
    [
        frames.frame(Kind.SIGNAL, 9), frames.frame(Kind.START, 0, b"[]"), frames.frame(Kind.START, 0, b"\xff"),
        frames.frame(Kind.START, 0, frames.pack_start(Caller(3, "h", 9, 9, 9, 0, 0, [], 0, [], {}), JOB)),
    ],
)  # fmt: skip
def test_a_node_that_breaks_the_rules(shared: Pair, start: list[bytes]) -> None:
    with door(shared, shared.home.address) as (sock, challenged):
        sock.sendall(ask(challenged))
        assert len(sock.recv(1000)) > 40, "granted"
        sock.sendall(b"".join(start))
        assert sock.recv(1000) == b""
    assert "openMosix: node 1: " in shared.host.log.read_text()
    assert shared.guests() == []


@pytest.mark.parametrize(
    "said", [frames.frame(Kind.EXIT), frames.frame(Kind.START, 2, b"{"), [b"\x10\0\0\0" + b"\xff" * 12]]
)
def test_a_deputy_that_breaks_the_rules_is_killed(shared: Pair, said: list[bytes]) -> None:
    code = (
        "import socket, sys\n"
        "sock = socket.socket(socket.AF_UNIX); sock.connect(sys.argv[1])\n"
        "sock.sendall(bytes.fromhex(sys.argv[2])); sock.recv(10)"
    )
    path = shared.home.environment["OPENMOSIX_DEPUTIES"]
    done = subprocess.run([sys.executable, "-c", code, path, b"".join(said).hex()], timeout=30, check=False)
    assert done.returncode == -9
    assert shared.mosrun("-2", "echo", "others are served") == (0, "others are served\n", "")
