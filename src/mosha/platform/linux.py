"""What only the Linux kernel gives, each with a way to do without: a real openMosix node has a kernel of 2004.

ctypes is a refinement that may be absent (a statically linked interpreter); what needs it then says False.
"""

from __future__ import annotations

import os
import time
from typing import Any

_prctl: Any = None
_umount2: Any = None
try:
    import ctypes

    _libc = ctypes.CDLL(None, use_errno=True)
    _prctl, _umount2 = _libc.prctl, _libc.umount2
except (ImportError, OSError, AttributeError, TypeError, NotImplementedError):
    pass

FDS_MAX = 1024                   # what Linux allows a process by itself (RLIMIT_NOFILE)
PR_SET_PDEATHSIG = 1             # prctl(2)
PR_SET_CHILD_SUBREAPER = 36
NICE_MIN = -20
LOOKS_AT_CLOCKS = 3
ONE_INSTANT_S = 0.0002
MNT_FORCE, MNT_DETACH, UMOUNT_NOFOLLOW = 1, 2, 8     # umount(2)


def _find_clock(name: str, otherwise: int) -> int:
    clock_id = getattr(time, name, otherwise)
    try:
        time.clock_gettime(clock_id)
    except OSError:
        return otherwise
    return int(clock_id)


_CLOCK = _find_clock("CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)     # counts while the machine sleeps; Linux 2.6.39
_RAW = _find_clock("CLOCK_MONOTONIC_RAW", _CLOCK)


def boottime() -> float:
    """Seconds since the boot, on the one clock of all deadlines that are handed from process to process."""
    return time.clock_gettime(_CLOCK)


def steady() -> float:
    """Seconds of CLOCK_MONOTONIC_RAW (Linux 2.6.28), else of the clock of :func:`boottime`."""
    return time.clock_gettime(_RAW)


def skew() -> float | None:
    """How far the steady clock is ahead of the other; None if no look at both was quick enough."""
    for _ in range(LOOKS_AT_CLOCKS):
        before, ahead, after = boottime(), steady(), boottime()
        if after - before <= ONE_INSTANT_S:
            return ahead - after
    return None


def close_all_but(*kept: int) -> None:
    """Close all descriptors but these. What forks and executes nothing holds its parent's locks and sockets else."""
    lowest = 0
    for fd in sorted(kept):
        if lowest < fd:                  # CPython 3.11 takes closerange(0, 0) for all of them
            os.closerange(lowest, fd)
        lowest = fd + 1
    os.closerange(lowest, FDS_MAX)


def hurry() -> int:
    """Have the caller scheduled before all that is ordinary, where it may be (setpriority(2): CAP_SYS_NICE); the nice
    value that it had."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE_MIN)
    except OSError:
        pass
    return before


def set_subreaper() -> bool:
    """Become the parent of descendants whose own parent dies; whether the kernel can do that (Linux 3.4)."""
    return _set(PR_SET_CHILD_SUBREAPER, 1)


def set_pdeathsig(signo: int) -> bool:
    """Get ``signo`` when the parent dies; whether that is possible. A parent dead before is not noticed: look after."""
    return _set(PR_SET_PDEATHSIG, signo)


def unmount(directory: str, flags: int) -> bool | None:
    """umount2(2), which may block for as long as it likes; whether it was done, None if it cannot be called."""
    return None if _umount2 is None else bool(_umount2(os.fsencode(directory), flags | UMOUNT_NOFOLLOW) == 0)


def _set(option: int, value: int) -> bool:
    return _prctl is not None and bool(_prctl(option, value, 0, 0, 0) == 0)
