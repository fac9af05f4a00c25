"""What whole clusters of OpenMosix::HA 0.555 did, by the numbers of docs/weaknesses.md, and how this agent does.

Simulated clusters; "valid" is the verdict of all checkers of docs/simulator.md: no two nodes run a group at once, none
runs it without a majority, no agent crashes, and in the end every group runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from mosha.fencing import Fencing
from mosha.lives import AlreadyRuns, Life
from mosha.placement import first, rank
from mosha.timing import Timing
from moslab.faults.plan import Fault, FaultPlan
from moslab.history.checkers import VALID
from moslab.simulator.directed import crash, cut, kill_agent, pause
from moslab.simulator.run import Result, run

CLTAB = "kv:kv-fit:test:test:run 0.02\nkv:kv-run:start:respawn:live{more}\n"
CORE_S_MAX = 180.0
FOREVER_S = 1000.0


def played(
    faults: Sequence[Fault] = (), nodes: int = 3, more: str = "", voters: str = "1 2 3", safety_s: float = 25.0,
    **changes: Any,
) -> Result:
    """What came of it; valid."""
    plan = FaultPlan(
        seed=3, nodes=nodes, cltab=CLTAB.format(more=more), hactl="kv start\n", safety_s=safety_s, faults=list(faults),
        conf={"voters": voters}, bound_s=60.0,
    )
    for name, value in changes.items():
        setattr(plan, name, {**plan.conf, **value} if name == "conf" else value)
    result = run(plan, core_s_max=CORE_S_MAX)
    assert (result.verdict, result.problems) == (VALID, [])
    return result


def owners(result: Result, since_s: float = 0.0, until_s: float = float("inf"), group: str = "kv") -> list[int]:
    """The nodes that ran it then, in order."""
    found = [i for i in result.history.services() if i.group == group and i.begin_s < until_s and i.end_s > since_s]
    return list(dict.fromkeys(i.node for i in sorted(found, key=lambda i: i.begin_s)))


def first_owner(**changes: Any) -> int:
    """Of a plan without faults; with faults that come later it is the same."""
    return owners(played(safety_s=8.0, **changes), until_s=4.0)[0]


def runs_at(result: Result, time_s: float) -> list[int]:
    return [i.node for i in result.history.services() if i.begin_s <= time_s < i.end_s]


def test_w05_processes_that_outlive_an_agent_are_no_second_instance() -> None:
    """Killed again and again, also with its group, and restarted each time."""
    faults = [kill_agent(5.0 + 3 * number, "owner:kv") for number in range(5)]
    result = played(faults, more=" int=ignore term=ignore")
    assert runs_at(result, result.virtual_s - 1)


def test_w06_one_agent_at_a_time(tmp_path: Any) -> None:
    life = Life(str(tmp_path))
    with pytest.raises(AlreadyRuns, match="another mosha runs on this node"):
        Life(str(tmp_path))
    life.close()
    Life(str(tmp_path)).close()


def test_w07_a_dead_guardian_is_noticed_and_its_group_runs_again() -> None:
    result = played([{"at": 6.0, "do": "kill", "what": "leash", "whom": ["owner:kv"]}])
    assert any(6.0 < i.begin_s < 9.0 for i in result.history.services())


def test_w07_a_guardian_that_stands_still_is_noticed_and_its_group_runs_again() -> None:
    """It tells nobody that the group has ended."""
    result = played([
        {"at": 6.0, "do": "pause", "what": "leash", "whom": ["owner:kv"]},
        {"at": 7.0, "do": "kill", "what": "group", "whom": ["owner:kv"]},
    ])
    assert any(7.0 < i.begin_s < 10.0 for i in result.history.services())


def test_w08_a_node_that_is_restarted_alone_starts_nothing() -> None:
    """Its first look has no quorum: that is of the voters, not of what it saw before."""
    owner = first_owner()
    others = sorted({1, 2, 3} - {owner})
    result = played([cut(6.0, FOREVER_S, [owner], others), kill_agent(9.0, owner)])
    assert owners(result, 13.0, 25.0)[:1] != [owner]
    assert owner not in owners(result, 12.0, 25.0)


def test_w08_a_partition_that_is_seen_one_node_at_a_time_leaves_one_side() -> None:
    """2 and 2, and 2 and 3, of which each step is small."""
    for nodes, voters in ((4, "1 2 3"), (5, "1 2 3 4 5")):
        steps = [cut(6.0 + 4 * step, FOREVER_S, [1 + step], list(range(3, nodes + 1))) for step in range(2)]
        result = played(steps, nodes=nodes, voters=voters, safety_s=30.0)
        assert len(runs_at(result, 25.0)) == 1


def test_w08_of_two_halves_of_eight_one_runs_the_group() -> None:
    result = played([cut(6.0, FOREVER_S, [1, 2, 3, 4], [5, 6, 7, 8])], nodes=8, voters="1 2 3 4 5 6 7")
    assert len(runs_at(result, 20.0)) == 1
    assert runs_at(result, 20.0)[0] <= 4, "where most voters are"


def test_w08_two_nodes_survive_the_death_of_either_with_stomith() -> None:
    for victim in (1, 2):
        result = played([crash(8.0, FOREVER_S, [victim])], nodes=2, voters="1 2", conf={"stomith": "/sbin/off %n"},
                        safety_s=30.0, heal=[3 - victim])
        assert runs_at(result, 28.0) == [3 - victim]


@pytest.mark.parametrize("stomith", [{}, {"stomith": "/sbin/off %n"}])
def test_w10_a_dead_agent_on_a_node_that_is_marked_up_blocks_nothing(stomith: dict[str, str]) -> None:
    """Its node answers probes, and its files can be read. Without STOMITH its lease ends; with, it is shot, once."""
    owner = first_owner(conf=stomith)
    result = played([pause(6.0, FOREVER_S, "agent", owner)], conf=stomith)
    moved = [i for i in result.history.services() if i.node != owner]
    assert min(i.begin_s for i in moved) < 6.0 + 12.0
    assert len([shot for shot in result.history.shots if shot[0] < 20.0]) <= 1
    assert owner not in owners(result, 18.0, 25.0)


def test_w10_one_node_shoots_and_waits_for_the_answer() -> None:
    result = played([crash(6.0, FOREVER_S, ["owner:kv"])], nodes=5, conf={"stomith": "/sbin/off %n"}, heal=[])
    assert len([time_s for time_s, _ in result.history.shots if time_s < 20.0]) == 1
    assert Fencing.__module__ == "mosha.fencing"


def test_w11_the_group_of_a_hung_agent_is_ended_before_another_node_may_start_it() -> None:
    owner = first_owner()
    result = played([pause(6.0, 12.0, "agent", owner)])
    last = max(i.end_s for i in result.history.services() if i.node == owner and i.begin_s < 6.0)
    assert last < min(i.begin_s for i in result.history.services() if i.node != owner)


@pytest.mark.parametrize("more", ["", " int=ignore term=ignore", " int=ignore term=ignore leaves=1"])
def test_w12_a_lease_ends_with_everything_however_deaf_it_is(more: str) -> None:
    """Cut off, and resumed after a long stand-still."""
    owner = first_owner(more=more)
    others = sorted({1, 2, 3} - {owner})
    played([cut(6.0, 12.0, [owner], others)], more=more)
    played([{"at": 6.0, "do": "freeze", "whom": [owner], "for": 8.0}], more=more)


def test_w12_a_process_that_cannot_die_is_not_taken_for_dead() -> None:
    owner = first_owner()
    others = sorted({1, 2, 3} - {owner})
    played([{"at": 5.0, "do": "stuck", "whom": [owner], "for": 10.0}, cut(6.0, 6.0, [owner], others)])


def test_w13_one_blind_observer_moves_nothing() -> None:
    """Nobody plans because of what one node does not see, and no plan stops what runs."""
    owner = first_owner(nodes=5)
    blind = next(node for node in (5, 4) if node != owner)
    result = played([cut(6.0, FOREVER_S, [blind], [owner])], nodes=5)
    assert owners(result, until_s=25.0) == [owner]
    assert len([i for i in result.history.services() if i.begin_s < 25.0]) == 1


def test_w13_an_owner_that_everybody_but_one_voter_hears_is_left_alone() -> None:
    owner = first_owner()
    blind = next(node for node in (1, 2, 3) if node != owner)
    result = played([cut(6.0, FOREVER_S, [blind], [owner])])
    assert owners(result, until_s=25.0) == [owner]


@pytest.mark.parametrize("by", [300.0, -300.0])
def test_w14_a_wall_clock_that_jumps_moves_nothing_and_nobody_is_shot(by: float) -> None:
    owner = first_owner(conf={"stomith": "/sbin/off %n"})
    result = played([{"at": 6.0, "do": "jump", "whom": [owner], "by": by}], conf={"stomith": "/sbin/off %n"})
    assert owners(result) == [owner]
    assert result.history.shots == []


def test_w16_a_start_that_fails_here_is_tried_elsewhere() -> None:
    first = first_owner()
    cltab = f"kv:fit:test:test:run 0.02\nkv:pre:start:wait:run 0.05 unfit={first}\nkv:run:start:respawn:live\n"
    result = played(cltab=cltab)
    assert runs_at(result, result.virtual_s - 1) != [first]


def test_w17_a_node_that_failed_the_test_is_not_asked_again_at_once() -> None:
    result = played(more="", cltab="kv:fit:test:test:run 0.02 unfit=1,2\nkv:run:start:respawn:live\n")
    tests = [i for i in result.history.intervals if i.pid in result.history.tests and i.begin_s < 25.0]
    assert max([sum(1 for i in tests if i.node == node) for node in (1, 2)], default=0) <= 3
    assert owners(result) == [3]


def test_w24_a_node_whose_files_are_gone_loses_nothing() -> None:
    """The voter forgets, and comes to count again; the group runs on."""
    owner = first_owner()
    result = played([{"at": 6.0, "do": "damage", "whom": [owner], "file": "voter", "shape": "other"}])
    assert owners(result) == [owner]


def test_w27_times_hold_to_each_other() -> None:
    """Five beats in a lease at least, and no clock of a server in it: a lost beat is nothing."""
    timing = Timing()
    assert timing.lease_s >= 5 * timing.beat_s
    result = played([{"at": 6.0, "do": "weather", "whom": [1, 2, 3], "loss": 0.1, "error": 0.02, "for": 12.0}])
    assert len(owners(result)) <= 2


def test_w30_the_time_to_react_does_not_grow_with_the_number_of_nodes() -> None:
    """Nor does it with the number of groups."""
    for nodes in (3, 12):
        result = played([crash(8.0, FOREVER_S, ["owner:kv"])], nodes=nodes, safety_s=20.0)
        assert min(i.begin_s for i in result.history.services() if i.begin_s > 8.0) < 8.0 + 6.0


def test_w35_a_group_waits_for_one_that_it_requires() -> None:
    """And one whose node dies is back first."""
    cltab = CLTAB.format(more="") + CLTAB.format(more="").replace("kv", "web")
    faults = [crash(10.0, FOREVER_S, ["owner:kv"]), crash(10.0, FOREVER_S, ["owner:web"])]
    result = played(faults, nodes=5, cltab=cltab, hactl="web start requires=kv\nkv start\n", safety_s=30.0)
    for since_s, until_s in ((0.0, 10.0), (10.0, 30.0)):
        kv, web = (
            min(i.begin_s for i in result.history.services() if i.group == group and since_s < i.begin_s < until_s)
            for group in ("kv", "web")
        )
        assert kv < web


def test_w35_load_decides_who_goes_first() -> None:
    """Whatever the group; and those of a dead node do not all come to one other."""
    assert first("kv", [1, 2, 3], {1: 2, 2: 0, 3: 1}) == 2
    assert [rank("kv", me, {1, 2, 3} - {me}, {1: 2, 2: 0, 3: 1}) for me in (1, 2, 3)] == [2, 0, 1]
    names = [f"g{number}" for number in range(9)]
    cltab = "".join(f"{n}:{n}-fit:test:test:run 0.02\n{n}:{n}-run:start:respawn:live\n" for n in names)
    result = played([crash(8.0, FOREVER_S, ["owner:g0"])], nodes=4, cltab=cltab, safety_s=20.0,
                    hactl="".join(f"{name} start\n" for name in names))
    running = [i for i in result.history.services() if i.begin_s < 19.0 < i.end_s]
    each = [len({i.group for i in running if i.node == node}) for node in range(1, 5)]
    assert sum(each) == len(names)
    assert sum(1 for count in each if count) >= 2
