"""The processes of this node as ``mps`` and ``mtop`` show them: ``ps`` with what openMosix adds."""

from __future__ import annotations

import os

from emulator.tools import hpcfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NOWHERE = -1
"""The node of a process where there is no openMosix."""

TICKS = os.sysconf("SC_CLK_TCK")
PTS, CONSOLE, SERIAL_FROM = range(136, 144), 4, 64


class Process:
    """One process; ``seconds`` is the processor time that it has used."""

    def __init__(self, pid: int, uid: int, stat: bytes, command: str) -> None:
        name, _, rest = stat.partition(b"(")[2].rpartition(b")")
        words = rest.split()
        self.pid = pid
        self.uid = uid
        self.name = os.fsdecode(name)
        self.command = command or f"({self.name})"
        self.state = words[0].decode() + ("W" if words[21] == b"0" else "") + nice_of(int(words[16]))
        self.terminal = terminal_of(int(words[4]))
        self.seconds = (int(words[11]) + int(words[12])) / TICKS
        self.pages = int(words[21])

    def where(self) -> int:
        """The node that it is on, 0 for home."""
        return self.number("where")

    def number(self, name: str) -> int:
        """The number in ``<pid>/<name>`` of the tree; ``NOWHERE`` if there is none."""
        try:
            return int(hpcfile.read_process(self.pid, name))
        except (OSError, ValueError):
            return NOWHERE

    def cantmove(self) -> str:
        """Why it cannot move, with commas; ``-`` if it can."""
        try:
            reasons = hpcfile.read_process(self.pid, "cantmove").decode("utf-8", "replace").strip()
        except OSError:
            reasons = ""
        return reasons.replace(", ", ",") or "-"


def processes() -> Iterator[Process]:
    """All that there are, in the order of their ids."""
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
                stat = file.read(4096)
            with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
                words = file.read(4096).rstrip(b"\0").split(b"\0")
            uid = os.stat(f"/proc/{pid}").st_uid
        except OSError:  # it has ended
            continue
        yield Process(pid, uid, stat, printable(b" ".join(words)))


def printable(text: bytes) -> str:
    return "".join(char if char.isprintable() else "?" for char in text.decode("utf-8", "replace"))


def nice_of(nice: int) -> str:
    return "<" if nice < 0 else "N" if nice > 0 else ""


def terminal_of(device: int) -> str:
    """At most three characters: ``p0`` for pts/0, ``1`` for tty1, ``S0`` for ttyS0; ``?`` for none."""
    major, minor = os.major(device), os.minor(device)
    if major in PTS:
        return f"p{minor + 256 * (major - PTS[0])}"
    if major == CONSOLE:
        return f"S{minor - SERIAL_FROM}" if minor >= SERIAL_FROM else str(minor)
    return "?"


def clock(seconds: float) -> str:
    """Minutes and seconds, at least five characters."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:2d}:{rest:02d}"
