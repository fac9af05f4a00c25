"""What comes from other nodes: probes over UDP, and the frames of MFS after the hello, as asked and as answered.

Each target has one real endpoint on the loopback, made at its first use and kept for all inputs, in a loop whose time
passes only when the target says so.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from struct import Struct
from typing import Any, Callable, TypeVar

from emulator.fuse import protocol as fuse
from emulator.fuse.protocol import Buffer, Request
from emulator.membership import Membership
from emulator.membership import Path as Way
from emulator.mfs import hello
from emulator.mfs.connect import Asker
from emulator.mfs.faults import Faults
from emulator.mfs.names import ROOT_NUMBER
from emulator.mfs.pace import QUICK
from emulator.mfs.peer import Peer
from emulator.mfs.server import Server
from emulator.mfs.unsynced import Unsynced
from emulator.probe import TRIES, TRY_S, Prober, Report
from emulator.reactor import Reactor
from emulator.table import Record
from tests.fuzz.target import Target

KEY = b"k" * 32
OWN, OTHER, STRANGER = "127.0.0.1", "127.0.0.2", "127.0.0.9"
PIECE = b"|||"
PIECES_MAX = 32
TURNS_MAX = 200
DATAGRAM_MAX = 1400
PACKET = Struct("<IIIHH IHHHH III")
MAGIC, QUESTION, ANSWER = 0x42, 1, 2
REPORT = Report(3, 123, 2, 15000, 100, 8192, 4096, 16384)
SILENT = (*fuse.CLOSES, fuse.FORGET, fuse.BATCH_FORGET, fuse.KEEP)

Found = TypeVar("Found")


class Stage(Reactor):
    """A loop that is turned by hand; what a callback raises breaks the promise that nothing does."""

    time_s = 0.0

    @staticmethod
    def now() -> float:
        return Stage.time_s

    @staticmethod
    def _call(callback: Callable[..., None], *args: Any) -> None:
        callback(*args)

    def turn(self) -> None:
        """All that is ready, once."""
        self.call_later(0, self.stop)
        self.run()

    def turn_until(self, look: Callable[[], Found]) -> Found:
        """What ``look()`` finds as soon as that is something."""
        for _ in range(TURNS_MAX):
            if found := look():
                return found
            self.turn()
        raise AssertionError(f"not in {TURNS_MAX} turns")

    def pass_by(self, seconds: float) -> None:
        Stage.time_s += seconds
        self.turn()


def pieces(data: bytes) -> list[bytes]:
    return [piece for piece in data.split(PIECE) if len(piece) > 2][:PIECES_MAX]


def received(sock: socket.socket) -> Iterator[tuple[bytes, tuple[str, int]]]:
    """The datagrams that are there."""
    while True:
        try:
            yield sock.recvfrom(100)
        except BlockingIOError:
            return


class Probes:
    """Node 1, which asks node 2, and is asked by that and by a stranger."""

    def __init__(self) -> None:
        self.stage, members = Stage(), Membership()
        self.clients = {address: self._client(address) for address in (OTHER, STRANGER)}
        self.place = OWN, self.clients[OTHER].getsockname()[1]
        self.prober = Prober(self.stage, members, lambda: REPORT, self.place[1])
        members.configure(1, [Record(1, OWN, 2)])

    @staticmethod
    def _client(address: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.bind((address, 0))
        return sock


@cache
def probes() -> Probes:
    return Probes()


def check_probes(data: bytes) -> None:
    """A piece's first byte: 1 from a stranger, 2 with the serial that was asked, 4 to where it was asked from."""
    world = probes()
    said: list[Report | None] = []
    world.prober.probe(2, said.append)
    asked, asker = next(received(world.clients[OTHER]))
    serial = PACKET.unpack(asked)[2]
    may_answer, questions = False, 0
    for piece in pieces(data):
        packet = piece[1:][:DATAGRAM_MAX]
        if piece[0] & 2 and len(packet) >= 12:
            packet = MAGIC.to_bytes(4, "little") + packet[4:8] + asked[8:12] + packet[12:]
        is_known = not piece[0] & 1
        world.clients[OTHER if is_known else STRANGER].sendto(packet, asker if piece[0] & 4 else world.place)
        if len(packet) == PACKET.size and is_known:
            magic, kind, number, _, node = PACKET.unpack(packet)[:5]
            may_answer |= bool(piece[0] & 4) and (magic, kind, number) == (MAGIC, ANSWER, serial)
            questions += not piece[0] & 4 and (magic, kind, node) == (MAGIC, QUESTION, 2)
        world.stage.turn()
    answers = [PACKET.unpack(packet) for packet, _ in received(world.clients[OTHER])]
    assert [answer[:2] for answer in answers] == [(MAGIC, ANSWER)] * questions
    assert not list(received(world.clients[STRANGER])), "who is not in the map hears nothing"
    for _ in range(TRIES):
        world.stage.pass_by(TRY_S)
    list(received(world.clients[OTHER]))
    [report] = said
    assert (report is not None) == may_answer
    assert report is None or all(value >= 0 for value in report)


class Files:
    """Node 1, whose files node 2 asks for."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="mosha-fuzz-")
        self.root = Path(self.folder.name, "root")
        self.root.mkdir()
        self.stage, members = Stage(), Membership()
        faults = Faults(self.stage, Unsynced(str(Path(self.folder.name, "unsynced")), "boot"))
        with socket.create_server((OWN, 0)) as free:
            self.place = free.getsockname()
        umask, groups = os.umask(0), os.getgroups()    # a server changes them, and this process goes on
        self.server = Server(self.stage, members, KEY, faults, str(self.root), *self.place)
        os.umask(umask)
        if not os.geteuid():
            os.setgroups(groups)
        members.configure(1, [Record(1, OWN, 2)])
        self.server.listen()
        self.incarnation = 0

    def renew(self) -> None:
        """The files as at first."""
        clear(self.root)
        (self.root / "d").mkdir()
        (self.root / "f").write_bytes(b"content")
        (self.root / "l").symlink_to("f")

    def connect(self) -> Conversation:
        self.incarnation += 1
        return Conversation(self, self.incarnation)


def clear(folder: Path) -> None:
    folder.chmod(0o700)
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            clear(Path(entry.path))
            os.rmdir(entry.path)
        else:
            os.unlink(entry.path)


class Conversation:
    """A connection of node 2, after the hello."""

    def __init__(self, files: Files, incarnation: int) -> None:
        self.stage = files.stage
        self.sock = socket.create_connection(files.place)
        self.sock.setblocking(False)
        self.ended = False
        self.heard = b""
        self.answers: dict[int, tuple[int, bytes]] = {}
        challenged = self.frame()
        asked = hello.ask(KEY, challenged, 2, 1, incarnation)
        self.sock.sendall(asked)
        hello.check_grant(KEY, challenged, asked, self.frame(), 1)

    def frame(self) -> bytes:
        """The next frame that comes."""
        [found] = self.stage.turn_until(lambda: list(self.frames()))
        return found

    def frames(self) -> Iterator[bytes]:
        """The whole frames that are there."""
        try:
            part = self.sock.recv(1 << 16)
            self.ended = self.ended or not part
            self.heard += part
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.ended = True
        while len(self.heard) >= 4 and len(self.heard) >= int.from_bytes(self.heard[:4], "little"):
            length = int.from_bytes(self.heard[:4], "little")
            frame, self.heard = self.heard[:length], self.heard[length:]
            yield frame

    def say(self, message: bytes) -> None:
        try:
            self.sock.sendall(message)
        except OSError:
            self.ended = True

    def ask(self, opcode: int, unique: int, nodeid: int, body: bytes) -> None:
        header = fuse.IN_HEADER.pack(
            fuse.IN_HEADER.size + len(body), opcode, unique, nodeid, os.geteuid(), os.getegid(), 1, 0
        )
        self.say(header + body)

    def listen(self) -> None:
        """Take in what was answered: each request once."""
        for frame in self.frames():
            length, error, unique = fuse.OUT_HEADER.unpack_from(frame)
            assert length <= fuse.MAX_REQUEST
            assert error <= 0
            assert not unique or unique == fuse.OURS or unique not in self.answers, "answered twice"
            self.answers[unique] = error, frame[fuse.OUT_HEADER.size :]

    def answer(self, unique: int) -> tuple[int, bytes]:
        def said() -> bool:
            self.listen()
            return unique in self.answers

        self.stage.turn_until(said)
        return self.answers[unique]


@cache
def files() -> Files:
    return Files()


def check_asked(data: bytes) -> None:
    """Each piece is an opcode, what it is about (3: root, f, d; from 64 on with a handle), and the rest of a request.

    Opcode 255: bytes that are no request. Whatever comes, the next connection is served.
    """
    world = files()
    world.renew()
    client = world.connect()
    places = [ROOT_NUMBER]
    for unique, name in ((2, b"f\0"), (4, b"d\0")):
        client.ask(fuse.LOOKUP, unique, ROOT_NUMBER, name)
        places.append(fuse.ENTRY_OUT.unpack_from(client.answer(unique)[1])[0])
    client.ask(fuse.OPEN, 6, places[1], fuse.OPEN_IN.pack(os.O_RDWR, 0))
    client.ask(fuse.OPENDIR, 8, places[2], fuse.OPEN_IN.pack(0, 0))
    handles = [client.answer(unique)[1][:8] for unique in (6, 8)]
    silent: set[int] = set()
    for number, piece in enumerate(pieces(data)):
        opcode, about, body, unique = piece[0], piece[1], piece[2:], 10 + 2 * number
        if opcode == 255:
            client.say(body)
            continue
        if opcode in SILENT:
            silent.add(unique)
        client.ask(opcode, unique, places[about % 3], handles[about % 2] + body[8:] if about >= 64 else body)
        world.stage.turn()
        client.listen()
    world.stage.turn()
    client.listen()
    assert not silent & client.answers.keys(), "nobody waits for that"
    client.sock.close()
    after = world.connect()
    after.ask(fuse.GETATTR, 2, ROOT_NUMBER, fuse.GETATTR_IN.pack(0, 0, 0))
    assert after.answer(2)[0] == 0
    after.sock.close()


class Kernel:
    """Takes the answers to what it asked."""

    def __init__(self) -> None:
        self.errors: dict[int, int] = {}

    def send(self, request: Request, error: int, buffers: tuple[Buffer, ...]) -> None:
        assert request.unique not in self.errors, "answered twice"
        assert error <= 0
        self.errors[request.unique] = error


class Owner:
    """Node 2 as node 1 asks it; it says whatever it likes."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.sock = socket.create_server((OTHER, 0))
        self.sock.setblocking(False)

    def accept(self) -> socket.socket | None:
        try:
            return self.sock.accept()[0]
        except BlockingIOError:
            return None


@cache
def owner() -> Owner:
    return Owner()


ASKED = {2: (fuse.LOOKUP, b"f\0"), 4: (fuse.OPEN, fuse.OPEN_IN.pack(0, 0)), 6: (fuse.READ, bytes(fuse.READ_IN.size)),
         8: (fuse.CREATE, fuse.CREATE_IN.pack(0, 0, 0, 0) + b"c\0")}  # fmt: skip


def check_answered(data: bytes) -> None:
    """Each piece is the number of a request, an errno, and what is answered; from 128 on bytes that are no answer.

    Each request is answered once, within its bound.
    """
    world = owner()
    peer = Peer(world.stage, 2, Asker(1, 1, KEY), (Way(OWN, OTHER),), world.sock.getsockname()[1], QUICK)
    kernel = Kernel()
    for unique, (opcode, body) in ASKED.items():
        frame = fuse.IN_HEADER.pack(fuse.IN_HEADER.size + len(body), opcode, unique, 2 << 48 | 1, 0, 0, 1, 0) + body
        peer.forward(Request(kernel, memoryview(frame)))
    accepted = world.stage.turn_until(world.accept)
    assert accepted is not None
    with accepted as sock:
        sock.setblocking(False)
        challenged = hello.challenge()
        sock.sendall(challenged)
        asked = world.stage.turn_until(lambda: [packet for packet, _ in received(sock)])
        sock.sendall(hello.grant(KEY, challenged, b"".join(asked), 2, 1))
        world.stage.turn()
        for piece in pieces(data):
            number, error, body = piece[0], piece[1], piece[2:]
            answer = fuse.OUT_HEADER.pack(fuse.OUT_HEADER.size + len(body), -error, number)
            try:
                sock.sendall(piece if number >= 128 else answer + body)
            except OSError:
                break
            world.stage.turn()
        for _ in range(11):
            world.stage.pass_by(QUICK.reply_s / 10)
    assert kernel.errors.keys() == ASKED.keys()
    peer.close(1)
    while (late := world.accept()) is not None:
        late.close()


ASKING = PACKET.pack(MAGIC, QUESTION, 7, 0, 2, *[0] * 8)
ANSWERING = PACKET.pack(MAGIC, ANSWER, 0, 0, 2, 1, 2, 3, 4, 3, 5, 6, 7)

TARGETS = (
    Target(
        "probes",
        check_probes,
        (
            b"\x04" + ASKING + PIECE + b"\x00" + ASKING + PIECE + b"\x01" + ASKING,
            b"\x06" + ANSWERING,
            b"\x07" + ANSWERING,
            b"\x00" + PACKET.pack(MAGIC, QUESTION, 7, 0, 1, *[0] * 8),
        ),
        (PIECE, b"B\0\0\0\1\0\0\0", b"B\0\0\0\2\0\0\0", b"\xff" * 4),
        share=0.1,
    ),
    Target(
        "MFS requests",
        check_asked,
        (
            *(bytes([opcode, 1]) + b"f\0" + bytes(60) for opcode in fuse.OPERATIONS),
            *(bytes([opcode, 64]) + bytes(48) for opcode in fuse.OPERATIONS),
            b"\xff\0" + b"\x11\0\0\0" + bytes(20),
            bytes([fuse.RELEASE, 65]) + bytes(24) + PIECE + bytes([fuse.BATCH_FORGET, 0, 9]) + bytes(30),
        ),
        (PIECE, b"f\0", b"d\0", b"l\0", b"../x\0", b"\xff" * 8),
        share=0.02,
    ),
    Target(
        "MFS answers",
        check_answered,
        (
            b"\x02\0" + bytes(fuse.ENTRY_OUT.size) + PIECE + b"\x04\0" + bytes(fuse.OPEN_OUT.size),
            b"\x02\x02." + PIECE + b"\x04\0short" + PIECE + b"\x06\0data",
            b"\x08\0" + bytes(20) + PIECE + b"\x06\0late",
            b"\x80\0\0\0" + bytes(12) + PIECE + b"\x02\x0d.",
        ),
        (PIECE, b"\x80\0\0\0", b"\x02\0", b"\xff" * 8),
        share=0.02,
    ),
)
