from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import APIClient

from moslab.errors import LabError
from moslab.streams import Piece, Streams


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Streams]]:
    engine, ours = socket.socketpair()
    streams = Streams(ours)
    yield engine, streams
    streams.close()
    engine.close()


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(data)) + data


def soon() -> float:
    return time.monotonic() + 5


def test_pieces_come_as_they_were_sent_however_they_are_cut(pair: tuple[socket.socket, Streams]) -> None:
    engine, streams = pair
    sent = frame(1, b"out\n") + frame(2, b"err") + frame(1, b"")
    for at in range(0, len(sent), 3):
        engine.sendall(sent[at:at + 3])
    engine.shutdown(socket.SHUT_WR)
    assert streams.receive(soon()) == Piece(1, b"out\n")
    assert streams.receive(soon()) == Piece(2, b"err")
    assert streams.receive(soon()) == Piece(1, b"")
    assert streams.receive(soon()) is None


def test_silence_ends_at_the_deadline(pair: tuple[socket.socket, Streams]) -> None:
    _engine, streams = pair
    began_s = time.monotonic()
    with pytest.raises(LabError, match="said nothing"):
        streams.receive(began_s + 0.05)
    assert time.monotonic() - began_s < 10


def test_close_is_seen_at_the_other_end_at_once(pair: tuple[socket.socket, Streams]) -> None:
    engine, streams = pair
    streams.close()
    engine.settimeout(5)
    assert engine.recv(1) == b""


def test_output_that_comes_with_the_head_of_the_answer_is_not_lost(tmp_path: Path) -> None:
    path = str(tmp_path / "engine.sock")
    with socket.create_server(path, family=socket.AF_UNIX) as listener:
        listener.settimeout(10)

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
                                   b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n" + frame(1, b"early"))
                connection.recv(1)                           # until it is closed

        engine = threading.Thread(target=answer)
        engine.start()
        client = APIClient(f"unix://{path}", version="1.41", timeout=10)
        streams = Streams(client.exec_start("0", socket=True))
        assert streams.receive(soon()) == Piece(1, b"early")
        streams.close()
        engine.join(10)
        client.close()
