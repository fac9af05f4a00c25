"""What the agent sees of the world through openMosix: the map, the own number, other nodes' status and files.

Everything here may block and so runs in workers (:mod:`mosha.platform.workers`); results are plain JSON values.
Sources: mosctl(1), the ``/proc/hpc`` tree, and MFS as OpenMosix::HA used them.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any, Callable

from mosha.config import Config
from mosha.platform import record

STATUS_UP = 2               # the bit of nodes/N/status that says up; others may be set beside it
FILE_BYTES_MAX = 1024 * 1024
WHOIS_LIMIT_S = 5.0
OUTPUT_BYTES_MAX = 2000


class OpenMosix:
    """The tasks of one worker; it keeps what it looks at again and again open."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._records: dict[int, int] = {}
        self._statuses: dict[int, int] = {}

    def tasks(self) -> dict[str, Callable[..., Any]]:
        """What :class:`~mosha.platform.workers.Workers` may be asked to run."""
        return {"whois": self.whois, "nodes": self.nodes, "look": self.look, "fetch": self.fetch, "shoot": self.shoot}

    def whois(self) -> int:
        """This node's number, 0 while openMosix is not configured; raises OSError if it cannot be asked."""
        if self._config.mynode:
            return self._config.mynode
        _, words = _run(shlex.split(self._config.mwhois), WHOIS_LIMIT_S)
        found = re.search(r"\d+", words)
        return int(found.group()) if found else 0

    def nodes(self) -> list[int]:
        """The configured map: every node, up or down."""
        return sorted(int(name) for name in os.listdir(f"{self._config.hpcbase}/nodes") if name.isdigit())

    def look(self, node: int, reopen: bool) -> Any:
        """The node's record (None: not whole just now).

        ``reopen`` gives held descriptors up first. Raises OSError: ENETUNREACH when openMosix says that the node is
        down, otherwise what MFS gives.
        """
        if reopen:
            self._drop(node)
        try:
            if not self._is_up(node):
                raise OSError(errno.ENETUNREACH, "down")
            return record.decode(self._read(self._records, node, self._config.peer_file(node, record.NAME)))
        except OSError:
            self._drop(node)
            raise

    def fetch(self, node: int, name: str) -> str:
        """The text of a file in the node's directory; raises OSError, also when it is too large."""
        with open(self._config.peer_file(node, name), "rb", buffering=0) as stream:
            parts: list[bytes] = []
            while sum(map(len, parts)) <= FILE_BYTES_MAX:
                part = stream.read(65536)
                if not part:
                    return b"".join(parts).decode("utf-8", "surrogateescape")
                parts.append(part)
        raise OSError(errno.EFBIG, f"{name} of node {node} is over {FILE_BYTES_MAX} bytes")

    def shoot(self, node: int) -> str:
        """Run the STOMITH command; its last words. Raises OSError unless it exits with 0 in time."""
        command = [word.replace("%n", str(node)) for word in shlex.split(self._config.stomith)]
        code, words = _run(command, self._config.stomith_timeout_s)
        if code != 0:
            raise OSError(errno.EIO, f"the STOMITH command ended with {code}: {words}")
        return words

    def _is_up(self, node: int) -> bool:
        """Ask openMosix: each read of the file is a probe of its own, so it is one read."""
        status = self._read(self._statuses, node, f"{self._config.hpcbase}/nodes/{node}/status").strip()
        return status.isdigit() and bool(int(status) & STATUS_UP)

    @staticmethod
    def _read(held: dict[int, int], node: int, path: str) -> bytes:
        """The beginning of a file that is kept open: a path costs a request for each of its parts, this costs one."""
        if node not in held:
            held[node] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(held[node], record.BYTES_MAX, 0)

    def _drop(self, node: int) -> None:
        for held in (self._records, self._statuses):
            fd = held.pop(node, None)
            if fd is not None:
                try:
                    os.close(fd)
                except OSError:
                    pass


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


def stay_home(procbase: str) -> None:
    """Write 1 into this process's ``lock``: the balancer of openMosix leaves it where it is (mosrun -h)."""
    try:
        with open(f"{procbase}/self/lock", "w", encoding="ascii") as lock:
            lock.write("1\n")
    except OSError:
        pass
