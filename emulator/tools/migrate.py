"""``migrate``: ask a process to go to another node, home, or where it is best off (migrate(1)).

Rules:

1. A process that is not there, and a request that leads to nothing, are silent, exit code 0.
2. What the kernel refuses is said on stderr, exit code 1; why no process that runs can be moved is said there too.
"""

from __future__ import annotations

import sys
from errno import EOPNOTSUPP

from emulator.tools import hpcfile
from emulator.tools.hpcfile import complain, is_number

USAGE = "Usage: migrate pid {openMosix_ID|home|balance}"
CANNOT = "the memory of a running process cannot be moved here; mosrun starts a command on another node"
PLACES = {"home": 0, "balance": -1}


def main() -> int:
    """Run ``migrate`` with the arguments of this process; the exit code."""
    hpcfile.heed_signals()
    words = sys.argv[1:]
    if len(words) != 2 or not is_number(words[0]) or not (words[1] in PLACES or is_number(words[1])):
        complain(USAGE)
        return 1
    pid, place = words
    try:
        hpcfile.write_process(pid, "goto", PLACES[place] if place in PLACES else int(place))
    except FileNotFoundError:
        return 0
    except OSError as error:
        reason = f": {CANNOT}" if error.errno == EOPNOTSUPP else ""
        complain(f"migrate: {error.strerror}{reason}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
