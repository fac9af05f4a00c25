"""What the machine's own ``/proc`` tells, at the same place in the tree: for programs to which the tree is ``/proc``.

Rule: a thread reads, as the kernel may let who asks for another process's words wait for that process.
"""

from __future__ import annotations

import errno
from functools import partial

from emulator.fuse.tree import Context, File, Reply
from emulator.reactor import Reactor

OF_ALL = ("cpuinfo", "loadavg", "meminfo", "stat", "uptime", "version")
OF_A_PROCESS = ("cmdline", "stat", "statm", "status")
"""What everybody may read of each process."""


class Shown(File):
    """``/proc/<name>``."""

    def __init__(self, reactor: Reactor, name: str) -> None:
        super().__init__(0o444)
        self._reactor = reactor
        self._path = f"/proc/{name}"

    def read(self, context: Context, reply: Reply) -> None:
        def answer(content: object) -> None:
            if isinstance(content, bytes):
                reply(content)
            elif isinstance(content, FileNotFoundError):    # the process has ended
                reply(errno.ESRCH)
            else:
                reply(getattr(content, "errno", None) or errno.EIO)

        self._reactor.in_thread(partial(_content, self._path), answer)


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
