"""Directed plans: what a drawn plan is changed to where ordinary seeds reach a mistake too seldom.

All are valid for the protocol as it is: what is broken at the end of the safety phase is healed, on all nodes.
"""

from __future__ import annotations

from typing import Any

Faults = list[dict[str, Any]]
ALL = [1, 2, 3, 4, 5]
SAFETY_S = 60.0
QUICK = (0.1, 0.4)               # beat and lease
SLOW = (0.5, 3.0)


def every(period_s: float, *faults: dict[str, Any]) -> Faults:
    """The faults again and again, ``at`` seconds after each beginning."""
    found = []
    for turn in range(int((SAFETY_S - 5.0) / period_s)):
        begin_s = 4.0 + turn * period_s
        found += [{**fault, "at": round(begin_s + fault["at"], 3)} for fault in faults]
    return sorted(found, key=lambda fault: fault["at"])


def plan(
    faults: Faults, times: tuple[float, float] = QUICK, groups: int = 1, unfit: str = "", stomith: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Five nodes, of which three are voters; clocks at their limits."""
    words = f" unfit={unfit}" if unfit else ""
    lines = [
        f"g{i}:g{i}-fit:test:test:run 0.005{words}\ng{i}:g{i}-run:start:respawn:live\n" for i in range(1, groups + 1)
    ]
    return {
        "nodes": 5, "profile": "directed", "cltab": "".join(lines), "founded": True, "safety_s": SAFETY_S,
        "hactl": "".join(f"g{i} start\n" for i in range(1, groups + 1)), "heal": ALL, "bound_s": 90.0,
        "conf": {"beat": f"{times[0]:g}", "lease": f"{times[1]:g}", "voters": "1 2 3", "stomith": stomith},
        "clocks": {"drift": 0.01, "restart": False}, "faults": faults, **more,
    }


CUT_OWNER = plan(
    every(9.0, {"at": 0, "do": "cut", "whom": ["owner:g1"], "to": ALL, "both": True, "for": 5.0}), SLOW,
    network={"latency_min_s": 0.0002, "latency_max_s": 0.0006, "tail": 0.0},
)
CUT_SLOW_OWNER = plan([          # what it asks takes long, what others ask does not
    {"at": 3.0, "do": "weather", "whom": [4], "slow": 60.0, "for": SAFETY_S},
    *every(4.0, {"at": 0, "do": "cut", "whom": ["owner:g1"], "to": ALL, "both": True, "for": 2.0}),
], unfit="1,2,3", network={"latency_min_s": 0.0003, "latency_max_s": 0.002, "tail": 0.0})
SLOW_WATCHER_CUTS = plan([
    {"at": 3.0, "do": "weather", "whom": [4], "slow": 60.0, "for": SAFETY_S},
    *every(4.0, {"at": 0, "do": "cut", "whom": [5], "to": ALL, "both": True, "for": 2.0}),
], unfit="1,2,3", network={"latency_min_s": 0.0003, "latency_max_s": 0.002, "tail": 0.0})
CRASH_ONE_CUT_ANOTHER = plan(
    every(
        10.0, {"at": 0, "do": "crash", "whom": ["owner:g2"], "for": 4.0},
        {"at": 1.4, "do": "cut", "whom": ["owner:g1"], "to": ALL, "both": True, "for": 6.0},
    ), (0.5, 2.0), groups=2,
)
DUELS = plan([
    {"at": 3.0, "do": "weather", "whom": ALL, "slow": 3.0, "for": SAFETY_S},
    *every(
        2.0, {"at": 0, "do": "kill", "what": "agent", "whom": ["owner:g1"]},
        {"at": 0.05, "do": "cut", "whom": [1], "to": [2, 4], "both": True, "for": 0.3, "flap": 0.03},
        {"at": 0.05, "do": "cut", "whom": [2], "to": [3, 5], "both": True, "for": 0.3, "flap": 0.04},
    ),
], network={"latency_min_s": 0.0003, "latency_max_s": 0.003, "tail": 0.0})
ERRORS = plan([
    {"at": 3.0, "do": "weather", "whom": [1, 2, 3], "error": 0.01, "hang": 0.01, "for": SAFETY_S},
    *every(2.0, {"at": 0, "do": "kill", "what": "agent", "whom": ["owner:g1"]}),
])
WIPES = plan(every(
    18.0, {"at": 0, "do": "crash", "whom": [1], "wipe": True, "for": 0.3},
    {"at": 0.1, "do": "kill", "what": "agent", "whom": ["owner:g1"]},
    {"at": 1.2, "do": "cut", "whom": [2], "to": ALL, "both": True, "for": 1.5},
    {"at": 3.5, "do": "cut", "whom": [2], "to": ALL, "both": True, "for": 1.0},
    {"at": 3.7, "do": "kill", "what": "agent", "whom": ["owner:g1"]},
    {"at": 4.5, "do": "cut", "whom": [3], "to": ALL, "both": True, "for": 1.0},
    {"at": 4.6, "do": "cut", "whom": ["owner:g1"], "to": ALL, "both": True, "for": 1.0},
    {"at": 9, "do": "crash", "whom": [2], "wipe": True, "for": 0.3},
    {"at": 9.05, "do": "cut", "whom": ["owner:g1"], "to": ALL, "both": True, "for": 1.5},
    {"at": 10.5, "do": "cut", "whom": [3], "to": ALL, "both": True, "for": 2.5},
    {"at": 11.5, "do": "kill", "what": "agent", "whom": ["owner:g1"]},
))
ERAS = plan(every(
    15.0, {"at": 0, "do": "crash", "whom": [1, 2], "wipe": True, "for": 0.3},
    {"at": 4.0, "do": "cut", "whom": [4], "to": [1, 2, 5], "both": True, "for": 1.5},
    {"at": 8.0, "do": "kill", "what": "agent", "whom": ["owner:g1"]},
), unfit="1,2,3")
RETURN_UNSEEN = plan(every(
    12.0, {"at": 0, "do": "crash", "whom": [4], "for": 1.0},
    {"at": 0.9, "do": "cut", "whom": [5], "to": ALL, "both": True, "for": 3.0},
    {"at": 2.2, "do": "kill", "what": "agent", "whom": ["owner:g1"]},
    {"at": 5.0, "do": "crash", "whom": [5], "for": 1.0},
    {"at": 5.9, "do": "cut", "whom": [4], "to": ALL, "both": True, "for": 3.0},
    {"at": 7.2, "do": "kill", "what": "agent", "whom": ["owner:g1"]},
), unfit="2,3", network={"latency_min_s": 0.0003, "latency_max_s": 0.003, "tail": 0.0})
SHOTS_FAIL = plan([
    {"at": 2.0, "do": "stomith", "how": "fails", "whom": ALL, "for": SAFETY_S},
    *every(8.0, {"at": 0, "do": "cut", "whom": ["owner:g1"], "to": ALL, "both": True, "for": 5.0}),
], SLOW, stomith="/sbin/off %n")
LEAVES = plan(every(4.0, {"at": 0, "do": "leave", "whom": ["owner:g1"]}))
LEASH_STOPPED = plan(every(
    5.0, {"at": 0, "do": "pause", "what": "leash", "whom": ["owner:g1"], "for": 3.0},
    {"at": 0.1, "do": "cut", "whom": ["owner:g1"], "to": ALL, "both": True, "for": 3.0},
))
AGENT_STOPPED = plan(every(
    9.0, {"at": 0, "do": "pause", "what": "agent", "whom": ["owner:g1"], "for": 4.0},
), (0.5, 2.0))
