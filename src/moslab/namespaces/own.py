"""An engine of namespaces that this program has for itself.

Rules:

1. It ends with this program, however that ends, unless it is told to stay; then with the last of what is in it.
2. One that stays is found again by what is in it (:func:`client_of`): nobody remembers it.
3. Whoever begins one removes the directories of those that were killed outright.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import docker
from docker.errors import DockerException

import emulator
import mosha
import moslab
from moslab import engine
from moslab.engine import CONNECTIONS_MAX, REQUEST_LIMIT_S
from moslab.errors import CannotError
from moslab.namespaces.names import READY, SOCKET, STAY
from moslab.removal import is_anything_left

PREFIX = "moslab-engine-"
READY_LIMIT_S = 30.0
END_LIMIT_S = 30.0
YOUNG_S = 60.0
"""A directory that was changed within this time may be about to be locked."""
PROGRAM = """\
import sys
sys.path[:0] = sys.argv[1:-1]
from moslab.namespaces.main import main
sys.exit(main(sys.argv[-1]))
"""
SAID_BYTES_MAX = 2048
SOCKET_PATH_BYTES_MAX = 107
"""unix(7)."""


class OwnEngine:
    """CannotError where this machine does not let its user have one."""

    def __init__(self) -> None:
        sweep()
        self._stays = False
        self.directory = tempfile.mkdtemp(prefix=PREFIX)
        if len(os.fsencode(f"{self.directory}/{SOCKET}")) > SOCKET_PATH_BYTES_MAX:
            os.rmdir(self.directory)
            raise CannotError(f"no namespaces: {tempfile.gettempdir()} (TMPDIR) is too long a path for a socket")
        with Path(self.directory, "log").open("w+b") as log:
            self._process = subprocess.Popen(
                command(self.directory), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                start_new_session=True,                      # Ctrl-C is for this program, which then ends it
            )
            try:
                self._await_ready(log)
            except BaseException:
                self.close()
                raise

    @property
    def url(self) -> str:
        return f"unix://{self.directory}/{SOCKET}"

    def client(self) -> docker.DockerClient:
        """A client of it; the caller closes it."""
        return _client(self.url)

    def stay(self) -> None:
        """Rule 1."""
        if not self._stays and self._process.stdin is not None:
            self._process.stdin.write(STAY)
            self._process.stdin.close()
        self._stays = True

    def close(self) -> None:
        """End it, and all that is in it, unless it stays."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        if self._stays:
            self._process.returncode = 0                     # it outlives this program, which does not wait for it
            return
        try:
            self._process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _await_ready(self, log: BinaryIO) -> None:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], READY_LIMIT_S)
        if not ready or self._process.stdout.readline() != READY:
            said = os.pread(log.fileno(), SAID_BYTES_MAX, 0).decode(errors="replace")     # its name may be gone
            raise CannotError(f"no namespaces for this user on this machine: {said.strip() or 'it does not answer'}")


def sweep() -> None:
    """Rule 3."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if time.time() - directory.stat().st_mtime < YOUNG_S:
                continue
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:                                      # another user's, or gone
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(fd)


def client_of(cluster: str) -> docker.DockerClient | None:
    """A client of that engine of this user, of those that stay, which has the cluster; None if none has it."""
    for socket in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{SOCKET}")):
        directory = socket.parent.lstat()
        if not stat.S_ISDIR(directory.st_mode) or directory.st_uid != os.geteuid() or directory.st_mode & 0o077:
            continue                                         # not one that an OwnEngine has made
        try:
            client = _client(f"unix://{socket}")
        except DockerException:                              # it is about to end
            continue
        if is_anything_left(client, cluster):
            return client
        client.close()
    return None


def engine_of(cluster: str) -> docker.DockerClient:
    """A client of the engine that has it: one of these, unless somebody says which; else the container engine."""
    found = client_of(cluster) if engine.where().is_default else None
    return found or engine.connect()


def _client(url: str) -> docker.DockerClient:
    return docker.DockerClient(
        base_url=url, version="auto", timeout=REQUEST_LIMIT_S, max_pool_size=CONNECTIONS_MAX,
    )


def command(directory: str) -> list[str]:
    """What starts the engine: with the Python of the nodes, so what their first processes load late is there."""
    python = shutil.which("python3", path="/usr/bin") or sys.executable
    packages: list[ModuleType] = [moslab, mosha, emulator]
    sources = dict.fromkeys(str(Path(package.__path__[0]).parent) for package in packages)
    return [python, "-IS", "-c", PROGRAM, *sources, directory]
