"""A fault plan: the whole configuration of one run, as JSON.

Rules:

1. A plan and its seed determine a run. What the plan does not say is drawn from the seed.
2. A fault is ``{"at": seconds, "do": kind, "whom": [...], "for": seconds, ...}``. In ``whom`` a number is a node, and
   ``"owner:GROUP"`` the node that runs the group at that moment. ``for`` is how long it lasts; without, until the heal.
3. Of the agent and the leash of a group one runs always, or nothing is promised (assumption A2 of docs/ownership.md): a
   pause that would leave neither spares the second, and a paused leash goes on when its agent ends.
4. At ``safety_s`` the nodes of ``heal`` are healed, and nothing else: no fault ends by itself after that. Then every
   group must run within ``bound_s``.

======== ===================================================================== ==============================
do       what                                                                  further fields
======== ===================================================================== ==============================
crash    the power fails, and comes back after ``for``                          wipe: the disk is lost too;
                                                                                restore: it is that of the backup,
                                                                                without the marker; "whole": with it
backup   somebody saves the agent's directory
vote     ``mosha voters add`` or ``remove`` on the first of whom                node: gets or loses its vote
order    ``mosha voters``: an operator's word                                   order: as in the file of that name
freeze   the whole machine stands still                                        clock: "stops": its clocks do too, as of
                                                                                a paused virtual machine
pause    SIGSTOP, then SIGCONT                                                  what: agent, leash, group
kill     SIGKILL                                                                what: agent, leash, group; wipe: and
                                                                                somebody empties its directory
leave    SIGTERM to the agent
cut      no messages from ``whom`` to ``to``                                    to; both: the other way as well;
                                                                                flap: seconds, cut on and off
weather  requests from and to the node suffer                                   slow, error, hang, loss, torn
stuck    killed processes stay in state D
stomith  its shots end so                                                       how: fails, lies, slow, cut, spares
                                                                                (says off, and does nothing: A4)
jump     the wall clock jumps                                                   by: seconds
slew     the clock runs faster or slower than the steady one                    by: of 1, as 0.08
edit     somebody edits a table                                                 table; bad: not a table at all
damage   what lies on the disk is bad (A5)                                      file: voter, state, counted, slots;
                                                                                order, founded, stray (somebody put
                                                                                it there), journal (of nobody);
                                                                                shape: bits (one is another), short,
                                                                                other (bytes), later (of a version
                                                                                that is not this one)
config   the agent runs with another configuration, or is of another version    conf: lines of mosha.conf; protocol:
                                                                                its number
======== ===================================================================== ==============================
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

FORMAT = 1
FAULTS_MAX = 1000
VOTERS_MAX = 7                   # when none are named, those with the lowest numbers
KINDS: dict[str, frozenset[str]] = {
    "crash": frozenset({"wipe", "restore"}),
    "backup": frozenset(),
    "order": frozenset({"order"}),
    "vote": frozenset({"node"}),
    "freeze": frozenset({"clock"}),
    "pause": frozenset({"what"}),
    "kill": frozenset({"what", "wipe"}),
    "leave": frozenset(),
    "cut": frozenset({"to", "both", "flap"}),
    "weather": frozenset({"slow", "error", "hang", "loss", "torn"}),
    "stuck": frozenset(),
    "stomith": frozenset({"how"}),
    "jump": frozenset({"by"}),
    "slew": frozenset({"by"}),
    "edit": frozenset({"table", "bad"}),
    "damage": frozenset({"file", "shape"}),
    "config": frozenset({"conf", "protocol"}),
}
COMMON = frozenset({"at", "do", "whom", "for"})
NEEDED: dict[str, tuple[str, ...]] = {
    "cut": ("to",), "pause": ("what",), "kill": ("what",), "vote": ("node",), "order": ("order",), "stomith": ("how",),
    "jump": ("by",), "slew": ("by",), "edit": ("table",), "damage": ("file", "shape"),
}
CHOICES: dict[str, tuple[str, ...]] = {
    "what": ("agent", "leash", "group"), "how": ("works", "fails", "lies", "slow", "cut", "spares"),
    "table": ("cltab", "hactl"), "clock": ("stops",),
    "file": ("voter", "state", "counted", "slots", "order", "founded", "stray", "journal"),
    "shape": ("bits", "short", "other", "later"),
}
LISTS = frozenset({"whom", "to"})
NUMBERS = frozenset({"at", "for", "by", "flap", "slow", "error", "hang", "loss", "torn"})
Fault = dict[str, Any]


CLOCKS: dict[str, Any] = {"drift": 0.01, "restart": True, "wake_s": 0.001, "ipc_s": 0.0005}
NETWORK: dict[str, float] = {
    "latency_min_s": 0.0003, "latency_max_s": 0.003, "tail": 0.001, "tail_s": 0.2,
    "careful": 0.02, "torn": 0.001, "no_fork": 0.0,
}
POWER: dict[str, float] = {"shot_min_s": 0.05, "shot_max_s": 0.5, "on_after_s": 5.0, "slow": 1.5}    # of the limit


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
    arbitrators: list[int] = field(default_factory=list)     # they vote, and run nothing
    profile: str = ""
    safety_s: float = 30.0
    heal: list[int] = field(default_factory=list)
    bound_s: float = 60.0
    clocks: dict[str, Any] = field(default_factory=lambda: dict(CLOCKS))
    network: dict[str, float] = field(default_factory=lambda: dict(NETWORK))
    power: dict[str, float] = field(default_factory=lambda: dict(POWER))
    faults: list[Fault] = field(default_factory=list)

    def voters(self) -> list[int]:
        """The nodes whose majority counts."""
        named = self.conf.get("voters", "")
        return [int(word) for word in named.split()] or list(range(1, min(self.nodes, VOTERS_MAX) + 1))

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
    except ValueError as error:
        raise PlanError(f"a fault plan is JSON: {error}") from None
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise PlanError(f'a fault plan is an object with "format": {FORMAT}')
    unknown = sorted(set(data) - {f.name for f in fields(FaultPlan)})
    if unknown:
        raise PlanError(f"unknown: {', '.join(unknown)}")
    for name, defaults in (("clocks", CLOCKS), ("network", NETWORK), ("power", POWER)):
        data[name] = {**defaults, **data.get(name, {})}
    try:
        plan = FaultPlan(**data)
    except TypeError as error:
        raise PlanError(str(error).replace("FaultPlan.__init__() ", "")) from None
    return checked(plan)


def checked(plan: FaultPlan) -> FaultPlan:
    """The plan, if it can be run; raises PlanError that names the fault."""
    if type(plan.nodes) is not int or plan.nodes < 1 or not isinstance(plan.faults, list):
        raise PlanError("nodes is a number from 1 on, faults is a list")
    if len(plan.faults) > FAULTS_MAX:
        raise PlanError(f"at most {FAULTS_MAX} faults")
    if not all(isinstance(text, str) for text in (plan.cltab, plan.hactl, *plan.conf, *plan.conf.values())):
        raise PlanError("cltab and hactl are texts, conf has texts by name")
    if not isinstance(plan.heal, list) or any(node not in range(1, plan.nodes + 1) for node in plan.heal):
        raise PlanError(f"heal is a list of nodes from 1 to {plan.nodes}")
    if not isinstance(plan.arbitrators, list) or any(node not in range(1, plan.nodes + 1) for node in plan.arbitrators):
        raise PlanError(f"arbitrators is a list of nodes from 1 to {plan.nodes}")
    for place, fault in enumerate(plan.faults):
        problem = _problem(fault, plan.nodes)
        if problem:
            raise PlanError(f"fault {place} {json.dumps(fault)}: {problem}")
    return plan


def _problem(fault: Any, nodes: int) -> str:
    kind = fault.get("do") if isinstance(fault, dict) else None
    if kind not in KINDS:
        return f"do is one of {', '.join(sorted(KINDS))}"
    unknown = sorted(set(fault) - COMMON - KINDS[kind])
    if unknown:
        return f"unknown: {', '.join(unknown)}"
    needed = {"at", *NEEDED.get(kind, ())} - set(fault)
    if needed:
        return f"{', '.join(sorted(needed))} is missing"
    for name, value in fault.items():
        if name in NUMBERS and (type(value) not in (int, float) or (value < 0 and name != "by")):
            return f"{name} is a number, not {value!r}"
        if name in LISTS and not isinstance(value, list):
            return f"{name} is a list, not {value!r}"
        if name in CHOICES and value not in CHOICES[name]:
            return f"{name} is one of {', '.join(CHOICES[name])}"
    for one in [*fault.get("whom", []), *fault.get("to", []), *([fault.get("node")] if kind == "vote" else [])]:
        if isinstance(one, str) and one.startswith("owner:"):
            continue
        if not isinstance(one, int) or not 1 <= one <= nodes:
            return f"{one!r} is neither a node from 1 to {nodes} nor owner:GROUP"
    return "" if fault.get("whom") else "whom is a list that is not empty"
