"""init as PID 1 of a PID namespace, with a /run and a boot_id of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from tests.unit.hpc.loopback import may_mount

ROOT = Path(__file__).parents[3]
WITHIN_S = 20.0

# the shell replaces itself by init, which so is PID 1 of the namespace
BOOT = "mount -t tmpfs none /run && exec \"$0\" -c \"$1\""
MAIN = "import sys; from emulator import init; init.STOP_S = {stop_s}; sys.exit(init.main())"


class Booted:
    """A running init, and what it has printed so far."""

    def __init__(self, inittab: Path, stop_s: float) -> None:
        self.process = subprocess.Popen(
            ["unshare", "--pid", "--mount", "--net", "--fork", "--mount-proc", "--kill-child",
             "sh", "-c", BOOT, sys.executable, MAIN.format(stop_s=stop_s)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OPENMOSIX_INITTAB": str(inittab),
                 "OPENMOSIX_MAP": str(inittab.with_name("map"))},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def wait_for(self, pattern: str, count: int = 1) -> re.Match[str]:
        """The ``count``-th line that matches."""
        deadline_s = time.monotonic() + WITHIN_S
        with self._changed:
            while True:
                found = [match for line in self.lines if (match := re.search(pattern, line))]
                if len(found) >= count:
                    return found[count - 1]
                left_s = deadline_s - time.monotonic()
                assert left_s > 0, f"no {pattern!r} in {self.lines}"
                self._changed.wait(left_s)

    def signal(self, number: int) -> None:
        """Signal init itself, by its pid outside the namespace."""
        pid = self.process.pid
        [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(child), number)

    def end(self) -> int:
        """TERM; the exit code."""
        self.signal(signal.SIGTERM)
        code = self.process.wait(WITHIN_S)
        self._reader.join(WITHIN_S)
        return code

    def close(self) -> None:
        self.process.kill()  # --kill-child: all in the namespace dies with it
        self.process.wait()
        self._reader.join(WITHIN_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


Boot = Callable[..., Booted]


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Boot]:
    may_mount()
    started: list[Booted] = []

    def start(inittab: str, stop_s: float = 8.0) -> Booted:
        path = tmp_path / "inittab"
        path.write_text(inittab)
        started.append(Booted(path, stop_s))
        return started[-1]

    yield start
    for booted in started:
        booted.close()


def order(booted: Booted, *texts: str) -> bool:
    """Whether these were printed, in this order."""
    lines = iter(booted.lines)
    return all(any(text in line for line in lines) for text in texts)


def test_entries_start_in_order_and_wait_is_waited_for(boot: Boot) -> None:
    booted = boot(
        "b:2:wait:sh -c 'sleep 0.1; echo second'\n"
        "c:2:once:sh -c 'echo third; printf fourth'\n"
        "d:3:once:echo other level\n"
        "e:2:off:echo never\n"
        "a::sysinit:echo first\n"
    )
    booted.wait_for("fourth")
    assert booted.end() == 0
    assert order(booted, "first", "second", "third", "fourth")
    assert re.search(r"^sh\[\d+\]: second$", "\n".join(booted.lines), re.M)
    assert not any("never" in line or "other level" in line for line in booted.lines)


def test_each_boot_has_a_fresh_identity(boot: Boot) -> None:
    machine = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    ids = set()
    for _ in range(2):
        booted = boot("a:2:once:sh -c 'echo id $(cat /proc/sys/kernel/random/boot_id /run/boot_id)'\n")
        match = booted.wait_for(r"id (\S{36}) (\S{36})$")
        assert match[1] == match[2]
        ids.add(match[1])
        assert booted.end() == 0
    assert len(ids | {machine}) == 3
    assert Path("/proc/sys/kernel/random/boot_id").read_text().strip() == machine


def test_an_entry_has_a_session_of_its_own(boot: Boot) -> None:
    booted = boot("a:2:once:sh -c 'echo $$ $(cut -d\" \" -f 5,6 /proc/$$/stat)'\n")
    match = booted.wait_for(r"(\d+) (\d+) (\d+)$")
    assert match[1] == match[2] == match[3]


def test_respawn_starts_again_and_says_why(boot: Boot) -> None:
    booted = boot("r:2:respawn:sh -c 'echo up $$; sleep 0.02; kill -9 $$'\n")
    booted.wait_for("up", 3)
    booted.wait_for(r"^init\[1\]: r: sh\[\d+\] ended, signal 9$")
    assert booted.end() == 0


def test_a_respawn_that_never_stays_up_is_paused(boot: Boot) -> None:
    booted = boot("r:2:respawn:sh -c 'echo up; exit 1'\n")
    booted.wait_for(r"^init\[1\]: r: started 10 times in 20 s: not again for 10 s$")
    assert booted.end() == 0
    assert sum("up" in line for line in booted.lines) == 10


def test_a_failed_once_is_told_and_not_repeated(boot: Boot) -> None:
    booted = boot("a:2:once:sh -c 'exit 3'\nb:2:once:no-such-program\nc:2:once:true\nd:2:wait:true\n")
    booted.wait_for(r"a: sh\[\d+\] ended, exit code 3")
    booted.wait_for(r"no-such-program\[\d+\]: .*not found")
    booted.wait_for(r"b: no-such-program\[\d+\] ended, exit code 127")
    assert booted.end() == 0
    # the end may come while `true` still runs: then it is told how that ended, by a signal
    assert not any(line.startswith("init[1]: c:") and "signal 15" not in line for line in booted.lines)


def test_zombies_of_others_are_reaped(boot: Boot) -> None:
    booted = boot(
        "a:2:wait:sh -c '(sleep 0.05; exit 7) & exit 0'\n"
        "b:2:once:sh -c 'until ! grep -qs \"^State:.Z\" /proc/[0-9]*/status && ! pidof sleep >/dev/null;"
        " do sleep 0.02; done; echo clean'\n"
    )
    booted.wait_for("clean")
    assert booted.end() == 0


SERVICE = """
trap 'echo term $1; sleep 0.1; printf "last $1"; exit 0' TERM
echo up $1
while :; do sleep 0.02; done
"""


def test_the_end_goes_in_reverse_order_and_loses_no_line(boot: Boot, tmp_path: Path) -> None:
    (tmp_path / "service").write_text(SERVICE)
    booted = boot("".join(f"{name}:2:respawn:sh {tmp_path}/service {name}\n" for name in "abc"))
    for name in "abc":
        booted.wait_for(f"up {name}")
    assert booted.end() == 0
    assert order(booted, "term c", "last c", "term b", "last b", "term a", "last a")


def test_without_power_all_ends_at_once(boot: Boot) -> None:
    booted = boot("a:2:respawn:sh -c 'trap \"echo heard\" TERM; echo up; while :; do sleep 0.05; done'\n")
    booted.wait_for("up")
    booted.signal(signal.SIGPWR)
    assert booted.process.wait(WITHIN_S) == 128 + signal.SIGKILL
    assert "heard" not in "\n".join(booted.lines)


def test_what_does_not_end_is_killed(boot: Boot) -> None:
    booted = boot("a:2:respawn:sh -c 'trap \"\" TERM; echo up; while :; do sleep 0.05; done'\n", stop_s=0.5)
    booted.wait_for("up")
    start_s = time.monotonic()
    assert booted.end() == 0
    assert 0.5 < time.monotonic() - start_s < 5
    booted.wait_for(r"not all has ended within 0.5 s: killing what is left")


def test_what_an_entry_left_behind_is_ended_too(boot: Boot) -> None:
    booted = boot("a:2:wait:sh -c 'setsid sh -c \"trap \\\"echo orphan ends; exit\\\" TERM; echo up; "
                  "while :; do sleep 0.02; done\" &'\n")  # fmt: skip
    booted.wait_for("up")
    assert booted.end() == 0
    booted.wait_for("orphan ends")


def test_openmosix_is_a_copy_of_init_and_hears_nothing_of_it(boot: Boot) -> None:
    """Nothing of that name is to be executed here; nor is there a key."""
    booted = boot("om:2:respawn:openmosixd\n")
    pids = {booted.wait_for(r"^openmosixd\[(\d+)\]: openmosixd: .*No such file", count)[1] for count in (1, 2)}
    assert len(pids) == 2
    booted.wait_for(r"om: openmosixd\[\d+\] ended, exit code 1$")
    assert booted.end() == 0


def test_a_bad_inittab_is_named_and_nothing_is_started(boot: Boot) -> None:
    booted = boot("a:2:once:echo up\nb:2:always:echo up\n")
    assert booted.process.wait(WITHIN_S) == 1
    booted.wait_for(r"^init\[1\]: /.*/inittab:2: unknown action 'always'")
    assert not any(line.endswith("up") for line in booted.lines)


def test_a_bad_map_is_named(boot: Boot, tmp_path: Path) -> None:
    (tmp_path / "map").write_text("1 10.0.0.1\n")
    booted = boot("a:2:once:echo up\n")
    assert booted.process.wait(WITHIN_S) == 1
    booted.wait_for(r"map:1: expected FIRST-ID ADDRESS COUNT")


def test_it_refuses_to_be_another_process() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "emulator.init"], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (1, "init: must be PID 1 of a node\n")
