"""A stand-alone daemon in a directory of its own, and what tests ask of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mosha.clinit.client import Client, NotRunning
from mosha.platform import procscan
from mosha.platform.cgroups import RECORD
from mosha.tables.errors import TableErrors
from tests.unit.clinit.leashed import LIMIT_S, lives, wait_until

QUICK = ":::stop:INT 0 TERM 0.3 KILL 0.6\n"


class Standalone:
    """``python -m mosha.clinit -d`` with its files in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cltab = directory / "cltab"
        self.socket, self.clstat, self.log = directory / "s", directory / "clstat", directory / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {**os.environ}

    def write(self, text: str, settings: str = QUICK) -> None:
        new = self.directory / "cltab.new"
        new.write_text(f":::socket:{self.socket}\n:::clstat:{self.clstat}\n:::log:{self.log}\n{settings}{text}")
        new.replace(self.cltab)

    def spawn(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mosha.clinit", "-d", "-c", str(self.cltab), *arguments],
            env=self.environment, **options,
        )
        return self.process

    def start(self, text: str, settings: str = QUICK, **options: Any) -> Standalone:
        self.write(text, settings)
        return self.serve(**options)

    def serve(self, **options: Any) -> Standalone:
        self.spawn(**options)
        wait_until(self.client.runs)
        return self

    @property
    def client(self) -> Client:
        return Client(str(self.cltab), str(self.socket), str(self.clstat))

    def tell(self, group: str, level: str) -> str:
        answer = self.client.tell(group, level)
        assert answer.ok, answer.text
        return answer.text

    def state(self, group: str) -> str:
        """Level and state, as clstat shows them."""
        try:
            return " ".join(f"{stat.level} {stat.state}" for stat in self.client.status(group))
        except (NotRunning, TableErrors):
            return ""

    def until(self, group: str, state: str) -> None:
        wait_until(lambda: self.state(group) == state)

    def run(self, group: str, level: str, state: str = "DONE") -> None:
        self.tell(group, level)
        self.until(group, f"{level} {state}")

    def logged(self, text: str) -> bool:
        """It comes into the log: by another process, a moment later."""
        return bool(wait_until(lambda: self.log.exists() and text in self.log.read_text()))

    def pids(self, group: str, tag: str) -> list[int]:
        """The living processes of an entry."""
        here = procscan.marked(group, f"{self.socket}.run")
        return [pid for pid in here if lives(pid) and procscan.variable(pid, "MOSHA_TAG") == tag]

    def pid(self, group: str, tag: str) -> int:
        return int(wait_until(lambda: self.pids(group, tag))[0])

    def guardians(self) -> list[int]:
        """The processes below the daemon that are no command's, but for the writer of the log and the warden."""
        assert self.process is not None
        children = [p for p in procscan.processes().values() if p.parent == self.process.pid and p.state != "Z"]
        return [p.pid for p in children if p.pid == p.session and p.pid not in self.wardens()]

    def wardens(self) -> list[int]:
        return [pid for pid in self.daemons() if holds(pid, f"{self.socket}.run/{RECORD}")]

    def everything(self) -> list[int]:
        return procscan.living(
            p for p in procscan.processes().values()
            if procscan.variable(p.pid, procscan.RUN) == f"{self.socket}.run"
        )

    def speak(self, data: bytes, limit_s: float = LIMIT_S) -> bytes:
        """What the daemon answers to these bytes, after which nothing more is written."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(limit_s)
            connection.connect(str(self.socket))
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                received = b""
                while piece := connection.recv(65536):
                    received += piece
            except (BrokenPipeError, ConnectionResetError):
                return b""
            return received

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(LIMIT_S)

    def end(self) -> None:
        """However it stands."""
        if self.process is None:
            return
        for signo in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(signo)
                try:
                    self.process.wait(10)
                except subprocess.TimeoutExpired:
                    pass
        wait_until(lambda: not self.everything() and not self.daemons())

    def daemons(self) -> list[int]:
        """The daemon itself, its guardians, and the writer of its log."""
        mine = str(self.cltab).encode()
        found = []
        for pid in procscan.processes():
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if mine in words and b"-d" in words:
                found.append(pid)
        return found


def holds(pid: int, path: str) -> bool:
    """Whether the process has the file open."""
    try:
        return any(os.readlink(f"/proc/{pid}/fd/{fd}") == path for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def age_s(path: Path) -> float:
    return time.time() - path.stat().st_mtime
