"""``mtop``: ``top`` with the column N#: where each process runs, 0 for home.

Keys: g asks for a process and a node, and migrates it; a asks for a process, and lets it go where it is best off; N
orders by node and back; # asks for a node, and shows only what is there; q ends. ``-b`` prints instead, ``-n``
times, each ``-d`` seconds.
"""

from __future__ import annotations

import sys
import time

from emulator.tools import hpcfile
from emulator.tools.hpcfile import complain, heed_signals, is_number
from emulator.tools.processlist import Process, clock, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from emulator.tools.screen import Ask

USAGE = "Usage: mtop [-b] [-d seconds] [-n times]"
BALANCE = -1
EVERY_MAX_S = 3600.0
PAGE_KIB = 4
HEAD = "  PID   UID  N#    RSS STAT %CPU    TIME COMMAND"


class Top:
    """The processes, and how much processor time each used since they were last looked at."""

    def __init__(self) -> None:
        self.by_node = False
        self.only: int | None = None
        self._seconds: dict[int, float] = {}
        self._looked_s = time.monotonic()

    def lines(self, width: int, height: int) -> list[str]:
        """The head, and as many processes as there is room for."""
        now_s = time.monotonic()
        passed_s = max(now_s - self._looked_s, 0.01)
        rows = []
        seconds = {}
        for process in processes():
            where = process.where()
            seconds[process.pid] = process.seconds
            if self.only in (None, where):
                used = process.seconds - self._seconds.get(process.pid, process.seconds)
                rows.append((100 * used / passed_s, where, process))
        self._seconds, self._looked_s = seconds, now_s
        rows.sort(key=lambda row: (-row[1] if self.by_node else 0, -row[0], row[2].pid))
        with open("/proc/loadavg", encoding="ascii") as file:
            load = " ".join(file.read().split()[:3])
        head = [f"load average: {load}; {len(rows)} processes", "", HEAD]
        return [*head, *(line(*row)[:width] for row in rows[: max(0, height - len(head))])]

    def key(self, key: str, ask: Ask) -> None:
        """What a key does."""
        if key == "g":
            migrate(ask("PID to migrate: "), ask("To node: "))
        elif key == "a":
            migrate(ask("PID to balance: "), str(BALANCE))
        elif key == "N":
            self.by_node = not self.by_node
        elif key == "#":
            node = ask("Only node (empty: all): ")
            self.only = int(node) if is_number(node) else None


def line(percent: float, where: int, process: Process) -> str:
    size = f"{PAGE_KIB * process.pages:7d}"
    return (
        f"{process.pid:5d} {process.uid:5d} {where:3d}{size} {process.state:<4} {percent:4.1f} "
        f"{clock(process.seconds):>7} {process.name}"
    )


def migrate(pid: str, node: str) -> None:
    """Ask for it; what the kernel refuses is seen by the process staying."""
    if is_number(pid) and is_number(node.removeprefix("-")):
        try:
            hpcfile.write_process(pid, "goto", int(node))
        except OSError:
            pass


def main() -> int:
    """Run ``mtop`` with the arguments of this process; the exit code."""
    words = iter(sys.argv[1:])
    batch, every_s, times = False, 5.0, 1
    try:
        for word in words:
            if word == "-b":
                batch = True
            elif word == "-d":
                every_s = float(next(words, ""))
            elif word == "-n":
                times = int(next(words, ""))
            else:
                raise ValueError(word)
        if not 0 < every_s <= EVERY_MAX_S or times < 1:
            raise ValueError(every_s, times)
    except ValueError:
        complain(USAGE)
        return 1
    top = Top()
    if not batch:
        from emulator.tools.screen import Screen  # which imports curses

        return Screen(top.lines, top.key, every_s).run()
    heed_signals()
    for number in range(times):
        if number:
            time.sleep(every_s)
        print(*top.lines(sys.maxsize, sys.maxsize), sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
