"""A network with a subnet that the engine knows to be free, and in which addresses may be chosen.

An engine lets addresses be chosen only in a subnet that was named when the network was created, and only the
engine knows which are free. So it is asked for any, and the same is then named.
"""

from __future__ import annotations

import ipaddress

import docker
from docker.errors import APIError
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool

from moslab.errors import LabError
from moslab.layout import Names

TRIES_MAX = 8
DRIVER, INTERNAL = "bridge", True
"""Internal: nothing in a cluster has business outside, and no route leads there."""


def create_network(client: docker.DockerClient, names: Names, number: int = 1) -> ipaddress.IPv4Network:
    """Create the cluster's network of that number and return its subnet; LabError with the engine's reason.

    Between the two steps another command may take the subnet: then it begins anew, ``TRIES_MAX`` times at
    most.
    """
    reason = ""
    for _ in range(TRIES_MAX):
        subnet = _free_subnet(client, names, number)
        try:
            _create(client, names, number, IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet))]))
            return subnet
        except APIError as error:
            reason = str(error.explanation or error)
            if "overlap" not in reason.lower():
                break
    raise LabError(f"the engine makes no network: {reason}")


def _free_subnet(client: docker.DockerClient, names: Names, number: int) -> ipaddress.IPv4Network:
    try:
        network = _create(client, names, number, None)
    except APIError as error:
        raise LabError(f"the engine makes no network: {error.explanation or error}") from None
    try:
        network.reload()
        pools = network.attrs["IPAM"]["Config"]
    finally:
        network.remove()
    subnets = [ipaddress.ip_network(pool["Subnet"]) for pool in pools]
    return next(subnet for subnet in subnets if isinstance(subnet, ipaddress.IPv4Network))


def _create(client: docker.DockerClient, names: Names, number: int, ipam: IPAMConfig | None) -> Network:
    return client.networks.create(
        names.networks[number - 1], driver=DRIVER, internal=INTERNAL, ipam=ipam, labels=names.labels("network")
    )
