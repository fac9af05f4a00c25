"""A function in a process of its own, where :mod:`mosha.stomith.process` runs programs.

It has succeeded if it returns True. Nothing else will do: what a shell says when it has failed is true as well. What it
prints and logs, or the error that it raises, is what it says.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from subprocess import TimeoutExpired
from typing import Callable, NoReturn

from mosha.platform import linux

LOOK_EVERY_S = 0.005
SHOWN_CHARACTERS_MAX = 100


class Forked:
    """What is used of a ``subprocess.Popen``. ``prepare`` is called in the child, which leads a session of its own."""

    stdin = None

    def __init__(
        self, function: Callable[[], object], prepare: Callable[[], None], environment: Mapping[str, str],
    ) -> None:
        """Raises OSError."""
        ours, theirs = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            os.close(ours)
            os.close(theirs)
            raise
        if self.pid == 0:
            _live(theirs, function, prepare, environment)
        os.close(theirs)
        self.stdout = os.fdopen(ours, "rb", buffering=0)

    def wait(self, timeout: float) -> int:
        """The exit code, negative for a signal. Raises TimeoutExpired."""
        deadline_s = time.monotonic() + timeout
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() >= deadline_s:
                raise TimeoutExpired("a function", timeout)
            time.sleep(LOOK_EVERY_S)


def _live(
    output: int, function: Callable[[], object], prepare: Callable[[], None], environment: Mapping[str, str],
) -> NoReturn:
    """The child's life; nothing of its parent's buffers, descriptors and handlers is used."""
    code = 1
    try:
        os.setsid()
        prepare()
        os.environ.update(environment)
        os.chdir("/")
        for fd, to in ((os.open(os.devnull, os.O_RDWR), 0), (output, 1), (output, 2)):
            os.dup2(fd, to)
        linux.close_all_but(0, 1, 2)
        sys.stdout = sys.stderr = os.fdopen(1, "w", encoding="utf-8", errors="backslashreplace")
        logging.getLogger().handlers[:] = [logging.StreamHandler(sys.stdout)]
        found = function()
        if found is True:
            code = 0
        else:
            print(f"it returned {repr(found)[:SHOWN_CHARACTERS_MAX]}, not True")
    except BaseException as error:       # noqa: BLE001  (whatever it is, this process must not become another agent)
        print(f"{type(error).__name__}: {error}")
    finally:
        try:
            sys.stdout.flush()
        finally:
            os._exit(code)
