"""That this process is on its own node. The balancer of openMosix leaves alone what is locked; who moves it by hand
(``migrate``) moves it all the same, and from then on each of its system calls goes over the network.
"""

from __future__ import annotations

import os

from mosha.platform import procscan

OWN = "/proc/self"               # of the kernel itself, so that no look waits for anybody
LOOK_EVERY_S = 5.0
HERE = b"0"


class Home:
    """``lock`` is the file that pins this process. Neither that nor ``OWN`` has anything where no process goes away."""

    def __init__(self, lock: str) -> None:
        self._lock, self._due_s = lock, 0.0
        _write(lock, b"1")

    def look(self, now_s: float) -> str:
        """Go home, if it is time to look and somebody has moved this process: the number of the node where it was."""
        if now_s < self._due_s:
            return ""
        self._due_s = now_s + LOOK_EVERY_S
        where = procscan.read(f"{OWN}/where").strip()
        if where in (b"", HERE):
            return ""
        _write(f"{OWN}/goto", HERE)
        _write(self._lock, b"1")
        return where.decode("ascii", "replace")


def _write(path: str, number: bytes) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(fd, number + b"\n")
    except OSError:
        pass                                         # it may not be moved now: the next look tries again
    finally:
        os.close(fd)
