"""``moslab cut``, ``loss``, ``delay``, ``rate``, ``reset``, ``slow-close``: what ails links. ``unmap``: maps.

``heal`` ends all of these.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any, Callable

from moslab.cluster import POWERED, Cluster
from moslab.errors import CannotError
from moslab.faults import toxics
from moslab.faults.docker import Faults
from moslab.faults.links import Link, between, from_power
from moslab.faults.record import flap
from moslab.faults.targets import RING, check_unmapped, known, ring, select
from moslab.layout import called
from moslab.status import owner_of
from moslab.wait import REAL

Find = Callable[[argparse.Namespace], Cluster]
Command = Callable[[str, Any, str], argparse.ArgumentParser]
Begin = Callable[[Faults, frozenset[Link], argparse.Namespace], str]


def add_commands(command: Command, find: Find) -> None:
    """``find`` gives the cluster that is meant."""

    def added(name: str, begin: Begin, text: str, *amounts: tuple[str, type, str]) -> argparse.ArgumentParser:
        parser = command(name, lambda arguments: _begin(find(arguments), begin, arguments), text)
        parser.add_argument("whom", metavar="WHOM", help=f"1,2; owner of GROUP, half, not WHOM, WHOM+WHOM; {RING}")
        for metavar, kind, help_ in amounts:
            parser.add_argument("amount", metavar=metavar, type=kind, help=help_)
        parser.add_argument("--from", dest="others", metavar="WHOM", help="from whom (default: all others)")
        parser.add_argument("--one-way", action="store_true", help="only what the first send to the second")
        parser.add_argument("--for", dest="for_s", metavar="S", type=float, help="heal it after S seconds")
        parser.set_defaults(power=False, flap_s=None, network=None)
        return parser

    cut = added("cut", lambda faults, links, said: faults.cut(links, network=said.network),
                "cut links between nodes: packets are lost in silence")
    cut.add_argument("--power", action="store_true", help="from the power switch, too")
    cut.add_argument("--network", metavar="N", type=int, help="only in that one, 1 or 2 (moslab up --networks 2)")
    cut.add_argument("--flap", dest="flap_s", metavar="S", type=float, help="with --for: cut and whole for S in turns")
    added("loss", lambda faults, links, said: faults.cut(links, said.amount),
          "lose a share of the packets between nodes, at random", ("SHARE", float, "from 0 to 1, as 0.05"))
    delay = added("delay", lambda faults, links, said: faults.worsen(links, toxics.delay(said.amount, said.jitter)),
                  "what MFS sends between nodes arrives later", ("SECONDS", float, "by so much, each way"))
    delay.add_argument("--jitter", metavar="S", type=float, default=0.0, help="give or take up to S seconds (0)")
    added("rate", lambda faults, links, said: faults.worsen(links, toxics.rate(said.amount)),
          "connections of MFS between nodes carry no more than so much", ("KB", int, "thousand bytes a second"))
    added("reset", lambda faults, links, _: faults.worsen(links, toxics.reset()),
          "connections of MFS between nodes break, new ones too")
    added("slow-close", lambda faults, links, said: faults.worsen(links, toxics.slow_close(said.amount)),
          "that one side has closed a connection of MFS the other is told later", ("SECONDS", float, "by so much"))
    unmap = command("unmap", lambda arguments: _unmap(find(arguments), arguments),
                    "nodes are off the maps of openMosix on the others, and have nobody else on theirs")
    unmap.add_argument("whom", metavar="WHOM", help="1,2; owner of GROUP, half, not WHOM, WHOM+WHOM")
    unmap.add_argument("--on", metavar="WHOM", help="just off the maps of these (default: of all others with power)")
    heal = command("heal", lambda arguments: _heal(find(arguments), arguments), "heal one of these, or all but power")
    heal.add_argument("name", metavar="NAME", nargs="?", help="as it was printed: cut-1a2b")


def _begin(cluster: Cluster, begin: Begin, arguments: argparse.Namespace) -> int:
    links = _links(cluster, arguments)
    if arguments.flap_s and not arguments.for_s:
        raise CannotError("--flap needs --for")
    if arguments.flap_s and arguments.network is not None:
        raise CannotError("--flap is of all networks")
    if not all(0.0 < given < math.inf for given in (arguments.for_s, arguments.flap_s) if given is not None):
        raise CannotError("--for and --flap are seconds, more than 0")
    faults = _faults(cluster)
    if arguments.flap_s:
        times = max(1, int(arguments.for_s / arguments.flap_s / 2))
        flap(faults, REAL.sleep, links, arguments.flap_s, arguments.flap_s, times)
        return 0
    name = begin(faults, links, arguments)
    print(f"{name}: {len(links)} links; heal it: {called(arguments.cluster)} heal {name}", flush=True)
    if arguments.for_s:
        try:
            time.sleep(arguments.for_s)
        finally:
            faults.heal(name)
    return 0


def _faults(cluster: Cluster) -> Faults:
    faults = Faults(cluster)
    faults.remember()
    return faults


def _unmap(cluster: Cluster, arguments: argparse.Namespace) -> int:
    containers = cluster.nodes()
    gone = _chosen(cluster, arguments.whom)
    powered = tuple(node for node, container in containers.items() if container.status in POWERED)
    on = _chosen(cluster, arguments.on) if arguments.on is not None else powered
    check_unmapped(gone, on, arguments.on is not None)
    faults = _faults(cluster)
    for node in on:
        there = known(node, [*containers], [gone])
        faults.map(node, there)
        print(f"node {node}: on its map are {', '.join(map(str, there))}", flush=True)
    print(f"heal it: {called(arguments.cluster)} heal")
    return 0


def _chosen(cluster: Cluster, words: str) -> tuple[int, ...]:
    return select(words, [*cluster.nodes()], lambda group: owner_of(cluster, group))


def _links(cluster: Cluster, arguments: argparse.Namespace) -> frozenset[Link]:
    nodes = list(cluster.nodes())
    links = ring(nodes, arguments.whom, arguments.others)
    some = tuple(nodes) if links else _chosen(cluster, arguments.whom)
    rest = tuple(node for node in nodes if node not in some)
    others = _chosen(cluster, arguments.others) if arguments.others else rest
    links = links or between(some, others, arguments.one_way)
    if arguments.power:
        links |= from_power(some)
    if not links:
        raise CannotError("that are no links: all nodes are on one side; --from all are those among them")
    return links


def _heal(cluster: Cluster, arguments: argparse.Namespace) -> int:
    if arguments.name is not None:
        _faults(cluster).heal(arguments.name)
        print(f"{arguments.name} is healed")
        return 0
    faults = _faults(cluster)
    mended = faults.mend()
    print("".join(f"{line}\n" for line in mended), end="", flush=True)
    nodes = cluster.nodes()
    off = [node for node, container in nodes.items() if container.status != "running"]
    pages = {node: faults.status(node) for node in nodes if node not in off}
    drained = faults.undrain(pages)
    said = [*(f"node {node} is drained no more" for node in drained),
            *(f"node {node} is off: {called(arguments.cluster)} start {node}" for node in off)]
    print("".join(f"{line}\n" for line in said or ([] if mended else ["nothing was broken"])), end="")
    return 0
