"""What PyPy is to be told for runs of this kind; nothing of it changes what a run does.

Rules:

1. Its counters of how often code runs shrink with time (``decay``). A run goes around one large loop of the agent's
   whole code, so most of that would take very long to be found worth compiling: here the counters only grow.
2. Its nursery, 4 MiB or less, is too small for the short-lived values of several nodes. Its size can be given only when
   the process begins, so the process begins anew, once.
"""

from __future__ import annotations

import os
import sys

NURSERY = "PYPY_GC_NURSERY"
NURSERY_SIZE = "16M"
JIT = "decay=0"


def tune() -> None:
    """Rule 1."""
    if sys.implementation.name == "pypy":
        import pypyjit  # type: ignore[import-not-found,unused-ignore]

        pypyjit.set_param(JIT)


def begin_anew(module: str) -> None:
    """Rule 2; ``module`` is what runs as the main one."""
    if sys.implementation.name == "pypy" and NURSERY not in os.environ:
        os.environ[NURSERY] = NURSERY_SIZE
        os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])
