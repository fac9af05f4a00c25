"""What the machine's own ``/proc`` tells of a process."""

from __future__ import annotations

import os
import signal
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
    fields = fields_of(pid)
    return None if fields is None else Stat(*(int(fields[number - 3]) for number in (4, 9, 20, 22, 41)))


def fields_of(pid: int) -> list[str] | None:
    """The fields of ``/proc/<pid>/stat`` from the third on, the state; None if there is no such process."""
    data = _read(f"/proc/{pid}/stat")
    return None if data is None else data[data.rindex(b")") + 2 :].decode().split()


def statm_of(pid: int) -> bytes | None:
    """``/proc/<pid>/statm``; None if there is no such process."""
    return _read(f"/proc/{pid}/statm")


def process_of(thread: int) -> int | None:
    """The process of a thread: FUSE names the thread that asks; None if it is not one of this node's."""
    status = _read(f"/proc/{thread}/status")
    return None if status is None else int(_field(status, b"Tgid"))


def locked_kib(pid: int) -> int:
    """How much of its memory the process has locked; 0 if it is gone, or has none of its own."""
    return int(_field(_read(f"/proc/{pid}/status") or b"", b"VmLck") or 0)


def is_stopped(pid: int) -> bool:
    """Whether it is stopped, or about to be: SIGSTOP waits for it."""
    status = _read(f"/proc/{pid}/status") or b""
    return _field(status, b"State") in (b"T", b"t") or _stop_waits(status)


def is_told_to_stop(pid: int) -> bool:
    """Whether SIGSTOP waits for it: it does nothing more, even if what it waits for in the kernel keeps it."""
    return _stop_waits(_read(f"/proc/{pid}/status") or b"")


def _stop_waits(status: bytes) -> bool:
    waiting = int(_field(status, b"SigPnd") or b"0", 16) | int(_field(status, b"ShdPnd") or b"0", 16)
    return bool(waiting >> (signal.SIGSTOP - 1) & 1)


def groups_of(pid: int) -> list[int]:
    """Its supplementary groups."""
    return [int(group) for group in _line(_read(f"/proc/{pid}/status") or b"", b"Groups").split()]


def limits_of(pid: int) -> list[tuple[int, int]]:
    """Its limits, by the numbers that setrlimit(2) has for them: soft and hard, -1 where there is none."""
    lines = (_read(f"/proc/{pid}/limits") or b"").splitlines()[1:]
    return [(_limit(line[26:46]), _limit(line[47:67])) for line in lines]


def _limit(words: bytes) -> int:
    word = words.strip()
    return -1 if word == b"unlimited" else int(word)


def running() -> int:
    """How many processes run, or wait for a processor or a disk, without this one."""
    own = os.getpid()
    states = (fields_of(pid) for pid in live() if pid != own)
    return sum(fields is not None and fields[0] in ("R", "D") for fields in states)


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
    return _line(status, name).partition(b" ")[0]


def _line(status: bytes, name: bytes) -> bytes:
    return status.partition(b"\n" + name + b":")[2].lstrip(b"\t ").partition(b"\n")[0]
