"""What a process that was forked from the engine does before anything else."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from emulator import power
from mosha.clinit.process import reset_signals


def limit(limits: Mapping[str, tuple[int, int]]) -> None:
    """Bounds on resources, by their names without RLIMIT."""
    for name, (soft, hard) in limits.items():
        number = getattr(resource, f"RLIMIT_{name.upper()}")
        given = resource.getrlimit(number)[1]
        most = hard if given == resource.RLIM_INFINITY else min(hard, given)
        resource.setrlimit(number, (min(soft, most), most))


def quiet(keep: Iterable[int]) -> None:
    """Have nothing of the engine's in this process, a child of it: no signals, no descriptors but these and 0 to 2.

    What goes on in Python ignores what Python does, as SIGPIPE; :func:`execute` has it as usual.
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


def execute(words: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Become that program; OSError."""
    reset_signals()                                          # what Python ignores, and what the session did
    os.execvpe(words[0], list(words), dict(environment))


def detach(stdin: int, stdout: int, stderr: int, keep: Sequence[int] = ()) -> None:
    """Have these, and those that are to be kept, in a session of its own, and nothing of the engine's."""
    os.setsid()
    for there, given in enumerate((stdin, stdout, stderr)):
        os.dup2(given, there)
    quiet(keep)
