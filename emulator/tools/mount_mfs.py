"""``mount.mfs``: what mount(8) calls for ``mount -t mfs ANY /mfs [-o dfsa=1..8]``, and for such a line of fstab.

Rules:

1. The daemon mounts MFS when it starts, at one place. So this is for who has unmounted it; else it fails, with EINVAL.
2. Of the options none changes anything: there is no DFSA.
"""

from __future__ import annotations

import os
import sys
from errno import EINVAL

from emulator import settings
from emulator.tools.hpcfile import complain, heed_signals, write_mfs

USAGE = "Usage: mount.mfs any directory [-o options]"


def main() -> int:
    """Run ``mount.mfs`` with the arguments of this process; the exit code."""
    heed_signals()
    if len(sys.argv) < 3:
        complain(USAGE)
        return 1
    source, directory = sys.argv[1:3]
    try:
        if os.path.realpath(directory) != os.path.realpath(settings.mfs_root()):
            raise OSError(EINVAL, os.strerror(EINVAL))
        write_mfs("mounted", b"1\n")
    except OSError as error:
        complain(f"mount: Mounting {source} on {directory} failed: {error.strerror}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
