"""A process without a place: it goes where it is best off, unless it or its node is to stay."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.unit.guests.pair import Pair, wait_until

FAST, SLOW = b"60000\n", b"1\n"


@pytest.fixture
def uneven(shared: Pair) -> Iterator[Pair]:
    """The host is by far the better place, whatever else this machine does."""
    shared.home.write("admin/speed", SLOW)
    shared.host.write("admin/speed", FAST)
    try:
        yield shared
    finally:
        for node in shared.nodes:
            node.write("admin/speed", b"15000\n")


def place(pair: Pair, *words: str) -> str:
    """Whether the host says that such a command is its guest: 2; else it is 0."""
    code, out, err = pair.home.tool("mosrun", *words, "cat", str(pair.host.proc / "self/where"))
    assert (code, err) == (0, "")
    return out.strip()


def comes_to_go(pair: Pair, *words: str) -> bool:
    wait_until(lambda: place(pair, *words) == "2")  # a busy host may miss a probe
    return True


@pytest.mark.parametrize("words", [["-l"], ["-c"], ["-i"], ["-n"], ["-k"]])
def test_one_that_is_not_locked_goes(uneven: Pair, words: list[str]) -> None:
    assert comes_to_go(uneven, *words)


@pytest.mark.parametrize("words", [[], ["-L"], ["-h"], ["-L", "-c"], ["-h", "-l"], ["-1", "-l"]])
def test_one_that_is_locked_or_has_a_place_stays(uneven: Pair, words: list[str]) -> None:
    assert {place(uneven, *words) for _ in range(2)} == {"0"}


@pytest.mark.parametrize(("own", "word"), [(True, "lstay"), (True, "stay"), (True, "quiet"), (False, "block")])
def test_it_stays_where_a_node_was_told_so(uneven: Pair, own: bool, word: str) -> None:
    told = uneven.home if own else uneven.host
    assert told.tool("mosctl", word)[0] == 0
    try:
        assert {place(uneven, "-l") for _ in range(2)} == {"0"}
    finally:
        assert told.tool("mosctl", f"no{word}")[0] == 0
    assert comes_to_go(uneven, "-l")


def test_what_the_other_node_does_not_have_is_run_at_home(uneven: Pair) -> None:
    """Here there is one file system, so it is a command that nobody has."""
    said = "no-such-command: No such file or directory\n"
    assert uneven.home.tool("mosrun", "-l", "no-such-command") == (1, "", said)


def test_the_load_that_is_shown_is_what_runs(uneven: Pair) -> None:
    """Of the host's machine, which is this one."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            wait_until(lambda: int(uneven.home.read("nodes/2/load")) >= 100)
        finally:
            busy.kill()
