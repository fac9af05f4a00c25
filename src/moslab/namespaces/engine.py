"""The engine: machines in namespaces, the networks between them, what they share; and commands in them.

Rules:

1. All of it is below one directory of a tmpfs and in namespaces of its own, so it ends with this process, whatever ends
   that.
2. A name is given once; what is asked twice is said to be so already.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import shutil
import time
from dataclasses import dataclass, field
from typing import Any, Callable

from emulator.child import quiet
from emulator.reactor import Reactor
from moslab.layout import ENGINE_SOCKET
from moslab.namespaces import linux
from moslab.namespaces.boot import Boot, Link, ip, plug
from moslab.namespaces.command import Command
from moslab.namespaces.image import Image, overlay
from moslab.namespaces.machine import RUNNING, Machine

SUBNETS = [ipaddress.IPv4Network(f"10.87.{number}.0/24") for number in range(256)]
ID_BYTES = 32
READ_BYTES = 1 << 16


class EngineError(Exception):
    """What was asked cannot be done; an HTTP status and the reason."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class Network:
    """A bridge in the engine's network namespace."""

    id: str
    name: str
    labels: dict[str, str]
    subnet: ipaddress.IPv4Network
    bridge: str


@dataclass
class Volume:
    """A directory that machines may share."""

    name: str
    labels: dict[str, str]
    path: str


@dataclass
class Engine:
    """See the rules. ``folder`` is in memory, ``socket_path`` where the engine is asked."""

    reactor: Reactor
    folder: str
    socket_path: str
    on_empty: Callable[[], object]
    images: dict[str, Image] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)
    networks: dict[str, Network] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    commands: dict[str, Command] = field(default_factory=dict)

    # -- machines ----------------------------------------------------------------------------------

    def create(self, name: str, config: dict[str, Any]) -> Machine:
        """A machine that has no power yet."""
        if any(machine.name == name for machine in self.machines.values()):
            raise EngineError(409, f"the name {name} is in use")
        image = self.image(config["Image"])
        number = secrets.token_hex(ID_BYTES)
        root, upper, work = (f"{self.folder}/machines/{number[:12]}/{part}" for part in ("root", "upper", "work"))
        for path in (root, upper, work):
            os.makedirs(path)
        overlay(image.root, upper, work, root)
        endpoints = (config.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
        machine = Machine(
            self.reactor, number, name, config, image, root,
            {network: endpoint["IPAMConfig"]["IPv4Address"] for network, endpoint in endpoints.items()}, self._ended,
        )
        self.machines[number] = machine
        return machine

    def machine(self, known: str) -> Machine:
        """By id, the beginning of it, or name."""
        for machine in self.machines.values():
            if machine.name == known or (known and machine.id.startswith(known)):
                return machine
        raise EngineError(404, f"no such container: {known}")

    def start(self, machine: Machine) -> bool:
        """Give it power; False if it has."""
        if machine.has_power:
            return False
        machine.start(self._boot(machine))
        return True

    def remove(self, machine: Machine, force: bool) -> None:
        """Remove it, and what is on its disk; with ``force`` it loses its power first, and is gone when that is."""
        if machine.has_power:
            if not force:
                raise EngineError(409, f"{machine.name} runs")
            machine.is_doomed = True
            machine.kill()
            return
        self.machines.pop(machine.id, None)
        for known, command in list(self.commands.items()):
            if command.machine is machine:
                self.commands.pop(known).close()
        linux.unmount(machine.root)
        _remove_tree(os.path.dirname(machine.root))
        self._look_if_empty()

    def reap(self) -> None:
        """Take the ends of all processes that have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for machine in [machine for machine in self.machines.values() if machine.pid == pid]:
                machine.ended(status)

    def _ended(self, machine: Machine) -> None:
        """Pull its cables: the kernel keeps its end as long as there is anything unsent, and answers for it."""
        links = [self._link(machine, name, place) for place, name in enumerate(machine.addresses)]
        ip((f"link del {link.cable}" for link in links), "-force")
        if machine.is_doomed or machine.config["HostConfig"].get("AutoRemove"):
            self.remove(machine, force=False)

    def _boot(self, machine: Machine) -> Boot:
        config, host = machine.config, machine.config["HostConfig"]
        mounts = []
        for mount in host.get("Mounts") or []:
            source = self.volume(mount["Source"]).path if mount["Type"] == "volume" else mount["Source"]
            mounts.append((self.socket_path if mount["Target"] == ENGINE_SOCKET else source, mount["Target"]))
        return Boot(
            config.get("Hostname") or machine.id[:12], machine.root, machine.image.system,
            [self._link(machine, name, place) for place, name in enumerate(machine.addresses)], mounts,
            {"/tmp": "mode=1777", "/dev/shm": f"mode=1777,size={host.get('ShmSize') or 64 << 20}",
             **(host.get("Tmpfs") or {})},
            machine.limits,
            [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])],
        )

    # -- commands ----------------------------------------------------------------------------------

    def prepare(self, machine: Machine, words: list[str]) -> str:
        """A command that is to be run in a machine; what it is called."""
        known = secrets.token_hex(ID_BYTES)
        self.commands[known] = Command(self.running(machine), words)
        return known

    @staticmethod
    def running(machine: Machine) -> Machine:
        """It, if it runs, and is not paused."""
        if machine.status != RUNNING:
            raise EngineError(409, f"container {machine.name} is {machine.status}")
        return machine

    # -- networks and volumes ----------------------------------------------------------------------

    def create_network(self, name: str, labels: dict[str, str], subnet: str | None) -> Network:
        """With that subnet, or one that is free."""
        if any(network.name == name for network in self.networks.values()):
            raise EngineError(409, f"network {name} is there already")
        used = [network.subnet for network in self.networks.values()]
        wanted = ipaddress.IPv4Network(subnet) if subnet else next(
            (free for free in SUBNETS if not any(free.overlaps(one) for one in used)), None,
        )
        if wanted is None or any(wanted.overlaps(one) for one in used):
            raise EngineError(409, f"the subnet {wanted} overlaps with another network's, or none is free")
        known = secrets.token_hex(ID_BYTES)
        network = self.networks[known] = Network(known, name, labels, wanted, f"br-{known[:12]}")
        ip([f"link add {network.bridge} type bridge", f"link set {network.bridge} up"])
        return network

    def network(self, known: str) -> Network:
        """By id or name."""
        for network in self.networks.values():
            if known in (network.name, network.id):
                return network
        raise EngineError(404, f"no such network: {known}")

    def connect(self, network: Network, machine: Machine, address: str) -> None:
        """Give a machine an address there, also if it runs."""
        machine.addresses[network.name] = address
        if machine.has_power:
            link = self._link(machine, network.name, len(machine.addresses) - 1)

            def inside() -> None:
                machine.await_begun()
                linux.enter(f"/proc/{machine.pid}/ns/net", linux.NEWNET)
                plug([link])

            _in_child(inside, machine.begun)

    def disconnect(self, network: Network, machine: Machine) -> None:
        """Take a machine off it; one with power keeps a link that ends nowhere when the network goes."""
        machine.addresses.pop(network.name, None)

    def remove_network(self, network: Network) -> None:
        """Remove it; an error while a machine with power is there."""
        if any(network.name in machine.addresses and machine.has_power for machine in self.machines.values()):
            raise EngineError(409, f"network {network.name} has machines")
        ip([f"link del {network.bridge}"])
        del self.networks[network.id]
        self._look_if_empty()

    def create_volume(self, name: str, labels: dict[str, str]) -> Volume:
        """A new one, or the one that is there."""
        if name not in self.volumes:
            self.volumes[name] = Volume(name, labels, f"{self.folder}/volumes/{name}")
            os.makedirs(self.volumes[name].path)
        return self.volumes[name]

    def volume(self, name: str) -> Volume:
        try:
            return self.volumes[name]
        except KeyError:
            raise EngineError(404, f"no such volume: {name}") from None

    def remove_volume(self, volume: Volume) -> None:
        """Remove it; an error while a machine has it."""
        hosts = [machine.config["HostConfig"].get("Mounts") or [] for machine in self.machines.values()]
        if any(mount["Source"] == volume.name for mounts in hosts for mount in mounts):
            raise EngineError(409, f"volume {volume.name} is in use")
        _remove_tree(volume.path)
        del self.volumes[volume.name]
        self._look_if_empty()

    def build(self, name: str, context: bytes, dockerfile: str) -> None:
        """The image of that name."""
        known = secrets.token_hex(ID_BYTES)
        image = Image(known, name, f"{self.folder}/images/{known[:12]}")
        image.build(context, dockerfile)
        self.images[known] = image

    def image(self, known: str) -> Image:
        """By id or name."""
        for image in self.images.values():
            if known in (image.name, image.id, f"sha256:{image.id}"):
                return image
        raise EngineError(404, f"no such image: {known}")

    # -- inside ------------------------------------------------------------------------------------

    def _link(self, machine: Machine, name: str, place: int) -> Link:
        network = self.network(name)
        address = f"{machine.addresses[name]}/{network.subnet.prefixlen}"
        return Link(network.bridge, f"v{machine.id[:11]}-{place}", f"eth{place}", address)

    @property
    def is_empty(self) -> bool:
        return not (self.machines or self.networks or self.volumes)

    def _look_if_empty(self) -> None:
        if self.is_empty:
            self.on_empty()


def _in_child(work: Callable[[], object], keep: int) -> None:
    """Do it in a process of its own, which has that descriptor; OSError if it fails there."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            quiet([writer, keep])
            work()
        except BaseException as error:  # noqa: BLE001 - nothing of the engine may go on in this process
            os.write(writer, str(error).encode() or b"?")
        finally:
            os._exit(0)
    os.close(writer)
    said = os.read(reader, READ_BYTES)
    os.close(reader)
    os.waitpid(pid, 0)
    if said:
        raise OSError(said.decode())


def _remove_tree(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)


def seconds(wall_s: float) -> str:
    """RFC 3339, with nanoseconds, in UTC."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(wall_s))
    return f"{whole}.{int(wall_s % 1 * 1e9):09d}Z"
