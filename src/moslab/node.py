"""A node's container: what it is given by the engine, and commands in it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

import docker
from docker.errors import APIError
from docker.models.containers import Container
from docker.types import Mount, Ulimit

from moslab.errors import LabError
from moslab.guard import LABEL_OFF, LOG
from moslab.layout import Names
from moslab.streams import Piece, Streams

EXEC_LIMIT_S = 30.0
OUTPUT_BYTES_MAX = 16 << 20
FILES_MAX = 16384
CORE_BYTES_MAX = 64 << 20
"""Of a core dump, where the kernel's core_pattern puts it on the node: an audit finds it. It may be cut off."""


class Result(NamedTuple):
    """What a command in a node did."""

    exit_code: int
    stdout: str
    stderr: str


def settings(names: Names, node: int) -> dict[str, Any]:
    """What a node's container is, but for image, address and files: in the words of the SDK."""
    return {
        "name": names.node(node),
        "hostname": f"node{node}",
        "labels": names.labels("node", node),
        "devices": ["/dev/fuse:/dev/fuse:rwm"],
        # SYS_ADMIN: mount(2) for /mfs, the hpc tree and the boot_id; namespaces that hold a group.
        # NET_ADMIN: virtual addresses, permanent neighbours, the link's own address.
        # SYS_NICE: what ends a group is scheduled before the group.
        "cap_add": ["SYS_ADMIN", "NET_ADMIN", "SYS_NICE"],
        # What a node mounts of the control groups (emulator/boot.py) is its own, and below it.
        "cgroupns": "private",
        # Docker's AppArmor profile forbids mount(2) even with the capability.
        "security_opt": ["apparmor=unconfined", LABEL_OFF],
        "tmpfs": {"/run": "mode=755,size=64m"},
        "shm_size": "64m",
        "ulimits": [
            Ulimit(name="nofile", soft=FILES_MAX, hard=FILES_MAX),
            Ulimit(name="core", soft=CORE_BYTES_MAX, hard=CORE_BYTES_MAX),
        ],
        "mounts": [Mount("/san", names.san, type="volume")],
        "log_config": LOG,
    }


def create_node(
    client: docker.DockerClient, names: Names, image: str, addresses: Sequence[str], node: int, files: bytes
) -> Container:
    """Create the container of a node, with its address in each network and its files; it does not run yet."""
    endpoint = client.api.create_endpoint_config(ipv4_address=addresses[0])
    container = client.containers.create(
        image, network=names.network, networking_config={names.network: endpoint}, **settings(names, node)
    )
    for network, address in zip(names.networks[1:], addresses[1:]):
        client.networks.get(network).connect(container, ipv4_address=address)
    if not container.put_archive("/", files):
        raise LabError(f"the engine does not take the files of node {node}")
    return container


def execute(
    container: Container,
    command: Sequence[str],
    on_piece: Callable[[Piece], None],
    limit_s: float = EXEC_LIMIT_S,
) -> int:
    """Run a command in a container, hand over what it prints, return its exit code.

    Raises LabError after ``limit_s`` (the command itself is not ended then), or where none runs: a node that is off.
    """
    if container.client is None:
        raise LabError("a container without an engine")
    api = container.client.api
    deadline_s = time.monotonic() + limit_s
    try:
        exec_id = api.exec_create(container.id, list(command))["Id"]
        streams = Streams(api.exec_start(exec_id, socket=True))
    except APIError as error:
        raise LabError(f"no command runs in {container.name}: {error.explanation or error}") from None
    try:
        while (piece := streams.receive(deadline_s)) is not None:
            on_piece(piece)
    except LabError:
        raise LabError(f"`{' '.join(command)[:80]}` did not end within {limit_s:g} s") from None
    finally:
        streams.close()
    exit_code: int | None = api.exec_inspect(exec_id)["ExitCode"]
    if exit_code is None:
        raise LabError(f"{container.name} went off during `{' '.join(command)[:80]}`")
    return exit_code


def run(container: Container, command: Sequence[str], limit_s: float = EXEC_LIMIT_S) -> Result:
    """Run a command in a container to its end; LabError as :func:`execute`, or for too much output."""
    outputs = {1: bytearray(), 2: bytearray()}

    def keep(piece: Piece) -> None:
        outputs[piece.stream] += piece.data
        if len(outputs[piece.stream]) > OUTPUT_BYTES_MAX:
            raise LabError(f"`{' '.join(command)[:80]}` printed more than {OUTPUT_BYTES_MAX} bytes")

    exit_code = execute(container, command, keep, limit_s)
    return Result(exit_code, outputs[1].decode(errors="replace"), outputs[2].decode(errors="replace"))
