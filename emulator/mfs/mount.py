"""The file system on ``/mfs``: sends each request to the node that owns the file.

Rules:

1. A node id's top 16 bits are its owner; 0 is ``/mfs`` itself, which is answered here, and so are the attributes
   of ``/mfs/<node>``: looking at ``/mfs`` asks nobody.
2. This node's own files are served in the process; all others' over TCP. No operation waits for ever: EAGAIN.
3. While this node is off or serves no files to itself, and for a node that left the map: EREMOTE.
4. Between nodes nothing can be renamed or linked: EXDEV. statfs is ENOSYS, as in the genuine MFS; extended
   attributes, ioctl, fallocate and their like do not exist; locks stay in this node's kernel.
5. An absolute symbolic link leads to a path of the node that holds it: its target reads as ``/mfs/<node>/...``.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Mapping
from typing import Callable

from emulator import settings
from emulator.fuse import protocol as fuse
from emulator.fuse.protocol import Buffer, Request, Sink
from emulator.fuse.tree import Context, Directory, Node, Symlink, TreeFilesystem
from emulator.membership import Membership, Path
from emulator.mfs.connect import Asker
from emulator.mfs.counters import LinkTally, Tally
from emulator.mfs.faults import Faults
from emulator.mfs.names import (
    NUMBER_MASK,
    OWNER_SHIFT,
    ROOT_INO,
    ROOT_MODE,
    ROOT_NUMBER,
    SPECIAL_BITS,
    SPECIALS,
    listing,
)
from emulator.mfs.own import Own
from emulator.mfs.pace import QUICK, Pace
from emulator.mfs.peer import Peer
from emulator.reactor import Reactor

TARGET_MAX = 4095
"""How long a link's target may be: the kernel takes less than a page."""

_LOCAL = (fuse.GETATTR, fuse.ACCESS)
_TWO_NODES = (fuse.RENAME, fuse.RENAME2, fuse.LINK)


class MfsFilesystem:
    """What a session serves on ``mountpoint``; ``root`` is this node's own tree."""

    def __init__(
        self,
        reactor: Reactor,
        membership: Membership,
        key: bytes,
        faults: Faults,
        root: str = "/",
        mountpoint: str | None = None,
        port: int = settings.MFS_PORT,
        selected: Callable[[int], int] = lambda _pid: 0,
        home: Callable[[int], int] = lambda _pid: 0,
    ) -> None:
        self._reactor = reactor
        self._membership = membership
        self._key = key
        self._port = port
        self._mountpoint = mountpoint or settings.mfs_root()
        self._incarnation = secrets.randbits(64)
        own = {"selected": lambda pid: selected(pid) or home(pid), "home": home}
        self._tree = TreeFilesystem(_Root(membership, own))
        self._own = Own(reactor, membership, root, faults, self._incarnation, QUICK)
        self._me = (membership.mospe, membership.serves_files)
        self._peers: dict[int, Peer] = {}
        self._left: dict[int, Peer] = {}  # not asked since this node, the map or the mount changed; they may be again
        membership.on_change(self._changed)

    def handle(self, request: Request) -> None:
        """Answer ``request``, now or later; raises OSError in place of an answer."""
        owner = request.nodeid >> OWNER_SHIFT
        opcode = request.opcode
        if not owner or (opcode in _LOCAL and request.nodeid & NUMBER_MASK == ROOT_NUMBER):
            self._tree.handle(request)
            return
        if opcode not in fuse.OPERATIONS:
            raise OSError(errno.ENOSYS, "MFS has no such operation")
        if opcode in _TWO_NODES:
            (other,) = fuse.RENAME_IN.unpack_from(request.frame, fuse.IN_HEADER.size)
            if other >> OWNER_SHIFT != owner:
                raise OSError(errno.EXDEV, "another node's")
        elif opcode == fuse.READLINK:
            request.sink = _LinkSink(request.sink, f"{self._mountpoint}/{owner}".encode())
        if owner != self._me[0]:
            self._peer(owner).forward(request)
        else:
            self._own.forward(request)

    def forget(self, nodeid: int, count: int) -> None:
        """The kernel drops ``count`` references to ``nodeid``."""
        owner = nodeid >> OWNER_SHIFT
        if not owner or nodeid & NUMBER_MASK == ROOT_NUMBER:
            self._tree.forget(nodeid, count)
        elif owner == self._me[0]:
            self._own.forget(nodeid, count)
        else:
            peer = self._peers.get(owner) or self._left.get(owner)
            if peer is not None:
                peer.forget(nodeid, count)

    def begin_anew(self) -> None:
        """Be mounted again: the kernel has let go of everything, and numbers its requests from the start again.

        To the others this is another asker, as they know what was asked before by those numbers.
        """
        self._incarnation = secrets.randbits(64)
        self._own.let_go(self._membership.mospe)
        for node in list(self._peers):
            self._leave(node)

    def close(self) -> None:
        """End all connections and let go of all files."""
        for node in list(self._peers):
            self._peers.pop(node).close(errno.EREMOTE)
        self._own.close()

    @property
    def tallies(self) -> dict[int, Tally]:
        """What was asked of the others, by node."""
        return {node: peer.tally for node, peer in [*self._left.items(), *self._peers.items()]}

    @property
    def links(self) -> list[tuple[int, Path, bool, LinkTally]]:
        """Each path to each node of the map: whether it is in use, and what went over it."""
        members, found = self._membership, []
        for node in members.table:
            peer = self._peers.get(node)
            for path in members.paths(node) if node != members.mospe else ():
                tally = peer.links.get(path) if peer is not None else None
                found.append((node, path, peer is not None and peer.path == path, tally or LinkTally()))
        return found

    @property
    def pace(self) -> Pace:
        """How long operations may take."""
        return self._own.pace

    @pace.setter
    def pace(self, pace: Pace) -> None:
        self._own.pace = pace
        for peer in self._peers.values():
            peer.pace = pace

    def _peer(self, node: int) -> Peer:
        peer = self._peers.get(node)
        return peer if peer is not None else self._add_peer(node)

    def _add_peer(self, node: int) -> Peer:
        members = self._membership
        if not members.mospe or node not in members.table:
            raise OSError(errno.EREMOTE, f"node {node} is not configured")
        asker, paths = Asker(members.mospe, self._incarnation, self._key), members.paths(node)
        peer = self._left.pop(node, None)
        if peer is None:
            peer = Peer(self._reactor, node, asker, paths, self._port, self.pace)
        peer.asker, peer.paths, peer.pace = asker, paths, self.pace
        self._peers[node] = peer
        return peer

    def _changed(self) -> None:
        members = self._membership
        me, self._me = self._me, (members.mospe, members.serves_files)
        if me != self._me:
            self._own.let_go(members.mospe)
        for node, peer in list(self._peers.items()):
            if members.paths(node) != peer.paths or members.mospe != peer.asker.node:
                self._leave(node)

    def _leave(self, node: int) -> None:
        self._left[node] = self._peers.pop(node)
        self._left[node].close(errno.EREMOTE)


class _Root(Directory):
    """``/mfs``. ``own`` are the links that depend on the process, and to which node they lead it, or 0."""

    nlink = 1

    def __init__(self, membership: Membership, own: Mapping[str, Callable[[int], int]]) -> None:
        super().__init__(ROOT_MODE, ino=ROOT_INO)
        self._membership = membership
        self._own = own
        self._named: dict[str, Node] = {}
        membership.on_change(self._changed)
        self._changed()

    def lookup(self, name: str, context: Context) -> Node | None:
        if name in self._own:
            node = self._own[name](context.pid)
            if node:
                return _special(name, node)
        return self._named.get(name)

    def entries(self) -> list[tuple[str, Node]]:
        return list(self._named.items())

    def _changed(self) -> None:
        here = self._membership.mospe
        names = listing(self._membership)
        self._named = {name: _special(name, here) if name in SPECIALS else _top(name) for name in names}


def _special(name: str, target: int) -> Node:
    """A magic link. All that ask are on this node, so ``here`` leads to it; so do those that depend on nothing else."""
    node = Symlink(str(target), ROOT_MODE, ino=target or ROOT_INO)  # readdir(3) hides names without an inode number
    node.nodeid = target << SPECIAL_BITS | fuse.ROOT_ID + 1 + SPECIALS.index(name)
    return node


def _top(name: str) -> Node:
    """``/mfs/<node>``; its attributes are not asked of the node, its real mode may differ."""
    node = Directory(0o755, ino=int(name))
    node.nlink = 1  # as it is not known how many directories are in it
    node.nodeid = int(name) << OWNER_SHIFT | ROOT_NUMBER
    return node


class _LinkSink:
    """Puts ``/mfs/<node>`` before an absolute target; one that is too long then is ENAMETOOLONG."""

    def __init__(self, sink: Sink, prefix: bytes) -> None:
        self._sink = sink
        self._prefix = prefix

    def send(self, request: Request, error: int, buffers: tuple[Buffer, ...]) -> None:
        if buffers and bytes(buffers[0][:1]) == b"/":
            buffers = (self._prefix, *buffers)
            if sum(map(len, buffers)) > TARGET_MAX:
                error, buffers = -errno.ENAMETOOLONG, ()
        self._sink.send(request, error, buffers)
