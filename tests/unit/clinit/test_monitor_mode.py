"""The run mode ``monitor``, and a halt in order."""

from __future__ import annotations

import signal

from mosha.clinit.group import STRAYS, Group, StateChanged
from mosha.tables import cltab
from mosha.tables.cltab import Entry
from mosha.tables.settings import Policy
from mosha.timing import STUCK_S
from tests.unit.clinit.test_group import short

TABLE = "g:a:start:respawn:x\ng:m:start:monitor=30:look\n"


def entries(text: str = TABLE) -> tuple[Entry, ...]:
    return cltab.parse(text).entries


def up() -> Group:
    """DONE at 0; the first look is due at 30."""
    group = Group("g", Policy(monitor_limit_s=20))
    assert short(group.tell(0, "start", entries())) == ["start/STARTING", "+a", "start/CHECKING", "start/DONE"]
    assert group.next_due == 30
    return group


def test_it_runs_one_interval_after_each_end() -> None:
    group = up()
    assert group.tick(29.9) == []
    assert short(group.tick(30)) == ["+m"]
    assert group.next_due == 50
    assert group.exited(33, "m", 0) == []
    assert group.next_due == 63
    assert short(group.tick(64)) == ["+m"]
    assert group.state == "DONE"


def test_a_failure_is_one_of_the_group_and_the_last_look() -> None:
    group = up()
    group.tick(30)
    assert group.exited(31, "m", 1) == [StateChanged("start", "FAILED", "m: exit status 1")]
    assert group.next_due is None
    assert short(group.exited(40, "a", 0)) == ["+a"], "what runs is left to the next tell"


def test_one_that_never_answers_has_failed_and_is_stopped() -> None:
    group = up()
    group.tick(30)
    assert short(group.tick(49.9)) == []
    assert group.tick(50)[0] == StateChanged("start", "FAILED", "m: no answer within 20 s")
    assert group.next_due == 55, "it got INT"
    assert short(group.tick(55)) == ["m-TERM"]
    assert group.exited(56, "m", -15) == []
    assert group.next_due is None


def test_what_it_left_is_stuck_only_when_the_group_waits_for_it() -> None:
    group = up()
    group.tick(30)
    group.exited(31, "m", 0, left=1)
    for now_s in (31, 36, 46, 46 + STUCK_S, 47 + STUCK_S):
        assert "!m" not in short(group.tick(now_s)), "a child of it is in state D, and the group works"
    assert group.state == "DONE"
    assert "!m" in short(group.tell(60, "stop", entries()))


def test_it_is_never_started_beside_what_it_left() -> None:
    group = up()
    group.tick(30)
    assert short(group.exited(31, "m", 0, left=1)) == ["m-INT"]
    assert short(group.tick(36)) == ["m-TERM"]
    assert group.emptied(40, "m") == []
    assert group.next_due == 70
    assert short(group.tick(70)) == ["+m"]


def test_another_level_ends_it() -> None:
    group = up()
    group.tick(30)
    assert short(group.tell(31, "stop", entries())) == ["start/STOPPING", "a-INT", "m-INT"]
    group.exited(32, "a", 0)
    assert short(group.exited(32, "m", 1))[-1] == "stop/DONE"
    assert group.next_due is None


def test_a_failure_during_a_level_change_says_nothing() -> None:
    table = "g:a:start:respawn:x\ng:m:start,more:monitor=30:look\n"
    group = Group("g")
    group.tell(0, "start", entries(table))
    group.tick(30)
    assert short(group.tell(31, "more", entries(table))) == ["start/STOPPING", "a-INT"]
    assert group.exited(32, "m", 1) == []
    assert short(group.exited(33, "a", 0))[-1] == "more/DONE"
    assert group.next_due == 63


def test_one_that_hangs_during_a_level_change_is_stopped() -> None:
    table = "g:a:start:respawn:x\ng:w:more:wait:x\ng:m:start,more:monitor=30:look\n"
    group = Group("g")
    group.tell(0, "start", entries(table))
    group.tick(30)
    group.tell(31, "more", entries(table))
    assert short(group.exited(32, "a", 0))[-1] == "+w"
    assert short(group.tick(50)) == ["m-INT"]
    assert group.state == "STARTING"
    group.exited(51, "m", -2)
    assert short(group.exited(52, "w", 0))[-1] == "more/DONE"
    assert group.next_due == 82


def test_a_level_of_tests_and_a_monitor_is_done_not_passed() -> None:
    group = Group("g")
    group.tell(0, "test", entries("g:t:test:test:x\ng:m:test:monitor=5:x\n"))
    assert short(group.exited(1, "t", 0))[-1] == "test/DONE"


def test_a_repeated_tell_leaves_a_look_alone_and_begins_the_interval_anew() -> None:
    group = up()
    group.tick(30)
    assert short(group.tell(31, "start", entries()))[-1] == "start/DONE"
    assert group.next_due == 50
    group.exited(32, "m", 0)
    assert short(group.tell(40, "start", entries()))[-1] == "start/DONE"
    assert group.next_due == 70


def test_halt_stops_everything_with_the_usual_grace() -> None:
    group = up()
    assert short(group.halt_in_order(1)) == ["start/HALTING", "a-INT"]
    assert short(group.tick(6)) == ["a-TERM"]
    assert group.tell(7, "start", entries()) == [], "nothing is told any more"
    assert short(group.halt_in_order(8)) == ["start/HALTING"], "twice is once"
    assert short(group.tick(16)) == ["a-KILL"]
    assert group.exited(16, "a", -signal.SIGKILL) == []
    assert (group.rests, group.next_due) == (True, None)


def test_halt_takes_strays_along_and_starts_nothing() -> None:
    group = Group("g")
    group.tell(0, "start", entries("g:w:start:wait:x\ng:o:start:once:y\n"))
    assert short(group.halt_in_order(1, strays=True)) == ["start/HALTING", "w-INT", f"{STRAYS}-INT"]
    assert group.exited(2, "w", 0) == []
    assert group.remains() == [STRAYS]
    assert group.emptied(3, STRAYS) == []
    assert short(group.halt()) == ["start/HALTING"]


def test_a_stray_that_appears_while_a_level_is_left_holds_it_up() -> None:
    group = up()
    assert not group.ends_strays
    group.tell(1, "stop", entries())
    assert group.ends_strays
    assert short(group.strayed(2)) == [f"{STRAYS}-INT"]
    assert group.strayed(3) == [], "it is known"
    assert short(group.exited(3, "a", 0)) == ["start/DUMPING"]
    assert short(group.tick(7)) == [f"{STRAYS}-TERM"]
    assert short(group.emptied(8, STRAYS))[-1] == "stop/DONE"


def test_a_stray_that_appears_during_a_halt_is_stopped() -> None:
    group = up()
    group.halt_in_order(1)
    group.exited(2, "a", 0)
    assert group.ends_strays
    assert short(group.strayed(3)) == [f"{STRAYS}-INT"]
    assert short(group.tick(18)) == [f"{STRAYS}-TERM"]
    assert group.emptied(19, STRAYS) == []


def test_strays_of_a_level_that_is_told_again_are_kept() -> None:
    group = up()
    group.tell(1, "start", entries("g:a:start:respawn:NEW\n"))
    assert (group.state, group.ends_strays) == ("DUMPING", False)
