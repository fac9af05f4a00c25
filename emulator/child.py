"""What a process that was forked, and goes on in Python, does before anything else."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence

from emulator import power


def quiet(keep: Iterable[int]) -> None:
    """Have nothing of the parent's in this process: no signals, no descriptors but these and 0 to 2.

    What goes on in Python ignores what Python does, as SIGPIPE.
    """
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, power.SIGNAL):
        signal.signal(number, signal.SIG_DFL)
    kept = {0, 1, 2, *keep}
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd not in kept:
            try:
                os.close(fd)
            except OSError:                                  # the one of that list
                pass


def detach(stdin: int, stdout: int, stderr: int, keep: Sequence[int] = ()) -> None:
    """Have these, and those that are to be kept, in a session of its own, and nothing of the parent's."""
    os.setsid()
    for there, given in enumerate((stdin, stdout, stderr)):
        os.dup2(given, there)
    quiet(keep)
