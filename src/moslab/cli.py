"""``moslab``: start, look at, break and remove clusters.

Exit codes: 0 done, 1 failed, 2 cannot (a wrong call, a missing engine), 130 interrupted; ``exec`` gives the
command's own. This is the one place where expected errors become messages.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import DockerException

from emulator.mfs.fault import FaultError, parse
from emulator.mfs.pace import PACES, QUICK
from emulator.powerswitch.outlets import OUTLETS
from mosha.arguments import Parser
from moslab import (
    base,
    bench,
    bench_agent,
    bench_failover,
    bench_idle,
    bench_lab,
    bench_mfs,
    bench_sim,
    compose,
    engine,
    toxiproxy,
)
from moslab.cluster import AlreadyRunningError, Cluster
from moslab.drift import cli as comparison
from moslab.errors import CannotError, LabError
from moslab.faults import cli as links
from moslab.faults.docker import Faults
from moslab.faults.record import EXHAUSTIBLE, lines
from moslab.faults.signals import signal_of
from moslab.faults.targets import OWNER, select
from moslab.history.checkers import VALID, thaw_overlap_s
from moslab.history.stored import to_json
from moslab.layout import (
    DEFAULT_NAME,
    NODES_MAX,
    NODES_MIN,
    PROFILES,
    Names,
    Options,
    called,
    checked_name,
    checked_size,
)
from moslab.namespaces import own
from moslab.node import execute
from moslab.progress import Progress
from moslab.report import cli as report
from moslab.scenario import cli as scenarios
from moslab.scenario import cluster as scenario
from moslab.scenario.docker import DockerWorld
from moslab.scenario.world import Spec
from moslab.simulator import cli as simulator
from moslab.status import owner_of, render, status
from moslab.streams import Piece

INTERRUPTED = 130
NOTHING = "nothing"
WHOM = "as 3 or 1,2; owner of GROUP, one, minority, minority third, majority, half, all, not WHOM, WHOM+WHOM"
EXEC_LIMIT_S = 24 * 3600.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        exit_code = int(arguments.run(arguments))
        sys.stdout.flush()
        return exit_code
    except AlreadyRunningError as said:
        print(said)
        return said.exit_code
    except LabError as error:
        return _fail(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())   # whoever read has enough: `… | head`
        return 0
    except (DockerException, requests.RequestException, OSError) as error:
        return _fail(f"the engine: {getattr(error, 'explanation', None) or error}", 1)
    except KeyboardInterrupt:
        print("\nmoslab: interrupted", file=sys.stderr, flush=True)
        # not sys.exit: a second Ctrl-C must not wait for threads that wait for the engine; the guard does the rest
        os._exit(INTERRUPTED)


def _fail(text: str, exit_code: int) -> int:
    print(f"moslab: {text}", file=sys.stderr)
    return exit_code


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="moslab", description="Clusters of real nodes on one machine.")
    parser.add_argument(
        "--cluster", metavar="NAME", default=os.environ.get("MOSLAB_CLUSTER") or DEFAULT_NAME,
        help=f"which cluster (default: $MOSLAB_CLUSTER, else {DEFAULT_NAME})",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    def hits(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
        parser.add_argument("whom", metavar="WHOM", type=_whom, help=WHOM)
        return parser

    up = command("up", _up, "start a cluster, and wait until the demo groups run")
    up.add_argument("nodes", metavar="N", nargs="?", default="8", help=f"{NODES_MIN} to {NODES_MAX} (default 8)")
    up.add_argument("--profile", choices=sorted(PROFILES), default="default", help="beat and lease")
    up.add_argument("--no-stomith", action="store_true", help="nobody is shot: moves wait for the lease's end")
    up.add_argument("--arbitrator", action="store_true", help="the last node votes, and runs no group")
    up.add_argument("--no-agents", action="store_true", help="openMosix alone: nobody runs groups")
    up.add_argument("--mfs-time", choices=list(PACES), default=QUICK.name, help="of operations on other nodes' files")
    up.add_argument("--toxiproxy", action="store_true", help="MFS goes through it: delay, rate, reset, slow-close")
    up.add_argument("--networks", type=int, metavar="N", default=1, help="in which all nodes are: 1 (default) or 2")
    state = command("status", _status, "show nodes and groups")
    state.add_argument("--json", action="store_true", help="for programs")
    kill = command("kill", _kill, "cut the power of a node")
    which = kill.add_mutually_exclusive_group(required=True)
    which.add_argument("whom", metavar="WHOM", nargs="?", type=_whom, help=WHOM)
    which.add_argument("--group", metavar="GROUP", help="the node that owns this group")
    for name, text in (
        ("start", "give a node its power back: it boots"),
        ("reboot", "shut a node down in order, and have it boot"),
        ("lose-disk", "a node that is off gets a new, empty disk"),
        ("pause", "freeze a node"),
        ("resume", "thaw a node"),
    ):
        hits(command(name, _change, text))
        commands.choices[name].set_defaults(action=name.replace("-", "_"))
    execute_ = command("exec", _exec, "run a command in a node")
    execute_.add_argument("node", metavar="NODE", type=_node)
    execute_.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER)
    logs = command("logs", _logs, "what a node printed, also when it is off")
    logs.add_argument("node", metavar="NODE", type=_node)
    logs.add_argument("-f", "--follow", action="store_true", help="go on as it prints more")
    links.add_commands(command, _existing)
    tell = hits(command("signal", _signal, "send a signal to processes of a node"))
    tell.add_argument("role", metavar="ROLE", help="agent, `leash GROUP`, `guardians GROUP` (both) or `group GROUP`")
    tell.add_argument("signal", metavar="SIGNAL", help="KILL, STOP, CONT, TERM, …")
    files = hits(command("files", _files, "faults of a node's files for who uses them by /mfs, until there are others"))
    files.add_argument("faults", metavar="JSON", nargs="?", default="[]", help="a list, as in docs/emulator.md (none)")
    outlet = hits(command("outlet", _outlet, "break an outlet of the power switch: STOMITH of that node then ends so"))
    outlet.add_argument("how", metavar="HOW", choices=OUTLETS, help=", ".join(OUTLETS))
    exhaust = hits(command("exhaust", _exhaust, "an agent gets no more memory or descriptors than it has, or again"))
    exhaust.add_argument("what", metavar="WHAT", choices=[*EXHAUSTIBLE, NOTHING],
                         help=f"{', '.join(EXHAUSTIBLE)}; {NOTHING}: relieve it of all")
    for name, metavar, text in (
        ("jump-clock", "SECONDS", "a node's agent has a wall clock that is off by so much; 0: right again"),
        ("slew-clock", "PART", "the clock of its deadlines runs faster by so much of 1, as 0.008, or slower; 0: right"),
    ):
        wrong = hits(command(name, _clock, text))
        wrong.add_argument("by", metavar=metavar, type=float)
        wrong.set_defaults(is_slewed=name == "slew-clock")
    scenarios.add_chaos(command("chaos", None, "break things at random, from a seed, and judge what came"), _existing)
    scenarios.add_drill(command("drill", None, "kill, cut off, freeze: how long is a group away?"), _existing)
    ran = command("history", _history, "when the tickers ran, by their journals; exit code 1 if two nodes did at once")
    ran.add_argument("--save", metavar="FILE", type=Path, help="write it there as well: moslab report FILE")
    report.add_arguments(command("report", report.report, "show a history.json: text, a page, a trace for Perfetto"))
    simulator.add_arguments(command("sim", simulator.simulate, "run clusters under virtual time, from a seed"))
    comparison.add_arguments(command("drift", None, "carry fault plans out in several worlds: where do these differ?"))
    command("down", _down, "remove the cluster and all that belongs to it")
    measure = command("bench-up", _bench_up, "measure the start of 8 nodes against 8 bare containers")
    measure.add_argument("-n", "--rounds", type=int, default=bench.ROUNDS, help=f"default {bench.ROUNDS}")
    lab = command("bench-lab", _bench_lab, "measure tests of the laboratory: time, two workers, namespaces")
    lab.add_argument("-n", "--rounds", type=int, default=bench_lab.ROUNDS, help=f"default {bench_lab.ROUNDS}")
    lab.add_argument("--scenarios", metavar="FOLDER", type=Path, default=bench_lab.SCENARIOS,
                     help=f"simulated (default {bench_lab.SCENARIOS})")
    failover = command("bench-failover", _bench_failover, "measure cold start, failover and planned move")
    failover.add_argument("-n", "--rounds", type=int, default=bench_failover.ROUNDS,
                          help=f"default {bench_failover.ROUNDS}")
    failover.add_argument("--nodes", metavar="N,N", default=",".join(map(str, bench_failover.SIZES)))
    failover.add_argument("--profiles", metavar="P,P", default=",".join(bench_failover.PROFILES_MEASURED))
    speed = command("bench-sim", _bench_sim, "measure how fast the simulator is, and what more nodes cost")
    speed.add_argument("--nodes", metavar="N,N", default=",".join(map(str, bench_sim.SIZES)))
    speed.add_argument("--seconds", metavar="S", type=float, default=bench_sim.SECONDS,
                       help=f"virtual, of the larger clusters (default {bench_sim.SECONDS:g})")
    speed.add_argument("--without-pypy", action="store_true", help="measure CPython only")
    mfs = command("bench-mfs", _bench_mfs, "measure MFS beside passthrough_ll and sshfs, and its cuts")
    mfs.add_argument("-n", "--rounds", type=int, default=bench_mfs.ROUNDS, help=f"default {bench_mfs.ROUNDS}")
    mfs.add_argument("--seconds", metavar="S", type=float, default=bench_mfs.SECONDS,
                     help=f"of each measure in each round (default {bench_mfs.SECONDS:g})")
    idle = command("bench-idle", _bench_idle, "measure openMosix at rest, and its tools")
    idle.add_argument("--nodes", metavar="N", default=str(bench_idle.NODES), help=f"default {bench_idle.NODES}")
    idle.add_argument("--seconds", metavar="S", type=float, default=bench_idle.SECONDS,
                      help=f"at rest (default {bench_idle.SECONDS:g})")
    agent = command("bench-agent", _bench_agent, "measure the agent at rest, level changes and respawns")
    agent.add_argument("--nodes", metavar="N", default=str(bench_agent.NODES), help=f"default {bench_agent.NODES}")
    agent.add_argument("--seconds", metavar="S", type=float, default=bench_agent.SECONDS,
                       help=f"at rest (default {bench_agent.SECONDS:g})")
    agent.add_argument("-n", "--rounds", type=int, default=bench_agent.ROUNDS, help=f"default {bench_agent.ROUNDS}")
    written = command("compose", _compose, "print a cluster as a compose project: compose/README.md")
    written.add_argument("nodes", metavar="N", nargs="?", default="5", help=f"{NODES_MIN} to {NODES_MAX} (default 5)")
    command("toxiproxy-image", _toxiproxy_image, f"let the engine have {toxiproxy.IMAGE}: pulled, else made with Go")
    command("base-image", _base_image, f"let the engine have {base.BASE}: pulled, else made with debootstrap")
    return parser


def _node(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= NODES_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no node number (1 to {NODES_MAX})")
    return int(text)


def _whom(text: str) -> str:
    """Words that may name nodes."""
    if text.isascii() and text.isdigit():
        return str(_node(text))
    try:
        select(text, range(1, NODES_MAX + 1), lambda _group: 1)
    except CannotError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _meant(cluster: Cluster, whom: str) -> tuple[int, ...]:
    """The nodes; CannotError if there are none."""
    nodes = select(whom, list(cluster.nodes()), lambda group: owner_of(cluster, group))
    if not nodes:
        raise CannotError(f"{whom}: that is nobody")
    return nodes


def _broken(arguments: argparse.Namespace) -> Iterator[tuple[Faults, int]]:
    """With each of the nodes that are meant what breaks and mends them."""
    cluster = _existing(arguments)
    faults = Faults(cluster)
    faults.remember()
    for node in _meant(cluster, arguments.whom):
        yield faults, node


def _cluster(arguments: argparse.Namespace) -> Cluster:
    """By its name: in an engine of namespaces that has it, else on the container engine."""
    name = checked_name(arguments.cluster)
    return Cluster(own.engine_of(name), name)


def _existing(arguments: argparse.Namespace) -> Cluster:
    """The cluster, if it runs; leftovers of it are removed, and then it does not."""
    cluster = _cluster(arguments)
    cluster.sweep_leftovers(Progress())
    cluster.size()
    return cluster


def _up(arguments: argparse.Namespace) -> int:
    size, progress = checked_size(arguments.nodes), Progress()
    name = checked_name(arguments.cluster)
    options = Options(
        arguments.profile, not arguments.no_stomith, arbitrator=arguments.arbitrator, mfs_time=arguments.mfs_time,
        agents=not arguments.no_agents, toxiproxy=arguments.toxiproxy, networks=arguments.networks,
    )
    client, begun = _engine(name, progress)
    try:
        cluster = Cluster(client, name)
        if begun is not None and options.toxiproxy:
            raise CannotError("up: there is no Toxiproxy without a container engine, and none could be had")
        cluster.up(size, progress, options=options)
        if begun is not None:
            begun.stay()
    finally:
        if begun is not None:
            begun.close()
    print(render(status(cluster)))
    if options.agents:
        print(_what_next(cluster.names.cluster, progress.took_s, by_make="MAKELEVEL" in os.environ))
    return 0


def _engine(name: str, progress: Progress) -> tuple[docker.DockerClient, own.OwnEngine | None]:
    """That which has the cluster; else the container engine, which is brought if it may be; else a new one of
    namespaces, which is given, too. CannotError if there can be neither."""
    is_default = engine.where().is_default
    found = own.client_of(name) if is_default else None
    if found is not None:
        return found, None
    try:
        return engine.ensure(progress), None
    except LabError as error:
        if not is_default:
            raise
        reason = str(error)
    try:
        begun = own.OwnEngine()
    except CannotError as error:
        raise CannotError(f"{reason}\n{error}") from None
    progress.say(f"{reason.splitlines()[0]}\nSo the nodes are processes in namespaces: DOCKER_HOST={begun.url}")
    return begun.client(), begun


def _what_next(name: str, took_s: float, by_make: bool) -> str:
    """What to type next, in the words of whoever asked: make, or this command."""
    if by_make:
        other = "" if name == DEFAULT_NAME else f" CLUSTER={name}"
        calls = [f"make {call}{other}" for call in ("kill GROUP=kv", "status", "start NODE=n", "down")]
    else:
        calls = [f"{called(name)} {call}" for call in ("kill --group kv", "status", "start NODE", "down")]
    texts = (
        "kill the node that runs the service", "see it come up elsewhere", "bring the node back", "remove everything",
    )
    width = max(map(len, calls))
    lines = [f"  {call.ljust(width)}   {text}" for call, text in zip(calls, texts)]
    return "\n".join([f"\nUp in {took_s:.1f} s. What next:", *lines])


def _status(arguments: argparse.Namespace) -> int:
    state = status(_existing(arguments))
    print(json.dumps(state) if arguments.json else render(state))
    return 0


def _kill(arguments: argparse.Namespace) -> int:
    if arguments.group is not None:
        arguments.whom = f"{OWNER}{arguments.group}"
    for faults, node in _broken(arguments):
        faults.kill(node)
        print(f"node {node} is off", flush=True)
    return 0


def _change(arguments: argparse.Namespace) -> int:
    done = {"start": "has power and boots", "reboot": "has shut down, and boots", "lose_disk": "has a new disk",
            "pause": "is frozen", "resume": "runs again"}[arguments.action]
    for faults, node in _broken(arguments):
        getattr(faults, arguments.action)(node)
        print(f"node {node} {done}", flush=True)
    return 0


def _exec(arguments: argparse.Namespace) -> int:
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise CannotError("exec: which command? moslab exec NODE COMMAND …")

    def show(piece: Piece) -> None:
        stream = (sys.stderr if piece.stream == 2 else sys.stdout).buffer
        stream.write(piece.data)
        stream.flush()

    return execute(_existing(arguments).node(arguments.node), command, show, EXEC_LIMIT_S)


def _logs(arguments: argparse.Namespace) -> int:
    container = _existing(arguments).node(arguments.node)
    for piece in container.logs(stream=True, follow=arguments.follow):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    return 0


def _signal(arguments: argparse.Namespace) -> int:
    number = signal_of(arguments.signal)
    for faults, node in _broken(arguments):
        pids = faults.signal(node, arguments.role, number)
        print(f"{number.name} to {arguments.role} of node {node}: {' '.join(map(str, pids))}", flush=True)
    return 0


def _files(arguments: argparse.Namespace) -> int:
    try:
        of_files = [fault.given for fault in parse(arguments.faults)]
    except FaultError as error:
        raise CannotError(str(error)) from None
    for faults, node in _broken(arguments):
        faults.files(node, of_files)
        print(f"node {node}: {len(of_files) or 'no'} faults of its files", flush=True)
    return 0


def _outlet(arguments: argparse.Namespace) -> int:
    for faults, node in _broken(arguments):
        faults.outlet(node, arguments.how)
        print(f"outlet {node}: {arguments.how}", flush=True)
    return 0


def _exhaust(arguments: argparse.Namespace) -> int:
    for faults, node in _broken(arguments):
        for what in EXHAUSTIBLE if arguments.what == NOTHING else [arguments.what]:
            (faults.relieve if arguments.what == NOTHING else faults.exhaust)(node, what)
        print(f"node {node}: {arguments.what} {'are' if arguments.what.endswith('s') else 'is'} exhausted", flush=True)
    return 0


def _clock(arguments: argparse.Namespace) -> int:
    for faults, node in _broken(arguments):
        if arguments.is_slewed:
            faults.slew(node, arguments.by)
            print(f"node {node}: its clock is slewed by {arguments.by:g}", flush=True)
        else:
            faults.jump(node, arguments.by)
            print(f"node {node}: its wall clock is off by {arguments.by:g} s", flush=True)
    return 0


def _history(arguments: argparse.Namespace) -> int:
    cluster = _existing(arguments)
    world = DockerWorld(cluster, (), Spec(len(cluster.nodes())))
    seen = scenario.Cluster(world, 0)
    world.faults.remember()                                  # now, so that all of it is what was seen
    run = seen.stored(f"cluster {cluster.names.cluster}", None, "", "")
    if arguments.save is not None:
        arguments.save.write_text(to_json(run), encoding="utf-8")
    for interval in sorted(run.history.intervals, key=lambda interval: (interval.group, interval.begin_s)):
        print(f"{interval.group:<12} node {interval.node:<3} epoch {interval.epoch or '-':<14} "
              f"{interval.begin_s:10.3f} s to {interval.end_s:9.3f} s")
    print("".join(f"{line}\n" for line in lines(run.faults)), end="")
    thaw_s = thaw_overlap_s(run.history)
    print("\n".join(run.problems) or f"never twice{f', but for {thaw_s:.3f} s after a thaw' if thaw_s else ''}")
    print(run.unseen or "something was seen of every rule")
    return 0 if run.verdict == VALID else 1


def _down(arguments: argparse.Namespace) -> int:
    cluster = _cluster(arguments)
    found = cluster.down()
    name = cluster.names.cluster
    print(f'cluster "{name}" is gone' if found else f'there was no cluster "{name}"')
    return 0


def _bench_up(arguments: argparse.Namespace) -> int:
    progress = Progress()
    if arguments.rounds < 1:
        raise CannotError(f"bench-up: at least one round, not {arguments.rounds}")
    return bench.bench_up(engine.ensure(progress), arguments.rounds, progress)


def _bench_lab(arguments: argparse.Namespace) -> int:
    return bench_lab.bench_lab(arguments.rounds, arguments.scenarios, Progress())


def _bench_failover(arguments: argparse.Namespace) -> int:
    sizes = [checked_size(text) for text in arguments.nodes.split(",")]
    profiles = arguments.profiles.split(",")
    unknown = set(profiles) - set(PROFILES)
    if arguments.rounds < 1 or unknown:
        raise CannotError(f"bench-failover: at least one round, and profiles of {', '.join(PROFILES)}")
    progress = Progress()
    client = engine.ensure(progress)
    return bench_failover.bench_failover(client, arguments.rounds, sizes, profiles, progress)


def _bench_sim(arguments: argparse.Namespace) -> int:
    try:
        sizes = [int(text) for text in arguments.nodes.split(",")]
    except ValueError:
        raise CannotError(f"bench-sim: {arguments.nodes!r} is not a list of numbers") from None
    return bench_sim.bench_sim(sizes, arguments.seconds, not arguments.without_pypy, Progress())


def _bench_mfs(arguments: argparse.Namespace) -> int:
    return bench_mfs.bench_mfs(arguments.rounds, arguments.seconds, Progress())


def _bench_idle(arguments: argparse.Namespace) -> int:
    size, progress = checked_size(arguments.nodes), Progress()
    if arguments.seconds <= 0:
        raise CannotError("bench-idle: some seconds")
    return bench_idle.bench_idle(engine.ensure(progress), size, arguments.seconds, progress)


def _bench_agent(arguments: argparse.Namespace) -> int:
    size, progress = checked_size(arguments.nodes), Progress()
    if arguments.seconds <= 0 or arguments.rounds < 1:
        raise CannotError("bench-agent: some seconds, and at least one round")
    client = engine.ensure(progress)
    return bench_agent.bench_agent(client, size, arguments.seconds, arguments.rounds, progress)


def _compose(arguments: argparse.Namespace) -> int:
    print(compose.render(Names(checked_name(arguments.cluster)), checked_size(arguments.nodes)), end="")
    return 0


def _toxiproxy_image(_arguments: argparse.Namespace) -> int:
    progress = Progress()
    toxiproxy.ensure_toxiproxy(engine.ensure(progress), progress)
    print(f"{toxiproxy.IMAGE} is there")
    return 0


def _base_image(_arguments: argparse.Namespace) -> int:
    progress = Progress()
    base.ensure_base(engine.ensure(progress), progress)
    print(f"{base.BASE} is there")
    return 0
