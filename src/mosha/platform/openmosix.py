"""What the agent sees of the world through openMosix: the map, the own number, other nodes' status and files.

Sources: mosctl(1), the ``/proc/hpc`` tree, and MFS as OpenMosix::HA used them.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import subprocess
from pathlib import Path

from mosha.config import Config
from mosha.platform.tasks import Tasks
from mosha.tables.lines import is_node

STATUS_UP = 2               # the bit of nodes/N/status that says up; others may be set beside it
STATUS_BYTES_MAX = 64
WHOIS_LIMIT_S = 5.0
OUTPUT_BYTES_MAX = 2000


class OpenMosix(Tasks):
    """See :class:`mosha.platform.tasks.Tasks`."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._statuses: dict[int, int] = {}

    def whois(self) -> int:
        """This node's number, 0 while openMosix is not configured; raises OSError if it cannot be asked, and EINVAL
        where ``mynode`` names another one: somebody has copied the configuration, and that node may live."""
        mine = self._config.mynode
        try:
            _, words = _run(shlex.split(self._config.mwhois), WHOIS_LIMIT_S)
        except OSError:
            if mine:
                return mine
            raise
        found = re.search(r"\d+", words)
        said = int(found.group()) if found else 0
        if mine and said not in (0, mine):
            raise OSError(errno.EINVAL, f"mynode is {mine}, and openMosix says that this is node {said}")
        return mine or said

    def nodes(self) -> list[int]:
        """The configured map: every node, up or down. Raises OSError where openMosix is not."""
        return sorted(int(name) for name in os.listdir(f"{self._config.hpcbase}/nodes") if is_node(name))

    def probe(self, node: int) -> bool:
        """Whether openMosix says that the node is up; each read is a probe, so it is one read."""
        if node not in self._statuses:
            self._statuses[node] = os.open(f"{self._config.hpcbase}/nodes/{node}/status", os.O_RDONLY | os.O_CLOEXEC)
        try:
            status = os.pread(self._statuses[node], STATUS_BYTES_MAX, 0).strip()
        except OSError:
            os.close(self._statuses.pop(node))
            raise
        return status.isdigit() and bool(int(status) & STATUS_UP)


def _run(command: list[str], limit_s: float) -> tuple[int, str]:
    """Exit code and last words of a command; raises OSError, ETIMEDOUT at the limit."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OSError(errno.ETIMEDOUT, f"{command[0]} did not end within {limit_s:g} s") from None
    return done.returncode, done.stdout[-OUTPUT_BYTES_MAX:].decode("utf-8", "replace").strip()


def boot_id() -> str:
    """The identity of this boot; empty where the kernel has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
