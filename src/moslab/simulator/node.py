"""A modelled machine: clock, disk, processes, power; what a boot brings and what a crash leaves.

Rules:

1. A clock runs at ``rate`` times true time, at most 1 % from it; it begins anew at each boot, or goes on, as the plan
   says. The wall clock is another, and may jump.
2. Without power nothing lives, and of the disk is left what :meth:`Disk.crash` leaves: all of it, and for others to be
   used, where it is on a file server. The run directory is empty after.
3. A frozen machine does nothing; its clocks go on, or stand still as those of a guest whose virtual machine is paused.
   After the thaw everything that waited happens, in any order.
4. Init starts the agent after a boot and after each of its ends; or that of 2003, which has no end but the node's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

from mosha.config import Config
from mosha.ownership import marker
from moslab.simulator.disk import Disk
from moslab.simulator.elder import Elder
from moslab.simulator.guardian import Guardian
from moslab.simulator.network import Weather
from moslab.simulator.process import Member, Process
from moslab.simulator.world import SimWorld

if TYPE_CHECKING:
    from moslab.simulator.cluster import Cluster

WALL_S = 1_800_000_000.0
THAW_MAX_S = 0.004
TEAR_MAX_S = 0.02
BOOT_MIN_S, BOOT_MAX_S = 0.1, 0.5
RESPAWN_MAX_S = 0.3
TABLES = frozenset({"cltab", "hactl"})
WATCHED = frozenset(f"{table}.{what}" for table in TABLES for what in ("good", "version")) | {marker.NAME}


class Node:
    """One of the cluster; ``map`` is what openMosix is configured with here."""

    def __init__(self, cluster: Cluster, number: int, config: Config) -> None:
        self.cluster, self.number = cluster, number
        self.base = self.config = config             # what it is installed with, and what it has now
        self.kernel, self.history, self.count = cluster.kernel, cluster.history, cluster.count
        self.map: list[int] = []
        self.strangers: frozenset[int] = frozenset()     # the nodes that are not on it
        self.set_map(cluster.plan.map_of(number))
        draw = self._draw = cluster.stream(f"node/{number}")
        self.agent_draw = cluster.stream(f"agent/{number}")
        self.disk_draw = cluster.stream(f"disk/{number}")
        self.process_draw = cluster.stream(f"process/{number}")
        self.sync_draw = cluster.stream(f"sync/{number}")
        self._wake_max_s = float(cluster.plan.clocks["wake_s"])
        self._ipc_max_s = float(cluster.plan.clocks["ipc_s"])
        drift = cluster.plan.clocks["drift"]
        self.rate: float = 1.0 + draw.pick([-drift, drift, draw.uniform(-drift, drift)])
        self._steady_rate: float = self.rate
        self._skew_s = self._slewed_at_s = 0.0
        self._clock_at_zero = draw.uniform(5.0, 1000.0)
        self._wall_off_s = draw.uniform(-60.0, 60.0)
        self.disk = Disk(WATCHED, lambda name: cluster.file_changed(number, name))
        self.run_disk = Disk(frozenset(), lambda _name: None)
        self.weather = Weather()
        self.up = self.frozen = self.configured = False
        self._stopped: tuple[float, float, float] | None = None      # when, and what clock and skew were then
        self.boot, self.boot_id, self.lives = 0, "", 0
        self.files_boot = 0                          # of the machine that has the agent's directory
        self._is_served = bool(cluster.plan.files["shared"])     # the agent's directory is on a file server
        self.members: dict[int, Member] = {}
        self.guardians: list[Guardian] = []
        self.world: SimWorld | None = None
        self.elder: Elder | None = None
        self.waiting: list[tuple[Callable[[Any], None], Any]] = []
        self.trouble_until_s = 0.0
        self._init = Process(self)

    # ---- time -------------------------------------------------------------------------------------------------

    def clock(self) -> float:
        """Rule 1."""
        return self._clock_at_zero + self.kernel.now * self.rate

    def true_time(self, clock_s: float) -> float:
        """When this node's clock shows that."""
        return (clock_s - self._clock_at_zero) / self.rate

    def slew(self, rate: float) -> None:
        """Another rate from now on; 0 for the old one. The steady clock goes on as it did."""
        clock = self.clock()
        self._skew_s, self._slewed_at_s = self.skew_s(), self.kernel.now
        self.rate = rate or self._steady_rate
        self._clock_at_zero = clock - self.kernel.now * self.rate
        for guardian in list(self.guardians):
            guardian.at(self.kernel.now, guardian.clock_changed)
        if self.world is not None:
            self.world.at(self.kernel.now, self.world.clock_changed)

    def skew_s(self) -> float:
        """How far the steady clock is ahead."""
        return self._skew_s + (self._steady_rate - self.rate) * (self.kernel.now - self._slewed_at_s)

    def wall(self) -> float:
        return WALL_S + self._wall_off_s + self.kernel.now * self.rate

    def jump(self, by_s: float) -> None:
        """Somebody sets the wall clock."""
        self._wall_off_s += by_s

    def wake_s(self) -> float:
        """What the machine takes to give the agent the processor."""
        return self._wake_max_s * self._draw.random()

    def ipc_s(self) -> float:
        """What a message between two processes of this machine takes."""
        return self._ipc_max_s * self._draw.random()

    # ---- the agent's directory --------------------------------------------------------------------------------

    def has_files(self) -> bool:
        """Whether others find the directory now, if they can reach the machine that has it."""
        return self._is_served or self.up

    def holds_files(self) -> bool:
        """Whether what they ask waits for a thaw."""
        return self.frozen and not self._is_served

    # ---- the map ----------------------------------------------------------------------------------------------

    def set_map(self, nodes: list[int]) -> None:
        """openMosix is configured with these."""
        self.map, self.strangers = sorted(nodes), frozenset(self.cluster.numbers) - set(nodes)

    # ---- power ------------------------------------------------------------------------------------------------

    def power_on(self, _: None = None) -> None:
        """Boot, unless it runs."""
        if self.up:
            return
        self.up, self.boot = True, self.boot + 1
        self.files_boot = 0 if self._is_served else self.boot
        self.boot_id = self.cluster.nonce()
        if self.boot > 1 and self.cluster.plan.clocks["restart"]:
            self._clock_at_zero = self._draw.uniform(1.0, 20.0) - self.kernel.now * self.rate
        self.trace("boots")
        self._init = Process(self)
        self.run_disk.wipe()
        self._init.at(self.kernel.now + self._draw.uniform(BOOT_MIN_S, BOOT_MAX_S), self._start_agent)
        late = self._draw.chance(self.cluster.plan.clocks["late"])
        self._init.at(self.kernel.now + (self._draw.uniform(0.0, 2.0) if late else 0.0), self._configure)
        self.cluster.reach_changed(self.number)

    def _configure(self, _: None) -> None:
        self.configured = True

    def power_off(self, _: None = None) -> None:
        """Rule 2."""
        if not self.up:
            return
        self.trace("has no power")
        self.count("crash")
        if self.frozen:
            self.count("crash of a frozen node")
        for member in self.members.values():
            member.power_off()
        for guardian in self.guardians:
            guardian.alive = False
        for agent in (self.world, self.elder):
            if agent is not None:
                agent.alive = False
        self._init.alive = False
        self.members, self.guardians, self.world, self.elder, self.waiting = {}, [], None, None, []
        if not self._is_served and self.disk.crash(self.disk_draw):
            self.count("crash loses what was not synced")
        self.up = self.frozen = self.configured = False
        self._stopped = None
        self.trouble_until_s = 0.0
        self.cluster.reach_changed(self.number)

    def freeze(self, stops_clocks: bool = False) -> None:
        """The whole machine stands still."""
        if self.up and not self.frozen:
            self.trace("is frozen")
            if stops_clocks:
                self.count("clock stood still")
                self._stopped = self.kernel.now, self.clock(), self.skew_s()
            for member in self.members.values():
                member.node_froze()
            self.frozen = True
            self.cluster.reach_changed(self.number)

    def thaw(self) -> None:
        """Rule 3."""
        if not self.up or not self.frozen:
            return
        self.trace("thaws")
        self.frozen = False
        self.history.thawed(self.kernel.now, self.number, self._stopped is not None)
        self._go_on_from_stop()
        for member in self.members.values():
            member.node_thawed()
        waiting, self.waiting = self.waiting, []
        processes: list[Process] = [*self.guardians, *self.members.values(), self._init]
        processes += [agent for agent in (self.world, self.elder) if agent is not None]
        for process in processes:
            self._soon(_wake, process)
        for call, argument in waiting:
            self._soon(call, argument)
        self.cluster.reach_changed(self.number)

    def _go_on_from_stop(self) -> None:
        """As if no time had passed, if the clocks stood still. What waits for a time looks at the clock first."""
        if self._stopped is None:
            return
        now, (since_s, clock, skew_s) = self.kernel.now, self._stopped
        self._stopped = None
        self._clock_at_zero = clock - now * self.rate
        self._wall_off_s -= (now - since_s) * self.rate
        self._skew_s, self._slewed_at_s = skew_s, now
        if self.world is not None:
            self.cluster.tasks.put_off(self.world, now - since_s)

    def _soon(self, call: Callable[[Any], None], argument: Any) -> None:
        self.kernel.at(self.kernel.now + self._draw.uniform(0.0, THAW_MAX_S), call, argument)

    def wrote(self, name: str, offset: int, data: bytes) -> None:
        """A step of a plan writes into a file of this node."""
        self.history.wrote(self.kernel.now, self, name, offset, data)
        self.disk.write(name, offset, data)

    def wrote_torn(self, name: str, offset: int, data: bytes, bytes_done: int) -> None:
        """The same, but only so many bytes of it are seen for a moment."""
        self.history.wrote(self.kernel.now, self, name, offset, data)
        self.tear(self.disk, name, offset, data, bytes_done, TEAR_MAX_S)

    def tear(self, disk: Disk, name: str, offset: int, data: bytes, bytes_done: int, within_s: float) -> None:
        """A write on one of its disks is half done for so long at most."""
        self.count("torn write")
        disk.tear(name, offset, data, bytes_done)
        self.kernel.at(self.kernel.now + self.disk_draw.uniform(0.0, within_s), disk.finish, name)

    # ---- processes --------------------------------------------------------------------------------------------

    def new_pid(self) -> int:
        """Unique in the whole run."""
        return self.cluster.new_pid()

    def _start_agent(self, _: None) -> None:
        if self.number in self.cluster.plan.elders():
            self.elder = Elder(self)
            self.elder.begin()
            return
        self.lives += 1
        self.trace(f"life {self.lives} of the agent")
        self.world = SimWorld(self, self.lives)
        self.world.begin()

    def agent_ended(self) -> None:
        """Rule 4."""
        self.world = None
        for guardian in self.guardians:
            if guardian.frozen:                      # or both guardians of a group would be gone (assumption A2)
                self._soon(_thaw, guardian)
        self._init.at(self.kernel.now + self._draw.uniform(0.01, RESPAWN_MAX_S), self._start_agent)

    def trace(self, text: str) -> None:
        self.cluster.trace(self.number, text)


def _thaw(process: Process) -> None:
    process.thaw()


def _wake(process: Process) -> None:
    if process.alive and not process.node.frozen:
        process.wake()
