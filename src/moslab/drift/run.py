"""Plans in worlds, and where these differ.

Rules:

1. Each plan is carried out in each world by the same code (:mod:`moslab.scenario.replay`), the simulator too. In one
   world plans of the same cluster come one after the other, so that it is begun once.
2. A world that cannot do all of a plan has no outcome of it, and is no difference: it is said.
3. A plan *differs* if two worlds have outcomes that are not equal; it is *wrong* if an outcome is not valid.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Union

from moslab.drift.outcome import OfGroup, Outcome, bring_home, counted, owners, shot
from moslab.errors import LabError, UnsupportedError
from moslab.faults.plan import FaultPlan, load
from moslab.history.checkers import VALID
from moslab.scenario.cluster import Cluster
from moslab.scenario.plans import spec_of
from moslab.scenario.pool import Pool
from moslab.scenario.replay import Replay
from moslab.scenario.world import World

PLANS = Path(__file__).with_name("plans")
PLANS_MAX = 200
Say = Callable[[str], None]


class Missing(NamedTuple):
    """There is no outcome of a plan in a world: it cannot, or it failed."""

    why: str
    is_failure: bool = False


Found = Union[Outcome, Missing]


class Row(NamedTuple):
    """One plan, and what came of it in each world."""

    plan: str
    found: Mapping[str, Found]

    @property
    def outcomes(self) -> dict[str, Outcome]:
        return {world: one for world, one in self.found.items() if isinstance(one, Outcome)}

    def differences(self) -> dict[str, dict[str, str]]:
        """What differs, and how it is in each world (rule 3)."""
        words = {world: one.words() for world, one in self.outcomes.items()}
        names = dict.fromkeys(name for one in words.values() for name in one)
        sides = {name: {world: one.get(name, "-") for world, one in words.items()} for name in names}
        return {name: side for name, side in sides.items() if len(set(side.values())) > 1}

    def wrong(self) -> list[str]:
        """The worlds in which it was not valid, or failed, and why."""
        invalid = [f"{world}: {one.verdict}" for world, one in self.outcomes.items() if one.verdict != VALID]
        return invalid + [f"{world}: {one.why}" for world, one in self.found.items()
                          if isinstance(one, Missing) and one.is_failure]

    @property
    def is_same(self) -> bool:
        return not self.differences() and not self.wrong()


def shipped() -> dict[str, FaultPlan]:
    """The plans of this package, by name."""
    return {path.stem: load(path) for path in sorted(PLANS.glob("*.json"))}


def drift(plans: Mapping[str, FaultPlan], worlds: Sequence[str], pool: Pool, say: Say) -> list[Row]:
    """All plans in all worlds."""
    found: dict[str, dict[str, Found]] = {name: {} for name in plans}
    alike = sorted(plans, key=lambda name: (plans[name].nodes, plans[name].conf.get("stomith", ""), name))
    for world in worlds:
        for name in alike:
            found[name][world] = came = _came(plans[name], world, pool)
            said = came.words().values() if isinstance(came, Outcome) else [came.why]
            say(f"{world}: {name}: {', '.join(said)}")
    return [Row(name, found[name]) for name in plans]


def report(rows: Iterable[Row]) -> str:
    """As JSON."""
    return json.dumps([{
        "plan": row.plan, "same": row.is_same, "differences": row.differences(), "wrong": row.wrong(),
        "worlds": {world: one.words() if isinstance(one, Outcome) else {"missing": one.why}
                   for world, one in row.found.items()},
    } for row in rows], indent=1) + "\n"


def lines(rows: Sequence[Row]) -> list[str]:
    """For people: each plan that differs or is wrong, what could not be compared, and a summary."""
    said = []
    for row in rows:
        for name, side in row.differences().items():
            said.append(f"{row.plan}: {name}: {', '.join(f'{word} in {world}' for world, word in side.items())}")
        said += [f"{row.plan}: {wrong}" for wrong in row.wrong()]
        said += [f"{row.plan}: not in {world}: {one.why}" for world, one in row.found.items()
                 if isinstance(one, Missing) and not one.is_failure]
    compared = [row for row in rows if len(row.outcomes) > 1]
    differ = sum(not row.is_same for row in rows)
    return [*said, f"{len(rows)} plans, {len(compared)} of them in two worlds or more: {differ or 'none'} of them "
                   f"{'differ' if differ != 1 else 'differs'}"]


def _came(plan: FaultPlan, name: str, pool: Pool) -> Found:
    world: World | None = None
    sound = False
    try:
        spec, lacks = spec_of(plan)
        if lacks:
            return Missing(f"it cannot have {lacks[0]}")
        world = pool.lend(name, spec, plan.seed)
        outcome, left_out = outcome_of(Cluster(world, plan.seed), plan)
        sound = outcome.verdict == VALID
    except UnsupportedError as error:
        return Missing(f"it cannot {error}")
    except (LabError, AssertionError) as error:
        return Missing(str(error), is_failure=True)
    finally:
        left = pool.give_back(world, sound) if world is not None else []
    if left:
        return Missing("; ".join(left), is_failure=True)
    if left_out:
        return Missing(left_out[0], is_failure="it cannot" not in left_out[0])
    return outcome


def outcome_of(cluster: Cluster, plan: FaultPlan) -> tuple[Outcome, list[str]]:
    """What comes of the plan on that cluster, and what was left out of it."""
    bring_home(cluster)
    since_s = cluster.world.faults.record.now_s()
    replay = Replay(cluster, plan)
    replay.run()
    owner, dead = owners(cluster), shot(cluster)
    verdict = replay.judge()
    groups = {}
    for group in cluster.world.groups:
        epochs, starts = counted(verdict.history, group, since_s) if verdict.history is not None else (0, 0)
        groups[group] = OfGroup(owner[group], epochs, starts)
    return Outcome(verdict.word, dead, groups), replay.left_out
