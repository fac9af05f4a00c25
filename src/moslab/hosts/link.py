"""The one connection to a machine: ``ssh``, at whose other end is the keeper (:mod:`moslab.hosts.keeper`).

Rules:

1. The keeper comes over the connection itself; nothing of ours needs to be on the machine before. It has the text of
   this installation, so both ends are of one version.
2. Every wait has a limit. A machine that does not answer in time is lost, and so is the connection: its keeper then
   heals and removes all. LostError says why.
3. The client of ssh does not hear the terminal's Ctrl-C, which this process has to survive as well.
4. One request at a time; only :meth:`Link.alive` may come from another thread.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import subprocess
import tempfile
import threading
import time
from importlib import resources
from typing import Any

from moslab.errors import LabError
from moslab.hosts.clock import Clock
from moslab.hosts.inventory import Machine

CONNECT_S = 10
ALIVE_EVERY_S, ALIVE_MAX = 2, 5
ANSWER_LIMIT_S = 30.0
FIRST_LIMIT_S = 90.0             # a keeper waits for the one before
END_LIMIT_S = 60.0
CLOCK_ROUNDS = 8
CLOSED_IN_S = 2.0
WORDS_BYTES_MAX = 4096
PYTHON = "/usr/bin/python3"
LAUNCH = """\
import os, sys
if sys.version_info < (3, 9): sys.exit("Python 3.9 is needed, and this is " + sys.version.split()[0])
if os.geteuid(): sys.exit("only root can do that")
text, size = b"", int(sys.argv[1])
while len(text) < size:
    piece = os.read(0, size - len(text))
    if not piece: sys.exit(4)
    text += piece
exec(compile(text, "keeper", "exec"), {"__name__": "__main__"})
"""


class LostError(LabError):
    """The machine does not answer, or not any more."""


class Link:
    """See the rules. ``clocks`` are the machine's, by boot: this adds what it hears."""

    def __init__(self, machine: Machine, run: str, clocks: dict[str, Clock]) -> None:
        self.machine, self._clocks = machine, clocks
        keeper = resources.files("moslab.hosts").joinpath("keeper.py").read_bytes()
        self._said = tempfile.TemporaryFile()                # noqa: SIM115
        self._words = ""
        self._lock = threading.Lock()
        self._number, self._heard = 0, b""
        command = [PYTHON, "-IS", "-c", LAUNCH, str(len(keeper)), run, str(machine.number)]
        self._process = subprocess.Popen(
            [*ssh(machine), shlex.join(command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said,
            start_new_session=True, bufsize=0,
        )
        self.boot = ""
        try:
            self._write(keeper)
            self.ask("clock", limit_s=FIRST_LIMIT_S)
            self.compare()
        except BaseException:
            self.drop()
            raise

    @property
    def is_lost(self) -> bool:
        return self._process.poll() is not None

    def compare(self) -> None:
        """The clocks, as exactly as may be."""
        for _ in range(CLOCK_ROUNDS):
            self.ask("clock")

    def ask(self, do: str, limit_s: float = ANSWER_LIMIT_S, **more: Any) -> dict[str, Any]:
        """The keeper's answer; LabError if that is a refusal, LostError by rule 2."""
        return self.hear(self.say(do, **more), limit_s)

    def say(self, do: str, **more: Any) -> tuple[int, float]:
        """Begin a request; what :meth:`hear` needs for its answer."""
        self._number += 1
        asked_s = time.monotonic()
        self._write(json.dumps({"id": self._number, "do": do, **more}).encode() + b"\n")
        return self._number, asked_s

    def hear(self, asked: tuple[int, float], limit_s: float = ANSWER_LIMIT_S) -> dict[str, Any]:
        number, asked_s = asked
        deadline_s = time.monotonic() + limit_s
        while True:
            answer: dict[str, Any] = json.loads(self._line(deadline_s, limit_s))
            if answer["id"] == number:
                break
        self.boot = answer["boot"]
        self._clocks.setdefault(self.boot, Clock()).answered(asked_s, answer["now"], time.monotonic())
        if "refused" in answer:
            raise LabError(f"machine {self.machine.number}: {answer['refused']}")
        return answer

    def alive(self) -> None:
        """The laboratory is still there."""
        try:
            self._write(b'{"do": "alive"}\n')
        except LostError:                                    # whoever asks next is told
            pass

    def end(self) -> None:
        """Have all healed and removed; LabError if that is not sure."""
        try:
            self._write(b'{"do": "end"}\n')
            code = self._process.wait(END_LIMIT_S)
        except (LostError, subprocess.TimeoutExpired):
            self.drop()
            raise LabError(f"machine {self.machine.number}: it does not say that all is removed") from None
        self.drop()
        if code:
            raise LabError(f"machine {self.machine.number}: its keeper ended with {code}")

    def drop(self) -> None:
        """Let the connection go, without a word: as when the machine has lost its power."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        if not self._said.closed:
            self._words = self._read_words()
            self._said.close()

    # -- inside ------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._process.stdin.fileno(), data):]      # type: ignore[union-attr]
            except (OSError, ValueError):
                raise self._lost("the connection has ended") from None

    def _line(self, deadline_s: float, limit_s: float) -> bytes:
        while b"\n" not in self._heard:
            try:
                fd = self._process.stdout.fileno()           # type: ignore[union-attr]
            except ValueError:
                raise self._lost("the connection has ended") from None
            ready, _, _ = select.select([fd], [], [], max(0.0, deadline_s - time.monotonic()))
            data = os.read(fd, 1 << 20) if ready else b""
            if not data:
                why = "the connection has ended" if ready else f"no answer within {limit_s:g} s"
                if ready:
                    self._wait()                             # it has something to say
                self.drop()
                raise self._lost(why)
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    def _lost(self, why: str) -> LostError:
        words = self._words if self._said.closed else self._read_words()
        return LostError(f"machine {self.machine.number} ({self.machine.ssh or self.machine.address}): {why}"
                         f"{': ' if words else ''}{words}")

    def _wait(self) -> None:
        try:
            self._process.wait(CLOSED_IN_S)
        except subprocess.TimeoutExpired:
            pass

    def _read_words(self) -> str:
        """What ssh, or the keeper, has said of its end."""
        self._said.seek(0)
        return self._said.read(WORDS_BYTES_MAX).decode(errors="replace").strip()


def ssh(machine: Machine) -> list[str]:
    """The command that runs another one on that machine."""
    options = {
        "BatchMode": "yes", "ConnectTimeout": CONNECT_S, "ServerAliveInterval": ALIVE_EVERY_S,
        "ServerAliveCountMax": ALIVE_MAX, "ControlMaster": "no", "ControlPath": "none", "StrictHostKeyChecking": "yes",
        "LogLevel": "ERROR",
    }
    if machine.known_hosts:
        options["UserKnownHostsFile"] = machine.known_hosts
        options["GlobalKnownHostsFile"] = "/dev/null"
    if machine.key:
        options["IdentitiesOnly"] = "yes"
    return ["ssh", "-T", "-x", "-a", "-p", str(machine.port), "-l", machine.user,
            *(["-i", machine.key] if machine.key else []),
            *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
            machine.ssh or machine.address]
