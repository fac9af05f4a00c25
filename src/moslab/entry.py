"""The entry of the command: from the first moment a Ctrl-C is no traceback, also while modules are being loaded."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> int:
    """Load and run :func:`moslab.cli.main`; its exit code."""
    try:
        from moslab import cli
    except KeyboardInterrupt:
        print("moslab: interrupted", file=sys.stderr)
        return INTERRUPTED
    return cli.main()
