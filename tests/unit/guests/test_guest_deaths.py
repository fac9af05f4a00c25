"""One of the two nodes is gone, or is silent."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from emulator.guests.line import BEAT_S, MUTE_S
from emulator.mfs.pace import GENUINE
from tests.unit.guests.pair import LONG_S, Pair, children_of, is_there, state_of, wait_until
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


def ends_s(process: subprocess.Popen[bytes], guest: int, within_s: float) -> list[float]:
    """After how long the deputy was killed, and the other node's guest."""
    began_s, found_s = time.monotonic(), dict[str, float]()

    def both_have_ended() -> bool:
        for name, has_ended in (("deputy", process.poll() is not None), ("guest", not is_there(guest))):
            if has_ended:
                found_s.setdefault(name, time.monotonic() - began_s)
        return len(found_s) == 2

    loopback.wait_until(both_have_ended, within_s)
    assert process.returncode == -signal.SIGKILL
    return list(found_s.values())


@pytest.mark.parametrize("keepalive_s", [0.0, 10.0])
def test_a_node_that_was_silent_and_began_anew(tmp_path: Path, keepalive_s: float) -> None:
    """One node is that of a body, and a home. It is found by a keepalive, if there are any, and else at once."""
    may_mount()
    pair = Pair(tmp_path)
    try:
        pair.start(SILENCE_S="300", KEEPALIVE_S=str(keepalive_s))
        with pair.away("sleep", "60") as process, pair.turned().away("sleep", "61") as other:
            guest = pair.turned().body_of(other)
            for number, state in ((signal.SIGSTOP, "T"), (signal.SIGCONT, "S")):  # so beats have confirmed all before
                other.send_signal(number)
                wait_until(lambda state=state: state_of(guest) == state)  # type: ignore[misc]
            silent_s = time.monotonic()
            pair.host.signal(signal.SIGSTOP)
            wait_until(lambda: time.monotonic() > silent_s + 4 * MUTE_S)
            pair.host.signal(signal.SIGKILL)
            assert min(ends_s(process, guest, LONG_S)) > keepalive_s - 4 * MUTE_S - BEAT_S
    finally:
        pair.stop()


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
            pair.host.signal(signal.SIGSTOP)
            assert min(ends_s(process, guest, GENUINE.silence_s + LONG_S)) > GENUINE.silence_s - 1
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
