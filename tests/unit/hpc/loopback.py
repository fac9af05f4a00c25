"""Nodes on 127.x.y.z: each a process that serves its tree, and answers probes at an address of its own."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

import pytest

SERVE = Path(__file__).with_name("serve.py")
READY_S = 30.0
NO_ONE = 64999

# another process of the test suite, at work at the same time, has another network
NETWORK = f"127.{64 + os.getpid() // 256 % 128}.{os.getpid() % 256}"


def wait_until(condition: Callable[[], object], seconds: float = READY_S) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {seconds} s"
        time.sleep(0.005)


def may_mount() -> None:
    """Skip where FUSE cannot be mounted; in CI that is a failure."""
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        reason = "mounting needs root and /dev/fuse"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(call: Callable[[], object]) -> int | None:
    """The errno that a call fails with; None if it does not fail."""
    try:
        call()
    except OSError as error:
        return error.errno
    return None


def reachable(node: Node) -> None:
    """Let every user reach the node's tree (tmp_path is closed to others)."""
    for folder in (node.folder, *node.folder.parents):
        if str(folder) in ("/", "/tmp"):
            break
        folder.chmod(folder.stat().st_mode | 0o011)


class Node:
    """One node: ``proc`` is its tree."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.address = f"{NETWORK}.{number}"
        self.folder = folder / f"node{number}"
        self.proc = self.folder / "proc"
        self.proc.mkdir(parents=True)
        self.log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        deputies = self.folder / "deputies"
        return {**os.environ, "OPENMOSIX_PROC": str(self.proc), "OPENMOSIX_DEPUTIES": str(deputies)}

    def start(self, *within: str) -> None:
        """Serve the tree; ``within`` is put before the command, as to enter a namespace."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*within, sys.executable, str(SERVE)], env=self.environment, stderr=log
            )
        wait_until(lambda: (self.proc / "hpc").exists() or self._ended())

    def _ended(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        return False

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """End the process; no mount is left even if it was killed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(READY_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        subprocess.run(["umount", "-q", "-l", str(self.proc)], check=False)

    def path(self, name: str) -> Path:
        return self.proc / "hpc" / name

    def read(self, name: str) -> str:
        """The content of ``hpc/<name>``: one open, one read."""
        fd = os.open(self.path(name), os.O_RDONLY)
        try:
            return os.read(fd, 1 << 16).decode("latin-1")
        finally:
            os.close(fd)

    def comes_to_read(self, name: str, content: str) -> bool:
        """Whether this is read at last: on a busy machine a live node may miss a probe, as on a genuine one."""
        wait_until(lambda: self.read(name) == content)
        return True

    def write(self, name: str, data: bytes) -> None:
        fd = os.open(self.path(name), os.O_WRONLY)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)

    def tool(self, name: str, *words: str, text: str = "") -> tuple[int, str, str]:
        """Run a tool on this node, in a session without a terminal: exit code, stdout, stderr."""
        return self._run("-m", f"emulator.tools.{name}", *words, text=text)

    def tool_as_user(self, name: str, *words: str) -> tuple[int, str, str]:
        """The same for a user who owns no other process."""
        reachable(self)
        code = (
            "import os, sys, warnings, emulator.guests.deputy\n"  # what is imported later, the user may not read
            f"from emulator.tools import {name} as tool\n"
            f"os.setgid({NO_ONE}); os.setuid({NO_ONE})\n"
            f"sys.argv[:1] = [{name!r}]; sys.exit(tool.main())"
        )
        return self._run("-c", code, *words)

    def _run(self, *arguments: str, text: str = "") -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**self.environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            input=text,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def configure(self, table: str) -> None:
        """Be node ``number`` of this table."""
        assert self.tool("setpe", "-W", "-p", str(self.number), text=table) == (0, "", "")
