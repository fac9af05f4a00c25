"""What comes over sockets: the control socket of clinit, and the protocols between nodes of the laboratory."""

from __future__ import annotations

import selectors
import socket
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from emulator import inittab, table
from emulator.fuse import protocol as fuse
from emulator.fuse.protocol import Buffer, Request
from emulator.fuse.tree import Context, Directory, File, Reply, TreeFilesystem
from emulator.guests import frames, job
from emulator.mfs import fault, hello
from emulator.powerswitch import protocol as power
from mosha.clinit import protocol
from mosha.clinit.control import Control
from mosha.clinit.protocol import Answer, BadRequest
from tests.fuzz.tables import FILE
from tests.fuzz.target import Target, text_of

MAX_AWAY = 64


def check_request(data: bytes) -> None:
    try:
        request = protocol.request(data)
    except BadRequest as error:
        assert str(error).isprintable()
    else:
        assert protocol.request(protocol.encoded(request)) == request
    try:
        said = protocol.answer(data)
    except BadRequest as error:
        assert str(error)
    else:
        line = protocol.answer_line(said)
        assert len(line) < protocol.ANSWER_BYTES_MAX
        assert protocol.answer(line).ok == said.ok


class Door:
    """A control socket with nobody behind it but what counts requests; made at the first use, kept for all inputs."""

    def __init__(self) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="mosha-fuzz-")
        self.selector = selectors.DefaultSelector()
        self.path = str(Path(self.directory.name, "s"))
        self.obeyed: list[protocol.Request] = []
        self.seconds = count()
        self.control = Control(self.path, self.selector, lambda: float(next(self.seconds)) / 100, self._obey)

    def _obey(self, request: protocol.Request) -> Answer:
        self.obeyed.append(request)
        return Answer(True, "done " * 10)

    def turn(self) -> None:
        for key, mask in self.selector.select(0):
            if key.fileobj in self.selector.get_map():
                key.data(mask)
        self.control.tick()

    def client(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.setblocking(False)
        connection.connect(self.path)
        return connection


_doors: list[Door] = []


def check_control(data: bytes) -> None:
    """Several clients at once: the first byte of a piece says who writes it, or goes. One that is good is served."""
    if not _doors:
        _doors.append(Door())
    door = _doors[0]
    clients: dict[int, socket.socket] = {}
    for piece in data.split(b"|"):
        who = piece[0] & 3 if piece else 0
        try:
            if piece[:1] >= b"\xf0" and who in clients:
                clients.pop(who).close()
            else:
                if who not in clients:
                    clients[who] = door.client()
                clients[who].send(piece[1:])
        except OSError:
            clients.pop(who).close()
        door.turn()
    before = len(door.obeyed)
    good = door.client()
    good.send(b'{"do": "read"}\n')
    said = b""
    for _ in range(MAX_AWAY):
        door.turn()
        try:
            said += good.recv(4096)
        except BlockingIOError:
            continue
        if said.endswith(b"\n"):
            break
    assert protocol.answer(said).ok
    assert len(door.obeyed) > before
    for connection in [good, *clients.values()]:
        connection.close()
    for _ in range(2):
        door.turn()


def check_map(data: bytes) -> None:
    def resolve(host: str) -> str:
        if host.startswith("node"):
            return "10.0.0.1"
        raise OSError("unknown")

    try:
        found = table.parse_map(data.decode("utf-8", "replace"), FILE, resolve)
    except table.TableError as error:
        assert FILE in str(error)
    else:
        assert table.parse_config(table.render_config(found)) == found
        nodes, addresses = table.nodes_of(found), table.addresses_of(found)
        assert set(nodes) == set(addresses.values())
        assert all(addresses[address] == node for node, address in nodes.items())
    try:
        found = table.parse_config(data)
    except table.TableError as error:
        assert str(error)
    else:
        assert table.parse_config(table.render_config(found)) == found


def check_inittab(data: bytes) -> None:
    try:
        found = inittab.parse_inittab(data.decode("utf-8", "replace"), FILE)
    except inittab.InittabError as error:
        assert str(error).startswith(f"{FILE}:")
    else:
        assert all(entry.name or entry.process for entry in inittab.in_runlevel(found, "2"))


class Sink:
    """Takes answers as the kernel would: one for each request."""

    def __init__(self) -> None:
        self.answers: list[int] = []

    def send(self, request: Request, error: int, buffers: tuple[Buffer, ...]) -> None:
        assert error <= 0
        assert sum(map(len, buffers)) <= fuse.MAX_REQUEST
        self.answers.append(request.unique)


class Text(File):
    def read(self, context: Context, reply: Reply) -> None:
        reply(b"text\n")


def _tree() -> TreeFilesystem:
    root = Directory(ino=fuse.ROOT_ID)
    folder = Directory()
    root.add("d", folder)
    folder.add("f", Text(0o666))
    return TreeFilesystem(root)


def check_fuse(data: bytes) -> None:
    """Requests as they come from a kernel, or from another node: each is answered at most once, also a short one."""
    tree, sink = _tree(), Sink()
    for message in data.split(b"|||"):
        if len(message) < 17:
            continue
        opcode, nodeid = message[0], message[1]
        frame = fuse.IN_HEADER.pack(fuse.IN_HEADER.size + len(message) - 2, opcode, 2, nodeid, 0, 0, 1, 0) + message[2:]
        request = Request(sink, memoryview(frame))
        fuse.serve(request, tree.handle)
        if opcode in (fuse.FORGET, fuse.BATCH_FORGET):
            try:
                list(fuse.forgotten(request))
            except OSError:
                pass
    try:
        fuse.kept(Request(sink, memoryview(bytes(fuse.IN_HEADER.size) + data)))
    except OSError:
        pass


def check_hello(data: bytes) -> None:
    key, challenged = b"k" * 32, hello.challenge()
    for ask in (
        lambda: hello.ask(key, data, 1, 2, 3),
        lambda: hello.check_ask(key, challenged, data),
        lambda: hello.check_grant(key, challenged, b"asked", data, 2),
    ):
        try:
            ask()
            assert data[4:8] == hello.FILES.name, "nobody can prove that without the key"
        except hello.Refused:
            pass


def check_frames(data: bytes) -> None:
    for parse in (frames.parse_job, frames.parse_start, frames.parse_resume):
        try:
            parse(data)
        except ValueError:
            pass
    try:
        frames.parse(memoryview(data))
    except ValueError:
        pass


def check_power(data: bytes) -> None:
    """Either side of a conversation with the power switch hears this of somebody without the key."""
    request = power.Request("off", 1)
    sides: list[Callable[[socket.socket, float], object]] = [
        lambda sock, deadline_s: power.Hearing(sock, b"key").request(deadline_s),
        lambda sock, deadline_s: power.converse(sock, b"key", request, deadline_s),
    ]
    for side in sides:
        here, there = socket.socketpair()
        with here, there:
            there.sendall(data[: power.LINE_BYTES_MAX + 1])
            there.shutdown(socket.SHUT_WR)
            try:
                side(here, time.monotonic() + 5.0)
                raise AssertionError("nobody can prove that without the key")
            except (OSError, power.ProtocolError):
                pass


def check_faults(data: bytes) -> None:
    try:
        found = fault.parse(text_of(data))
    except fault.FaultError as error:
        assert str(error)
    else:
        assert len(found) <= fault.FAULTS_MAX


_JOB = job.packed("/bin/x", ["x", "y"], {"A": "b"}, "/", 18, [2])
_CALLER = frames.Caller(1, "n", 2, 2, 2, 0, 0, [0], 0, [(1, -1)], {"lock": 1})
_JSON = (b"[]", b"{}", b"null", b"1e999", b"-1", b"[" * 1500, b'"')

TARGETS = (
    Target(
        "control request",
        check_request,
        (
            b'{"do": "tell", "group": "web", "level": "start"}',
            b'{"do": "read"}',
            b'{"do": "shutdown"}',
            b'{"ok": true, "text": "x"}',
        ),
        (b'"do"', b'"tell"', b'"group"', b'"level"', b"\\ud800", *_JSON),
        share=2,
        bytes_max=2000,
    ),
    Target(
        "control socket",
        check_control,
        (
            b'a{"do": "read"}\n|b{"do": |b"read"}\n|\xf1',
            b'a{"do": "tell", "group": "w", "level": "1"}\n|a|a|\xf0|c' + b"x" * 50,
        ),
        (b"|a", b"|b", b"|\xf1", b"\n"),
        share=0.15,
        bytes_max=6000,
    ),
    Target(
        "openmosix.map",
        check_map,
        (b"1 10.0.0.1 3\n7 node7 1 # x\n1 10.0.1.1 ALIAS\n", table.render_config([table.Record(1, "10.0.0.1", 3)])),
        (b"ALIAS", b"65535", b"255.255.255.255", b"0", b"node9"),
    ),
    Target(
        "inittab",
        check_inittab,
        (b"mh:2345:respawn:mosha\nsi::sysinit:/etc/rc\n", b"a:b\n"),
        (b":respawn:", b"sysinit", b":"),
        share=0.5,
    ),
    Target(
        "FUSE requests",
        check_fuse,
        tuple(bytes([opcode, 1]) + b"d\0" + bytes(46) for opcode in (1, 3, 4, 14, 15, 16, 27, 28, 42)),
        (b"|||", b"d\0", b"f\0", b"\x01\x01d\0"),
        share=0.5,
        bytes_max=1000,
    ),
    Target("MFS hello", check_hello, (hello.challenge(), bytes(80)), (hello.FILES.name,), share=0.3, bytes_max=128),
    Target(
        "guests' frames",
        check_frames,
        (_JOB, frames.pack_start(_CALLER, _JOB), *(b"".join(frames.frame(kind, 1, b"x" * 8)) for kind in frames.Kind)),
        (job.SEPARATOR, b"\0000", *_JSON),
        share=0.5,
        bytes_max=2000,
    ),
    Target(
        "power switch",
        check_power,
        (
            b'{"challenge": "x", "command": "off", "node": 1, "proof": "y"}\n',
            b'{"switch": 1, "challenge": "x"}\n{"ok": true, "text": "off", "proof": "y"}\n',
            b"[" * 4000 + b"\n",
        ),
        (b'"proof"', b'"challenge"', b"\\ud800", b"\n", *_JSON),
        share=0.3,
        bytes_max=5000,
    ),
    Target(
        "list of faults",
        check_faults,
        (
            b'[{"do": "delay", "seconds": 1, "on": ["read"], "path": "/x*", "reader": 2, "chance": 0.5}]',
            b'[{"do": "error", "errno": "EIO"}]',
        ),
        (b'"torn"', b'"hang"', b'"times"', *_JSON),
        share=0.5,
    ),
)
