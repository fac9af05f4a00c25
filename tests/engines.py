"""What tests of engines of namespaces share."""

from __future__ import annotations

import os
from pathlib import Path


def processes_of(directory: str | Path) -> list[str]:
    """The processes that have that directory in their command: an engine's, and the first ones of its nodes."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.fsencode(directory) in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:                                      # it has ended
            pass
    return found
