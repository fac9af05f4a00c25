"""The leash with real processes. A stop here takes INT at once, TERM after 0.3 s and KILL after 0.6 s."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from mosha.clinit.guardian import KILLED
from mosha.platform import linux
from mosha.resources.records import RUN_VARIABLE
from tests.unit.clinit.leashed import Agent, lives, wait_until, written_pid

DEAF = 'trap "" INT TERM HUP; echo deaf; while :; do sleep 0.05; done'


def daemon(pidfile: Path, command: str = "exec sleep 600", leave: str = "setsid") -> str:
    """A command that forks twice, and leaves a process of another session behind."""
    return f"{leave} sh -c 'echo $$ >{pidfile}.new; mv {pidfile}.new {pidfile}; {command}' </dev/null >/dev/null 2>&1 &"


def test_a_level_is_told_and_reported(agent: Agent) -> None:
    agent.start().tell("start", "w:start:wait:echo one; echo two >&2", "r:start:respawn:sleep 600")
    agent.wait_state("start", "STARTING")
    agent.wait("started", tag="w")
    assert agent.wait("log", tag="w")["text"] == "w: one"
    assert agent.wait("log", tag="w")["text"] == "w: two"
    assert agent.wait("exited", tag="w")["status"] == 0
    pid = agent.pid_of("r")
    done = agent.wait_state("start", "DONE")
    assert abs(done["time"] - time.time()) < 5
    wait_until(lambda: agent.marked() == [pid])
    agent.tell("stop", "r:start:respawn:sleep 600")
    assert agent.wait("exited", tag="r")["status"] == -signal.SIGINT
    agent.wait_state("stop", "DONE")
    agent.wait("empty")
    agent.do("finish")
    assert agent.wait("gone")["status"] == 0


def test_the_processes_live_as_a_daemon_should(agent: Agent) -> None:
    """Own process group, root directory, no input, given environment, default signals, no stray descriptors."""
    show = "cut -d' ' -f1,5 /proc/$$/stat; pwd; readlink /proc/$$/fd/0; ls -x /proc/$$/fd; umask; env"
    agent.start().tell("start", f"e:start:wait:{show}", "s:start:wait:grep Sig /proc/self/status")
    lines: list[str] = []
    while len(lines) < 11:
        lines.append(agent.wait("log", tag="e")["text"][3:])
    pid, group = lines[0].split()
    assert pid == group
    assert lines[1:5] == ["/", "/dev/null", "0  1  2", "0022"]
    environment = {line for line in lines[5:] if not line.startswith(("PATH=", "PWD="))}
    assert environment >= {"GIVEN=yes", f"MOSHA_GROUP={agent.group}", "MOSHA_LEVEL=start", "MOSHA_TAG=e"}
    masks = dict(agent.wait("log", tag="s")["text"][3:].split(":\t") for _ in range(5))
    of_the_c_library = 1 << 31 | 1 << 32
    assert int(masks["SigBlk"], 16) == int(masks["SigIgn"], 16) & ~of_the_c_library == 0


def test_the_guardian_is_scheduled_first_and_its_commands_are_not(agent: Agent) -> None:
    """nice(1) says the priority of the commands. Who may not raise its own keeps it, and that is no error."""
    agent.start().tell("start", "e:start:wait:nice; cut -d' ' -f19 /proc/$PPID/stat")
    ordinary, own = (int(agent.wait("log", tag="e")["text"][3:]) for _ in range(2))
    assert ordinary == os.getpriority(os.PRIO_PROCESS, 0)
    assert own == (-20 if may_hurry() else ordinary)


def may_hurry() -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, -20)
            os._exit(1)
        except OSError:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_a_missing_program_is_a_failed_exit_and_harms_nobody(agent: Agent) -> None:
    agent.start().tell("start", "ok:start:respawn:sleep 600", "no:start:wait:/no/such/program a b")
    pid = agent.pid_of("ok")
    assert agent.wait("log", tag="no")["text"] == "no: cannot execute /no/such/program a b: No such file or directory"
    assert agent.wait("exited", tag="no")["status"] == 127
    assert agent.wait_state("start", "FAILED")["text"] == "no: exit status 127"
    wait_until(lambda: agent.marked() == [pid])


def test_a_killed_process_is_started_again_at_once(any_agent: Agent) -> None:
    any_agent.start().tell("start", "r:start:respawn:sleep 600")
    first = any_agent.pid_of("r")
    any_agent.wait_state("start", "DONE")
    os.kill(first, signal.SIGKILL)
    begin = time.monotonic()
    second = any_agent.pid_of("r")
    assert time.monotonic() - begin < 5
    wait_until(lambda: any_agent.marked() == [second])


def test_a_crash_loop_fails_the_group(agent: Agent) -> None:
    agent.start().tell("start", "r:start:respawn:false")
    assert "exited 6 times" in agent.wait_state("start", "FAILED")["text"]


def test_stop_ends_a_daemon_that_forked_twice(any_agent: Agent, tmp_path: Path) -> None:
    any_agent.start().tell("start", f"d:start:once:{daemon(tmp_path / 'pid')}")
    pid = written_pid(tmp_path / "pid")
    any_agent.wait("exited", tag="d")
    any_agent.tell("stop", "d:start:once:x")
    any_agent.wait_state("stop", "DONE")
    assert not lives(pid)
    any_agent.wait("empty")


@pytest.mark.parametrize("looks", [1, 2, 3, 4])
def test_what_dies_between_two_looks_ends_its_entry_and_then_the_group(tmp_path: Path, looks: int) -> None:
    """Else the group was empty before it was stopped, and that was said a turn later: up to 30 s."""
    switch = tmp_path / "switch"
    deaf = 'trap "" INT TERM; exec sleep 600'
    agent = Agent(NO_SUBREAPER="1", DIES_AFTER_LOOKS=str(looks), FROM=str(switch))
    try:
        agent.start().tell("start", f"d:start:once:{daemon(tmp_path / 'pid', deaf)}")
        written_pid(tmp_path / "pid")
        agent.wait("exited", tag="d")
        agent.tell("stop", "d:start:once:x")
        agent.wait("state", state="STOPPING")
        switch.touch()
        agent.wait_state("stop", "DONE")
        agent.wait("empty")
    finally:
        agent.end()


def test_stop_ends_a_compound_command_whole(any_agent: Agent, tmp_path: Path) -> None:
    """2003 stopped the shell and left the daemon to run on beside the one of the next node."""
    pidfile = tmp_path / "pid"
    command = f"sh -c 'echo $$ >{pidfile}; exec sleep 600'; echo done"
    any_agent.start().tell("start", f"c:start:respawn:{command}")
    pid = written_pid(pidfile)
    any_agent.tell("stop", f"c:start:respawn:{command}")
    any_agent.wait_state("stop", "DONE")
    assert not lives(pid)


def test_stop_ends_what_is_deaf_to_int_and_term(any_agent: Agent) -> None:
    any_agent.start().tell("start", f"c:start:respawn:{DEAF}")
    pid = any_agent.pid_of("c")
    any_agent.wait("log", text="c: deaf")
    begin = time.monotonic()
    any_agent.tell("stop", f"c:start:respawn:{DEAF}")
    any_agent.wait_state("stop", "DONE")
    assert 0.5 < time.monotonic() - begin < 5
    assert not lives(pid)
    assert any_agent.marked() == []


def test_a_stop_signal_comes_once(agent: Agent, tmp_path: Path) -> None:
    """Redis and others take a second INT for impatience and quit without saving."""
    command = (
        f"trap 'echo INT >>{tmp_path}/got' INT; trap 'echo TERM >>{tmp_path}/got; exit 0' TERM;"
        " echo ready; while :; do sleep 0.02; done"
    )
    agent.start().tell("start", f"c:start:respawn:{command}")
    agent.wait("log", text="c: ready")
    agent.tell("stop", f"c:start:respawn:{command}")
    agent.wait_state("stop", "DONE")
    assert (tmp_path / "got").read_text().split() == ["INT", "TERM"]


def test_a_daemon_that_drops_its_environment_is_found(agent: Agent, tmp_path: Path) -> None:
    agent.start().tell("start", f"d:start:once:{daemon(tmp_path / 'pid', leave='setsid env -i')}")
    pid = written_pid(tmp_path / "pid")
    agent.wait("exited", tag="d")
    assert agent.marked() == []
    agent.tell("stop", "d:start:once:x")
    agent.wait_state("stop", "DONE")
    assert not lives(pid)
    agent.wait("empty")


def test_a_respawn_waits_for_what_the_dead_one_left(agent: Agent, tmp_path: Path) -> None:
    command = f"sh -c 'echo $$ >{tmp_path}/worker; exec sleep 600' & wait"
    agent.start().tell("start", f"r:start:respawn:{command}")
    worker = written_pid(tmp_path / "worker")
    os.kill(agent.pid_of("r"), signal.SIGKILL)
    agent.pid_of("r")
    assert not lives(worker)


def test_a_level_change_spares_what_belongs_to_both(agent: Agent, tmp_path: Path) -> None:
    lines = ("keep:1,2:respawn:sleep 600", f"d:2:once:{daemon(tmp_path / 'pid')}", "go:1:respawn:sleep 600")
    agent.start().tell("1", *lines)
    keep = agent.pid_of("keep")
    agent.wait_state("1", "DONE")
    agent.tell("2", *lines)
    agent.wait_state("2", "DONE")
    both = {keep, written_pid(tmp_path / "pid")}
    wait_until(lambda: set(agent.marked()) == both)


def test_a_child_without_environment_belongs_to_its_parents_entry(agent: Agent, tmp_path: Path) -> None:
    bare = f"env -i sh -c 'echo $$ >{tmp_path}/pid; exec sleep 600' & wait"
    lines = f"keep:1,2:respawn:{bare}", "go:1:respawn:sleep 600"
    agent.start().tell("1", *lines)
    pid = written_pid(tmp_path / "pid")
    agent.wait_state("1", "DONE")
    agent.tell("2", *lines)
    agent.wait_state("2", "DONE")
    assert lives(pid)


def test_the_deadline_kills_all(any_agent: Agent, tmp_path: Path) -> None:
    any_agent.start(lease_s=0.5).tell(
        "start", f"d:start:once:{daemon(tmp_path / 'pid', DEAF)}", f"r:start:respawn:{DEAF}", "w:start:wait:sleep 600"
    )
    pid = written_pid(tmp_path / "pid")
    any_agent.wait_state("start", "HALTING")
    assert any_agent.wait("gone")["status"] == 1
    assert not lives(pid)
    assert any_agent.marked() == []


def test_an_extension_moves_the_deadline_and_none_moves_it_back(agent: Agent) -> None:
    agent.start(lease_s=0.3).tell("start", "r:start:respawn:sleep 600")
    agent.do("extend", 0.8)
    agent.do("extend", 0.1)
    moved = [agent.wait("extended")["deadline"] for _ in range(2)]
    assert moved[0] == moved[1] > linux.boottime(), "it says which one it has"
    begin = time.monotonic()
    agent.wait_state("start", "HALTING")
    assert 0.6 < time.monotonic() - begin < 10


def test_commands_can_read_the_deadline_and_see_it_move(agent: Agent) -> None:
    begin_s = linux.boottime()
    agent.start(lease_s=60).tell("start", 'r:start:respawn:while cat "$MOSHA_DEADLINE"; do sleep 0.05; done')

    def read() -> float:
        return float(agent.wait("log", tag="r")["text"][3:])

    assert begin_s + 60 <= read() <= linux.boottime() + 60
    agent.do("extend", 600)
    wait_until(lambda: begin_s + 600 <= read() <= linux.boottime() + 600)
    agent.do("extend", 300)
    agent.do("tell", "start", f"{agent.group}:e:start:wait:true\n")
    agent.wait("exited", tag="e")
    assert float(Path(agent.rundir, "deadlines", agent.group).read_text()) >= begin_s + 600, "it never moves back"


def test_a_run_directory_that_is_not_there_is_told_and_stops_nothing(tmp_path: Path) -> None:
    agent = Agent(**{RUN_VARIABLE: str(tmp_path / "none")})
    try:
        agent.start().tell("start", "r:start:respawn:sleep 600")
        assert "the deadline is not shown to commands: " in agent.wait("log")["text"]
        agent.wait_state("start", "DONE")
    finally:
        agent.end()


def test_an_extension_that_comes_late_is_refused(agent: Agent) -> None:
    agent.start(lease_s=0.4).tell("start", "r:start:respawn:sleep 600")
    pid = agent.pid_of("r")
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGSTOP)
    deadline = time.monotonic() + 0.5
    wait_until(lambda: time.monotonic() > deadline)
    agent.do("extend", 60)
    os.kill(parent, signal.SIGCONT)
    agent.wait_state("start", "HALTING")
    assert agent.wait("gone")["status"] == 1


def test_nothing_is_executed_after_the_deadline(agent: Agent, tmp_path: Path) -> None:
    agent.start(lease_s=0.0).tell("start", f"a:start:wait:touch {tmp_path}/ran")
    assert agent.wait("gone")["status"] == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_the_end_of_the_agent_is_the_end_of_its_groups(any_agent: Agent, tmp_path: Path, how: str) -> None:
    any_agent.start(lease_s=60 if how == "killed" else 0.7)
    any_agent.tell("start", f"d:start:once:{daemon(tmp_path / 'pid', DEAF)}", f"r:start:respawn:{DEAF}")
    pid = written_pid(tmp_path / "pid")
    any_agent.wait_state("start", "DONE")
    os.kill(any_agent.process.pid, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
    wait_until(lambda: not lives(pid) and not any_agent.marked(), 3)


def test_the_death_of_the_agent_is_seen_although_a_worker_keeps_the_socket(agent: Agent) -> None:
    agent.start().tell("start", "r:start:respawn:sleep 600")
    agent.do("hold")
    agent.wait_state("start", "DONE")
    agent.tell("stop", "x:start:once:x")
    agent.tell("start", "r:start:respawn:sleep 600")
    pid = agent.pid_of("r")
    os.kill(agent.process.pid, signal.SIGKILL)
    wait_until(lambda: not lives(pid), 0.8)


def test_a_closed_leash_kills(agent: Agent) -> None:
    agent.start().tell("start", f"r:start:respawn:{DEAF}")
    agent.wait_state("start", "DONE")
    agent.do("close")
    assert agent.process.wait(5) == 1
    assert agent.marked() == []


def test_kill_is_at_once(any_agent: Agent, tmp_path: Path) -> None:
    any_agent.start().tell("start", f"d:start:once:{daemon(tmp_path / 'pid', DEAF)}", f"r:start:respawn:{DEAF}")
    pid = written_pid(tmp_path / "pid")
    any_agent.wait_state("start", "DONE")
    begin = time.monotonic()
    any_agent.do("kill")
    assert any_agent.wait("gone")["status"] == 1
    assert time.monotonic() - begin < 5
    assert not lives(pid)


def test_a_guardian_that_does_not_heed_a_kill_is_killed(agent: Agent) -> None:
    agent.start().tell("start", "r:start:respawn:sleep 600")
    pid = agent.pid_of("r")
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGSTOP)
    agent.do("kill")
    agent.do("kill_guardian")
    assert agent.wait("gone")["status"] == -signal.SIGKILL
    wait_until(lambda: not lives(pid))


AHEAD = "t:test:test:echo ${TOKEN-none}", "r:start:wait:echo ${TOKEN-none} ${GIVEN-none}"


def test_what_was_tested_ahead_gets_its_token_before_it_runs(agent: Agent) -> None:
    agent.start(ahead=True).tell("test", *AHEAD)
    assert agent.wait("log", tag="t")["text"] == "t: none"
    agent.wait_state("test", "PASSED")
    agent.do("own")
    agent.tell("start", *AHEAD)
    assert agent.wait("log", tag="r")["text"] == "r: 7 yes"
    agent.wait_state("start", "DONE")


def test_nothing_but_a_test_is_executed_without_a_token(agent: Agent, tmp_path: Path) -> None:
    agent.start(ahead=True).tell("start", f"r:start:wait:touch {tmp_path}/there")
    assert agent.wait("gone")["status"] == KILLED
    assert not list(tmp_path.iterdir())


def test_a_stop_with_finish_ends_the_leash_after_the_last_process(any_agent: Agent, tmp_path: Path) -> None:
    lines = "r:start:respawn:sleep 600", f"s:stop:wait:sleep 0.2; touch {tmp_path}/there"
    any_agent.start().tell("start", *lines)
    any_agent.wait_state("start", "DONE")
    any_agent.tell("stop", *lines)
    any_agent.do("finish")
    any_agent.wait_state("stop", "DONE")
    assert any_agent.wait("gone")["status"] == 0
    assert list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("entry", "state", "reason"),
    [
        ("s:stop:wait:sleep 600", "FAILED", "s: no answer within 0.2"),
        ("s:stop:once:sleep 600", "HALTING", "not all has ended within 0.2 s"),
        ("s:stop:respawn:sleep 600", "HALTING", "not all has ended within 0.2 s"),
        ("s:stop:wait:sleep 600 &", "HALTING", "not all has ended within 0.2 s"),
    ],
)
def test_a_command_of_level_stop_that_hangs_keeps_no_group_for_ever(
    agent: Agent, entry: str, state: str, reason: str
) -> None:
    lines = "r:start:respawn:sleep 600", entry, ":::stop_limit_s:0.2"
    agent.start().tell("start", *lines)
    agent.wait_state("start", "DONE")
    agent.tell("stop", *lines)
    agent.do("finish")
    assert agent.wait("state", level="stop", state=state)["text"].startswith(reason)
    assert agent.wait("gone")["status"] == 0


def test_finish_waits_for_the_last_process(any_agent: Agent, tmp_path: Path) -> None:
    lines = f"d:start:once:{daemon(tmp_path / 'pid')}", "e:start:wait:echo done"
    any_agent.start().tell("start", lines[0])
    pid = written_pid(tmp_path / "pid")
    any_agent.wait("exited", tag="d")
    any_agent.do("finish")
    any_agent.tell("start", *lines)
    any_agent.wait("log", text="e: done")
    any_agent.wait_state("start", "DONE")
    assert lives(pid)
    any_agent.tell("stop", *lines)
    any_agent.wait_state("stop", "DONE")
    assert any_agent.wait("gone")["status"] == 0
    assert not lives(pid)


def test_what_executes_one_program_after_the_other_is_no_stray(any_agent: Agent, tmp_path: Path) -> None:
    """Else a change of other entries ended it, where it was looked at while it had no environment."""
    again = tmp_path / "again"
    again.write_text(f"exec sh {again}\n")
    lines = [f"d:start:once:{daemon(tmp_path / 'pid', f'exec sh {again}')}"]
    any_agent.start().tell("start", *lines)
    pid = written_pid(tmp_path / "pid")
    any_agent.wait("exited", tag="d")
    for number in range(30):
        any_agent.tell("start", *lines, f"e{number}:start:wait:true")
        any_agent.wait("exited", tag=f"e{number}")
        any_agent.wait_state("start", "DONE")
        assert lives(pid)
    any_agent.tell("stop", *lines)
    any_agent.wait_state("stop", "DONE")
    assert not lives(pid)


def test_a_flood_of_output_is_dropped_and_counted(agent: Agent) -> None:
    """The agent does not listen for a while; the guardian goes on, and so does the process."""
    agent.start().tell("start", "f:start:wait:yes | head -c 3000000; echo; echo end >&2", "g:start:once:sleep 600")
    agent.do("deaf", 0.5)
    agent.wait("exited", tag="f")
    agent.tell("start", "g:start:once:sleep 600", "h:start:wait:echo more")
    assert "lines lost" in agent.wait("log", tag="")["text"]
    agent.wait("log", text="h: more")
    agent.wait_state("start", "DONE")


def test_a_flood_does_not_hold_up_the_deadline(agent: Agent) -> None:
    agent.start(lease_s=0.5).tell("start", "f:start:respawn:yes", "g:start:respawn:yes")
    begin = time.monotonic()
    agent.do("deaf", 1.0)
    assert agent.wait("gone")["status"] == 1
    assert time.monotonic() - begin < 10
    assert agent.marked() == []


def test_a_long_line_comes_in_pieces(agent: Agent) -> None:
    agent.start().tell("start", "f:start:wait:head -c 2500 /dev/zero | tr '\\0' x")
    lengths = [len(agent.wait("log", tag="f")["text"]) - 3 for _ in range(3)]
    assert lengths == [1000, 1000, 500]


def test_each_process_pins_itself(agent: Agent, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("0")
    agent.start(lock_path=str(lock)).tell("start", "f:start:wait:true")
    agent.wait_state("start", "DONE")
    assert lock.read_text() == "1"


def test_a_forking_crowd_is_killed(any_agent: Agent) -> None:
    crowd = "f() { while :; do (sleep 0.01; sleep 0.02) & sleep 0.01; done; }; f & f & f"
    any_agent.start().tell("start", f"c:start:once:{crowd}")
    wait_until(lambda: len(any_agent.marked()) > 6)
    any_agent.do("kill")
    assert any_agent.wait("gone")["status"] == 1
    assert any_agent.marked() == []


@pytest.mark.parametrize("waits", ["until it hides", "for nothing"])
def test_who_begins_to_hide_while_its_level_is_left_ends_too(agent: Agent, tmp_path: Path, waits: str) -> None:
    """It forks at INT and cleans its environment; its parent is gone before anybody has looked."""
    pidfile = tmp_path / "pid"
    hides = daemon(pidfile, DEAF, "setsid env -i")
    until = f"until test -e {pidfile}; do :; done;" if waits == "until it hides" else ""
    at_int = tmp_path / "at-int"
    at_int.write_text(f"trap '' INT\n{hides}\n{until}\nexit 0\n")
    entry = f"h:start:once:trap '. {at_int}' INT; echo ready; while :; do sleep 0.05; done"
    agent.start(kill_after_s=5.0 if until else 0.6).tell("start", entry)
    agent.wait("log", tag="h", text="h: ready")
    agent.tell("stop", entry)
    agent.wait_state("stop", "DONE")
    if waits == "until it hides":
        assert not lives(written_pid(pidfile))
    agent.do("finish")
    assert agent.wait("gone")["status"] == 0
    assert not pidfile.exists() or not lives(written_pid(pidfile))
