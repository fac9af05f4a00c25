"""Faults in containers: each is recorded with its begin and end, all compose, and :meth:`Faults.end` heals the rest.

Rules:

1. Times are of the engine's monotonic clock, as those of the journals, from a zero that whoever judges may set
   (``zero_s``); what begin and end mean is in :mod:`moslab.faults.record`.
2. A lost disk is that of a new machine with the old one's name: the cluster's configuration is on it, as from an
   installer, and nothing else; links that are cut stay cut, and clocks wrong, as they are no part of the disk. A node
   that joins is a new machine with a new number, and with the configuration of another node.
3. Freezes of nodes and groups are written down beside the journals, by the node itself, before they begin and after
   they end: who judges the journals, in whatever process, knows them.
4. Of a cluster that is up for other programs than this one the record goes on from what those have broken
   (:meth:`Faults.remember`); of one that a test has begun, and nobody else knows, it is this process's.
"""

from __future__ import annotations

import ipaddress
import json
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

from docker.errors import NotFound
from docker.models.containers import Container

from emulator import clocks
from emulator.powerswitch.outlets import DIRECTORY as OUTLETS_DIRECTORY
from emulator.powerswitch.outlets import WORKS
from moslab.cluster import POWERED, REQUESTS_MAX, Cluster
from moslab.errors import CannotError, LabError
from moslab.faults.agents import STOPPED, Agents
from moslab.faults.fabric import Fabric, addresses_of, read_file
from moslab.faults.inside import EXHAUST, RELIEVE
from moslab.faults.kept import Kept
from moslab.faults.links import FILE, Link, kind_of, shown
from moslab.faults.record import (
    CLOCK,
    EDIT,
    EXHAUSTED,
    EXHAUSTIBLE,
    FILES,
    MAP,
    OF_LINKS,
    OF_POWER,
    OFF,
    OUTLET,
    PAUSE,
    REBOOT,
    STOP,
    WALL_CLOCK,
    Record,
    check_exhaustible,
    check_outlet,
)
from moslab.faults.toxics import Toxic
from moslab.layout import archive, as_seen_by
from moslab.logs import Removed
from moslab.node import create_node, run

MAP_FILE = "/etc/openmosix.map"
INSTALLED = {
    MAP_FILE: 0o644, "/etc/openmosix/key": 0o600, "/etc/openmosix/mfs_time": 0o644, "/etc/mosha.conf": 0o644,
    "/etc/powerswitch.json": 0o600, FILE: 0o644, clocks.FILE: 0o644,
}
NODE = "node"                    # the role of a whole node
KILLED = 137                     # how a command ends whose container is killed
GROW = f'printf %s "$1" >>{MAP_FILE}; setpe -w -f {MAP_FILE}'
WAS = "#was "                    # before each line of the whole map, in one that lacks nodes
LACK = f'''
grep -q '^{WAS}' {MAP_FILE} || sed -i 's/^/{WAS}/' {MAP_FILE}
sed -i '/^{WAS}/!d' {MAP_FILE}
printf %s "$1" >>{MAP_FILE}
setpe -w -f {MAP_FILE}'''
KNOW = f"grep -q '^{WAS}' {MAP_FILE} || exit 0; sed -i -n 's/^{WAS}//p' {MAP_FILE}; setpe -w -f {MAP_FILE}"
TABLES = "/var/mosix-ha"
SAVE = 'printf %s "$2" >"$1.new"; mv "$1.new" "$1"'
SET_OUTLET = 'mkdir -p "$1"; printf %s "$3" >"$1/.$2"; mv "$1/.$2" "$1/$2"'
MFS_FAULTS = "/openmosix/proc/mfs/faults"
STANDS, DISTURBED, IS_SHORT, AMISS = "stands still", "files have faults", "gets no more", "clocks are wrong"
LACKS = "map lacks nodes"
LOOK = f"""
grep -qs '^{WAS}' {MAP_FILE} && echo {LACKS}
grep -qs {clocks.WRONG.decode().strip()} {clocks.FILE} && echo {AMISS}
[ "$1" ] || for stat in /proc/[0-9]*/stat; do
    read -r line 2>/dev/null <"$stat" || continue
    case ${{line##*) }} in T*) echo {STANDS}; exit ;; esac
done
grep -q do {MFS_FAULTS} && echo {DISTURBED}
grep -hs '^Max address space\\|^Max open files' /proc/[0-9]*/limits | grep -qv ' \\([^ ][^ ]*\\)  *\\1 ' &&
    echo {IS_SHORT}
"""
"""Whether a node's map lacks nodes; its clocks are wrong; anything of it stands still; if not, or if that does not
matter, whether its files have faults, and whether a process may have less than it could get (soft and hard limits)."""


class Faults(Agents):
    """The faults of one cluster. Threads may share it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.fabric = Fabric(cluster)
        self.record = Record(self.now_s)
        self.removed: dict[str, Removed] = {}                # by its id, the log of a container that was
        self.zero_s = 0.0
        self._offset_s, self._wall_s = self._clocks()

    def now_s(self) -> float:
        """The engine's monotonic clock (rule 1)."""
        return time.monotonic() + self._offset_s - self.zero_s

    def when_s(self, wall_s: float) -> float:
        """That moment of the engine's wall clock, if that went on as it did when this began."""
        return wall_s - self._wall_s - self.zero_s

    def ahead_s(self) -> float:
        """What the engine's wall clock is ahead of this machine's."""
        return self.now_s() + self.zero_s + self._wall_s - time.time()

    def remember(self) -> None:
        """Take what others have broken into the record, and keep for them what is broken from now on (rule 4)."""
        kept = Kept(self.cluster)
        for event in kept.read():
            self.record.take(event.since(self.zero_s))
        self.record.keep = lambda event: kept.add(event.since(-self.zero_s))
        status = {node: container.status for node, container in self.cluster.nodes().items()}
        for kind, is_so in ((OFF, ("exited", "created")), (PAUSE, ("paused",))):
            for _, node, _ in self.record.lasting(kind):
                if status.get(node) not in is_so:
                    self.record.ends(kind, node)             # by another hand

    # -- nodes -------------------------------------------------------------------------------------

    def kill(self, node: int) -> None:
        """Cut its power."""
        with self.record.lasts(OFF, node):
            self.cluster.kill(node)

    def start(self, node: int) -> None:
        """Give it power; also after STOMITH, which is no fault of ours."""
        self.cluster.start(node)
        for kind, whom, detail in self.record.lasting():
            if whom == node and kind in OF_POWER:
                self.record.ends(kind, node, detail)

    def reboot(self, node: int) -> None:
        with self.record.instant(REBOOT, node):
            self.cluster.shut_down(node)
            self.start(node)

    def pause(self, node: int) -> None:
        with self.record.lasts(PAUSE, node):
            if self.cluster.node(node).status == "running":
                self._inside(node, NODE, signal.SIGSTOP)     # rule 3
            self.cluster.pause(node)

    def resume(self, node: int) -> None:
        self.cluster.resume(node)
        self.record.ends(PAUSE, node)
        try:
            self._inside(node, NODE, signal.SIGCONT)
        except LabError:
            if self.cluster.node(node).status == "running":  # else it was shot
                raise

    def lose_disk(self, node: int) -> None:
        """Give a node that is off a new disk (rule 2); it stays off."""
        with self.record.instant("lose disk", node):
            self._renew(node)

    def join(self) -> int:
        """A new node comes onto the map of all nodes, which must run, and boots (rule 2); its number."""
        if self.fabric.is_routed:
            raise CannotError("no node joins where MFS goes through Toxiproxy: its proxies are those of the start")
        nodes = self.cluster.nodes()
        like, new = nodes[max(nodes)], max(nodes) + 1
        addresses = [str(ipaddress.IPv4Address(address) + 1) for address in addresses_of(like)]
        lines = f"{new} {addresses[0]} 1\n" + "".join(f"{new} {alias} ALIAS\n" for alias in addresses[1:])
        with self.record.instant("join", new):
            for node in nodes:
                self._configure(node, [GROW, "map", lines])
            self._create(new, like, addresses, set(INSTALLED) - {FILE})
            self.cluster.start(new)
            self.fabric = Fabric(self.cluster)
        return new

    # -- processes ---------------------------------------------------------------------------------

    def pids(self, node: int, role: str) -> list[int]:
        """The processes of a role; none if there are none."""
        done = run(self.cluster.node(node), self._command(node, role))
        return [int(pid) for pid in done.stdout.split()]

    # -- links -------------------------------------------------------------------------------------

    def cut(self, links: Iterable[Link], loss: float = 1.0, network: int | None = None) -> str:
        """Cut links, in one network or in all, or lose that share of their packets; returns the name."""
        wanted = sorted(links)
        begin_s = self.now_s()
        name = self.fabric.cut(wanted, loss, network)
        said = [f"network {network}"] * (network is not None) + [f"{loss:.2%}"] * (loss != 1)
        self.record.begins(kind_of(name), 0, name, begin_s, shown(wanted, ", ".join(said)))
        return name

    def worsen(self, links: Iterable[Link], toxic: Toxic) -> str:
        """What MFS sends over these links meets that; returns the name. CannotError as :meth:`Fabric.worsen`."""
        wanted = sorted(links)
        begin_s = self.now_s()
        name = self.fabric.worsen(wanted, toxic)
        self.record.begins(toxic.kind, 0, name, begin_s, shown(wanted, toxic.said))
        return name

    def heal(self, name: str) -> None:
        self.fabric.heal(name)
        self.record.ends(kind_of(name), 0, name)

    # -- files -------------------------------------------------------------------------------------

    def files(self, node: int, faults: Sequence[Mapping[str, object]]) -> None:
        """Have these faults, and no others, of a node's files for who uses them through MFS (docs/emulator.md)."""
        given = json.dumps(faults)
        begin_s = self.now_s()
        done = run(self.cluster.node(node), ["sh", "-c", f'printf %s "$1" >{MFS_FAULTS}', "files", given])
        if done.exit_code:
            raise LabError(f"node {node} takes no such faults of files; moslab logs {node} says why")
        self.record.ends(FILES, node)
        if faults:
            self.record.begins(FILES, node, "", begin_s, given)

    def disturb(self, node: int, error: float, hang: float, full: bool = False) -> None:
        faults = [{"do": "error", "errno": "EIO", "chance": error}, {"do": "hang", "chance": hang}]
        self.files(node, [*(fault for fault in faults if fault["chance"]), *[{"do": "full"}] * full])

    # -- resources ---------------------------------------------------------------------------------

    def exhaust(self, node: int, what: str) -> None:
        check_exhaustible(what)
        with self.record.lasts(EXHAUSTED, node, what):
            self._carry_out(node, "agent", EXHAUST, what)

    def relieve(self, node: int, what: str) -> None:
        check_exhaustible(what)
        self._carry_out(node, NODE, RELIEVE, what)
        self.record.ends(EXHAUSTED, node, what)

    # -- clocks ------------------------------------------------------------------------------------

    def slew(self, node: int, by: float) -> None:
        self._set_clock(node, CLOCK, "slew", by)

    def jump(self, node: int, by_s: float) -> None:
        self._set_clock(node, WALL_CLOCK, "jump", by_s)

    # -- maps --------------------------------------------------------------------------------------

    def map(self, node: int, nodes: Sequence[int]) -> None:
        begin_s, is_whole = self.now_s(), {*nodes} >= {*self.cluster.nodes()}
        lines = "".join(f"{other} {self._seen(node, other)} 1\n" for other in nodes)
        aliases = self.fabric.networks[1].items()
        lines += "".join(f"{other} {alias} ALIAS\n" for other, alias in aliases if other in nodes)
        self._configure(node, [KNOW] if is_whole else [LACK, "map", lines])
        self.record.ends(MAP, node)
        if not is_whole:
            self.record.begins(MAP, node, "", begin_s, f"of {' '.join(map(str, nodes))}")

    # -- power, operators --------------------------------------------------------------------------

    def outlet(self, node: int, how: str) -> None:
        """An outlet of the power switch (docs/faults.md); LabError for a word that it does not know."""
        check_outlet(how)
        begin_s = self.now_s()
        switch = self.cluster.client.containers.get(self.cluster.names.power)
        done = run(switch, ["sh", "-ec", SET_OUTLET, "outlet", OUTLETS_DIRECTORY, str(node), how])
        if done.exit_code:
            raise LabError(f"outlet {node}: {done.stderr.strip()}")
        self.record.ends(OUTLET, node)
        if how != WORKS:
            self.record.begins(OUTLET, node, "", begin_s, how)

    def edit(self, node: int, table: str, text: str) -> None:
        with self.record.instant(EDIT, node, table):
            done = run(self.cluster.node(node), ["sh", "-ec", SAVE, "edit", f"{TABLES}/{table}", text])
            if done.exit_code:
                raise LabError(f"{table} of node {node}: {done.stderr.strip()}")

    # -- all ---------------------------------------------------------------------------------------

    def end(self) -> None:
        """End what still lasts, whoever began it; nodes that are off are given power."""
        self.mend()
        for node, container in self.cluster.nodes().items():
            if container.status != "running":
                self.start(node)
                self._mend_inside(node)

    def mend(self) -> list[str]:
        """End all but a lack of power and drains, whoever began it; what it was, a line for each."""
        said = []
        for node, container in self.cluster.nodes().items():
            if container.status == "paused":
                self.resume(node)
                said.append(f"node {node} runs again")
        said += [f"{name} is healed" for name in self.fabric.heal()]
        for kind, _, name in self.record.lasting():
            if kind in OF_LINKS:
                self.record.ends(kind, 0, name)
        running = [node for node, container in self.cluster.nodes().items() if container.status == "running"]
        with ThreadPoolExecutor(REQUESTS_MAX) as pool:
            broken = pool.submit(self._outlets)
            said += [one for found in pool.map(self._mend_inside, running) for one in found]
        for kind, node, what in self.record.lasting():
            if kind in (STOP, FILES, EXHAUSTED):             # by another hand, or with its process or node
                self.record.ends(kind, node, what)
            elif kind in (CLOCK, WALL_CLOCK, MAP) and node in running:
                self.record.ends(kind, node)                 # by another hand
        for node in sorted(broken.result() | {node for _, node, _ in self.record.lasting(OUTLET)}):
            self.outlet(node, WORKS)
            said.append(f"outlet {node} works")
        return said

    # -- inside ------------------------------------------------------------------------------------

    def _set_clock(self, node: int, kind: str, do: str, by: float) -> None:
        """(:mod:`emulator.clocks`)"""
        begin_s = self.now_s()
        done = run(self.cluster.node(node), [clocks.PROGRAM, do, repr(by)])
        if done.exit_code:
            raise LabError(f"the clocks of node {node}: {done.stderr.strip()}")
        self.record.ends(kind, node)
        if by:
            self.record.begins(kind, node, "", begin_s, f"{by:+g}")

    def _seen(self, by: int, node: int) -> str:
        """The address of a node in the map of that one."""
        address = self.fabric.addresses[node]
        return as_seen_by(by, address) if self.fabric.is_routed and by != node else address

    def _configure(self, node: int, script: Sequence[str]) -> None:
        """openMosix, by its map."""
        done = run(self.cluster.node(node), ["sh", "-ec", *script])
        if done.exit_code:
            raise LabError(f"the map of node {node}: {done.stderr.strip()}")

    def _mend_inside(self, node: int) -> list[str]:
        """Of a node that runs: its map is whole, its clocks are right, what stands still goes on, its files have no
        faults, nobody is exhausted."""
        said, container = [], self.cluster.node(node)
        try:
            seen = run(container, ["sh", "-c", LOOK]).stdout
            if LACKS in seen:
                self._configure(node, [KNOW])
                said.append(f"node {node}: its map is whole")
            if AMISS in seen:
                self.slew(node, 0.0)
                self.jump(node, 0.0)
                said.append(f"node {node}: its clocks are right")
            if STANDS in seen:
                pids = run(container, [*self._command(node, STOPPED), str(int(signal.SIGCONT))]).stdout.split()
                said += [f"node {node}: what stood still goes on"] if pids else []
                seen = run(container, ["sh", "-c", LOOK, "look", "files"]).stdout
            if DISTURBED in seen:
                self.files(node, [])
                said.append(f"node {node}: no faults of its files")
            if IS_SHORT in seen:
                for what in EXHAUSTIBLE:
                    self.relieve(node, what)
                said.append(f"node {node}: nobody is exhausted")
        except LabError:
            container.reload()
            if container.status == "running":                # else it was shot just now, and all has ended
                raise
        return said

    def _outlets(self) -> set[int]:
        """The outlets that are broken; none where the power switch has died."""
        try:
            switch = self.cluster.client.containers.get(self.cluster.names.power)
            found = run(switch, ["sh", "-c", f"cd {OUTLETS_DIRECTORY} && grep -Hv {WORKS} *"]).stdout
        except (NotFound, LabError):
            return set()
        return {int(line.partition(":")[0]) for line in found.splitlines()}

    def _inside(self, node: int, role: str, signo: int) -> list[int]:
        return self._carry_out(node, role, str(int(signo)))

    def _carry_out(self, node: int, role: str, *words: str) -> list[int]:
        done = run(self.cluster.node(node), [*self._command(node, role), *words])
        if done.exit_code == KILLED:
            raise LabError(f"node {node} lost its power while a command looked there for its {role}")
        if done.exit_code:
            raise LabError(f"node {node} has no {role}{': ' if done.stderr else ''}{done.stderr.strip()}")
        return [int(pid) for pid in done.stdout.split()]

    def _mosha(self, node: int, words: Sequence[str]) -> tuple[int, str, str]:
        done = run(self.cluster.node(node), ["mosha", *words])
        return done.exit_code, done.stdout, done.stderr

    @staticmethod
    def _command(node: int, role: str) -> list[str]:
        script = resources.files("moslab.faults").joinpath("inside.py").read_text(encoding="utf-8")
        return ["/usr/bin/python3", "-IS", "-c", script, str(node), role]

    def _clocks(self) -> tuple[float, float]:
        """What the engine's monotonic clock is ahead of this machine's, exact to half of what one command takes; and
        what its wall clock is ahead of its monotonic one."""
        container = next((c for c in self.cluster.nodes().values() if c.status == "running"), None)
        if container is None:
            return 0.0, time.time() - time.monotonic()
        before_s = time.monotonic()
        shown = run(container, ["/usr/bin/python3", "-IS", "-c", "import time; print(time.monotonic(), time.time())"])
        monotonic_s, wall_s = map(float, shown.stdout.split())
        return monotonic_s - (before_s + time.monotonic()) / 2, wall_s - monotonic_s

    def _renew(self, node: int) -> None:
        container = self.cluster.node(node)
        if container.status in POWERED:
            raise LabError(f"node {node} runs: a disk is lost while the node is off")
        self._create(node, container, addresses_of(container), set(INSTALLED))

    def _create(self, node: int, like: Container, addresses: Sequence[str], paths: Iterable[str]) -> None:
        """A machine that has these files of another one, which is removed if it has the same number."""
        image = like.image
        if image is None:
            raise LabError(f"{like.name} has no image")
        files = {path.lstrip("/"): (read_file(like, path), INSTALLED[path]) for path in sorted(paths)}
        if like.name == self.cluster.names.node(node):
            self.removed[str(like.id)] = Removed(node, like.logs(timestamps=True))
            like.remove(v=False)
        create_node(self.cluster.client, self.cluster.names, str(image.id), addresses, node, archive(files))
