from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.guests.pair import Pair
from tests.unit.hpc.loopback import may_mount


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """What is started hears these, also where the tests themselves were started in the background, or by nohup."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two nodes for the tests of a module that leave them as they were; their addresses are those of ``pair`` too."""
    may_mount()
    pair = Pair(tmp_path_factory.mktemp("g"))
    try:
        pair.start(SILENCE_S="30")
        yield pair
    finally:
        pair.stop()


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Pair]:
    """Two nodes of the test's own, that wait long for one that is silent, and have room for two guests."""
    may_mount()
    own = Pair(tmp_path)
    try:
        own.start(SILENCE_S="30", MOST="2")
        yield own
    finally:
        own.stop()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two nodes of the test's own."""
    may_mount()
    own = Pair(tmp_path)
    try:
        own.start()
        yield own
    finally:
        own.stop()
