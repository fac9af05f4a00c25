"""One of the two nodes is gone, or is silent."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from emulator.mfs.pace import GENUINE
from tests.unit.guests.pair import LONG_S, Pair, children_of, is_there, wait_until
from tests.unit.hpc import loopback
from tests.unit.hpc.loopback import may_mount

LOST = "Process {}(sleep), uid=0, killed because it lost communication\nwith the remote node where it was running\n"


def test_a_process_dies_with_the_node_of_its_body(pair: Pair) -> None:
    with pair.away("sleep", "60") as process:
        body = pair.body_of(process)
        pair.host.signal(signal.SIGKILL)
        assert process.wait(LONG_S) == -signal.SIGKILL
        wait_until(lambda: not is_there(body))
    assert LOST.format(process.pid) in pair.home.log.read_text()


def test_and_when_that_node_is_silent(pair: Pair) -> None:
    with pair.away("sleep", "60") as process:
        pair.host.signal(signal.SIGSTOP)
        assert process.wait(LONG_S) == -signal.SIGKILL
        assert LOST.format(process.pid) in pair.home.log.read_text()
        pair.host.signal(signal.SIGCONT)
        pair.no_guests()


def test_a_body_dies_with_its_home(pair: Pair) -> None:
    with pair.away("sh", "-c", "sleep 60 & sleep 61") as process:
        body = pair.body_of(process)
        wait_until(lambda: children_of(body))
        family = [body, *children_of(body)]
        pair.home.signal(signal.SIGKILL)
        assert process.wait(LONG_S) == -signal.SIGKILL, "its openMosix is gone"
        wait_until(lambda: not any(is_there(pid) for pid in family))
    pair.no_guests()
    assert "lost" not in pair.host.log.read_text()


def test_and_when_its_home_is_silent(pair: Pair) -> None:
    with pair.away("sleep", "60") as process:
        body = pair.body_of(process)
        pair.home.signal(signal.SIGSTOP)
        wait_until(lambda: not is_there(body))
        pair.no_guests()
        pair.home.signal(signal.SIGCONT)
        assert process.wait(LONG_S) == -signal.SIGKILL


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_genuine_silence_in_full(tmp_path: Path) -> None:
    """Of the node of a body, and of a home: one node is both, and falls silent."""
    may_mount()
    pair = Pair(tmp_path)
    try:
        pair.start(SILENCE_S=str(GENUINE.silence_s))
        with pair.away("sleep", "900") as process, pair.turned().away("sleep", "901") as other:
            guest = pair.turned().body_of(other)
            began_s = time.monotonic()
            pair.host.signal(signal.SIGSTOP)
            ended_s: dict[str, float] = {}

            def both_have_ended() -> bool:
                for name, has_ended in (("away", process.poll() is not None), ("guest", not is_there(guest))):
                    if has_ended:
                        ended_s.setdefault(name, time.monotonic() - began_s)
                return len(ended_s) == 2

            loopback.wait_until(both_have_ended, GENUINE.silence_s + LONG_S)
            assert GENUINE.silence_s - 1 < min(ended_s.values()), ended_s
            assert process.returncode == -signal.SIGKILL
    finally:
        pair.stop()


def test_a_short_silence_harms_nobody(pair: Pair) -> None:
    with pair.away("sh", "-c", "read word; echo $word; exit 6", stdin=-1, stdout=-1) as process:
        assert process.stdin is not None
        pair.host.signal(signal.SIGSTOP)
        process.stdin.write(b"late\n")
        process.stdin.flush()
        pair.host.signal(signal.SIGCONT)
        out, _ = process.communicate(timeout=LONG_S)
        assert (process.returncode, out) == (6, b"late\n")
