"""An agent process with a leash, and how tests wait for what it does."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, Callable

import pytest

from mosha.platform import procscan
from mosha.resources.records import RUN_VARIABLE

LIMIT_S = 30.0
STOP = ((0.0, signal.SIGINT), (0.3, signal.SIGTERM), (0.6, signal.SIGKILL))
HERE = Path(__file__).parent


class Agent:
    """A process with a leash: see agent.py. ``within`` is a command to run it by; ``group``: a name of its own."""

    def __init__(self, *within: str, **environment: str) -> None:
        self.group = "t" + uuid.uuid4().hex
        self.reports: list[dict[str, Any]] = []
        self._rest = b""
        self._own_rundir = tempfile.TemporaryDirectory()
        self.rundir = environment.get(RUN_VARIABLE, self._own_rundir.name)
        self.process = subprocess.Popen(
            [*within, sys.executable, str(HERE / "agent.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment, RUN_VARIABLE: self.rundir},
        )

    def start(
        self, lease_s: float = 60.0, lock_path: str = "", ahead: bool = False, kill_after_s: float = STOP[-1][0],
    ) -> Agent:
        stop = (*STOP[:-1], (kill_after_s, signal.SIGKILL))
        options = {"group": self.group, "lease_s": lease_s, "stop": stop, "lock_path": lock_path, "ahead": ahead}
        self.do("start", options)
        return self

    def tell(self, level: str, *lines: str) -> None:
        """Each line is an entry without its group, ``tag:levels:mode:command``, or a setting."""
        self.do("tell", level, "".join(f"{'' if line[0] == ':' else f'{self.group}:'}{line}\n" for line in lines))

    def do(self, word: str, *arguments: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([word, *arguments]).encode() + b"\n")
        self.process.stdin.flush()

    def wait(self, kind: str, limit_s: float = LIMIT_S, **fields: Any) -> dict[str, Any]:
        """The first report, of those not yet waited for, of this kind and with these fields."""
        deadline = time.monotonic() + limit_s
        seen: list[dict[str, Any]] = []
        while True:
            while self.reports:
                report = self.reports.pop(0)
                seen.append(report)
                if report["kind"] == kind and all(report[name] == value for name, value in fields.items()):
                    return report
            if not self._receive(deadline - time.monotonic()):
                pytest.fail(f"no {kind} {fields} within {limit_s} s; got {seen[-8:]}")

    def wait_state(self, level: str, state: str) -> dict[str, Any]:
        return self.wait("state", level=level, state=state)

    def pid_of(self, tag: str) -> int:
        return int(self.wait("started", tag=tag)["pid"])

    def marked(self) -> list[int]:
        return procscan.find(f"MOSHA_GROUP={self.group}".encode())

    def end(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT_S)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        wait_until(lambda: not self.marked())
        self._own_rundir.cleanup()

    def _receive(self, limit_s: float) -> bool:
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        if not select.select([fd], [], [], max(0.0, limit_s))[0]:
            return False
        data = os.read(fd, 1 << 20)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.reports += [json.loads(line) for line in lines]
        return bool(data)


def wait_until(condition: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
    deadline = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            pytest.fail(f"{condition} did not come true within {limit_s} s")
        time.sleep(0.005)


def lives(pid: int) -> bool:
    process = procscan.process(pid)
    return process is not None and process.state != procscan.ZOMBIE


def is_dead(pid: int) -> bool:
    return not lives(pid)


def written_pid(path: Path) -> int:
    """The process id that a command of the test writes into ``path``."""
    return int(wait_until(lambda: path.exists() and path.read_text().strip()))
