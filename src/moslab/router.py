"""Toxiproxy between the nodes: one proxy for each ordered pair, at the addresses that each node's own map gives.

Rules:

1. For node i all others are in the router (rule 3 of :mod:`moslab.layout`), which answers for these addresses. There
   Toxiproxy takes what goes to the port of MFS, and connects to the node: so who asks is known by the hello alone.
2. All else, the UDP probes too, passes beside Toxiproxy: the router sends it on to the node, as from where that node
   has the sender in its own map. Answers come back the same way.
3. It is two containers with one network: the router, of the node image, has the addresses and the packet filter;
   Toxiproxy, of the public image, has nothing but the proxies. Its API is on 127.0.0.1 of the engine's machine,
   and nobody in the cluster's network can ask it.
"""

from __future__ import annotations

import json
from typing import Any

import docker
from docker.errors import APIError
from docker.models.containers import Container

from emulator.settings import MFS_PORT
from moslab.errors import LabError
from moslab.guard import LABEL_OFF, LOG
from moslab.layout import ADDRESSES_EACH, Layout, Names, archive
from moslab.node import run
from moslab.toxiproxy import API_PORT, IMAGE

FILTER, PROXIES = "etc/router.nft", "proxies.json"
SETUP = f"""
for first in "$@"; do ip route add local "$first"/24 dev lo; done
nft -f /{FILTER}
"""


def start_router(client: docker.DockerClient, names: Names, image: str, layout: Layout) -> None:
    """Router and Toxiproxy, which runs and listens when a node connects; LabError with what is wrong."""
    try:
        router = client.containers.create(image, **settings(names))
        client.networks.get(names.network).connect(router, ipv4_address=layout.router)
        _give(router, FILTER, rules(layout))
        router.start()
        askers = [str(layout.subnet.network_address + ADDRESSES_EACH * node) for node in range(1, layout.size + 1)]
        done = run(router, ["sh", "-ec", SETUP, "setup", *askers])
        if done.exit_code:
            raise LabError(f"the router: {done.stderr.strip()}")
        toxiproxy = client.containers.create(
            IMAGE, ["-host=0.0.0.0", f"-config=/{PROXIES}"], name=names.toxiproxy, labels=names.labels("toxiproxy"),
            network_mode=f"container:{router.id}", log_config=LOG,
        )
        _give(toxiproxy, PROXIES, proxies(layout))
        toxiproxy.start()
    except APIError as error:
        raise LabError(f"the router: {error.explanation or error}") from None


def settings(names: Names) -> dict[str, Any]:
    """What the router's container is, but for image and address: in the words of the SDK."""
    return {
        "name": names.router,
        "labels": names.labels("router"),
        "entrypoint": ["sleep", "infinity"],
        "cap_add": ["NET_ADMIN"],
        "sysctls": {"net.ipv4.ip_forward": "1"},
        "ports": {f"{API_PORT}/tcp": ("127.0.0.1", None)},
        "security_opt": [LABEL_OFF],
        "tmpfs": {"/run": "mode=755,size=16m"},
        "log_config": LOG,
    }


def name_of(asker: int, owner: int) -> str:
    """What the proxy is called through which ``asker`` uses the files of ``owner``."""
    return f"{asker}-{owner}"


def proxies(layout: Layout) -> str:
    """Toxiproxy's configuration."""
    return json.dumps([
        {
            "name": name_of(asker, owner), "enabled": True,
            "listen": f"{layout.seen(asker, owner)}:{MFS_PORT}", "upstream": f"{layout.node(owner)}:{MFS_PORT}",
        }
        for asker, owner in _pairs(layout)
    ])


def rules(layout: Layout) -> str:
    """The packet filter's rules that send on what is not MFS (rule 2). Nobody is told of a shorter way."""
    to = ", ".join(f"{layout.seen(a, b)} : {layout.node(b)}" for a, b in _pairs(layout))
    gateway = layout.subnet.network_address + 1              # as which the engine's machine comes
    as_from = ", ".join(f"{layout.node(a)} . {layout.node(b)} : {layout.seen(b, a)}" for a, b in _pairs(layout))
    return f"""\
table ip router {{
    chain to {{
        type nat hook prerouting priority -100
        tcp dport {MFS_PORT} accept
        dnat to ip daddr map {{ {to} }}
    }}
    chain from {{
        type nat hook postrouting priority 100
        snat to ip saddr . ip daddr map {{ {as_from} }}
    }}
    chain api {{
        type filter hook input priority 0
        tcp dport {API_PORT} ip saddr {layout.subnet} ip saddr != {gateway} drop
    }}
    chain out {{
        type filter hook output priority 0
        icmp type redirect drop
    }}
}}
"""


def _pairs(layout: Layout) -> list[tuple[int, int]]:
    nodes = range(1, layout.size + 1)
    return [(a, b) for a in nodes for b in nodes if a != b]


def _give(container: Container, path: str, text: str) -> None:
    if not container.put_archive("/", archive({path: (text.encode(), 0o644)})):
        raise LabError(f"the engine does not take {path} of {container.name}")
