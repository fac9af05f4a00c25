"""A door where there is no room, as no descriptor is left: it is quiet, and opens again."""

from __future__ import annotations

import logging
import os
import resource
import socket

import pytest

from emulator.door import Door
from emulator.reactor import Reactor


def test_where_there_is_no_descriptor_who_comes_waits(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    reactor, listening, came, turns = Reactor(), socket.socket(), [], []
    listening.bind(("127.0.0.1", 0))
    place = listening.getsockname()

    def comes(sock: socket.socket, _address: object) -> None:
        came.append(sock)
        reactor.stop()

    door, visitor = Door(reactor, listening, comes), socket.create_connection(place)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        reactor.call_later(0.1, lambda: turns.append(len(caplog.messages)))
        reactor.call_later(0.2, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, before))
        reactor.call_later(20, reactor.stop)
        reactor.run()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(came) == 1
    assert turns == [1], "it says so once, and is not told again and again"
    for one in (door, visitor, came[0], reactor):
        one.close()
