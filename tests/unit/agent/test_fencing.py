"""When to shoot: suspicion, agreement, turn; nothing but success frees anything. Whole clusters in virtual time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Callable

import pytest

from mosha.ownership.disk_paxos import FENCE
from mosha.timing import PAUSE_MAX_S, STOP_LIMIT_S, Timing
from tests.unit.ownership.cluster import Cluster, Node

TIMING = Timing()
Stuck = Mapping[int, Collection[str]]


def scene(nodes: int = 3, can_shoot: bool = True, seed: int = 1) -> tuple[Cluster, Node, list[Node]]:
    """A cluster, the node that runs kv, and the others."""
    cluster = Cluster(nodes, can_shoot=can_shoot, seed=seed)
    cluster.boot()
    owner, _ = cluster.until_runs(10)
    cluster.pass_time(3)
    return cluster, owner, [node for node in cluster.nodes.values() if node is not owner]


def suspected_by(owner: Node, others: list[Node]) -> list[int]:
    return [node.number for node in others if owner.number in node.fencing.suspects()]


@pytest.mark.parametrize("nodes", [3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_a_dead_owner_is_shot_once_and_its_groups_move_at_once(nodes: int, seed: int) -> None:
    cluster, owner, _ = scene(nodes, seed=seed)
    identity = owner.ownership.identity
    last_beat = owner.running["kv"][1] - TIMING.lease_s
    owner.crash()
    cluster.until_runs(5)
    assert TIMING.suspect_s <= cluster.now - last_beat < TIMING.expiry_s - 0.5, "no waiting for the lease"
    cluster.pass_time(30)
    ((_, _, shot),) = cluster.shots
    assert (shot.node, shot.identities) == (owner.number, (identity,))
    assert len(cluster.runs) == 2


def test_a_node_without_groups_is_not_shot() -> None:
    cluster, _, others = scene()
    others[0].crash()
    cluster.pass_time(20)
    assert not cluster.shots


def test_without_a_command_nobody_shoots() -> None:
    cluster, owner, others = scene(can_shoot=False)
    owner.crash()
    cluster.until(lambda: bool(suspected_by(owner, others)), 5)
    cluster.until_runs(10)
    assert not cluster.shots


def test_one_blind_observer_suspects_nobody_and_shoots_nobody() -> None:
    cluster, owner, others = scene()
    blind = others[0]
    cluster.cuts |= {(owner.number, blind.number), (blind.number, owner.number)}
    for _ in range(40):
        cluster.pass_time(0.25)
        assert not suspected_by(owner, others)
    assert not cluster.shots
    assert len(cluster.runs) == 1


def test_without_quorum_nobody_shoots() -> None:
    cluster, _, others = scene(5)
    cluster.isolate(others[0].number, others[1].number)
    cluster.pass_time(20)
    assert not cluster.shots
    assert len(cluster.runs) == 1


def test_a_probe_that_succeeds_keeps_a_silent_slot_from_being_shot_until_it_expires() -> None:
    cluster, owner, others = scene()
    last_beat = owner.running["kv"][1] - TIMING.lease_s
    owner.freeze()                                   # its agent hangs; openMosix answers for the node
    cluster.pass_time(TIMING.suspect_s + 0.5)
    assert not suspected_by(owner, others)
    cluster.until_runs(10, besides=owner.number)
    assert cluster.now - last_beat >= TIMING.expiry_s - 0.001
    for _, _, shot in cluster.shots:
        assert shot.node == owner.number


def test_a_late_node_that_answers_is_probed_a_few_times_a_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, owner, others = scene()
    fencing, probed = others[0].fencing, 0
    step = fencing.step

    def watched(now: float, stuck: Stuck) -> list[int]:
        nonlocal probed
        found = step(now, stuck)
        probed += len(found)
        return found

    monkeypatch.setattr(fencing, "step", watched)
    owner.freeze()                                   # its agent hangs; openMosix answers for the node
    cluster.pass_time(TIMING.lease_s)
    assert 0 < probed <= TIMING.lease_s / TIMING.turn_s


def test_probes_are_of_late_nodes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, owner, others = scene()
    probed: list[int] = []
    for node in others:
        step = node.fencing.step

        def watched(now: float, stuck: Stuck, step: Callable[[float, Stuck], list[int]] = step) -> list[int]:
            found = step(now, stuck)
            probed.extend(found)
            return found

        monkeypatch.setattr(node.fencing, "step", watched)
    cluster.pass_time(10)
    assert not probed
    owner.crash()
    cluster.pass_time(TIMING.suspect_s)
    assert set(probed) == {owner.number}
    assert len(probed) <= 2 * 3, "three each"


def test_a_late_observer_suspects_nobody_for_a_while() -> None:
    cluster, owner, others = scene(can_shoot=False)
    owner.crash()
    cluster.until(lambda: bool(suspected_by(owner, others)), 5)
    observer = next(node for node in others if node.number in suspected_by(owner, others))
    observer.fencing.late(observer.now)
    observer.fencing.step(observer.now, {})
    assert observer.fencing.suspects() == []
    late_until = cluster.now + TIMING.suspect_s
    cluster.until(lambda: owner.number in observer.fencing.suspects() or bool(cluster.owners()), 5)
    assert cluster.now >= min(late_until, cluster.runs[-1].at)


def test_an_observer_that_was_frozen_shoots_nobody() -> None:
    cluster, _, others = scene()
    for node in others:
        node.freeze()
    cluster.pass_time(1.8)
    for node in others:
        node.thaw()
    cluster.pass_time(10)
    assert not cluster.shots


@pytest.mark.parametrize("seed", range(8))
def test_one_node_at_a_time_shoots(seed: int) -> None:
    cluster, owner, _ = scene(5, seed=seed)
    cluster.shot_s, cluster.shooting_works = 0.3, False
    for node in cluster.nodes.values():
        node.wants.clear()                           # nobody takes it over, so it is shot again and again
    owner.wants.add("kv")
    owner.crash()
    cluster.pass_time(40)
    assert len(cluster.shots) >= 2
    began = [at for at, _, _ in cluster.shots]
    assert all(later - earlier >= cluster.shot_s for earlier, later in zip(began, began[1:]))


def test_failure_frees_nothing_and_others_try() -> None:
    cluster, owner, others = scene()
    cluster.shooting_works = False
    identity = owner.ownership.identity
    last_beat = owner.running["kv"][1] - TIMING.lease_s
    owner.crash()
    cluster.until_runs(10)
    assert cluster.now - last_beat >= TIMING.expiry_s - 0.001
    assert {shooter for _, shooter, _ in cluster.shots} == {node.number for node in others}
    cluster.pass_time(30)
    assert not any(identity in node.ownership.records.dead for node in others)
    assert len(cluster.shots) == len(others), "once it owns nothing it is worth no shot"


def test_the_intervals_of_a_shooter_grow_to_a_limit() -> None:
    cluster, owner, others = scene()
    owner.freeze()
    cluster.cuts |= {(owner.number, node.number) for node in others} | {(node.number, owner.number) for node in others}
    cluster.shooting_works = False
    cluster.until(lambda: bool(cluster.shots), 5)
    _, shooter, shot = cluster.shots[0]
    node = cluster.nodes[shooter]
    fencing, ownership = node.fencing, node.ownership
    cluster.until(lambda: fencing._flying is None, 1)
    waits = []
    for _ in range(8):
        fencing._flying = shot
        fencing.answered(node.now, success=False)
        waits.append(fencing._watches[owner.number].next_try - node.now)
    assert waits == sorted(waits)
    assert waits[0] >= 2 * TIMING.lease_s
    assert waits[-1] == pytest.approx(PAUSE_MAX_S)
    assert not ownership.held(f"{FENCE}{owner.number}")


def test_what_is_dead_was_known_before_the_call() -> None:
    cluster, owner, others = scene()
    cluster.shot_s = 1.0
    before = owner.ownership.identity
    owner.crash()
    cluster.until(lambda: bool(cluster.shots), 5)
    owner.boot()                                     # while the command is under way
    later = owner.ownership.identity
    cluster.shooting_works = True
    cluster.pass_time(0.5)
    assert owner.is_up
    cluster.pass_time(1)
    assert not owner.is_up, "it is shot in its next life"
    assert any(before in node.ownership.records.dead for node in others)
    assert not any(later in node.ownership.records.dead for node in others)


def test_who_was_shot_and_comes_back_is_left_alone() -> None:
    cluster, owner, _ = scene()
    owner.crash()
    heir, _ = cluster.until_runs(5)
    owner.boot()
    cluster.pass_time(20)
    assert owner.is_up
    assert len(cluster.shots) == 1
    assert cluster.owners() == [heir.number]


def test_a_node_that_beats_and_cannot_end_a_group_is_shot_and_that_frees_it() -> None:
    cluster, owner, others = scene()
    identity = owner.ownership.identity
    cluster.stuck = {owner.number: ["kv"]}
    cluster.pass_time(0.5)
    ((_, shooter, shot),) = cluster.shots
    assert shooter != owner.number
    assert (shot.node, shot.identities) == (owner.number, (identity,))
    cluster.until_runs(2, besides=owner.number)
    assert owner.number not in suspected_by(owner, others)


def test_without_stomith_nobody_is_suspect_for_what_it_cannot_end() -> None:
    cluster, owner, others = scene(can_shoot=False)
    cluster.stuck = {owner.number: ["kv"]}
    cluster.pass_time(60)
    assert not suspected_by(owner, others)
    assert len(cluster.runs) == 1


def test_a_shot_that_fails_frees_nothing_of_a_node_that_beats() -> None:
    cluster, owner, _ = scene()
    cluster.stuck, cluster.shooting_works = {owner.number: ["kv"]}, False
    cluster.pass_time(60)
    assert len(cluster.shots) > 2
    assert cluster.owners() == [owner.number]
    assert len(cluster.runs) == 1


def test_nobody_is_shot_for_what_may_have_ended_meanwhile() -> None:
    cluster, owner, others = scene()
    for node in others:
        node.ownership.peers.unread[owner.number] = None         # it says something new
    cluster.stuck = {owner.number: ["kv"]}
    cluster.pass_time(5)
    assert not cluster.shots
    for node in others:
        node.ownership.peers.unread.clear()
        node.fencing.late(node.now)
    cluster.pass_time(TIMING.suspect_s - 0.1)
    assert not cluster.shots
    cluster.pass_time(1)
    assert len(cluster.shots) == 1


def test_who_suspects_a_node_no_more_leaves_it_to_others() -> None:
    cluster, owner, others = scene()
    group = f"{FENCE}{owner.number}"
    cluster.stuck = {owner.number: ["kv"]}
    cluster.until(lambda: any(node.ownership.claims(group) for node in others), 5)
    cluster.stuck = {}
    cluster.pass_time(1)
    assert not cluster.shots
    assert not any(node.ownership.claims(group) for node in others)


def test_what_it_does_not_own_is_no_reason_to_shoot_it() -> None:
    cluster, owner, others = scene()
    cluster.stuck = {owner.number: ["other"], others[0].number: ["kv"]}
    cluster.pass_time(60)
    assert not cluster.shots


def test_it_has_time_to_give_up_what_else_it_has_but_not_for_ever() -> None:
    cluster = Cluster(3, can_shoot=True, wants=("kv", "web"))
    cluster.nodes[2].wants, cluster.nodes[3].wants = set(), set()
    cluster.boot()
    cluster.until(lambda: cluster.owners("kv") == cluster.owners("web") == [1], 20)
    began, cluster.stuck = cluster.now, {1: ["kv"]}
    cluster.pass_time(STOP_LIMIT_S - 2)
    assert not cluster.shots
    cluster.until(lambda: bool(cluster.shots), 5)
    assert cluster.now - began >= STOP_LIMIT_S * 0.99


def test_the_lowest_living_node_has_the_first_turn() -> None:
    cluster, owner, others = scene(5)
    owner.crash()
    cluster.until(lambda: bool(cluster.shots), 5)
    assert cluster.shots[0][1] == others[0].number


def test_an_answer_without_a_shot_is_a_mistake() -> None:
    _, _, others = scene()
    with pytest.raises(AssertionError, match="without a shot"):
        others[0].fencing.answered(others[0].now, success=True)
