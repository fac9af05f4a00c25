"""The stand-alone daemon with real processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

from mosha.clinit.daemon import ALL_HALTING, STARTED
from mosha.platform import procscan
from mosha.platform.wake import DEAF_TO
from mosha.tables.clstat import GroupStat
from tests.unit.clinit.leashed import lives, wait_until, written_pid
from tests.unit.clinit.standalone import Standalone

WEB = "web:w:start:respawn:sleep 600\nweb:v:start,more:respawn:sleep 601\n"
DB = "db:d:1:respawn:sleep 602\n"
DEAF = "trap '' INT TERM HUP; echo deaf; while :; do sleep 0.05; done"


def test_levels_are_told_shown_and_changed(alone: Standalone) -> None:
    alone.start(WEB + DB)
    assert alone.tell("web", "start") == STARTED
    alone.run("db", "1")
    alone.until("web", "start DONE")
    assert alone.client.status() == [GroupStat("db", "1", "DONE"), GroupStat("web", "start", "DONE")]
    assert alone.client.status(group="web") == alone.client.status(level="start") == [GroupStat("web", "start", "DONE")]
    assert alone.client.status("web", "1") == []
    stays, goes = alone.pid("web", "v"), alone.pid("web", "w")
    alone.run("web", "more")
    assert (lives(stays), lives(goes)) == (True, False)
    assert alone.client.tell("nobody", "start") == (False, "no such group: nobody; there are: web, db")


def test_a_name_with_a_point_is_no_other_group(alone: Standalone) -> None:
    alone.start("web:a:up:respawn:sleep 600\nweb.1:a.1:up.1,1.2:respawn:sleep 601\n")
    alone.run("web", "up")
    alone.run("web.1", "up.1")
    stays, again = alone.pid("web.1", "a.1"), alone.pid("web", "a")
    alone.run("web", "stop")
    wait_until(lambda: not lives(again))
    alone.run("web.1", "1.2")
    assert alone.pids("web.1", "a.1") == [stays]
    alone.run("web.1", "stop")
    wait_until(lambda: not lives(stays))


def test_a_level_without_entries_leaves_no_process_at_all(alone: Standalone) -> None:
    alone.start(WEB)
    alone.run("web", "start")
    assert len(alone.guardians()) == 1
    alone.run("web", "stop")
    wait_until(lambda: alone.guardians() == alone.everything() == [])
    assert alone.state("web") == "stop DONE"
    alone.run("web", "start")
    assert lives(alone.pid("web", "w"))


def test_a_tell_while_a_guardian_ends_is_obeyed(alone: Standalone) -> None:
    alone.start(WEB)
    for _ in range(8):
        alone.tell("web", "stop")
        alone.tell("web", "start")
        alone.until("web", "start DONE")
        alone.tell("web", "stop")
        alone.until("web", "stop DONE")
        alone.tell("web", "more")
        alone.until("web", "more DONE")


def test_a_stop_takes_every_descendant_along(alone: Standalone, tmp_path: Path) -> None:
    hidden = f"setsid env -i sh -c 'echo $$ >{tmp_path}/pid; {DEAF}' >/dev/null 2>&1 &"
    alone.start(f"web:h:start:once:{hidden}\n")
    alone.run("web", "start")
    pid = written_pid(tmp_path / "pid")
    alone.run("web", "stop")
    assert not lives(pid)


def test_what_is_asked_to_be_read_again_is_taken_up(alone: Standalone) -> None:
    alone.start(WEB + DB)
    alone.run("web", "start")
    alone.run("db", "1")
    stays, goes, other = alone.pid("web", "v"), alone.pid("web", "w"), alone.pid("db", "d")
    alone.write("web:w:start:respawn:sleep 700\n" + WEB.splitlines()[1] + "\n")
    assert alone.client.read() == (True, "1 groups, 1 told what is new; not in it, and left as they are: db")
    wait_until(lambda: not lives(goes) and alone.pids("web", "w"))
    assert lives(stays)
    assert lives(other)
    alone.tell("db", "stop")
    wait_until(lambda: not lives(other) and alone.state("db") == "")
    assert alone.client.tell("db", "1") == (False, "no such group: db; there are: web")


def test_a_level_that_nothing_has_stops_all_as_in_2003_and_that_is_said(alone: Standalone) -> None:
    alone.start(WEB + DB)
    alone.run("web", "start")
    pid = alone.pid("web", "w")
    said = "web has nothing at level strat, so all of it is stopped; there are: stop, more, start"
    assert alone.client.tell("web", "strat") == (True, f"{STARTED}; {said}")
    alone.until("web", "strat DONE")
    assert not lives(pid)
    assert alone.tell("web", "stop") == STARTED
    alone.write("web:w:stop,1:once:true\n")
    assert alone.client.tell("web", "2").text.endswith("there are: stop, 1")


def test_settings_can_change_while_a_group_runs(alone: Standalone) -> None:
    alone.start(f"web:w:start:respawn:{DEAF}\n", ":::stop:INT 0 KILL 3600\n")
    alone.run("web", "start")
    assert alone.logged("web: w: deaf")
    alone.tell("web", "stop")
    alone.until("web", "start STOPPING")
    alone.write(f"web:w:start:respawn:{DEAF}\n", ":::stop:KILL 0\n")
    alone.run("web", "start")
    alone.run("web", "stop")


def test_hup_reads_again(alone: Standalone) -> None:
    alone.start(WEB)
    alone.run("web", "start")
    alone.write(WEB + "web:x:start:respawn:sleep 603\n")
    assert alone.process is not None
    alone.process.send_signal(signal.SIGHUP)
    assert lives(alone.pid("web", "x"))


def test_a_signal_that_means_nothing_ends_nothing(alone: Standalone) -> None:
    alone.start(WEB)
    alone.run("web", "start")
    pid = alone.pid("web", "v")
    assert alone.process is not None
    for signo in DEAF_TO:
        alone.process.send_signal(signo)
    alone.run("web", "more")
    assert alone.pids("web", "v") == [pid]
    assert alone.process.poll() is None


def test_a_shutdown_stops_everything_and_leaves_nothing(alone: Standalone) -> None:
    alone.start(WEB + DB)
    alone.run("web", "start")
    alone.run("db", "1")
    assert alone.client.shutdown() == (True, ALL_HALTING)
    assert alone.wait() == 0
    assert alone.everything() == []
    assert not alone.socket.exists()
    assert not alone.clstat.exists()
    assert alone.logged("web: start HALTING")
    assert alone.logged("web: start CONFIGURED")
    assert "KILL" not in alone.log.read_text()


def test_a_signal_shuts_down_and_a_second_one_kills(alone: Standalone) -> None:
    alone.start(f"web:w:start:respawn:{DEAF}\n", ":::stop:INT 0 KILL 3600\n")
    alone.run("web", "start")
    assert alone.logged("web: w: deaf")
    assert alone.process is not None
    alone.process.terminate()
    alone.until("web", "start HALTING")
    assert alone.client.tell("web", "start") == alone.client.read() == (False, ALL_HALTING)
    assert lives(alone.pid("web", "w"))
    alone.process.terminate()
    assert alone.wait() == 0
    assert alone.everything() == []


def test_the_socket_is_for_its_user_and_clstat_for_all(alone: Standalone) -> None:
    alone.start(WEB)
    alone.run("web", "start")
    assert stat.S_IMODE(os.stat(alone.socket).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(alone.clstat).st_mode) == 0o644
    assert stat.S_IMODE(os.stat(f"{alone.socket}.run").st_mode) == 0o700


def test_something_that_is_no_socket_is_not_removed(alone: Standalone) -> None:
    alone.write(WEB)
    alone.socket.write_text("precious")
    done = subprocess.run([sys.executable, "-m", "mosha.clinit", "-d", "-c", alone.cltab], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "is there and is no socket" in done.stderr
    assert alone.socket.read_text() == "precious"


def test_a_monitor_fails_the_group(alone: Standalone, tmp_path: Path) -> None:
    alone.start(f"{WEB}web:m:start:monitor=0.05:test ! -e {tmp_path}/ill\n")
    alone.run("web", "start")
    (tmp_path / "ill").touch()
    alone.until("web", "start FAILED")
    assert alone.logged("web: start FAILED: m: exit status 1")
    (tmp_path / "ill").unlink()
    alone.run("web", "start")
    assert alone.logged("web: start DONE")
    assert alone.log.read_text().count("web: start FAILED") == 1, "one line for it"


def test_what_a_killed_guardian_held_ends_and_the_group_can_be_told_again(alone: Standalone, tmp_path: Path) -> None:
    hidden = f"setsid env -i sh -c 'echo $$ >{tmp_path}/pid; {DEAF}' >/dev/null 2>&1 &"
    alone.start(f"{WEB}web:h:start:once:{hidden}\n{DB}")
    alone.run("web", "start")
    alone.run("db", "1")
    held, other = [alone.pid("web", "w"), written_pid(tmp_path / "pid")], alone.pid("db", "d")
    (guardian,) = [p.parent for p in procscan.processes().values() if p.pid == held[0]]
    os.kill(guardian, signal.SIGKILL)
    wait_until(lambda: not any(map(lives, held)))
    assert alone.logged("web: its guardian died, killed by SIGKILL")
    alone.run("web", "start")
    assert lives(alone.pid("web", "w"))
    assert lives(other)
