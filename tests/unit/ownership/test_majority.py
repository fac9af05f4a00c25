"""The votes, under random schedules in virtual time: crashes, cuts in any direction, slow and late reads, clock drift.

The check is the promise itself: at no instant do two nodes hold a lease for one group. Each mutant test takes one rule
away and demands that the same schedules then find a violation.
"""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from mosha.ownership.majority import Majority, well_formed
from mosha.timing import RHO, Timing

GROUPS = ("kv", "tick")
TIMING = Timing(beat_s=0.5, lease_s=2.5)
STEP_S = 0.05


class Node:
    """One node: its disk (the record), its clock, and an agent while it lives."""

    def __init__(self, number: int, nodes: frozenset[int], draw: random.Random, kind: type[Majority]) -> None:
        self.number, self.nodes, self.draw, self.kind = number, nodes, draw, kind
        self.rate = 1 + draw.uniform(-RHO, RHO)
        self.offset = draw.uniform(0, 1000)
        self.record: dict[str, Any] | None = None
        self.agent: Majority | None = None
        self.lives = 0
        self.next_beat = self.next_look = 0.0

    def clock(self, time_s: float) -> float:
        return self.offset + time_s * self.rate

    def start(self, time_s: float, forgot: bool) -> None:
        now = self.clock(time_s)
        self.lives += 1
        may_vote_at = now + TIMING.recovery_s if forgot else now
        earlier = copy.deepcopy(self.record)
        self.agent = self.kind(
            self.number, f"{self.number}.{self.lives}", self.nodes, TIMING, now, earlier, may_vote_at
        )
        self.next_beat = self.next_look = now

    def holds(self, time_s: float, group: str) -> bool:
        if self.agent is None:
            return False
        end = self.agent.lease_end(self.clock(time_s), group)
        return end is not None and self.clock(time_s) < end and self.agent.held(group)


class World:
    """Runs one schedule drawn from a seed."""

    def __init__(self, seed: int, count: int, kind: type[Majority] = Majority) -> None:
        self.draw = random.Random(seed)
        self.time_s, self.faults = 0.0, False
        numbers = frozenset(range(1, count + 1))
        self.nodes = [Node(n, numbers, self.draw, kind) for n in sorted(numbers)]
        self.cut: set[tuple[int, int]] = set()              # (reader, owner of the record)
        self.paused: dict[int, float] = {}
        self.late: list[tuple[float, int, int, dict[str, Any]]] = []
        self.held = dict.fromkeys(GROUPS, 0)
        for node in self.nodes:
            node.start(0.0, forgot=False)

    def run(self, seconds: float, faults: bool) -> None:
        self.faults = faults
        for _ in range(int(seconds / STEP_S)):
            self.time_s += STEP_S
            if faults and self.draw.random() < 0.02:
                self.fault()
            for node in self.nodes:
                self.turn(node)
            self.check()

    def heal(self) -> None:
        self.cut.clear()
        self.paused.clear()
        for node in self.nodes:
            if node.agent is None:
                node.start(self.time_s, forgot=True)

    def fault(self) -> None:
        node = self.draw.choice(self.nodes)
        kind = self.draw.choice(["crash", "restart", "cut", "one-way", "heal", "pause", "fence"])
        if kind == "crash":
            node.agent = None
        elif kind == "restart":
            node.start(self.time_s, forgot=node.agent is None or self.draw.random() < 0.5)
        elif kind in ("cut", "one-way"):
            for other in self.nodes:
                if other is not node and self.draw.random() < 0.7:
                    self.cut.add((node.number, other.number))
                    if kind == "cut":
                        self.cut.add((other.number, node.number))
        elif kind == "heal":
            self.cut.clear()
        elif kind == "pause" and node.agent is not None:
            # The agent stands still; the leash, which is not modelled, ends what runs at the lease's end.
            self.paused[node.number] = self.time_s + self.draw.uniform(0.2, 4)
        elif kind == "fence":
            self.fence(node)

    def fence(self, victim: Node) -> None:
        shooter = next((n for n in self.nodes if n is not victim and n.agent is not None), None)
        if shooter is None or shooter.agent is None or shooter.agent.peers[victim.number].beat < 0:
            return
        known = [shooter.agent.peers[victim.number].nonce]
        victim.agent = None                                  # power is off before the answer comes
        shooter.agent.fenced(shooter.clock(self.time_s), known)

    def turn(self, node: Node) -> None:
        agent, now = node.agent, node.clock(self.time_s)
        if agent is None or self.paused.get(node.number, 0) > self.time_s:
            return
        if now >= node.next_look:
            node.next_look = now + self.draw.choice([0.1, 0.5])
            for other in self.nodes:
                if other is node or (node.number, other.number) in self.cut or other.record is None:
                    continue
                read = copy.deepcopy(other.record)
                if self.draw.random() < 0.1:                 # a read that takes long
                    self.late.append((self.time_s + self.draw.uniform(0, 1.4), node.number, node.lives, read))
                else:
                    self.deliver(node, read)
        for item in [late for late in self.late if late[0] <= self.time_s and late[1] == node.number]:
            self.late.remove(item)
            if item[2] == node.lives:
                self.deliver(node, item[3])
        agent.step(now)
        for group in GROUPS:
            agent.want(now, group)
            end = agent.lease_end(now, group)
            if agent.held(group) and (end is None or now >= end or agent.condemned()):
                agent.renounce(group)                        # the leash has ended everything
            elif self.faults and agent.held(group) and self.draw.random() < 0.002:
                agent.renounce(group)
        if agent.condemned():
            node.agent = None
            return
        if now >= node.next_beat or self.draw.random() < 0.1:
            node.next_beat = now + TIMING.beat_s
            said = agent.says()
            node.record = {**copy.deepcopy(said), "beat": agent.beat(now), "node": node.number}
            assert well_formed(node.record)

    def deliver(self, node: Node, read: dict[str, Any]) -> None:
        assert node.agent is not None
        peer = node.agent.peers[read["node"]]
        if peer.nonce == read["nonce"] and peer.beat > read["beat"]:
            return                                           # one look at a time: none overtakes another
        if peer.nonce != read["nonce"] and int(peer.nonce.partition(".")[2] or 0) > int(read["nonce"].split(".")[1]):
            return
        node.agent.saw(node.clock(self.time_s), read["node"], read)

    def check(self) -> None:
        for group in GROUPS:
            holders = [node.number for node in self.nodes if node.holds(self.time_s, group)]
            self.held[group] += bool(holders)
            if len(holders) > 1:
                raise AssertionError(f"{group} is held by nodes {holders} at {self.time_s:.2f} s")


@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest.mark.parametrize("batch", range(4))
def test_never_twice_and_runs_after_the_heal(count: int, batch: int) -> None:
    held = 0
    for seed in range(batch * 12, batch * 12 + 12):
        world = World(seed * 10 + count, count)
        world.run(40, faults=True)
        held += sum(world.held.values())
        world.heal()
        world.run(15, faults=False)
        for group in GROUPS:
            holders = [node.number for node in world.nodes if node.holds(world.time_s, group)]
            assert len(holders) == 1, f"seed {seed}: {group} is held by {holders} after the heal"
            votes = [node.agent.says()["votes"].get(group, [0])[0] for node in world.nodes if node.agent]
            assert votes == holders * count, f"seed {seed}: {group}: not every living node supports {holders}: {votes}"
    assert held > 0, "the schedules never reached a held group"


class VoteForgotten(Majority):
    """Rule 5 taken away: a voter that forgot its votes votes at once."""

    def __init__(
        self, me: int, nonce: str, nodes: frozenset[int], timing: Timing, now: float, *_: object
    ) -> None:
        super().__init__(me, nonce, nodes, timing, now)


class EarlyRevocation(Majority):
    """Rule 4 taken away: a vote is taken back as soon as its owner's record stood still for a beat."""

    def _void(self, now: float, group: str) -> bool:
        node = self._votes[group][0]
        still = node != self.me and now - self.peers[node].changed_at > self.timing.beat_s
        return still or super()._void(now, group)


class MinorityIsEnough(Majority):
    """Rule 6 taken away: one vote less than a majority."""

    def _lease(self, starts: list[float | None]) -> float | None:
        self.quorum -= 1
        try:
            return super()._lease(starts)
        finally:
            self.quorum += 1


class StaleEcho(Majority):
    """Rule 6 taken away: the lease counts from now, not from the beat that was echoed."""

    def _echoed_at(self, peer: Any) -> float | None:
        at = super()._echoed_at(peer)
        return None if at is None else max(at, peer.changed_at)


@pytest.mark.parametrize("mutant", [VoteForgotten, EarlyRevocation, MinorityIsEnough, StaleEcho])
def test_the_schedules_catch_a_mutant(mutant: type[Majority]) -> None:
    for seed in range(300):
        try:
            World(seed, 3, mutant).run(40, faults=True)
        except AssertionError as error:
            assert "is held by nodes" in str(error)
            return
    pytest.fail(f"300 schedules did not catch {mutant.__name__}")


def test_a_node_that_came_back_supports_the_owner_again() -> None:
    """Reboot one bystander, then lose the other: the owner keeps its group, as a majority lives."""
    world = World(3, 3)
    world.run(5, faults=False)
    (owner,) = [node for node in world.nodes if node.holds(world.time_s, "kv")]
    first, second = (node for node in world.nodes if node is not owner)
    assert owner.agent is not None
    epoch = owner.agent.epoch("kv")
    first.start(world.time_s, forgot=True)
    world.run(8, faults=False)
    second.agent = None
    for _ in range(20):
        world.run(0.5, faults=False)
        assert owner.holds(world.time_s, "kv")
    assert owner.agent.epoch("kv") == epoch


def test_a_lease_that_was_earned_lasts_to_its_end() -> None:
    """A voter that forgets its vote and begins anew does not end a lease at once."""
    world = World(3, 3)
    world.run(5, faults=False)
    (owner,) = [node for node in world.nodes if node.holds(world.time_s, "kv")]
    for node in world.nodes:
        if node is not owner:
            node.start(world.time_s, forgot=True)
    assert owner.agent is not None
    end = owner.agent.lease_end(owner.clock(world.time_s), "kv")
    assert end is not None
    left_s = end - owner.clock(world.time_s)
    assert left_s > 0.5
    world.run(left_s - 2 * STEP_S, faults=False)
    assert owner.holds(world.time_s, "kv")
    world.run(4 * STEP_S, faults=False)
    assert not owner.holds(world.time_s, "kv")


def test_an_unreachable_majority_gives_no_lease() -> None:
    world = World(1, 3)
    world.run(5, faults=False)
    world.cut = {(a, b) for a in (1, 2, 3) for b in (1, 2, 3) if a != b}
    world.run(5, faults=False)
    assert not any(node.holds(world.time_s, group) for node in world.nodes for group in GROUPS)
    assert not any(node.agent and node.agent.quorate(node.clock(world.time_s)) for node in world.nodes)


def test_epochs_only_grow() -> None:
    world = World(7, 3)
    seen: dict[str, int] = {}
    for _ in range(400):
        world.run(0.5, faults=True)
        for node in world.nodes:
            for group in GROUPS:
                if node.agent and node.holds(world.time_s, group):
                    assert node.agent.epoch(group) >= seen.get(group, 0)
                    seen[group] = node.agent.epoch(group)
    assert min(seen.values()) > 3


def test_a_record_of_another_shape_is_refused() -> None:
    good = {**World(1, 2).nodes[0].agent.says(), "beat": 1}  # type: ignore[union-attr]
    assert well_formed(good)
    for key in good:
        assert not well_formed({k: v for k, v in good.items() if k != key})
    assert not well_formed({**good, "votes": {"kv": [1, "x"]}})
    assert not well_formed({**good, "last": {"kv": ["1", "x", 2]}})
    assert not well_formed({**good, "echo": {"2": ["x", "y"]}})
    assert not well_formed([])
