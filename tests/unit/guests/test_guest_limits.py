"""The limits of a body, where this node's daemon has less than the caller: none that it may not give, and none lost."""

from __future__ import annotations

import os
import resource

import pytest

from emulator.guests import warden
from tests.unit.guests.test_guest_frames import CALLER

INFINITE = resource.RLIM_INFINITY
NOBODY = 65534
HERE = (50, 100)


@pytest.mark.parametrize(
    ("asked", "given"),
    [((60, 90), (60, 90)), ((60, 200), (60, 100)), ((150, 200), (100, 100)), ((INFINITE, INFINITE), (100, 100))],
)
def test_a_limit_beyond_that_of_the_daemon_is_the_daemons(asked: tuple[int, int], given: tuple[int, int]) -> None:
    limits = [resource.getrlimit(number) for number in range(resource.RLIMIT_NOFILE)]
    child = os.fork()
    if not child:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, HERE)
            if not os.getuid():
                os.setresuid(NOBODY, NOBODY, NOBODY)         # root may raise what it likes
            warden._limit(CALLER._replace(limits=[*limits, asked]))
            code = 0 if resource.getrlimit(resource.RLIMIT_NOFILE) == given else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
