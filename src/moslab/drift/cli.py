"""``moslab drift``: the same fault plans in several worlds, and a report of where what came of them is not the same.

Exit codes: 0 if it is the same everywhere and valid, 1 if not, or if nothing was compared, 2 if it could not begin.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from moslab import engine
from moslab.drift.run import PLANS_MAX, drift, lines, report, shipped
from moslab.errors import CannotError
from moslab.faults.plan import FaultPlan, PlanError, load
from moslab.hosts.inventory import InventoryError, read
from moslab.namespaces.own import OwnEngine
from moslab.scenario.pool import Pool
from moslab.scenario.world import DOCKER, HOSTS, NAMESPACES, SIM

WORLDS = (SIM, NAMESPACES, DOCKER, HOSTS)
REPORT = "drift.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plans", metavar="PLAN", nargs="*", type=Path, help="default: those that are shipped")
    parser.add_argument("--world", metavar="W,W", help=f"of {', '.join(WORLDS)} (default: all that are at hand)")
    parser.add_argument("--inventory", metavar="FILE", type=Path, help="the machines of the world of hosts")
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("out/drift"), help="of the report (out/drift)")
    parser.set_defaults(run=_drift)


def _drift(arguments: argparse.Namespace) -> int:
    worlds = _worlds(arguments)
    plans = _plans(arguments.plans) if arguments.plans else shipped()
    try:
        inventory = read(arguments.inventory) if arguments.inventory else None
    except InventoryError as error:
        raise CannotError(str(error)) from None
    print(f"{len(plans)} plans in {', '.join(worlds)}", flush=True)
    pool = Pool(inventory)
    try:
        rows = drift(plans, worlds, pool, lambda text: print(f"  {text}", flush=True))
    finally:
        pool.close()
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / REPORT).write_text(report(rows), encoding="utf-8")
    print("\n".join([*lines(rows), f"report: {arguments.out / REPORT}"]))
    return 0 if all(row.is_same for row in rows) and any(len(row.outcomes) > 1 for row in rows) else 1


def _worlds(arguments: argparse.Namespace) -> list[str]:
    if arguments.world:
        worlds = list(dict.fromkeys(arguments.world.split(",")))
        unknown = [world for world in worlds if world not in WORLDS]
        if unknown:
            raise CannotError(f"drift: {unknown[0]!r} is none of {', '.join(WORLDS)}")
    else:
        worlds = [SIM, *_at_hand(), *[HOSTS] * bool(arguments.inventory)]
    if (HOSTS in worlds) != bool(arguments.inventory):
        raise CannotError("drift: --inventory FILE and --world hosts: one needs the other")
    if len(worlds) < 2:
        raise CannotError(f"drift: {worlds[0]} is one world: with which is it compared? --world {SIM},{NAMESPACES}")
    return worlds


def _at_hand() -> list[str]:
    found = []
    for world, begin in ((NAMESPACES, OwnEngine), (DOCKER, engine.connect)):
        try:
            begin().close()
        except CannotError:
            continue
        found.append(world)
    return found


def _plans(paths: list[Path]) -> dict[str, FaultPlan]:
    if len(paths) > PLANS_MAX:
        raise CannotError(f"drift: at most {PLANS_MAX} plans")
    try:
        return {path.stem: load(path) for path in paths}
    except PlanError as error:
        raise CannotError(str(error)) from None
