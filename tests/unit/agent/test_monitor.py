"""The decision table: every row decides something, and the promises that matter hold for every view."""

from __future__ import annotations

import itertools

import pytest

from mosha.monitor import SETTLED, TABLE, Action, View, decide, why

LEVELS = (None, "test", "start", "stop", "other")
STATES = (None, "STARTING", "STOPPING", "DONE", "PASSED", "FAILED")


def views() -> list[View]:
    flags = (False, True)
    found = []
    for wanted, level, state in itertools.product((None, "start"), LEVELS, STATES):
        for claimed, held, leased, leash, unfit, orphaned, changed in itertools.product(flags, repeat=7):
            if not claimed and (held or leased):
                continue                        # a lease is a lease of a claim
            view = View(wanted, claimed, held, leased, leash, orphaned, unfit, level, state, changed)
            aheads = [(False, False)] if not leash else [(False, False), (True, False), (True, True)]
            for awaited, (ahead, fresh) in itertools.product(flags, aheads):
                found.append(view._replace(awaited=awaited, ahead=ahead, fresh=fresh))
            if not changed:
                found += [view._replace(planned=True)] if view.held and view.leased else []
                found += [view._replace(planned=True, ahead=True, fresh=True)] if leash and view.held else []
                if level is not None and view.held and view.leased and leash:
                    found += [view._replace(may_restart=True)]
                    found += [view._replace(restarting=True)] if level == "stop" else []
                found += [view._replace(inherited=True), view._replace(inherited=True, passes=True)]
                found += [view._replace(deaf=True)] if leash else []
                found += [view._replace(maintained=True), view._replace(on_hold=True),
                          view._replace(maintained=True, on_hold=True)]
    return found


VIEWS = views()


def test_every_row_decides_some_view() -> None:
    assert {why(view) for view in VIEWS} == {name for name, _, _ in TABLE}


def test_nothing_is_started_without_a_majority_and_a_lease() -> None:
    for view in VIEWS:
        if decide(view) in (Action.OWN, Action.RUN_TEST, Action.RUN):
            assert view.claimed, view
            assert view.held, view
            assert view.leased, view
            assert not view.orphaned, view


def test_ownership_is_never_given_up_while_processes_may_exist() -> None:
    for view in VIEWS:
        if decide(view) is Action.RENOUNCE:
            assert not view.leash, view
            assert not view.orphaned, view


def test_what_runs_without_a_lease_is_killed() -> None:
    for view in VIEWS:
        if view.leash and not view.ahead and not (view.held and view.leased):
            is_left = view.inherited and view.passes and not view.orphaned and not view.deaf
            assert decide(view) in ((Action.CLAIM, Action.NOTHING) if is_left else (Action.KILL,)), view


def test_a_group_whose_leash_stands_still_is_killed_whatever_else_is_known() -> None:
    assert {decide(view) for view in VIEWS if view.deaf} == {Action.KILL}


def test_what_an_earlier_life_left_is_told_nothing_before_it_is_ours_and_nothing_is_started_beside_it() -> None:
    for view in VIEWS:
        if view.inherited and not (view.leash and view.passes and view.held and view.leased):
            assert decide(view) not in (Action.RUN, Action.RUN_STOP, Action.RESTART, Action.HOLD), view
            assert view.leash or not view.held or decide(view) in (Action.KILL, Action.RENOUNCE), view


def test_a_leash_without_a_token_is_told_it_or_only_tests() -> None:
    for view in VIEWS:
        if view.ahead:
            ends = {Action.OWN, Action.KILL, Action.GIVE_UP, Action.CLAIM, Action.NOTHING}
            assert decide(view) in ends, view
            assert decide(view) is not Action.OWN or (view.held and view.leased and view.fresh), view
            assert decide(view) is not Action.NOTHING or (view.claimed and view.fresh), view


def test_the_test_ahead_waits_for_an_announcement_and_for_nothing_else_to_run_here() -> None:
    for view in VIEWS:
        if decide(view) is Action.TEST_AHEAD:
            assert view.awaited, view
            assert view.wanted == "start", view
            assert not any((view.leash, view.claimed, view.unfit, view.orphaned)), view


def test_the_wanted_level_is_reached_only_through_a_test_that_passed() -> None:
    for view in VIEWS:
        if decide(view) is Action.RUN and view.level == "test":
            assert view.state in SETTLED - {"FAILED"}, view


def test_in_maintenance_nothing_is_begun_or_ended_but_what_must_not_run() -> None:
    for view in VIEWS:
        if view.maintained:
            assert decide(view) in (Action.KILL, Action.RENOUNCE, Action.HOLD, Action.NOTHING), view


@pytest.mark.parametrize(
    ("view", "action"),
    [
        (View("start", False, False, False, False), Action.CLAIM),
        (View("start", False, False, False, False, unfit=True), Action.NOTHING),
        (View("start", False, False, False, False, awaited=True), Action.TEST_AHEAD),
        (View("start", False, False, False, True, awaited=True, ahead=True, fresh=True), Action.CLAIM),
        (View("start", False, False, False, True, free=True, ahead=True, fresh=True), Action.CLAIM),
        (View("start", True, False, False, True, ahead=True, fresh=True), Action.NOTHING),
        (View("start", True, False, False, True, ahead=True, fresh=True, state="FAILED"), Action.GIVE_UP),
        (View("start", True, True, True, True, ahead=True, fresh=True), Action.OWN),
        (View("start", True, True, True, True, ahead=True), Action.KILL),
        (View("start", True, True, True, False, planned=True), Action.NOTHING),
        (View("start", True, True, True, True, planned=True, ahead=True, fresh=True), Action.NOTHING),
        (View("start", True, True, True, True, planned=True, ahead=True), Action.KILL),
        (View(None, True, True, True, False, planned=True), Action.RENOUNCE),
        (View("start", True, True, True, True, level="start", state="DONE", planned=True), Action.NOTHING),
        (View("start", True, True, True, True, level="test", state="PASSED", planned=True), Action.RUN),
        (View("start", False, False, False, True, ahead=True, fresh=True), Action.KILL),
        (View("start", True, True, True, False), Action.RUN_TEST),
        (View("start", True, True, True, False, unfit=True), Action.RENOUNCE),
        (View("start", True, True, True, True, level="test", state="PASSED"), Action.RUN),
        (View("start", True, True, True, True, level="test", state="FAILED"), Action.GIVE_UP),
        (View("start", True, True, True, True, level="start", state="DONE"), Action.NOTHING),
        (View("start", True, True, True, True, level="start", state="FAILED"), Action.GIVE_UP),
        (View("start", True, True, True, True, level="start", state="FAILED", may_restart=True), Action.RESTART),
        (View("start", True, True, True, True, level="test", state="FAILED", may_restart=True), Action.GIVE_UP),
        (View("start", True, True, True, True, level="stop", state="STOPPING", restarting=True), Action.NOTHING),
        (View("start", True, True, True, True, level="stop", state="DONE", restarting=True), Action.RUN),
        (View("start", True, True, True, True, level="stop", state="FAILED", restarting=True), Action.GIVE_UP),
        (View(None, True, True, True, True, level="stop", state="DONE", restarting=True), Action.RUN_STOP),
        (View("start", True, True, True, True, level="start", state="DONE", entries_changed=True), Action.RUN),
        (View("test", True, True, True, True, level="test", state="PASSED"), Action.NOTHING),
        (View("other", True, True, True, True, level="start", state="DONE"), Action.RUN),
        (View(None, True, True, True, True, level="start", state="DONE"), Action.RUN_STOP),
        (View(None, True, True, True, True, level="start", state="STARTING"), Action.RUN_STOP),
        (View(None, True, True, True, True, level="stop", state="STARTING"), Action.NOTHING),
        (View(None, True, True, True, True, level="stop", state="DONE"), Action.NOTHING),
        (View(None, True, True, True, False), Action.RENOUNCE),
        (View("start", True, True, True, False, orphaned=True), Action.KILL),
        (View("start", False, False, False, True, inherited=True, passes=True), Action.CLAIM),
        (View("start", True, True, False, True, inherited=True, passes=True), Action.NOTHING),
        (View("start", True, True, True, True, level="start", state="DONE", inherited=True, passes=True),
         Action.NOTHING),
        (View(None, True, True, True, True, level="start", state="DONE", inherited=True, passes=True), Action.RUN_STOP),
        (View("start", True, True, True, True, level="start", state="DONE", inherited=True), Action.KILL),
        (View("start", True, True, True, False, inherited=True), Action.RENOUNCE),
    ],
)
def test_the_lifecycle(view: View, action: Action) -> None:
    assert decide(view) is action
