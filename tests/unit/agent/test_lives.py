"""What is left of an earlier life ends, by whatever path its run directory is reached."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mosha.lives import FREED_S, AlreadyRuns, Life
from mosha.platform import procscan

LEFT = """
import os, signal, sys
from mosha.lives import Life
life = Life(sys.argv[1])
assert life.end_earlier(5)
if os.fork() == 0:
    os.close(life.agent_fd)
    print("there", os.getpid(), flush=True)
    os.closerange(0, 3)                              # who reads what this says waits no longer
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(0)
os.waitpid(-1, os.WUNTRACED)
"""


@pytest.mark.parametrize("rundir", ["run/mosha", "{}/run/mosha", "{}/var/mosha"])
def test_a_stopped_leash_of_the_life_before_is_killed(
    rundir: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "var").symlink_to("run")
    monkeypatch.chdir(tmp_path)
    path = rundir.format(tmp_path)
    command = [sys.executable, "-c", LEFT, path]
    agent = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    leash = int(agent.stdout.split()[1])
    life = Life(path)
    try:
        assert life.end_earlier(20)
        assert leash not in procscan.living(procscan.processes().values())
    finally:
        life.close()
        procscan.kill(leash, signal.SIGKILL)


KILLED = """
import os, signal, sys, time
from mosha.lives import Life
life = Life(sys.argv[1])
if os.fork() == 0:                                   # it has yet to close what it does not need
    print("there", flush=True)
    time.sleep(float(sys.argv[2]))
    os._exit(0)
os.wait() if sys.argv[3] == "lives" else signal.pause()
"""


def test_what_a_killed_agent_has_just_forked_is_no_agent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(FREED_S / 4), "is killed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "there\n"
        agent.kill()
        agent.wait()
        Life(str(tmp_path)).close()


def test_another_agent_is_one_however_long_one_waits(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(3 * FREED_S), "lives"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "there\n"
        began = time.monotonic()
        with pytest.raises(AlreadyRuns):
            Life(str(tmp_path))
        assert FREED_S <= time.monotonic() - began < 2 * FREED_S
        agent.kill()


def test_a_mark_is_known_by_whatever_path(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "var").symlink_to("run")
    mark = {"MOSHA_GROUP": "lives-kv", "MOSHA_RUN": str(tmp_path / "var")}
    with subprocess.Popen(["sleep", "60"], env={**os.environ, **mark}) as process:
        assert procscan.marked("lives-kv", str(tmp_path / "run")) == [process.pid]
        assert procscan.marked("lives-kv", str(tmp_path)) == []
        process.kill()
