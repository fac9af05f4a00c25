"""What holds for every unit test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

PR_GET_CHILD_SUBREAPER = 37


@pytest.fixture(autouse=True)
def _stays_what_it_was() -> Iterator[None]:
    """The process of the tests adopts nobody's children: a test that made it a subreaper would fail another one."""
    yield
    try:
        import ctypes
    except ImportError:                  # on the floor of a real node: nor can anything there become one
        return
    adopts = ctypes.c_int()
    ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(adopts), 0, 0, 0)
    assert not adopts.value, "this test has made its own process a child subreaper"
