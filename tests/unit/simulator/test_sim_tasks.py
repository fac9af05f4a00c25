"""Tasks on their way: plans of file steps, over a network that cuts, delays, fails and hangs."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from mosha.platform.lanes import STUCK_MAX
from mosha.platform.plans import TASKS, Plan
from moslab.faults.plan import FaultPlan
from moslab.simulator import tasks
from moslab.simulator.cluster import Cluster
from moslab.simulator.network import Cut, Worse
from moslab.simulator.node import Node
from moslab.simulator.power import CUT, FAILS, LIES, SLOW, SPARES
from moslab.simulator.world import SimWorld

CALLS_MAX = 100_000


def note(name: str, text: str) -> Plan:
    """Write, sync, and read what others wrote."""
    yield ("pwrite", name, 0, text.encode())
    yield ("sync", name)
    return (yield ("list",))


class Listener(SimWorld):
    """A life without an agent, that notes when which answer came."""

    def __init__(self, node: Node) -> None:
        super().__init__(node, 1)
        self.answers: list[tuple[float, Any]] = []

    def deliver(self, answer: Any, result: Any, failed: OSError | None) -> None:
        self.answers.append((round(self.node.kernel.now, 3), result if failed is None else failed.errno))


class Pair:
    """Two nodes that are up; somebody listens on the first."""

    def __init__(self, careful: float = 0.0, seed: int = 3) -> None:
        plan = FaultPlan(seed=seed, nodes=2, cltab="", hactl="", founded=False)
        plan.network.update(careful=careful, tail=0.0)
        self.cluster = Cluster(plan)
        for node in self.cluster.nodes.values():
            node.up = node.configured = True
            node.disk.wipe()
        self.one, self.two = self.cluster.nodes[1], self.cluster.nodes[2]
        self.world = self.one.world = Listener(self.one)
        self.answers = self.world.answers

    def ask(self, key: int, task: str, *arguments: Any, limit_s: float = 1.0) -> Pair:
        self.world.submit(key, task, list(arguments), limit_s, lambda result, error: None)
        return self

    def run(self, until_s: float) -> Pair:
        assert self.cluster.kernel.run(until_s, CALLS_MAX)
        return self

    def results(self) -> list[Any]:
        return [result for _, result in self.answers]

    def counted(self, what: str) -> int:
        return self.cluster.counters.get(what, 0)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Node, "power_on", lambda self, _=None: None)
    monkeypatch.setitem(TASKS, "note", note)


def test_a_plan_runs_on_the_node_of_its_key() -> None:
    pair = Pair().ask(2, "note", "a", "x").run(0.1)
    assert pair.results() == [["a"]]
    assert pair.two.disk.read("a") == b"x"
    assert pair.one.disk.names() == []
    assert 0 < pair.answers[0][0] < 0.01


def test_a_careful_plan_does_the_same_step_by_step() -> None:
    pair = Pair(careful=1.0).ask(2, "note", "a", "x").run(0.1)
    assert pair.results() == [["a"]]
    assert pair.cluster.kernel.calls == Pair().ask(2, "note", "a", "x").run(0.1).cluster.kernel.calls + 4


def test_tasks_of_one_lane_come_one_after_the_other() -> None:
    pair = Pair()
    for name in "abc":
        pair.ask(2, "note", name, "x")
    assert pair.run(0.1).results() == [["a"], ["a", "b"], ["a", "b", "c"]]


def test_a_lane_has_a_bound() -> None:
    pair = Pair()
    for _ in range(tasks.QUEUE_MAX + 1):
        pair.ask(2, "note", "a", "x")
    assert pair.results() == [errno.EAGAIN]


def test_a_request_that_meets_a_cut_fails_and_may_come_later() -> None:
    late = 0
    for seed in range(12):
        pair = Pair(seed=seed)
        cut = Cut(frozenset({1}), frozenset({2}))
        pair.cluster.network.cut(cut)
        pair.ask(2, "note", "a", "x").run(5.0)
        assert pair.results() == [errno.ETIMEDOUT]
        assert "a" not in pair.two.disk.files
        pair.cluster.network.end(cut)
        pair.run(10.0)
        late += "a" in pair.two.disk.files
        assert len(pair.answers) == 1
    assert 0 < late < 12


def test_a_reply_that_meets_a_cut_is_lost_and_all_was_done() -> None:
    pair = Pair()
    pair.cluster.network.cut(Cut(frozenset({2}), frozenset({1})))
    pair.ask(2, "note", "a", "x").run(5.0)
    assert pair.results() == [errno.ETIMEDOUT]
    assert pair.two.disk.read("a") == b"x"


def test_a_late_step_takes_effect_alone_and_once() -> None:
    pair = Pair(careful=1.0)
    pair.two.weather.hang = 1.0
    for number, name in enumerate("abcdefgh"):
        pair.ask(2, "note", name, "x", limit_s=0.01).run(0.1 + 0.1 * number)
    pair.run(30.0)
    assert pair.results() == [errno.ETIMEDOUT] * 8
    written = set(pair.two.disk.names())
    assert 0 < len(written) < 8
    assert pair.counted("late completion") == len(written)


def worse(pair: Pair, sender: int, receiver: int, **more: Any) -> Pair:
    pair.cluster.network.worse.append(Worse(frozenset({sender}), frozenset({receiver}), more))
    return pair


def test_each_step_and_each_answer_is_late_on_a_connection_with_a_delay() -> None:
    """Three steps, each there and back; those of the other direction are not."""
    (there,) = worse(Pair(), 1, 2, delay=0.1).ask(2, "note", "a", "x", limit_s=5.0).run(5.0).answers
    (back,) = worse(Pair(), 2, 1, delay=0.1).ask(2, "note", "a", "x", limit_s=5.0).run(5.0).answers
    (both,) = worse(worse(Pair(), 2, 1, delay=0.1), 1, 2, delay=0.1).ask(2, "note", "a", "x", limit_s=5.0).run(
        5.0).answers
    assert [round(answer[0], 1) for answer in (there, back, both)] == [0.3, 0.3, 0.6]
    assert worse(Pair(), 1, 2, delay=2.0).ask(2, "note", "a", "x").run(5.0).results() == [errno.ETIMEDOUT]


def test_a_connection_that_breaks_on_the_way_there_did_nothing_and_on_the_way_back_it_did() -> None:
    there = worse(Pair(), 1, 2, reset=True).ask(2, "note", "a", "x").run(1.0)
    back = worse(Pair(), 2, 1, reset=True).ask(2, "note", "a", "x").run(1.0)
    assert {*there.results(), *back.results()} <= {*tasks.BREAKS}
    assert (there.two.disk.names(), back.two.disk.names()) == ([], ["a"])


def test_who_waits_for_a_node_that_has_died_hears_of_it_as_late_as_connections_close() -> None:
    at_once: set[float] = set()
    late: set[float] = set()
    for seed in range(12):
        for pair, found in ((Pair(seed=seed), at_once), (worse(Pair(seed=seed), 2, 1, slow_close=0.5), late)):
            pair.two.up = False
            pair.ask(2, "note", "a", "x").run(5.0)
            found |= {round(when_s, 1) for when_s, result in pair.answers if result != errno.ETIMEDOUT}
    assert (at_once, late) == ({0.0}, {0.5})


def test_a_node_without_power_refuses_or_hangs() -> None:
    pair = Pair()
    pair.two.up = False
    for number, name in enumerate("abcdefgh"):
        pair.ask(2, "note", name, "x").run(3.0 + 3.0 * number)
    assert set(pair.run(40.0).results()) > {errno.ETIMEDOUT}
    assert set(pair.results()) <= {errno.ETIMEDOUT, *tasks.REFUSALS}


def test_what_comes_to_a_frozen_node_waits_for_the_thaw() -> None:
    pair = Pair()
    pair.two.freeze()
    pair.ask(2, "note", "a", "x", limit_s=60.0).run(5.0)
    assert pair.answers == []
    pair.two.thaw()
    assert pair.run(5.1).results() == [["a"]]


def test_what_is_behind_a_late_task_waits_and_fails_with_its_worker() -> None:
    pair = Pair()
    pair.two.freeze()
    pair.ask(2, "note", "a", "x").ask(2, "note", "b", "x").ask(1, "note", "c", "x").run(5.0)
    assert pair.results() == [["c"], errno.ETIMEDOUT, errno.ETIMEDOUT]
    assert [at for at, _ in pair.answers] == [pytest.approx(at, abs=0.03) for at in (0.0, 1.0, 2.0)]


def test_a_late_task_is_ended_before_what_is_behind_it() -> None:
    pair = Pair()
    pair.two.freeze()
    pair.ask(2, "note", "a", "x").ask(2, "note", "b", "x").run(1.5)
    pair.two.thaw()
    assert pair.run(3.0).results() == [errno.ETIMEDOUT, ["a", "b"]]


def test_a_shot_has_no_grace() -> None:
    pair = Pair()
    pair.cluster.power.modes[1] = CUT
    pair.ask(-2, "shoot", 2, limit_s=0.5).ask(-2, "shoot", 2, limit_s=0.5).run(5.0)
    assert pair.results() == [errno.ETIMEDOUT] * 2
    assert [at for at, _ in pair.answers] == [pytest.approx(0.5, abs=0.03)] * 2


def test_workers_in_state_d_are_bounded() -> None:
    pair = Pair()
    pair.two.freeze()
    pair.one.trouble_until_s = 10.0
    for number in range(STUCK_MAX):
        pair.ask(2, "note", "a", "x", limit_s=0.1).run(0.5 + 0.5 * number)
    pair.ask(2, "note", "a", "x").ask(1, "note", "b", "x").run(9.0)
    assert pair.results() == [*[errno.ETIMEDOUT] * STUCK_MAX, errno.EAGAIN, ["b"]]
    pair.run(11.0).two.thaw()
    assert pair.ask(2, "note", "c", "x").run(12.0).results()[-1][-1] == "c"


def test_errors_and_torn_writes_of_bad_weather() -> None:
    pair = Pair()
    pair.two.weather.error = 0.3
    pair.two.weather.torn = 0.5
    for number in range(40):
        pair.ask(2, "note", f"f{number}", "0123456789")
    pair.run(60.0)
    assert {type(result) for result in pair.results()} == {int, list}
    assert pair.counted("step fails and took effect")
    assert pair.counted("torn write")
    assert {pair.two.disk.files[name] for name in pair.two.disk.names()} == {b"0123456789"}


def test_probes_are_lost_in_bad_weather() -> None:
    pair = Pair()
    assert pair.ask(2, "probe", 2).run(1.0).results() == [True]
    pair.two.weather.loss = 1.0
    assert pair.ask(2, "probe", 2).run(2.0).results() == [True, False]


def test_a_probe_of_a_node_that_does_not_answer_takes_three_tries() -> None:
    pair = Pair()
    pair.two.freeze()
    pair.ask(2, "probe", 2).run(1.0)
    assert pair.results() == [False]
    assert pair.answers[0][0] == pytest.approx(0.06, abs=0.001)
    pair.two.thaw()
    pair.cluster.network.cut(Cut(frozenset({2}), frozenset({1})))
    assert pair.ask(2, "probe", 2).ask(1, "probe", 1).run(2.0).results() == [False, True, False]


def test_the_answers_of_openmosix() -> None:
    pair = Pair().ask(0, "whois").ask(0, "nodes").run(1.0)
    assert pair.results() == [1, [1, 2]]
    pair.one.configured = False
    assert pair.ask(0, "whois").ask(0, "nodes").run(2.0).results()[2:] == [0, []]


@pytest.mark.parametrize(
    ("mode", "off", "result"),
    [("", True, "off"), (FAILS, False, errno.EIO), (LIES, True, errno.EIO), (CUT, False, errno.ETIMEDOUT),
     (SPARES, False, "off")],
)
def test_stomith(mode: str, off: bool, result: object) -> None:
    pair = Pair()
    if mode:
        pair.cluster.power.modes[1] = mode
    assert pair.ask(2, "shoot", 2, limit_s=3.0).run(10.0).results() == [result]
    assert pair.two.up != off
    assert bool(pair.cluster.result.shots) == off


def test_a_slow_stomith_says_off_only_after_it_is() -> None:
    ends = set()
    for number in range(12):
        pair = Pair()
        pair.cluster.power.modes[1] = SLOW
        for _ in range(number):
            pair.cluster.power._draw.random()
        pair.ask(2, "shoot", 2, limit_s=3.0).run(20.0)
        assert not pair.two.up
        ends.add(pair.results()[0])
        if pair.results() == ["off"]:
            assert pair.cluster.result.shots[0][0] <= pair.answers[0][0] + 0.001
    assert ends == {"off", errno.ETIMEDOUT}


def test_reachability_is_directed_and_a_heal_overrules_cuts() -> None:
    network = Pair().cluster.network
    network.cut(Cut(frozenset({1}), frozenset({1, 2})))
    assert network.blocked(1, 2)
    assert not network.blocked(2, 1)
    assert not network.blocked(1, 1)
    network.heal(frozenset({1, 2}))
    assert not network.blocked(1, 2)
