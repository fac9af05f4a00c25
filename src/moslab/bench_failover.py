"""``bench-failover``: how long a group does not run, when its cluster starts, its node dies, and it is moved.

Rules:

1. All times are of the engine's machine, which its nodes share. A group has stopped when its ticker wrote last (every
   10 ms), and runs when the first process of its level was executed, which writes down the time before anything else.
2. One cluster for each number of nodes and profile; each round is a first boot, a cold start and a death without
   STOMITH, a death and a planned move with it, and between two of them all nodes are up again.
3. Cold start: all nodes lost power and got it back; it counts from when a majority of the agents had been started.
   First boot: the same, but the tables are all that is on their disks, as where nobody has founded the cluster. Both
   without STOMITH: here the power of all is not cut at one instant, and the last would shoot the first.
4. Planned move: the owner's agent is told to end (SIGTERM), as when a node is taken down.
5. Nodes carry nothing but this group, and one process, begun before the fault (at a start, when all have power), is
   what waits for it to run again: a command for each look would take the nodes' processors.
6. Beside each median stands what the protocol alone takes (:mod:`moslab.bench_protocol`: the same code, no processor to
   wait for), and how busy the engine's processors were meanwhile, whoever kept them so: of nodes, engine and others. A
   verdict is about what was measured in containers, and about nothing else.
"""

from __future__ import annotations

import json
import signal
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from threading import Event
from typing import Any, Callable, NamedTuple, TypeVar

import docker
from docker.models.containers import Container

from mosha.timing import Timing
from moslab import bench, bench_protocol, journals
from moslab.bench_protocol import COLD, FIRST, LEASE, MOVE, SHOT
from moslab.cluster import REQUESTS_MAX, Cluster
from moslab.errors import LabError
from moslab.faults.docker import Faults
from moslab.faults.targets import quorum
from moslab.journals import Life, Look
from moslab.layout import STOMITH, Options, beat_s, lease_s
from moslab.node import EXEC_LIMIT_S, run
from moslab.progress import Progress
from moslab.wait import eventually

T = TypeVar("T")

ROUNDS = 10
SIZES = (3, 5, 8)
PROFILES_MEASURED = ("default", "fast")
CLUSTER = "bench-failover"
GROUP = "bench"
RUN_LIMIT_S, UP_LIMIT_S = 60.0, 60.0
STEADY_S = 1.0
"""A group that ran for so long in a cluster whose nodes are all up is what a measurement begins with."""

TARGETS_S = {
    (COLD, "default"): 2.0, (SHOT, "default"): 1.5, (LEASE, "default"): 4.0, (MOVE, "default"): 0.05,
    (COLD, "fast"): 2.0, (SHOT, "fast"): 0.6, (LEASE, "fast"): 1.2, (MOVE, "fast"): 0.05,
}
METRICS = (FIRST, COLD, SHOT, LEASE, MOVE)
ALONE = "the protocol alone"
FIRST_AFTER_WAIT_S = 1.0
"""A first boot takes W, the wait of voters that remember nothing, and at most so much more."""
GROWTH_MAX = 1.3
"""The largest cluster takes at most so many times what the smallest takes."""

TABLES = {
    "cltab": f"{GROUP}:fit:test:test:test -d /san\n"
             f'{GROUP}:run:start:respawn:date "+%s%N $MOSHA_NODE" >>/san/{GROUP}.exec; '
             f"exec /usr/lib/mosha/demo/tick /san/{GROUP}\n",
    "hactl": f"{GROUP} start\n",
}
FORGET = "cd /var/mosix-ha && rm -f voter founded agents *.j.* *.slots.*"
EXECS = f"""
import json, time
from pathlib import Path
lines = Path("/san/{GROUP}.exec").read_text().splitlines()[-64:]
ahead = time.time() - time.monotonic()
print(json.dumps([[int(at) / 1e9 - ahead, int(node)] for at, node in map(str.split, lines)]))
"""
EDIT = 'grep -qx -- "$2" /etc/mosha.conf || { sed -i "s|^$1stomith = .*|$2|" /etc/mosha.conf; exit 9; }'
SAMPLES = """
import time
for _ in range(200_000):
    with open("/proc/stat") as stat, open("/tmp/busy", "a") as found:
        ticks = list(map(int, stat.readline().split()[1:9]))
        print(time.monotonic(), sum(ticks) - sum(ticks[3:5]), sum(ticks), file=found)
    time.sleep(0.05)
"""
BUSY = """
import sys
begin_s, end_s = map(float, sys.argv[1:])
samples = [tuple(map(float, line.split())) for line in open("/tmp/busy") if line.endswith(chr(10))]
before = max((one for one in samples if one[0] <= begin_s), default=samples[0])
after = min((one for one in samples if one[0] >= end_s), default=samples[-1])
print((after[1] - before[1]) / max(1, after[2] - before[2]))
"""
AGENT_BORN = """
import os, re, time
ahead = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        command, stat = open(f"/proc/{pid}/cmdline").read(), open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    except OSError:
        continue
    if re.search(r"/usr/s?bin/mosha\\0$", command) and stat[1] == "1":
        print(int(stat[19]) / os.sysconf("SC_CLK_TCK") - ahead)
"""


class Span(NamedTuple):
    """For which the group did not run, on the engine's clock."""

    begin_s: float
    end_s: float


class Took(NamedTuple):
    """One measurement: how long, and the share of the processors' time in which they were busy."""

    seconds: float
    busy: float


class Round:
    """The measurements on one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.switch = cluster.client.containers.get(cluster.names.power)
        self.nodes = sorted(cluster.nodes())
        self.faults = Faults(cluster)

    def took(self, span: Span) -> Took:
        """Rule 6."""
        busy = float(_python(self.switch, BUSY, str(span.begin_s), str(span.end_s)))
        return Took(span.end_s - span.begin_s, busy)

    def first_boot(self) -> Span:
        """Rule 3."""
        self._steady()
        self._set_stomith(False)
        self._steady()
        self._each(self._forget)
        return self.cold_start()

    def cold_start(self) -> Span:
        """Rule 3."""
        self._each(self._power_off)
        off_s = self.faults.now_s()
        self._each(self.faults.start)
        journals.wait_for_run(self.cluster.node(self.nodes[0]), GROUP, off_s, RUN_LIMIT_S, lambda: None)
        born_s = sorted(float(_python(self.cluster.node(node), AGENT_BORN)) for node in self.nodes)
        return Span(born_s[quorum(len(born_s)) - 1], self._executed_after(off_s))

    def death(self, stomith: bool) -> Span:
        """Its node loses power, with STOMITH or without."""
        self._steady()
        self._set_stomith(stomith)
        before = self._steady()
        span = self._moved(before, lambda: self.faults.kill(before.node))
        self.faults.end()
        return span

    def move(self) -> Span:
        """Rule 4."""
        before = self._steady()
        return self._moved(before, lambda: self.faults.signal(before.node, "agent", signal.SIGTERM))

    def _moved(self, before: Life, fault: Callable[[], object]) -> Span:
        """From the last sign of the old run to the first process of the next, which the fault brings about; rule 5."""
        other = self.cluster.node(next(node for node in self.nodes if node != before.node))
        looks = Event()
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(journals.wait_for_run, other, GROUP, before.end_s, RUN_LIMIT_S, looks.set)
            looks.wait(EXEC_LIMIT_S)
            fault()
            waits.result()
        look = journals.read(self.cluster, whole=True)
        end_s = next(life.end_s for life in look.lives if life[:5] == before[:5])
        return Span(end_s, self._executed_after(end_s))

    def _steady(self) -> Life:
        """The group's run, when all nodes are up."""
        eventually(self._agents, lambda seen: set(seen) == {"up"}, within_s=UP_LIMIT_S, what="all agents are up")
        look = self._wait_running(lambda _life: True)
        return self._wait_running(lambda life: life.end_s > look.now_s + STEADY_S).running(GROUP)[0]

    def _agents(self) -> list[str]:
        pages = [run(container, ["mosha", "status", "--json"]) for container in self.cluster.nodes().values()]
        views = [json.loads(page.stdout) if page.exit_code == 0 else {} for page in pages]
        return [node["state"] for view in views for node in view.get("nodes", [{"state": "none"}])]

    def _wait_running(self, until: Callable[[Life], bool]) -> Look:
        def holds(look: Look) -> bool:
            runs = look.running(GROUP)
            return len(runs) == 1 and until(runs[0])

        return eventually(lambda: journals.read(self.cluster), holds, within_s=RUN_LIMIT_S, what=f"{GROUP} runs")

    def _executed_after(self, time_s: float) -> float:
        alive = next(container for container in self.cluster.nodes().values() if container.status == "running")
        later = [at_s for at_s, _node in json.loads(_python(alive, EXECS)) if at_s > time_s]
        if not later:
            raise LabError(f"nothing was executed after {time_s:.3f}")
        return float(min(later))

    def _power_off(self, node: int) -> None:
        self._unless_shot(node, self.faults.kill)

    def _unless_shot(self, node: int, action: Callable[[int], None]) -> None:
        """Those that have STOMITH, and live still, may be first."""
        try:
            action(node)
        except LabError:
            if self.cluster.node(node).status != "exited":
                raise

    def _set_stomith(self, on: bool) -> None:
        """Change the setting on all nodes, and restart those agents that had another. One of so many may be late, and
        be shot for it by those that have STOMITH: it gets its power back, and begins with the new setting."""
        mark, want = ("#", STOMITH) if on else ("", f"#{STOMITH}")
        edit = ["sh", "-c", EDIT, "sh", mark, want]
        had_another = self._each(lambda node: run(self.cluster.node(node), edit).exit_code == 9)
        others = [node for node, had in zip(self.nodes, had_another) if had]
        self._each(lambda node: self._unless_shot(node, self.faults.restart_agent), others)
        eventually(self._powered, lambda seen: set(seen) == {"up"}, within_s=UP_LIMIT_S, what="all agents are up again")

    def _powered(self) -> list[str]:
        for node in self.nodes:
            if self.cluster.node(node).status == "exited":
                self.faults.start(node)
        try:
            return self._agents()
        except LabError:                             # one was shot while this looked
            return []

    def _forget(self, node: int) -> None:
        done = run(self.cluster.node(node), ["sh", "-c", FORGET])
        if done.exit_code:
            raise LabError(f"node {node}: {done.stderr.strip()}")

    def _each(self, action: Callable[[int], T], nodes: list[int] | None = None) -> list[T]:
        """What it gives for each node, all at once; of all nodes, or of these."""
        with ThreadPoolExecutor(REQUESTS_MAX) as pool:
            return list(pool.map(action, self.nodes if nodes is None else nodes))


def _python(container: Container, script: str, *arguments: str) -> str:
    done = run(container, ["/usr/bin/python3", "-IS", "-c", script, *arguments])
    if done.exit_code:
        raise LabError(f"{container.name}: {done.stderr.strip()}")
    return done.stdout


def bench_failover(
    client: docker.DockerClient, rounds: int, sizes: list[int], profiles: list[str], progress: Progress
) -> int:
    """Measure, print a table with verdicts, write ``out/bench/failover.json``; 0 if every target is met, else 1."""
    took: dict[tuple[str, str, int], list[Took]] = defaultdict(list)
    with progress.stage("the protocol alone, under virtual time"):
        alone = {
            (metric, profile, size): bench_protocol.median_s(
                metric, beat_s(size, profile), lease_s(size, profile), size, ROUNDS)
            for metric in METRICS for profile in profiles for size in sizes
        }
    for profile in profiles:
        for size in sizes:
            cluster = Cluster(client, CLUSTER)
            try:
                cluster.up(size, progress, options=Options(profile, tables=TABLES))
                _watch_processors(cluster)
                for number in range(1, rounds + 1):
                    with progress.stage(f"{profile}, {size} nodes: round {number} of {rounds}"):
                        for metric, one in measure(Round(cluster)):
                            took[profile, metric, size].append(one)
            except LabError:
                _keep_logs(cluster)
                raise
            finally:
                cluster.down()
                rows = _rows(took, alone)
                bench.write("failover", rows)        # what there is, should this or a later one have failed
    return bench.conclude("failover", rows)


def _rows(
    took: dict[tuple[str, str, int], list[Took]], alone: dict[tuple[str, str, int], float]
) -> list[dict[str, Any]]:
    """Of all that was measured by now."""
    found = [
        row(metric, profile, size, values, alone[metric, profile, size])
        for (profile, metric, size), values in sorted(took.items())
    ]
    return found + growth(took, alone)


def _keep_logs(cluster: Cluster) -> None:
    """What its nodes have said, ``out/bench/failover-node1.log`` and so on."""
    bench.OUT.mkdir(parents=True, exist_ok=True)
    for node, container in cluster.nodes().items():
        (bench.OUT / f"failover-node{node}.log").write_bytes(container.logs(timestamps=True))


def _watch_processors(cluster: Cluster) -> None:
    """From the power switch, which no fault touches, for as long as it lives."""
    cluster.client.containers.get(cluster.names.power).exec_run(["/usr/bin/python3", "-IS", "-c", SAMPLES], detach=True)


def measure(on: Round) -> list[tuple[str, Took]]:
    """One round, rule 2."""
    return [
        (FIRST, on.took(on.first_boot())), (COLD, on.took(on.cold_start())), (LEASE, on.took(on.death(False))),
        (SHOT, on.took(on.death(True))), (MOVE, on.took(on.move())),
    ]


def target_s(metric: str, profile: str, size: int) -> float:
    """At most so long."""
    if metric == FIRST:
        timing = Timing(beat_s(size, profile), lease_s(size, profile))
        return round(timing.recovery_s + FIRST_AFTER_WAIT_S, 3)
    return TARGETS_S[metric, profile]


def row(metric: str, profile: str, size: int, values: list[Took], alone_s: float) -> dict[str, Any]:
    """What was measured of one thing, for the table; ``alone_s``: what the protocol alone takes."""
    median_s, target = median(one.seconds for one in values), target_s(metric, profile, size)
    busy = median(one.busy for one in values)
    made = bench.row(
        f"{metric}, {profile}, N={size}", "s", len(values), median_s, target, peer=round(alone_s, 3),
        peer_name=f"{ALONE}; processors {busy:.0%} busy", ratio=round(median_s / alone_s, 2),
    )
    return {**made, "busy": round(busy, 3)}


def growth(
    took: dict[tuple[str, str, int], list[Took]], alone: dict[tuple[str, str, int], float]
) -> list[dict[str, Any]]:
    """How much longer the largest cluster takes than the smallest, for everything that was measured on both: in
    containers, and the protocol alone, each with its verdict."""
    rows = []
    for profile, metric in sorted({key[:2] for key in took}):
        by_size = {size: values for (p, m, size), values in took.items() if (p, m) == (profile, metric)}
        least, most = min(by_size), max(by_size)
        if least < most:
            medians = {size: median(one.seconds for one in by_size[size]) for size in (least, most)}
            name, count = f"{metric}, {profile}, N={most} / N={least}", len(by_size[most])
            rows.append(bench.row(name, "x", count, medians[most] / medians[least], GROWTH_MAX))
            protocol = alone[metric, profile, most] / alone[metric, profile, least]
            rows.append(bench.row(f"{name}, protocol", "x", ROUNDS, protocol, GROWTH_MAX))
    return rows
