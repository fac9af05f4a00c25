"""Signals as bytes of a descriptor, so that a loop that waits for descriptors waits for signals too."""

from __future__ import annotations

import selectors
import signal
import socket
from collections.abc import Iterable

READ_BYTES = 4096
DEAF_TO = (signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2)
"""They end a process by default. Who rotates logs sends SIGUSR1 to whatever writes one; FreeHA had a meaning for it."""


class Wakeup:
    """Catches ``signals`` for this process, and is deaf to what else of ``DEAF_TO`` there is."""

    def __init__(self, signals: Iterable[int]) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        for ignored in DEAF_TO:
            signal.signal(ignored, signal.SIG_IGN)
        for signo in signals:
            signal.signal(signo, lambda *_: None)

    def fileno(self) -> int:
        """Readable when :meth:`taken` has something to tell."""
        return self._ours.fileno()

    def fds(self) -> list[int]:
        """Both ends: a forked process has no use for them."""
        return [self._ours.fileno(), self._theirs.fileno()]

    def taken(self) -> set[int]:
        """The signals that came since."""
        try:
            return set(self._ours.recv(READ_BYTES))
        except BlockingIOError:
            return set()


def fds_of(selector: selectors.BaseSelector) -> set[int]:
    """What a loop waits for, and its poller if that is a descriptor: a forked process has no use for them."""
    poller = {selector.fileno()} if isinstance(selector, selectors.EpollSelector) else set[int]()
    return poller.union(key.fd for key in selector.get_map().values())
