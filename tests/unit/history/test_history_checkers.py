"""Every checker finds what is wrong in a broken history, and nothing in one that is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable

import pytest

from mosha.timing import THAW_S
from moslab.history.checkers import (
    CHECKERS,
    INVALID,
    SEEN,
    UNKNOWN,
    VALID,
    judge,
    thaw_overlap_s,
    token,
    unseen,
)
from moslab.history.intervals import Interval, merged, overlaps
from moslab.history.quorum import KILL_S
from moslab.history.record import (
    SEEN_LEASES,
    Buried,
    Edit,
    Elected,
    Gone,
    Held,
    History,
    Life,
    Numbered,
    Overwritten,
    Released,
    WentBack,
)

FIRST = Interval("kv", 1, 11, "7.1", 1.0, 10.0)
SECOND = Interval("kv", 2, 22, "7.2", 10.5, float("inf"))
HELD = Interval("10.0.0.9", 1, 0, "", 2.0, 10.0)


def whole() -> History:
    """Node 1 ran kv until it lost contact, then node 2; three nodes vote."""
    return History(
        nodes=3, electorates=[Elected(0.0, 7, 0, (1, 2, 3))], lease_s=2.5, drift=0.01, end_s=30.0,
        intervals=[FIRST, SECOND],
        contacts={
            (node, voter): [(0.0, 8.0 if node == 1 and voter != 1 else float("inf"))]
            for node in (1, 2, 3) for voter in (1, 2, 3)
        },
        edits=[Edit(2.0, "cltab", 1, 3), Edit(5.0, "cltab", 2, 2)],
        held=[Held(2.5, "cltab", 1), Held(5.5, "cltab", 2)], final={"cltab": [(1, 2), (1, 2), (1,)]},
        numbered=[Numbered(2.2, "cltab", 3, (1,)), Numbered(5.2, "cltab", 2, (1, 2))],
        released=[Released(10.2, "kv", "7.1", 1)], healed_s=20.0, bound_s=5.0, wanted=["kv"],
        healed=[1, 2], rest_s=4.8, files={1: 10, 2: 12}, files_max=20,
        lives=[Life(0.5, 1), Life(10.4, 2), Life(11.0, 1)],
    )


def test_a_group_that_starts_soon_after_those_that_it_requires_is_in_order() -> None:
    db = Interval("db", 3, 33, "7.1", 0.5, 10.5 - SEEN_LEASES * 2.5 + 0.1)
    assert judge(replace(whole(), requires={"kv": ("db",)}, intervals=[db, FIRST, SECOND])) == (VALID, [])


def test_what_requires_a_group_that_waits_need_not_run() -> None:
    idle = replace(
        whole(), wanted=["db", "app", "web"], requires={"web": ("app",), "app": ("db", "kv")}, waiting={"db": 3},
    )
    assert problems(idle) == {"liveness"}
    assert judge(replace(idle, fenced=frozenset({"db"}))) == (VALID, [])


ALWAYS = {(node, voter): [(0.0, float("inf"))] for node in (1, 2, 3) for voter in (1, 2, 3)}


OF_2003 = Interval("kv", 3, 33, "", 0.1, 10.4)


@pytest.mark.parametrize("theirs", [
    OF_2003, OF_2003._replace(begin_s=4.0, end_s=30.0), OF_2003._replace(group="web", end_s=30.0),
])
def test_what_one_of_2003_runs_besides_or_has_begun_lately_is_borne(theirs: Interval) -> None:
    """It has no token and no quorum, and what is seen of it is seconds old."""
    mixed = replace(whole(), elders=frozenset({3}), intervals=[FIRST, SECOND, theirs])
    assert judge(mixed) == (VALID, [])
    assert "overlap" in problems(replace(mixed, elders=frozenset())) or theirs.group == "web"


def test_what_one_of_2003_has_out_of_sight_is_not_known() -> None:
    mixed = replace(whole(), elders=frozenset({3}), intervals=[FIRST, SECOND, OF_2003._replace(end_s=30.0)])
    assert problems(mixed) == {"elders"}
    cut = {**mixed.contacts, (2, 3): [(0.0, 9.0), (12.0, float("inf"))]}
    assert judge(replace(mixed, contacts=cut)) == (VALID, [])


THIRD = Edit(4.5, "cltab", 3, 1)
LATE = Numbered(11.0, "cltab", 1, (1, 3))
REPLACED: dict[str, list[tuple[int, ...]]] = {"cltab": [(1, 3), (1, 3), (1, 3)]}


def problems(history: History) -> set[str]:
    verdict, found = judge(history)
    assert (verdict == INVALID) == bool(found)
    return {problem.partition(":")[0] for problem in found}


def test_a_whole_history_is_valid() -> None:
    assert judge(whole()) == (VALID, [])


def test_a_test_ahead_of_the_token_is_no_run_of_the_group() -> None:
    ahead = Interval("kv", 2, 20, "", 9.0, 9.5)
    assert judge(replace(whole(), intervals=[FIRST, ahead, SECOND], tests={20})) == (VALID, [])
    assert problems(replace(whole(), intervals=[FIRST, ahead, SECOND])) == {"overlap", "epochs"}


def stuck(history: History, group: str, after: str) -> History:
    """Node 1 is shot for the one, and then node 2 for the other; nothing else is broken."""
    gone = [Gone(group, 1, "", 300.0, 360.0), Gone(after, 2, "", 400.0, 460.0)]
    return replace(
        history, end_s=500.0, shots=[(360.0, 1), (460.0, 2)], gone=gone, lease_s=2.5, contacts=ALWAYS,
        healed_s=None, promised=False,
    )


def test_one_node_is_shot_for_what_it_cannot_end_and_others_for_what_is_broken() -> None:
    one = stuck(whole(), "db", "db")
    assert judge(replace(one, shots=one.shots[:1], gone=one.gone[:1])) == (VALID, [])
    assert problems(one) == {"shots"}
    assert judge(replace(one, hampered=[(410.0, 411.0, 3)])) == (VALID, []), "node 2 may have been silent"
    assert judge(replace(one, contacts={**ALWAYS, (3, 3): [(0.0, 399.0), (402.0, 500.0)]})) == (VALID, [])
    soon = [one.gone[0]._replace(end_s=345.0), one.gone[1]]
    assert judge(replace(one, gone=soon)) == (VALID, []), "of node 1 nobody need have heard that it was stuck"
    minority = replace(
        stuck(whole(), "db", "web"), nodes=5, electorates=[Elected(0.0, 7, 0, (1, 2, 3, 4, 5))],
    )
    assert judge(minority) == (VALID, [])


BROKEN: dict[str, list[Callable[[History], History]]] = {
    "order": [
        lambda h: replace(h, requires={"kv": ("db",)}),
        lambda h: replace(
            h, requires={"kv": ("db",)},
            intervals=[Interval("db", 3, 33, "7.1", 0.5, 10.5 - SEEN_LEASES * 2.5 - 0.1), FIRST, SECOND],
        ),
    ],
    "overlap": [
        lambda h: replace(h, intervals=[FIRST._replace(end_s=10.6), SECOND], released=[], contacts=ALWAYS),
        lambda h: replace(h, intervals=[*h.intervals, Interval("kv", 3, 33, "7.3", 12.0, 12.001)]),
        lambda h: replace(
            h, intervals=[FIRST._replace(end_s=10.7), SECOND], thaws=[(10.5, 1)], released=[], contacts=ALWAYS
        ),
        lambda h: replace(h, addresses=[HELD, HELD._replace(node=2, begin_s=9.99, end_s=20.0)]),
        lambda h: replace(
            h, addresses=[HELD._replace(end_s=9.6), HELD._replace(node=2, begin_s=9.5)], thaws=[(9.5, 1)]
        ),
    ],
    "quorum": [
        lambda h: replace(h, contacts={**h.contacts, (1, 2): [(0.0, 5.0)], (1, 3): [(0.0, 4.0)]}),
        lambda h: replace(h, contacts={**h.contacts, (2, 1): [(0.0, 12.0), (20.0, 30.0)], (2, 3): [(0.0, 12.0)]}),
        lambda h: replace(h, contacts={**h.contacts, (1, 2): [(0.0, 8.0 - KILL_S)], (1, 3): []}, lease_s=1.9),
        lambda h: replace(h, contacts={}),
    ],
    "epochs": [
        lambda h: replace(h, intervals=[FIRST._replace(epoch="7.3"), SECOND]),
        lambda h: replace(h, intervals=[FIRST, SECOND._replace(epoch="7.1")]),
        lambda h: replace(h, intervals=[FIRST, SECOND._replace(epoch="6.9")]),
    ],
    "released": [
        lambda h: replace(h, released=[Released(9.9, "kv", "7.1", 1)]),
        lambda h: replace(h, gone=[Gone("kv", 1, "7.1", 10.0, 10.3)]),
    ],
    "edits": [
        lambda h: replace(h, final={"cltab": [(1,), (1, 2), (1,)]}),
        lambda h: replace(h, final={"cltab": [(), (), (1, 2)]}),
        lambda h: replace(h, edits=[*h.edits, Edit(9.0, "cltab", 3, 1)]),
        # it was made before that which it replaces, on a node that was cut off, and comes into force later
        lambda h: replace(
            h, edits=[*h.edits, THIRD], numbered=[*h.numbered, LATE], final=REPLACED, aside={("cltab", 2)}
        ),
        lambda h: replace(h, edits=[*h.edits, THIRD], held=[*h.held, Held(12.0, "cltab", 3)], final=REPLACED),
        # numbered, and thrown away at once for a version that is older
        lambda h: replace(h, went_back=[WentBack(9.1, "cltab", 1, 4, 3)]),
    ],
    "liveness": [
        lambda h: replace(h, wanted=["kv", "web"]),
        lambda h: replace(h, intervals=[FIRST, SECOND._replace(end_s=29.0)]),
        lambda h: replace(h, intervals=[FIRST, SECOND._replace(begin_s=25.1)]),
        lambda h: replace(h, tests={22}),
    ],
    "journals": [lambda h: replace(h, overwritten=[Overwritten(3.0, 2, "1-aa.j.1.1.aa.0")])],
    "leak": [
        lambda h: replace(h, files={1: 10, 2: 21}),
        lambda h: replace(h, journal_bytes={1: 100, 2: 101}, journal_bytes_max=100),
    ],
    "lives": [
        lambda h: replace(h, lives=[Life(9.8, 1)], buried=[Buried(9.99, 1, frozenset({"web"}))], released=[]),
        lambda h: replace(h, lives=[Life(10.1, 1)], buried=[Buried(10.1, 1, frozenset())],
                          gone=[Gone("kv", 1, "7.1", 10.0, 10.15)]),
    ],
    "leashes": [
        lambda h: replace(h, intervals=[*h.intervals, FIRST._replace(pid=12, begin_s=9.0, end_s=9.5)],
                          leashes={FIRST.pid: 1, SECOND.pid: 2, 12: 3}),
    ],
    "fenced": [
        lambda h: replace(h, fenced=frozenset({"kv"}), released=[]),
        lambda h: replace(h, fenced=frozenset({"kv"}), released=[Released(10.6, "kv", "7.1", 1)]),
        lambda h: replace(h, fenced=frozenset({"kv"}), released=[], shots=[(0.9, 1), (10.4, 3), (10.6, 1)]),
        lambda h: replace(h, fenced=frozenset({"kv"}), released=[],
                          buried=[Buried(0.5, 1, frozenset()), Buried(10.4, 1, frozenset({"kv"}))]),
    ],
    "elders": [
        # of three nodes the third is of 2003, in sight, and has had it for long
        lambda h: replace(h, elders=frozenset({3}), intervals=[FIRST, SECOND, OF_2003._replace(end_s=10.6)]),
    ],
    "rest": [
        lambda h: replace(h, voids=[(25.3, 1)]),
        lambda h: replace(h, rest_s=20.0),
    ],
    "shots": [
        # the second one that cannot end it; then of three nodes, and of three voters, the second with anything
        lambda h: replace(stuck(h, "db", "db"), nodes=9, electorates=[Elected(0.0, 7, 0, (1, 2, 3, 4, 5))]),
        lambda h: stuck(h, "db", "web"),
        lambda h: replace(stuck(h, "db", "web"), nodes=9),
        lambda h: replace(stuck(h, "db", "web"), electorates=[Elected(0.0, 7, 0, (1, 2, 3, 4, 5))]),
    ],
    "crash": [lambda h: replace(h, crashes=[(3.0, 2, "AssertionError")])],
}


def test_every_checker_has_a_broken_history() -> None:
    """That of clients is fed in test_linear.py."""
    assert {check.__name__ for check in CHECKERS} == {f"check_{name}" for name in BROKEN}


@pytest.mark.parametrize(("name", "number"), [(name, n) for name, all_ in BROKEN.items() for n in range(len(all_))])
def test_a_broken_history_is_found(name: str, number: int) -> None:
    assert problems(BROKEN[name][number](whole())) == {name}


@pytest.mark.parametrize("ground", [
    {"released": [Released(10.2, "kv", "7.1", 1)]}, {"shots": [(10.4, 1)]}, {"buried": [Buried(10.4, 1, frozenset())]},
])
def test_a_fenced_group_starts_elsewhere_when_the_owner_before_is_over(ground: dict[str, Any]) -> None:
    history = replace(whole(), fenced=frozenset({"kv"}), **{"released": [], **ground})
    assert judge(history)[0] == VALID
    again = [*history.intervals[:-1], SECOND._replace(end_s=15.0), SECOND._replace(pid=23, begin_s=15.0)]
    assert judge(replace(history, intervals=again))[0] == VALID, "and again where it is"


def test_another_era_knows_no_owner_before_only_where_most_voters_have_forgotten() -> None:
    intervals = [FIRST, SECOND._replace(epoch="8.1")]
    history = replace(whole(), fenced=frozenset({"kv"}), released=[], intervals=intervals)
    assert judge(replace(history, forgot=[(9.0, 2), (10.1, 3)]))[0] == VALID
    for forgot in ([], [(9.0, 2), (9.1, 2), (9.2, 5)], [(9.0, 2), (10.6, 3)]):
        assert problems(replace(history, forgot=forgot)) == {"fenced"}
    assert problems(replace(history, forgot=[(9.0, 2), (9.1, 3)], intervals=[FIRST, SECOND])) == {"fenced"}, "one era"


def test_a_cluster_at_rest_may_have_had_news_before_and_what_the_tables_ask_for() -> None:
    assert problems(replace(whole(), voids=[(25.1, 1), (29.0, 3)], rest_s=19.0, restless=frozenset({"kv"}))) == {"rest"}
    for quiet in (
        {"voids": [(25.1, 1), (29.0, 3)]}, {"rest_s": 20.0, "restless": frozenset({"kv"})},
        {"rest_s": 20.0, "healed": [2, 3]}, {"voids": [(29.0, 1)], "promised": False},
    ):
        assert judge(replace(whole(), **quiet)) == (VALID, []), quiet
    again = SECOND._replace(pid=23, begin_s=25.0)
    assert problems(replace(whole(), intervals=[FIRST, SECOND._replace(end_s=24.9), again], bound_s=10.0)) == set()


def test_a_fenced_group_may_wait_and_another_may_not() -> None:
    waits = replace(whole(), intervals=[FIRST], waiting={"kv": 1})
    assert judge(replace(waits, fenced=frozenset({"kv"})))[0] == VALID
    assert problems(waits) == problems(replace(waits, fenced=frozenset({"kv"}), waiting={})) == {"liveness"}


def test_an_address_may_be_there_for_the_moment_of_a_thaw_and_on_one_node_after_another() -> None:
    after = HELD._replace(node=2, begin_s=10.0, end_s=20.0)
    assert judge(replace(whole(), addresses=[HELD, after]))[0] == VALID
    late = replace(whole(), addresses=[HELD._replace(end_s=10.0 + THAW_S / 2), after], thaws=[(10.0, 1)])
    assert judge(late)[0] == VALID
    assert thaw_overlap_s(late) == pytest.approx(THAW_S / 2)


def test_the_moment_of_a_thaw_is_measured_and_forgiven() -> None:
    history = replace(whole(), intervals=[FIRST._replace(end_s=10.5 + THAW_S / 2), SECOND], thaws=[(10.5, 1)],
                      contacts=ALWAYS, released=[])
    assert judge(history)[0] == VALID
    assert thaw_overlap_s(history) == pytest.approx(THAW_S / 2)


@pytest.mark.parametrize("broken", [
    {"contacts": {**ALWAYS, (1, 3): [(0.0, 11.0)]}}, {"contacts": {**ALWAYS, (1, 2): [(11.0, float("inf"))]}},
    {"hampered": [(7.0, 8.0, 2)]}, {"hampered": [(11.0, 11.0, 1)]},
])
def test_where_clocks_stood_still_voters_that_answer_tell_at_once(broken: dict[str, Any]) -> None:
    """The lease looks good for longer only if one of them is cut off, or something is broken on it or on the node."""
    went_on = FIRST._replace(begin_s=10.5, end_s=13.0)
    history = replace(whole(), intervals=[FIRST, SECOND, went_on], contacts=ALWAYS, released=[], lives=[], stop_s=1.1,
                      stops=[(10.5, 1)])
    assert problems(history) == {"overlap"}
    assert problems(replace(history, stop_s=2.5)) == set()
    assert problems(replace(history, **broken)) == set()
    assert problems(replace(history, hampered=[(4.0, 5.0, 2), (12.0, 13.0, 2), (10.6, 11.0, 9)])) == {"overlap"}


def test_where_clocks_stood_still_a_lease_that_looks_good_is_borne_for_a_while() -> None:
    again = FIRST._replace(pid=12, begin_s=11.0, end_s=12.0)         # started anew, with the old token
    history = replace(whole(), intervals=[FIRST, SECOND, again], contacts=ALWAYS, released=[],
                      hampered=[(10.0, 11.0, 3)])
    assert problems(history) == {"overlap", "epochs"}
    assert problems(replace(history, thaws=[(10.5, 1)])) == {"overlap", "epochs"}
    assert problems(replace(history, stops=[(10.5, 1)])) == set()
    assert problems(replace(history, stops=[(10.5, 3)])) == {"overlap", "epochs"}, "of another node"
    late_s = 10.5 + 4 * 2.5 / 0.99 + THAW_S
    for end_s, wrong in ((late_s - 0.01, set()), (late_s + 0.01, {"overlap"})):
        went_on = FIRST._replace(begin_s=10.5, end_s=end_s)
        assert problems(replace(history, intervals=[FIRST, SECOND, went_on], stops=[(10.5, 1)], lives=[])) == wrong


def test_where_the_voters_change_a_majority_of_those_that_are_in_force_will_do() -> None:
    """Node 1 reaches 2 until 5, 3 until 4, and itself."""
    lost = BROKEN["quorum"][0](whole())
    lost.contacts[1, 1] = [(0.0, float("inf"))]
    assert problems(lost) == {"quorum"}

    def elected(*later: Elected) -> set[str]:
        return problems(replace(lost, electorates=[*lost.electorates, *later]))

    pair = Elected(4.5, 7, 1, (1, 2))
    assert elected(pair, Elected(7.0, 7, 2, (1,))) == set()
    assert elected(pair, Elected(7.0, 8, 0, (1,))) == set(), "of another era"
    assert elected(pair, Elected(9.0, 7, 2, (1,))) == {"quorum"}, "it went on alone after the lease had ended"
    assert elected(Elected(6.0, 7, 1, (1, 4))) == {"quorum"}
    only_once = Elected(2.0, 7, 1, (1,))
    assert elected(only_once) == elected(only_once, Elected(8.0, 7, 3, (1, 2))) == set()
    assert elected(only_once, Elected(3.0, 7, 3, (1, 2, 4))) == {"quorum"}, "it is not in force any more"


def test_a_process_that_goes_on_after_a_thaw_is_not_a_new_start() -> None:
    split = [FIRST._replace(end_s=5.0), FIRST._replace(begin_s=9.0), SECOND]
    late = replace(whole(), intervals=[FIRST, SECOND, FIRST._replace(begin_s=10.8, end_s=10.81)], thaws=[(10.8, 1)],
                   contacts=ALWAYS, released=[])
    assert judge(replace(whole(), intervals=split))[0] == VALID
    assert problems(late) == set()


def test_a_run_that_was_cut_short_or_empty_is_unknown() -> None:
    assert judge(replace(whole(), unfinished="too long"))[0] == UNKNOWN
    assert judge(History(nodes=3))[0] == UNKNOWN


def test_edits_that_were_made_at_one_time_may_win_or_stay_in_conflict() -> None:
    """As long as none is lost: what is not in force lies aside, or was lost with its disk."""
    early = LATE._replace(time_s=10.0)
    history = replace(whole(), edits=[*whole().edits, THIRD], numbered=[*whole().numbered, early])
    assert judge(replace(history, final={"cltab": [(1, 2), (1, 2), (1, 3)]}))[0] == VALID
    assert judge(replace(history, final=REPLACED, aside={("cltab", 2)}))[0] == VALID
    assert judge(replace(history, final=REPLACED, lost={("cltab", 2)}))[0] == VALID
    assert judge(replace(history, aside={("cltab", 3)}))[0] == VALID
    assert problems(replace(history, final=REPLACED, aside={("hactl", 2)})) == {"edits"}


def test_a_conflict_is_settled_by_who_edits_one_side_again() -> None:
    """Edit 2 was in force on a majority, and edit 3 had the same number; then 4 was made of that."""
    settled: dict[str, list[tuple[int, ...]]] = {"cltab": [(1, 3, 4)] * 3}
    history = replace(
        whole(), edits=[*whole().edits, THIRD, Edit(14.0, "cltab", 4, 1)], final=settled, aside={("cltab", 2)},
        numbered=[*whole().numbered, LATE._replace(time_s=5.3), Numbered(14.1, "cltab", 1, (1, 3, 4))],
    )
    assert judge(history)[0] == VALID
    assert problems(replace(history, aside=set())) == {"edits"}
    assert problems(replace(history, numbered=[*whole().numbered, history.numbered[-1]])) == {"edits"}


def test_in_the_middle_of_a_run_no_edit_is_lost_yet() -> None:
    assert judge(replace(whole(), final={}))[0] == VALID


def test_rules_of_which_nothing_was_seen_are_named() -> None:
    assert unseen(whole()) == "nothing was seen of: lives, journals, fenced, order, leashes, elders, shots, linear"
    in_containers = History(3, intervals=[FIRST, SECOND], files={1: 10}, files_max=20)
    assert judge(in_containers) == (VALID, [])
    assert unseen(in_containers).startswith("nothing was seen of: quorum, released, edits, lives,")
    everything = replace(
        whole(), buried=[Buried(1.0, 1, frozenset())], journal_bytes={1: 1}, fenced=frozenset({"kv"}), leashes={11: 1},
        requires={"kv": ()}, elders=frozenset({9}), shots=[(1.0, 9)], registers=["a"],
    )
    assert not unseen(everything)


def test_each_rule_says_what_it_is_about() -> None:
    always = {"crash", "liveness"}
    assert {check.__name__.removeprefix("check_") for check in CHECKERS} | {"linear"} == {*SEEN} | always


def test_tokens_compare_by_number() -> None:
    assert token("1700000000.10") > token("1700000000.9") > token("1699999999.99")
    assert token("10") > token("9")


def test_overlaps_are_of_one_group_on_two_nodes() -> None:
    one = Interval("kv", 1, 1, "1", 0.0, 10.0)
    assert overlaps([one, one._replace(pid=2, begin_s=5.0)]) == []
    assert overlaps([one, one._replace(group="web", node=2)]) == []
    assert overlaps([one, one._replace(node=2, begin_s=10.0, end_s=20.0)]) == []
    found = overlaps([one._replace(node=2, pid=3, begin_s=9.75, end_s=20.0), one])
    assert [(f.first.node, f.second.node, f.duration_s) for f in found] == [(1, 2, 0.25)]
    assert "kv: nodes 1 (epoch 1) and 2 (epoch 1) for 0.2500 s from 9.7500" in str(found[0])


def test_an_interval_within_another_is_found_beside_a_third() -> None:
    long = Interval("kv", 1, 1, "1", 0.0, 100.0)
    short = [Interval("kv", 2, n, "2", float(n), n + 0.5) for n in range(10, 20)]
    assert len(overlaps([long, *short])) == len(short)


def test_merged_spans() -> None:
    one = Interval("kv", 1, 1, "1", 0.0, 2.0)
    rest = [one._replace(begin_s=1.0, end_s=3.0), one._replace(begin_s=4.0, end_s=5.0)]
    assert merged([one, *rest]) == [(0.0, 3.0), (4.0, 5.0)]
    assert merged([one, *rest], gap_s=1.0) == [(0.0, 5.0)]
