"""A fault plan: the whole configuration of one run, as JSON.

Rules:

1. A plan and its seed determine a run. What the plan does not say is drawn from the seed.
2. A fault is ``{"at": seconds, "do": kind, "whom": [...], "for": seconds, ...}``. In ``whom`` a number is a node, and
   ``"owner:GROUP"`` the node that runs the group at that moment. ``for`` is how long it lasts; without, until the heal.
3. Of the agent and the leash of a group one runs always, or nothing is promised (assumption A2 of docs/ownership.md): a
   pause that would leave neither spares the second, and a paused leash goes on when its agent ends.
4. At ``safety_s`` the nodes of ``heal`` are healed, and nothing else: no fault ends by itself after that. Then every
   group must run within ``bound_s``, if the healed nodes agree on who votes (:mod:`moslab.simulator.installed`).
   Nothing breaks any more: of what begins later only an operator's ``order`` is taken.
5. ``installed`` says what an installer left on a node that is not so on all: ``{"node": 4, ...}`` with ``voters``,
   which its configuration names (none for an empty list), ``map``, the nodes that openMosix there is configured with,
   and ``founded``, whether it got that file. A node asks nobody who is not on its map. ``elder``: it has an agent of
   2003, which neither votes nor arbitrates, and knows no tables but its own (:mod:`moslab.simulator.elder`).

======== ===================================================================== ==============================
do       what                                                                  further fields
======== ===================================================================== ==============================
crash    the power fails, and comes back after ``for``                          wipe: the disk is lost too;
                                                                                restore: it is that of the backup,
                                                                                without the marker; "whole": with it
backup   somebody saves the agent's directory
vote     ``mosha voters add`` or ``remove`` on the first of whom                node: gets or loses its vote
order    ``mosha voters``, ``move``, ``drain``, ``clear``: an operator's word    order: as in the file of that name
freeze   the whole machine stands still                                        clock: "stops": its clocks do too, as of
                                                                                a paused virtual machine
pause    SIGSTOP, then SIGCONT                                                  what: agent, leash, group; group: of
                                                                                that one alone
kill     SIGKILL                                                                what: agent, leash, group, "agent and
                                                                                leashes"; wipe: and somebody empties
                                                                                the directory of the agent; group: of
                                                                                that one alone; signal: this one, to the
                                                                                group; a leash is deaf to it
wipe     somebody empties the agent's directory, and the agent runs on
leave    SIGTERM to the agent                                                   reboot: its machine shuts down, and
                                                                                boots after ``for``
cut      no messages from ``whom`` to ``to``                                    to; both: the other way as well;
                                                                                flap: seconds, cut on and off
worsen   MFS from ``whom`` to ``to`` meets that, as through Toxiproxy            to; both; delay, jitter: seconds;
                                                                                rate: thousand bytes a second; reset;
                                                                                slow_close: seconds; loss: of packets
weather  requests from and to the node suffer                                   slow, error, hang, loss, torn;
                                                                                full: its files take no more bytes;
                                                                                refuses: its agent replaces none
stuck    killed processes stay in state D
stall    the agent that runs stands still for ``for``, once, amid what it does  amid: look (after its next look at the
                                                                                clock), write (in its next durable
                                                                                write, before that is seen)
stomith  its shots end so                                                       how: fails, lies, slow, cut, spares
                                                                                (says off, and does nothing: A4);
                                                                                of: "outlet": the shots at it
jump     the wall clock jumps, and back after ``for``, if that is there         by: seconds
slew     the clock runs faster or slower than the steady one                    by: of 1, as 0.08
edit     somebody edits a table, or opens it and saves after ``for``            table; bad: not a table at all;
                                                                                text: what it says then;
                                                                                maintenance: of all groups, or off;
                                                                                levels: of hactl, group by group;
                                                                                in_place: it is emptied first, and
                                                                                the same file written after ``for``
map      openMosix there is configured with other nodes, and after ``for``,     nodes: those of its map
         if that is there, as at first
damage   what lies on the disk is bad (A5)                                      file: voter, state, counted, slots;
                                                                                order, founded, stray (somebody put
                                                                                it there), journal (of nobody),
                                                                                written (a journal that counts);
                                                                                shape: bits (one is another), short,
                                                                                other (bytes), later (of a version
                                                                                that is not this one), empty or
                                                                                gone (of what a slot tells of).
                                                                                file decided: all that was decided was
                                                                                so twice, which nobody can detect
config   the agent runs with another configuration, or is of another version    conf: lines of mosha.conf; protocol:
                                                                                its number
======== ===================================================================== ==============================
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mosha import config, orders
from mosha.config import Config
from mosha.ownership import electorate
from mosha.tables import cltab, hactl
from mosha.tables.errors import TableErrors
from moslab import files
from moslab.errors import CannotError
from moslab.faults import shape
from moslab.faults.shape import Shape
from moslab.faults.toxics import RATE_MAX, of_plan
from moslab.seeds import SEED_MAX

FORMAT = 1
FAULTS_MAX = 1000
NODES_MAX = 65535
FILE_BYTES_MAX = 1024 * 1024
TIME = shape.number(0, 1e6)
CHANCE = shape.number(0, 1)
FACTOR = shape.number(0, 1e4)
DAMAGED = ("voter", "state", "counted", "slots", "order", "founded", "stray", "journal", "written")
DAMAGES = ("bits", "short", "other", "later")
DECIDED = "decided"
LOSSES = ("empty", "gone")       # of a journal that counts: its writer's slot tells that there was more
BOTH = "agent and leashes"
SIGNALS = ("INT", "TERM")      # which a plan may have instead of KILL
SHUT_DOWN_S = 10.0               # as emulator.init
LOOK, WRITE = STALLS = ("look", "write")
BAD_TABLE = "this is: no table: at all\n"
SHOTS = ("works", "fails", "lies", "slow", "cut", "spares")
ORDER: dict[str, Shape] = {      # of nodes that are not there as well: an operator may be wrong
    "do": shape.one_of("elect", "found", "forget", *orders.KINDS), "voters": shape.wholes(1, NODES_MAX),
    "without": shape.wholes(1, NODES_MAX), "group": shape.TEXT, "node": shape.whole(0, NODES_MAX),
    "are_off": shape.YES_NO,
}
COMMON: dict[str, Shape] = {"at": TIME, "do": shape.TEXT, "whom": shape.FULL_LIST, "for": TIME}
KINDS: dict[str, dict[str, Shape]] = {
    "crash": {"wipe": shape.YES_NO, "restore": shape.one_of(True, False, "whole")},
    "backup": {},
    "order": {"order": shape.OBJECT},
    "vote": {"node": shape.whole(1, NODES_MAX)},
    "freeze": {"clock": shape.one_of("stops")},
    "pause": {"what": shape.one_of("agent", "leash", "group"), "group": shape.TEXT},
    "kill": {"what": shape.one_of("agent", "leash", "group", BOTH), "group": shape.TEXT, "wipe": shape.YES_NO,
             "signal": shape.one_of(*SIGNALS)},
    "wipe": {},
    "leave": {"reboot": shape.YES_NO},
    "cut": {"to": shape.FULL_LIST, "both": shape.YES_NO, "flap": TIME},
    "worsen": {
        "to": shape.FULL_LIST, "both": shape.YES_NO, "delay": TIME, "jitter": TIME, "rate": shape.whole(1, RATE_MAX),
        "reset": shape.YES_NO, "slow_close": TIME, "loss": CHANCE,
    },
    "weather": {"slow": FACTOR, "error": CHANCE, "hang": CHANCE, "loss": CHANCE, "torn": CHANCE,
                "full": shape.YES_NO, "refuses": shape.YES_NO},
    "stuck": {},
    "stall": {"amid": shape.one_of(*STALLS)},
    "stomith": {"how": shape.one_of(*SHOTS), "of": shape.one_of("shooter", "outlet")},
    "jump": {"by": shape.number(-1e9, 1e9)},
    "slew": {"by": shape.number(-0.9, 9)},
    "edit": {
        "table": shape.one_of("cltab", "hactl"), "bad": shape.YES_NO, "text": shape.TEXT,
        "maintenance": shape.YES_NO, "levels": shape.LINES, "in_place": shape.YES_NO,
    },
    "map": {"nodes": shape.wholes(1, NODES_MAX)},
    "damage": {
        "file": shape.one_of(*DAMAGED, DECIDED), "shape": shape.one_of(*DAMAGES, *LOSSES),
    },
    "config": {"conf": shape.LINES, "protocol": shape.whole(0, 1000)},
}
NEEDED: dict[str, tuple[str, ...]] = {
    "cut": ("to",), "worsen": ("to",), "pause": ("what",), "stall": ("amid", "for"), "kill": ("what",),
    "vote": ("node",), "order": ("order",), "stomith": ("how",), "jump": ("by",), "slew": ("by",), "edit": ("table",),
    "map": ("nodes",), "damage": ("file", "shape"),
}
Fault = dict[str, Any]

CLOCKS: dict[str, Any] = {"drift": 0.01, "restart": True, "wake_s": 0.001, "ipc_s": 0.0005, "late": 0.2, "sync_s": 0.0}
NETWORK: dict[str, float] = {
    "latency_min_s": 0.0003, "latency_max_s": 0.003, "tail": 0.001, "tail_s": 0.2,
    "careful": 0.02, "torn": 0.001, "no_fork": 0.0,
}
SIZES: dict[str, int] = {"journal": 65536, "read": 262144, "frame": 4 * 1024 * 1024}
"""Bytes: of a journal, after which the next generation begins; of journals that one task reads, more than any entry
has; of journals in what a worker can answer."""
FILES: dict[str, Any] = {"shared": False, "cache_s": 0.0}
"""``shared``: the agents' directories are on a file server, and not on their nodes (platform = shared-directory).
``cache_s``: a file that is held open is believed to be as it was read up to so long ago, as by a client of NFS. It is
never drawn: an agent begins on no such mount (:func:`mosha.platform.shared_directory.ground`)."""
POWER: dict[str, float] = {"shot_min_s": 0.05, "shot_max_s": 0.5, "on_after_s": 5.0, "slow": 1.5}    # of the limit
WORLD: dict[str, tuple[dict[str, Any], dict[str, Shape]]] = {
    "clocks": (CLOCKS, {
        "drift": shape.number(0, 0.5), "restart": shape.YES_NO, "wake_s": TIME, "ipc_s": TIME, "late": CHANCE,
        "sync_s": TIME,
    }),
    "network": (NETWORK, {
        "latency_min_s": TIME, "latency_max_s": TIME, "tail": CHANCE, "tail_s": TIME, "careful": CHANCE, "torn": CHANCE,
        "no_fork": CHANCE,
    }),
    "sizes": (SIZES, {
        "journal": shape.whole(1, 2**20), "read": shape.whole(512, 2**24), "frame": shape.whole(1, 2**30),
    }),
    "files": (FILES, {"shared": shape.YES_NO, "cache_s": TIME}),
    "power": (POWER, {"shot_min_s": TIME, "shot_max_s": TIME, "on_after_s": TIME, "slow": FACTOR}),
}
PLAN: dict[str, Shape] = {
    "seed": shape.whole(0, SEED_MAX), "nodes": shape.whole(1, NODES_MAX), "cltab": shape.TEXT, "hactl": shape.TEXT,
    "conf": shape.LINES, "founded": shape.YES_NO, "installed": shape.LIST, "arbitrators": shape.LIST,
    "profile": shape.TEXT, "safety_s": TIME,
    "heal": shape.LIST, "bound_s": TIME, "faults": shape.LIST, **dict.fromkeys(WORLD, shape.OBJECT),
}
INSTALLED: dict[str, Shape] = {
    "node": shape.whole(1, NODES_MAX), "voters": shape.wholes(1, NODES_MAX), "map": shape.wholes(1, NODES_MAX),
    "founded": shape.YES_NO, "elder": shape.YES_NO,
}
_NUMBER = r"\d+(?:\.\d*)?"
_COMMAND = re.compile(             # what a modelled process understands: rule 3 of moslab.simulator.process
    rf"(?:live|run {_NUMBER})(?: (?:(?:int|term)=(?:ignore|{_NUMBER})|exit=\d{{1,3}}|fail={_NUMBER}|dies={_NUMBER}"
    r"|unfit=\d+(?:,\d+)*|leaves=[01]))*",
    re.ASCII,
)


def is_modelled(command: str) -> bool:
    """Whether a modelled process understands it."""
    return _COMMAND.fullmatch(" ".join(command.split())) is not None


class PlanError(ValueError):
    """A plan that cannot be run; the text says where and why."""


@dataclass
class FaultPlan:
    """See the rules of the module. All times are true seconds, probabilities are per message, step or call."""

    seed: int
    nodes: int
    cltab: str
    hactl: str
    conf: dict[str, str] = field(default_factory=dict)
    founded: bool = True
    installed: list[dict[str, Any]] = field(default_factory=list)
    arbitrators: list[int] = field(default_factory=list)     # they vote, and run nothing
    profile: str = ""
    safety_s: float = 30.0
    heal: list[int] = field(default_factory=list)
    bound_s: float = 60.0
    clocks: dict[str, Any] = field(default_factory=lambda: dict(CLOCKS))
    network: dict[str, float] = field(default_factory=lambda: dict(NETWORK))
    files: dict[str, Any] = field(default_factory=lambda: dict(FILES))
    power: dict[str, float] = field(default_factory=lambda: dict(POWER))
    sizes: dict[str, int] = field(default_factory=lambda: dict(SIZES))
    faults: list[Fault] = field(default_factory=list)

    def settings(self, more: Mapping[str, str] = {}, node: int = 0) -> Config:
        """Of an agent, with what it has besides, and of that node if one is named; raises TableErrors."""
        named = self.installed_on(node).get("voters")
        own = {} if named is None else {"voters": " ".join(map(str, named))}
        lines = {name: value for name, value in {**self.conf, **own, **more}.items() if value or name not in own}
        return config.parse("".join(f"{name} = {value}\n" for name, value in lines.items()), "conf")

    def installed_on(self, node: int) -> dict[str, Any]:
        """What is not so on this node as on all."""
        return next((one for one in self.installed if one["node"] == node), {})

    def founded_on(self, node: int) -> bool:
        """Whether an installer leaves the file ``founded`` there."""
        return bool(self.installed_on(node).get("founded", self.founded)) and node not in self.elders()

    def elders(self) -> list[int]:
        """The nodes with an agent of 2003."""
        return [one["node"] for one in self.installed if one.get("elder")]

    def map_of(self, node: int) -> list[int]:
        """The nodes that openMosix there is configured with at first."""
        return sorted(self.installed_on(node).get("map", range(1, self.nodes + 1)))

    def voters(self) -> list[int]:
        """The nodes whose majority counts."""
        return sorted(self.settings().voters_of(frozenset(range(1, self.nodes + 1))))

    def to_json(self) -> str:
        """One fault a line, so that a person can read it and take one away."""
        data = {"format": FORMAT, **asdict(self)}
        faults = data.pop("faults")
        head = json.dumps(data, indent=1)[:-2]
        lines = ",\n  ".join(json.dumps(fault) for fault in faults)
        return f'{head},\n "faults": [\n  {lines}\n ]\n}}\n' if faults else f'{head},\n "faults": []\n}}\n'


def from_json(text: str) -> FaultPlan:
    """Read a plan; raises PlanError."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"a fault plan is JSON: {error}") from None
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise PlanError(f'a fault plan is an object with "format": {FORMAT}')
    missing = sorted({"seed", "nodes", "cltab", "hactl"} - set(data))
    if missing:
        raise PlanError(f"{', '.join(missing)} is missing")
    problem = shape.problem(data, PLAN)
    if problem:
        raise PlanError(problem)
    for name, (defaults, _) in WORLD.items():
        data[name] = {**defaults, **data.get(name, {})}
    return checked(FaultPlan(**data))


def load(path: Path) -> FaultPlan:
    """Of a file; PlanError names it, whatever is wrong."""
    return files.load(path, FILE_BYTES_MAX, from_json, PlanError)


def checked(plan: FaultPlan) -> FaultPlan:
    """The plan, if it can be run; raises PlanError that names the key, or the fault and its key."""
    problem = shape.problem(vars(plan), PLAN)
    for name, (_, shapes) in WORLD.items():
        problem = problem or _within(name, shape.problem(getattr(plan, name), shapes))
    problem = problem or _wrong_times(plan) or _wrong_nodes(plan) or _wrong_installed(plan) or _wrong_tables(plan)
    if problem:
        raise PlanError(problem)
    owners = [f"owner:{group}" for group in cltab.parse(plan.cltab).groups()]
    for place, fault in enumerate(plan.faults):
        problem = _wrong_fault(fault, plan, owners)
        if problem:
            raise PlanError(f"fault {place} {json.dumps(fault)}: {problem}")
    return plan


def _within(name: str, problem: str) -> str:
    return problem and f"{name}: {problem}"


def _wrong_times(plan: FaultPlan) -> str:
    for name, low, high in (("network", "latency_min_s", "latency_max_s"), ("power", "shot_min_s", "shot_max_s")):
        settings = getattr(plan, name)
        if settings[low] > settings[high]:
            return f"{name}: {low} is more than {high}"
    return ""


def _wrong_nodes(plan: FaultPlan) -> str:
    if len(plan.faults) > FAULTS_MAX:
        return f"at most {FAULTS_MAX} faults"
    problem = shape.problem(
        {"heal": plan.heal, "arbitrators": plan.arbitrators}, dict.fromkeys(PLAN, shape.wholes(1, plan.nodes)),
    )
    if not problem and len(set(plan.arbitrators)) == plan.nodes:
        return "arbitrators: all nodes are, and none is left to run a group"
    return problem


def _wrong_tables(plan: FaultPlan) -> str:
    try:
        entries = cltab.parse(plan.cltab).entries
        hactl.parse(plan.hactl)
        settings = plan.settings()
    except TableErrors as errors:
        return _in_a_line(errors)
    for entry in entries:
        if entry.command and not is_modelled(entry.command):
            return f"cltab:{entry.line}: no command of a modelled process: {entry.command!r:.60}"
    strangers = sorted(settings.voters - set(range(1, plan.nodes + 1)))
    if strangers:
        return f"conf: voters names {strangers}, and there are nodes 1 to {plan.nodes}"
    if settings.arbitrator or settings.mynode:
        return "conf: it is that of all nodes, so neither arbitrator (a plan has arbitrators) nor mynode can be set"
    return ""


def _wrong_installed(plan: FaultPlan) -> str:
    seen: set[int] = set()
    for place, one in enumerate(plan.installed):
        problem = _wrong_on(one, plan)
        if not problem and one["node"] in seen:
            problem = f"node {one['node']} has an entry already"
        if problem:
            return f"installed {place} {json.dumps(one)}: {problem}"
        seen.add(one["node"])
    return ""


def _wrong_on(one: Any, plan: FaultPlan) -> str:
    if not isinstance(one, dict) or "node" not in one:
        return "an object with a node"
    problem = shape.problem(one, {**INSTALLED, "node": shape.whole(1, plan.nodes), "map": shape.wholes(1, plan.nodes)})
    if problem:
        return problem
    strangers = sorted(set(one.get("voters", ())) - set(range(1, plan.nodes + 1)))
    if strangers:
        return f"voters names {strangers}, and there are nodes 1 to {plan.nodes}"
    if one.get("elder") and one["node"] in {*plan.voters(), *plan.arbitrators}:
        return "an agent of 2003 neither votes nor arbitrates: name the voters in conf"
    try:
        electorate.named([str(voter) for voter in one.get("voters", ())] or ["1"])
    except ValueError as error:
        return str(error)
    return ""


def _wrong_wipe(fault: Fault) -> str:
    if fault.get("wipe") and fault["do"] == "kill" and fault["what"] != "agent":
        return f"wipe is for the agent, which has a directory, and not for what: {fault['what']}"
    if fault.get("wipe") and fault.get("restore"):
        return "wipe and restore exclude each other: the disk comes back empty, or as it was saved"
    return ""


def _wrong_signal(fault: Fault) -> str:
    if "signal" in fault and fault["what"] not in ("leash", "group"):
        return f"signal is for leash and group, and not for what: {fault['what']}; an agent is told to leave"
    return ""


def _wrong_worsen(fault: Fault) -> str:
    if fault["do"] != "worsen":
        return ""
    try:
        if not of_plan(fault) and not fault.get("loss"):
            return "one of delay, rate, reset, slow_close and loss is needed"
    except CannotError as error:
        return str(error)
    return "jitter is that of a delay" if "jitter" in fault and "delay" not in fault else ""


def _in_a_line(errors: TableErrors) -> str:
    return "; ".join(str(errors).splitlines())


def wrong_form(fault: Any) -> str:
    """Why it is no fault, whatever the plan is; empty if it is one."""
    kind = fault.get("do") if isinstance(fault, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        return f"do is one of {', '.join(sorted(KINDS))}"
    missing = sorted({"at", "whom", *NEEDED.get(kind, ())} - set(fault))
    if missing:
        return f"{', '.join(missing)} is missing"
    problem = shape.problem(fault, {**COMMON, **KINDS[kind]})
    problem = problem or _within("order", shape.problem(fault.get("order", {}), ORDER))
    return problem or _wrong_wipe(fault) or _wrong_signal(fault) or _wrong_worsen(fault)


def _wrong_fault(fault: Any, plan: FaultPlan, owners: Collection[str]) -> str:
    problem = wrong_form(fault)
    if problem:
        return problem
    if fault["at"] > plan.safety_s and fault["do"] != "order":
        return f"at: {fault['at']:g} s is after the heal, at safety_s = {plan.safety_s:g} s: only an order comes then"
    node = shape.whole(1, plan.nodes)
    if not node.holds(fault.get("node", 1)):
        return f"node is {node.said}, not {fault['node']}"
    for name in ("whom", "to", "nodes"):
        for one in fault.get(name, []):
            if not node.holds(one) and one not in owners:
                return f"{name}: {one!r} is neither a node from 1 to {plan.nodes} nor owner:GROUP of a group in cltab"
    try:
        plan.settings(fault.get("conf", {}))
    except TableErrors as errors:
        return _in_a_line(errors)
    return ""
