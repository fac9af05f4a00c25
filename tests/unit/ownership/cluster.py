"""Whole clusters of the ownership in virtual time: plans are carried out on dictionaries, clocks differ, links are cut.

Each node does with its :class:`DiskPaxos` and :class:`Fencing` what an agent does. A node *runs* a group from a step in
which it holds it until its lease ends, on its own clock, or a step in which it does not hold it any more: so a frozen
node runs on to the end of its lease, as a leash lets it. That never two nodes run one group is checked at every step.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections.abc import Collection, Iterable
from typing import Any, Callable, NamedTuple

from mosha.fencing import Fencing, Shot
from mosha.ownership import identity as identities
from mosha.ownership.disk_paxos import Call, DiskPaxos
from mosha.ownership.marker import configuration
from mosha.ownership.voter import FOUNDED, Voter, installation
from mosha.partner import Partner
from mosha.platform import plans
from mosha.timing import Timing
from tests.unit.agent.fake_world import MemoryStore, carry_out

ERA = "1-00000001"
WALL_S = 1_700_000_000.0
LATENCY_S = 0.002
STEPS_AT_ONE_INSTANT_MAX = 200


class Run(NamedTuple):
    """A node runs a group in that epoch since then."""

    at: float
    group: str
    node: int
    era: str
    epoch: int


class Node:
    """One machine; its disk outlives its boots. ``wants`` are the groups that it contends for."""

    def __init__(self, cluster: Cluster, number: int, rate: float, wants: Iterable[str]) -> None:
        self.number, self.rate, self.wants = number, rate, set(wants)
        self.offset = 100.0 * number                 # no two clocks agree on what time it is
        self.disk = MemoryStore()
        self.lives = self.boots = 0
        self.is_up = self.is_frozen = False
        self.running: dict[str, tuple[int, float]] = {}       # group -> epoch, and when on the true clock it ends
        self.voids: list[str] = []
        self.said: list[str] = []                    # by the voter
        self.wish: frozenset[int] | None = None      # what the voters should be
        self.refusal = ""
        self.ownership: DiskPaxos
        self.fencing: Fencing
        self.partner: Partner
        self.voter: Voter
        self._cluster = cluster
        self._is_ending = False                      # its identity is void
        self._due = 0.0
        self._power = 0                              # of boots and crashes: answers to an earlier one are lost
        self._missed: list[Callable[[], None]] = []

    @property
    def now(self) -> float:
        return self.offset + self.rate * self._cluster.now

    def boot(self) -> None:
        """Also of the agent: nothing of an earlier life is left."""
        assert not self.is_up
        self.is_up, self.is_frozen, self.boots = True, False, self.boots + 1
        self._power += 1
        cluster = self._cluster
        self.voter = Voter(
            self.number, cluster.voters, configuration(cluster.timing), cluster.timing, self.disk,
            f"boot {self.number} {self.boots}", self.lives, lambda: self.now, cluster.nonce,
            lambda: cluster.wall_s + cluster.now,
        )
        self.partner = Partner(self.voter, cluster.timing, cluster.delay_s, self.now)
        self.begin()

    def begin(self) -> None:
        """A new identity."""
        assert not self.running
        self._is_ending = False
        self.lives += 1
        identity = identities.make(self.number, self.lives, self._cluster.nonce())
        cluster = self._cluster
        self.ownership = DiskPaxos(
            identity, cluster.timing, self.now, self.voter, cluster.random.uniform
        )
        self.ownership.contests.unexpiring = cluster.fenced
        self.ownership.watch(cluster.nodes, on_map=cluster.map)
        self.fencing = Fencing(self.ownership, cluster.can_shoot, self._rank_besides)
        self._step()

    def crash(self) -> None:
        """Power off."""
        self.is_up = self.is_frozen = False
        self._power += 1
        self.running.clear()
        self._missed.clear()

    def freeze(self) -> None:
        """Only the agent stands still: its groups are killed by their leashes."""
        self.is_frozen = True

    def thaw(self) -> None:
        self.is_frozen, missed = False, self._missed
        self._missed = []
        self.fencing.late(self.now)
        self.partner.late(self.now)
        for event in missed:
            event()
        self._step()

    def release(self, group: str) -> None:
        """Stop the group, and give it up for good."""
        self.wants.discard(group)
        self.running.pop(group, None)
        self.ownership.renounce(self.now, group)
        self._step()

    # ---- inside -----------------------------------------------------------------------------------------------

    def _step(self) -> None:
        """One round of an agent."""
        ownership, now, cluster = self.ownership, self.now, self._cluster
        if self._is_ending:
            return
        self.voter.look()
        self.voter.look_at_journals()
        ownership.step(now)
        for group in ownership.held_groups():
            if group not in self.wants:
                ownership.renounce(now, group)
        for group in sorted(self.wants):
            if not ownership.claims(group) and not ownership.void():
                ownership.want(now, group, self._rank)
        voters = self.partner.returns(now, ownership) or ownership.accepted_voters(now)
        if voters is not None and self.wish is None:
            ownership.elect(now, voters)
        if self.wish is not None and not ownership.void():
            is_done = set(self.voter.electorate.voters) == self.wish
            self.refusal = "" if is_done else ownership.elect(now, self.wish)
            if is_done or self.refusal:
                self.wish = None
        self._fence(now)
        self._run()
        ownership.step(now)
        for call in ownership.calls(now):
            self._submit(call)
        self.said += self.voter.take_log()
        if ownership.void():
            self._is_ending = True
            self.voids.append(ownership.void())
            self.running.clear()
            cluster.after(0.01, self._guarded(self.begin))
            return
        dues = ownership.next_due(now), ownership.beats_at(now), ownership.late_at(), self.fencing.next_due(now)
        self._due = min(*dues, now + cluster.timing.beat_s)
        if cluster.can_shoot:
            self._due = min(self._due, self.partner.next_due(now))
        assert self._due > now or cluster.is_fresh(self.number), f"node {self.number} does not rest"
        cluster.after((max(self._due, now) - now) / self.rate, self._guarded(self._on_time, ownership))

    def _on_time(self) -> None:
        if self.now >= self._due - 1e-9:
            self._step()

    def _rank(self) -> int:
        return self._rank_besides(0)

    def _rank_besides(self, victim: int) -> int:
        others = [node for node in self._cluster.nodes if node < self.number and node != victim]
        return sum(1 for node in others if self.ownership.peers.alive(self.now, node))

    def _run(self) -> None:
        """See to what runs here, and that it runs nowhere else."""
        cluster, ownership = self._cluster, self.ownership
        for group in [group for group in self.running if not ownership.held(group)]:
            del self.running[group]
        for group in sorted(self.wants):
            end = ownership.lease_end(group)
            if end is None or end <= self.now or ownership.void():
                self.running.pop(group, None)
                continue
            before = self.running.get(group)
            epoch = ownership.epoch(group)
            self.running[group] = epoch, (end - self.offset) / self.rate
            if before is None or before[0] != epoch:
                cluster.runs.append(Run(cluster.now, group, self.number, ownership.era, epoch))
            others = [node.number for node in cluster.nodes.values() if node is not self and node.runs(group)]
            assert not others, f"at {cluster.now:.3f} s: {group} runs on {self.number} and on {others}"

    def runs(self, group: str) -> bool:
        return group in self.running and self._cluster.now < self.running[group][1]

    def _fence(self, now: float) -> None:
        cluster = self._cluster
        for victim in self.fencing.step(now, cluster.stuck):
            up = victim in cluster.nodes and cluster.nodes[victim].is_up and cluster.reaches(self.number, victim)
            fencing = self.fencing

            def probed(victim: int = victim, up: bool = up, fencing: Fencing = fencing) -> None:
                fencing.probed(victim, up)

            cluster.after(LATENCY_S, self._guarded(probed, step=True))
        shot = self.fencing.due(now)
        if shot is not None:
            cluster.shots.append((cluster.now, self.number, shot))
            fencing = self.fencing

            def answered() -> None:
                success = cluster.shoot(shot)
                fencing.answered(self.now, success)

            cluster.after(cluster.shot_s, self._guarded(answered, step=True))
        if cluster.can_shoot:
            self._fence_partner(now)

    def _fence_partner(self, now: float) -> None:
        cluster = self._cluster
        other = self.partner.step(now, self.ownership)
        if other is not None:
            up = cluster.nodes[other].is_up and cluster.reaches(self.number, other)
            partner = self.partner
            cluster.after(LATENCY_S, self._guarded(lambda: partner.probed(up), step=True))
        shot = self.partner.due(now, self.ownership)
        if shot is not None:
            cluster.shots.append((cluster.now, self.number, shot))
            took: list[bool] = []
            cluster.after(cluster.switch_s, lambda: took.append(cluster.shoot(shot)))

            def answered() -> None:
                self.partner.answered(self.now, bool(took and took[0]))

            cluster.after(cluster.shot_s + cluster.switch_s, self._guarded(answered, step=True))

    def _submit(self, call: Call) -> None:
        cluster = self._cluster
        target = cluster.nodes[call.voter]
        identity, power = self.ownership, target._power

        def done(result: Any) -> Callable[[], None]:
            def deliver() -> None:
                if (call.done(self.now, result) or identity.is_longer) and self.ownership is identity:
                    self._step()

            return self._guarded(deliver)

        def arrive() -> None:
            assert target.disk is not None
            is_there = target.is_up and target._power == power and cluster.reaches(self.number, call.voter)
            if not is_there or (self.number, call.voter) in cluster.hangs:
                return
            result = carry_out(target.disk.files, plans.TASKS[call.task](*call.arguments))
            if cluster.reaches(call.voter, self.number):
                answered.append(True)
                cluster.after(cluster.latency(), done(result))

        answered: list[bool] = []
        cluster.after(cluster.latency() if call.voter != self.number else LATENCY_S / 10, arrive)
        cluster.after(call.limit_s, lambda: None if answered else done(None)())

    def _guarded(self, event: Callable[[], None], ownership: DiskPaxos | None = None, step: bool = False,
                 ) -> Callable[[], None]:
        """The event, unless the node went down meanwhile; later, if it is frozen."""
        power = self._power

        def guarded() -> None:
            if not self.is_up or self._power != power or (ownership is not None and ownership is not self.ownership):
                return
            if self.is_frozen:
                self._missed.append(guarded)
                return
            event()
            if step:
                self._step()

        return guarded


class Cluster:
    """``nodes``: how many; the first ``voters`` of them vote. ``rates``: how fast each clock goes."""

    def __init__(
        self, nodes: int, voters: int | None = None, *, timing: Timing | None = None, founded: bool = True,
        seed: int = 1, rates: Iterable[float] = (), wants: Iterable[str] = ("kv",), can_shoot: bool = False,
        fenced: Collection[str] = (),
    ) -> None:
        self.now, self.timing, self.can_shoot, self.shot_s = 0.0, timing or Timing(), can_shoot, 0.1
        self.fenced = fenced                         # groups that expiry does not free
        self.stuck: dict[int, list[str]] = {}        # what nodes say that they cannot end
        self.wall_s = WALL_S                         # the wall clock when the true one is 0
        self.switch_s, self.delay_s = 0.05, 1.0      # the power is off so long after the call; Partner's
        self.random = random.Random(seed)
        self.voters = frozenset(range(1, (voters or nodes) + 1))
        self.map: Collection[int] = ()               # of these some are asked which era they know
        self.cuts: set[tuple[int, int]] = set()      # (sender, receiver)
        self.hangs: set[tuple[int, int]] = set()     # (asker, voter): what is asked there never arrives
        self.runs: list[Run] = []
        self.shots: list[tuple[float, int, Shot]] = []
        self.shooting_works = True
        self._nonces = itertools.count(1)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._steps: dict[int, tuple[float, int]] = {}
        self.nodes: dict[int, Node] = {}
        for number, rate in itertools.zip_longest(range(1, nodes + 1), rates, fillvalue=1.0):
            self.nodes[int(number)] = Node(self, int(number), rate, wants)
        for node in self.nodes.values():
            if founded:
                node.disk.files[FOUNDED] = installation(ERA, self.voters).encode()

    def boot(self, *numbers: int) -> None:
        """These nodes, or all."""
        for number in numbers or self.nodes:
            self.nodes[number].boot()

    def nonce(self) -> str:
        return hashlib.sha256(str(next(self._nonces)).encode()).hexdigest()[:32]

    def latency(self) -> float:
        return self.random.uniform(0.5, 1.5) * LATENCY_S

    def reaches(self, sender: int, receiver: int) -> bool:
        return (sender, receiver) not in self.cuts

    def isolate(self, *numbers: int) -> None:
        """Cut them off from all others, both ways."""
        others = [node for node in self.nodes if node not in numbers]
        self.cuts |= {pair for a in numbers for b in others for pair in ((a, b), (b, a))}

    def shoot(self, shot: Shot) -> bool:
        if self.shooting_works and self.nodes[shot.node].is_up:
            self.nodes[shot.node].crash()
        return self.shooting_works

    def owners(self, group: str = "kv") -> list[int]:
        return [node.number for node in self.nodes.values() if node.runs(group)]

    def is_fresh(self, node: int) -> bool:
        """Whether the node may step once more at this instant."""
        at, count = self._steps.get(node, (self.now, 0))
        self._steps[node] = self.now, count + 1 if at == self.now else 1
        return self._steps[node][1] < STEPS_AT_ONE_INSTANT_MAX

    def after(self, pause_s: float, event: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (self.now + pause_s, self._sequence, event))

    def until(self, condition: Callable[[], bool], limit_s: float) -> float:
        """Let time pass until the condition holds; how long that took."""
        began = self.now
        while not condition():
            assert self._events, "nothing happens any more"
            assert self._events[0][0] <= began + limit_s, f"not within {limit_s:g} s"
            self.now, _, event = heapq.heappop(self._events)
            event()
        return self.now - began

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        self.after(seconds, lambda: None)
        self.until(lambda: self.now >= end, seconds)

    def until_runs(self, limit_s: float, group: str = "kv", besides: int = 0) -> tuple[Node, float]:
        """The node that runs the group, and how long that took."""
        took = self.until(lambda: any(node != besides for node in self.owners(group)), limit_s)
        return self.nodes[next(node for node in self.owners(group) if node != besides)], took
