"""Clients of a register that a group serves, in a container of their own on the cluster's network.

Rules:

1. They are the program ``client`` of the demo: each of them reads and writes some keys at random, by GET and SET as
   Redis has them, on whichever node answers. What they ask and what comes of it they say on their standard output, by
   the clock that the journals have.
2. The container has an address that no fault hits: who is cut off from other nodes is not from clients.
3. Keys are new ones, so all of them begin with nothing.
"""

from __future__ import annotations

import ipaddress
import math
import secrets

from docker.errors import APIError
from docker.models.containers import Container

from moslab.cluster import Cluster
from moslab.errors import LabError
from moslab.guard import LABEL_OFF, LOG
from moslab.history.record import INFO, Operation
from moslab.layout import CLIENT_OFFSET, NODE_OFFSET
from moslab.wait import eventually

PROGRAM = "/usr/lib/mosha/demo/client"
END_LIMIT_S = 60.0               # more than the program takes for its last reads
LAST_WORDS_MAX = 500
PLACES = NODE_OFFSET - CLIENT_OFFSET


class Workload:
    """See the rules. ``place``: which of the addresses for clients; times are since ``zero_s``. LabError if the
    container cannot be had."""

    def __init__(
        self, cluster: Cluster, group: str, count: int, keys: int, port: int, place: int, zero_s: float
    ) -> None:
        nodes, network = cluster.nodes(), cluster.names.network
        addresses = {
            number: container.attrs["NetworkSettings"]["Networks"][network]["IPAMConfig"]["IPv4Address"]
            for number, container in nodes.items()
        }
        first = min(addresses)
        own = ipaddress.IPv4Address(addresses[first]) - NODE_OFFSET - first + CLIENT_OFFSET + place % PLACES
        asked = [f"{node}={address}" for node, address in addresses.items()]
        prefix = f"{group}-{secrets.token_hex(3)}"
        self.registers = tuple(f"{prefix}.{number}" for number in range(1, keys + 1))
        self._zero_s = zero_s
        self._ended: list[Operation] | LabError | None = None
        try:
            self._container: Container = cluster.client.containers.create(
                nodes[first].attrs["Config"]["Image"], name=f"{network}-client-{prefix}",
                entrypoint=[PROGRAM], command=[*map(str, (port, count, keys)), prefix, *asked],
                labels=cluster.names.labels("client"), network=network, security_opt=[LABEL_OFF], log_config=LOG,
                networking_config={network: cluster.client.api.create_endpoint_config(ipv4_address=str(own))},
            )
            self._container.start()
        except APIError as error:
            raise LabError(f"no clients of {group}: {error.explanation or error}") from None

    def operations(self) -> list[Operation]:
        """All by now; LabError if not all that was said was heard."""
        if isinstance(self._ended, LabError):
            raise self._ended
        return self._ended if self._ended is not None else self._heard()

    def end(self) -> None:
        """Each key is read once more, as soon as that can be; then it is over."""
        if self._ended is not None:
            return
        try:
            if self._status() == "running":
                self._container.kill("SIGTERM")
            eventually(self._status, lambda status: status == "exited", within_s=END_LIMIT_S, what="the clients end")
            self._ended = self._heard()
        except LabError as error:
            said = self._container.logs(stdout=False)[-LAST_WORDS_MAX:].decode(errors="replace")
            self._ended = LabError(f"{error}\n{said}".strip())
        finally:
            self._container.remove(force=True)

    def _heard(self) -> list[Operation]:
        is_over = self._status() == "exited"
        found = operations(self._container.logs(stderr=False).decode(errors="replace"), is_over)
        return [one._replace(begin_s=one.begin_s - self._zero_s, end_s=one.end_s - self._zero_s) for one in found]

    def _status(self) -> str:
        self._container.reload()
        return str(self._container.status)


def operations(said: str, is_over: bool) -> list[Operation]:
    """What clients have said, by their end if it ``is_over``; LabError if a line is missing, or is none."""
    lines = said.splitlines()
    if is_over and (not lines or lines[-1].split()[::2] != ["end", str(len(lines) - 1)]):
        raise LabError(f"clients: not all that they said was heard: {len(lines)} lines, the last of them {lines[-1:]}")
    found: list[Operation] = []
    open_ones: dict[int, int] = {}                           # client -> the place of what it has begun
    for line in lines[:-1]:                                  # the last is the end, or may be torn
        try:
            word, nanoseconds, client, *more = line.split()
            time_s, number = int(nanoseconds) / 1e9, int(client)
            if word == "invoke":
                node, key, kind, value = more
                open_ones[number] = len(found)
                found.append(Operation(number, int(node), key, kind, _value(value), INFO, time_s, math.inf))
                continue
            place, (value,) = open_ones.pop(number), more
        except (ValueError, KeyError):
            raise LabError(f"clients: this is no event: {line[:80]!r}") from None
        if word != INFO:
            found[place] = found[place]._replace(value=_value(value), outcome=word, end_s=time_s)
    return found


def _value(text: str) -> int | None:
    return None if text == "-" else int(text)
