"""Carries the faults of a plan out, and heals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import partial
from signal import Signals
from types import MappingProxyType
from typing import Any, Callable

from mosha.orders import KINDS, UNDRAIN
from mosha.ownership import marker
from mosha.ownership.voter import ORDER
from mosha.tables.hactl import MAINTENANCE, edited
from moslab.faults.links import between, shown
from moslab.faults.plan import BAD_TABLE, BOTH, LOSSES, SHUT_DOWN_S, STALLS, Fault
from moslab.faults.record import CUT, OFF, PAUSE, STOP, UNENDED
from moslab.faults.record import Fault as Recorded
from moslab.simulator.cluster import Cluster
from moslab.simulator.damage import damage
from moslab.simulator.effect import has_effect, processes
from moslab.simulator.facts import voters_of
from moslab.simulator.network import Cut, Worse
from moslab.simulator.node import Node
from moslab.simulator.process import Process

Undo = Callable[[], None]
RECORDED = {"crash": OFF, "freeze": PAUSE, "pause": STOP, "cut": CUT}
"""What the plan's kinds are called in the record of a run."""
ELSEWHERE = ("cut", "freeze", "stuck")
"""What of these a history has in its own terms: contacts, thaws, and what was gone late."""
FLAPS_MAX = 50
SHUT_DOWN_LOOK_S = 0.01
LINKS = ("to", "both", "for")


class Injector:
    """``schedule`` has the kernel make all faults; ``heal`` ends those that the healed nodes suffer from. What was
    broken is in ``record``."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._kernel = cluster, cluster.kernel
        self._draw = cluster.stream("inject")
        self._edits = 0
        self._backups: dict[int, dict[str, bytes]] = {}
        self._healed = False
        self.record: list[Recorded] = []
        self._lasting: dict[int, frozenset[int]] = {}        # place in the record -> who suffers from it

    def schedule(self) -> None:
        """Have every fault of the plan happen."""
        for fault in self._cluster.plan.faults:
            self._kernel.at(fault["at"], self._begin, fault)

    def heal(self, numbers: list[int]) -> None:
        """These nodes, and what joins them, are well from now on; all else stays as it is: no fault ends any more."""
        cluster = self._cluster
        self._healed = True
        for node in cluster.nodes.values():
            if node.trouble_until_s > self._kernel.now:
                node.trouble_until_s = float("inf")
        cluster.trace(0, f"heals {numbers}")
        for place in [place for place, nodes in self._lasting.items() if nodes <= {*numbers}]:
            self._ends(place)
        cluster.network.heal(frozenset(numbers))
        for number in numbers:
            node = cluster.nodes[number]
            node.weather.clear()
            node.trouble_until_s = 0.0
            for member in list(node.members.values()):
                member.trouble_ends()
            node.slew(0.0)
            cluster.power.modes.pop(number, None)
            cluster.power.outlets.pop(number, None)
            self._stall(node, 0.0)
            node.thaw()
            for process in _processes(node):
                process.thaw()
            if node.config is not node.base:
                node.config = node.base
                self._leave(node)
            self._do_order([node], {"order": {"do": UNDRAIN}})
            node.power_on()

    def begin(self, fault: Fault) -> Undo | None:
        """Have it happen now; what ends it, if it lasts."""
        cluster = self._cluster
        nodes = self._nodes(fault["whom"])
        kind, met = fault["do"], fault
        if "to" in fault:
            met = {**fault, "to": [node.number for node in self._nodes(fault["to"])]}
        if any(has_effect(node, met) for node in nodes):
            cluster.count(f"fault {kind}{'/' + fault['what'] if 'what' in fault else ''}")
        cluster.trace(0, f"{kind} {[node.number for node in nodes]} {_rest(fault)}")
        undo: Undo | None = getattr(self, f"_do_{kind}")(nodes, met)
        return self._recorded(met, nodes, undo)

    # ---- inside -----------------------------------------------------------------------------------------------

    def _begin(self, fault: Fault) -> None:
        undo = self.begin(fault)
        if undo is not None and "for" in fault:
            self._kernel.at(self._kernel.now + fault["for"], self._end, undo)

    def _end(self, undo: Undo) -> None:
        if not self._healed:
            undo()

    def _recorded(self, fault: Fault, nodes: list[Node], undo: Undo | None) -> Undo | None:
        """It is in the record; where it lasts, its end will be."""
        now, numbers, detail = self._kernel.now, tuple(node.number for node in nodes), _rest(fault)
        touched, kind = frozenset(numbers), fault["do"]
        if kind in ("cut", "worsen"):
            links = between(numbers, fault["to"], one_way=not fault.get("both"))
            said = "" if kind == "cut" else _rest({name: fault[name] for name in fault if name not in LINKS})
            touched, detail = touched | {*fault["to"]}, shown(links, said)
            numbers = () if kind == "cut" else tuple(sorted(touched))
        elif kind in ("pause", "kill"):
            detail = f"{fault['what']} {fault.get('group', '')}".strip()
        elif kind in RECORDED:
            detail = ""
        place, name = len(self.record), str(RECORDED.get(kind, kind))
        self.record.append(Recorded(name, numbers, detail, now, now if undo is None else UNENDED))
        if kind not in ELSEWHERE and fault.get("order", {}).get("do") not in KINDS:
            ends_s = now + fault.get("for", UNENDED if undo is not None else 0.0)
            self._cluster.result.hampered += [(now, ends_s, number) for number in numbers]
        if undo is None:
            return None
        self._lasting[place] = touched
        ends = undo

        def undo_it() -> None:
            self._ends(place)
            ends()

        return undo_it

    def _ends(self, place: int) -> None:
        if self._lasting.pop(place, None) is not None:
            self.record[place] = self.record[place]._replace(end_s=self._kernel.now)

    def _nodes(self, whom: list[Any]) -> list[Node]:
        cluster, numbers = self._cluster, []
        for one in whom:
            if isinstance(one, str):
                owner = cluster.owner(one.partition(":")[2])
                if owner is not None:
                    cluster.count("fault aimed at an owner")
                numbers.append(owner if owner is not None else self._draw.pick(cluster.numbers))
            else:
                numbers.append(one)
        return [cluster.nodes[number] for number in dict.fromkeys(numbers)]

    def _do_crash(self, nodes: list[Node], fault: Fault) -> Undo:
        for node in nodes:
            node.power_off()
            if fault.get("wipe"):
                self._wipe(node, "disk lost")
            elif fault.get("restore") and node.number in self._backups:
                self._wipe(node, "disk restored", self._backups[node.number])
                if fault["restore"] != "whole":
                    node.disk.files.pop(marker.NAME, None)
        return partial(_all, [node.power_on for node in nodes])

    def _do_backup(self, nodes: list[Node], _fault: Fault) -> None:
        for node in nodes:
            self._backups[node.number] = dict(node.disk.files)

    def _do_vote(self, nodes: list[Node], fault: Fault) -> None:
        voters = voters_of(nodes[0].disk.files.get(marker.NAME, b"")) ^ {fault["node"]}
        self._do_order(nodes[:1], {"order": {"do": "elect", "voters": sorted(voters)}})

    def _do_order(self, nodes: list[Node], fault: Fault) -> None:
        order = {"name": f"{self._kernel.now:.3f}", "group": "", "node": 0, **fault["order"]}
        for node in nodes:
            given_up = [node.number] if order.get("do") == "forget" else order.get("without", [])
            self._forgets(*(self._cluster.nodes[number] for number in given_up if number in self._cluster.nodes))
            node.disk.replace(ORDER, json.dumps(order).encode(), durable=True)

    def _do_freeze(self, nodes: list[Node], fault: Fault) -> Undo:
        for node in nodes:
            node.freeze(stops_clocks=fault.get("clock") == "stops")
        return partial(_all, [node.thaw for node in nodes])

    def _do_pause(self, nodes: list[Node], fault: Fault) -> Undo:
        stopped = [
            process for node in nodes for process in processes(node, fault["what"], fault.get("group"))
            if fault["what"] == "group" or not self._other_stands(node, fault["what"])
        ]
        for process in stopped:
            process.freeze()
        return partial(_all, [process.thaw for process in stopped])

    def _do_kill(self, nodes: list[Node], fault: Fault) -> None:
        for node in nodes:
            if fault["what"] in ("agent", BOTH):
                if node.world is not None:
                    node.world.end(-9)
                for guardian in list(node.guardians) if fault["what"] == BOTH else ():
                    guardian.kill()
                if fault.get("wipe"):
                    self._wipe(node, "disk lost at the end of its agent")
            else:
                for process in processes(node, fault["what"], fault.get("group")):
                    if "signal" not in fault:
                        process.kill()
                    elif fault["what"] == "group":
                        process.signal(Signals[f"SIG{fault['signal']}"])

    def _do_wipe(self, nodes: list[Node], _fault: Fault) -> None:
        for node in nodes:
            self._wipe(node, "disk lost under a running agent" if node.world is not None else "disk lost")

    def _wipe(self, node: Node, what: str, backup: Mapping[str, bytes] = MappingProxyType({})) -> None:
        """Of its disk this is left."""
        self._cluster.count(what)
        self._forgets(node)
        with self._cluster.loses(node.number):
            node.disk.wipe()
            node.disk.files.update(backup)

    def _forgets(self, *nodes: Node) -> None:
        """What these voters held may count no more, in the next era of their cluster."""
        for node in nodes:
            self._cluster.history.forgot(self._kernel.now, node.number)

    def _do_leave(self, nodes: list[Node], fault: Fault) -> Undo | None:
        boots = [(node, node.boot, node.lives, self._kernel.now + SHUT_DOWN_S) for node in nodes if node.up]
        for node in nodes:
            self._leave(node)
        if not fault.get("reboot"):
            return None
        for one in boots:
            self._shut_down(one)

        def undo() -> None:
            for node, boot, *_ in boots:
                if node.boot == boot:
                    node.power_off()
                node.power_on()

        return undo

    def _shut_down(self, boot: tuple[Node, int, int, float]) -> None:
        """A machine goes off when the agent of that life has ended, at the latest at that time."""
        node, number, life, until_s = boot
        if self._healed or node.boot != number:
            return
        if node.world is None or node.lives != life or self._kernel.now >= until_s:
            node.power_off()
        else:
            self._kernel.at(self._kernel.now + SHUT_DOWN_LOOK_S, self._shut_down, boot)

    @staticmethod
    def _leave(node: Node) -> None:
        if node.world is not None:
            node.world.leave("SIGTERM")

    def _do_cut(self, nodes: list[Node], fault: Fault) -> Undo:
        one = frozenset(node.number for node in nodes)
        other = frozenset(node.number for node in self._nodes(fault["to"])) - one
        cuts = [Cut(one, other)] + ([Cut(other, one)] if fault.get("both") else [])
        self._count_shape(cuts, one | other)
        for cut in cuts:
            self._cluster.network.cut(cut)
        over = [False]
        if fault.get("flap"):
            self._kernel.at(self._kernel.now + fault["flap"], self._flap, (cuts, fault["flap"], over, FLAPS_MAX))

        def undo() -> None:
            over[0] = True
            for cut in cuts:
                self._cluster.network.end(cut)

        return undo

    def _do_worsen(self, nodes: list[Node], fault: Fault) -> Undo:
        one, other = frozenset(node.number for node in nodes), frozenset(fault["to"])
        found = [Worse(one, other, fault)] + ([Worse(other, one, fault)] if fault.get("both") else [])
        self._cluster.network.worse += found
        return partial(_all, [partial(self._cluster.network.better, worse) for worse in found])

    def _count_shape(self, cuts: list[Cut], all_cut: frozenset[int]) -> None:
        count = self._cluster.count
        count("cut both ways" if len(cuts) == 2 else "cut one way")
        if self._cluster.network.cuts:
            count("cut while another lasts")
        if len(cuts) == 2 and all_cut < set(self._cluster.numbers):
            count("cut that leaves a bridge")

    def _flap(self, state: tuple[list[Cut], float, list[bool], int]) -> None:
        cuts, every_s, over, left = state
        if over[0] or not left:
            return
        self._cluster.count("flap")
        network = self._cluster.network
        for cut in cuts:
            if cut in network.cuts:
                network.end(cut)
            else:
                network.cut(cut)
        self._kernel.at(self._kernel.now + every_s, self._flap, (cuts, every_s, over, left - 1))

    def _do_weather(self, nodes: list[Node], fault: Fault) -> Undo:
        for node in nodes:
            weather = node.weather
            weather.slow = fault.get("slow", 1.0)
            weather.error, weather.hang = fault.get("error", 0.0), fault.get("hang", 0.0)
            weather.loss, weather.torn = fault.get("loss", 0.0), fault.get("torn", 0.0)
            weather.full, weather.refuses = fault.get("full", False), fault.get("refuses", False)
        return partial(_all, [node.weather.clear for node in nodes])

    def _do_stuck(self, nodes: list[Node], fault: Fault) -> None:
        for node in nodes:
            node.trouble_until_s = self._kernel.now + fault.get("for", self._cluster.plan.safety_s)

    def _do_stall(self, nodes: list[Node], fault: Fault) -> None:
        self._kernel.may_stand = True                # in a stepwise run nobody knew of it before
        for node in nodes:
            self._stall(node, fault["for"], (fault["amid"],))

    @staticmethod
    def _stall(node: Node, for_s: float, amid: Iterable[str] = STALLS) -> None:
        """Its agent, if it has one."""
        if node.world is not None:
            for one in amid:
                node.world.stall(one, for_s)

    def _do_stomith(self, nodes: list[Node], fault: Fault) -> Undo:
        power = self._cluster.power
        modes = power.outlets if fault.get("of") == "outlet" else power.modes
        for node in nodes:
            modes[node.number] = fault["how"]
        return partial(_all, [partial(modes.pop, node.number, None) for node in nodes])

    def _do_jump(self, nodes: list[Node], fault: Fault) -> Undo | None:
        for node in nodes:
            node.jump(fault["by"])
        return partial(_all, [partial(node.jump, -fault["by"]) for node in nodes]) if "for" in fault else None

    def _do_slew(self, nodes: list[Node], fault: Fault) -> Undo:
        for node in nodes:
            node.slew(node.rate * (1 + fault["by"]))
        return partial(_all, [partial(node.slew, 0.0) for node in nodes])

    def _do_edit(self, nodes: list[Node], fault: Fault) -> Undo | None:
        table = fault["table"]
        if "for" in fault:
            opened = self._opened_in_place if fault.get("in_place") else self._opened
            return partial(_all, [opened(node, table) for node in nodes if node.up])
        for node in nodes:
            if not node.up:
                continue
            self._edits += 1
            if fault.get("bad"):
                with self._cluster.loses(node.number):
                    node.disk.replace(table, fault.get("text", BAD_TABLE).encode(), durable=True)
                continue
            content = node.disk.files.get(table)
            if content:                              # nobody edits one that somebody has emptied
                self._cluster.edited(node.number, table, self._edits)
                if "text" in fault:
                    good = node.disk.files.get(f"{table}.good", b"")             # which he knows, if the file is none
                    edits = dict.fromkeys(re.findall(rb"(?m)^# edit \d+\n", good + content))
                    content = b"".join([fault["text"].encode(), *edits])
                if "maintenance" in fault:
                    groups = [line.split()[0] for line in self._cluster.plan.hactl.splitlines()]
                    content = edited(content.decode(), groups, MAINTENANCE, fault["maintenance"]).encode()
                for group, level in fault.get("levels", {}).items():
                    content = re.sub(rf"(?m)^{re.escape(group)} \S+".encode(), f"{group} {level}".encode(), content)
                node.disk.replace(table, content + f"# edit {self._edits}\n".encode(), durable=True)
        return None

    def _opened(self, node: Node, table: str) -> Undo:
        """Saves the table as it is now with an edit; the editor ends with the node. Two on one node know nothing
        of each other."""
        content, boot, before = node.disk.files.get(table), node.boot_id, self._edits

        def save() -> None:
            if not content or table not in node.disk.files or not node.up or node.boot_id != boot:
                return
            self._cluster.overwritten(node.number, table, before)
            self._edits += 1
            self._cluster.edited(node.number, table, self._edits)
            node.disk.replace(table, content + f"# edit {self._edits}\n".encode(), durable=True)

        return save

    def _opened_in_place(self, node: Node, table: str) -> Undo:
        """Empties the table, if one is in force, and then saves it as it was with an edit, in that very file, whatever
        became of that; the editor ends with the node."""
        disk, boot, content = node.disk, node.boot_id, node.disk.files.get(table)
        file = disk.file(table)
        is_open = bool(content) and f"{table}.good" in disk.files
        if is_open:
            with self._cluster.loses(node.number):
                disk.spoil(table, b"")

        def save() -> None:
            name, is_there = disk.found(file)
            is_replaced = name == table and not is_there     # by somebody else on this node
            if not is_open or is_replaced or not node.up or node.boot_id != boot:
                return
            self._edits += 1
            self._cluster.edited(node.number, table, self._edits)
            self._cluster.count("edit in place" if name == table else "edit in place of what was put aside")
            if is_there:
                disk.spoil(name, (content or b"") + f"# edit {self._edits}\n".encode())

        return save

    def _do_map(self, nodes: list[Node], fault: Fault) -> Undo | None:
        for node in nodes:
            node.set_map(fault["nodes"])
            self._cluster.count("map without some nodes" if node.strangers else "map of all nodes")
            self._cluster.reach_changed(node.number)
        if "for" not in fault:
            return None
        whole = self._cluster.plan.map_of
        return partial(_all, [partial(self._do_map, [node], {"nodes": whole(node.number)}) for node in nodes])

    def _do_damage(self, nodes: list[Node], fault: Fault) -> None:
        for node in nodes:
            nonce = self._cluster.nonce()
            self._forgets(node)
            if fault["shape"] in LOSSES:
                node.disk.sync()                     # what shows the loss is on the disk
            node.disk.spoil(*damage(fault["file"], fault["shape"], node.disk.files, self._draw, nonce))
            self._cluster.count(f"damage {fault['file']}")

    def _do_config(self, nodes: list[Node], fault: Fault) -> Undo:
        for node in nodes:
            changed = self._cluster.plan.settings(fault.get("conf", {}), node.number)
            arbitrator = changed.arbitrator or node.base.arbitrator
            node.config = changed._replace(arbitrator=arbitrator, protocol=fault.get("protocol", changed.protocol))
            if len({node.config.protocol for node in self._cluster.nodes.values()}) > 1:
                self._cluster.count("two versions of the protocol")
            self._forgets(node)                      # what was written under another configuration counts no more
            self._leave(node)

        def undo() -> None:
            for node in nodes:
                if node.config is not node.base:
                    node.config = node.base
                    self._leave(node)

        return undo

    def _other_stands(self, node: Node, what: str) -> bool:
        """Whether the other of the two guardians stands still: one of them runs, or nothing is promised (A2)."""
        if what == "agent":
            stands = any(guardian.frozen for guardian in node.guardians)
        else:
            stands = node.world is None or not node.world.guards or node.world.frozen or node.world.stands
        if stands:
            self._cluster.count("second guardian is spared")
        return stands


def _all(calls: Iterable[Callable[[], Any]]) -> None:
    for call in calls:
        call()


def _processes(node: Node) -> list[Process]:
    world: list[Process] = [node.world] if node.world is not None else []
    return [*world, *node.guardians, *node.members.values()]


def _rest(fault: Fault) -> str:
    return " ".join(f"{name}={value}" for name, value in fault.items() if name not in ("at", "do", "whom"))
