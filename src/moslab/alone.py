"""One command at a time on this machine, for what two at once would spoil: to bring the container engine, to build."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from mosha.platform.locks import try_lock
from moslab.wait import eventually


@contextmanager
def alone(within_s: float, what: str) -> Iterator[None]:
    """Hold the machine's lock; LabError, which names ``what``, if another command keeps it for ``within_s`` seconds.

    It is an flock(2) of the directory for temporary files: everybody has that, and nothing is left of it.
    """
    fd = os.open(tempfile.gettempdir(), os.O_RDONLY)
    try:
        eventually(lambda: try_lock(fd), within_s=within_s, what=f"no other command is about to {what}")
        yield
    finally:
        os.close(fd)
