"""This node as it asks itself: the same requests as to another node, carried out in the process.

Rule: what is not answered at once (a slow disk, an injected fault) has the same bound as from another node: EAGAIN.
"""

from __future__ import annotations

import errno
from functools import partial

from emulator.fuse.protocol import Request
from emulator.membership import Membership
from emulator.mfs.again import GivenUp, Key, key_of
from emulator.mfs.client import Client
from emulator.mfs.core import Core
from emulator.mfs.faults import Faults
from emulator.mfs.pace import Pace
from emulator.reactor import Reactor


class Own:
    """The tree ``root`` of this node, for its own processes."""

    def __init__(
        self, reactor: Reactor, membership: Membership, root: str, faults: Faults, incarnation: int, pace: Pace
    ) -> None:
        self.pace = pace
        self._reactor = reactor
        self._core = Core(reactor, membership, root, faults, errno.EREMOTE)
        self._client = Client(self._core.inodes, membership.mospe, incarnation)
        self._given_up = GivenUp()

    def forward(self, request: Request) -> None:
        """Carry it out; raises OSError in place of an answer."""
        self._core.handle(request, self._client)
        if not request.answered:
            key = key_of(request)
            if key is not None:
                self._given_up.check(key, self._reactor.now())
            self._reactor.call_later(self.pace.limit_s(request), partial(self._give_up, request, key))

    def forget(self, nodeid: int, count: int) -> None:
        """``count`` references to ``nodeid`` are dropped."""
        self._client.forget(nodeid, count)

    def let_go(self, node: int) -> None:
        """From now on this is ``node``; what was open is ESTALE."""
        self._client.close()
        self._client.node = node

    def close(self) -> None:
        """Let go of all files, for good."""
        self._client.close()
        self._core.close()

    def _give_up(self, request: Request, key: Key | None) -> None:
        if request.answered:
            return
        if key is not None:
            self._given_up.add(key, errno.EAGAIN, self._reactor.now())
        request.fail(errno.EAGAIN)
