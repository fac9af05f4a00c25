"""What PyPy is to be told for runs of this kind; nothing of it changes what a run does.

Rules:

1. Its counters of how often code runs shrink with time (``decay``). A run goes around one large loop of the agent's
   whole code, so most of that would take very long to be found worth compiling: here the counters only grow, and
   less than half of what is usual is enough (measured for the first 2,500 virtual seconds of eight nodes: 0.84, 1.02
   and 0.81 of the time; a seventh of the usual was no better than that).
2. Its nursery, 4 MiB or less, is too small for the short-lived values of several nodes. Its size can be given only when
   the process begins, so the process begins anew, once.
"""

from __future__ import annotations

import os
import sys

NURSERY = "PYPY_GC_NURSERY"
NURSERY_SIZE = "16M"
JIT = "decay=0,threshold=400,function_threshold=600,trace_eagerness=80"


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
