"""A cluster of nodes on a container engine.

Rules:

1. A cluster is known by its label alone. There is no state file; two clusters with different names do not
   meet.
2. A start makes the guard first (:mod:`moslab.guard`). Whatever goes wrong before the commit, Ctrl-C too,
   removes everything; if this process dies, the guard does that.
3. Objects with the label, of a start that was never complete, and no live power switch are leftovers: the next command
   removes them, and says so. Of a cluster that was complete only `down` removes anything, or a new start when no
   node of it runs any more (the engine was restarted).
"""

from __future__ import annotations

import secrets
import time
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from importlib import resources
from typing import Any, Callable

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from emulator import power
from moslab import demo
from moslab.errors import CannotError, LabError
from moslab.guard import Guard, StartAtWorkError, State, state_of
from moslab.image import ensure_image
from moslab.layout import CLUSTER, DEFAULTS, NODE, ROLE, SIZE, Layout, Names, Options, beat_s, lease_s
from moslab.network import create_network
from moslab.node import create_node, execute, run
from moslab.progress import Progress, Stage
from moslab.removal import is_anything_left, remove
from moslab.router import start_router
from moslab.streams import Piece
from moslab.toxiproxy import ensure_toxiproxy
from moslab.wait import eventually

POWERED = ("running", "paused")                              # states of containers: the node has power
REQUESTS_MAX = 4
"""At a time. More gains nothing on two cores, and Docker 20.10 can lose count of a network's endpoints."""
KEY_BYTES = 32
POWER_LIMIT_S = 15.0
SHUT_DOWN_LIMIT_S = 45.0
NODE_LIMIT_S, NODE_LIMIT_EACH_S = 60.0, 3.0
GROUPS_LIMIT_S, GROUPS_LIMIT_LEASES = 60.0, 12
LOG_LINES_OF_FAILURE = 15


def groups_limit_s(size: int, profile: str) -> float:
    """Within which all groups of so many nodes run, whatever was before: a large cluster has long leases."""
    return GROUPS_LIMIT_S + GROUPS_LIMIT_LEASES * lease_s(size, profile)


class AlreadyRunningError(LabError):
    """The cluster is there and complete."""

    exit_code = 0


class Cluster:
    """The cluster ``name`` on the engine of ``client``."""

    def __init__(self, client: docker.DockerClient, name: str) -> None:
        self.client = client
        self.names = Names(name)

    # -- as a whole --------------------------------------------------------------------------------

    def state(self) -> State:
        return state_of(self.client, self.names)

    def up(
        self, size: int, progress: Progress, groups: bool = True, options: Options = DEFAULTS, stays: bool = True,
        last_look: Callable[[], object] = lambda: None,
    ) -> Guard:
        """Start ``size`` nodes; return when all are ready and, with ``groups`` and agents, the groups run.

        Unless it ``stays`` it lives only as long as this process and the guard that is returned, whose commit makes it
        stay after all. Where it fails, ``last_look`` is called before all is removed.
        Raises AlreadyRunningError, CannotError while another command starts it, or LabError with what was
        seen last; then nothing is left.
        """
        self.refuse_second(progress)
        image = ensure_image(self.client, progress)
        if options.toxiproxy:
            ensure_toxiproxy(self.client, progress)
        profile = options.profile
        if options.agents and beat_s(size, profile) != beat_s(1, profile):
            progress.say(
                f"   {size} nodes: beat {beat_s(size, profile):g} s and lease {lease_s(size, profile):g} s instead of "
                f"{beat_s(1, profile):g} and {lease_s(1, profile):g}: the idle cluster stays under half the machine, "
                "moves take longer"
            )
        pool = ThreadPoolExecutor(REQUESTS_MAX)
        guard = None
        try:
            guard = self._start(size, image, progress, pool, options)
            self._await_nodes(size, progress, options.agents)
            if groups and options.agents:
                self._await_groups(size, progress, groups_limit_s(size, profile))
            if stays:
                guard.commit()
        except StartAtWorkError:
            raise
        except BaseException as error:
            progress.say("interrupted: removing what was started" if isinstance(error, KeyboardInterrupt)
                         else "failed: removing what was started")
            pool.shutdown(cancel_futures=True)
            if isinstance(error, LabError):
                last_look()
            remove(self.client, self.names.cluster)
            if guard is not None:
                guard.abandon()
            raise
        pool.shutdown()
        return guard

    def down(self) -> list[str]:
        """Remove everything; returns what there was."""
        return remove(self.client, self.names.cluster)

    def sweep_leftovers(self, progress: Progress) -> None:
        """Rule 3."""
        cluster = self.names.cluster
        if self.state() in (State.ABSENT, State.SWEEPING) and is_anything_left(self.client, cluster):
            with progress.stage(f'remove leftovers of cluster "{cluster}"'):
                remove(self.client, cluster)

    def size(self) -> int:
        """The number of nodes; CannotError if the cluster does not run."""
        try:
            labels = self.client.containers.get(self.names.power).labels
        except NotFound:
            try:
                labels = self.client.volumes.get(self.names.complete).attrs["Labels"]
            except NotFound:
                raise CannotError(
                    f'cluster "{self.names.cluster}" does not run.\n'
                    f"Start it: moslab --cluster {self.names.cluster} up 8"
                ) from None
        return int(labels[SIZE])

    # -- its nodes ---------------------------------------------------------------------------------

    def nodes(self) -> dict[int, Container]:
        """The containers by node number, in order."""
        wanted = [f"{label}={value}" for label, value in self.names.labels("node").items()]
        found = self.client.containers.list(all=True, filters={"label": wanted}, ignore_removed=True)
        return dict(sorted((int(container.labels[NODE]), container) for container in found))

    def others(self) -> dict[str, str]:
        """How the containers are that are no nodes, by name: the power switch, clients, what is between nodes."""
        found = self.client.api.containers(all=True, filters={"label": f"{CLUSTER}={self.names.cluster}"})
        return {one["Names"][0].lstrip("/"): one["State"] for one in found if one["Labels"].get(ROLE) != "node"}

    def node(self, node: int) -> Container:
        """The container of a node; CannotError if there is none."""
        try:
            container = self.client.containers.get(self.names.node(node))
        except NotFound:
            raise CannotError(f'there is no node {node} in cluster "{self.names.cluster}", '
                              f"which has {self.size()} nodes") from None
        if container.labels.get(ROLE) != "node":
            raise CannotError(f"container {container.name} is not ours")
        return container

    def kill(self, node: int) -> None:
        """Cut the power of a node, as :mod:`emulator.power` says. LabError if it is off already."""
        container = self.node(node)
        if container.status not in POWERED:
            raise LabError(f"node {node} is off already")
        if container.status == "paused" or not self._goes_silent(container):
            self._do(container.kill, good=409)
        self._await_status(container, "exited")

    def shut_down(self, node: int) -> None:
        """Have a node end all in order, then itself (rule 4 of :mod:`emulator.init`). LabError if it does not run."""
        container = self.node(node)
        if container.status != "running":
            raise LabError(f"node {node} does not run: it is {container.status}")
        self._do(lambda: container.kill("SIGTERM"), good=409)        # it was shot just now
        self._await_status(container, "exited", SHUT_DOWN_LIMIT_S)

    def start(self, node: int) -> None:
        """Give a node power again: it boots, with the disk as it was left. LabError if it has power."""
        container = self.node(node)
        if container.status == "paused":
            raise LabError(f"node {node} is paused; moslab resume {node}")
        if container.status == "running":
            raise LabError(f"node {node} runs already")
        before = container.attrs["State"]["StartedAt"]
        self._do(container.start)
        # not its status: it may have been shot again by now
        self._see(container, "StartedAt", lambda seen: seen != before, "boots")

    def pause(self, node: int) -> None:
        """Freeze a node: everything in it stands still, and nothing of it answers. LabError if it does not run."""
        container = self.node(node)
        if container.status != "running":
            raise LabError(f"node {node} does not run: it is {container.status}")
        eventually(lambda: self._freeze(container), within_s=POWER_LIMIT_S, what=f"{container.name} is frozen")
        self._await_status(container, "paused")

    def last_words(self, node: int) -> str:
        """What a node logged last, and what runs on it: for a message of failure."""
        container = self.node(node)
        lines = container.logs(tail=LOG_LINES_OF_FAILURE).decode(errors="replace")
        try:
            processes = run(container, ["ps", "-eo", "pid,ppid,stat,etimes,args"]).stdout
        except LabError as error:
            processes = str(error)
        return f"The last lines of {container.name} ({container.status}):\n{lines}\nIts processes:\n{processes}"

    def resume(self, node: int) -> None:
        """Thaw a node. LabError if it is not paused."""
        container = self.node(node)
        if container.status != "paused":
            raise LabError(f"node {node} is not paused: it is {container.status}")
        self._do(container.unpause)
        self._await_status(container, "running")

    def _goes_silent(self, container: Container) -> bool:
        """Whether it has ended by itself, in silence."""
        self._do(lambda: container.kill(power.SIGNAL.name), good=409)
        deadline_s = time.monotonic() + power.WITHIN_S
        while container.status == "running" and time.monotonic() < deadline_s:
            time.sleep(power.LOOK_EVERY_S)
            container.reload()
        return container.status == "exited"

    def _freeze(self, container: Container) -> bool:
        """False where the kernel could not stop all tasks just now: cgroup v1's freezer gives up on a busy node."""
        try:
            self._do(container.pause)
        except LabError as error:
            if "unable to freeze" not in str(error):
                raise
            return False
        return True

    @staticmethod
    def _do(action: Callable[[], Any], good: int = 304) -> None:
        try:
            action()
        except APIError as error:
            if error.status_code != good:
                raise LabError(str(error.explanation or error)) from None

    def _await_status(self, container: Container, status: str, within_s: float = POWER_LIMIT_S) -> None:
        self._see(container, "Status", lambda seen: seen == status, f"is {status}", within_s)

    @staticmethod
    def _see(
        container: Container, part: str, until: Callable[[str], bool], what: str, within_s: float = POWER_LIMIT_S,
    ) -> None:
        """Wait until that part of its state is so."""

        def look() -> str:
            container.reload()
            return str(container.attrs["State"][part])

        eventually(look, until, within_s=within_s, what=f"{container.name} {what}", every_s=0.05)

    # -- start -------------------------------------------------------------------------------------

    def refuse_second(self, progress: Progress) -> None:
        """Return when the name is free, leftovers removed; AlreadyRunningError, StartAtWorkError, CannotError."""
        state = self.state()
        if state is State.COMMITTED:
            name, size = self.names.cluster, self.size()
            raise AlreadyRunningError(f'cluster "{name}" is already running: {size} nodes')
        if state is State.STARTING:
            raise StartAtWorkError(self.names.cluster)
        if state is State.DAMAGED:
            name = self.names.cluster
            if any(container.status in POWERED for container in self.nodes().values()):
                raise CannotError(f'cluster "{name}" is running, but its power switch has died: no STOMITH.\n'
                                  f"Remove it: moslab --cluster {name} down")
            with progress.stage(f'remove what is left of cluster "{name}", none of whose nodes runs'):
                remove(self.client, name)
        self.sweep_leftovers(progress)

    def _start(
        self, size: int, image: str, progress: Progress, pool: ThreadPoolExecutor, options: Options
    ) -> Guard:
        """Guard, network, volume and all nodes, as much at a time as depends on nothing else."""
        with progress.stage("power switch, network, storage"):
            guard = Guard(self.client, self.names, image, size)
            started = pool.submit(guard.start)
            subnets = [
                pool.submit(create_network, self.client, self.names, number + 1) for number in range(options.networks)
            ]
            san = pool.submit(
                self.client.volumes.create, self.names.san, labels=self.names.labels("san")
            )
            _all([started, *subnets, san])
            keys = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES)
            first, *others = (subnet.result() for subnet in subnets)
            layout = Layout(size, first, *keys, options, second=others[0] if others else None)
        with progress.stage(f"{size} nodes in {' and '.join(map(str, [first, *others]))}") as stage:
            tables = dict(options.tables or demo.tables(layout.virtual))
            self._connect_power(guard, layout)
            if options.toxiproxy:
                start_router(self.client, self.names, image, layout)
            nodes = [
                pool.submit(self._start_node, image, layout, node, tables) for node in range(1, size + 1)
            ]
            for future in nodes:
                future.add_done_callback(
                    lambda _done: stage.detail(f"{sum(node.done() for node in nodes)} of {size}")
                )
            _all(nodes)
        return guard

    def _connect_power(self, guard: Guard, layout: Layout) -> None:
        self.client.networks.get(self.names.network).connect(guard.container, ipv4_address=layout.power)
        guard.serve(layout.serve)

    def _start_node(self, image: str, layout: Layout, node: int, tables: dict[str, str]) -> None:
        files = layout.node_files(node, tables)
        create_node(self.client, self.names, image, layout.addresses(node), node, files).start()

    def _await_nodes(self, size: int, progress: Progress, agents: bool) -> None:
        limit_s = NODE_LIMIT_S + NODE_LIMIT_EACH_S * size
        with progress.stage(f"all nodes ready (MFS mounted{', agents running' if agents else ''})") as stage:
            self._watch(size, size, "nodes" if agents else "openmosix", limit_s, stage)     # the last node to start

    def _await_groups(self, size: int, progress: Progress, limit_s: float) -> None:
        with progress.stage("groups run") as stage:
            self._watch(1, size, "groups", limit_s, stage)       # the one that `status` asks first

    def _watch(self, node: int, size: int, what: str, limit_s: float, stage: Stage) -> None:
        """Let a node watch the cluster from within; LabError with what it saw last."""
        script = resources.files("moslab").joinpath("watcher.py").read_text(encoding="utf-8")
        command = ["/usr/bin/python3", "-IS", "-c", script, str(size), f"{limit_s:g}", what]
        heard: list[str] = [""]

        def hear(piece: Piece) -> None:
            text = piece.data.decode(errors="replace").strip()
            if text:
                heard[0] = text.splitlines()[-1]
                stage.detail(heard[0])

        if execute(self.node(node), command, hear, limit_s + 30.0):
            nodes = self.nodes()
            troubled = next((number for number, c in nodes.items() if c.status != "running"), max(nodes))
            raise LabError(f"not within {limit_s:g} s; last seen: {heard[0]}\n{self.last_words(troubled)}")


def _all(futures: list[Future[Any]]) -> None:
    """Wait for all; the first exception of any is raised at once."""
    for future in wait(futures, return_when=FIRST_EXCEPTION).done:
        future.result()
