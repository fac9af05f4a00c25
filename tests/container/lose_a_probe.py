"""Runs inside a node, as ``python3 -IS -c <this text> AGENT SECONDS TRIES ASKER …``; the test reads its line.

The agent stands still for so long; of each asker, an address, the first TRIES packets that ask whether this node is up
are lost meanwhile. It prints how many were, for each.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

PORT = 5428
TABLE = "inet lost"


def nft(*words: str) -> str:
    """The packet filter of this node."""
    return subprocess.run(["nft", *words], check=True, capture_output=True, text=True).stdout


def main() -> int:
    agent, seconds, tries, askers = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    first = f"numgen inc mod 1000000 < {tries} counter drop"
    nft("\n".join([
        f"add table {TABLE}", f"add chain {TABLE} in {{ type filter hook input priority -200; }}",
        *(f"add rule {TABLE} in ip saddr {asker} udp dport {PORT} {first}" for asker in askers),
    ]))
    try:
        os.kill(agent, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(agent, signal.SIGCONT)
        listed = json.loads(nft("-j", "list", "table", *TABLE.split()))["nftables"]
    finally:
        nft("delete", "table", *TABLE.split())
    parts = [part for entry in listed for part in entry.get("rule", {}).get("expr", [])]
    print(*(part["counter"]["packets"] for part in parts if "counter" in part))
    return 0


if __name__ == "__main__":
    sys.exit(main())
