"""An agent that somebody moved to another node goes home."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mosha.platform import home
from mosha.platform.home import LOOK_EVERY_S, Home

LIMIT_S = 60.0
AGENT = "import sys; from mosha.platform import home; home.OWN = sys.argv.pop(1); from mosha.cli import main; main()"


def moved(directory: Path) -> Path:
    """As /proc/self of a process that is on node 3."""
    own = directory / "proc/self"
    own.mkdir(parents=True)
    for name, content in (("where", "3\n"), ("goto", ""), ("lock", "0\n")):
        (own / name).write_text(content)
    return own


def test_who_was_moved_goes_home_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = moved(tmp_path)
    monkeypatch.setattr(home, "OWN", str(own))
    one = Home(str(own / "lock"))
    assert ((own / "lock").read_text(), (own / "goto").read_text()) == ("1\n", "")
    (own / "lock").write_text("0\n")
    assert one.look(10.0) == "3"
    assert ((own / "lock").read_text(), (own / "goto").read_text()) == ("1\n", "0\n")
    assert one.look(10.0 + LOOK_EVERY_S / 2) == ""
    (own / "where").write_text("0\n")
    (own / "goto").write_text("")
    assert one.look(10.0 + LOOK_EVERY_S) == ""
    assert (own / "goto").read_text() == ""


def test_where_no_process_goes_away_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "OWN", str(tmp_path))
    assert Home(str(tmp_path / "lock")).look(1.0) == Home("").look(1.0) == ""
    assert list(tmp_path.iterdir()) == []


def test_an_agent_looks(tmp_path: Path) -> None:
    own, conf = moved(tmp_path), tmp_path / "conf"
    (tmp_path / "proc/hpc/nodes/1").mkdir(parents=True)
    conf.write_text(f"root={tmp_path}\nrundir={tmp_path}/run\nhpcbase={tmp_path}/proc/hpc\nmynode=1\nmwhois=echo 1\n")
    log = tmp_path / "log"
    with open(log, "wb") as stream:
        agent = subprocess.Popen([sys.executable, "-c", AGENT, own, "--config", conf], stderr=stream)
    try:
        deadline_s = time.monotonic() + LIMIT_S
        while b"somebody moved this agent to node 3: it goes home" not in log.read_bytes():
            assert time.monotonic() < deadline_s, log.read_text()
            assert agent.poll() is None, log.read_text()
            time.sleep(0.05)
    finally:
        agent.kill()
        agent.wait()
    assert ((own / "lock").read_text(), (own / "goto").read_text()) == ("1\n", "0\n")
