"""``moslab chaos`` and ``moslab drill``: faults on a cluster that runs, and what came of them.

Exit codes: 0 if nothing was wrong, 1 if something was, 2 if it could not begin, 130 when interrupted. All is healed in
each case.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

from moslab.cluster import Cluster as Containers
from moslab.duration import seconds
from moslab.errors import CannotError, LabError
from moslab.faults.record import lines
from moslab.history.checkers import VALID
from moslab.layout import called
from moslab.scenario.chaos import chaos, put_back
from moslab.scenario.cluster import Cluster
from moslab.scenario.docker import DockerWorld
from moslab.scenario.drill import drill
from moslab.seeds import new_seed, seed_of

Find = Callable[[argparse.Namespace], Containers]


def add_chaos(parser: argparse.ArgumentParser, find: Find) -> None:
    """``find`` gives the cluster that is meant."""
    parser.add_argument("--seed", type=seed_of, metavar="N", help="of faults, targets and times (default: a new one)")
    parser.add_argument("--for", dest="for_s", type=seconds, default=120.0, metavar="TIME", help="as 90, 90s, 2m (2m)")
    parser.set_defaults(run=lambda arguments: _chaos(arguments, find))


def add_drill(parser: argparse.ArgumentParser, find: Find) -> None:
    """``find`` gives the cluster that is meant."""
    parser.add_argument("--group", metavar="GROUP", help="default: the first that runs")
    parser.set_defaults(run=lambda arguments: _drill(arguments, find))


def _chaos(arguments: argparse.Namespace, find: Find) -> int:
    seed = new_seed() if arguments.seed is None else arguments.seed
    cluster = Cluster(DockerWorld.attach(find(arguments)), seed)
    print(f"seed {seed}, {arguments.for_s:g} s, groups {', '.join(cluster.world.groups)}", flush=True)
    with _healed(cluster):
        verdict = chaos(cluster, arguments.for_s, lambda text: print(f"  {text}", flush=True))
    unseen = f"; {verdict.unseen}" if verdict.unseen else ""
    print(f"{len(cluster.faults)} faults; the history is {verdict.word}{unseen}")
    if verdict.word != VALID:
        print("\n".join([*verdict.problems, "what was broken:", *lines(cluster.faults)]), file=sys.stderr)
        print(f"again: {called(arguments.cluster)} chaos --seed {seed} --for {arguments.for_s:g}s", file=sys.stderr)
        return 1
    return 0


def _drill(arguments: argparse.Namespace, find: Find) -> int:
    cluster = Cluster(DockerWorld.attach(find(arguments)), 0)
    groups = cluster.world.groups
    if arguments.group and arguments.group not in groups:
        raise CannotError(f"{arguments.group} writes no journal, so nothing is known of it; {', '.join(groups)} does")
    group = cluster.group(arguments.group or groups[0])
    print(f"{'group ' + group.name:<24} {'from':>5} {'to':>5} {'away':>9} {'overlap':>9}", flush=True)
    overlap_s = 0.0
    with _healed(cluster):
        for step in drill(cluster, group):
            overlap_s = max(overlap_s, step.overlap_s)
            print(f"{step.what:<24} {step.before:>5} {step.after:>5} {max(0.0, step.away_s):>7.3f} s "
                  f"{step.overlap_s:>7.3f} s", flush=True)
        verdict = cluster.check()
    print(f"the history is {verdict.word}")
    return 1 if overlap_s else 0


@contextmanager
def _healed(cluster: Cluster) -> Iterator[None]:
    """Whatever ends the block early, all is healed then. What a scenario expected in vain is a LabError."""
    try:
        yield
    except BaseException as error:
        try:
            cluster.world.settle()
            put_back(cluster)
        except LabError as problem:
            print(f"moslab: not all could be healed: {problem}; moslab heal, moslab start NODE", file=sys.stderr)
        if isinstance(error, AssertionError):
            raise LabError(str(error)) from None
        raise
