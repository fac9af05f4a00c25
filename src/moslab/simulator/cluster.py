"""All nodes of one run, what joins them, and the counters of what was reached."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Callable

from mosha.ownership import marker
from mosha.ownership.voter import FOUNDED, installation
from mosha.tables import hactl
from moslab.faults.plan import FaultPlan
from moslab.history.record import Edit, Elected, Held, History, Numbered, WentBack
from moslab.simulator.facts import Facts
from moslab.simulator.installed import is_uneven
from moslab.simulator.kernel import Kernel, Stream
from moslab.simulator.network import Network
from moslab.simulator.node import TABLES, Node
from moslab.simulator.observer import Observer
from moslab.simulator.power import Power
from moslab.simulator.tasks import Tasks

ERA = 1_700_000_000              # of a cluster that an installer has founded
BOOT_SPREAD_S = 0.3
_EDIT = re.compile(rb"# edit (\d+)\n")


class Cluster:
    """Built from a plan; ``said(node, text)`` gets each event if the run is traced."""

    def __init__(self, plan: FaultPlan, said: Callable[[float, int, str], None] | None = None) -> None:
        self.plan = plan
        self.kernel = Kernel()
        self.kernel.may_stand = plan.clocks["sync_s"] > 0 or any(fault["do"] == "stall" for fault in plan.faults)
        self.counters: dict[str, int] = {}
        self.numbers = list(range(1, plan.nodes + 1))
        self.voters = plan.voters()
        self.speaker = 0
        self._said = said
        self._pids = self._guardians = self._nonces = 0
        table = hactl.parse(plan.hactl)
        self.result = History(
            nodes=plan.nodes, electorates=[Elected(0.0, ERA, 0, tuple(self.voters))],
            lease_s=plan.settings().timing.lease_s, drift=plan.clocks["drift"], bound_s=plan.bound_s,
            stop_s=plan.settings().timing.stopped_s(_answer_s(plan)),
            elders=frozenset(plan.elders()), fenced=hactl.with_flag(table, "fenced"),
            requires={group: wanted.requires for group, wanted in table.items() if wanted.requires},
        )
        self.facts = Facts(self.count, self._elected)
        self.history = Observer(self.result, self.facts)
        self._electors = self.numbers if is_uneven(plan) else sorted({*self.voters, *_wished(plan)} & set(self.numbers))
        self.network = Network(self.kernel, self.stream("network"), plan.network, self.reach_changed)
        self.nodes: dict[int, Node] = {}
        for number in self.numbers:
            arbitrates = {"arbitrator": "yes"} if number in plan.arbitrators else {}
            self.nodes[number] = Node(self, number, plan.settings(arbitrates, number))
        self.power = Power(self)
        self.tasks = Tasks(self)
        self._reached: set[tuple[int, int]] = set()
        self._versions: dict[tuple[int, str], int] = {}      # (node, table) -> the number that it has
        self._install()

    def _install(self) -> None:
        """What an installer leaves on each disk; then all boot."""
        draw, era = self.stream("boot"), marker.make_era(ERA, self.nonce())
        for node in self.nodes.values():
            files = {"cltab": self.plan.cltab, "hactl": self.plan.hactl}
            if self.plan.founded_on(node.number):
                files[FOUNDED] = installation(era, self.voters)
            for name, text in files.items():
                node.disk.files[name] = text.encode()
            self.kernel.at(draw.uniform(0.0, BOOT_SPREAD_S), node.power_on)

    # ---- for all parts ----------------------------------------------------------------------------------------

    def stream(self, purpose: str) -> Stream:
        """Of this run's randomness."""
        return Stream(self.plan.seed, purpose)

    def nonce(self) -> str:
        """32 hexadecimal digits, never the same."""
        self._nonces += 1
        return hashlib.sha256(f"{self.plan.seed}/nonce/{self._nonces}".encode()).hexdigest()[:32]

    def new_guardian(self) -> int:
        """A number for one."""
        self._guardians += 1
        return self._guardians

    def new_pid(self) -> int:
        self._pids += 1
        return self._pids

    def count(self, what: str) -> None:
        """One more of it was reached."""
        self.counters[what] = self.counters.get(what, 0) + 1

    def trace(self, node: int, text: str) -> None:
        """One event of a node (0: of none)."""
        if self._said is not None:
            self._said(self.kernel.now, node, text)

    # ---- who reaches whom -------------------------------------------------------------------------------------

    def reach_changed(self, node: int | None = None) -> None:
        """Note which nodes and voters are in contact from now on; with ``node`` only its own contacts have changed."""
        now = self.kernel.now
        for voter in self._electors:
            for number in self.numbers if node in (None, voter) else (node,):
                pair = number, voter
                there = self.in_contact(number, voter)
                if there != (pair in self._reached):
                    (self._reached.add if there else self._reached.discard)(pair)
                    self.history.contact(now, number, voter, there)

    def _elected(self, era: int, number: int, voters: Iterable[int]) -> None:
        """These were decided to be the voters of that number."""
        chosen = era, number, tuple(sorted(voters))
        if all(one[1:] != chosen for one in self.result.electorates):
            self.result.electorates.append(Elected(self.kernel.now, *chosen))

    def in_contact(self, one: int, other: int) -> bool:
        """Whether both live, and each reaches the other."""
        nodes, network = self.nodes, self.network
        living = nodes[one].up and not nodes[one].frozen and nodes[other].has_files() and not nodes[other].holds_files()
        on_map = other not in nodes[one].strangers
        return living and on_map and not network.blocked(one, other) and not network.blocked(other, one)

    def owner(self, group: str) -> int | None:
        """The node that runs it now; the first, should there be two."""
        return next(
            (number for number, node in self.nodes.items()
             if any(member.group == group and member.runs for member in node.members.values())),
            None,
        )

    # ---- tables -----------------------------------------------------------------------------------------------

    def edits_in(self, node: int, file: str) -> tuple[int, ...]:
        """The numbers of the edits in a file on its disk."""
        return tuple(map(int, _EDIT.findall(self.nodes[node].disk.files.get(file, b""))))

    def edits_aside(self, node: int) -> set[tuple[str, int]]:
        """Those on its disk that are in the plain files, or kept beside these."""
        files = [name for name in self.nodes[node].disk.files if name.partition(".kept-")[0] in TABLES]
        return {(name.partition(".")[0], number) for name in files for number in self.edits_in(node, name)}

    @contextmanager
    def loses(self, node: int) -> Iterator[None]:
        """Something is done to its disk, or to a plain file on it: what is gone then was lost with that."""
        files = self.nodes[node].disk.files
        before, versions = self._edits_on(node), {table: files.get(f"{table}.version") for table in TABLES}
        yield
        gone = before - self._edits_on(node)
        self.result.lost |= {(table, number) for table, number in gone if not self._is_held(table, number)}
        for table, version in versions.items():
            if files.get(f"{table}.version") != version:
                self._versions.pop((node, table), None)

    def _edits_on(self, node: int) -> set[tuple[str, int]]:
        good = {(table, number) for table in TABLES for number in self.edits_in(node, f"{table}.good")}
        return good | self.edits_aside(node)

    def edited(self, node: int, table: str, number: int) -> None:
        """Somebody made an edit."""
        self.result.edits.append(Edit(self.kernel.now, table, number, node))

    def overwritten(self, node: int, table: str, after: int) -> None:
        """Somebody saves what he opened before the edits with numbers above this were made: those of this very node he
        may undo."""
        made_here = {edit.number for edit in self.result.edits if (edit.table, edit.node) == (table, node)}
        self.result.lost |= {(table, number) for number in made_here if number > after}

    def file_changed(self, node: int, name: str) -> None:
        """One of those that are watched is another now."""
        if name == marker.NAME:
            self.facts.marked(node, self.nodes[node].disk.files.get(name, b""))
        elif name.endswith(".version"):
            self._numbered(node, name.partition(".")[0], self.nodes[node].disk.files[name])
        else:
            self._in_force(node, name)

    def _in_force(self, node: int, good: str) -> None:
        """Has a majority taken these edits in?"""
        table = good.partition(".")[0]
        held = {number for _, name, number in self.result.held if name == table}
        for number in self.edits_in(node, good):
            if number not in held and self._is_held(table, number):
                self.result.held.append(Held(self.kernel.now, table, number))
                self.count("edit replicated")

    def _is_held(self, table: str, number: int) -> bool:
        there = {node for node in self.numbers if number in self.edits_in(node, f"{table}.good")}
        electorates = ({*self.numbers}, *({*chosen.voters} for chosen in self.result.electorates))
        return all(2 * len(there & all_) > len(all_) for all_ in electorates)

    def _numbered(self, node: int, table: str, content: bytes) -> None:
        """What it has in force has this version."""
        number, result = int(json.loads(content)[0]), self.result
        before, self._versions[node, table] = self._versions.get((node, table), 0), number
        if number < before:
            result.went_back.append(WentBack(self.kernel.now, table, node, before, number))
        edits = self.edits_in(node, f"{table}.good")
        if number and edits and not any((one.table, one.edits) == (table, edits) for one in result.numbered):
            world = self.nodes[node].world
            began_s = self.kernel.now if world is None else world.began_s
            result.numbered.append(Numbered(began_s, table, node, edits))

    def tables_settled(self, nodes: list[int]) -> bool:
        """Whether these nodes all have them, and the same."""
        disks = [self.nodes[node].disk.files for node in nodes]
        return all(table in disk for disk in disks for table in TABLES) and all(
            len({self.edits_in(node, table) for node in nodes}) == 1 for table in TABLES
        )


def _answer_s(plan: FaultPlan) -> float:
    """Within which voters answer if nothing is broken: E where the network of the plan has no long tail and a worker is
    always to be had, else at least within D, or it does not count."""
    timing, network = plan.settings().timing, plan.network
    is_sharp = network["latency_max_s"] <= timing.eager_s / 10 and not network["tail"] and not network["no_fork"]
    return timing.eager_s if is_sharp else timing.op_limit_s


def _wished(plan: FaultPlan) -> Iterator[int]:
    """The nodes that may become voters."""
    for fault in plan.faults:
        if fault["do"] == "vote":
            yield fault["node"]
        elif fault["do"] == "order":
            yield from fault["order"].get("voters", ())
