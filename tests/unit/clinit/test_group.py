from __future__ import annotations

import random
import signal

import pytest

from mosha.clinit.group import STRAYS, Action, Group, Signal, Start, StateChanged, Stuck
from mosha.clinit.states import GROUP
from mosha.tables import cltab
from mosha.tables.cltab import Entry
from mosha.tables.settings import Policy
from mosha.timing import STUCK_S

INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL


def entries(text: str) -> tuple[Entry, ...]:
    return cltab.parse("".join(f"g:{line}\n" for line in text.split())).entries


def short(actions: list[Action]) -> list[str]:
    """Actions as words: ``+tag``, ``tag-SIGNAL``, ``level/STATE``, ``!tag``."""
    words = []
    for action in actions:
        if isinstance(action, Start):
            words.append(f"+{action.entry.tag}")
        elif isinstance(action, Signal):
            words.append(f"{action.tag}-{signal.Signals(action.signo).name[3:]}")
        elif isinstance(action, Stuck):
            words.append(f"!{','.join(action.tags)}")
        else:
            words.append(f"{action.level}/{action.state}")
    return words


def told(group: Group, level: str, text: str, now: float = 0.0) -> list[str]:
    return short(group.tell(now, level, entries(text)))


UP = ["start/STARTING"]
END = ["start/CHECKING", "start/DONE"]


def test_an_unknown_level_is_done_at_once() -> None:
    group = Group("g")
    assert told(group, "plan", "a:start:once:x") == ["plan/STARTING", "plan/CHECKING", "plan/DONE"]
    assert (group.level, group.state, group.next_due) == ("plan", "DONE", None)


def test_entries_start_in_order_and_wait_is_waited_for() -> None:
    group = Group("g")
    text = "a:start:once:x b:start:wait:x c:start:respawn:x d:start:wait:x e:start:once:x"
    assert told(group, "start", text) == [*UP, "+a", "+b"]
    assert short(group.exited(1, "a", 0)) == []
    assert short(group.exited(2, "b", 0)) == ["+c", "+d"]
    assert short(group.exited(3, "d", 0)) == ["+e", *END]


def test_a_wait_that_fails_stops_the_start() -> None:
    group = Group("g")
    told(group, "start", "a:start:respawn:x b:start:wait:x c:start:once:x t:start:test:x")
    actions = group.exited(1, "b", 3)
    assert short(actions) == ["start/CHECKING", "start/FAILED"]
    assert actions[-1] == StateChanged("start", "FAILED", "b: exit status 3")


def test_all_tests_are_run_and_one_failure_fails_the_group() -> None:
    group = Group("g")
    assert told(group, "test", "a:test:test:x b:test:test:x c:test:once:x d:test:test:x") == ["test/STARTING", "+a"]
    assert short(group.exited(1, "a", 1)) == ["+b"]
    assert short(group.exited(2, "b", -9)) == ["+d"]
    actions = group.exited(3, "d", 0)
    assert actions == [StateChanged("test", "CHECKING"), StateChanged("test", "FAILED", "a: exit status 1")]


def test_a_test_that_never_ends_has_failed_is_stopped_and_nobody_waits_for_its_end() -> None:
    group = Group("g", Policy(test_limit_s=120))
    text = "a:test:test:x b:test:test:x"
    assert told(group, "test", text) == ["test/STARTING", "+a"]
    assert group.next_due == 120
    assert short(group.tick(119)) == []
    assert short(group.tick(120)) == ["+b", "a-INT"]
    assert group.exited(121, "b", 0)[-1] == StateChanged("test", "FAILED", "a: no answer within 120 s")
    assert short(group.tick(125)) == ["a-TERM"]
    assert told(group, "test", text, now=126) == ["test/STOPPING"], "no second one is started beside it"
    assert short(group.exited(127, "a", 0)) == ["test/DUMPING", "test/STARTING", "+a"]
    assert group.next_due == 247


def test_a_wait_may_take_long_but_not_at_level_stop_nor_where_it_has_a_limit() -> None:
    text = "a:start:wait:x b:start:test:x c:stop:wait:x d:stop:wait:x"
    group = Group("g")
    told(group, "start", text)
    assert group.next_due is None
    group = Group("g", Policy(wait_limit_s=3600, stop_limit_s=60))
    told(group, "start", text)
    assert short(group.tick(3599.9)) == []
    actions = group.tick(3600)
    assert short(actions) == ["start/CHECKING", "start/FAILED", "a-INT"]
    assert actions[1] == StateChanged("start", "FAILED", "a: no answer within 3600 s")
    assert told(group, "stop", text, 3601) == ["start/STOPPING"]
    assert short(group.exited(3602, "a", -2)) == ["start/DUMPING", "stop/STARTING", "+c"]
    assert group.next_due == 3662
    assert short(group.tick(3662)) == ["stop/CHECKING", "stop/FAILED", "c-INT"], "and d is not started"
    assert short(group.exited(3663, "c", -2)) == []


def test_what_a_wait_left_has_no_limit() -> None:
    group = Group("g", Policy(wait_limit_s=5))
    told(group, "start", "a:start:wait:x")
    assert short(group.exited(1, "a", 0, left=1)) == END
    assert group.next_due is None
    assert short(group.tick(6)) == []


def test_what_lives_on_after_sigkill_is_stuck_until_it_has_ended() -> None:
    group = Group("g", Policy(stop=((0.0, INT), (2.0, KILL))))
    told(group, "start", "a:start:respawn:x b:start:respawn:x")
    assert told(group, "stop", "a:start:respawn:x b:start:respawn:x", 0) == ["start/STOPPING", "a-INT", "b-INT"]
    assert short(group.tick(2)) == ["a-KILL", "b-KILL"]
    assert short(group.exited(2, "b", -9)) == []
    assert short(group.tick(2 + STUCK_S - 0.1)) == ["a-KILL"]
    assert short(group.tick(2 + STUCK_S + 0.9)) == ["a-KILL", "!a"]
    assert short(group.tick(2 + STUCK_S + 1.9)) == ["a-KILL", "!a"], "also for who did not hear it before"
    assert short(group.exited(100, "a", -9)) == ["start/DUMPING", "stop/STARTING", "stop/CHECKING", "stop/DONE", "!"]
    assert short(group.tick(101)) == []


def test_passed_if_all_entries_are_tests_off_ones_aside() -> None:
    group = Group("g")
    told(group, "test", "a:test:test:x b:test:off b2:start:once:x")
    assert short(group.exited(1, "a", 0)) == ["test/CHECKING", "test/PASSED"]


def test_done_if_a_test_passed_beside_another_entry() -> None:
    group = Group("g")
    told(group, "start", "a:start:test:x b:start:once:x")
    assert short(group.exited(1, "a", 0)) == ["+b", *END]


def test_off_entries_are_passed_over() -> None:
    assert told(Group("g"), "start", "a:start:off b:start:once:x") == [*UP, "+b", *END]


def test_a_once_that_fails_later_fails_the_group() -> None:
    group = Group("g")
    told(group, "start", "a:start:once:x")
    assert group.exited(9, "a", 7) == [StateChanged("start", "FAILED", "a: exit status 7")]


def test_a_level_change_stops_with_growing_force_and_shows_the_old_level_until_then() -> None:
    group = Group("g")
    told(group, "start", "a:start:respawn:x b:start:once:x")
    assert told(group, "stop", "a:start:respawn:x b:start:once:x c:stop:wait:x", 10) == [
        "start/STOPPING", "a-INT", "b-INT",
    ]
    assert group.next_due == 15
    assert short(group.exited(11, "b", -2)) == []
    assert short(group.tick(14.9)) == []
    assert short(group.tick(15)) == ["a-TERM"]
    assert short(group.tick(25)) == ["a-KILL"]
    assert short(group.tick(25.5)) == []
    assert short(group.tick(26)) == ["a-KILL"]
    assert short(group.exited(26, "a", -9)) == ["start/DUMPING", "stop/STARTING", "+c"]
    assert short(group.exited(27, "c", 0)) == ["stop/CHECKING", "stop/DONE"]
    assert group.next_due is None


def test_the_grace_of_a_signal_counts_from_when_it_was_sent() -> None:
    group = Group("g")
    told(group, "start", "a:start:once:x")
    told(group, "stop", "", 0)
    assert short(group.tick(100)) == ["a-TERM"]
    assert short(group.tick(100)) == []
    assert group.next_due == 110


def test_a_level_change_costs_no_time_when_nothing_is_to_be_stopped() -> None:
    group = Group("g")
    told(group, "test", "")
    assert told(group, "start", "a:start:once:x") == ["test/STOPPING", "test/DUMPING", *UP, "+a", *END]


def test_what_has_both_levels_runs_on_untouched() -> None:
    text = "a:1,2:respawn:x b:1:respawn:x c:1,2:once:x d:2:once:x"
    group = Group("g")
    told(group, "1", text)
    assert told(group, "2", text, 5) == ["1/STOPPING", "b-INT"]
    assert short(group.exited(6, "b", 0)) == ["1/DUMPING", "2/STARTING", "+d", "2/CHECKING", "2/DONE"]


def test_a_repeated_tell_takes_up_what_changed_and_nothing_else() -> None:
    group = Group("g")
    told(group, "start", "a:start:respawn:x w:start:wait:x o:start:once:x f:start:once:x")
    group.exited(1, "w", 0)
    group.exited(1, "o", 0)
    assert told(group, "start", "a:start:respawn:NEW w:start:wait:x o:start:once:NEW n:start:once:x", 9) == [
        "start/STOPPING", "a-INT", "f-INT", "start/DUMPING",
    ]
    assert short(group.exited(10, "f", 0)) == []
    assert short(group.exited(10, "a", 0)) == [*UP, "+a", "+o", "+n", *END]


def test_a_repeated_tell_runs_tests_again() -> None:
    group = Group("g")
    told(group, "test", "a:test:test:x")
    group.exited(1, "a", 0)
    assert told(group, "test", "a:test:test:x", 2)[-1] == "+a"


def test_a_tell_after_a_failure_runs_everything_again_that_has_ended() -> None:
    text = "w:start:wait:x a:start:respawn:x b:start:wait:x"
    group = Group("g")
    told(group, "start", text)
    group.exited(1, "w", 0)
    group.exited(2, "b", 1)
    assert told(group, "start", text, 3)[-2:] == ["start/STARTING", "+w"]
    assert short(group.exited(4, "w", 0)) == ["+b"]


def test_an_entry_that_became_off_or_vanished_is_stopped_properly() -> None:
    group = Group("g")
    told(group, "start", "a:start:respawn:x b:start:respawn:x")
    assert told(group, "start", "a:start:off") == ["start/STOPPING", "a-INT", "b-INT", "start/DUMPING"]
    group.exited(1, "a", 0)
    assert short(group.exited(1, "b", 0)) == [*UP, *END]


def test_a_tell_while_starting_waits_for_the_same_wait() -> None:
    group = Group("g")
    told(group, "start", "a:start:wait:x b:start:once:x")
    assert told(group, "start", "a:start:wait:x b:start:once:x") == ["start/STOPPING", "start/DUMPING", *UP]
    assert short(group.exited(1, "a", 0)) == ["+b", *END]


def test_a_tell_back_while_stopping_starts_again_after_the_stop() -> None:
    text = "a:start:respawn:x"
    group = Group("g")
    told(group, "start", text)
    told(group, "stop", text, 1)
    assert told(group, "start", text, 2) == [], "it is STOPPING already"
    assert short(group.exited(3, "a", -2)) == ["start/DUMPING", *UP, "+a", *END]


def test_respawn_starts_again_at_once() -> None:
    group = Group("g")
    told(group, "start", "a:start:respawn:x")
    assert [short(group.exited(now, "a", 1)) for now in (10, 20, 30)] == [["+a"]] * 3
    assert group.state == "DONE"


def test_more_than_five_fast_exits_fail_the_group() -> None:
    group = Group("g")
    told(group, "start", "a:start:respawn:x b:start:respawn:x")
    assert [short(group.exited(0.1 * n, "a", 0)) for n in range(1, 6)] == [["+a"]] * 5
    assert group.exited(0.6, "a", 0) == [
        StateChanged("start", "FAILED", "a: exited 6 times within 1 s of its start")
    ]
    assert short(group.exited(0.7, "b", 0)) == ["+b"]


def test_a_new_tell_forgets_the_fast_exits() -> None:
    group = Group("g")
    told(group, "start", "a:start:respawn:x")
    for n in range(6):
        group.exited(0.1 * n, "a", 0)
    assert group.state == "FAILED"
    told(group, "start", "a:start:respawn:x", 10)
    assert short(group.exited(10, "a", 0)) == ["+a"]


def test_a_longer_run_takes_one_fast_exit_back() -> None:
    group = Group("g")
    told(group, "start", "a:start:respawn:x")
    for n in range(1, 6):
        group.exited(0.1 * n, "a", 0)
    assert short(group.exited(10, "a", 0)) == ["+a"]
    assert short(group.exited(10.1, "a", 0)) == ["+a"]
    assert group.state == "DONE"
    group.exited(10.2, "a", 0)
    assert group.state == "FAILED"


def test_a_respawn_is_not_started_beside_what_it_left() -> None:
    group = Group("g")
    told(group, "start", "a:start:respawn:x")
    assert short(group.exited(10, "a", -9, left=2)) == ["a-INT"]
    assert group.remains() == ["a"]
    assert short(group.tick(15)) == ["a-TERM"]
    assert short(group.emptied(16, "a")) == ["+a"]
    assert group.remains() == []


def test_a_tell_meanwhile_drops_the_restart() -> None:
    group = Group("g")
    told(group, "start", "a:start:respawn:x")
    group.exited(10, "a", -9, left=1)
    assert told(group, "stop", "a:start:respawn:x", 11) == ["start/STOPPING"]
    assert short(group.emptied(12, "a")) == ["start/DUMPING", "stop/STARTING", "stop/CHECKING", "stop/DONE"]


def test_a_once_that_leaves_a_daemon_is_stopped_with_its_level() -> None:
    group = Group("g")
    told(group, "start", "a:start:once:x")
    assert short(group.exited(1, "a", 0, left=1)) == []
    assert told(group, "start", "a:start:once:x", 2) == ["start/STOPPING", "start/DUMPING", *UP, *END]
    assert told(group, "stop", "a:start:once:x", 3) == ["start/STOPPING", "a-INT"]
    assert short(group.emptied(4, "a"))[-1] == "stop/DONE"


def test_a_daemon_left_by_wait_does_not_hold_the_start() -> None:
    group = Group("g")
    told(group, "start", "a:start:wait:x b:start:once:x")
    assert short(group.exited(1, "a", 0, left=1)) == ["+b", *END]


def test_what_a_test_leaves_is_stopped() -> None:
    group = Group("g")
    told(group, "test", "a:test:test:x")
    assert short(group.exited(1, "a", 0, left=1)) == ["a-INT", "test/CHECKING", "test/PASSED"]


def test_strays_end_with_any_change_of_level() -> None:
    group = Group("g")
    told(group, "start", "a:start:respawn:x")
    assert short(group.tell(1, "start", entries("a:start:respawn:x"), strays=True))[-1] == "start/DONE"
    actions = group.tell(2, "stop", entries("a:start:respawn:x"), strays=True)
    assert short(actions) == ["start/STOPPING", "a-INT", f"{STRAYS}-INT"]
    assert short(group.exited(3, "a", 0)) == ["start/DUMPING"]
    assert group.remains() == [STRAYS]
    assert short(group.emptied(4, STRAYS))[-1] == "stop/DONE"


def test_halting_is_the_end() -> None:
    group = Group("g")
    told(group, "start", "a:start:respawn:x")
    assert short(group.halt()) == ["start/HALTING"]
    assert group.next_due is None
    assert set(GROUP[group.state].values()) == {group.state}


@pytest.mark.parametrize("seed", range(200))
def test_any_order_of_events(seed: int) -> None:
    """One process of a tag at a time, legal transitions only, and no way to be stuck once processes end."""
    draw = random.Random(seed)
    group, running, left, now, state = Group("g"), set[str](), set[str](), 0.0, group_state()
    for _ in range(80):
        now += draw.choice((0.0, 0.3, 2.0))
        kind = draw.random()
        if kind < 0.25:
            actions = group.tell(now, draw.choice(("1", "2", "stop")), _random_entries(draw), draw.random() < 0.1)
        elif kind < 0.7 and running:
            tag = draw.choice(sorted(running))
            running.remove(tag)
            if draw.random() < 0.3:
                left.add(tag)
            actions = group.exited(now, tag, draw.choice((0, 0, 1, -9)), left=int(tag in left))
        elif kind < 0.9 and group.remains():
            tag = draw.choice(group.remains())
            left.discard(tag)
            actions = group.emptied(now, tag)
        else:
            actions = group.tick(now)
        for action in actions:
            if isinstance(action, Start):
                assert action.entry.tag not in running | left
                assert action.entry.mode != "off"
                running.add(action.entry.tag)
            elif isinstance(action, StateChanged):
                assert action.state in GROUP[state].values()
                state = action.state
        assert set(group.remains()) >= left
    for _ in range(100):
        if group.state in ("DONE", "PASSED", "FAILED"):
            return
        now += 20
        group.tick(now)
        for tag in sorted(running):
            running = {a.entry.tag for a in group.exited(now, tag, 0) if isinstance(a, Start)} | (running - {tag})
        for tag in group.remains():
            running |= {a.entry.tag for a in group.emptied(now, tag) if isinstance(a, Start)}
    pytest.fail(f"stuck in {group.state}")


def group_state() -> str:
    return Group("g").state


def _random_entries(draw: random.Random) -> list[Entry]:
    return [
        Entry("g", tag, draw.choice(("1", "12", "1,stop")), draw.choice(cltab.MODES), draw.choice(("x", "y")))
        for tag in "abcd"
        if draw.random() < 0.8
    ]


def test_on_hold_no_end_is_judged_and_the_next_tell_starts_what_is_missing() -> None:
    group = Group("g")
    text = "w:start:wait:x a:start:respawn:x b:start:respawn:x c:start:respawn:x m:start:monitor=5:x"
    told(group, "start", text)
    group.exited(0, "w", 0)
    assert group.state == "DONE"
    group.hold()
    assert group.next_due is None, "no monitor is due"
    for tag, left in (("a", 0), ("c", 2)):
        assert short(group.exited(1, tag, 1, left)) == []
    assert (group.state, group.tags()) == ("DONE", {"b", "c"})
    assert told(group, "start", text, 100.0) == ["start/STOPPING", "c-INT", "start/DUMPING"]
    assert short(group.emptied(101, "c")) == [*UP, "+a", "+c", *END], "w succeeded, and b runs on"
    assert group.tags() == {"a", "b", "c"}
    assert group.next_due == 106.0


def test_a_group_that_is_not_up_is_not_held() -> None:
    group = Group("g")
    told(group, "start", "w:start:wait:x")
    group.hold()
    assert short(group.exited(1, "w", 1)) == ["start/CHECKING", "start/FAILED"]
