"""Two nodes on loopback: processes of the first run on the second."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable

from tests.unit.hpc import loopback
from tests.unit.hpc.loopback import NETWORK, Node

LONG_S = 40.0
"""What takes a moment may take so long on a machine that has much else to do."""

UNREACHABLE = (1, "", "Migration Failed: Network is unreachable\n")
MOSRUN = [sys.executable, "-m", "emulator.tools.mosrun"]


def wait_until(condition: Callable[[], object]) -> None:
    loopback.wait_until(condition, LONG_S)


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that are there, with what those have started."""
    found: list[int] = []
    try:
        direct = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return found
    for child in direct:
        found += [child, *children_of(child)]
    return found


@contextmanager
def tool(node: Node, name: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A tool at work."""
    environment = {**node.environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", f"emulator.tools.{name}", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def state_of(pid: int) -> str:
    """The letter of a process's state; Z if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def is_there(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    return state_of(pid) != "Z"


def close_pipes(process: subprocess.Popen[bytes]) -> None:
    """Close this end of its standard streams."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


class Pair:
    """``home`` is node 1, ``host`` node 2; the map has a third node, which is never up."""

    def __init__(self, folder: Path) -> None:
        self.home, self.host = self.nodes = [Node(number, folder) for number in (1, 2)]

    def turned(self) -> Pair:
        """The same two, the other way round."""
        other = copy.copy(self)
        other.home, other.host = self.host, self.home
        return other

    @property
    def environment(self) -> dict[str, str]:
        """What a command at home has."""
        return {**self.home.environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def start(self, **environment: str) -> None:
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        try:
            for node in self.nodes:
                node.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
        for node in self.nodes:
            node.configure(f"1 {NETWORK}.1 3\n")
        assert self.home.comes_to_read("nodes/2/status", "3\n")

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def mosrun(self, *words: str, text: str = "") -> tuple[int, str, str]:
        """Run it at home, to its end; again if the host has missed the probe, as it may on a busy machine."""
        done = UNREACHABLE
        deadline_s = time.monotonic() + LONG_S
        while done == UNREACHABLE and time.monotonic() < deadline_s:
            done = self.home.tool("mosrun", *words, text=text)
        return done

    @contextmanager
    def away(self, *words: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
        """A command of the home whose body runs on the host; it is killed afterwards."""
        deadline_s = time.monotonic() + LONG_S
        while True:  # again if the host has missed the probe
            process = subprocess.Popen([*MOSRUN, f"-{self.host.number}", *words], env=self.environment, **options)
            if self._is_away(process):
                break
            close_pipes(process)
            assert time.monotonic() < deadline_s, self.home.log.read_text() + self.host.log.read_text()
        with process:
            try:
                yield process
            finally:
                process.kill()
                close_pipes(process)

    def _is_away(self, process: subprocess.Popen[bytes]) -> bool:
        wait_until(lambda: self.where(process) == self.host.number or process.poll() is not None)
        return process.poll() is None

    def where(self, process: subprocess.Popen[bytes]) -> int | None:
        """What the home says of it; None if it is not there."""
        try:
            return int((self.home.proc / str(process.pid) / "where").read_text())
        except OSError:
            return None

    def guests(self) -> list[int]:
        """The guests of the host, by their pids there."""
        return [int(name) for name in os.listdir(self.host.path("remote"))]

    def body_of(self, process: subprocess.Popen[bytes]) -> int:
        """The pid that its body has on the host."""
        for guest in self.guests():
            if f"pid={process.pid}\n" in self.host.read(f"remote/{guest}/identity"):
                return guest
        raise AssertionError(f"{process.pid} is no guest")

    def no_guests(self) -> None:
        wait_until(lambda: not self.guests())
