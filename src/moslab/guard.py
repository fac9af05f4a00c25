"""The first container of a cluster: its power switch, and until the start is complete its guard.

Rules:

1. It is created before anything else of the cluster, with its standard input attached to this process. Its
   name makes a second start of the same cluster fail.
2. While the input is open and nothing was committed, the cluster is being made. If this process dies, in
   whatever way, the engine closes the input and the guard removes the cluster by its label.
3. :meth:`Guard.commit` ends that: from then on the container is only the power switch. A cluster that was complete is
   no leftover, even when its power switch has died.
"""

from __future__ import annotations

import enum
import time
from datetime import datetime, timezone
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.types import LogConfig, Mount

from moslab.engine import socket_for_containers
from moslab.errors import CannotError, LabError
from moslab.layout import ENGINE_SOCKET, Names
from moslab.streams import Streams

SAY_LIMIT_S = 30.0
NEWBORN_S = 30.0
"""A power switch that was created and not started: older than this, whoever created it is dead."""
LOG = LogConfig(type="json-file", config={"max-size": "4m", "max-file": "2"})
LABEL_OFF = "label=disable"
"""SELinux would keep a container from the engine's socket and from /dev/fuse; of no effect elsewhere."""


class StartAtWorkError(CannotError):
    """Another command is starting the cluster."""

    def __init__(self, cluster: str) -> None:
        super().__init__(f'cluster "{cluster}" is being started by another command')


class State(enum.Enum):
    """What a cluster's power switch shows of the cluster."""

    ABSENT = "absent"           # no live power switch: what is there are leftovers
    STARTING = "starting"       # a start is at work
    SWEEPING = "sweeping"       # a start died, and its guard is removing what it made
    COMMITTED = "committed"     # the cluster is complete
    DAMAGED = "damaged"         # it was complete, and its power switch has died


def settings(names: Names, size: int, engine: str) -> dict[str, Any]:
    """What the power switch's container is, but for image, address and life: in the words of the SDK.

    ``engine``: the path of the engine's socket.
    """
    return {
        "name": names.power,
        "labels": names.labels("power", size=size),
        "entrypoint": ["/usr/sbin/powerswitchd"],
        "command": [names.cluster],
        # the only container that has the engine's socket; no node has it
        "mounts": [Mount(ENGINE_SOCKET, engine, type="bind")],
        "security_opt": [LABEL_OFF],
        "log_config": LOG,
    }


class Guard:
    """A new cluster's power switch, seen from the command that starts the cluster."""

    def __init__(self, client: docker.DockerClient, names: Names, image: str, size: int) -> None:
        """Create the container, and hold its input.

        Raises StartAtWorkError if the cluster has one already, CannotError where the engine's socket is not where
        we think, else LabError.
        """
        self._client = client
        self._names, self._size = names, size
        path = socket_for_containers(client)
        try:
            self.container = client.containers.create(
                image, auto_remove=True, stdin_open=True, **settings(names, size, path)
            )
        except APIError as error:
            if error.status_code == 409:
                raise StartAtWorkError(names.cluster) from None
            raise _explained(error) from None
        self._id = str(self.container.id)
        raw = client.api.attach_socket(self._id, {"stdin": 1, "stdout": 1, "stream": 1})
        self._streams = Streams(raw)

    def start(self) -> None:
        """Start it; from here on it guards. Errors as those of the constructor."""
        try:
            self.container.start()
        except APIError as error:
            raise _explained(error) from None
        self._hear("guarding")

    def serve(self, line: str) -> None:
        """Open the switch, with the line that :class:`moslab.layout.Layout` gives."""
        self._streams.send(line.encode())
        self._hear("serving")

    def commit(self) -> None:
        """The cluster is complete and stays."""
        labels = self._names.labels("complete", size=self._size)
        self._client.volumes.create(self._names.complete, labels=labels)
        self._streams.send(b"commit\n")
        self._hear("committed")
        self._streams.close()

    def abandon(self) -> None:
        """Let go of the input: if nothing was committed, the guard removes the cluster."""
        self._streams.close()

    def _hear(self, word: str) -> None:
        """Read its output up to a word; LabError with what it said instead."""
        deadline_s = time.monotonic() + SAY_LIMIT_S
        heard = b""
        while word.encode() not in heard.split():
            piece = self._streams.receive(deadline_s)
            if piece is None:
                raise LabError(f"the power switch ended before it was {word}: {heard.decode()!r}")
            heard += piece.data


def _explained(error: APIError) -> LabError:
    text = str(error.explanation or error)
    if "bind source path" in text or "not a directory" in text:
        return CannotError(
            f"the engine's socket cannot be given to the power switch: {text}\n"
            "Say where it is on the engine's machine: export MOSLAB_ENGINE_SOCKET=/path/docker.sock"
        )
    return LabError(f"the engine does not start the power switch: {text}")


def state_of(client: docker.DockerClient, names: Names) -> State:
    """What the power switch of a cluster says of it."""
    try:
        container = client.containers.get(names.power)
        if container.status == "created" and _age_s(client, container.attrs) < NEWBORN_S:
            return State.STARTING
        if container.status != "running":
            return _without_switch(client, names)
        said = container.logs(stdout=True, stderr=False).split()
    except NotFound:
        return _without_switch(client, names)
    if b"sweeping" in said:
        return State.SWEEPING
    return State.COMMITTED if b"committed" in said else State.STARTING


def _without_switch(client: docker.DockerClient, names: Names) -> State:
    try:
        client.volumes.get(names.complete)
    except NotFound:
        return State.ABSENT
    return State.DAMAGED


def _age_s(client: docker.DockerClient, attributes: dict[str, Any]) -> float:
    """Seconds since a container was created, both by the engine's clock."""
    return (_time(client.info()["SystemTime"]) - _time(attributes["Created"])).total_seconds()


def _time(text: str) -> datetime:
    """RFC 3339, to the second."""
    offset = text[19:].lstrip(".0123456789")
    moment = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    if offset in ("", "Z"):
        return moment
    return datetime.strptime(text[:19] + offset, "%Y-%m-%dT%H:%M:%S%z")
