"""Connections that are worse: from node to node, as Toxiproxy makes them."""

from __future__ import annotations

from typing import Any

import pytest

from moslab.faults.plan import NETWORK, FaultPlan
from moslab.history.checkers import VALID
from moslab.simulator.kernel import Kernel, Stream
from moslab.simulator.network import RETRY_S, TRIES_MAX, Network, Worse
from moslab.simulator.run import Result, run
from moslab.simulator.tasks import HEAD_BYTES, _bytes_of

CLTAB = "kv:kv-run:start:respawn:live\n"
OWNER, OTHERS = ["owner:kv"], [1, 2, 3]
BEGIN_S, END_S = 8.0, 20.0


def network(*worse: dict[str, Any], whom: int = 1, to: int = 2) -> Network:
    made = Network(Kernel(), Stream(1, "network"), NETWORK, lambda: None)
    made.worse += [Worse(frozenset({whom}), frozenset({to}), one) for one in worse]
    return made


def test_a_delay_is_of_one_direction_with_its_jitter_and_sums_up() -> None:
    made = network({"delay": 0.3})
    assert (made.late_s(1, 2, 0), made.late_s(2, 1, 0), made.late_s(1, 3, 0)) == (0.3, 0.0, 0.0)
    made = network({"delay": 0.3, "jitter": 0.1}, {"delay": 1.0})
    late = [made.late_s(1, 2, 0) for _ in range(200)]
    assert 1.2 <= min(late) < 1.22 < 1.38 < max(late) <= 1.4


def test_a_rate_counts_bytes_and_a_step_has_those_that_it_carries() -> None:
    made = network({"rate": 10})
    assert made.late_s(1, 2, 5000) == 0.5
    assert _bytes_of(("pwrite", "file", 0, b"x" * 1000)) == HEAD_BYTES + len("pwritefile") + 1000
    assert _bytes_of(None) == HEAD_BYTES


def test_a_packet_that_is_lost_comes_again_after_twice_as_long_each_time() -> None:
    made = network({"loss": 0.5})
    late = {round(made.late_s(1, 2, 0) / RETRY_S) for _ in range(500)}
    assert late <= {2**tries - 1 for tries in range(TRIES_MAX + 1)}
    assert {0, 1, 3, 7} <= late
    assert network({"loss": 1.0}).late_s(1, 2, 0) == RETRY_S * (2**TRIES_MAX - 1), "there is an end to it"
    assert [network({"loss": 1.0}).loses(*ends) for ends in ((1, 2), (2, 1))] == [True, False]


def test_nothing_is_worse_between_nodes_that_were_healed_together_or_when_it_is_over() -> None:
    made = network({"delay": 0.3, "reset": True})
    made.heal(frozenset({1, 3}))
    assert (made.late_s(1, 2, 0), made.resets(1, 2)) == (0.3, True)
    made.heal(frozenset({1, 2}))
    assert (made.late_s(1, 2, 0), made.resets(1, 2)) == (0.0, False)
    (worse,) = made.worse
    made.better(worse)
    made.better(worse)
    assert made.worse == []


def ran(*faults: dict[str, Any]) -> Result:
    plan = FaultPlan(5, 3, CLTAB, "kv start\n", safety_s=END_S, bound_s=30.0, faults=[*faults])
    plan.conf = {"beat": "0.5", "lease": "2.5"}
    plan.network = {**NETWORK, "tail": 0.0, "careful": 0.0}
    result = run(plan)
    assert result.verdict == VALID, result.problems
    return result


def owners(result: Result) -> list[int]:
    found = sorted((one for one in result.history.services()), key=lambda one: one.begin_s)
    return [one.node for one in found]


def worsen(both: bool = True, at: float = BEGIN_S, **more: Any) -> dict[str, Any]:
    return {"at": at, "do": "worsen", "whom": OWNER, "to": OTHERS, "both": both, **more}


@pytest.mark.parametrize(("more", "counter"), [
    ({"delay": 2.0}, "message on a worse connection"), ({"rate": 1}, "message on a worse connection"),
    ({"reset": True}, "connection breaks"), ({"reset": True, "both": False}, "connection breaks"),
])
def test_an_owner_whose_connections_are_bad_enough_loses_its_group(more: dict[str, Any], counter: str) -> None:
    result = ran(worsen(**more))
    assert len(set(owners(result))) == 2
    assert result.counters[counter] > 10
    assert result.counters["fault worsen"] == 1
    assert [(fault.kind, fault.begin_s, fault.end_s) for fault in result.faults] == [("worsen", BEGIN_S, END_S)]


@pytest.mark.parametrize("more", [{"delay": 0.05, "jitter": 0.05}, {"rate": 100}, {"loss": 0.01}, {"slow_close": 5.0}])
def test_an_owner_whose_connections_are_little_worse_keeps_it(more: dict[str, Any]) -> None:
    assert len(owners(ran(worsen(**more)))) == 1
