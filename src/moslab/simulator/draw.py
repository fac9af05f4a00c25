"""Draws a whole plan from a seed: size, times, network, tables, and the faults of the safety phase.

Three profiles: *tight* has one to five nodes, one voter now and then, answers within milliseconds, clocks at their
limits and faults that are aimed at owners: only there errors of clock and lease show. *directed* is one of the directed
plans, most often with its times moved, and more faults: what takes several in a certain order. *general* has
everything else, and now and then dozens of nodes.
"""

from __future__ import annotations

from typing import Any, Callable

from mosha import config, novelties
from mosha.orders import CLEAR, DRAIN, MOVE, UNDRAIN
from mosha.ownership.marker import PROTOCOL
from mosha.tables import hactl
from mosha.timing import PAUSE_MAX_S, Timing
from moslab.faults.plan import BOTH, DAMAGED, DAMAGES, DECIDED, LOSSES, POWER, SIZES, STALLS, Fault, FaultPlan
from moslab.simulator.directed import DIRECTED, WORDS, changed
from moslab.simulator.installed import NAMES, ORDER, draw_installed, is_uneven
from moslab.simulator.kernel import Stream
from moslab.simulator.power import MODES, SLOW, WORKS

STOMITH = "/sbin/off %n"
TIGHT, GENERAL, IN_ORDER = "tight", "general", "directed"
PROFILES = ((0.35, TIGHT), (0.25, GENERAL), (0.4, IN_ORDER))
FEW = ((1, 1), (2, 2), (6, 3), (3, 4), (3, 5))               # nodes of a tight one
LARGE, MANY = 0.1, (10, 12, 16, 24, 40)
MOVED_LEASES = ((3, 0.0), (2, 0.02), (1, 0.2))               # at most, each time of a directed plan
SAFETY_MIN_S, SAFETY_MAX_S = 15.0, 40.0
FAULTS_PER_S = 0.35
LATENCY_PER_BEAT = (0.004, 0.01, 0.02)   # an exchange is some dozen messages, one after the other
BOOTS_S = 15.0
UNFIT_LEASES = 16
APART = 8                        # between voters of large clusters, now and then
SHARED = 0.1                     # of the seeds that are not directed have a shared directory
IN_PLACE, IN_PLACE_MAX_S = 0.15, 8.0     # of the seeds have a table written in place, for so long at most
WORSE = 0.2                      # of the seeds have connections that are worse
FULL = 0.08                      # of the seeds have a node whose files take no more bytes for a while
LONG, LONG_TIMES = 0.06, ((0.5, 5.0), (2.0, 10.0), (2.0, 20.0), (2.0, 60.0))     # of the seeds; beats and leases
MIXED, MIXED_S = 0.06, 60.0       # of the seeds have an agent of 2003, which takes so much longer for all it does
BORNE = frozenset({"crash", "freeze", "pause", "kill", "leave", "cut", "stuck", "stall", "jump", "slew"})
SMALL = 0.4                      # of the seeds have small limits for journals
WORD = 0.025                      # of the seeds that are not directed become one of WORDS
FORGETS = ("voter", "state", "counted", "journal", "written")  # of a voter where this is bad its disk counts as lost


def draw_plan(seed: int, nodes: int | None = None) -> FaultPlan:
    """The plan of this seed; with ``nodes`` of that size, and not a directed one."""
    plan = _plan(seed, nodes)
    if not plan.profile.startswith(IN_ORDER):
        plan = shared(plan) if Stream(seed, "files").chance(SHARED) else plan
        draw = Stream(seed, "long")
        plan = long(draw, plan) if draw.chance(LONG) else plan
        draw = Stream(seed, "elder")
        plan = mixed(draw, plan) if draw.chance(MIXED) else plan
        draw = Stream(seed, "word")
        if nodes is None and draw.chance(WORD):
            plan = _ordered(draw, seed, draw.pick(WORDS))
    draw = Stream(seed, "sizes")
    if plan.sizes == SIZES and draw.chance(SMALL):                           # journals are long within seconds
        read = draw.pick([4096, 16384])
        plan.sizes = {"journal": draw.pick([2048, 4096, 16384]), "read": read, "frame": read}
    return plan


def shared(plan: FaultPlan, cache_s: float = 0.0) -> FaultPlan:
    """The same with all directories on one file server. Then no backup of one is put back while its node is off: the
    others would count on it before its agent can compare it (R19)."""
    plan.files = {"shared": True, "cache_s": cache_s}
    plan.faults = [fault for fault in plan.faults if fault["do"] != "backup" and "restore" not in fault]
    return plan


def long(draw: Stream, plan: FaultPlan) -> FaultPlan:
    """The same with a lease that is long for what is kept back of it, K, and at its end what would show that: the agent
    of an owner hangs, and the clock by which its leash ends is slewed. Nobody has other times meanwhile."""
    beat_s, lease_s = draw.pick(LONG_TIMES)
    plan.conf = {**plan.conf, "beat": f"{beat_s:g}", "lease": f"{lease_s:g}"}
    whom = [f"owner:{draw.pick([line.split()[0] for line in plan.hactl.splitlines()])}"]
    hangs: Fault = {"at": plan.safety_s, "whom": whom, "for": round(draw.uniform(0.9, 1.5) * lease_s, 3)}
    plan.faults = [
        *(fault for fault in plan.faults if fault["do"] != "config"),
        {**hangs, "do": "pause", "what": "agent"}, {**hangs, "do": "slew", "by": draw.pick([-0.08, 0.08])},
    ]
    plan.safety_s = round(plan.safety_s + 2 * lease_s, 1)
    plan.bound_s = _bound_s(plan)
    return plan


def mixed(draw: Stream, plan: FaultPlan) -> FaultPlan:
    """The same with an agent of 2003 on one node, as docs/upgrading.md has it: one voter, no STOMITH, nothing new in
    the tables, which nobody edits. Now and then the voter is off for a while: then only that of 2003 begins anything.

    A cluster of one has no other node, and one that is uneven stays as it is. What a process leaves behind 2003 knows
    nothing of, so none does.
    """
    if plan.nodes == 1 or is_uneven(plan) or plan.files["shared"]:
        return plan
    everybody = list(range(1, plan.nodes + 1))
    number, voter = draw.some(everybody, 2)
    plan.profile += " mixed"
    plan.installed, plan.arbitrators, plan.heal = [{"node": number, "elder": True}], [], everybody
    times = {name: plan.conf[name] for name in ("beat", "lease")}
    plan.conf = {**(times if not novelties.of_settings(plan.settings()) else {}), "voters": f"{voter}"}
    known = "".join(line for line in plan.cltab.splitlines(True) if not novelties.of_cltab(line))
    plan.cltab = known.replace(" leaves=1", "")
    plan.hactl = "".join(" ".join(line.split()[:2]) + "\n" for line in plan.hactl.splitlines())
    plan.safety_s, plan.bound_s = plan.safety_s + MIXED_S, plan.bound_s + MIXED_S
    plan.faults = [
        fault for fault in plan.faults if fault["do"] in BORNE and not fault.get("wipe") and not fault.get("restore")
    ]
    if draw.chance(0.6):
        at_s, for_s = round(draw.uniform(2.0, plan.safety_s / 2), 1), round(draw.uniform(10.0, MIXED_S), 1)
        plan.faults.append({"at": at_s, "do": "crash", "whom": [voter], "for": for_s})
    plan.faults.sort(key=lambda fault: float(fault["at"]))
    return plan


def _plan(seed: int, nodes: int | None) -> FaultPlan:
    draw = Stream(seed, "profile")
    profile = draw.weighted(PROFILES)
    if profile != IN_ORDER:
        return _drawn(seed, profile == TIGHT, nodes)
    if nodes is not None:
        return _drawn(seed, False, nodes)
    return _ordered(draw, seed, draw.pick([name for name in DIRECTED if name not in WORDS]))


def _ordered(draw: Stream, seed: int, name: str) -> FaultPlan:
    return _moved(draw, directed_plan(seed, DIRECTED[name]), f"{IN_ORDER} {name}")


def directed_plan(seed: int, changes: dict[str, Any]) -> FaultPlan:
    """What is drawn from this seed, changed to a directed plan."""
    return changed(_drawn(seed, seed % 2 == 0, None), changes)


def _drawn(seed: int, tight: bool, nodes: int | None) -> FaultPlan:
    draw = Stream(seed, "plan")
    count = nodes or (draw.weighted(FEW) if tight else _size(draw))
    groups = [f"g{i + 1}" for i in range(draw.integer(1, 2 if tight else 4))]
    cltab = _cltab(draw, groups, count, tight) + _more_entries(Stream(seed, "entries"), groups)
    plan = FaultPlan(
        seed=seed, nodes=count, profile=TIGHT if tight else GENERAL, cltab=cltab,
        hactl=_hactl(seed, groups, count, cltab), founded=draw.chance(0.8),
        safety_s=round(draw.uniform(SAFETY_MIN_S, SAFETY_MAX_S), 1),
    )
    beat_s = draw.pick([0.1, 0.25, 0.5] if not tight else [0.1, 0.5])
    plan.conf = {"beat": f"{beat_s:g}", "lease": f"{beat_s * draw.pick([4, 5, 6]):g}"}
    if draw.chance(0.6):
        plan.conf["stomith"] = STOMITH
    _draw_voters(draw, plan, tight)
    _draw_world(draw, plan, tight)
    weak = draw_installed(plan)
    scene = _Scene(draw, plan, groups, tight)
    scene.wiped |= weak
    heals_all = draw.chance(0.3)
    plan.heal = plan.heal or (scene.numbers if heals_all else [])
    plan.faults += _faults(scene, plan.safety_s * FAULTS_PER_S * draw.uniform(0.3, 2.0))
    plan.faults += _edits_in_place(plan)
    plan.faults += _worsened(plan) + _filled(plan)
    plan.faults.sort(key=lambda fault: float(fault["at"]))
    plan.heal = plan.heal or _majority(draw, plan, scene.wiped)
    plan.bound_s = _bound_s(plan)
    return plan


def _edits_in_place(plan: FaultPlan) -> list[Fault]:
    """Now and then a table is written in place, and meanwhile edited on another node."""
    draw = Stream(plan.seed, "in place")
    if not draw.chance(IN_PLACE):
        return []
    table, at_s = draw.pick(["cltab", "hactl"]), round(draw.uniform(2.0, plan.safety_s - IN_PLACE_MAX_S), 3)
    for_s = round(draw.uniform(0.5, IN_PLACE_MAX_S), 3)
    meanwhile = {"at": round(at_s + draw.uniform(0.0, for_s), 3), "do": "edit", "table": table}
    return [
        {"at": at_s, "do": "edit", "table": table, "whom": [draw.integer(1, plan.nodes)], "in_place": True,
         "for": for_s},
        {**meanwhile, "whom": [draw.integer(1, plan.nodes)]},
    ]


def _size(draw: Stream) -> int:
    return draw.pick(MANY) if draw.chance(LARGE) else draw.integer(3, 9)


def _worsened(plan: FaultPlan) -> list[Fault]:
    """Now and then connections of MFS are late, slow, broken or closed late, or packets are lost, from one to some."""
    draw = Stream(plan.seed, "worsen")
    if plan.nodes < 2 or not draw.chance(WORSE):
        return []
    lease_s = float(plan.conf["lease"])
    delay_s = round(draw.uniform(0.05, 0.6) * lease_s, 3)
    kinds: list[Fault] = [
        {"delay": delay_s, "jitter": round(draw.random() * delay_s, 3)},
        {"rate": draw.integer(1, 20)}, {"reset": True}, {"slow_close": round(draw.uniform(0.1, 2.0) * lease_s, 3)},
        {"loss": round(draw.uniform(0.02, 0.5), 3)},
    ]
    found: list[Fault] = []
    for _ in range(draw.integer(1, 3)):
        at_s = round(draw.uniform(2.0, plan.safety_s), 3)
        whom = draw.integer(1, plan.nodes)
        to = [node for node in range(1, plan.nodes + 1) if node != whom and draw.chance(0.7)]
        if to:
            found.append({"at": at_s, "do": "worsen", "whom": [whom], "to": to, "both": draw.chance(0.5),
                          **draw.pick(kinds), "for": round(draw.uniform(0.5, 6.0) * lease_s, 3)})
    return found


def _filled(plan: FaultPlan) -> list[Fault]:
    """Now and then the files of one node take no more bytes for some leases."""
    draw = Stream(plan.seed, "full")
    if not draw.chance(FULL):
        return []
    for_s = round(draw.uniform(0.5, 4.0) * float(plan.conf["lease"]), 3)
    return [{"at": round(draw.uniform(2.0, plan.safety_s), 3), "do": "weather", "whom": [draw.integer(1, plan.nodes)],
             "full": True, "for": for_s}]


def _moved(draw: Stream, plan: FaultPlan, profile: str) -> FaultPlan:
    """The same with its times moved, and with more faults now and then.

    As it is where some nodes never come back, or a disk gets an older content, which is noticed only in its time (R19),
    or something that nobody can detect.
    """
    plan.profile = profile
    is_delicate = any("restore" in fault or fault.get("file") == DECIDED for fault in plan.faults)
    if len(plan.heal) < plan.nodes or is_delicate:
        return plan
    lease_s = float(plan.conf["lease"])
    by_s = draw.weighted(MOVED_LEASES) * lease_s
    plan.faults = [
        {**fault, **{name: _beside(draw, fault[name], by_s) for name in ("at", "for") if name in fault}}
        for fault in plan.faults
    ]
    if draw.chance(0.3):
        scene = _Scene(draw, plan, [line.split()[0] for line in plan.hactl.splitlines()], False)
        scene.wiped, scene.ruined = set(scene.numbers), True     # the plan may have had its share of that
        plan.faults += _faults(scene, draw.integer(1, 4))
    plan.faults = sorted(
        ({**fault, "at": min(fault["at"], plan.safety_s)} for fault in plan.faults), key=lambda fault: fault["at"]
    )
    plan.bound_s = max(plan.bound_s, _bound_s(plan))
    return plan


def _beside(draw: Stream, time_s: float, by_s: float) -> float:
    return round(max(0.0, time_s + draw.uniform(-by_s, by_s)), 3)


def _cltab(draw: Stream, groups: list[str], count: int, tight: bool) -> str:
    lines = []
    for group in groups:
        test = f"run {draw.uniform(0.005, 0.1):.3f}"
        if not tight and count > 3 and draw.chance(0.2):
            test += f" unfit={draw.integer(1, count)}"
        service = "live"
        if draw.chance(0.3):
            service += draw.pick([" int=ignore", " int=2", " int=ignore term=ignore", " dies=8", " dies=15 leaves=1"])
        lines += [
            f"{group}:{group}-fit:test:test:{test}",
            f"{group}:{group}-pre:start:wait:run {draw.uniform(0.005, 0.2):.3f}",
            f"{group}:{group}-run:start:respawn:{service}",
        ]
    return "".join(f"{line}\n" for line in lines)


def _more_entries(draw: Stream, groups: list[str]) -> str:
    """Now and then: what runs at two levels, has no part in it, ends by itself, or belongs to the stop."""
    lines = []
    for group in groups:
        if draw.chance(0.15):
            lines.append(f"{group}:{group}-both:test,start,busy:respawn:live")
        if draw.chance(0.1):
            lines.append(f"{group}:{group}-off:test,start:off:live")
        if draw.chance(0.1):
            lines.append(f"{group}:{group}-once:start,busy:once:run {draw.uniform(0.05, 3.0):.3f}")
        if draw.chance(0.15):
            lines.append(f"{group}:{group}-end:stop:wait:run {draw.uniform(0.005, 0.2):.3f}")
        if draw.chance(0.1):
            lines.append(f"{group}:{group}-busy:busy:respawn:live")
    return "".join(f"{line}\n" for line in lines)


def _hactl(seed: int, groups: list[str], count: int, cltab: str) -> str:
    """A group that has something to run at level ``busy`` shall be there now and then."""
    draw, places, order = Stream(seed, "fenced"), Stream(seed, "places"), Stream(seed, "requires")
    fenced, lines, before = draw.chance(0.3), {}, list[str]()
    for group in groups:
        option = " fenced" if fenced and draw.chance(0.6) else ""
        level = "busy" if f"{group}-busy:" in cltab else "start"
        lines[group] = f"{group} {level}{option}{_placed(places, count)}"
    for group in groups[:: order.pick([1, -1])]:
        if before and order.chance(0.3):
            lines[group] += f" requires={','.join(order.some(before, order.integer(1, min(2, len(before)))))}"
        before.append(group)
    return "".join(f"{lines[group]}\n" for group in groups)


def _placed(draw: Stream, count: int) -> str:
    """Options that say where and how a group is placed."""
    words = []
    if draw.chance(0.3):
        chosen = draw.some(list(range(1, count + 1)), draw.integer(1, min(3, count)))
        words = [f"prefer={','.join(map(str, chosen[:: draw.pick([1, -1])]))}", *draw.pick([[], ["failback"]])]
    if draw.chance(0.15):
        words.append("exclusive-test")
    return "".join(f" {word}" for word in words)


def _draw_voters(draw: Stream, plan: FaultPlan, tight: bool) -> None:
    """Some of them run nothing: one of three nodes, or as many as leave most nodes to run a group."""
    numbers = list(range(1, plan.nodes + 1))
    if tight and draw.chance(0.4):
        plan.conf["voters"] = str(draw.pick(numbers))
    elif plan.nodes >= MANY[0]:
        plan.conf["voters"] = " ".join(map(str, draw.some(numbers, draw.pick([5, 7]))))
    elif plan.nodes > 3 and draw.chance(0.4):
        plan.conf["voters"] = " ".join(map(str, draw.some(numbers, draw.pick([3, 3, 4]))))
    apart = Stream(plan.seed, "apart")
    if plan.nodes > APART and apart.chance(0.4):
        low = apart.integer(1, plan.nodes - APART)
        plan.conf["voters"] = " ".join(map(str, sorted({low, low + APART, apart.pick(numbers)})))
    if not plan.founded:                             # nobody founds with voters that nobody has named
        plan.conf["voters"] = " ".join(map(str, plan.voters()))
    if plan.nodes >= 3 and draw.chance(0.25):
        plan.arbitrators = draw.some(plan.voters(), 1 if plan.nodes < 6 else min(2, len(plan.voters())))


def _draw_world(draw: Stream, plan: FaultPlan, tight: bool) -> None:
    network = plan.network
    if tight:
        network.update(latency_min_s=0.0002, latency_max_s=draw.pick([0.001, 0.002]), tail=0.0)
    else:
        network.update(
            latency_max_s=float(plan.conf["beat"]) * draw.pick(LATENCY_PER_BEAT), tail=draw.pick([0.0, 0.0005, 0.002]),
            tail_s=draw.pick([0.2, 1.0]) * float(plan.conf["lease"]),
        )
    network.update(careful=draw.pick([0.02, 0.1, 0.5]), torn=draw.pick([0.0, 0.005]), no_fork=draw.pick([0.0, 0.02]))
    plan.clocks.update(
        drift=0.01 if tight else draw.pick([0.0, 0.0001, 0.01]), restart=draw.chance(0.7),
        wake_s=draw.pick([0.0003, 0.001, 0.004]), ipc_s=draw.pick([0.0001, 0.001]),
        sync_s=Stream(plan.seed, "sync").pick([0.0, 0.003, 0.03]),
    )
    plan.power.update(
        POWER, shot_max_s=draw.pick([0.1, 0.5, 2.0]), on_after_s=draw.pick([2.0, 6.0, 15.0]),
        slow=draw.pick([0.05, 0.2, 1.5]),
    )


def _majority(draw: Stream, plan: FaultPlan, wiped: set[int]) -> list[int]:
    """Some nodes, with a majority of the voters among them that has forgotten nothing: the rest does not come back."""
    voters = plan.voters()
    keepers = [voter for voter in voters if voter not in wiped]
    chosen = set(draw.some(keepers, draw.integer(len(voters) // 2 + 1, len(keepers))))
    others = [number for number in range(1, plan.nodes + 1) if number not in chosen]
    more = draw.integer(max(0, plan.nodes // 2 + 1 - len(chosen)), len(others)) if others else 0
    return sorted(chosen | set(draw.some(others, more)))


def _bound_s(plan: FaultPlan) -> float:
    """Boots, a recovery, expiries, a node that failed a test, the same for each group that others require, for fenced
    groups a shot that is tried again: generous, but a bound."""
    timing = Timing(float(plan.conf["beat"]), float(plan.conf["lease"]))
    table = hactl.parse(plan.hactl)
    shots_s = plan.power["on_after_s"] if "stomith" in plan.conf else 0.0
    if shots_s and hactl.with_flag(table, "fenced"):
        shots_s += PAUSE_MAX_S / 2 + config.parse(f"stomith = {STOMITH}\n").shot_limit_s
    unfit_leases = UNFIT_LEASES * (1 + len(hactl.required_by(table)))        # one after the other
    return round(BOOTS_S + 3 * timing.recovery_s + unfit_leases * timing.lease_s + 2 * shots_s, 1)


# ---- faults -------------------------------------------------------------------------------------------------------

Kind = Callable[["_Scene"], "Fault | list[Fault]"]       # of several, each ``at`` so long after the first


class _Scene:
    """What a fault is drawn from."""

    def __init__(self, draw: Stream, plan: FaultPlan, groups: list[str], tight: bool) -> None:
        self.draw, self.plan, self.groups = draw, plan, groups
        self.aimed = 0.7 if tight else 0.35
        self.numbers = list(range(1, plan.nodes + 1))
        self.lease_s = float(plan.conf["lease"])
        self.wiped: set[int] = set()                 # those of which ``may_forget`` was asked
        self.votes = False                           # the voters change, or most lose their disks: not both
        self.uneven = self.ruined = is_uneven(plan)  # who has forgotten may not know who votes
        self.may_lose = plan.profile.rpartition(" ")[2] not in (NAMES, ORDER)    # a disk
        self.stops = False                           # clocks stand still

    def forgets(self) -> bool:
        """Whether some voter forgets something: what begins then rests on clocks, so none stands still (A1)."""
        return bool(self.wiped) or self.votes or self.ruined

    def victim(self) -> Any:
        """A node, often an owner."""
        if self.draw.chance(self.aimed):
            return f"owner:{self.draw.pick(self.groups)}"
        return self.draw.pick(self.numbers)

    def some(self) -> list[Any]:
        return list(self.draw.some(self.numbers, self.draw.integer(1, max(1, self.plan.nodes - 1))))

    def may_forget(self) -> bool:
        """Whether another voter may lose its disk: most keep it, or all are needed to begin anew."""
        voters = self.plan.voters()
        most = len(voters) - (len(voters) // 2 + 1) if self.may_lose and not self.stops else 0
        return len(self.wiped) < (min(1, most) if self.votes else most)

    def may_begin_anew(self) -> bool:
        """Whether most voters may forget: once, and if all come back, since then all are needed."""
        return len(self.plan.heal) == self.plan.nodes and not (self.ruined or self.votes or self.stops)

    def forgetful(self) -> int:
        """One node, of which it is remembered that it lost its disk."""
        whom = self.draw.pick(self.numbers)
        self.wiped.add(whom)
        return whom

    def around_lease_s(self) -> float:
        """Just shorter or longer than a lease, where the errors are, or anything."""
        if self.draw.chance(0.5):
            return round(self.lease_s * self.draw.uniform(0.8, 1.4), 3)
        return round(self.draw.pick([0.2, 1.0, 4.0, 10.0]) * self.draw.uniform(0.3, 1.0), 3)


def _crash(scene: _Scene) -> Fault:
    fault = {"do": "crash", "whom": [scene.victim()], "for": scene.around_lease_s()}
    if scene.draw.chance(0.3) and scene.may_forget():
        fault.update(whom=[scene.forgetful()], wipe=True)
    return fault


def _restore(scene: _Scene) -> list[Fault]:
    """A disk from a backup of the tables and records; the operator may say so."""
    if not scene.may_forget():
        return [_crash(scene)]
    whom, crash_s = scene.forgetful(), round(scene.draw.uniform(0.5, 8.0), 3)
    faults: list[Fault] = [
        {"do": "backup", "whom": [whom]},
        {"do": "crash", "whom": [whom], "for": scene.around_lease_s(), "restore": True, "at": crash_s},
    ]
    if scene.draw.chance(0.5):
        faults.append({"do": "order", "whom": [whom], "order": {"do": "forget"}, "at": crash_s})
    return faults


def _order(scene: _Scene) -> Fault:
    """An operator who is right, or not: nothing may break, and little may help."""
    draw, voters = scene.draw, scene.plan.voters()
    if draw.chance(0.3) and scene.may_forget():
        return {"do": "order", "whom": [scene.forgetful()], "order": {"do": "forget"}}
    if scene.uneven:
        return _leave(scene)                         # it would found a cluster of its own
    order = {"do": "found", "without": draw.some(voters, draw.integer(1, len(voters)))} if draw.chance(0.8) else {}
    return {"do": "order", "whom": voters, "order": order}


def _operate(scene: _Scene) -> list[Fault]:
    """Groups are moved, nodes drained, failures forgotten: on any node, whatever else goes on."""
    draw = scene.draw
    kind, whom = draw.pick([MOVE, MOVE, DRAIN, CLEAR]), [draw.pick(scene.numbers)]
    order: dict[str, Any] = {"do": kind}
    if kind == MOVE:
        order.update(group=draw.pick(scene.groups), node=draw.pick(scene.numbers))
        whom = [scene.victim()]
    elif kind == DRAIN:
        order.update(node=draw.pick(scene.numbers))
        ends_s = round(draw.uniform(0.5, 10.0), 3)
        return [
            {"do": "order", "whom": whom, "order": order},
            {"do": "order", "whom": [draw.pick(scene.numbers)], "order": {**order, "do": UNDRAIN}, "at": ends_s},
        ]
    return [{"do": "order", "whom": whom, "order": order}]


def _damage(scene: _Scene) -> list[Fault]:
    """Something on a disk is bad, and the node boots soon after, now and then."""
    draw = scene.draw
    file, whom = draw.pick(DAMAGED), draw.pick(scene.numbers)
    if file in FORGETS:
        if not scene.may_forget():
            return [_crash(scene)]
        whom = scene.forgetful()
    shapes = (*DAMAGES, *LOSSES) if file == "written" else DAMAGES
    faults: list[Fault] = [{"do": "damage", "whom": [whom], "file": file, "shape": draw.pick(shapes)}]
    if draw.chance(0.6):
        faults.append({"do": "crash", "whom": [whom], "for": scene.around_lease_s(), "at": draw.pick([0.0, 2.0])})
    return faults


def _vote(scene: _Scene) -> list[Fault]:
    """Another set of voters, now and then for a while only; the healed nodes must have a majority of it, whatever it
    is."""
    if len(scene.plan.heal) < scene.plan.nodes or scene.ruined or len(scene.wiped) > 1 or scene.stops:
        return [_leave(scene)]
    draw, scene.votes = scene.draw, True
    fault: Fault = {"do": "vote", "whom": [draw.pick(scene.numbers)], "node": draw.pick(scene.numbers)}
    if draw.chance(0.5):
        return [fault]
    recovery_s = Timing(float(scene.plan.conf["beat"]), scene.lease_s).recovery_s
    return [fault, {**fault, "at": round(draw.uniform(2.0, 4.0) * recovery_s, 2)}]


def _disaster(scene: _Scene) -> list[Fault]:
    """Most voters lose their disks; now and then some do not come back soon, and the operator gives them up."""
    draw, voters = scene.draw, scene.plan.voters()
    wiped = draw.some(voters, draw.integer(len(voters) // 2 + 1, len(voters)))
    if 2 * len(wiped) >= scene.plan.nodes or not scene.may_begin_anew():
        return [_crash(scene)]    # most tables would be lost, or every trace of an era
    scene.ruined = True
    faults: list[Fault] = [{"do": "crash", "whom": wiped, "wipe": True, "for": scene.around_lease_s()}]
    gone = [voter for voter in voters if voter not in wiped][:1]
    if gone and draw.chance(0.7):
        order = {"do": "found", "without": gone}
        faults += [
            {"do": "crash", "whom": gone, "for": round(draw.uniform(4.0, 15.0), 2)},
            {"do": "order", "whom": wiped, "order": order, "at": round(draw.uniform(0.5, 4.0), 2)},
        ]
    return faults


def _freeze(scene: _Scene) -> Fault:
    """Now and then the clocks stand still as well."""
    fault = {"do": "freeze", "whom": [scene.victim()], "for": scene.around_lease_s()}
    if scene.draw.chance(0.3) and not scene.forgets():
        scene.stops = True
        fault["clock"] = "stops"
    return fault


def _pause(scene: _Scene) -> list[Fault]:
    """One of the two guardians, now and then soon the other: that one is spared. Of a leash that stands still
    nobody hears that its group has ended."""
    what = scene.draw.pick(["agent", "agent", "leash", "group"])
    fault: Fault = {"do": "pause", "what": what, "whom": [scene.victim()], "for": scene.around_lease_s()}
    if what == "leash" and scene.draw.chance(0.3):
        return [fault, {"do": "kill", "what": "group", "whom": fault["whom"], "at": round(0.1 * fault["for"], 3)}]
    if what == "group" or scene.draw.chance(0.8):
        return [fault]
    other = "leash" if what == "agent" else "agent"
    return [fault, {**fault, "what": other, "at": round(0.5 * fault["for"], 3)}]


def _kill(scene: _Scene) -> Fault:
    if scene.draw.chance(0.15) and scene.may_forget():
        whom = [scene.forgetful()]                   # and its agent lives, or not
        lives = scene.draw.chance(0.6)
        return {"do": "wipe", "whom": whom} if lives else {"do": "kill", "what": "agent", "whom": whom, "wipe": True}
    return {"do": "kill", "what": scene.draw.pick(["agent", "agent", "leash", "group", BOTH]), "whom": [scene.victim()]}


def _leave(scene: _Scene) -> Fault:
    return {"do": "leave", "whom": [scene.victim()]}


def _cut(scene: _Scene) -> Fault:
    draw = scene.draw
    fault: Fault = {"do": "cut", "for": scene.around_lease_s(), "both": draw.chance(0.6)}
    shape = draw.weighted([(4, "owner"), (2, "into"), (2, "halves"), (1, "bridge")])
    if shape == "owner":
        fault.update(whom=[scene.victim()], to=scene.numbers)
    elif shape == "into":
        fault.update(whom=scene.numbers, to=[scene.victim()])
    else:
        one = scene.some()
        bridge = {draw.pick(scene.numbers)} if shape == "bridge" else set()
        one = [number for number in one if number not in bridge] or one
        fault.update(whom=one, to=[n for n in scene.numbers if n not in one and n not in bridge] or scene.numbers)
    if draw.chance(0.2):
        fault["flap"] = round(draw.uniform(0.05, 1.0), 3)
    return fault


def _weather(scene: _Scene) -> Fault:
    draw = scene.draw
    fault: Fault = {"do": "weather", "whom": scene.some(), "for": round(draw.uniform(1.0, 10.0), 2)}
    for name, high in (("slow", 60.0), ("error", 0.4), ("hang", 0.15), ("loss", 0.6), ("torn", 0.3)):
        if draw.chance(0.4):
            fault[name] = round(draw.uniform(1.0 if name == "slow" else 0.01, high), 3)
    return fault


def _stuck(scene: _Scene) -> Fault:
    return {"do": "stuck", "whom": [scene.victim()], "for": scene.around_lease_s()}


def _stall(scene: _Scene) -> list[Fault]:
    """The agent stands still amid something: now and then of more than one node, and again and again."""
    draw = scene.draw
    whom = scene.some() if draw.chance(0.3) else [scene.victim()]
    fault: Fault = {"do": "stall", "amid": draw.pick(STALLS), "whom": whom}
    step_s = round(draw.uniform(0.2, 2.0) * scene.lease_s, 3)
    return [
        {**fault, "for": draw.pick([0.1, 1.0]) * scene.around_lease_s(), "at": round(turn * step_s, 3)}
        for turn in range(draw.integer(1, 4))
    ]


def _stomith(scene: _Scene) -> Fault:
    how = scene.draw.pick([mode for mode in MODES if mode != WORKS])
    whom = scene.numbers if scene.draw.chance(0.5) else scene.some()
    return {"do": "stomith", "how": how, "whom": whom, "for": round(scene.draw.uniform(4.0, 20.0), 2)}


def _shot(scene: _Scene) -> list[Fault]:
    """A STOMITH that does not simply work, and an owner that gives a reason for one."""
    how = scene.draw.pick([SLOW, SLOW, *(mode for mode in MODES if mode != WORKS)])
    victim = {**scene.draw.pick([_freeze, _cut_off])(scene), "for": round(3 * scene.lease_s, 2), "at": 0.1}
    return [{"do": "stomith", "how": how, "whom": scene.numbers, "for": round(10 * scene.lease_s, 2)}, victim]


def _cut_off(scene: _Scene) -> Fault:
    return {"do": "cut", "whom": [scene.victim()], "to": scene.numbers, "both": True}


def _jump(scene: _Scene) -> Fault:
    return {"do": "jump", "whom": scene.some(), "by": scene.draw.pick([-86400.0, -2.0, 2.0, 86400.0])}


def _slew(scene: _Scene) -> Fault:
    by = scene.draw.pick([-0.08, 0.08])
    return {"do": "slew", "whom": [scene.victim()], "by": by, "for": round(scene.draw.uniform(1.0, 10.0), 2)}


def _edit(scene: _Scene) -> Fault:
    draw = scene.draw
    fault: Fault = {"do": "edit", "table": draw.pick(["cltab", "hactl"]), "whom": [draw.pick(scene.numbers)]}
    if draw.chance(0.15):
        fault["bad"] = True
    elif draw.chance(0.3):
        fault["for"] = round(draw.uniform(0.1, 5.0), 2)
    return fault


def _config(scene: _Scene) -> Fault:
    """A voter with other times counts for nobody, and has forgotten all when it is back; so have all voters, or one."""
    draw = scene.draw
    conf = {"lease": f"{scene.lease_s * 1.5:g}"} if draw.chance(0.5) else {"beat": "0.05", "lease": "0.25"}
    if draw.chance(0.5) and scene.may_begin_anew():
        scene.ruined, whom = True, scene.plan.voters()
    elif scene.may_forget():
        whom = [scene.forgetful()]
    else:
        return _leave(scene)
    return {"do": "config", "whom": whom, "conf": conf, "for": round(draw.uniform(3.0, 12.0), 2)}


def _upgrade(scene: _Scene) -> list[Fault]:
    """Node after node gets another version; now and then not all of them do, or the first goes back early. A voter
    has forgotten all each time."""
    draw, step_s = scene.draw, round(scene.draw.uniform(0.5, 3.0) * scene.lease_s, 2)
    if scene.may_begin_anew():
        scene.ruined, numbers = True, draw.some(scene.numbers, draw.integer(1, len(scene.numbers)))
    elif scene.may_forget():
        numbers = [scene.forgetful()]
    else:
        return [_leave(scene)]
    lasts_s = round(draw.uniform(1.0, len(numbers) + 4.0) * step_s, 2)
    return [
        {"do": "config", "protocol": PROTOCOL + 1, "whom": [number], "for": lasts_s, "at": round(turn * step_s, 2)}
        for turn, number in enumerate(numbers)
    ]


WEIGHTS: tuple[tuple[float, Kind], ...] = (
    (3, _crash), (2, _freeze), (3, _pause), (2, _kill), (0.5, _leave), (5, _cut), (2, _weather), (1, _stuck),
    (2, _stall), (2, _stomith), (1.5, _shot), (0.3, _jump), (0.5, _slew), (1, _edit), (0.3, _config), (0.3, _upgrade),
    (0.7, _restore), (0.3, _order), (2, _disaster), (1.5, _vote), (1.2, _damage), (1.5, _operate),
)


def _faults(scene: _Scene, count: float) -> list[Fault]:
    draw, plan = scene.draw, scene.plan
    faults = []
    for _ in range(int(count)):
        at = round(draw.uniform(2.0, plan.safety_s), 3)
        faults += _at(at, plan, draw.weighted(WEIGHTS)(scene))
        while draw.chance(0.3):                      # what comes close together breaks more
            at = round(min(plan.safety_s, at + draw.uniform(0.0, 1.5 * scene.lease_s)), 3)
            faults += _at(at, plan, draw.weighted(WEIGHTS)(scene))
    return sorted(faults, key=lambda fault: fault["at"])


def _at(at: float, plan: FaultPlan, found: Fault | list[Fault]) -> list[Fault]:
    all_found = found if isinstance(found, list) else [found]
    return [{**one, "at": round(min(plan.safety_s, at + one.get("at", 0.0)), 3)} for one in all_found]
