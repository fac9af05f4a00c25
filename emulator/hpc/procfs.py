"""What the machine's own ``/proc`` tells of a process."""

from __future__ import annotations

import os
from typing import NamedTuple

KERNEL_THREAD = 0x00200000  # PF_KTHREAD


class Stat(NamedTuple):
    """Of ``/proc/<pid>/stat``: the start is in clock ticks since boot."""

    parent: int
    flags: int
    threads: int
    start: int
    policy: int


def stat_of(pid: int) -> Stat | None:
    """None if there is no such process."""
    data = _read(f"/proc/{pid}/stat")
    if data is None:
        return None
    words = data[data.rindex(b")") + 2 :].split()
    return Stat(*(int(words[index]) for index in (1, 6, 17, 19, 38)))


def process_of(thread: int) -> int | None:
    """The process of a thread: FUSE names the thread that asks; None if it is not one of this node's."""
    status = _read(f"/proc/{thread}/status")
    return None if status is None else int(_field(status, b"Tgid"))


def locked_kib(pid: int) -> int:
    """How much of its memory the process has locked; 0 if it is gone, or has none of its own."""
    return int(_field(_read(f"/proc/{pid}/status") or b"", b"VmLck") or 0)


def live() -> list[int]:
    """The processes that there are."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(4096)
    except OSError:
        return None


def _field(status: bytes, name: bytes) -> bytes:
    """The first word after ``name:``; empty if there is no such line."""
    return status.partition(b"\n" + name + b":")[2].lstrip(b"\t ").partition(b"\n")[0].partition(b" ")[0]
