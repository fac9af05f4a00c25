"""expel, bring and switching off last until those have ended that would have to move."""

from __future__ import annotations

import errno
import os
import signal

from tests.unit.guests.pair import LONG_S, Pair, tool, wait_until
from tests.unit.hpc.loopback import refused

WAITS = "openMosix: waiting until 1 processes have ended, as they cannot be moved"


def test_expel_lasts_until_the_guests_have_ended(shared: Pair) -> None:
    host = shared.host
    with shared.away("sleep", "60") as process:
        with tool(host, "mosctl", "expel") as expel:
            wait_until(lambda: WAITS in host.log.read_text())
            assert host.tool("mosctl", "status") == (0, "up,block.\n", "")
            assert refused(lambda: host.write("admin/expel", b"1\n")) == errno.EBUSY
            assert (shared.where(process), expel.poll()) == (2, None)
            process.terminate()
            out, err = expel.communicate(timeout=LONG_S)
        assert (expel.returncode, err) == (0, "")
        assert out == "All remote processes were expelled and no further remote processes accepted.\n"
    assert "All guest processes evacuated" in host.log.read_text()
    host.write("admin/block", b"0\n")


def test_bring_lasts_until_nobody_is_away(shared: Pair) -> None:
    home = shared.home
    with shared.away("sleep", "60") as process:
        with tool(home, "mosctl", "bring") as bring:
            wait_until(lambda: WAITS in home.log.read_text())
            assert home.tool("mosctl", "status") == (0, "up,lstay.\n", "")
            assert bring.poll() is None
            process.terminate()
            out, _ = bring.communicate(timeout=LONG_S)
        assert out == "All local processes were brought back and will stay here.\n"
    home.write("admin/lstay", b"0\n")


def test_who_waits_may_give_up(shared: Pair) -> None:
    with shared.away("sleep", "60") as process:
        with tool(shared.host, "mosctl", "expel") as expel:
            wait_until(lambda: refused(lambda: shared.host.write("admin/expel", b"x")) == errno.EBUSY)
            expel.send_signal(signal.SIGINT)
            expel.communicate(timeout=LONG_S)
        assert expel.returncode != 0
        assert refused(lambda: shared.host.write("admin/expel", b"x")) == errno.EINVAL, "nobody waits"
        assert shared.where(process) == 2
    shared.host.write("admin/block", b"0\n")


def test_who_gives_up_switching_off_stays_on(shared: Pair) -> None:
    with shared.away("sleep", "60") as process:
        with tool(shared.host, "setpe", "-off") as off:
            wait_until(lambda: os.listdir(shared.host.path("nodes")) == [])
            off.send_signal(signal.SIGINT)
            off.communicate(timeout=LONG_S)
        assert os.listdir(shared.host.path("nodes")) == ["1", "2", "3"]
        assert shared.home.comes_to_read("nodes/2/status", "3\n")
        assert shared.where(process) == 2
    assert shared.mosrun("-2", "echo", "as before") == (0, "as before\n", "")
