"""What a process that was forked from the engine becomes, and may use."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping, Sequence
from typing import NoReturn

from mosha.clinit.process import reset_signals


def limit(limits: Mapping[str, tuple[int, int]]) -> None:
    """Bounds on resources, by their names without RLIMIT."""
    for name, (soft, hard) in limits.items():
        number = getattr(resource, f"RLIMIT_{name.upper()}")
        given = resource.getrlimit(number)[1]
        most = hard if given == resource.RLIM_INFINITY else min(hard, given)
        resource.setrlimit(number, (min(soft, most), most))


def execute(words: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Become that program; OSError."""
    reset_signals()                                          # what Python ignores, and what the session did
    os.execvpe(words[0], list(words), dict(environment))
