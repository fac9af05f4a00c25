"""The worlds of containers: real agents on userland openMosix, judged by the journals that tickers write.

Rules:

1. Every group has a witness (:mod:`moslab.scenario.tables`), so anybody's cltab is observed and judged.
2. The history is of the engine's monotonic clock, from when this began; waits are of this machine's.
3. A cluster that is begun here lives as long as this process: its guard removes it, however the process ends, unless
   somebody keeps it (:mod:`moslab.guard`).
4. The world of namespaces is the same on an engine of this process's own (:mod:`moslab.namespaces`).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import docker
from docker.errors import DockerException
from docker.models.containers import Container

from mosha.tables.errors import TableErrors
from moslab import clients, journals
from moslab.cluster import POWERED, REQUESTS_MAX, Cluster, groups_limit_s
from moslab.errors import CannotError, LabError, NotBegunError, UnsupportedError
from moslab.faults.agents import states_of
from moslab.faults.docker import TABLES, Faults
from moslab.faults.fabric import Fabric, read_file
from moslab.guard import Guard
from moslab.history.intervals import Interval
from moslab.history.record import History, Line
from moslab.layout import Options
from moslab.logs import UNSURE_S, Logs
from moslab.namespaces.own import OwnEngine
from moslab.node import run
from moslab.progress import Progress
from moslab.scenario.leavings import Leavings
from moslab.scenario.tables import as_in, hactl_of, wanted, witnessed
from moslab.scenario.world import DOCKER, NAMESPACES, Output, Spec
from moslab.simulator.run import FILES_MAX, FILES_PER_NODE_MAX
from moslab.wait import REAL, eventually

LOOK_EVERY_S = 0.2


class DockerWorld:
    """See :class:`moslab.scenario.world.World`; around a cluster that runs."""

    def __init__(
        self, cluster: Cluster, groups: tuple[str, ...], spec: Spec, guard: Guard | None = None,
        own: OwnEngine | None = None, began: datetime | None = None,
    ) -> None:
        self.name = DOCKER if own is None else NAMESPACES
        self._own = own
        self.cluster, self.groups, self.spec = cluster, groups, spec
        self._guard = guard
        self._faults = Faults(cluster)
        self._faults.zero_s = self._faults.now_s()
        since = began or datetime.now(timezone.utc)
        self._logs = Logs(cluster.nodes, self._faults.removed, since, self._faults.ahead_s())
        self._seen: dict[int, dict[str, Any]] = {}           # what each agent said of all when that was last asked
        self._workloads: list[clients.Workload] = []
        self._leavings: Leavings | None = None
        self._read_s = self._judged_s = 0.0                  # until when the last history was, and the last judged one

    @classmethod
    def begin(
        cls, client: docker.DockerClient, name: str, spec: Spec, progress: Progress, own: OwnEngine | None = None,
    ) -> DockerWorld:
        """A new cluster (rule 3); ``own``: the engine, if it is this process's own (rule 4)."""
        if own is not None and spec.toxiproxy:
            raise UnsupportedError("put Toxiproxy between nodes")
        hactl = hactl_of(spec.cltab, spec.hactl)
        tables = {"cltab": witnessed(spec.cltab), "hactl": hactl}
        cluster = Cluster(client, name)
        options = Options(spec.profile, spec.stomith, tables, toxiproxy=spec.toxiproxy, networks=spec.networks)
        began = datetime.now(timezone.utc) - timedelta(seconds=UNSURE_S)         # nothing of it is older
        said: list[Line] = []
        try:
            guard = cluster.up(spec.nodes, progress, options=options, stays=False,
                               last_look=lambda: said.extend(_said(cluster, began)))
        except (CannotError, UnsupportedError):
            raise
        except LabError as error:
            raise NotBegunError(str(error), said) from None
        try:
            return cls(cluster, wanted(hactl), spec, guard, own, began)
        except BaseException:
            cluster.down()
            raise

    @classmethod
    def attach(cls, cluster: Cluster) -> DockerWorld:
        """A cluster that runs, as it is: its groups are those of its tables that write journals, also those which are
        on their way just now. LabError if none does."""
        written = {life.group for life in journals.read(cluster).lives}
        nodes = cluster.nodes()
        first = nodes[min(nodes)]
        cltab, hactl = (read_file(first, f"{TABLES}/{name}").decode(errors="replace") for name in ("cltab", "hactl"))
        try:
            shall_run = wanted(hactl)
        except TableErrors as errors:
            raise LabError(f'cluster "{cluster.names.cluster}": hactl of node {min(nodes)}: {errors}') from None
        groups = tuple(group for group in shall_run if group in written)
        if not groups:
            raise LabError(f'cluster "{cluster.names.cluster}": no group that shall run writes a journal now')
        fabric = Fabric(cluster)
        world = cls(cluster, groups, Spec(len(nodes), cltab=cltab, hactl=hactl, toxiproxy=fabric.is_routed,
                                          networks=fabric.present))
        world._faults.remember()
        return world

    def now_s(self) -> float:
        return REAL.now_s()

    def sleep(self, for_s: float) -> None:
        REAL.sleep(for_s)

    @property
    def nodes(self) -> tuple[int, ...]:
        return tuple(self.cluster.nodes())

    @property
    def faults(self) -> Faults:
        return self._faults

    def running(self, group: str) -> Sequence[Interval]:
        return tuple(Interval(*life[:6]) for life in self._look().running(group))

    def off(self) -> list[int]:
        nodes = self.cluster.nodes().items()
        return [node for node, container in nodes if container.status not in POWERED]

    def settle(self) -> None:
        self._faults.end()
        limit_s = groups_limit_s(len(self.nodes), self.spec.profile)
        try:
            self._seen.clear()
            eventually(self._agents, lambda seen: set(seen) == {"up"}, within_s=limit_s,
                       what="all agents are up", every_s=LOOK_EVERY_S)
        except LabError as error:
            words = [self.cluster.last_words(node) for node, page in self._seen.items() if not page]
            raise LabError("\n".join([str(error), *words])) from None
        self._faults.undrain(self._seen)
        eventually(self._owners, lambda seen: None not in seen.values(), within_s=limit_s,
                   what="every group runs on one node", every_s=LOOK_EVERY_S)
        if self._guard is not None and self._leavings is None:
            self._leavings = Leavings(self.cluster)

    def left(self) -> list[str]:
        """Of a cluster that was begun here."""
        return self._leavings.found() if self._leavings is not None else []

    def history(self) -> History:
        """What the journals, the logs, and the agents' directories show."""
        look = self._look(whole=True)
        history, self._read_s = look.history(self._judged_s), look.now_s
        history.nodes = len(self.nodes)
        self._logs.look(history.end_s)
        history.crashes += self._logs.crashes
        history.unfinished = "; ".join(filter(None, [history.unfinished, *self._logs.missed]))
        history.files_max = FILES_MAX + FILES_PER_NODE_MAX * len(self.nodes)
        running = {node: one for node, one in self.cluster.nodes().items() if one.status == "running"}
        with ThreadPoolExecutor(REQUESTS_MAX) as pool:
            history.files.update(zip(running, pool.map(_files, running.values())))
        for workload in self._workloads:
            history.registers += workload.registers
            history.operations += workload.operations()
        return history

    def is_judged(self) -> None:
        self._judged_s = self._read_s

    def edit(self, node: int, table: str, text: str) -> None:
        self._faults.edit(node, table, as_in(witnessed, table, text))

    def run(self, node: int, command: Sequence[str]) -> Output:
        return Output(*run(self.cluster.node(node), command))

    def serve(self, group: str, count: int, keys: int, port: int) -> clients.Workload:
        place = len(self._workloads)
        workload = clients.Workload(self.cluster, group, count, keys, port, place, self._faults.zero_s)
        self._workloads.append(workload)
        return workload

    def log(self) -> list[Line]:
        return self._logs.lines(self._faults.when_s)

    def plan(self) -> None:
        return None

    def keep(self) -> str:
        name = shlex.quote(self.cluster.names.cluster)
        if self._guard is not None:
            self._guard.commit()
        command = f"moslab --cluster {name}"
        if self._own is not None:
            self._own.stay()
            command = f"DOCKER_HOST={self._own.url} {command}"
        return f"kept: {command} status; remove it: {command} down"

    def close(self) -> None:
        self.cluster.down()
        if self._guard is not None:
            self._guard.abandon()

    # -- inside ------------------------------------------------------------------------------------

    def _look(self, whole: bool = False) -> journals.Look:
        return journals.read(self.cluster, whole).since(self._faults.zero_s)

    def _owners(self) -> dict[str, int | None]:
        look = self._look()
        return {group: look.owner(group) for group in self.groups}

    def _agents(self) -> list[str]:
        """How each node's agent sees all nodes; one that has seen them up is not asked again. A node that a late shot
        has hit is given power again, and is healed."""
        if self.off():
            self._faults.end()
            self._seen.clear()
        asked = [node for node in self.nodes if set(states_of(self._seen.get(node, {}))) != {"up"}]
        with ThreadPoolExecutor(REQUESTS_MAX) as pool:
            self._seen.update(zip(asked, pool.map(self._faults.status, asked)))
        return [state for page in self._seen.values() for state in states_of(page)]


def _said(cluster: Cluster, began: datetime) -> list[Line]:
    """By the nodes of a cluster that did not come up, since then; nothing where that cannot be read."""
    try:
        return Logs(cluster.nodes, {}, began).lines(lambda wall_s: wall_s - began.timestamp())
    except (DockerException, OSError):                       # what is wrong with the cluster is what must be shown
        return []


def _files(container: Container) -> int:
    """How many the agent there has; LabError if that is not known."""
    done = run(container, ["ls", "-A", "/var/mosix-ha"])
    if done.exit_code:
        raise LabError(f"the agent's directory on {container.name}: {done.stderr.strip()}")
    return len(done.stdout.splitlines())
