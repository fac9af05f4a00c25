"""A cluster as a test sees it, the same in every world (docs/laboratory.md).

Rules:

1. *Targets* say whom a fault hits: a number, several, a group (the node that runs it), or words as the command line
   takes them (:mod:`moslab.faults.targets`). What words leave open is drawn from the seed.
2. ``within`` is in seconds of the world's clock. What does not come in time is an AssertionError that says what was
   seen last, and what was broken.
3. Of the agent of a node and the leash of a group there one runs always, or nothing is promised (assumption A2 of
   docs/ownership.md): a stop that would leave neither is refused.
4. Faults that overlap at one node are held by each that began them (:mod:`moslab.scenario.breach`).
"""

from __future__ import annotations

import random
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from signal import SIGCONT, SIGSTOP
from typing import Any, Callable, NamedTuple, TypeVar, Union

from emulator.powerswitch.outlets import WORKS
from mosha.orders import DRAIN, MOVE, UNDRAIN
from moslab.errors import CannotError, LabError
from moslab.faults import toxics
from moslab.faults.links import Link, apart, between, from_power
from moslab.faults.plan import FaultPlan
from moslab.faults.record import (
    CLOCK,
    DRAINED,
    EXHAUSTED,
    FILES,
    MAP,
    OFF,
    OUTLET,
    PAUSE,
    STOP,
    WALL_CLOCK,
    Fault,
    flap,
    lines,
)
from moslab.faults.signals import AGENT, LEASH, signal_of
from moslab.faults.targets import RING, check_unmapped, known, ring, select
from moslab.faults.toxics import Toxic
from moslab.history.checkers import INVALID, UNKNOWN, VALID, judge, unseen
from moslab.history.record import History
from moslab.history.stored import Run
from moslab.scenario.breach import Breach, Held
from moslab.scenario.clients import COUNT, COUNT_MAX, KEYS, KEYS_MAX, PORT, Clients
from moslab.scenario.group import WITHIN_S, Group
from moslab.scenario.plans import plan_of
from moslab.scenario.world import Output, World, log_of
from moslab.scenario.written import Written
from moslab.wait import eventually

T = TypeVar("T")
Targets = Union[int, str, Group, Iterable[int]]
LOOK_EVERY_S = 0.05


class Verdict(NamedTuple):
    """What the checkers make of a history: valid, invalid or unknown, and why."""

    word: str
    problems: list[str]
    history: History | None

    def __bool__(self) -> bool:
        return self.word == VALID

    @property
    def unseen(self) -> str:
        """The rules about which it says nothing, in a sentence; empty if there is none."""
        return unseen(self.history) if self.history is not None else ""


class Cluster:
    """See the head of the module. ``world`` is for what only one world has; ``random`` is drawn from the seed."""

    def __init__(self, world: World, seed: int | str) -> None:
        self.world = world
        self._faults = Written(world.faults)
        self.random = random.Random(f"{seed}/targets")
        self._groups: dict[str, Group] = {}
        self._held = Held(world.faults.record, world.off)
        self._clients: list[Clients] = []
        self._first = len(world.faults.record.all)
        self._began_s = world.faults.record.now_s()
        self._verdict: Verdict | None = None
        self._judged = 0                                     # the faults that it knows of

    # -- what there is -----------------------------------------------------------------------------

    @property
    def nodes(self) -> tuple[int, ...]:
        """The numbers of all nodes, also of those that are off."""
        return self.world.nodes

    def group(self, name: str = "") -> Group:
        """A group of the tables that shall run; the first one, if none is named."""
        name = name or self.world.groups[0]
        if name not in self.world.groups:
            raise CannotError(f"there is no group {name!r} that shall run; there are {', '.join(self.world.groups)}")
        return self._groups.setdefault(name, Group(self, name))

    def whom(self, targets: Targets) -> tuple[int, ...]:
        """The nodes that are meant (rule 1)."""
        if isinstance(targets, Group):
            return (targets.owner,)
        if isinstance(targets, int):
            words = str(targets)
        else:
            words = targets if isinstance(targets, str) else ",".join(map(str, targets))
        return select(words, self.nodes, lambda name: self.group(name).owner, self.random)

    @property
    def faults(self) -> list[Fault]:
        """What this test has broken so far, with begin and end."""
        return self.world.faults.record.all[self._first:]

    # -- time --------------------------------------------------------------------------------------

    def sleep(self, for_s: float) -> None:
        """Let time of the world pass: for what shall *not* happen. Else wait for a condition."""
        self.world.sleep(for_s)

    def eventually(
        self, look: Callable[[], T], until: Callable[[T], bool] = bool, *, within: float = WITHIN_S, what: str,
    ) -> T:
        """The first state of ``look()`` for which ``until`` holds (rule 2)."""
        __tracebackhide__ = True
        try:
            return eventually(look, until, within_s=within, what=what, every_s=LOOK_EVERY_S, clock=self.world)
        except LabError as error:
            problem = str(error)
        raise AssertionError("\n".join(filter(None, [problem, self._broken()])))

    # -- nodes -------------------------------------------------------------------------------------

    def kill(self, targets: Targets) -> Breach:
        """Cut the power of nodes. It comes back with the end of the breach, by :meth:`start` or :meth:`heal`."""
        return self._each("off", OFF, targets, lambda node, _: self._faults.kill(node), self._faults.start)

    def start(self, targets: Targets) -> None:
        """Give nodes power; also those that STOMITH has put off."""
        for node in self.whom(targets):
            self._faults.start(node)

    def reboot(self, targets: Targets) -> None:
        """Nodes shut down in order, one after the other, and boot; returns when the last one has power again."""
        for node in self.whom(targets):
            self._faults.reboot(node)

    def pause(self, targets: Targets) -> Breach:
        """Freeze whole nodes; where there is STOMITH they may be shot, and then are off."""
        return self._each("paused", PAUSE, targets, lambda node, _: self._faults.pause(node), self._faults.resume)

    def resume(self, targets: Targets) -> None:
        """Thaw nodes."""
        for node in self.whom(targets):
            self._faults.resume(node)

    def lose_disk(self, targets: Targets) -> None:
        """Nodes that are off get new disks, as from an installer."""
        for node in self.whom(targets):
            self._faults.lose_disk(node)

    def run(self, node: int, command: str | Sequence[str]) -> Output:
        """Run a command on a node; not in the simulator."""
        return self.world.run(node, shlex.split(command) if isinstance(command, str) else command)

    # -- clients -----------------------------------------------------------------------------------

    def clients(self, group: Group | str, count: int = COUNT, keys: int = KEYS, port: int = PORT) -> Clients:
        """So many clients write and read so many registers that the group serves: by GET and SET as Redis has them, on
        that port of the node that runs it. They end with the block, or the judgement; not in the simulator."""
        if not 1 <= count <= COUNT_MAX or not 1 <= keys <= KEYS_MAX:
            raise CannotError(f"1 to {COUNT_MAX} clients of 1 to {KEYS_MAX} keys, not {count} of {keys}")
        name = (group if isinstance(group, Group) else self.group(group)).name
        self._clients.append(Clients(self.world, name, self.world.serve(name, count, keys, port), self._broken))
        return self._clients[-1]

    # -- links -------------------------------------------------------------------------------------

    def cut(
        self, targets: Targets, from_: Targets | None = None, *, one_way: bool = False, power: bool = False,
        network: int | None = None,
    ) -> Breach:
        """Cut nodes off from all others, or from those of ``from_``; packets are lost in silence.

        ``one_way``: only those from the first to the second. ``power``: from the power switch as well.
        ``network``: only in that one (1 or 2), where there is ``cluster(networks=2)``; containers.
        """
        links, some, what = self._to_cut(targets, from_, one_way)
        links |= from_power(some) if power else frozenset()
        return self.cut_links(links, f"{what}{f' in network {network}' if network else ''}", network)

    def cut_links(self, links: frozenset[Link], what: str, network: int | None = None) -> Breach:
        """Cut just these; ``what`` they are, for people; ``network``: in that one only."""
        return self._breach(self._faults.cut(links, network=network), f": {what}")

    def split(self, *parts: Targets) -> Breach:
        """Cut the links between these parts of the cluster, both ways; a node in two of them is a bridge."""
        sides = [frozenset(self.whom(part)) for part in parts]
        bridges = {node for node in self.nodes if sum(node in side for side in sides) > 1}
        links = apart(side - bridges for side in sides)
        if not links:
            raise CannotError(f"a split is between at least two parts, not {[sorted(side) for side in sides]}")
        return self.cut_links(links, " | ".join(str(sorted(side)) for side in sides))

    def ring(self) -> Breach:
        """Each node hears a majority, and no two nodes the same one; from four nodes on."""
        return self.cut(RING)

    def flap(
        self, targets: Targets, from_: Targets | None = None, *, one_way: bool = False, every: float, times: int,
    ) -> None:
        """Cut them off for ``every`` seconds and heal it for as long, so many times; returns when all is healed."""
        links, _, _ = self._to_cut(targets, from_, one_way)
        flap(self._faults, self.world.sleep, links, every, every, times)

    def lose(
        self, targets: Targets, share: float, from_: Targets | None = None, *, one_way: bool = False,
    ) -> Breach:
        """Lose so much, from 0 to 1, of the packets between nodes and all others, or those of ``from_``."""
        return self._breach(self._faults.cut(self._links(targets, from_, one_way), share))

    def delay(
        self, targets: Targets, by_s: float, from_: Targets | None = None, *, jitter_s: float = 0.0,
        one_way: bool = False,
    ) -> Breach:
        """What MFS sends between nodes and all others, or those of ``from_``, arrives later, give or take the jitter.

        This and what follows: with ``cluster(toxiproxy=True)``, in containers and in the simulator. Delay and rate also
        without, where the kernel of containers has netem: then of all packets.
        """
        return self.worsen(targets, toxics.delay(by_s, jitter_s), from_, one_way=one_way)

    def rate(
        self, targets: Targets, kbytes_s: int, from_: Targets | None = None, *, one_way: bool = False,
    ) -> Breach:
        """Connections of MFS carry no more than so many thousand bytes a second."""
        return self.worsen(targets, toxics.rate(kbytes_s), from_, one_way=one_way)

    def reset(self, targets: Targets, from_: Targets | None = None, *, one_way: bool = False) -> Breach:
        """Connections of MFS break as soon as something is sent there, new ones too."""
        return self.worsen(targets, toxics.reset(), from_, one_way=one_way)

    def slow_close(
        self, targets: Targets, by_s: float, from_: Targets | None = None, *, one_way: bool = False,
    ) -> Breach:
        """That one side has closed a connection of MFS the other is told so much later."""
        return self.worsen(targets, toxics.slow_close(by_s), from_, one_way=one_way)

    def worsen(self, targets: Targets, toxic: Toxic, from_: Targets | None = None, *, one_way: bool = False) -> Breach:
        """Their connections of MFS meet that (:mod:`moslab.faults.toxics`)."""
        return self._breach(self._faults.worsen(self._links(targets, from_, one_way), toxic))

    # -- maps --------------------------------------------------------------------------------------

    def unmap(self, targets: Targets, on: Targets | None = None) -> Breach:
        """openMosix on all other nodes that have power knows these no more, and theirs does not know the others; or
        just that on those of ``on`` knows them no more. At the end of the breach they join again; not on hosts."""
        gone, off = frozenset(self.whom(targets)), self.world.off()
        nodes = self.whom(on) if on is not None else [node for node in self.nodes if node not in off]
        check_unmapped(gone, nodes, on is not None)

        def begin(node: int, all_held: list[frozenset[int]]) -> None:
            self._faults.map(node, known(node, self.nodes, all_held))

        return self._each(f"without {sorted(gone)} on the map", MAP, nodes, begin,
                          lambda node: self._if_there(self._faults.map, node, self.nodes), amount=gone)

    # -- processes ---------------------------------------------------------------------------------

    def kill_process(self, role: str, on: Targets | None = None) -> None:
        """SIGKILL to ``agent``, ``leash GROUP`` or ``group GROUP``, where that group runs unless it is said."""
        self.signal_process(role, "KILL", on)

    def signal_process(self, role: str, name: str, on: Targets | None = None) -> None:
        """That signal to it, as ``TERM``; in the simulator KILL, TERM or INT. What stands still is a breach, and that
        is :meth:`stop_process`."""
        signo = signal_of(name)
        if signo in (SIGSTOP, SIGCONT):
            raise CannotError(f"{signo.name} is said by stop_process, and by the end of its breach")
        for node in self._hosts(role, on):
            self._faults.signal(node, role, signo)

    def stop_process(self, role: str, on: Targets | None = None) -> Breach:
        """SIGSTOP to it; SIGCONT with the end of the breach (rule 3)."""
        nodes = self._hosts(role, on)
        other = LEASH if role == AGENT else AGENT
        for _, node, stopped in self.world.faults.record.lasting(STOP):
            if role.split()[0] in (AGENT, LEASH) and node in nodes and stopped.split()[0] == other:
                raise CannotError(f"{stopped} of node {node} stands still: nothing is promised if {role} does, too")
        return self._each(f"{role} stopped", STOP, nodes, lambda node, _: self._signal(node, role, SIGSTOP),
                          lambda node: self._signal_if_there(node, role, SIGCONT), role)

    def restart_agent(self, targets: Targets) -> None:
        """End agents in order; returns when init has begun the next ones."""
        for node in self.whom(targets):
            self._faults.restart_agent(node)

    # -- files, STOMITH, clocks --------------------------------------------------------------------

    def disturb(self, targets: Targets, *, error: float = 0.0, hang: float = 0.0, full: bool = False) -> Breach:
        """Of what is done with the nodes' files through MFS so much, from 0 to 1, fails, and so much never ends; or
        their disks are ``full``: what is there can be written over, and no more (ENOSPC)."""
        if not (full or error + hang > 0) or not 0 <= error + hang <= 1 or min(error, hang) < 0:
            raise CannotError(f"error and hang are parts of 1, not {error:g} and {hang:g}")

        def begin(node: int, all_held: list[tuple[float, float, bool]]) -> None:
            errors, hangs, fulls = zip(*all_held)
            self._faults.disturb(node, min(max(errors), 1 - max(hangs)), max(hangs), any(fulls))

        return self._each("disks full" if full else "files disturbed", FILES, targets, begin,
                          lambda node: self._faults.disturb(node, 0.0, 0.0), amount=(error, hang, full))

    def exhaust(self, targets: Targets, what: str) -> Breach:
        """Their agents, and what these start meanwhile, get no more ``memory`` (1 MiB) or ``descriptors``."""
        return self._each(f"no more {what}", EXHAUSTED, targets, lambda node, _: self._faults.exhaust(node, what),
                          lambda node: self._faults.relieve(node, what), role=what)

    def break_outlet(self, targets: Targets, how: str) -> Breach:
        """Shots at the nodes fail: ``fails``; seem to fail and do not: ``lies``; come seconds late: ``slow``."""
        return self._each(f"outlet {how}", OUTLET, targets, lambda node, held: self._faults.outlet(node, held[-1]),
                          lambda node: self._faults.outlet(node, WORKS), amount=how)

    def slew_clock(self, targets: Targets, by: float) -> Breach:
        """The clock of their agents' deadlines runs faster by so much (0.05: 5 %), or slower; not on hosts."""
        return self._each(f"clock {by:+g}", CLOCK, targets, lambda node, held: self._faults.slew(node, held[-1]),
                          lambda node: self._faults.slew(node, 0.0), amount=by)

    def jump_clock(self, targets: Targets, by_s: float) -> Breach:
        """Set their agents' wall clocks forward, or back, and right again with the end of the breach; not on hosts."""
        return self._each(f"wall clock {by_s:+g} s", WALL_CLOCK, targets,
                          lambda node, held: self._faults.jump(node, sum(held)),
                          lambda node: self._faults.jump(node, 0.0), amount=by_s)

    # -- operators ---------------------------------------------------------------------------------

    def edit(self, targets: Targets, table: str, text: str) -> None:
        """Somebody edits ``cltab`` or ``hactl`` on nodes by hand, well or not. Groups that shall run, still shall."""
        for node in self.whom(targets):
            with self._faults.editing(node, table, text):
                self.world.edit(node, table, text)

    def move(self, group: Group, target: Targets) -> None:
        """``mosha move``, said on the node where the group runs. It is on its way, or there, when this returns."""
        nodes = self.whom(target)
        if len(nodes) != 1:
            raise CannotError(f"a group moves to one node, not to {nodes}")
        self.order(group.owner, MOVE, group.name, nodes[0])

    def order(self, node: int, do: str, group: str, target: int) -> None:
        """What an operator says at a node: ``move`` a group to the target, ``drain`` the target, or ``undrain`` it."""
        self._faults.order(node, do, group, target)

    def drain(self, targets: Targets) -> Breach:
        """``mosha drain``: nodes give their groups up, and take none until the end of the breach."""
        return self._each("drained", DRAINED, targets, lambda node, _: self.order(node, DRAIN, "", node),
                          lambda node: self._if_there(self.order, node, UNDRAIN, "", node))

    # -- all ---------------------------------------------------------------------------------------

    def heal(self) -> None:
        """End all faults, whoever began them, give every node power, and wait until all groups run."""
        __tracebackhide__ = True
        try:
            self.world.settle()
        except LabError as error:
            problem = str(error)
        else:
            self.see()
            return
        raise AssertionError("\n".join(filter(None, [f"after the heal: {problem}", self._broken()])))

    def see(self) -> None:
        """Wait until every group runs on one node; where that is, is where the test has seen it."""
        __tracebackhide__ = True
        for name in self.world.groups:
            self.group(name).run()

    def judge(self) -> Verdict:
        """Heal, and have the history judged. An observer that missed something never says valid."""
        liveness = []
        try:
            self.heal()
        except AssertionError as error:
            liveness = [f"liveness: {str(error).splitlines()[0]}"]
        for clients in self._clients:
            clients.end()
        seen = self.seen()
        self._verdict = Verdict(INVALID, liveness + seen.problems, seen.history) if liveness else seen
        self._judged = len(self.faults)
        return self._verdict

    def seen(self) -> Verdict:
        """What is to be said of the history by now, with all that is broken."""
        try:
            history = self.world.history()
        except LabError as error:
            return Verdict(UNKNOWN, [str(error)], None)
        return Verdict(*judge(history), history)

    @property
    def judged(self) -> Verdict | None:
        """What the last judgement said, if nothing was broken after it."""
        still = self._judged == len(self.faults) and not self.world.faults.record.lasting()
        return self._verdict if still else None

    def audit(self) -> Verdict:
        """That, or a new one."""
        judged = self.judged
        return judged if judged is not None else self.judge()

    def stored(self, title: str, seed: int | None, again: str, failure: str) -> Run:
        """All that is known of it by now, for a report."""
        judged = self.judged
        seen = judged if judged is not None else self.seen()
        history = replace(seen.history or History(len(self.nodes)), wanted=[*self.world.groups])
        return Run(
            title, self.world.name, seed, again, failure, seen.word, seen.problems, self._began_s, history, self.faults,
            log_of(self.world, history.end_s),
        )

    def plan(self) -> FaultPlan:
        """What does again what was broken so far."""
        own = self.world.plan()
        return own if own is not None else self._faults.plan(plan_of(self.world.spec, 0))

    def check(self) -> Verdict:
        """Heal; then no checker finds anything wrong in the history, or an AssertionError says what."""
        __tracebackhide__ = True
        verdict = self.judge()
        if not verdict:
            said = [f"the history is {verdict.word}:", *verdict.problems, *filter(None, [verdict.unseen])]
            raise AssertionError("\n".join([*said, self._broken()]))
        return verdict

    # -- inside ------------------------------------------------------------------------------------

    def _each(
        self, what: str, kind: str, targets: Targets, begin: Callable[[int, list[Any]], object],
        end: Callable[[int], object], role: str = "", amount: Any = None,
    ) -> Breach:
        return self._held.begin(what, kind, self.whom(targets), begin, end, role, amount)

    def _to_cut(
        self, targets: Targets, from_: Targets | None, one_way: bool
    ) -> tuple[frozenset[Link], tuple[int, ...], str]:
        """The links of a cut, whom it cuts off, and what it is, for people."""
        links = ring(self.nodes, targets, from_)
        if links:
            return links, self.nodes, "a ring of majorities"
        some, others = self._ends(targets, from_)
        if set(some) & set(others) or not some or not others:
            raise CannotError(f"a cut is between some nodes and others, not between {some} and {others}")
        return between(some, others, one_way), some, f"{some} from {others}"

    def _ends(self, targets: Targets, from_: Targets | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Some nodes, and others; all others if nothing is said."""
        some = self.whom(targets)
        return some, self.whom(from_) if from_ is not None else tuple(node for node in self.nodes if node not in some)

    def _breach(self, name: str, what: str = "") -> Breach:
        return Breach(f"{name}{what}", lambda: self._uncut(name))

    def _links(self, targets: Targets, from_: Targets | None, one_way: bool) -> frozenset[Link]:
        """As of a cut, but the sides may overlap: from all to all are all links."""
        links = ring(self.nodes, targets, from_)
        if links:
            return links
        some, others = self._ends(targets, from_)
        links = between(some, others, one_way)
        if not links:
            raise CannotError(f"there are no links between {some} and {others}")
        return links

    def _if_there(self, end: Callable[..., object], node: int, *more: object) -> None:
        """End what a node has lost with its power, if it is off."""
        if node not in self.world.off():
            end(node, *more)

    def _uncut(self, name: str) -> None:
        if any(detail == name for _, _, detail in self.world.faults.record.lasting()):
            self._faults.heal(name)

    def _signal(self, node: int, role: str, signo: int) -> list[int]:
        return self._faults.signal(node, role, signo)

    def _signal_if_there(self, node: int, role: str, signo: int) -> None:
        try:
            self._signal(node, role, signo)
        except LabError:                                     # it was killed meanwhile, or its node is off
            self.world.faults.record.ends(STOP, node, role)

    def _hosts(self, role: str, on: Targets | None) -> tuple[int, ...]:
        _, _, group = role.partition(" ")
        if on is None and not group:
            raise CannotError(f"{role}: on which node? say on=")
        return self.whom(on) if on is not None else (self.group(group).owner,)

    def _broken(self) -> str:
        return "\n".join(["what was broken:", *(f"  {line}" for line in lines(self.faults))]) if self.faults else ""
