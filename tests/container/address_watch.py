"""Runs beside a node, in its network alone, as ``python3 -IS -c <this text> NODE ADDRESS``; no fault stops it.

While the node has the address this writes into a journal as the demo's ``tick`` does, in ``/san/ADDRESS``: a file for
each time that the address comes. A socket can be bound to it if, and only if, it is there.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time

EVERY_S = 0.005


def is_here(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.bind((address, 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            return False
    return True


def main() -> None:
    node, address = sys.argv[1:]
    directory = f"/san/{address}"
    os.makedirs(directory, exist_ok=True)
    journal = -1
    while True:
        now_ns = time.monotonic_ns()
        here = is_here(address)
        if here and journal < 0:
            name = f"{directory}/{node}-{os.getpid()}-{now_ns}.log"
            journal = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            word = "start"
        else:
            word = "tick" if here else "stop"
        if journal >= 0:
            os.write(journal, f"{word} {now_ns} {node} {os.getpid()} 0\n".encode())
            if not here:
                os.close(journal)
                journal = -1
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main()
