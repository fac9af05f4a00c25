"""Runs inside a node, as ``python3 -IS -c <this text> NODES TIMES``: how long the tools of openMosix take.

It prints a line of JSON for each call of a tool: its words, the milliseconds of the quickest, and the probes it made.
"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

LIBRARY = "/usr/lib/mosha"
SCREEN_LIMIT_S = 10.0
TOOLS = (
    ("mosctl whois", ""), ("mosctl status", ""), ("mosctl status 2", ""), ("mosctl isup 2", ""),
    ("mosctl getload 2", ""), ("mosctl whois 2", ""), ("mosctl gettune", ""), ("mosctl getyard", ""),
    ("mosctl setspeed 15000", ""), ("mosctl quiet", ""), ("mosctl noquiet", ""), ("mosctl nomfs", ""),
    ("mosctl mfs", ""), ("mosctl expel", ""), ("mosctl noblock", ""), ("mosctl bring", ""), ("mosctl nolstay", ""),
    ("setpe -r", ""), ("setpe -w -f /etc/openmosix.map", ""), ("showmap", ""), ("migrate 1 home", ""),
    ("mosrun -h true", ""), ("runhome true", ""), ("mosrun -2 true", ""), ("mps ax", ""), ("mps ax --ominfo", ""),
    ("mtop -b", ""), ("mtop", "N#"), ("mosmon", "Node #"), ("setpe -off", ""), ("omdiscd -i eth0", ""),
)
"""Each with what its first screen has, if it has one. They leave the node as it was, but off at the end."""
BEFORE = {
    "mosctl quiet": "mosctl noquiet", "mosctl noquiet": "mosctl quiet", "mosctl nomfs": "mosctl mfs",
    "mosctl mfs": "mosctl nomfs", "mosctl noblock": "mosctl block", "mosctl nolstay": "mosctl lstay",
    "setpe -off": "setpe -w -f /etc/openmosix.map",
    "omdiscd -i eth0": "! [ -f /run/omdiscd.pid ] || kill $(cat /run/omdiscd.pid); setpe -off",
}
"""What is done before each call, and not measured, so that it changes something."""


def datagrams() -> int:
    """How many this node has sent."""
    with open("/proc/net/snmp", encoding="ascii") as file:
        names, values = (line.split() for line in file if line.startswith("Udp:"))
    return int(dict(zip(names, values))["OutDatagrams"])


def to_end(words: list[str]) -> float:
    """The seconds from a tool's start to its end; CalledProcessError if it fails."""
    began_s = time.perf_counter()
    subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began_s


def to_screen(words: list[str], shows: bytes) -> float:
    """The seconds from a tool's start to its first screen."""
    began_s = time.perf_counter()
    pid, fd = pty.fork()
    if not pid:
        os.environ["TERM"] = "vt100"
        os.execvp(words[0], words)
    try:
        seen = b""
        while shows not in seen:
            if not select.select([fd], [], [], SCREEN_LIMIT_S)[0]:
                raise TimeoutError(f"{words[0]} does not show {shows!r}: {seen!r}")
            seen += os.read(fd, 65536)
        return time.perf_counter() - began_s
    finally:
        os.kill(pid, signal.SIGKILL)
        os.close(fd)
        os.waitpid(pid, 0)


def rounds_of(sent: int, nodes: int, batch: int) -> int:
    """How many probes, one after the other, that is: each to one node, or to all nodes, ``batch`` at a time."""
    whole, rest = divmod(sent, nodes - 1)
    return whole * -(-nodes // batch) + rest


def main() -> None:
    sys.path.insert(0, LIBRARY)
    from emulator.hpc.info import BATCH
    from emulator.probe import TRY_S

    nodes, times = int(sys.argv[1]), int(sys.argv[2])
    for text, shows in TOOLS:
        words, took = text.split(), []
        before = datagrams()
        for _ in range(times):
            if text in BEFORE:
                to_end(["sh", "-c", BEFORE[text]])
            took.append(to_screen(words, shows.encode()) if shows else to_end(words))
        sent = 0.0 if words[0] == "omdiscd" else (datagrams() - before) / times    # whose datagrams are no probes
        print(json.dumps({
            "words": text, "times": times, "took_ms": round(1000 * min(took), 2),
            "probes": rounds_of(round(sent), nodes, BATCH), "probe_ms": 1000 * TRY_S,
        }), flush=True)


if __name__ == "__main__":
    main()
