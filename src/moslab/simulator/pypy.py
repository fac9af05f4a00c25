"""What PyPy is to be told for runs of this kind; nothing of it changes what a run does.

Rules:

1. Its counters of how often code runs shrink with time (``decay``). A run goes around one large loop of the agent's
   whole code, so most of that would take very long to be found worth compiling: here the counters only grow, and
   less than half of what is usual is enough (measured for the first 2,500 virtual seconds of eight nodes: 0.84, 1.02
   and 0.81 of the time; a seventh of the usual was no better than that).
2. What it has compiled and not run for a while it forgets (``loop_longevity``), and compiles again: 176 of 770 loops in
   2,000 virtual seconds. Here that takes a hundred times as long (6 of 691; 0.74, 0.67, 0.78 and 0.93 of the time of
   the first 2,500).
3. Its nursery, 4 MiB or less, is too small for the short-lived values of several nodes. Its size can be given only when
   the process begins, so the process begins anew, once.
4. It reads a field of a named tuple through ``operator.itemgetter``, which it has in Python: its compiler saw no other
   function as often (9,100 of the 149,000 instructions that it followed in 1,000 virtual seconds), and it does not
   compile what is too long. A function for each place needs four instructions (0.94 of the time, twice).
"""

from __future__ import annotations

import os
import sys

NURSERY = "PYPY_GC_NURSERY"
NURSERY_SIZE = "16M"
JIT = "decay=0,threshold=400,function_threshold=600,trace_eagerness=80,loop_longevity=100000"


def tune() -> None:
    """Rules 1, 2 and 4, for the modules that were loaded."""
    if sys.implementation.name == "pypy":
        import pypyjit  # type: ignore[import-not-found,unused-ignore]

        pypyjit.set_param(JIT)
        for kind in tuple.__subclasses__():
            shorten_fields(kind)


def shorten_fields(kind: type) -> None:
    """Rule 4, for one kind of tuples; one without named fields stays as it is."""
    for place, name in enumerate(getattr(kind, "_fields", ())):
        if isinstance(vars(kind).get(name), property):
            setattr(kind, name, _field(place))


def _field(place: int) -> property:
    return property(lambda values: values[place])


def begin_anew(module: str) -> None:
    """Rule 3; ``module`` is what runs as the main one."""
    if sys.implementation.name == "pypy" and NURSERY not in os.environ:
        os.environ[NURSERY] = NURSERY_SIZE
        os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])
