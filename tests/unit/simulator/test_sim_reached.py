"""A healed cluster comes to rest; and what counts as reached is what has happened."""

from __future__ import annotations

from typing import Any

import pytest

from mosha.ownership import journal, marker
from mosha.ownership.disk_paxos import DiskPaxos
from mosha.ownership.journal import Block
from moslab.faults.plan import BOTH, FaultPlan
from moslab.history.checkers import INVALID, VALID
from moslab.history.intervals import Interval
from moslab.history.record import Elected, History, Released
from moslab.simulator import reached
from moslab.simulator.cluster import Cluster
from moslab.simulator.effect import has_effect
from moslab.simulator.inject import Injector
from moslab.simulator.run import REST_S, Result, run

CORE_S_MAX = 120.0
LEASE_S = 2.5
CLTAB = "kv:kv-fit:test:test:run 0.02\nkv:kv-run:start:respawn:live\n"


def calm(**more: Any) -> FaultPlan:
    plan = FaultPlan(seed=5, nodes=3, cltab=CLTAB, hactl="kv start\n", safety_s=8.0, bound_s=10.0)
    plan.conf = {"beat": "0.5", "lease": f"{LEASE_S}"}
    for name, value in more.items():
        setattr(plan, name, value)
    return plan


def test_a_run_ends_when_the_cluster_has_been_at_rest_for_some_leases() -> None:
    result = run(calm(), core_s_max=CORE_S_MAX)
    assert result.verdict == VALID, result.problems
    assert result.history.rest_s > REST_S + 3 * LEASE_S
    assert result.history.rest_s <= result.virtual_s - 8.0 < result.history.rest_s + 2


def test_a_cluster_whose_identities_always_end_soon_never_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each group runs for most of the time, and at the end as well."""
    held = DiskPaxos._why_void
    begun: dict[str, float] = {}

    def why(self: DiskPaxos, now: float) -> str:
        if self._lease.end is not None and now > begun.setdefault(self.identity, now) + 5.0:
            return "a mutant"
        return held(self, now)

    monkeypatch.setattr(DiskPaxos, "_why_void", why)
    result = run(calm(), core_s_max=CORE_S_MAX)
    assert result.verdict == INVALID
    assert "rest" in {problem.partition(":")[0] for problem in result.problems}


@pytest.mark.parametrize(("fault", "is_met"), [
    ({"do": "crash"}, False), ({"do": "crash", "wipe": True}, True), ({"do": "freeze"}, False),
    ({"do": "pause", "what": "agent"}, False), ({"do": "kill", "what": "leash"}, False),
    ({"do": "kill", "what": BOTH}, False),
    ({"do": "kill", "what": "group", "group": "kv"}, False), ({"do": "leave"}, False), ({"do": "stuck"}, False),
    ({"do": "wipe"}, True), ({"do": "cut", "to": [1]}, False), ({"do": "cut", "to": [1, 2]}, True),
    ({"do": "map", "nodes": [3, 1, 2]}, False), ({"do": "map", "nodes": [1]}, True),
])
def test_a_fault_counts_when_it_finds_something_to_change(fault: dict[str, Any], is_met: bool) -> None:
    """On a node that is off."""
    cluster = Cluster(calm())
    cluster.nodes[1].up = False
    assert has_effect(cluster.nodes[1], fault) is is_met
    name = f"fault {fault['do']}{'/' + fault['what'] if 'what' in fault else ''}"
    Injector(cluster).begin({"at": 0.0, "whom": [1], **fault})
    assert cluster.counters.get(name, 0) == is_met


def test_on_a_node_that_runs_its_group_all_have_an_effect_once() -> None:
    cluster = Cluster(calm())
    assert cluster.kernel.run(6.0, 1_000_000)
    owner = cluster.owner("kv")
    assert owner is not None
    node = cluster.nodes[owner]
    pause = {"do": "pause", "what": "leash"}
    assert has_effect(node, pause)
    node.guardians[0].freeze()
    assert not has_effect(node, pause)
    assert all(has_effect(node, fault) for fault in (
        {"do": "kill", "what": "leash", "group": "kv"}, {"do": "kill", "what": "agent"}, {"do": "stuck"},
        {"do": "freeze"}, {"do": "crash"}, {"do": "leave"},
    ))
    assert not has_effect(node, {"do": "kill", "what": "group", "group": "web"})


def test_both_guardians_are_killed_when_either_is_there() -> None:
    cluster, both = Cluster(calm()), {"do": "kill", "what": BOTH}
    assert cluster.kernel.run(6.0, 1_000_000)
    owner = cluster.owner("kv")
    assert owner is not None
    node = cluster.nodes[owner]
    assert node.world is not None
    node.world.end(-9)
    assert has_effect(node, both), "its leash goes on"
    Injector(cluster).begin({"at": 0.0, "whom": [owner], **both})
    assert not node.guardians
    assert not has_effect(node, both)


FIRST = Interval("kv", 1, 11, "7.1", 1.0, 10.0)


def counted(**more: Any) -> dict[str, int]:
    history = History(nodes=3, lease_s=LEASE_S, end_s=30.0, electorates=[Elected(0.0, 7, 0, (1, 2, 3))])
    plan = calm(**{name: more.pop(name) for name in ("arbitrators", "founded") if name in more})
    for name, value in more.items():
        setattr(history, name, value)
    found = reached.reached(Result(plan, VALID, [], history, {}, 30.0, 1.0, 1, 1))
    return {name: count for name, count in found.items() if count}


def test_a_fenced_group_that_was_held_back_is_one_whose_owner_had_expired_for_long() -> None:
    name = "fenced group was held back from an expired owner"
    soon, late = ([FIRST, Interval("kv", 2, 12, "7.2", begin_s, 20.0)] for begin_s in (17.0, 18.0))
    assert counted(intervals=late) == {"takeover": 1}
    assert name in counted(intervals=late, fenced=frozenset({"kv"}))
    assert name not in counted(intervals=soon, fenced=frozenset({"kv"}))
    assert name not in counted(intervals=late, fenced=frozenset({"kv"}), released=[Released(10.0, "kv", "7.1", 1)])


def test_a_group_that_waited_for_another_began_after_it_when_both_were_away() -> None:
    name, requires = "group waited for one that it requires", {"web": ("kv",)}
    web = FIRST._replace(group="web", pid=12, begin_s=1.5)
    assert counted(intervals=[FIRST, web], requires=requires) == {name: 1}
    assert counted(intervals=[FIRST, web]) == {}
    again = web._replace(pid=13, begin_s=12.0, end_s=13.0)
    assert counted(intervals=[FIRST, web, again], requires=requires) == {name: 1}


def test_an_arbitrator_is_needed_where_no_other_majority_is_there() -> None:
    name, contacts = "an arbitrator's vote was needed", {(1, voter): [(0.0, 30.0)] for voter in (1, 2, 3)}
    assert counted(intervals=[FIRST], contacts=contacts, arbitrators=[3]) == {}
    contacts[1, 2] = [(0.0, 7.0)]
    assert counted(intervals=[FIRST], contacts=contacts) == {}
    assert counted(intervals=[FIRST], contacts=contacts, arbitrators=[3])[name] == 1


def test_a_change_of_voters_that_somebody_began_is_decided_by_whoever_knows_of_it() -> None:
    """Of 4, which is alive no more, there is a block that names the next voters, on one disk."""
    cluster = Cluster(calm(nodes=4, conf={"voters": "1 2 3", "beat": "0.5", "lease": f"{LEASE_S}"}))
    assert cluster.kernel.run(7.0, 1_000_000)
    files = cluster.nodes[2].disk.files
    shown = marker.decode(files[marker.NAME])
    assert shown is not None
    writer = f"4.1.{'a' * 32}"
    begun = Block(shown.electorate.group, 1, (1, writer), (1, writer), "1,2,3,4", 1000)
    files[journal.name(shown.era, writer, 0)] = journal.encode(begun)
    assert cluster.kernel.run(30.0, 10_000_000)
    assert [chosen.voters for chosen in cluster.result.electorates] == [(1, 2, 3), (1, 2, 3, 4)]
