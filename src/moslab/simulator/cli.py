"""``moslab sim``, and ``python -m moslab.simulator``: runs seeds or a plan, and says what came of it.

Exit codes: 0 all valid, 1 some run is invalid, or an ordinary budget of seeds never reached something, 2 a wrong call
or plan, 3 nothing invalid but something unknown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mosha.arguments import Parser
from moslab.faults.plan import NODES_MAX, FaultPlan, PlanError, load
from moslab.history.checkers import INVALID, UNKNOWN, VALID
from moslab.history.stored import to_json
from moslab.seeds import seed_of, seeds_of
from moslab.simulator.campaign import SEEDS_MIN, Total, campaign, never_reached
from moslab.simulator.draw import draw_plan
from moslab.simulator.pypy import tune
from moslab.simulator.run import Result, run
from moslab.simulator.shrink import shrink

EXIT = {VALID: 0, INVALID: 1, UNKNOWN: 3}
FAILURES_MAX = 10
PROBLEMS_SHOWN = 5
PROGRAM = "moslab sim"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seeds", metavar="A..B", type=seeds_of, help="all of these")
    what.add_argument("--seed", metavar="N", type=seed_of, help="this one")
    what.add_argument("--plan", metavar="FILE", type=Path, help="a fault plan in JSON")
    parser.add_argument("-j", "--jobs", type=_positive, default=1, help="processes (default 1)")
    parser.add_argument("--nodes", metavar="N", type=_nodes, help="the size of the clusters, instead of drawing it")
    parser.add_argument("--trace", action="store_true", help="one line for each event")
    parser.add_argument("--save", metavar="FILE", type=Path, help="write its history there: moslab report FILE")
    parser.add_argument("--show", action="store_true", help="print the plan and run nothing")
    parser.add_argument("--no-shrink", action="store_true", help="leave a failing plan as long as it is")
    parser.add_argument(
        "--failures", metavar="N", type=_positive, default=FAILURES_MAX, help="stop after so many that fail",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="write the shrunk plan of a failing run there")
    parser.add_argument(
        "--sometimes", action="store_true",
        help=f"fail if something that should happen never did; with {SEEDS_MIN} seeds and more that is always so",
    )


def simulate(arguments: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    tune()
    try:
        if arguments.seeds is not None:
            if arguments.trace or arguments.show or arguments.save:
                raise PlanError("--trace, --show and --save are of one run: --seed N, or --plan FILE")
            return _many(arguments)
        if arguments.plan is not None and arguments.nodes:
            raise PlanError("--nodes is of seeds: a plan says itself how many there are")
        return _one(arguments)
    except (PlanError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m moslab.simulator``."""
    parser = Parser(prog=PROGRAM, description="Clusters under virtual time, from a seed.")
    add_arguments(parser)
    return simulate(parser.parse_args(argv))


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _nodes(text: str) -> int:
    nodes = _positive(text)
    if nodes > NODES_MAX:
        raise argparse.ArgumentTypeError(f"{nodes} nodes are more than {NODES_MAX}")
    return nodes


def _plan(arguments: argparse.Namespace) -> FaultPlan:
    if arguments.plan is None:
        return draw_plan(arguments.seed, arguments.nodes)
    return load(arguments.plan)


def _one(arguments: argparse.Namespace) -> int:
    plan = _plan(arguments)
    if arguments.show:
        sys.stdout.write(plan.to_json())
        return 0
    result = run(plan, traced=arguments.trace or arguments.save is not None)
    if arguments.save is not None:
        title = f"plan {arguments.plan}" if arguments.plan is not None else f"seed {plan.seed}"
        arguments.save.write_text(to_json(result.stored(title, _again(arguments))), encoding="utf-8")
    for line in result.trace if arguments.trace else ():
        print(line)
    print(_line(result))
    for problem in result.problems[:PROBLEMS_SHOWN]:
        print(f"  {problem}")
    if result.verdict != VALID:
        print(f"  replay: {_again(arguments)}")
    if result.verdict == INVALID and not arguments.no_shrink:
        _shrunk(result, arguments.out)
    return EXIT[result.verdict]


def _again(arguments: argparse.Namespace) -> str:
    """The command that runs the same once more, with a trace."""
    what = f"--plan {arguments.plan}" if arguments.plan is not None else f"--seed {arguments.seed}"
    return f"{PROGRAM} {what}{f' --nodes {arguments.nodes}' if arguments.nodes else ''} --trace"


def _many(arguments: argparse.Namespace) -> int:
    total = Total()
    for one in campaign(arguments.seeds, arguments.jobs, arguments.nodes, arguments.failures, total):
        if one.verdict != VALID:
            size = f" --nodes {arguments.nodes}" if arguments.nodes else ""
            print(f"seed {one.seed}: {one.verdict}: {'; '.join(one.problems[:PROBLEMS_SHOWN])}")
            print(f"  replay: {PROGRAM} --seed {one.seed}{size} --trace", flush=True)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in total.verdicts.items())
    print(
        f"{counts}; {total.virtual_s:.0f} virtual s in {total.real_s:.1f} s: {total.virtual_s / total.real_s:.0f} "
        f"times real time, {total.virtual_s / total.core_s:.0f} on one core; longest overlap of a thaw "
        f"{total.thaw_overlap_s:.4f} s"
    )
    never = never_reached(total.counters)
    if never:
        print(f"never reached: {', '.join(never)}")
    failing = [one for one in total.failed if one.verdict == INVALID]
    if failing and not arguments.no_shrink:
        _shrunk(run(draw_plan(failing[0].seed, arguments.nodes)), arguments.out)
    ordinary = len(arguments.seeds) >= SEEDS_MIN and not arguments.nodes
    if failing or (never and (ordinary or arguments.sometimes)):
        return 1
    return EXIT[UNKNOWN] if total.failed else 0


def _line(result: Result) -> str:
    plan = result.plan
    return (
        f"seed {plan.seed} ({plan.profile or 'plan'}): {result.verdict}; {plan.nodes} nodes, {len(plan.voters())} "
        f"voters, {len(plan.faults)} faults; recovered after {result.recovered_s:.1f} s; {result.virtual_s:.1f} "
        f"virtual s in {result.core_s:.2f} s of one core: {result.virtual_s / result.core_s:.0f} times real time, "
        f"{result.calls} events"
    )


def _shrunk(failed: Result, out: Path | None) -> None:
    small = shrink(failed)
    plan = small.plan
    print(f"shrunk from {len(failed.plan.faults)} to {len(plan.faults)} faults, {plan.nodes} nodes:")
    for problem in small.problems[:PROBLEMS_SHOWN]:
        print(f"  {problem}")
    if out is None:
        sys.stdout.write(plan.to_json())
        return
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"seed-{plan.seed}.json"
    file.write_text(plan.to_json(), encoding="utf-8")
    print(f"replay: {PROGRAM} --plan {file} --trace")
