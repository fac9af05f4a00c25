"""Serves this node's files to the other nodes (TCP).

Rules:

1. Nothing is served to whom has not passed the hello within ``HELLO_S``, is not in the map, or asks for another node
   than this; the connection is then closed without a word. Who asks is known by the hello alone, which the cluster's
   key proves: there may be a proxy on the way, so the address says nothing.
2. An asker keeps its handles and references when its connection is lost; they go when it comes back as another
   incarnation, when the map no longer has it where it was, or when this node stops serving files.
3. ``nomfs`` leaves connections as they are: handles are ESTALE and the rest EINVAL, as in the genuine MFS. New
   connections are refused.
4. While a request waits (for a disk, for an injected fault) the asker hears every ``ALIVE_S`` that this node lives, for
   ``ALIVE_MAX_S`` at most: who is slow is not taken for dead.
5. One connection per asker: a new one, perhaps over another network, replaces the old, of which nothing more is carried
   out. What was asked over the old one and is asked again is carried out once (:mod:`emulator.mfs.client`).
"""

from __future__ import annotations

import errno
import logging
import socket

from emulator.door import Door
from emulator.fuse import protocol as fuse
from emulator.fuse.protocol import Buffer, Request
from emulator.membership import Membership
from emulator.mfs import hello
from emulator.mfs.client import Client
from emulator.mfs.core import Core
from emulator.mfs.counters import Tally
from emulator.mfs.faults import Faults
from emulator.mfs.link import Link, tune
from emulator.reactor import Reactor, Timer
from emulator.settings import MFS_PORT

log = logging.getLogger(__name__)

HELLO_S = 1.0
ALIVE_S = 0.1
ALIVE_MAX_S = 30.0
STRANGERS_MAX = 64


class Server:
    """The server of one node's tree ``root``. OSError from :meth:`listen` if the port is taken."""

    def __init__(
        self,
        reactor: Reactor,
        membership: Membership,
        key: bytes,
        faults: Faults,
        root: str = "/",
        address: str = "",
        port: int = MFS_PORT,
    ) -> None:
        self.reactor = reactor
        self.membership = membership
        self.key = key
        self.core = Core(reactor, membership, root, faults, errno.EINVAL)
        self.strangers: dict[_Connection, None] = {}  # in the order in which they came
        self._place = (address, port)
        self.tallies: dict[int, Tally] = {}  # by asker; who leaves the map and comes back goes on counting
        self._clients: dict[int, tuple[str, Client]] = {}  # with the address that the map gave for it
        self._connections: dict[int, _Connection] = {}
        self._door: Door | None = None
        self._mospe = membership.mospe
        membership.on_change(self._changed)

    def listen(self) -> None:
        """Begin to accept connections."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(self._place)
        self._door = Door(self.reactor, sock, self._comes)

    def close(self) -> None:
        """End all connections and let go of all files."""
        if self._door is not None:
            self._door.close()
            self._door = None
        for stranger in list(self.strangers):
            stranger.close()
        for asker in list(self._clients):
            self._drop(asker)
        self.core.close()

    def admit(self, connection: _Connection, asker: int, owner: int, incarnation: int) -> Client:
        """The client that ``asker`` is; raises Refused if it may not ask this node."""
        members = self.membership
        if owner != members.mospe or not self._serves():
            raise hello.Refused(f"this is not node {owner}")
        place = members.table.get(asker)
        if asker == owner or place is None:
            raise hello.Refused(f"node {asker} may not ask")
        old = self._connections.pop(asker, None)
        if old is not None:
            old.close()
        _, client = self._clients.get(asker, ("", None))
        if client is None or client.incarnation != incarnation:
            self._drop(asker)
            client = Client(self.core.inodes, asker, incarnation)
            self._clients[asker] = (place, client)
        self._connections[asker] = client.connection = connection
        return client

    def gone(self, connection: _Connection) -> None:
        """``connection`` was closed."""
        self.strangers.pop(connection, None)
        if connection.asker is not None and self._connections.get(connection.asker) is connection:
            del self._connections[connection.asker]
            self._clients[connection.asker][1].connection = None

    def _serves(self) -> bool:
        return self.membership.mospe != 0 and self.membership.serves_files

    def _comes(self, sock: socket.socket, place: tuple[str, int]) -> None:
        if not self._serves():
            sock.close()
            return
        if len(self.strangers) >= STRANGERS_MAX:
            next(iter(self.strangers)).close()
        self.strangers[_Connection(self, sock, place[0])] = None

    def _changed(self) -> None:
        members = self.membership
        renamed, self._mospe = members.mospe != self._mospe, members.mospe
        if renamed and self._clients:
            log.warning("WARNING: Due to the openMosix configuration-change, all MFS files and directories"
                        " previously opened on this node will become inaccessible!")
        for asker, (place, client) in list(self._clients.items()):
            if renamed or members.table.get(asker) != place:
                self._drop(asker)
            elif not members.serves_files:
                client.close()

    def _drop(self, asker: int) -> None:
        connection = self._connections.pop(asker, None)
        if connection is not None:
            connection.close()
        _, client = self._clients.pop(asker, ("", None))
        if client is not None:
            client.close()


class _Connection:
    """One connection: the hello, then requests. It is the sink of their answers."""

    def __init__(self, server: Server, sock: socket.socket, address: str) -> None:
        self.address = address
        self.asker: int | None = None
        self._server = server
        self._client: Client | None = None
        self._tally: Tally | None = None
        self._slow: dict[int, float] = {}  # unique of a request that waits -> until when the asker hears of it
        self._alive: Timer | None = None
        self._challenge = hello.challenge()
        tune(sock)
        self._link = Link(server.reactor, sock, self._frame, self._ended, hello.HELLO_MAX, pauses=True)
        self._timer = server.reactor.call_later(HELLO_S, self.close)
        self._link.send([self._challenge])

    def close(self) -> None:
        """End it."""
        self._timer.cancel()
        if self._alive is not None:
            self._alive.cancel()
        self._link.close()
        self._server.gone(self)

    def send(self, request: Request, error: int, buffers: tuple[Buffer, ...]) -> None:
        """Send an answer; if the connection has gone meanwhile, nobody hears it."""
        slow_until_s = self._slow.pop(request.unique, None)
        if self._tally is not None and request.opcode in fuse.OPERATIONS:
            begin_s = self._link.heard_s if slow_until_s is None else slow_until_s - ALIVE_MAX_S
            self._tally.add(request.opcode, error, self._server.reactor.now() - begin_s)
        if not self._link.closed:
            length = 16 + sum(map(len, buffers))
            self._link.send([fuse.OUT_HEADER.pack(length, error, request.unique), *buffers])

    def _wait(self, unique: int) -> None:
        self._slow[unique] = self._server.reactor.now() + ALIVE_MAX_S
        if self._alive is None:
            self._alive = self._server.reactor.call_later(ALIVE_S, self._say_alive)

    def _say_alive(self) -> None:
        self._alive = None
        now_s = self._server.reactor.now()
        self._slow = {unique: until_s for unique, until_s in self._slow.items() if until_s > now_s}
        if self._slow and not self._link.closed:
            self._link.send([fuse.ALIVE])
            self._alive = self._server.reactor.call_later(ALIVE_S, self._say_alive)

    def _ended(self, failure: OSError) -> None:
        if failure.errno == errno.EPROTO:
            log.warning("MFS: connection from %s closed: %s", self.address, failure.strerror)
        self.close()

    def _frame(self, frame: memoryview) -> None:
        client = self._client
        if client is None:
            self._greet(frame)
            return
        if len(frame) < fuse.IN_HEADER.size:
            raise OSError(errno.EPROTO, "a frame without a whole header")
        request = Request(client, frame)
        if request.opcode == fuse.BATCH_FORGET:
            for nodeid, count in fuse.forgotten(request):
                client.forget(nodeid, count)
        elif request.opcode == fuse.KEEP:
            client.keep(*fuse.kept(request))
        elif request.opcode in fuse.CLOSES:
            client.release(fuse.released(request))
            if self._tally is not None:
                self._tally.add(request.opcode, 0, self._server.reactor.now() - self._link.heard_s)
        else:
            if client.begin(request):
                fuse.serve(request, self._server.core.handle, client)
            if not request.answered:
                self._wait(request.unique)

    def _greet(self, frame: memoryview) -> None:
        server = self._server
        try:
            asker, owner, incarnation = hello.check_ask(server.key, self._challenge, frame)
            client = server.admit(self, asker, owner, incarnation)
        except hello.Refused as reason:
            log.warning("Received an unauthorized MFS request from %s", self.address)
            log.warning("MFS: %s: %s", self.address, reason)
            self.close()
            return
        self._timer.cancel()
        server.strangers.pop(self, None)
        self.asker, self._client = asker, client
        self._tally = server.tallies.setdefault(asker, Tally())
        self._link.frame_max = fuse.MAX_REQUEST
        self._link.send([hello.grant(server.key, self._challenge, frame, owner, client.session)])
