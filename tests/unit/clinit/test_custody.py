"""What a guardian decides, without a process and without a clock."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from mosha.clinit import custody
from mosha.clinit.custody import AGENT_GONE, CLOCKS, HIDDEN, NO_TOKEN, ORDERED, OVERDUE, WATCH_S, Custody, Legacy, Order
from mosha.clinit.group import Action, Signal, Start, StateChanged
from mosha.tables import cltab
from mosha.tables.settings import DEFAULT_POLICY, Policy

ENTRIES = cltab.parse("kv:fit:test:test:true\nkv:run:start:respawn:serve\n").entries
TOKEN = {"MOSHA_EPOCH": "7"}
DEADLINE_S = 10.0
AT_LAST_S = 9.999


def make(ahead: bool = False) -> Custody:
    return Custody("kv", {"GIVEN": "yes"}, DEADLINE_S, ahead)


def obey(one: Custody, now_s: float, order: Order, strays: bool = False) -> list[Action]:
    """As it comes through a socket."""
    return one.obey(now_s, json.loads(json.dumps(order)), lambda: strays)


def starts(actions: Iterable[Action]) -> list[tuple[str, str]]:
    return [(action.entry.tag, action.level) for action in actions if isinstance(action, Start)]


def states(actions: Iterable[Action]) -> list[str]:
    return [action.state for action in actions if isinstance(action, StateChanged)]


def run(one: Custody, now_s: float = 0.0) -> list[Action]:
    return obey(one, now_s, custody.tell("start", ENTRIES))


def watch(one: Custody, now_s: float, ahead_s: float | None = 0.0, is_found: bool = True) -> None:
    """A look that takes no time."""
    one.watch(now_s, ahead_s, now_s, is_found)


def test_a_level_starts_its_entries() -> None:
    one = make()
    actions = run(one)
    assert (starts(actions), states(actions)[-1]) == ([("run", "start")], "DONE")
    start = next(action for action in actions if isinstance(action, Start))
    assert one.may_start(AT_LAST_S, start)
    assert (one.environment, one.reason) == ({"GIVEN": "yes"}, "")


def test_everything_is_killed_at_the_deadline() -> None:
    one = make()
    run(one)
    watch(one, AT_LAST_S)
    assert one.look(AT_LAST_S) == []
    assert (one.reason, one.next_due) == ("", DEADLINE_S)
    assert one.look(DEADLINE_S) == []
    assert one.reason == OVERDUE
    assert states(one.halt()) == ["HALTING"]


def test_nothing_comes_through_once_the_deadline_has_passed() -> None:
    """Each of these looks at the time by itself: whoever is the first, it is too late."""
    start = Start(ENTRIES[1], "start")
    late = DEADLINE_S

    def begun() -> Custody:
        one = make()
        run(one)
        return one

    for tried in (
        lambda one: obey(one, late, custody.extend(99.0)),
        lambda one: obey(one, late, custody.own(TOKEN)),
        lambda one: obey(one, late, custody.FINISH),
        lambda one: obey(one, late, custody.tell("stop", ENTRIES)),
        lambda one: one.may_start(late, start),
        lambda one: one.ended(late, "run", 0, 1),
        lambda one: one.ended(late, "run", 0),
        lambda one: one.look(late),
    ):
        one = begun()
        assert not tried(one)
        assert (one.reason, one.deadline_s, one.environment) == (OVERDUE, DEADLINE_S, {"GIVEN": "yes"})


def test_the_deadline_only_moves_forward() -> None:
    one = make()
    for asked, kept in ((12.0, 12.0), (11.0, 12.0), (13.0, 13.0)):
        obey(one, 1.0, custody.extend(asked))
        assert one.deadline_s == kept
    one.look(12.5)
    assert not one.reason


def test_after_a_kill_nothing_is_obeyed_and_the_first_reason_stays() -> None:
    one = make()
    run(one)
    obey(one, 1.0, custody.KILL)
    assert one.reason == ORDERED
    assert obey(one, 1.0, custody.extend(99.0)) == obey(one, 1.0, custody.tell("stop", ENTRIES)) == []
    one.kill(AGENT_GONE)
    one.look(DEADLINE_S)
    assert (one.reason, one.deadline_s) == (ORDERED, DEADLINE_S)


OWNED = {"MOSHA_EPOCH": "7", custody.OWNER: "17-aa 7 1.2.bb"}


def owned(in_unit: bool = True) -> Custody:
    one = Custody("kv", OWNED, DEADLINE_S, False, in_unit=in_unit)
    run(one)
    return one


def test_what_has_a_token_outlives_its_agent_and_says_what_it_is() -> None:
    one = owned()
    assert one.agent_gone(AT_LAST_S)
    assert (one.reason, one.deadline_s) == ("", DEADLINE_S)
    legacy = one.legacy()
    assert legacy is not None
    assert legacy == Legacy("kv", "17-aa", 7, "1.2.bb", DEADLINE_S, "start", "DONE", False, tuple(ENTRIES))
    assert Legacy.of(json.loads(json.dumps(legacy.said()))) == legacy
    obey(one, AT_LAST_S, custody.extend(12.0))
    assert one.look(11.0) == []
    one.look(12.0)
    assert one.reason == OVERDUE


@pytest.mark.parametrize("is_left", [False, True])
def test_clocks_that_go_apart_end_everything_whether_there_is_an_agent_or_not(is_left: bool) -> None:
    one = owned()
    watch(one, 0.5, 5.0)
    assert not is_left or one.agent_gone(1.0)
    watch(one, 1.0, None)
    watch(one, 1.2, 5.002)
    assert one.reason == "", "so much they may err, and a look is not one instant"
    assert not is_left or one.agent_gone(1.25)
    watch(one, 1.3, 5.01)
    assert one.reason == CLOCKS, "a life that came and gave no order is no new beginning"


def test_the_clocks_are_looked_at_again_when_half_of_the_time_to_the_deadline_has_gone() -> None:
    one = make()
    assert one.next_due == 0.0, "as soon as it is armed"
    for now_s, due_s in ((1.0, 2.0), (8.6, 9.3), (9.3, 9.65), (9.85, 9.95), (9.95, DEADLINE_S)):
        watch(one, now_s)
        assert one.next_due == pytest.approx(due_s)


def test_what_was_left_is_watched_more_often() -> None:
    one = owned()
    watch(one, 0.5)
    assert one.agent_gone(1.0)
    assert (one.is_left, one.next_due) == (True, 1.0)
    watch(one, 1.0)
    assert one.next_due == 1.0 + WATCH_S


def test_without_a_deadline_no_clock_counts() -> None:
    one = Custody("kv", {}, float("inf"), False)
    assert one.next_due == float("inf")
    watch(one, 1.0)
    watch(one, 2.0, 1.0)
    assert (one.reason, one.next_due) == ("", float("inf"))


def test_what_is_left_and_cannot_be_found_ends() -> None:
    one = owned()
    one.agent_gone(1.0)
    watch(one, 1.0)
    watch(one, 1.1, is_found=False)
    assert one.reason == HIDDEN


def test_who_gives_orders_has_found_it() -> None:
    one = owned()
    one.agent_gone(1.0)
    watch(one, 1.0)
    obey(one, 1.05, custody.extend(12.0))
    assert not one.is_left
    watch(one, 1.1, is_found=False)
    assert one.reason == ""


@pytest.mark.parametrize("order", [
    custody.FINISH, custody.HALT, custody.KILL, custody.tell("stop", ENTRIES), custody.own({"MOSHA_EPOCH": "7"}),
])
def test_what_was_told_to_end_or_has_no_token_ends_with_its_agent(order: Order) -> None:
    one = owned()
    obey(one, 1.0, order)
    assert not one.agent_gone(1.1)
    assert one.reason in (AGENT_GONE, ORDERED)
    assert one.legacy() is None


def test_what_is_in_no_control_group_was_told_no_level_is_ahead_or_late_ends_with_its_agent() -> None:
    never_told = Custody("kv", OWNED, DEADLINE_S, False, in_unit=True)
    ahead = Custody("kv", OWNED, DEADLINE_S, True, in_unit=True)
    obey(ahead, 0.0, custody.tell("test", ENTRIES))
    for one in (owned(in_unit=False), never_told, ahead):
        assert not one.agent_gone(1.0)
        assert one.reason == AGENT_GONE
    late = owned()
    assert not late.agent_gone(DEADLINE_S)
    assert late.reason == OVERDUE


def test_what_is_ahead_starts_nothing_but_tests_before_it_is_told_the_token() -> None:
    one = make(ahead=True)
    (test,) = [a for a in obey(one, 0.0, custody.tell("test", ENTRIES)) if isinstance(a, Start)]
    assert one.may_start(0.0, test)
    one.ended(0.1, "fit", 0, 0)
    obey(one, 0.2, custody.own(TOKEN))
    (start,) = [a for a in run(one, 0.3) if isinstance(a, Start)]
    assert one.may_start(0.3, start)
    assert one.environment == TOKEN


def test_what_is_ahead_and_told_to_start_more_kills() -> None:
    one = make(ahead=True)
    (start,) = [a for a in run(one) if isinstance(a, Start)]
    assert not one.may_start(0.0, start)
    assert one.reason == NO_TOKEN


def test_what_is_ahead_kills_rather_than_start_a_service_at_level_test() -> None:
    """It would run on into the next level, without a token."""
    one = make(ahead=True)
    both = cltab.parse("kv:run:test,start:respawn:serve\n").entries
    (start,) = [a for a in obey(one, 0.0, custody.tell("test", both)) if isinstance(a, Start)]
    assert not one.may_start(0.0, start)
    assert one.reason == NO_TOKEN


@pytest.mark.parametrize("killed", [False, True])
def test_it_has_not_ended_while_a_process_lives(killed: bool) -> None:
    one = make()
    run(one)
    assert not one.has_ended(is_empty=True), "nobody wants that"
    if killed:
        one.kill(AGENT_GONE)
    else:
        obey(one, 1.0, custody.tell("stop", ENTRIES))
        obey(one, 1.0, custody.FINISH)
        assert not one.has_ended(is_empty=True), "it is on its way to stop"
        one.ended(1.1, "run", 0, -2)
    assert (one.has_ended(is_empty=False), one.has_ended(is_empty=True)) == (False, True)


def test_a_stop_goes_on_when_it_is_due() -> None:
    one = Custody("kv", {"GIVEN": "yes"}, float("inf"), False)
    run(one)
    assert [a.tag for a in obey(one, 1.0, custody.tell("stop", ENTRIES)) if isinstance(a, Signal)] == ["run"]
    assert 1.0 < one.next_due < float("inf")
    assert one.look(one.next_due) != []


def test_what_a_main_process_left_is_waited_for() -> None:
    one = make()
    run(one)
    assert starts(one.ended(2.0, "run", 1, 1)) == []
    assert one.remains() == ["run"]
    assert one.ended(2.1, "run", 1) == []
    assert starts(one.ended(2.2, "run", 0)) == [("run", "start")]
    assert one.ended(2.3, "run", 0) == [], "it runs: another process of it is no news"


def test_processes_of_no_entry_are_asked_for_with_a_new_level_only() -> None:
    one = make()

    def nobody_asks() -> bool:
        raise AssertionError

    for order in (custody.extend(11.0), custody.own(TOKEN), custody.FINISH):
        one.obey(1.0, order, nobody_asks)
    obey(one, 1.0, custody.tell("start", ENTRIES))
    assert [a.tag for a in obey(one, 2.0, custody.tell("stop", ENTRIES), strays=True) if isinstance(a, Signal)] == \
        ["run", ""]


# ---- other versions -----------------------------------------------------------------------------------------------


def test_what_is_usual_is_not_told_so_a_leash_of_an_earlier_version_takes_it() -> None:
    stop = DEFAULT_POLICY.stop
    assert custody.tell("start", ENTRIES, policy=DEFAULT_POLICY)["policy"] == {"stop": stop}
    assert custody.tell("start", ENTRIES, policy=Policy(fast_exits_max=3))["policy"] == \
        {"stop": stop, "fast_exits_max": 3}


def test_what_runs_on_at_level_stop_is_stopped_after_the_limit_so_that_another_node_may_have_the_group() -> None:
    entries = cltab.parse("kv:o:stop:once:x\nkv:r:stop:respawn:x\nkv:w:stop:wait:x\n").entries
    one = Custody("kv", {}, float("inf"), False, Policy(stop_limit_s=120))
    actions = obey(one, 0.0, custody.tell("stop", entries))
    assert starts(actions) == [("o", "stop"), ("r", "stop"), ("w", "stop")]
    obey(one, 1.0, custody.FINISH)
    assert states(one.ended(2.0, "w", 1, 0)) == ["CHECKING", "DONE"]
    assert not one.has_ended(False)
    assert one.look(120.9) == []
    assert one.next_due == 121.0
    halted, *signals = one.look(121.0)
    assert halted == StateChanged("stop", "HALTING", "not all has ended within 120 s")
    assert [action.tag for action in signals if isinstance(action, Signal)] == ["o", "r", "w"]
    assert one.next_due == 126.0
    for tag in "orw":
        assert starts(one.ended(122.0, tag, 0, 0 if tag != "w" else None)) == []
    assert one.has_ended(True)


def test_a_level_stop_that_has_not_come_to_rest_is_left_to_its_own_limit() -> None:
    one = Custody("kv", {}, float("inf"), False, Policy(stop=((0.0, 2), (200.0, 9)), stop_limit_s=120))
    run(one)
    obey(one, 0.0, custody.tell("stop", ENTRIES))
    obey(one, 0.0, custody.FINISH)
    assert states(one.look(150.0)) == []
    assert one.next_due == 200.0
    assert [action.signo for action in one.look(200.0) if isinstance(action, Signal)] == [9]


def test_what_a_later_version_tells_of_a_policy_is_left_out() -> None:
    order = {**custody.tell("start", ENTRIES, policy=Policy(stop=((0.0, 9),)))}
    order["policy"] = {**order["policy"], "naps_s": 1}
    assert custody.strange(order) == ["naps_s"]
    assert custody.strange(custody.KILL) == custody.strange(custody.tell("stop", ENTRIES)) == []
    one = make()
    assert starts(obey(one, 0.0, order)) == [("run", "start")]
    obey(one, 1.0, custody.tell("stop", ENTRIES))
    assert one._group.policy == Policy(stop=((0.0, 9),))


def test_of_a_policy_all_comes_through() -> None:
    policy = Policy(((0.0, 15), (1.0, 9)), 2.0, 3.0, 4, 5.0, 6.0, 7.0, 8.0)
    one = make()
    obey(one, 0.0, custody.tell("start", ENTRIES, policy=policy))
    assert one._group.policy == policy
    obey(one, 1.0, custody.tell("start", ENTRIES, policy=DEFAULT_POLICY))
    assert one._group.policy == DEFAULT_POLICY
