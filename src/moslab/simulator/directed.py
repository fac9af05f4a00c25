"""Directed plans: combinations of faults against which one rule of the protocol stands, and the cluster for them.

Rules:

1. All are valid for the protocol as it is: what is broken at the end of the safety phase is healed, on all nodes but
   those that the plan says never come back.
2. A plan repeats its faults; between two repetitions two nodes change their parts, if it matters who owns the group.
3. Times are tied to beat and lease: who changes one looks at the comment of the plan.
4. A plan here is what a drawn one is changed to. Seeds run them too, with their times moved
   (:mod:`moslab.simulator.draw`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from moslab.faults.plan import BOTH, Fault, FaultPlan

Faults = list[Fault]
ALL = [1, 2, 3, 4, 5]
SIX = [*ALL, 6]
BEGIN_S, SAFETY_S = 4.0, 60.0
QUICK = (0.1, 0.4)               # beat and lease
MIDDLE = (0.5, 2.0)
SLOW = (0.5, 3.0)
SHORT = {"journal": 4096, "read": 2048, "frame": 2048}
SHARP = {"latency_min_s": 0.0003, "latency_max_s": 0.002, "tail": 0.0}


def changed(plan: FaultPlan, changes: dict[str, Any]) -> FaultPlan:
    """Objects are merged, and None takes a name away; all else is replaced."""
    for name, value in changes.items():
        before = getattr(plan, name)
        merged = {**before, **value} if isinstance(before, dict) else {}
        setattr(plan, name, {key: one for key, one in merged.items() if one is not None} or value)
    return plan


def every(period_s: float, *repetitions: Fault | Faults) -> Faults:
    """The faults again and again, ``at`` seconds after each beginning; lists of them take turns."""
    turns = [one if isinstance(one, list) else [one] for one in repetitions]
    if all(isinstance(one, dict) for one in repetitions):
        turns = [[fault for turn in turns for fault in turn]]
    found = []
    for turn in range(int((SAFETY_S - BEGIN_S) / period_s)):
        begin_s = BEGIN_S + turn * period_s
        found += [{**fault, "at": round(begin_s + fault["at"], 3)} for fault in turns[turn % len(turns)]]
    return sorted(found, key=lambda fault: fault["at"])


def cut(at_s: float, for_s: float, whom: Sequence[int | str], to: Sequence[int] = ALL, **more: Any) -> Fault:
    """In both directions."""
    return {"at": at_s, "do": "cut", "whom": list(whom), "to": list(to), "both": True, "for": for_s, **more}


def crash(at_s: float, for_s: float, whom: Sequence[int | str], **more: Any) -> Fault:
    return {"at": at_s, "do": "crash", "whom": list(whom), "for": for_s, **more}


def end_life(at_s: float, whom: int | str) -> Fault:
    """The agent and its leashes are killed: the next life takes nothing over."""
    return {"at": at_s, "do": "kill", "what": BOTH, "whom": [whom]}


def kill_agent(at_s: float, whom: int | str) -> Fault:
    return {"at": at_s, "do": "kill", "what": "agent", "whom": [whom]}


def wipe(at_s: float, whom: int) -> Fault:
    """Somebody empties the directory of its agent, which runs on."""
    return {"at": at_s, "do": "wipe", "whom": [whom]}


def pause(at_s: float, for_s: float, what: str, whom: int | str) -> Fault:
    return {"at": at_s, "do": "pause", "what": what, "whom": [whom], "for": for_s}


def edit(at_s: float, whom: int, table: str = "cltab", **more: Any) -> Fault:
    return {"at": at_s, "do": "edit", "whom": [whom], "table": table, **more}


def _order(at_s: float, whom: Sequence[int], **order: Any) -> Fault:
    return {"at": at_s, "do": "order", "whom": list(whom), "order": order}


def weather(at_s: float, for_s: float, whom: Sequence[int], **more: float) -> Fault:
    return {"at": at_s, "do": "weather", "whom": list(whom), "for": for_s, **more}


def _arbitrators(at_s: float, whom: Sequence[int], for_s: float = 100.0) -> Fault:
    """They end, and run nothing after that."""
    return {"at": at_s, "do": "config", "whom": list(whom), "conf": {"arbitrator": "yes"}, "for": for_s}


def plan(
    faults: Faults, times: tuple[float, float] = QUICK, groups: dict[str, str] | None = None,
    voters: str = "1 2 3", stomith: str | None = None, nodes: int = 5, network: dict[str, float] | None = None,
    safety_s: float = SAFETY_S, stomith_delay: str | None = None, stuck: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Clocks at their limits, answers within milliseconds. ``groups``: name -> where it is unfit."""
    groups = {"g1": ""} if groups is None else groups
    lines = [
        f"{name}:{name}-fit:test:test:run 0.005{f' unfit={unfit}' if unfit else ''}\n"
        f"{name}:{name}-run:start:respawn:live\n" for name, unfit in groups.items()
    ]
    return {
        "nodes": nodes, "arbitrators": [], "profile": "directed", "founded": True, "installed": [],
        "safety_s": safety_s, "cltab": "".join(lines), "hactl": "".join(f"{name} start\n" for name in groups),
        "heal": list(range(1, nodes + 1)), "bound_s": 50.0,
        "conf": {
            "beat": f"{times[0]:g}", "lease": f"{times[1]:g}", "voters": voters, "stomith": stomith,
            "stomith_delay": stomith_delay, "stuck": stuck,
        },
        "clocks": {"drift": 0.01, "restart": False, "sync_s": 0.0}, "network": network or {}, "faults": faults, **more,
    }


AWAY = {"g1": "1,2,3"}           # it runs on 4 and 5, which have no vote
CUT_OWNER = plan(
    every(18.0, cut(0, 10.0, ["owner:g1"])), (0.5, 8.0),
    network={"latency_min_s": 0.0002, "latency_max_s": 0.0006, "tail": 0.0},
)
# The clock of the owner, by which its lease ends, is slewed by more than A1 bears, and K is short for such a lease.
SLEWED = plan(every(
    18.0, {"at": 0, "do": "slew", "whom": ["owner:g1"], "by": -0.08, "for": 11.0}, cut(1.0, 10.0, ["owner:g1"]),
), (0.5, 8.0), network={"latency_min_s": 0.0002, "latency_max_s": 0.0006, "tail": 0.0})
# Agents stand still between a look at the clock and what they decide by it, for about a lease, the owner above all,
# when it is cut off and when it is back.
STALLED = plan(every(
    7.0, *(
        [
            {"at": 0, "do": "stall", "amid": "look", "whom": ["owner:g1"], "for": stall_s}, cut(0.3, 2.5, ["owner:g1"]),
            *({"at": at, "do": "stall", "amid": "look", "whom": ALL, "for": 0.4} for at in (1.0, 1.7, 2.4, 3.1)),
            {"at": 4.2, "do": "stall", "amid": "write", "whom": ALL, "for": stall_s}, end_life(4.3, "owner:g1"),
        ] for stall_s in (0.3, 1.7, 2.1)
    ),
), MIDDLE, network=SHARP)
# For five leases it has 2 and 3, then 3 alone, then 1 and 2.
ONE_VOTER_LEFT = plan(every(
    8.0, cut(0, 5.0, ["owner:g1"], [1]), cut(2.0, 3.0, ["owner:g1"], [2]), cut(5.2, 1.0, ["owner:g1"], [3]),
), groups=AWAY)
# Of 4 and 5 one hears nothing of 2 from soon after the other lost 3, and still has 1: there it was seen that the owner
# beats, on 3 that it stands still, and on 2 that it did so when that was read last.
HALF_SEEN = plan(every(
    5.0, [cut(0, 3.0, [4], [3]), cut(0.25, 2.7, [5], [2])], [cut(0, 3.0, [5], [3]), cut(0.25, 2.7, [4], [2])],
), groups=AWAY, network=SHARP)
CUT_SLOW_OWNER = plan([          # what it asks takes long, what others ask does not
    weather(3.0, SAFETY_S, [4], slow=60.0), *every(4.0, cut(0, 2.0, ["owner:g1"])),
], groups=AWAY, network=SHARP)
SLOW_WATCHER = plan(every(       # only while it reads what stands still from then on
    3.0, [weather(0, 0.3, [2], slow=100.0), cut(0.2, 1.5, [3], [1, 2])],
    [weather(0, 0.3, [3], slow=100.0), cut(0.2, 1.5, [2], [1, 3])],
), voters="1", nodes=3, network=SHARP, arbitrators=[1])
DUELS = plan([
    weather(3.0, SAFETY_S, ALL, slow=3.0),
    *every(
        2.0, end_life(0, "owner:g1"), cut(0.05, 0.3, [1], [2, 4], flap=0.03), cut(0.05, 0.3, [2], [3, 5], flap=0.04),
    ),
], network={"latency_min_s": 0.0003, "latency_max_s": 0.003, "tail": 0.0})

# A write of the owner, which stood still until just before its lease ends, is held on its way until others have seen
# the lease expire; the answer is there when the agent, which stood still over the end of its lease as well, goes on,
# and hears nothing more. D is 1.5 s.
LATE_ANSWER = plan(every(
    14.0, pause(0, 7.4, "agent", "owner:g1"), {"at": 7.3, "do": "cut", "whom": ["owner:g1"], "to": [1], "for": 1.0},
    pause(7.45, 1.4, "agent", "owner:g1"), cut(8.84, 3.0, [2, 3], [1]),
), (0.1, 8.0), voters="1", nodes=3, network=SHARP, arbitrators=[1])
# 4 owns g1 and looks closely at the voters, since 6, whose groups should come to 4 and 5, is off: it reads long after
# it wrote last, when it is cut off. 5, which looks as closely, takes g1 as soon as it can.
EAGER_OWNER = plan(every(
    28.0, {"at": 0, "do": "leave", "whom": [5]}, crash(6.0, 18.0, [6]), cut(10.0, 12.0, [4]),
), (2.0, 8.0), {"g1": "6", "g3": "4,5", "h1": "4,5", "h2": "4,6"}, nodes=6, network=SHARP, arbitrators=[1, 2, 3],
    bound_s=90.0)
STUCK = plan(every(
    6.0, {"at": 0, "do": "stuck", "whom": ["owner:g1"], "for": 2.5}, cut(0.05, 0.8, ["owner:g1"]),
))


def _killed_at_once(*deaf: str) -> str:
    """A table of g1 and g2; what of these ignores signals is killed soon after it was told to end."""
    return ":::stop:INT 0 KILL 0.3\n" + "".join(
        f"{name}:{name}-fit:test:test:run 0.005\n"
        f"{name}:{name}-run:start:respawn:live{' int=ignore' if name in deaf else ''}\n" for name in ("g1", "g2")
    )


# It is to go, and what its owner runs never ends: the node beats, so only a shot frees it (R24), after g2 has gone.
STUCK_FOR_EVER = plan(
    every(
        20.0, {"at": 4.0, "do": "stuck", "whom": [1], "for": 500.0},
        {"at": 4.1, "do": "order", "whom": [2], "order": {"do": "move", "group": "g1", "node": 2}},
    ), nodes=3, heal=[2, 3], stomith="/sbin/off %n", stuck="10", network=SHARP,
    cltab=_killed_at_once("g1"), hactl="g1 start prefer=1 failback\ng2 start prefer=1 failback\n",
    power={"shot_min_s": 0.05, "shot_max_s": 0.1},
)


def _held_up(at_s: float, group: str, whom: int | str) -> Faults:
    """What it runs of the group never ends, and the group is to go to whichever other node."""
    moves = [_order(at_s + node, [2, 3], do="move", group=group, node=node) for node in (2, 3)]
    return [{"at": at_s, "do": "stuck", "whom": [whom], "for": 500.0}, *moves]


def _one_server(nodes: int, *faults: Faults) -> dict[str, Any]:
    """As STUCK_FOR_EVER, but who was shot stays off, and all know of what is stuck before anybody is shot for it."""
    everybody = list(range(1, nodes + 1))
    return {
        **STUCK_FOR_EVER, "nodes": nodes, "heal": everybody, "cltab": _killed_at_once("g1", "g2"),
        "hactl": "g1 start prefer=1 failback\ng2 start prefer=2 failback\n",
        "faults": sorted((fault for some in faults for fault in some), key=lambda fault: fault["at"]),
        "conf": {**STUCK_FOR_EVER["conf"], "voters": " ".join(map(str, everybody)), "stuck": "14"},
        "power": {**STUCK_FOR_EVER["power"], "on_after_s": 200.0},
    }


# One server holds g1 up on two nodes of five, one after the other: the second is not shot for it.
STUCK_AGAIN = _one_server(5, _held_up(8.0, "g1", 1), _held_up(28.0, "g1", "owner:g1"))
# It holds up another group on the second of three nodes: that is not shot, as two of three would be off.
STUCK_ELSEWHERE = _one_server(3, _held_up(8.0, "g1", 1), _held_up(28.0, "g2", 2))
# Fresh agents meet long journals of others: 1 to 4 own h1 to h3 in turn, and fail.
FLIPS = plan(
    every(3.0, end_life(0, 5)), groups={"g1": "1,2,3", "h1": "1,2,3,4", "h2": "1,2,3,4", "h3": "1,2,3,4"},
)
# The same with journals that are long after seconds, and hardly ever read to their ends at once; all agents end now and
# then.
FLIPS_CUT_SHORT = plan(
    every(6.0, end_life(0, 5), [end_life(0, 5), end_life(2.0, 4), end_life(2.2, 1), end_life(3.0, 3)]),
    groups={"g1": "1,2,3", "h1": "1,2,3,4", "h2": "1,2,3,4", "h3": "1,2,3,4"}, sizes={**SHORT, "read": 512},
)
# 1 hears nothing of 2 and 3, but keeps its lease, while 3 gives g1 up and 4 gets it. 4 begins another life, of which
# 1 hears on its own disk. It meets 2 again before anybody has cleaned up there (its agent stands still), and nobody but
# 1 wants g1. By h, which only 4 can run, 1 knows of 4's journal on 2 before.
UNREAD = plan([
    _arbitrators(0.5, [2]), _arbitrators(0.5, [1, 4], 3.0), cut(6.0, 1.75, [1], [2]), cut(6.0, 20.0, [1], [3]),
    cut(6.0, 1.15, [4], [1]), _arbitrators(6.2, [3]), pause(6.9, 3.0, "agent", 2), _arbitrators(7.1, [4]),
    end_life(7.12, 4),
], (0.1, 4.0), {"g1": "", "h": "1,2,3"}, nodes=4, network=SHARP, safety_s=13.0)
ERRORS = plan(
    [weather(3.0, SAFETY_S, [1], error=0.05), *every(3.0, end_life(0, 5))],
    groups={"g1": "1,2,3", "h1": "1,2,3,4", "h2": "1,2,3,4", "h3": "1,2,3,4"}, voters="1",
)

# All that is known of g1 is on the only voter, whose agent finds journals of the dead at about the time when it ends,
# and fails now and then to write.
UNREPEATED = plan([
    end_life(4.0, "owner:g1"), end_life(6.0, "owner:g1"), _arbitrators(8.0, [2, 3], 48.0),
    weather(9.0, 46.0, [1], error=0.08), *(end_life(round(10.0 + 2.25 * turn, 2), 1) for turn in range(20)),
], (0.1, 0.8), voters="1", nodes=3, network=SHARP, arbitrators=[1])

# The heir has g1, and all agents that may run it end before it has written that: only blocks on the voters say so.
# Nobody may run it until journals of the dead were looked at.
UNDECIDED = plan([
    {"at": 6.0, "do": "leave", "whom": ["owner:g1"]}, end_life(6.73, 4), end_life(6.73, 5),
    _arbitrators(6.9, [4, 5], 26.0),
], (0.5, 2.0), AWAY, network=SHARP, safety_s=36.0, arbitrators=[1, 2, 3])


def _split(*before: Fault, at_s: float, for_s: float) -> tuple[Faults, Faults]:
    """One of 4 and 5 has voters 1 and 2, the other 1 and 3."""
    return (
        [*before, cut(at_s, for_s, [4], [3]), cut(at_s, for_s, [5], [2])],
        [*before, cut(at_s, for_s, [5], [3]), cut(at_s, for_s, [4], [2])],
    )


# 3 is away while an epoch is decided on 1 and 2; then 1 forgets, and comes back.
COPIES = plan(every(14.0, *_split(
    cut(0, 6.4, [3]), cut(0, 8.4, [4, 5], [3]), end_life(0.1, "owner:g1"), crash(2.5, 0.2, [1], wipe=True),
    weather(6.0, 2.4, [2], slow=60.0), cut(8.2, 0.4, [4, 5], [2]), at_s=8.4, for_s=4.0,
)), MIDDLE, AWAY, network=SHARP)
# The same while what is copied is longer than a page.
COPIES_IN_PAGES = {**COPIES, "sizes": SHORT}


def _still_empty(owner: int, other: int) -> Faults:
    """6 gives g1 up, and ``other`` hears of that on 3 alone, while 1 and 2 decide for ``owner``. 1 loses its directory
    before ``other``, which still has a lease, meets it again, and is not told anew what was decided there. 6 gets g1
    back when it has been there for two leases."""
    return [
        cut(9.0, 2.6, [other], [1]), cut(9.0, 9.0, [other], [2]), cut(9.0, 9.0, [owner], [3]),
        _arbitrators(9.05, [6], 7.0), cut(10.9, 7.0, [owner], [1]), wipe(11.0, 1),
    ]


STILL_EMPTY = plan(
    every(27.0, _still_empty(4, 5), _still_empty(5, 4)), (0.5, 4.0), nodes=6, network=SHARP, arbitrators=[1, 2, 3],
    hactl="g1 start prefer=6 failback\n", bound_s=90.0,
)


def _rolled_back(at_s: float, *before: Fault) -> tuple[Faults, Faults]:
    """While 3 is away and the owner is off, the other one takes over on 1 and 2; then 1 gets its old disk back, and the
    owner is back, and meets 1 and 3."""
    return _split(
        {"at": 0, "do": "backup", "whom": [1]}, *before, cut(at_s, 5.6, [3]), crash(at_s + 0.1, 3.4, ["owner:g1"]),
        crash(at_s + 3.6, 0.2, [1], restore="whole"), cut(at_s + 3.6, 1.4, [1]), at_s=at_s + 3.4, for_s=6.0,
    )


# Nobody says so, but the node has had a later life; then the same within one life, which has written a lot since. Of
# that 1 hears only from 3, on which it wrote in turn.
ROLLED_BACK = plan(every(14.0, *_rolled_back(2.0, end_life(0.1, 1))), MIDDLE, AWAY, network=SHARP)
ROLLED_BACK_WITHIN = plan(
    every(27.0, *([*turn, cut(18.6, 6.0, [1], [2])] for turn in _rolled_back(15.0))), (0.1, 2.0), AWAY, network=SHARP,
)


# As in ROLLED_BACK, and 2 loses its disk at the same time: 3, which knows better, is not heard for a while.
NO_WITNESS = plan(every(22.0, *(
    [*turn, crash(5.5, 0.15, [2], wipe=True), cut(5.5, 2.6, [1], [3])] for turn in _rolled_back(2.0, end_life(0.1, 1))
)), MIDDLE, AWAY, network=SHARP)


def _map(at_s: float, whom: int, nodes: Sequence[int]) -> Fault:
    return {"at": at_s, "do": "map", "whom": [whom], "nodes": list(nodes)}


def _made_anew(half: Sequence[int]) -> Faults:
    """3 gets its tables back without a marker, boots with a map of some nodes, and then begins with the whole one."""
    return [
        {"at": 0, "do": "backup", "whom": [3]}, _map(0.05, 3, half), crash(0.1, 0.2, [3], restore=True),
        _map(5.0, 3, ALL), end_life(6.0, 3),
    ]


# Nobody has named the voters on 3, which has forgotten them.
MADE_ANEW = plan(
    every(10.0, _made_anew([3]), _made_anew([2, 3]), _made_anew([3, 4])), network=SHARP,
    installed=[{"node": 3, "voters": []}],
)
# 3 has lost its disk, and its configuration names only itself: it founds an era, in which it is the only voter, and
# runs nothing. Only one of 4 and 5 hears of it, and begins a next life.
BY_ITSELF = plan(every(14.0, *(
    [crash(0, 0.3, [3], wipe=True), cut(0.5, 10.0, [1, 2, one], [3]), end_life(6.0, other)]
    for one, other in ((4, 5), (5, 4))
)), (0.1, 2.0), AWAY, network=SHARP, arbitrators=[3], installed=[{"node": 3, "voters": [3]}])
# As in ROLLED_BACK, and the node with the old disk is not on its own map: its agent does not begin for a while.
ROLLED_BACK_UNPLACED = plan(every(20.0, *(
    [*turn, _map(5.55, 1, [2, 3, 4, 5]), _map(12.0, 1, ALL)] for turn in _rolled_back(2.0, end_life(0.1, 1))
)), MIDDLE, AWAY, network=SHARP)


def _hole(one: int, other: int) -> Faults:
    """``one`` has written on voter 1 before that was wiped, and owns afterwards what only 1 and 2 know."""
    return [
        crash(0, 0.3, [1], wipe=True), cut(3.6, 3.6, [one], [3]), crash(3.7, 0.9, [other]), cut(4.4, 2.8, [other], [2]),
    ]


HOLES = plan(every(12.0, _hole(4, 5), _hole(5, 4)), groups={"g1": "1,2,3", "g2": "1,2,3"}, network=SHARP)



def _elect(
    first_s: float, last_s: float, voters: list[int], whom: Sequence[int] = (1, 2), every_s: float = 2.0,
) -> Faults:
    """An operator who asks again and again."""
    return [
        {"at": at, "do": "order", "whom": [*whom], "order": {"do": "elect", "voters": voters}}
        for at in (round(first_s + turn * every_s, 3) for turn in range(ceil((last_s - first_s) / every_s)))
    ]


# The journal of 4, which gets all of many groups with long names, goes on in a next generation. 1, which has forgotten,
# has a copy of it in several parts.
LONG_JOURNALS = plan(
    [crash(7.0, 0.2, [1], wipe=True)], (0.5, 2.0), {f"{number:060}": "" for number in range(140)}, nodes=4,
    network=SHARP, safety_s=12.0, arbitrators=[1, 2, 3],
)
# One voter after the other loses its directory while it runs: whoever holds its files open sees no reboot.
EMPTIED = plan(every(
    12.0, wipe(0, 1), wipe(3.0, 2), end_life(6.0, 5), cut(6.0, 3.0, [4], [3]),
    {"at": 9.0, "do": "leave", "whom": ["owner:g1"]},
), groups=AWAY, network=SHARP)
# All that is known of g1 is what agents have repeated on their own voters, since its owners began next lives, and the
# voters have cleaned up. Then 1 loses its directory while its agent runs, and gets copies of what the lives before of 2
# and 3 wrote; and then 2. Who comes back, and does not hear of 3, has to find there what was decided.
FORGOTTEN = plan([
    *(end_life(at, "owner:g1") for at in (4.0, 5.5, 7.0)), _arbitrators(8.5, [4], 26.5), _arbitrators(8.5, [5], 30.0),
    wipe(14.0, 1), end_life(17.0, 2), end_life(17.5, 3), wipe(24.0, 2), end_life(27.0, 3),
    cut(34.0, 8.0, [4], [3]),
], network=SHARP, safety_s=42.0, arbitrators=[1, 2, 3])
# Twice the voters change while 3 hears nothing of it; then the two that were added go again.
VOTES = plan(every(
    52.0, cut(0, 18.0, [3]), *_elect(5, 6, [1, 2], [3]), *_elect(1, 9, [1, 2, 3, 4]), *_elect(9, 17, [1, 2, 3, 4, 5]),
    end_life(12.0, "owner:g1"),
    *_elect(25, 35, [1, 2, 3, 4]), crash(30.0, 1.0, ["owner:g1"]), *_elect(35, 45, [1, 2, 3]),
    end_life(46.0, "owner:g1"),
), groups={"g1": ""}, network=SHARP)
# Voter 3 is left and comes back while the same identities live on. Then it gives all its groups up; 1 and 2, which do
# not hear each other, each have 3 for a majority: what the one wrote on it must be there for the other.
READDED = plan([
    *_elect(4, 5, [1, 2]), *_elect(8, 9, [1, 2, 3]), cut(18.0, 4.0, [1], [2]),
    {"at": 18.2, "do": "leave", "whom": [3]},
], groups={f"g{number}": "" for number in range(1, 10)}, nodes=3, network=SHARP, safety_s=24.0)
# In these three 1 is the only voter, and 2 is added: at 5.2 s, after W, it has copied what 1 holds, and counts.
# 3 hears nothing of 2, and goes on under the voters before, which 1 counts as long as its agent stands still; 4 hears
# nothing of 1, and has a majority as soon as 2 is the only voter.
UNSETTLED = plan([
    *_elect(3.0, 3.5, [], [1]), cut(2.0, 20.0, [3], [2]), *_elect(4.0, 5.0, [1, 2], [1]), cut(5.3, 16.0, [4], [1]),
    pause(5.5, 5.0, "agent", 1), *_elect(5.6, 11.0, [2], [2], 0.3),
], groups={"g1": "1,2"}, voters="1", nodes=4, network=SHARP, safety_s=13.0)
# 2 is added to the only voter, and counts at 10 s, when it has copied what that holds. 4 owns the group until it hears
# nothing of 1 any more; 3, which hears nothing of 2, takes it over after that, and before 1 closes the voters before,
# at 13 s. W after both have settled 2 is the only voter. Its agent, which heard of 3's epoch on 1, looks at about 10 s
# and at 20 s for journals that nobody needs any more, and would repeat there what it knows.
UNCOPIED = plan([
    _arbitrators(0.05, [2]), cut(0.0, 3.0, [3], [1, 2, 4]), cut(2.0, 40.0, [3], [2]),
    *_elect(6.0, 7.0, [1, 2], [1]), cut(9.0, 40.0, [4], [1]), *_elect(16.5, 20.0, [2], [2], 0.25),
], MIDDLE, voters="1", nodes=4, network=SHARP, safety_s=20.0, arbitrators=[1],
    clocks={"drift": 0.01, "restart": False, "sync_s": 0.0, "late": 0.0})
# 2 does not come back: 1 has to go on alone, as the only one of the voters before.
NEVER_JOINT = plan(
    [crash(3.0, 100.0, [2]), *_elect(4.0, 5.0, [1, 2], [1])], voters="1", nodes=2, network=SHARP, safety_s=8.0,
    heal=[1], bound_s=8.0,
)
# 4 hears of its vote 0.3 s late, and 3 has gone for good by then: 4 has to copy from 1 and 2, a majority of those
# before, which 1 and 2 do not close until W after they knew, at 5.0 s.
LATE_AND_GONE = plan(
    [cut(3.9, 0.4, [4], [1, 2, 3]), *_elect(4.0, 5.0, [1, 2, 3, 4], [1]), crash(4.6, 100.0, [3])],
    nodes=4, network=SHARP, safety_s=6.0, heal=[1, 2, 4], bound_s=8.0,
)
# An operator asks for a majority of others, and those that know of it are cut from the old ones.
LEAP = plan([
    {"at": 5.0, "do": "order", "whom": [1, 2, 3], "order": {"do": "elect", "voters": [3, 5, 6]}},
    cut(5.2, 20.0, [1, 2, 4], [3, 5, 6]),
], groups={"kv": "1,2,3"}, nodes=6, network=SHARP, safety_s=26.0)
# Most voters lose their disks while the owner hears nothing of it.
NEW_ERA = plan(every(
    14.0, crash(0, 0.3, [1, 2], wipe=True), cut(0, 3.5, ["owner:g1"]),
), SLOW, AWAY, network=SHARP)
# All voters are told to forget, and their disks take longer to say so than W: until then they count the owner's writes,
# and it hears nothing of them from when they are done.
SLOW_TO_FORGET = plan(every(
    8.0, {"at": 0, "do": "stall", "amid": "write", "whom": [1, 2, 3], "for": 1.5},
    {"at": 0.02, "do": "order", "whom": [1, 2, 3], "order": {"do": "forget"}}, cut(1.5, 1.5, ["owner:g1"]),
), (0.1, 0.8), AWAY, network=SHARP)
# 4 knows of voter 2 what it was before the new era, and hears next of 3, whose agent stood still meanwhile.
OLD_ERA = plan(every(
    18.0, cut(0, 6.4, [4], [3, 5]), cut(0, 9.4, [4], [1]), end_life(0.1, 4), pause(0.9, 9.0, "agent", 3),
    cut(1.0, 8.4, [4], [2]), crash(1.1, 0.3, [1, 2], wipe=True),
), MIDDLE, AWAY, network=SHARP)

# Node 4 is back with an identity that 5 knows of voter 1 only: on 2 and 3 it last saw what stood still for long.
RETURN_UNSEEN = plan(every(
    14.0, crash(0, 5.0, [4]), cut(4.9, 1.7, [5], [2, 3]), {"at": 5.6, "do": "leave", "whom": [6]},
    pause(6.75, 2.6, "agent", 4),
), SLOW, {"kv": "1,2,3"}, nodes=6, network=SHARP)
# The same with an identity that wrote first, and then had no majority for longer than a lease.
FIRST_UNSEEN = plan(every(
    14.0, crash(0, 2.0, [4]), weather(1.9, 1.6, [4], error=0.6), cut(3.5, 3.3, [4], [1, 2, 3, 5, 6]),
    cut(6.7, 1.7, [5], [2, 3]), {"at": 6.9, "do": "leave", "whom": [6]}, pause(8.05, 2.6, "agent", 4),
), SLOW, {"kv": "1,2,3"}, nodes=6, network=SHARP)


def _damages(voter: int, shape: str) -> Faults:
    """Whatever can be bad on one voter is, while it runs, and then when it boots; all is well again by the next turn.

    While it recovers, an operator who is wrong about everything is refused, there and on a node without a vote.
    """
    files = ("slots", "counted", "order", "stray", "journal")
    wrong = [[5], [voter], [other for other in (1, 2, 3) if other != voter]]
    return [
        *({"at": 0, "do": "damage", "whom": [voter], "file": file, "shape": shape} for file in files),
        {"at": 0.5, "do": "damage", "whom": [voter], "file": "voter", "shape": shape},
        {"at": 0.6, "do": "leave", "whom": ["owner:g1"]}, _order(0.75, [5], do="forget"),
        *(_order(0.75 + 0.15 * turn, [voter, 5], do="found", without=gone) for turn, gone in enumerate(wrong, 1)),
        *(
            {"at": 6.0, "do": "damage", "whom": [voter], "file": file, "shape": shape}
            for file in ("founded", "state", "written")
        ),
        crash(6.1, 0.4, [voter]),
    ]


# 1 owns h again and again, and its journal on the only voter goes on in next generations. All that is known of g1,
# which nobody may run for long, is what it has repeated in the first of these.
REPEATED_EARLY = plan([
    end_life(4.0, "owner:g1"), end_life(6.0, "owner:g1"), _arbitrators(8.0, [2, 3], 32.0),
    *(_order(13.0 + 2.0 * turn, [1], do=do, node=1) for turn, do in enumerate(["drain", "undrain"] * 6)),
], (0.1, 0.8), {"g1": "1", "h": "2,3"}, voters="1", nodes=3, network=SHARP, safety_s=44.0,
    sizes={"journal": 600, "read": 2048, "frame": 2048})


# Bits rot, files are cut short, and somebody puts things there, on one voter after the other.
DAMAGES = plan(every(
    14.0, _damages(1, "bits"), _damages(2, "short"), _damages(3, "other"), _damages(1, "later"),
), groups=AWAY, network=SHARP)
# A person, and a later version, have left on the only voter what this one refuses, again and again; the other node,
# which has no vote, loses its directory.
LATER = plan(every(
    2.5, *({"at": 0, "do": "damage", "whom": [1], "file": file, "shape": "later"} for file in ("founded", "journal")),
    crash(0.1, 0.2, [1]), wipe(1.5, 2),
), voters="1", nodes=2, network=SHARP)
# Another owner was decided for the same epochs on one voter after the other: who has the group goes on.
OWNED_TWICE = plan(every(
    12.0, *([
        {"at": 0, "do": "damage", "whom": [voter], "file": "decided", "shape": "other"},
        {"at": 5.0, "do": "leave", "whom": ["owner:g1"]},
    ] for voter in (1, 2, 3)),
), network=SHARP)
# Other voters were decided as well: all end, and nothing runs before the lowest of the voters founds them anew.
ELECTED_TWICE = plan([
    *_elect(4.0, 6.0, [1, 2, 3, 4]), {"at": 20.0, "do": "damage", "whom": [2], "file": "decided", "shape": "other"},
    _order(30.0, [1, 2, 3, 4], do="forget"), _order(30.6, [2, 3], do="found", without=[]),
], network=SHARP, safety_s=40.0)
# The same on two voters, one after the other is well again, and none of them boots: who does not look, and goes on with
# what is bad, counts for nobody for ever, among nodes that have not read before what it was.
MARKERS_ROT = plan([
    *({"at": 4.0 * voter, "do": "damage", "whom": [voter], "file": "voter", "shape": "bits"} for voter in (1, 2)),
    end_life(11.0, 4), end_life(11.0, 5),
], groups=AWAY, network=SHARP, safety_s=13.0, bound_s=10.0)
# 1 owns the group, and 3, which hears nothing of it, was off all the time. What 1 has written on 2 is bad when 3 is
# back, and the agent there stands still: nobody has forgotten anything yet.
JOURNAL_ROTS, JOURNAL_EMPTIED, JOURNAL_GONE = (plan([
    cut(0, 14.0, [1], [3]), crash(0.3, 6.7, [3]), pause(5.0, 8.0, "agent", 2),
    {"at": 6.0, "do": "damage", "whom": [2], "file": "written", "shape": shape},
], nodes=3, hactl="g1 start prefer=1\n", network=SHARP, safety_s=14.0) for shape in ("bits", "empty", "gone"))
SHOTS_FAIL = plan([
    {"at": 2.0, "do": "stomith", "how": "fails", "whom": ALL, "for": SAFETY_S},
    *every(8.0, cut(0, 5.0, ["owner:g1"])),
], SLOW, stomith="/sbin/off %n")
# A frozen owner has expired, and is neither dead nor in its next life.
FENCED = plan(
    every(8.0, {"at": 0, "do": "freeze", "whom": ["owner:g1"], "for": 5.0}), SLOW, hactl="g1 start fenced\n",
)
LEAVES = plan(every(4.0, {"at": 0, "do": "leave", "whom": ["owner:g1"]}))
# Each ballot and release goes on in the next generation of a journal, and the one before is removed soon.
LEAVES_WITH_SHORT_JOURNALS = {**LEAVES, "sizes": {**SHORT, "journal": 200}}
# Its service is begun by the test, and runs on.


def _elected(at_s: float, voters: Sequence[int]) -> Fault:
    return {"at": at_s, "do": "order", "whom": [voters[0]], "order": {"do": "elect", "voters": list(voters)}}


def _confirm_off(at_s: float, whom: int, *off: int) -> Fault:
    return _order(at_s, [whom], do="found", without=[*off], are_off=True)


# 4 is no voter any more when the owner is off and the other takes over on 1 and 2, without 3. Then 1 gets the disk back
# that it had before that change, and 4, which knows nothing later, is the first whom it hears; the owner meets 1 and 3.
ROLLED_BACK_UNELECTED = plan([
    {"at": 6.0, "do": "backup", "whom": [1]}, _elected(6.5, [1, 2, 3]), end_life(14.0, 1), cut(16.0, 5.6, [3], SIX),
    crash(16.1, 3.4, ["owner:g1"]), cut(19.4, 6.0, [5], [3]), cut(19.4, 6.0, [6], [2]),
    crash(19.6, 0.2, [1], restore="whole"), cut(19.6, 1.4, [1], [2, 3]), cut(21.0, 2.5, [1], [2]),
], MIDDLE, {"g1": "1,2,3,4"}, voters="1 2 3 4", nodes=6, network=SHARP, hactl="g1 start prefer=6\n", safety_s=30.0)


# The agent of voter 3 stands still from before it could take the invitation until the voters have changed; then it is
# to be the only one. Whoever knows how many epochs there were ends, and those that may run the group are off meanwhile.
INVITED_LATE = plan([
    pause(1.5, 23.0, "agent", 3), end_life(9.0, 2), end_life(9.0, 5), _elected(13.0, [1, 3]),
    crash(22.0, 30.0, [2, 5]), _elected(40.0, [3]), *(end_life(50.0, node) for node in (1, 3, 4)),
], (0.5, 2.5), {"g1": "1,3,4"}, founded=False, network=SHARP)
LEAVES_AT_TWO_LEVELS = plan(
    every(4.0, {"at": 0, "do": "leave", "whom": ["owner:g1"]}),
    cltab="g1:g1-fit:test:test:run 0.005\ng1:g1-run:test,start:respawn:live\n",
)
# The power is off and on again, and the group is owned anew, before the answer comes.
SHOTS_SLOW = plan([
    {"at": 2.0, "do": "stomith", "how": "slow", "whom": ALL, "for": SAFETY_S},
    *every(14.0, crash(0, 6.0, [4]), cut(3.0, 1.6, [5])),
], MIDDLE, AWAY, stomith="/sbin/off %n", network=SHARP,
    power={"shot_min_s": 0.05, "shot_max_s": 0.1, "on_after_s": 1.0, "slow": 0.2})


def _pair(faults: Faults, **more: Any) -> dict[str, Any]:
    """Two nodes that both vote, with STOMITH."""
    return plan(faults, MIDDLE, nodes=2, voters="1 2", stomith="/sbin/off %n", network=SHARP, **more)


# One goes on alone, and is off when the other has just got its vote back, and before an operation counted on both.
PAIR_UNMET = _pair(every(18.0, *(
    [crash(0, 6.0, [first]), crash(at_s, 6.0, [3 - first])] for first, at_s in ((1, 10.4), (2, 10.7), (1, 10.1))
)), power={"on_after_s": 8.0})


def _emptied(survivor: int, beats: float) -> Faults:
    """The survivor's disk is emptied while the other is off, between its last look and the shot, if it takes one."""
    return [
        crash(0, 6.0, [3 - survivor]), wipe(beats * MIDDLE[0], survivor), end_life(3.5, 3), end_life(3.5, 4),
    ]


# Who goes on alone says that all that was ever counted is on its disk.
PAIR_EMPTIED = plan(every(
    14.0, _emptied(1, 1.6), _emptied(2, 1.9), _emptied(1, 1.7), _emptied(2, 2.1)
), MIDDLE, voters="1 2", nodes=4, stomith="/sbin/off %n", stomith_delay="0.1", network=SHARP, arbitrators=[1, 2],
    power={"shot_min_s": 0.05, "shot_max_s": 0.1, "on_after_s": 4.0})
# They are cut from each other for long, and nobody is off.
PAIR_CUT = _pair([
    {"at": 2.0, "do": "stomith", "how": "fails", "whom": [1, 2], "for": SAFETY_S},
    *every(20.0, cut(2.0, 12.0, [1], [2])),
])
# Neither of the two that vote owns anything, and who is off stays off.
PAIR_IDLE = plan([cut(8.0, 200.0, [1], [2])], MIDDLE, {"g1": "1,2"}, nodes=3, voters="1 2", stomith="/sbin/off %n",
                 network=SHARP, safety_s=30.0, heal=[1, 3], bound_s=15.0,
                 power={"shot_min_s": 0.5, "shot_max_s": 1.0, "on_after_s": 200.0, "slow": 0.0})
# The victim is on again, and owns the group anew, before the answer of the shot comes.
PAIR_LATE = _pair([
    {"at": 2.0, "do": "stomith", "how": "slow", "whom": [1, 2], "for": SAFETY_S},
    *every(18.0, crash(0.0, 3.5, ["owner:g1"])),
], power={"shot_min_s": 0.05, "shot_max_s": 0.1, "on_after_s": 0.5, "slow": 0.3})
# The owner's virtual machine is paused, its clocks with it: its lease looks good, and would be renewed for ever.
CLOCK_STOPPED = plan(every(6.0, {"at": 0, "do": "freeze", "whom": ["owner:g1"], "for": 2.0, "clock": "stops"}),
                     network=SHARP)


def _spared(owner: int, other: int) -> Faults:
    """The switch says off and does nothing, so the owner, which is cut off for less than a lease, is dead to all others
    while it runs. There is no other node that may run the group until ``other`` is back."""
    return [crash(0, 12.0, [other]), cut(7.0, 2.0, [owner])]


SPARED = plan([
    _arbitrators(0.5, [1, 2, 3]), {"at": 2.0, "do": "stomith", "how": "spares", "whom": ALL, "for": SAFETY_S},
    *every(20.0, _spared(4, 5), _spared(5, 4)),
], SLOW, stomith="/sbin/off %n", network=SHARP)
# Of two edits one is made on a node that hears of nobody, and the other, later, is in force when it is back: reading
# what others have fails now and then, while it has its lease already. Two at one time may get the same number.
EDITS_APART = plan(every(
    14.0, cut(0, 6.0, [3], [1, 2]), *(edit(1.0, 3, table) for table in ("cltab", "hactl")),
    *(edit(2.0, 1, table) for table in ("cltab", "hactl")), weather(5.9, 1.5, [1, 2, 3], error=0.4),
    edit(9.0, 1), edit(9.0, 2),
), nodes=3, network=SHARP)
# Somebody opens a table, another version comes, and he saves.
EDIT_OPENED = plan(every(
    10.0, *(edit(0, 1, table, **{"for": 5.0}) for table in ("cltab", "hactl")),
    *(edit(1.0, 2, table) for table in ("cltab", "hactl")),
), nodes=3, network=SHARP)

# Somebody empties a table; one other version comes, or two do, and he writes it in the same file. Then another comes.
EDIT_IN_PLACE = plan(every(
    12.0, *(edit(0, 1, table, in_place=True, **{"for": 6.0}) for table in ("cltab", "hactl")),
    edit(1.0, 2), edit(1.0, 2, "hactl"), edit(3.0, 3, "hactl"), edit(9.0, 2), edit(9.0, 2, "hactl"),
), nodes=3, network=SHARP)


def _overtaken(one: int, other: int, at_s: float) -> Faults:
    """The other node asks for the edit, and meets a frozen machine; it gets the answer after it has made the next."""
    return [edit(0, one), {"at": at_s, "do": "freeze", "whom": [one], "for": 5.0}, edit(at_s + 0.75, other)]


def _stalled(one: int, other: int) -> Faults:
    """The disk of the node hangs while it takes up the edit; it goes on when the other's is the next version."""
    return [{"at": 0, "do": "stall", "amid": "write", "whom": [one], "for": 8.0}, edit(0.01, one), edit(1.5, other)]


EDIT_OVERTAKEN = plan(every(
    12.0, _stalled(1, 2), _overtaken(1, 2, 1.1), _overtaken(2, 1, 1.3), _overtaken(1, 2, 1.5),
), MIDDLE, nodes=3, network=SHARP)
LEASH_STOPPED = plan(every(5.0, pause(0, 3.0, "leash", "owner:g1"), cut(0.1, 3.0, ["owner:g1"])))
# The leash stands still until it is killed, and cannot say that nothing of its group runs any more.
LEASH_DEAF = plan([
    {"at": 8.0, "do": "pause", "what": "leash", "whom": [4]}, {"at": 9.0, "do": "kill", "what": "group", "whom": [4]},
], (0.5, 2.5), {"g1": "1,2,3"}, nodes=4, safety_s=20.0, heal=[1, 2, 3], bound_s=10.0)
# One voter hangs for good, and another has a number that is equal to its own modulo 8, as the third may have.
LIKE_NUMBERS = plan(
    [{"at": 8.0, "do": "freeze", "whom": [1]}], SLOW, voters="1 2 9", nodes=9, network=SHARP, safety_s=20.0,
    heal=[2, 3, 4, 5, 6, 7, 8, 9], bound_s=10.0,
)
# The agent of the owner is killed, and the next life takes over what runs on: twice in a row, the second time while the
# first is about to; gives it up then, or loses the leash; or finds nothing of one of two groups.
ADOPTED = plan(every(
    5.0, kill_agent(0, "owner:g1"), [kill_agent(0, "owner:g1"), kill_agent(0.45, "owner:g1")],
    [kill_agent(0, "owner:g1"), {"at": 2.0, "do": "leave", "whom": ["owner:g1"]}],
    [kill_agent(0, "owner:g1"), {"at": 2.0, "do": "kill", "what": "leash", "whom": ["owner:g1"]}],
    [kill_agent(0, "owner:g1"), {"at": 0, "do": "kill", "what": "leash", "group": "g1", "whom": ["owner:g1"]}],
), (0.5, 2.5), {"g1": "", "g2": "1"}, hactl="g1 start prefer=3\ng2 start prefer=3\n", network=SHARP)
# It hears nothing of anybody before others have seen the lease expire.
ADOPTED_TOO_LATE = plan(every(
    8.0, kill_agent(0, "owner:g1"), cut(0.02, 5.0, ["owner:g1"]),
), (0.5, 2.5), AWAY, network=SHARP)


def _slewed_without_agent(owner: int) -> Faults:
    """No agent of the owner lives for long enough to have a lease, or to compare the clocks, and it hears of nobody."""
    return [
        *(kill_agent(0.3 * turn, owner) for turn in range(30)), cut(0, 10.0, [owner]),
        {"at": 0.005, "do": "slew", "whom": [owner], "by": -0.1, "for": 11.0},
    ]


# As SLEWED, while its agent is killed again and again.
ADOPTED_SLEWED = plan(
    every(20.0, _slewed_without_agent(4), _slewed_without_agent(5)), (0.5, 8.0), AWAY, hactl="g1 start prefer=4\n",
    network={"latency_min_s": 0.0002, "latency_max_s": 0.0006, "tail": 0.0},
)
# It takes over, or is about to, and hears nothing of most voters from then on.
ADOPTED_AND_CUT = plan(every(8.0, *(
    [kill_agent(0, "owner:g1"), cut(after_s, 5.0, ["owner:g1"], [1, 2])] for after_s in (0.2, 0.3, 0.4, 0.5)
)), (0.5, 2.5), AWAY, network=SHARP)
# The owner fails all the time, and stops slowly to be started again where it is: it is killed meanwhile. Then the table
# is another, with which all is well.
ADOPTED_STOPPING = plan([
    *every(4.0, kill_agent(0, "owner:g1")), edit(SAFETY_S - 1.0, 1, text="g1:run:start:respawn:live\n"),
], (0.5, 2.5), cltab="g1:fails:start:respawn:live dies=0.02\ng1:stays:start:respawn:live int=1.5\n",
    hactl="g1 start restarts=9\n", network=SHARP)


def _spared_without_agent(owner: int, other: int) -> Faults:
    """As in SPARED, and the agent is killed before: it is dead to all others when the next life hears of them."""
    return [crash(0, 12.0, [other]), kill_agent(6.95, owner), cut(7.0, 1.5, [owner])]


ADOPTED_DEAD = plan([
    _arbitrators(0.5, [1, 2, 3]), {"at": 2.0, "do": "stomith", "how": "spares", "whom": ALL, "for": SAFETY_S},
    *every(20.0, _spared_without_agent(4, 5), _spared_without_agent(5, 4)),
], (0.5, 8.0), stomith="/sbin/off %n", network=SHARP, power={"shot_min_s": 0.05, "shot_max_s": 0.1})
# The lease is made shorter on all nodes but the owner, which is cut off, and the only voter loses its disk meanwhile.
# Its times stay as they are, since the one node that knows the old lease must answer in time.
FORGOTTEN_LEASE = plan([
    cut(20.0, 20.0, [2], [1, 3]),
    {"at": 20.1, "do": "config", "whom": [1, 3], "conf": {"beat": "0.5", "lease": "2.5"}, "for": 30.0},
    crash(20.1, 0.5, [1], wipe=True),
], (2.0, 10.0), nodes=3, voters="1", hactl="g1 start prefer=2\n", network=SHARP, heal=[1, 3], bound_s=120.0)
# The agent of the owner hangs, and the clock by which its leash ends is slewed: K is short for such a lease.
HUNG_AND_SLEWED = plan(every(
    26.0, pause(0, 18.0, "agent", "owner:g1"), {"at": 0.1, "do": "slew", "whom": ["owner:g1"], "by": -0.1, "for": 17.0},
), (0.5, 12.0), network={"latency_min_s": 0.0002, "latency_max_s": 0.0006, "tail": 0.0})
# It stands still when all is well, or when no voter has answered it for a while.
AGENT_STOPPED = plan(every(
    9.0, [pause(0, 4.0, "agent", "owner:g1")],
    [cut(0, 4.0, ["owner:g1"]), pause(0.6 * MIDDLE[1], 4.0, "agent", "owner:g1")],
), MIDDLE)
# An operator confirms that one of two voters is off (R18). For W they have not heard each other, as 1 and 2 here, when
# 1 is off for good and the owner, which has a lease still, hears nothing of 2 any more, which is told at once. 5, which
# has no vote and hears of nobody, was told of both before.
WORD = plan([
    cut(8.0, 500.0, [1], [2]), cut(8.0, 10.0, [5], [1, 2]), _confirm_off(12.5, 5, 1, 2), cut(12.8, 9.0, [3], [2]),
    crash(12.9, 500.0, [1]), _confirm_off(13.0, 2, 1),
], SLOW, {"g1": "1,5", "g2": "1,2,3,4"}, voters="1 2", network=SHARP, hactl="g1 start prefer=3 failback\ng2 start\n",
    safety_s=24.0, heal=[2, 3, 4, 5], bound_s=20.0)
# It is void: 3 had no vote when 2, which had forgotten, asked what it knows. Then 1 had it vote, and left it the only
# one.
WORD_OVERTAKEN = plan([
    crash(4.0, 6.0, [2]), cut(9.0, 500.0, [1], [2]), _order(12.0, [2], do="forget"), _elected(16.0, [1, 3]),
    _order(32.0, [1], do="elect", voters=[3]), crash(46.0, 500.0, [1]), _confirm_off(54.0, 2, 1),
], MIDDLE, voters="1 2", nodes=3, stomith="/sbin/off %n", stomith_delay="0.1", network=SHARP, safety_s=64.0,
    heal=[2, 3], bound_s=30.0, power={"shot_min_s": 0.05, "shot_max_s": 0.5, "on_after_s": 0.0})
# It is wrong: 1 goes on alone, and g1 runs on 3. Of two eras one is left when they hear of each other: before, nobody
# has both g1 and g2, which waits for it.
WORD_WRONG = plan([
    crash(4.0, 6.0, [2]), cut(9.0, 21.0, [2], [1, 3]), _confirm_off(18.0, 2, 1),
], MIDDLE, {"g1": "1,2", "g2": "1,3"}, voters="1 2", nodes=3, stomith="/sbin/off %n", stomith_delay="0.1",
    network=SHARP, hactl="g1 start\ng2 start requires=g1\n", safety_s=30.0, bound_s=60.0,
    power={"shot_min_s": 0.05, "shot_max_s": 0.5, "on_after_s": 0.0})
# It is refused on one of three that is cut off, whoever is said to be off.
WORD_REFUSED = plan(every(
    18.0, cut(0, 12.0, [1], [2, 3, 4, 5]), _confirm_off(5.0, 1, 2, 3), _confirm_off(6.0, 1, 2),
), MIDDLE, network=SHARP)
# It is refused too on one of two voters that has just read the other one's files, and where next voters were accepted
# on its disk, which may be in force: its agent stood still when 2, which is off soon after, decided that.
WORD_ACCEPTED = plan([
    _confirm_off(4.0, 1, 2), pause(8.0, 6.0, "agent", 1), _order(8.1, [2], do="elect", voters=[1, 2, 3]),
    crash(10.5, 500.0, [2]), _confirm_off(13.9, 1, 2),
], MIDDLE, voters="1 2", nodes=3, network=SHARP, safety_s=18.0)
# The disk of 1 does not take that it has forgotten, and then, for a while, that it has founded an era.
WORD_REFUSED_BY_A_DISK = plan([
    crash(4.0, 500.0, [2]), *(weather(at_s, for_s, [1], refuses=True) for at_s, for_s in ((9.0, 1.5), (13.0, 4.0))),
    _confirm_off(9.3, 1, 2), _confirm_off(11.0, 1, 2),
], MIDDLE, voters="1 2", nodes=3, network=SHARP, safety_s=24.0, heal=[1, 3], bound_s=20.0)
# 2 goes on alone, is off, and is given up by a word that was right; when it is on again, its connections break at
# first.
WORD_BEFORE_A_BOOT = plan([
    crash(3.0, 500.0, [3]), crash(6.0, 12.0, [1]), crash(16.0, 30.0, [2]), _confirm_off(30.0, 1, 2),
    {"at": 45.0, "do": "worsen", "whom": [2], "to": [1], "both": True, "reset": True, "for": 2.4},
], (0.1, 2.5), voters="1 2", nodes=3, stomith="/sbin/off %n", stomith_delay="0.1", network=SHARP, safety_s=56.0,
    heal=[1, 2], power={"shot_min_s": 0.05, "shot_max_s": 0.5, "on_after_s": 0.0})
# 3 is said to be gone for good, and is not; the clocks of those who found an era without it are years slow, and nobody
# else knows of a later one. Nothing runs before, as tokens go on above those of that era only.
WORD_CLOCK_BACK = plan([
    cut(6.0, 16.0, [3], [1, 2]), {"at": 7.0, "do": "jump", "whom": [1, 2], "by": -3e8},
    crash(8.0, 0.3, [1, 2], wipe=True), _order(14.0, [1], do="found", without=[3]), pause(21.9, 3.0, "agent", 1),
    pause(21.9, 3.0, "agent", 2), *(edit(30.0 - node, node, "hactl", levels={"g1": "start"}) for node in (3, 2)),
], MIDDLE, nodes=3, hactl="g1 stop\n", network=SHARP, safety_s=30.0)

DIRECTED = {name: value for name, value in vars().items() if isinstance(value, dict) and "faults" in value}
WORDS = [name for name in DIRECTED if name.startswith("WORD")]      # drawn by a stream of their own
