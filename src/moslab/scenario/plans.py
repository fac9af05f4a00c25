"""The cluster of a scenario as a fault plan has it, and the other way round.

Rules:

1. The plan of a cluster has its size, its tables as they are modelled, its times and voters, and nothing of its world.
2. The cluster of a plan has its size, its tables as a shell carries them out, STOMITH where it has, the times that are
   nearest, and Toxiproxy where the plan worsens connections. What it cannot have is said.
"""

from __future__ import annotations

from mosha.config import Config
from moslab.faults.plan import FaultPlan
from moslab.faults.toxics import of_plan
from moslab.layout import PROFILES, beat_s, lease_s
from moslab.scenario.tables import hactl_of, modelled, real
from moslab.scenario.world import Spec

STOMITH = "/usr/sbin/powerswitch %n"
BOUND_S = 60.0


def plan_of(spec: Spec, seed: int) -> FaultPlan:
    """Rule 1; without faults."""
    voters = sorted(Config().voters_of(frozenset(range(1, spec.nodes + 1))))
    conf = {
        "beat": f"{beat_s(spec.nodes, spec.profile):g}", "lease": f"{lease_s(spec.nodes, spec.profile):g}",
        "voters": " ".join(map(str, voters)), **({"stomith": STOMITH} if spec.stomith else {}),
    }
    return FaultPlan(
        seed, spec.nodes, modelled(spec.cltab), hactl_of(spec.cltab, spec.hactl), conf, profile="scenario",
        bound_s=BOUND_S, power={"shot_min_s": 0.05, "shot_max_s": 0.5, "on_after_s": 0.0, "slow": 1.5},
    )


def spec_of(plan: FaultPlan) -> tuple[Spec, list[str]]:
    """Rule 2: the cluster, and what of the plan's it has not. UnsupportedError for tables that no shell carries out."""
    settings = plan.settings()
    times = {name: (beat_s(plan.nodes, name), lease_s(plan.nodes, name)) for name in PROFILES}
    wanted = settings.timing.beat_s, settings.timing.lease_s
    profile = min(PROFILES, key=lambda name: abs(times[name][1] - wanted[1]))
    lacks = []
    if times[profile] != wanted:
        lacks.append(f"beat {wanted[0]:g} s and lease {wanted[1]:g} s: they are {times[profile][0]:g} and "
                     f"{times[profile][1]:g} s")
    if plan.installed or plan.arbitrators or not plan.founded:
        lacks.append("nodes that are not all installed alike")
    if plan.voters() != sorted(Config().voters_of(frozenset(range(1, plan.nodes + 1)))):
        lacks.append(f"the voters {plan.voters()}")
    toxiproxy = any(of_plan(fault) for fault in plan.faults if fault["do"] == "worsen")
    return Spec(plan.nodes, bool(settings.stomith), real(plan.cltab), plan.hactl, profile, toxiproxy), lacks
